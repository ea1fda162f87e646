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
    """Packs that no packing of whole documents goes below, by functions that overstate what a document fills.

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
    """L2: a document above capacity - t counts as a whole pack, one below t as nothing; the best t <= capacity / 2.

    lengths: (documents,) ascending.
    """
    sums = np.concatenate([[0], lengths.cumsum()])
    t = np.unique(np.concatenate([[0], lengths[2 * lengths <= capacity]]))
    small = np.searchsorted(lengths, t, side="left")  # documents below t
    large = np.searchsorted(lengths, capacity - t, side="right")  # documents up to capacity - t
    tokens = sums[large] - sums[small]
    # (documents above capacity - t) + ceil(tokens of those from t to capacity - t / capacity)
    return int((len(lengths) - large + -(-tokens // capacity)).max())


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

    packs: the documents in each pack. A document in several pieces stands where its first one lies; documents left
    out leave no gap.
    """
    order = np.array(list(dict.fromkeys(document for pack in packs for document in pack)), dtype=np.int64)
    place_in_stream = np.argsort(np.argsort(order))
    return np.abs(place_in_stream - np.arange(len(order)))
