"""Packing by histogram: millions of sequences at once, because sequences of one length are all the same.

A histogram says how many sequences there are of each length. What is packed is not one sequence after another but
"410,000 packs of (300, 212)": the work depends on how many lengths there are, not on how many sequences.

Four ways: longest-pack-first and shortest-pack-first (LPFHP, SPFHP) and non-negative least squares (NNLSHP), all
three after Krell, Kosec, Perez and Fitzgibbon 2021, "Efficient sequence packing without cross-contamination"
(arXiv 2107.02027); and a linear program, which is our own.

In all of them counts is a whole-number array whose entry i is the number of sequences of length i + 1, capacity the
tokens of a pack, at least the greatest length that occurs, and depth the most sequences in a pack, 0 for no limit.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from explainers.contract.messages import Message
from explainers.packing.histogram_params import MOST_SLOTS, PLANNED_DEPTH

if TYPE_CHECKING:
    from scipy.sparse import csc_array

Packs = list[
    tuple[tuple[int, ...], int]
]  # the lengths in one pack, longest first, and how many such packs there are

SHORT = 8  # NNLSHP: sequences up to this length count little,
SHORT_WEIGHT = 0.09  # this much, for what does not fit costs few tokens (Krell et al.)


FRACTIONS = 10**12  # of a pack, in which the linear program's prices are counted


# --------------------------------------------------------------------------------------- length by length, greedily


class OpenPacks:
    """Packs with room for more, by their free space, and the packs that are closed.

    There is always an empty pack: an open one whose free space is the capacity.
    """

    def __init__(self, capacity: int, depth: int) -> None:
        self.capacity = capacity
        self.depth = depth or capacity  # a sequence has at least one token
        self.spaces: list[int] = []  # ascending, each once
        self.by_space: dict[int, Packs] = {}
        self.closed: Counter[tuple[int, ...]] = Counter()

    def least_space(self, length: int) -> int:
        """The free space of the fullest pack that still takes `length`: best fit."""
        found = bisect_left(self.spaces, length)
        return self.spaces[found] if found < len(self.spaces) else self.capacity

    def most_space(self, length: int) -> int:
        """The free space of the emptiest pack, if it takes `length`: worst fit."""
        return self.spaces[-1] if self.spaces and self.spaces[-1] >= length else self.capacity

    def take(self, space: int, needed: int) -> tuple[tuple[int, ...], int]:
        """The packs of that free space that were put there last; as many empty ones as needed where there are none."""
        stack = self.by_space.get(space)
        if stack is None:
            return (), needed
        taken = stack.pop()
        if not stack:
            del self.by_space[space]
            self.spaces.remove(space)
        return taken

    def put(self, pack: tuple[int, ...], space: int, packs: int) -> None:
        """Packs that have just been filled further: open, or closed where they take no more."""
        if space == 0 or len(pack) == self.depth:
            self.closed[pack] += packs
        elif pack and packs:
            if space not in self.by_space:
                insort(self.spaces, space)
            self.by_space.setdefault(space, []).append((pack, packs))

    def all(self) -> Packs:
        """Every pack, each composition once, those with the longest sequences first."""
        whole = Counter(self.closed)
        for stack in self.by_space.values():
            for pack, packs in stack:
                whole[pack] += packs
        return sorted(whole.items(), reverse=True)


def longest_pack_first(counts: np.ndarray, capacity: int, depth: int) -> Packs:
    """LPFHP: from the longest length down, into the fullest packs that take it, as often as it fits.

    This is best-fit-decreasing on a histogram, but for one liberty: a pack takes several sequences of a length at
    once, before the next pack is looked for. Time: about lengths × compositions, whatever the number of sequences.
    """
    open_packs = OpenPacks(capacity, depth)
    for length, left in longest_first(counts):
        while left:
            space = open_packs.least_space(length)
            pack, packs = open_packs.take(space, left)
            # r = min(⌊space / length⌋, depth - sequences in it, sequences left)
            repeats = min(space // length, open_packs.depth - len(pack), left)
            formed = min(packs, left // repeats)
            open_packs.put(pack, space, packs - formed)  # those for which there were not enough sequences
            open_packs.put(pack + (length,) * repeats, space - repeats * length, formed)
            left -= formed * repeats
    return open_packs.all()


def shortest_pack_first(counts: np.ndarray, capacity: int, depth: int) -> Packs:
    """SPFHP: from the longest length down, one sequence each into the packs with the most space.

    A new pack is opened only where the emptiest open one has no room: worst-fit-decreasing on a histogram.
    """
    open_packs = OpenPacks(capacity, depth)
    for length, left in longest_first(counts):
        while left:
            space = open_packs.most_space(length)
            pack, packs = open_packs.take(space, left)
            formed = min(packs, left)
            open_packs.put(pack, space, packs - formed)
            open_packs.put((*pack, length), space - length, formed)
            left -= formed
    return open_packs.all()


def longest_first(counts: np.ndarray) -> list[tuple[int, int]]:
    """The lengths that occur, longest first, each with the number of its sequences."""
    return [(int(index) + 1, int(counts[index])) for index in np.flatnonzero(counts)[::-1]]


# ------------------------------------------------------------------------------------- all packs at once, by a plan


@dataclass(frozen=True)
class Plan:
    """How often to use each strategy, before anything is rounded.

    A strategy is what one pack is made of: its slots, longest first, each for one sequence of at most that length.
    uses: (strategies,), not yet whole. packs: their sum, that is how many packs the relaxation takes.
    bound: packs that no packing within the depth goes below; 0 where the plan proves nothing.
    """

    strategies: list[tuple[int, ...]]
    uses: np.ndarray
    packs: float
    bound: int = 0


def nnls(counts: np.ndarray, capacity: int, depth: int) -> Packs:
    """NNLSHP: how often each strategy is used, from non-negative least squares; then rounded, the rest by LPFHP."""
    plan = least_squares_plan(counts, capacity, depth)
    return carry_out(plan, np.rint(plan.uses), counts, capacity, depth)


def linear_program(counts: np.ndarray, capacity: int, depth: int) -> Packs:
    """Our own: the strategies' uses from a linear program for the fewest packs; rounded down, the rest by LPFHP.

    LPFHP's own packing is returned where rounding has cost more than the program saved (few sequences of a length).
    """
    return carry_out_program(linear_plan(counts, capacity, depth), counts, capacity, depth)


def least_squares_plan(counts: np.ndarray, capacity: int, depth: int) -> Plan:
    """The uses x >= 0 that come nearest to using up the histogram, in the least squares.

    Takes tens of seconds for 512 lengths: the matrix has a row a length and 22,000 columns.
    """
    from scipy.optimize import nnls as solve

    lengths, demand = slots(counts)
    strategies = filling_strategies(lengths, capacity, planned_depth(depth))
    A = _incidence(lengths, strategies).toarray()
    w = np.where(lengths <= SHORT, SHORT_WEIGHT, 1.0)
    # min over x >= 0 of ‖ w (A x - counts) ‖₂, counts as a share of all sequences
    x, _ = solve(w[:, None] * A, w * demand / demand.sum(), maxiter=30 * len(lengths) + 1000)
    uses = x * demand.sum()
    return Plan(strategies, uses, float(uses.sum()))


def linear_plan(counts: np.ndarray, capacity: int, depth: int) -> Plan:
    """The uses x >= 0 that take the fewest packs.

    A slot may be handed down to a shorter sequence: with that, strategies that fill the pack as far as lengths
    allow are enough, and the program always has a solution. Up to depth 3, and with a slot for every length that
    occurs, all strategies are listed: then no packing of that depth takes fewer packs. Beyond, LPFHP's own packs join
    them, and nothing is proven.
    """
    from scipy.optimize import linprog
    from scipy.sparse import eye_array, hstack

    lengths, demand = slots(counts)
    strategies = filling_strategies(lengths, capacity, planned_depth(depth))
    if depth == 0 or depth > PLANNED_DEPTH:
        on_slots = np.bincount(lengths, demand, minlength=capacity + 1)[1:].astype(np.int64)
        greedy = longest_pack_first(on_slots, capacity, depth)
        strategies = list(dict.fromkeys(strategies + [pack for pack, _ in greedy]))
    A = _incidence(lengths, strategies)
    # y_l: slots of length l handed down to the next shorter length
    handed_down = eye_array(len(lengths), k=1) - eye_array(len(lengths))
    # min Σ x  subject to  (A x)_l - y_l + y_(next longer) = counts_l,  x >= 0, y >= 0
    cost = np.concatenate([np.ones(len(strategies)), np.zeros(len(lengths))])
    equal = hstack([A, handed_down], format="csc")
    solved = linprog(cost, A_eq=equal, b_eq=demand / demand.sum(), method="highs-ds")
    if solved.status != 0:
        raise RuntimeError(Message("the linear program was not solved: {reason}", reason=solved.message))
    uses = np.maximum(solved.x[: len(strategies)], 0) * demand.sum()
    all_listed = 0 < depth <= PLANNED_DEPTH and len(lengths) == np.count_nonzero(counts)
    bound = _proven_bound(A, demand, solved.eqlin.marginals) if all_listed else 0
    return Plan(strategies, uses, float(uses.sum()), bound)


def _proven_bound(A: csc_array, demand: np.ndarray, prices: np.ndarray) -> int:
    """Packs that no packing goes below, by duality: what the solver left inexact cannot raise it.

    prices: (slots,) of a sequence, in packs. Whatever they are, if no pack holds sequences worth more than 1, then
    all sequences together need as many packs as they are worth. Computed in whole fractions of a pack, so exactly.
    """
    # u ascending with the length, u >= 0
    u = np.floor(FRACTIONS * np.maximum.accumulate(np.maximum(prices, 0))).astype(np.int64)
    # the dearest pack, max(Aᵀ u), is worth 1
    dearest = max(FRACTIONS, int((A.T.astype(np.int64) @ u).max()))
    worth = sum(int(sequences) * price for sequences, price in zip(demand, u.tolist(), strict=True))
    return -(-worth // dearest)


def planned_depth(depth: int) -> int:
    """The most sequences in a strategy of a plan."""
    return min(depth or PLANNED_DEPTH, PLANNED_DEPTH)


def slots(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lengths of the slots that a plan uses, ascending, and how many sequences need each: (slots,) both.

    They are the lengths that occur, as long as those are few; else every sequence counts for a slot a little longer.
    """
    occurring = np.flatnonzero(counts) + 1
    stride = -(-len(occurring) // MOST_SLOTS)
    lengths = occurring[::-1][::stride][::-1]  # the longest is among them
    slot_of = np.searchsorted(lengths, occurring)
    demand = np.bincount(slot_of, counts[occurring - 1], minlength=len(lengths))
    return lengths, demand


def filling_strategies(lengths: np.ndarray, capacity: int, depth: int) -> list[tuple[int, ...]]:
    """All sets of up to `depth` (1 to 3) lengths in which no length could be replaced or joined by a longer one.

    lengths: (slots,) ascending. Where every length occurs, these are the strategies that fill a pack exactly.
    """
    if depth == 1:
        return [(int(length),) for length in lengths]
    if depth == 2:
        return [_pack(a, _longest_within(lengths, capacity - a)) for a in lengths[::-1].tolist()
                if _longest_within(lengths, capacity - a) <= a]  # fmt: skip
    first, second = np.triu_indices(len(lengths))
    a, b = lengths[::-1][first], lengths[::-1][second]  # a >= b
    space = capacity - a - b
    third = np.concatenate([[0], lengths])[np.searchsorted(lengths, space, side="right")]
    kept = (space >= 0) & (
        third <= b
    )  # a third longer than b: then the pair of the first and the third leads there
    triples = np.stack([a, b, third], axis=1)[kept].tolist()
    alone = [(int(a),) for a in lengths if a + lengths[0] > capacity]
    return [_pack(*triple) for triple in triples] + alone


def _longest_within(lengths: np.ndarray, space: int) -> int:
    """The longest of the lengths that fits into the space; 0 where none does."""
    found = int(np.searchsorted(lengths, space, side="right"))
    return int(lengths[found - 1]) if found else 0


def _pack(*parts: int) -> tuple[int, ...]:
    return tuple(part for part in parts if part)


def _incidence(lengths: np.ndarray, strategies: list[tuple[int, ...]]) -> csc_array:
    """A sparse (slots, strategies) matrix: how many slots of each length a strategy has."""
    from scipy.sparse import csc_array

    sizes = [len(strategy) for strategy in strategies]
    rows = np.searchsorted(lengths, [length for strategy in strategies for length in strategy])
    starts = np.concatenate([[0], np.cumsum(sizes)])
    matrix = csc_array((np.ones(len(rows)), rows, starts), shape=(len(lengths), len(strategies)))
    matrix.sum_duplicates()
    return matrix


# ------------------------------------------------------------------------------------------------ whole packs


def carry_out_program(plan: Plan, counts: np.ndarray, capacity: int, depth: int) -> Packs:
    """The linear program's plan rounded down to whole packs, the rest by LPFHP; or LPFHP's packing, if it is better."""
    # what the solver leaves just under a whole number is that number
    rounded = carry_out(plan, np.floor(plan.uses + 1e-6), counts, capacity, depth)
    return min(rounded, longest_pack_first(counts, capacity, depth), key=number_of)


def carry_out(plan: Plan, whole: np.ndarray, counts: np.ndarray, capacity: int, depth: int) -> Packs:
    """The packs of a plan whose uses are whole, filled with sequences, and LPFHP's packs of what is left."""
    planned, rest = fill(plan, whole, counts)
    return merged([*planned, *longest_pack_first(rest, capacity, depth)])


def fill(plan: Plan, whole: np.ndarray, counts: np.ndarray) -> tuple[Packs, np.ndarray]:
    """Sequences into the slots of the planned packs, each slot the longest that is left and fits.

    whole: (strategies,) the uses as whole numbers. Returns the packs, and the histogram of what found no slot.
    """
    remaining = Remaining(counts)
    packs: Packs = []
    for index in np.flatnonzero(whole):
        planned = int(whole[index])
        while planned:
            pack = tuple(length for slot in plan.strategies[index] if (length := remaining.take(slot)))
            if not pack:
                break
            # as many more packs of the same as there are sequences for
            more = min([planned - 1, *(remaining.left[length] // pack.count(length) for length in set(pack))])
            for length in pack:
                remaining.left[length] -= more
            packs.append((pack, 1 + more))
            planned -= 1 + more
    return packs, np.array(remaining.left[1:], dtype=np.int64)


class Remaining:
    """A histogram from which sequences are taken. left: how many there still are, by length."""

    def __init__(self, counts: np.ndarray) -> None:
        self.left = [0, *counts.tolist()]
        self.shorter = list(range(-1, len(counts)))  # where to look next, from a length of which none is left

    def take(self, slot: int) -> int:
        """Takes one sequence of the longest length left that fits into the slot; 0 where there is none."""
        length = slot
        while length and not self.left[length]:
            length = self.shorter[length]
        while slot > length:  # the next search goes from here to there at once
            self.shorter[slot], slot = length, self.shorter[slot]
        if length:
            self.left[length] -= 1
        return length


def merged(packs: Iterable[tuple[tuple[int, ...], int]]) -> Packs:
    """The same packs with each composition once, those with the longest sequences first."""
    whole: Counter[tuple[int, ...]] = Counter()
    for pack, count in packs:
        whole[tuple(sorted(pack, reverse=True))] += count
    return sorted(whole.items(), reverse=True)


def number_of(packs: Packs) -> int:
    """How many packs there are."""
    return sum(count for _, count in packs)


Packer = Callable[[np.ndarray, int, int], Packs]
