"""A played schedule as arrays over the steps that the player shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from explainers.checkpointing.chain import RECOMPUTED, Moment

ONE_BY_ONE = 1000  # a schedule with more actions shows a run of plain forwards as one step


@dataclass(frozen=True, eq=False)
class Playing:
    """The shown moments of a schedule, and what they hold.

    boundaries, internals: (steps, L + 1) states, at the layer's number. first_of_run: (steps,) the first of the forward
    runs that the step stands for. forwards, backwards: (steps,) how many so far. runs: (steps, L + 1) of each layer.
    boundary_units, kept_units, recomputed_units: (steps,) memory. lines: (steps,) of the schedule's source.
    """

    moments: list[Moment]
    boundaries: np.ndarray
    internals: np.ndarray
    first_of_run: np.ndarray
    forwards: np.ndarray
    backwards: np.ndarray
    runs: np.ndarray
    boundary_units: np.ndarray
    kept_units: np.ndarray
    recomputed_units: np.ndarray
    lines: np.ndarray
    sizes: tuple[np.ndarray, np.ndarray]  # (L,) of boundaries, of internal activations
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
        """The first step with the most memory."""
        return int(self.memory.argmax())

    def turns(self) -> tuple[int, ...]:
        """The steps at which the chain turns from forward to backward; the first alone where they are many."""
        turns = np.flatnonzero(self.backward & ~np.roll(self.backward, 1))
        return tuple(int(step) for step in (turns if len(turns) <= 24 else turns[:1]))

    def numbers(self) -> np.ndarray:
        """(steps, 9) the live numbers of the words: see `views.schedule.MOMENTS`."""
        layer = self.layer
        return np.stack(
            [
                layer,
                (self.boundaries > 0).sum(1),
                (self.internals > 0).sum(1),
                self.memory,
                self.forwards,
                self.backwards,
                self.first_of_run,
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
    """The moments that are shown: all of them, or in a long schedule the last of each run of plain forwards."""
    shown, first_of_run = _shown(moments)
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
        first_of_run=np.array(first_of_run),
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
    """The indices of the shown moments, and for each the first layer of its run of plain forwards."""
    shown, first_of_run, first = [], [], 0
    for index, moment in enumerate(moments):
        first = first or moment.layer
        following = moments[index + 1] if index + 1 < len(moments) else None
        goes_on = (
            len(moments) > ONE_BY_ONE
            and following is not None
            and moment.kind == following.kind == "forward"
            and following.layer == moment.layer + 1
            and following.again == moment.again
        )
        if not goes_on:
            shown.append(index)
            first_of_run.append(first)
            first = 0
    return shown, first_of_run
