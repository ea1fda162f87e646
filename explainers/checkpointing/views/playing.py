"""A played schedule as arrays over the steps that the player shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from explainers.checkpointing.chain import RECOMPUTED, Moment

ONE_BY_ONE = 1000  # a schedule with more actions shows consecutive plain forwards as one step

# The numbers of a step for the words: its layer; how many boundaries and layers' internal activations are in memory;
# memory in units; forward and backward runs so far; the first layer of its forwards; the next layer; how often this
# layer has run forward.
COLUMNS = (
    "layer", "boundaries", "internals", "memory", "forwards", "backwards", "first_layer", "next_layer", "runs",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Playing:
    """The moments of a schedule that become steps, and what is in memory then.

    boundaries, internals: (steps, L + 1) states; entry l is layer l. first_layer: (steps,) the first layer of the
    forwards that the step shows. forwards, backwards: (steps,) runs so far. runs: (steps, L + 1) forward runs of each
    layer so far. boundary_units, kept_units, recomputed_units: (steps,) memory. lines: (steps,) in the schedule's
    source. sizes: (L,) of boundaries and of internal activations. predicted: the expected peak.
    """

    moments: list[Moment]
    boundaries: np.ndarray
    internals: np.ndarray
    first_layer: np.ndarray
    forwards: np.ndarray
    backwards: np.ndarray
    runs: np.ndarray
    boundary_units: np.ndarray
    kept_units: np.ndarray
    recomputed_units: np.ndarray
    lines: np.ndarray
    sizes: tuple[np.ndarray, np.ndarray]
    predicted: float

    @property
    def steps(self) -> int:
        return len(self.moments)

    @property
    def layers(self) -> int:
        return len(self.sizes[0])

    @property
    def layer(self) -> np.ndarray:
        """(steps,) the layer of each step."""
        return np.array([moment.layer for moment in self.moments])

    @property
    def backward(self) -> np.ndarray:
        """(steps,) whether the step is a backward."""
        return np.array([moment.kind == "backward" for moment in self.moments])

    @property
    def memory(self) -> np.ndarray:
        return self.boundary_units + self.kept_units + self.recomputed_units

    @property
    def peak(self) -> int:
        """The first step at which memory is highest."""
        return int(self.memory.argmax())

    def turns(self) -> tuple[int, ...]:
        """The steps at which the chain turns from forward to backward; only the first where there are many."""
        turns = np.flatnonzero(self.backward & ~np.roll(self.backward, 1))
        return tuple(int(step) for step in (turns if len(turns) <= 24 else turns[:1]))

    def numbers(self) -> np.ndarray:
        """(steps, columns) under COLUMNS."""
        layer = self.layer
        return np.stack(
            [
                layer,
                (self.boundaries > 0).sum(1),
                (self.internals > 0).sum(1),
                self.memory,
                self.forwards,
                self.backwards,
                self.first_layer,
                layer + 1,
                self.runs[np.arange(self.steps), layer],
            ],
            axis=1,
        ).astype(float)


def condensed(
    moments: Sequence[Moment],
    lines: Sequence[int],
    boundaries: Sequence[float],
    internals: Sequence[float],
    predicted: float,
) -> Playing:
    """The moments that become steps: all, or in a long schedule the last one of consecutive plain forwards."""
    shown, first_layer = _shown(moments)
    width = len(boundaries) + 1
    boundary_sizes, internal_sizes = np.array(boundaries, float), np.array(internals, float)

    # (actions, L + 1): 1 where the action is a forward run of the layer
    layer = np.array([moment.layer for moment in moments])
    backward = np.array([moment.kind == "backward" for moment in moments])
    ran = (layer[:, None] == np.arange(width)) & ~backward[:, None]

    states = b"".join(moments[index].internals for index in shown)
    inside = np.frombuffer(states, np.uint8).reshape(len(shown), width)
    kept = b"".join(moments[index].boundaries for index in shown)
    recomputed = (inside[:, 1:] == RECOMPUTED) @ internal_sizes
    return Playing(
        moments=[moments[index] for index in shown],
        boundaries=np.frombuffer(kept, np.uint8).reshape(len(shown), width),
        internals=inside,
        first_layer=np.array(first_layer),
        forwards=(~backward).cumsum()[shown],
        backwards=backward.cumsum()[shown],
        runs=ran.cumsum(0)[shown],
        boundary_units=np.array([moments[index].boundary_units for index in shown], float),
        kept_units=np.array([moments[index].internal_units for index in shown], float) - recomputed,
        recomputed_units=recomputed,
        lines=np.array([lines[index] for index in shown]),
        sizes=(boundary_sizes, internal_sizes),
        predicted=predicted,
    )


def _shown(moments: Sequence[Moment]) -> tuple[list[int], list[int]]:
    """The indices of the moments that become steps, and the first layer of the forwards that each step shows."""
    shown, first_layer, first = [], [], 0
    for index, moment in enumerate(moments):
        first = first or moment.layer
        following = moments[index + 1] if index + 1 < len(moments) else None
        continues = (
            len(moments) > ONE_BY_ONE
            and following is not None
            and moment.kind == following.kind == "forward"
            and following.layer == moment.layer + 1
            and following.again == moment.again
        )
        if not continues:
            shown.append(index)
            first_layer.append(first)
            first = 0
    return shown, first_layer
