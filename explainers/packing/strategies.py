"""Fourteen ways to put documents into packs, each a generator that yields a Placement for every piece it places.

The online ones see one document at a time: pad to longest, next-fit, first-fit, best-fit, K open buckets, wrap. The
others look at a window or at all documents first: first-fit- and best-fit-decreasing (Johnson 1973), balanced
buckets, and packing by histogram (Krell et al. 2021; see `histogram_packing`). lmms-engine calls next-fit "first-fit".

All take pieces, each no longer than the capacity, in stream order, and a Shelf to put them on. They place every piece
and close the packs that they are done with; what is open at the end, `flushed` closes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from explainers.packing import histogram_packing

Strategy = Literal[
    "pad_to_longest",
    "next_fit",
    "first_fit",
    "best_fit",
    "first_fit_decreasing",
    "best_fit_decreasing",
    "k_buckets",
    "balanced",
    "window",
    "lpfhp",
    "spfhp",
    "nnlshp",
    "lp",
    "wrap",
]


class Piece(NamedTuple):
    """A run of tokens of one document: the document's place in the stream, the first token, and how many."""

    document: int
    start: int
    length: int


@dataclass(frozen=True)
class Placement:
    """One piece put into a pack.

    opened: the pack was opened for it. closed: the packs that take nothing more from here on.
    """

    piece: Piece
    pack: int
    opened: bool
    closed: tuple[int, ...]


Placements = Generator[Placement, None, None]


class Shelf:
    """The packs of one capacity: how much is free in each, and which are open.

    checks_space: False asks only whether a pack has any space left, not whether the document fits into it.
    """

    def __init__(self, capacity: int, most_packs: int, checks_space: bool = True) -> None:
        self.capacity = capacity
        self.count = 0
        self.checks_space = checks_space
        self._free = np.full(most_packs, -1, dtype=np.int64)  # tokens, of an open pack; -1 for any other

    def free(self, pack: int) -> int:
        """Tokens that are free in an open pack."""
        return int(self._free[pack])

    def open(self) -> int:
        """A new, empty pack."""
        self._free[self.count] = self.capacity
        self.count += 1
        return self.count - 1

    def fits(self, pack: int, length: int) -> bool:
        """Whether so many tokens go into an open pack."""
        return self.free(pack) >= (length if self.checks_space else 1)

    def fitting(self, length: int) -> np.ndarray:
        """The open packs into which so many tokens go, in the order in which they were opened."""
        return np.flatnonzero(self._free[: self.count] >= (length if self.checks_space else 1))

    def still_open(self) -> tuple[int, ...]:
        """All open packs, in the order in which they were opened."""
        return tuple(np.flatnonzero(self._free[: self.count] >= 0).tolist())

    def close(self, packs: Sequence[int]) -> None:
        """These packs take nothing more."""
        self._free[list(packs)] = -1

    def fullest(self, packs: np.ndarray) -> int:
        """The pack with the least free space; of equals the one opened first."""
        return int(packs[self._free[packs].argmin()])

    def emptiest(self, packs: np.ndarray) -> int:
        """The pack with the most free space; of equals the one opened first."""
        return int(packs[self._free[packs].argmax()])

    def put(self, piece: Piece, pack: int | None, closing: Sequence[int] = ()) -> Placement:
        """Puts a piece into a pack, a new one for None. That pack closes when it is full, and so do those `closing`."""
        opened = pack is None
        pack = self.open() if pack is None else pack
        left = self.free(pack) - piece.length
        self._free[pack] = left if left > 0 else -1
        closed = (*closing, pack) if left <= 0 and pack not in closing else tuple(closing)
        self.close(closing)
        return Placement(piece, pack, opened, closed)


def alone(pieces: Sequence[Piece], shelf: Shelf) -> Placements:
    """Documents longer than the capacity, each alone in a pack as long as the document."""
    for piece in pieces:
        pack = shelf.open()
        shelf.close((pack,))
        yield Placement(piece, pack, True, (pack,))


# ----------------------------------------------------------------------------------- one document after another


def pad_to_longest(pieces: Sequence[Piece], shelf: Shelf, batch: int) -> Placements:
    """A row for every document, in batches as they come; each row is padded to the longest of its batch."""
    for first in range(0, len(pieces), batch):
        together = pieces[first : first + batch]
        rows = range(shelf.count, shelf.count + len(together))
        for piece in together:
            closing = tuple(rows) if piece is together[-1] and len(together) == batch else ()
            yield Placement(piece, shelf.open(), True, closing)


