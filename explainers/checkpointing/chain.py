"""A chain of layers, and the executor that plays a schedule on it.

The chain is x_l = f_l(x_{l-1}) for l = 1 .. L, with the input x_0. Two kinds of activations take memory:

- a boundary activation: the input x_{l-1} of a layer l, kept as a checkpoint;
- the internal activations of a layer l: all that its backward needs besides its input, its own output x_l included.

Two more are not counted, because every schedule has exactly one of each: the current activation, which is the output of
the last forward, and the gradient. A layer may be taped straight from the current activation, which then stays in place
until that layer's backward. So c snapshots are c boundaries, as in Revolve; the other rules are those of Beaumont,
Eyraud-Dubois, Herrmann, Joly and Shilova 2019, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from explainers.contract.messages import Message

Kind = Literal["forward", "checkpoint", "tape", "backward"]

NOT_KEPT, KEPT, RECOMPUTED = 0, 1, 2  # the states of an activation in a Moment


class Action(NamedTuple):
    """One action of a schedule on one layer, 1 .. L.

    kind: "forward" (run, keep nothing), "checkpoint" (run, keep the output: the boundary of the next layer), "tape"
    (run, keep the internal activations), "backward" (read the internal activations, free them and the layer's input).
    """

    kind: Kind
    layer: int


@dataclass(frozen=True)
class Chain:
    """The costs of a chain. Each tuple has one number per layer, the first for layer 1.

    times: of one forward run. boundaries: memory of the layer's input. internals: memory of its internal activations.
    """

    times: tuple[float, ...]
    boundaries: tuple[float, ...]
    internals: tuple[float, ...]

    @classmethod
    def uniform(cls, layers: int, boundary: float, internal: float) -> Chain:
        """A chain of equal layers, each with a forward run of time 1."""
        return cls((1,) * layers, (boundary,) * layers, (internal,) * layers)

    @property
    def layers(self) -> int:
        return len(self.times)


class Moment(NamedTuple):
    """What is in memory right after an action.

    again: the layer had run before. boundaries, internals: byte l is the state of layer l (byte 0 is unused): NOT_KEPT,
    KEPT or RECOMPUTED. boundary_units, internal_units: the memory of each kind.
    """

    kind: Kind
    layer: int
    again: bool
    boundaries: bytes
    internals: bytes
    boundary_units: float
    internal_units: float

    @property
    def memory(self) -> float:
        return self.boundary_units + self.internal_units

    @property
    def boundary_count(self) -> int:
        return len(self.boundaries) - self.boundaries.count(NOT_KEPT)

    @property
    def internal_count(self) -> int:
        return len(self.internals) - self.internals.count(NOT_KEPT)


class Illegal(ValueError):
    """A schedule breaks a rule; the message names the action, the layer and the rule."""


def _illegal(action: Action, reason: Message) -> Illegal:
    return Illegal(
        Message("{action} of layer {layer}: {reason}", action=action.kind, layer=action.layer, reason=reason)
    )


def play(
    chain: Chain, actions: Iterable[Action], budget: float = math.inf, *, frees: bool = True
) -> Generator[Moment, None, None]:
    """Plays a schedule: yields a Moment after every action. Raises Illegal where the schedule breaks a rule.

    budget: memory must never exceed it. frees: False leaves in memory what a backward has used.
    """
    L = chain.layers
    boundaries, internals, runs = bytearray(L + 1), bytearray(L + 1), [0] * (L + 1)
    boundaries[1] = KEPT  # the input x_0
    memory = [chain.boundaries[0], 0]  # of boundaries, of internal activations
    current = 0  # the activation x_0
    holder = 0  # the taped layer that needs the current activation for its backward; 0 for none
    due = L  # the layer that must go backward next

    for action in actions:
        kind, l = action
        in_memory = boundaries[l] or internals[l - 1]
        if not (in_memory or current == l - 1):
            raise _illegal(action, Message("its input is not in memory"))
        again = runs[l] > 0

        if kind == "backward":
            # g_{l-1} = (df_l / dx_{l-1})^T g_l
            if due != l:
                raise _illegal(action, Message("layer {due} is due", due=due))
            if not internals[l]:
                raise _illegal(action, Message("its internal activations are not in memory"))
            due, holder = due - 1, 0 if holder == l else holder
            if frees:
                memory[0] -= chain.boundaries[l - 1] if boundaries[l] else 0
                memory[1] -= chain.internals[l - 1]
                boundaries[l] = internals[l] = NOT_KEPT
            yield Moment(kind, l, again, bytes(boundaries), bytes(internals), *memory)
            continue

        # x_l = f_l(x_{l-1})
        runs[l] += 1
        if kind == "tape":
            # x_l is one of the internal activations, so the current activation does not change
            if internals[l]:
                raise _illegal(action, Message("its internal activations are already in memory"))
            holder = holder if in_memory else l
            internals[l] = RECOMPUTED if again else KEPT
            memory[1] += chain.internals[l - 1]
        elif holder:
            raise _illegal(action, Message("the current activation is held by layer {holder}", holder=holder))
        else:
            current = l
        if kind == "checkpoint":
            if l == L or boundaries[l + 1]:
                raise _illegal(action, Message("there is no boundary to keep after it"))
            boundaries[l + 1] = RECOMPUTED if again else KEPT
            memory[0] += chain.boundaries[l]
        if sum(memory) > budget:
            raise _illegal(action, _over(sum(memory), budget))
        yield Moment(kind, l, again, bytes(boundaries), bytes(internals), *memory)

    if due:
        raise Illegal(Message("the schedule ends before the backward of layer {due}", due=due))


def _over(memory: float, budget: float) -> Message:
    return Message("{memory:g} units are over the budget of {budget:g}", memory=memory, budget=budget)


def numbers_of(states: bytes) -> tuple[int, ...]:
    """The layers whose state in `states` is not NOT_KEPT."""
    return tuple(layer for layer, state in enumerate(states) if state != NOT_KEPT)


def at_end_of_forward(moments: Iterable[Moment], layers: int) -> Moment:
    """The moment at which the last layer has run for the first time."""
    return next(moment for moment in moments if moment.layer == layers)


def with_lines(actions: Generator[Action, None, None], lines: list[int]) -> Iterator[Action]:
    """The same actions; appends to `lines` the source line on which the schedule paused for each."""
    for action in actions:
        inner: Any = actions
        while inner.gi_yieldfrom is not None:  # a schedule that calls itself pauses in its innermost call
            inner = inner.gi_yieldfrom
        lines.append(inner.gi_frame.f_lineno)
        yield action
