"""A whole corpus packed by its length histogram: longest or shortest pack first, least squares, a linear program.

The packers themselves are in `histogram_packing`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from explainers.contract.experiment import experiment
from explainers.contract.messages import Message
from explainers.contract.result import Check, Checked
from explainers.packing.histogram_packing import (
    PLANNED_DEPTH,
    Packer,
    Packs,
    Plan,
    carry_out,
    carry_out_program,
    fill,
    least_squares_plan,
    linear_plan,
    longest_pack_first,
    number_of,
    shortest_pack_first,
)
from explainers.packing.histogram_params import BREAKS, LABELS, Histogram, HistogramParams

MOST_SHOWN = 16  # rows of the strategy table

GREEDY: Mapping[str, Packer] = {"lpfhp": longest_pack_first, "spfhp": shortest_pack_first}


@dataclass(frozen=True)
class PackKind:
    """Packs of one composition. lengths: longest first. packs: how many there are. padding: tokens in each."""

    lengths: tuple[int, ...]
    packs: int
    padding: int


@dataclass(frozen=True, eq=False)
class HistogramResult(Checked):
    """A corpus in packs.

    packs: their number. efficiency_percent: tokens over packs × capacity; padding_percent is what is missing to 100,
    unpacked_padding_percent what it would be with one sequence a pack. seconds: of packing. sequences, tokens: of the
    histogram. capacity: tokens of a pack. max_depth: most sequences in a pack. compositions: how many kinds of pack
    there are; strategy_table: the most used of them. lower_bound: packs that no packing of this depth goes
    below, by counting.
    relaxation_packs: packs of the linear program before rounding, None for the other strategies; proven_bound: packs
    that no packing of this depth goes below, by the program's dual prices, None where they prove nothing. kinds: all
    packs, those with the longest sequences first.
    """

    strategy: str
    label: str
    packs: int
    efficiency_percent: float
    padding_percent: float
    unpacked_padding_percent: float
    seconds: float
    sequences: int
    tokens: int
    capacity: int
    max_depth: int
    compositions: int
    strategy_table: tuple[PackKind, ...]
    lower_bound: int
    relaxation_packs: float | None
    proven_bound: int | None
    notes: tuple[str, ...]
    checks: tuple[Check, ...]
    params: HistogramParams = field(metadata={"shell": False})
    histogram: Histogram = field(metadata={"shell": False})
    kinds: Packs = field(metadata={"shell": False})


@experiment("packing.histogram", breaks=BREAKS)
def histogram(params: HistogramParams) -> HistogramResult:
    """A whole corpus packed by its length histogram: how many packs of each kind, in how much time."""
    lengths = params.lengths
    started = time.perf_counter()
    kinds, plan = pack(params, lengths)
    seconds = time.perf_counter() - started
    packs = number_of(kinds)
    filled = sum(count * sum(kind) for kind, count in kinds)
    # efficiency = tokens / (packs × capacity)
    efficiency = 100 * filled / (packs * lengths.capacity) if packs else 0.0
    most_used = sorted(kinds, key=lambda kind: (-kind[1], kind[0]))[:MOST_SHOWN]
    relaxed = params.strategy == "lp" and plan is not None
    return HistogramResult(
        strategy=params.strategy,
        label=LABELS[params.strategy],
        packs=packs,
        efficiency_percent=efficiency,
        padding_percent=100 - efficiency,
        unpacked_padding_percent=100 * (1 - lengths.tokens / (lengths.sequences * lengths.capacity)),
        seconds=seconds,
        sequences=lengths.sequences,
        tokens=lengths.tokens,
        capacity=lengths.capacity,
        max_depth=max((len(kind) for kind, _ in kinds), default=0),
        compositions=len(kinds),
        strategy_table=tuple(
            PackKind(kind, count, lengths.capacity - sum(kind)) for kind, count in most_used
        ),
        lower_bound=lower_bound(lengths, params.depth),
        relaxation_packs=plan.packs if plan and relaxed else None,
        proven_bound=plan.bound if plan and plan.bound else None,
        notes=tuple(_notes(params, lengths, plan, packs)),
        checks=tuple(_checks(params, lengths, kinds, plan)),
        params=params,
        histogram=lengths,
        kinds=kinds,
    )


def pack(params: HistogramParams, lengths: Histogram) -> tuple[Packs, Plan | None]:
    """The packs, and the plan that they carry out; None for a greedy strategy, which has no plan."""
    depth = 0 if params.break_it == "ignore_depth" else params.depth
    capacity = lengths.capacity + (params.break_it == "capacity_off_by_one")
    if params.strategy in GREEDY:
        return GREEDY[params.strategy](lengths.counts, capacity, depth), None
    least_squares = params.strategy == "nnlshp"
    plan = (least_squares_plan if least_squares else linear_plan)(lengths.counts, capacity, depth)
    if params.break_it == "forget_remainder":
        return fill(plan, np.floor(plan.uses), lengths.counts)[0], plan
    if least_squares:
        return carry_out(plan, np.rint(plan.uses), lengths.counts, capacity, depth), plan
    return carry_out_program(plan, lengths.counts, capacity, depth), plan


def lower_bound(lengths: Histogram, depth: int) -> int:
    """Packs below which no packing of this depth goes: by tokens, by sequences, and by those above half a pack."""
    by_tokens = -(-lengths.tokens // lengths.capacity)
    by_depth = -(-lengths.sequences // depth) if depth else 0
    by_halves = int(lengths.counts[lengths.capacity // 2 :].sum())  # no two of these share a pack
    return max(by_tokens, by_depth, by_halves)


def _checks(params: HistogramParams, lengths: Histogram, kinds: Packs, plan: Plan | None) -> Iterator[Check]:
    packed = np.zeros(lengths.capacity + 1, np.int64)
    for kind, count in kinds:
        np.add.at(packed, list(kind), count)
    wrong = int(np.abs(packed[1:] - lengths.counts).sum())
    yield Check(
        "every sequence is in a pack, once",
        wrong,
        0,
        Message("the histogram: {sequences:,} sequences", sequences=lengths.sequences),
    )
    over = max((sum(kind) for kind, _ in kinds), default=0) - lengths.capacity
    capacity = Message("{capacity:,} tokens", capacity=lengths.capacity)
    yield Check("no pack is over capacity, in tokens", max(over, 0), 0, capacity)
    if params.depth:
        over = max((len(kind) for kind, _ in kinds), default=0) - params.depth
        depth = Message("{depth:,}", depth=params.depth)
        yield Check("no pack holds more sequences than the depth", max(over, 0), 0, depth)
    bound = lower_bound(lengths, params.depth)
    reference = Message("counting tokens, sequences and long sequences: {bound:,}", bound=bound)
    if plan and plan.bound > bound:
        bound = plan.bound
        reference = Message("the linear program's dual prices: {bound:,}", bound=bound)
    missing = max(bound - number_of(kinds), 0)
    yield Check("no fewer packs than the lower bound", missing, 0, reference)


def _notes(params: HistogramParams, lengths: Histogram, plan: Plan | None, packs: int) -> Iterator[Message]:
    if plan is None:
        return
    if params.strategy == "lp":
        yield Message(
            "A linear program over patterns is Gilmore and Gomory's for cutting stock (1961); we know of no published "
            "packer of sequences that uses one."
        )
    if params.depth == 0 or params.depth > PLANNED_DEPTH:
        yield _planned_strategies(params)
    occurring = int(np.count_nonzero(lengths.counts))
    if len({slot for strategy in plan.strategies for slot in strategy}) < occurring:
        yield Message(
            "{lengths:,} lengths are too many to plan one by one: neighbours share a slot of the longest of them.",
            lengths=occurring,
        )
    greedy = number_of(longest_pack_first(lengths.counts, lengths.capacity, params.depth))
    if params.strategy == "lp" and packs >= greedy:
        yield Message(
            "Longest-pack-first needs no more packs here: with few sequences of a length, rounding costs what the "
            "program saves."
        )


def _planned_strategies(params: HistogramParams) -> Message:
    """Which strategies the plan chooses from where the depth is too great to list all."""
    if params.strategy == "lp":
        return Message(
            "The plan's strategies are all those of up to {depth} sequences, and those that longest-pack-first uses; "
            "what rounding leaves over is packed to the full depth.",
            depth=PLANNED_DEPTH,
        )
    return Message(
        "The plan's strategies are all those of up to {depth} sequences; what rounding leaves over is packed to the "
        "full depth.",
        depth=PLANNED_DEPTH,
    )