def next_fit(pieces: Sequence[Piece], shelf: Shelf) -> Placements:
    """One open buffer: a document that does not fit closes it and starts the next one."""
    pack = None
    for piece in pieces:
        if pack is not None and shelf.fits(pack, piece.length):
            placed = shelf.put(piece, pack)
        else:
            closing = () if pack is None or shelf.free(pack) < 0 else (pack,)
            placed = shelf.put(piece, None, closing)
        yield placed
        pack = placed.pack


def first_fit(pieces: Sequence[Piece], shelf: Shelf) -> Placements:
    """Every pack stays open: a document goes into the first one with room."""
    for piece in pieces:
        fitting = shelf.fitting(piece.length)
        # p = min { p : free(p) >= l }
        if len(fitting):
            yield shelf.put(piece, int(fitting[0]))
        else:
            yield shelf.put(piece, None)


def best_fit(pieces: Sequence[Piece], shelf: Shelf) -> Placements:
    """Every pack stays open: a document goes where it leaves the least free."""
    for piece in pieces:
        fitting = shelf.fitting(piece.length)
        # p = argmin { free(p) : free(p) >= l }
        if len(fitting):
            yield shelf.put(piece, shelf.fullest(fitting))
        else:
            yield shelf.put(piece, None)


def k_buckets(pieces: Sequence[Piece], shelf: Shelf, buckets: int, threshold: float) -> Placements:
    """At most K packs are open: best-fit among them; one is closed when filled to the threshold, or to make room."""
    for piece in pieces:
        fitting, still_open = shelf.fitting(piece.length), shelf.still_open()
        if len(fitting):
            pack = shelf.fullest(fitting)
            # used + l >= threshold × capacity
            filled = shelf.capacity - shelf.free(pack) + piece.length >= threshold * shelf.capacity
            yield shelf.put(piece, pack, (pack,) if filled else ())
            continue
        filled = piece.length >= threshold * shelf.capacity
        closing: tuple[int, ...] = ()
        if len(still_open) == buckets:
            closing = (shelf.fullest(np.array(still_open)),)
        yield shelf.put(piece, None, (*closing, shelf.count) if filled else closing)


def wrap(pieces: Sequence[Piece], shelf: Shelf) -> Placements:
    """All documents one after another, cut at every multiple of the capacity: nothing is padded but the end."""
    pack, position = None, 0
    for piece in pieces:
        document, start, left = piece
        while left:
            # up to the next multiple of C:  C - (position mod C)
            taken = min(left, shelf.capacity - position % shelf.capacity)
            placed = shelf.put(Piece(document, start, taken), pack if position % shelf.capacity else None)
            yield placed
            pack, position, start, left = placed.pack, position + taken, start + taken, left - taken


# -------------------------------------------------------------------------------------------- with a look ahead


