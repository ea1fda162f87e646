"""What packs cost: places that hold padding, arithmetic on them, waiting ranks, moved documents, and lower bounds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MOST_COUNTED = (
    20  # k of Fekete and Schepers' functions; larger ones say little about documents of many tokens
)


def lower_bound(lengths: np.ndarray, capacity: int) -> int:
    """ceil(tokens / capacity): even without any padding there are no fewer packs."""
    return -(-int(lengths.sum()) // capacity)


def proven_bound(lengths: np.ndarray, capacity: int) -> int:
    """Packs that no packing of whole documents goes below, by functions that round what a document fills.

    lengths: (documents,) each at most the capacity. Martello and Toth 1990 (L2) and Fekete and Schepers 2001 (u_k):
    each maps a length to a share of a pack such that no pack's documents exceed 1, so their sum is a lower bound.
    """
    if not len(lengths):
        return 0
    # u_k(x) = x where (k + 1) x is whole, else floor((k + 1) x) / k;  counted in units of 1 / (k capacity)
    best = lower_bound(lengths, capacity)
    for k in range(1, MOST_COUNTED + 1):
        whole, rest = np.divmod((k + 1) * lengths, capacity)
        units = np.where(rest == 0, k * lengths, whole * capacity)
        best = max(best, -(-int(units.sum()) // (k * capacity)))
    return max(best, _martello_toth(np.sort(lengths), capacity))


def _martello_toth(lengths: np.ndarray, capacity: int) -> int:
    """L2: for each t <= capacity / 2 the packs of the longer documents, and of what does not fit beside them; the most.

    lengths: (documents,) ascending. N1: longer than capacity - t, alone in a pack, as shorter than t is not counted.
    N2: the others above capacity / 2, no two in a pack. N3: from t to capacity / 2.
    """
    sums = np.concatenate([[0], lengths.cumsum()])
    t = np.unique(np.concatenate([[0], lengths[2 * lengths <= capacity]]))
    from_t = np.searchsorted(lengths, t, side="left")
    halves = np.searchsorted(2 * lengths, capacity, side="right")
    above = np.searchsorted(lengths, capacity - t, side="right")
    n1, n2 = len(lengths) - above, above - halves
    space_beside = n2 * capacity - (sums[above] - sums[halves])
    # L(t) = |N1| + |N2| + max(0, ceil((sum of N3 - (|N2| capacity - sum of N2)) / capacity))
    more = -(-(sums[halves] - sums[from_t] - space_beside) // capacity)
    return int((n1 + n2 + np.maximum(more, 0)).max())


def percent_wasted(used: float, spent: float) -> float:
    """100 (1 - used / spent); 0 where nothing is spent."""
    return 100 * (1 - used / spent) if spent else 0.0


def waiting_percent(work: Sequence[int], ranks: int) -> float:
    """The share of all ranks' time that they wait, if they take the packs in turn and meet after each step.

    work: (packs,) what a pack takes. A step lasts as long as its largest pack; a rank without a pack waits.
    """
    steps = np.zeros((-(-len(work) // ranks), ranks))
    steps.ravel()[: len(work)] = work
    # 1 - sum of work / (ranks × sum over steps of the largest)
    return percent_wasted(float(steps.sum()), ranks * float(steps.max(axis=1, initial=0).sum()))


def displacement(packs: Sequence[Sequence[int]]) -> np.ndarray:
    """By how many places each document comes earlier or later than in the stream: (documents packed,).

    packs: the documents in each pack. A document in several pieces counts where its first piece is; documents left
    out leave no gap.
    """
    order = np.array(list(dict.fromkeys(document for pack in packs for document in pack)), dtype=np.int64)
    place_in_stream = np.argsort(np.argsort(order))
    return np.abs(place_in_stream - np.arange(len(order)))
