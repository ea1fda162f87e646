"""The placements of packing as steps: what each step shows, and what is in the packs then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from explainers.packing.pack import Outcome
from explainers.packing.strategies import Placement

MOST_STEPS = 1000  # of more placements, a step shows several


@dataclass(frozen=True, eq=False)
class Playing:
    """One strategy's placements as arrays over the placements, and over the steps that the player shows.

    document, length, pack, opened: (placements,). first: the piece's first token in its document. position: where in
    the pack it lies. step: at which it appears. widths: (packs,), of all that were opened. closes: (packs,) a step, -1
    for never.
    tokens, places, opened_so_far: (steps,) placed tokens, width of the packs opened so far, their number; in the
    end without packs that never close.
    latest: (steps,) the step's last placement; -1 before the first.
    """

    label: str
    document: np.ndarray
    first: np.ndarray
    length: np.ndarray
    pack: np.ndarray
    opened: np.ndarray
    position: np.ndarray
    step: np.ndarray
    closes: np.ndarray
    closed_at: np.ndarray  # (steps,) how many packs close at each step
    widths: np.ndarray
    tokens: np.ndarray
    places: np.ndarray
    opened_so_far: np.ndarray
    latest: np.ndarray

    @property
    def packs(self) -> int:
        return len(self.widths)

    @property
    def placed(self) -> np.ndarray:
        """(steps,) tokens placed so far; in the end also those in packs that never close."""
        return np.maximum.accumulate(self.tokens)

    @property
    def padding_percent(self) -> np.ndarray:
        """(steps,) of the places opened so far, NaN before the first."""
        # padding = 1 - tokens / places
        return 100 * (1 - self.tokens / np.where(self.places, self.places, np.nan))


def grouping(outcomes: Sequence[Outcome]) -> tuple[int, int]:
    """How many placements a step shows, and how many steps there are: before the first, the placements, the end."""
    most = max(len(outcome.placements) for outcome in outcomes)
    together = -(-most // MOST_STEPS)
    return together, 2 + -(-most // together)


def playing_of(outcome: Outcome, capacity: int, together: int, steps: int) -> Playing:
    placements = outcome.placements
    pieces = np.array([placement.piece for placement in placements], np.int64)
    pack = np.array([placement.pack for placement in placements], np.int64)
    opened = np.array([placement.opened for placement in placements], bool)
    step = 1 + np.arange(len(placements)) // together
    length, packs = pieces[:, 2], int(pack.max()) + 1
    closes = _closes(placements, step, packs)
    widths = np.full(packs, capacity)
    widths[closes >= 0] = outcome.widths
    first_step = np.full(packs, steps)
    np.minimum.at(first_step, pack, step)
    latest = np.searchsorted(step, np.arange(steps), side="right") - 1
    tokens, places = np.bincount(step, length, steps), np.bincount(first_step, widths, steps)
    # in the end, packs that never close count no more
    tokens[-1] -= length[closes[pack] < 0].sum()
    places[-1] -= widths[closes < 0].sum()
    return Playing(
        label=outcome.label,
        document=pieces[:, 0],
        first=pieces[:, 1],
        length=length,
        pack=pack,
        opened=opened,
        position=_positions(pack, length, packs),
        step=step,
        closes=closes,
        closed_at=np.bincount(closes[closes >= 0], minlength=steps),
        widths=widths,
        tokens=tokens.cumsum(),
        places=places.cumsum(),
        opened_so_far=np.bincount(first_step, minlength=steps).cumsum(),
        latest=latest,
    )


def _positions(pack: np.ndarray, length: np.ndarray, packs: int) -> np.ndarray:
    """(placements,) how full the pack was before each."""
    fill, positions = np.zeros(packs, np.int64), np.zeros(len(pack), np.int64)
    for k, (at, tokens) in enumerate(zip(pack, length, strict=True)):
        positions[k] = fill[at]
        fill[at] += tokens
    return positions


def _closes(placements: Sequence[Placement], step: np.ndarray, packs: int) -> np.ndarray:
    """(packs,) the step at which each closes; -1 for one that never does, so that what lies in it is lost."""
    closes = np.full(packs, -1)
    for placement, at in zip(placements, step, strict=True):
        closes[list(placement.closed)] = at
    return closes


def stops(play: Playing) -> tuple[int, ...]:
    """The steps at which packs open, where they are few enough for the scrub bar."""
    stops = np.unique(play.step[play.opened])
    return tuple(int(step) for step in stops) if len(stops) <= 48 else ()
