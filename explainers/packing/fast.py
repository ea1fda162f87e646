"""Best-fit-decreasing for millions of documents: the same packs as `strategies.best_fit_decreasing`, compiled.

The readable one looks through all open packs for every document, O(n packs). Lengths and free spaces are whole numbers
up to the capacity C, so here a document asks only which free space is the least that takes it:

- a skew heap for every free space 0 .. C holds the packs with that much free, the one opened first at its top
  (Sleator and Tarjan 1986, O(log n) amortized, three numbers a pack);
- from the longest length down, the least free space with a pack is looked for upwards from the length; a pack that
  was just filled is asked again first, because no other has less free that still suffices. At worst, where a few
  long lengths leave wide gaps, the search takes C steps a document; over many different lengths it takes a few.
"""

from __future__ import annotations

import numba
import numpy as np

from explainers.contract.messages import Message

NONE = -1


def best_fit_decreasing(lengths: np.ndarray, capacity: int) -> np.ndarray:
    """The number of each document's pack, (documents,) int64, packs numbered as they are opened.

    lengths: (documents,) whole numbers from 1 to capacity, in stream order. Raises ValueError for any other.
    """
    if len(lengths) and not (lengths.min() >= 1 and lengths.max() <= capacity):
        raise ValueError(
            Message(
                "lengths from {least} to {most} do not all lie within 1 and {capacity}",
                least=lengths.min(),
                most=lengths.max(),
                capacity=capacity,
            )
        )
    order = np.argsort(-lengths, kind="stable")
    pack_of = np.empty(len(lengths), dtype=np.int64)
    pack_of[order] = _place(lengths[order], capacity)
    return pack_of


@numba.njit(cache=True)
def _place(lengths: np.ndarray, capacity: int) -> np.ndarray:
    """Packs (documents,) of documents whose lengths (documents,) fall."""
    documents = len(lengths)
    packs = np.empty(documents, np.int64)
    top = np.full(capacity + 1, NONE, np.int64)  # of the heap for each free space
    left, right = np.full(documents, NONE, np.int64), np.full(documents, NONE, np.int64)
    path = np.empty(documents + 1, np.int64)
    opened, last, space = 0, 0, 0
    for document in range(documents):
        length = lengths[document]
        # free(p) = min { f >= l : some pack has f free };  for the same length again from where the last one was found
        space = length if length != last else space
        last = length
        while space <= capacity and top[space] == NONE:
            space += 1
        if space > capacity:
            pack, free, opened = opened, capacity, opened + 1
        else:
            pack, free = top[space], space
            top[space] = _merge(int(left[pack]), int(right[pack]), left, right, path)
            left[pack] = right[pack] = NONE
        packs[document] = pack
        free -= length
        if free:
            top[free] = _merge(int(top[free]), int(pack), left, right, path)
        if free >= length:
            space = min(space, free)
    return packs


@numba.njit(cache=True)
def _merge(a: int, b: int, left: np.ndarray, right: np.ndarray, path: np.ndarray) -> int:
    """The top of the skew heap that two become. left, right: (packs,) children; path: (packs + 1,) room to note."""
    steps = 0
    # down the right spines, the smaller top first
    while a != NONE and b != NONE:
        if b < a:
            a, b = b, a
        path[steps] = a
        steps += 1
        a = right[a]
    merged = a if b == NONE else b
    # and back up, with the children swapped at every step
    while steps:
        steps -= 1
        node = path[steps]
        right[node] = left[node]
        left[node] = merged
        merged = node
    return merged