def longest_first(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces by decreasing length, equal ones in stream order."""
    return sorted(pieces, key=lambda piece: -piece.length)


def first_fit_decreasing(pieces: Sequence[Piece], shelf: Shelf) -> Placements:
    """First-fit, the longest documents first: at most 11/9 of the optimum + 6/9 packs (Dosa 2007)."""
    yield from first_fit(longest_first(pieces), shelf)


def best_fit_decreasing(pieces: Sequence[Piece], shelf: Shelf) -> Placements:
    """Best-fit, the longest documents first; `fast` has the same for millions of documents."""
    yield from best_fit(longest_first(pieces), shelf)


def window(pieces: Sequence[Piece], shelf: Shelf, size: int) -> Placements:
    """Best-fit-decreasing within windows of the stream: its packs are closed before the next window is read."""
    for first in range(0, len(pieces), size):
        done = shelf.still_open()
        shelf.close(done)
        for place, placed in enumerate(best_fit_decreasing(pieces[first : first + size], shelf)):
            yield placed if place else replace(placed, closed=done + placed.closed)


def balanced(pieces: Sequence[Piece], shelf: Shelf) -> Placements:
    """As many packs as the tokens need at least; the longest document left goes into the emptiest one."""
    tokens = sum(piece.length for piece in pieces)
    wanted = -(-tokens // shelf.capacity)  # ceil(tokens / capacity)
    for piece in longest_first(pieces):
        fitting = shelf.fitting(piece.length)
        if shelf.count >= wanted and len(fitting):
            yield shelf.put(piece, shelf.emptiest(fitting))
        else:
            yield shelf.put(piece, None)


# --------------------------------------------------------------------------------------------------- by histogram

PACKERS: dict[str, histogram_packing.Packer] = {
    "lpfhp": histogram_packing.longest_pack_first,
    "spfhp": histogram_packing.shortest_pack_first,
    "nnlshp": histogram_packing.nnls,
    "lp": histogram_packing.linear_program,
}


def by_histogram(
    pieces: Sequence[Piece], shelf: Shelf, packer: histogram_packing.Packer, depth: int
) -> Placements:
    """How many packs of which lengths there are is decided first; then each length's documents are dealt to them."""
    counts = np.bincount([piece.length for piece in pieces])[1:]
    waiting: dict[int, deque[Piece]] = {}
    for piece in pieces:
        waiting.setdefault(piece.length, deque()).append(piece)
    for lengths, packs in packer(counts, shelf.capacity, depth):
        for _ in range(packs):
            pack = shelf.count
            for place, length in enumerate(lengths):
                last = place == len(lengths) - 1
                yield shelf.put(waiting[length].popleft(), pack if place else None, (pack,) if last else ())


# ---------------------------------------------------------------------------------------------------- any of them


@dataclass(frozen=True)
class Knobs:
    """The settings of single strategies: see the fields of the same names in `pack.PackParams`."""

    batch: int = 8
    buckets: int = 4
    threshold: float = 0.9
    window: int = 100
    depth: int = 0


PLAIN: dict[str, Callable[[Sequence[Piece], Shelf], Placements]] = {
    "next_fit": next_fit,
    "first_fit": first_fit,
    "best_fit": best_fit,
    "first_fit_decreasing": first_fit_decreasing,
    "best_fit_decreasing": best_fit_decreasing,
    "balanced": balanced,
    "wrap": wrap,
}


def place(strategy: Strategy, pieces: Sequence[Piece], shelf: Shelf, knobs: Knobs) -> Placements:
    """The strategy's generator over these pieces."""
    if strategy in PLAIN:
        return PLAIN[strategy](pieces, shelf)
    if strategy in PACKERS:
        return by_histogram(pieces, shelf, PACKERS[strategy], knobs.depth)
    if strategy == "pad_to_longest":
        return pad_to_longest(pieces, shelf, knobs.batch)
    if strategy == "window":
        return window(pieces, shelf, knobs.window)
    return k_buckets(pieces, shelf, knobs.buckets, knobs.threshold)


def code_of(strategy: Strategy) -> tuple[Callable[..., Any], ...]:
    """The functions that a reader should see for a strategy, the one that is called first at the top."""
    if strategy in PACKERS:
        return (by_histogram, PACKERS[strategy])
    more: dict[str, tuple[Callable[..., Any], ...]] = {
        "pad_to_longest": (pad_to_longest,),
        "first_fit_decreasing": (first_fit_decreasing, longest_first, first_fit),
        "best_fit_decreasing": (best_fit_decreasing, longest_first, best_fit),
        "k_buckets": (k_buckets,),
        "balanced": (balanced, longest_first),
        "window": (window, best_fit_decreasing, longest_first, best_fit),
    }
    return more.get(strategy) or (PLAIN[strategy],)


def flushed(placements: Sequence[Placement], forgets_newest: bool = False) -> list[Placement]:
    """The same placements; the last one also closes every pack that is still open when the stream ends.

    forgets_newest: the one opened last is not flushed, and so never handed on.
    """
    closed = {pack for placement in placements for pack in placement.closed}
    left = sorted({placement.pack for placement in placements} - closed)
    last = placements[-1]
    return [
        *placements[:-1],
        replace(last, closed=last.closed + tuple(left[:-1] if forgets_newest else left)),
    ]


def handed_on(placements: Sequence[Placement]) -> dict[int, tuple[Piece, ...]]:
    """The pieces of each pack that was closed, by its number: a pack that never closes never reaches the model."""
    pieces: dict[int, list[Piece]] = {pack: [] for placement in placements for pack in placement.closed}
    for placement in placements:
        if placement.pack in pieces:
            pieces[placement.pack].append(placement.piece)
    return {pack: tuple(pieces[pack]) for pack in sorted(pieces)}
