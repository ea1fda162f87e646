"""Histogram packing as steps: what each step packs, and what is in the packs then."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from explainers.packing.histogram import GREEDY, HistogramResult
from explainers.packing.histogram_packing import Packs

MOST_STEPS = 256  # of lengths or compositions; where there are more, a step shows several
MOST_BARS = 128


@dataclass(frozen=True, eq=False)
class Playing:
    """The packing, step by step; step 0 is before it.

    shortest, longest: (steps,) the lengths that a step packs. placed: (steps,) sequences that it packs. formed:
    (steps,) packs that it opens. packs, tokens: (steps,) so far. left: (steps, bars) sequences not yet packed, by
    length. free: (steps, bars) free tokens in the packs so far, by the free space of their pack. width: lengths in a
    bar. placed_at: for each kind of pack, the step of each of its sequences.
    """

    shortest: np.ndarray
    longest: np.ndarray
    placed: np.ndarray
    formed: np.ndarray
    packs: np.ndarray
    tokens: np.ndarray
    left: np.ndarray
    free: np.ndarray
    width: int
    placed_at: list[np.ndarray]

    @property
    def steps(self) -> int:
        return len(self.packs)

    @property
    def efficiency(self) -> np.ndarray:
        """(steps,) as a share of 1, over all free and filled tokens; NaN before there is a pack."""
        whole = self.tokens + self.free.sum(1)
        return np.divide(self.tokens, whole, out=np.full(self.steps, np.nan), where=whole > 0)


def played(result: HistogramResult) -> Playing:
    """The steps, worked out from the finished packs: greedily, a pack is filled from its longest sequence on."""
    capacity, kinds = result.histogram.capacity, result.kinds
    by_length = result.strategy in GREEDY
    placed_at, last = _steps_by_length(result) if by_length else _steps_by_use(kinds)
    steps, width = last + 1, -(-capacity // MOST_BARS)
    bars = -(-capacity // width)

    # one entry a sequence of each kind of pack: when it is placed, and the free space of its pack from then on
    length = np.array([length for kind, _ in kinds for length in kind], int)
    count = np.array([count for kind, count in kinds for _ in kind], float)
    opens = np.array([at == 0 for kind, _ in kinds for at in range(len(kind))], bool)
    space = np.array([space for kind, _ in kinds for space in capacity - np.cumsum(kind)], int).clip(0)
    at = np.concatenate([[], *placed_at]).astype(int)
    until = np.concatenate([[], *[np.append(each[1:], steps) for each in placed_at]]).astype(int)

    free = np.zeros((steps + 1, bars))
    np.add.at(free, (at, (space - 1).clip(0) // width), count * space)
    np.add.at(free, (until, (space - 1).clip(0) // width), -count * space)
    packed = np.zeros((steps, bars))
    np.add.at(packed, (at, (length - 1).clip(0, capacity - 1) // width), count)
    whole = np.add.reduceat(result.histogram.counts, np.arange(0, capacity, width))
    shortest, longest = np.full(steps, capacity + 1), np.zeros(steps, int)
    np.minimum.at(shortest, at, length)
    np.maximum.at(longest, at, length)
    formed = np.bincount(at, count * opens, minlength=steps)
    return Playing(
        shortest=shortest,
        longest=longest,
        placed=packed.sum(1),
        formed=formed,
        packs=formed.cumsum(),
        tokens=np.bincount(at, count * length, minlength=steps).cumsum(),
        left=(whole - packed.cumsum(0)).clip(0),
        free=free[:steps].cumsum(0).clip(0),
        width=width,
        placed_at=placed_at,
    )


def _steps_by_length(result: HistogramResult) -> tuple[list[np.ndarray], int]:
    """The step of each sequence of each kind of pack, and the last step: from the longest length down."""
    occurring = np.flatnonzero(result.histogram.counts)[::-1] + 1
    stride = -(-len(occurring) // MOST_STEPS)
    step_of = np.zeros(result.histogram.capacity + 1, int)
    step_of[occurring] = 1 + np.arange(len(occurring)) // stride
    return [step_of[list(kind)] for kind, _ in result.kinds], int(step_of.max())


def _steps_by_use(kinds: Packs) -> tuple[list[np.ndarray], int]:
    """The same for packs that a plan forms whole: the most used composition first."""
    order = np.argsort([-count for _, count in kinds], kind="stable")
    stride = max(-(-len(kinds) // MOST_STEPS), 1)
    step = np.zeros(len(kinds), int)
    step[order] = 1 + np.arange(len(kinds)) // stride
    placed_at = [np.full(len(kind), at) for (kind, _), at in zip(kinds, step, strict=True)]
    return placed_at, int(step.max(initial=0))
