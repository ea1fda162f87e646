"""A stream of documents packed into sequences of one capacity, document after document, and what that costs.

The strategies are in `strategies`, the streams in `lengths`, the counts in `measures`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from explainers.contract.experiment import experiment
from explainers.contract.messages import Message, joined, plural
from explainers.contract.result import Check, Checked
from explainers.packing import measures, strategies
from explainers.packing.lengths import stream
from explainers.packing.pack_params import BREAKS, LABELS, Overlong, PackParams
from explainers.packing.strategies import Knobs, Piece, Placement, Shelf, Strategy, flushed, handed_on

# -------------------------------------------------------------------------------------------------- results


@dataclass(frozen=True, eq=False)
class Outcome:
    """One strategy's packs, and what they cost.

    packs: the documents of each pack, by their place in the stream from 0, in the order in which they lie in it.
    runs: the same as (document, first token, tokens). widths: the tokens that each pack occupies, padding included.
    lower_bound: ceil(tokens / capacity), as many packs for each longer document alone as it takes: one.
    proven_bound: a sharper one, see `measures.proven_bound`. padding_percent: of all places. attention_waste_percent:
    of the sums of squares of the widths, what no document needs. documents_cut: those that lie in several pieces or
    lost their end; documents_dropped: those left out. max_depth: most documents in a pack. imbalance_*_percent: the
    share of time that ranks wait for the slowest, taking the packs in turn, with a pack's work its tokens or its sum
    of squared lengths. displacement_*: by how many documents one comes earlier or later than in the stream.
    placements: in the order in which the strategy placed; lines: of the file `strategies.py`, on which it then paused.
    """

    strategy: str
    label: str
    packs: tuple[tuple[int, ...], ...]
    runs: tuple[tuple[Piece, ...], ...]
    widths: tuple[int, ...]
    n_packs: int
    lower_bound: int
    proven_bound: int
    padding_percent: float
    attention_waste_percent: float
    documents_cut: int
    documents_dropped: tuple[int, ...]
    tokens_lost: int
    max_depth: int
    imbalance_tokens_percent: float
    imbalance_attention_percent: float
    displacement_mean: float
    displacement_most: int
    placements: tuple[Placement, ...] = field(metadata={"shell": False})
    lines: tuple[int, ...] = field(metadata={"shell": False})


@dataclass(frozen=True, eq=False)
class PackResult(Outcome, Checked):
    """The chosen strategy's outcome, and the second one's if there is one.

    documents: (documents,) their lengths in stream order, in tokens, before any was dropped or cut.
    """

    documents: np.ndarray
    capacity: int
    other: Outcome | None
    notes: tuple[str, ...]
    checks: tuple[Check, ...]
    params: PackParams = field(metadata={"shell": False})


# --------------------------------------------------------------------------------------------- the experiment


@experiment("packing.pack", breaks=BREAKS)
def pack(params: PackParams) -> PackResult:
    """Documents of unequal length packed into sequences of one capacity, by fourteen strategies."""
    lengths = stream(params)
    chosen = outcome_of(params.strategy, lengths, params)
    other = None if params.versus == "none" else outcome_of(params.versus, lengths, params)
    return PackResult(
        **{entry.name: getattr(chosen, entry.name) for entry in fields(Outcome)},
        documents=lengths,
        capacity=params.capacity,
        other=other,
        notes=tuple(_notes(params, lengths, chosen)),
        checks=tuple(_checks(params, lengths, [chosen, other] if other else [chosen])),
        params=params,
    )


def prepared(
    lengths: np.ndarray, capacity: int, overlong: Overlong
) -> tuple[list[Piece], list[Piece], list[int]]:
    """The pieces to pack, those alone in a longer pack, and the documents dropped, in stream order."""
    pieces: list[Piece] = []
    alone: list[Piece] = []
    dropped: list[int] = []
    for document, length in enumerate(lengths.tolist()):
        if length <= capacity:
            pieces.append(Piece(document, 0, length))
        elif overlong == "drop":
            dropped.append(document)
        elif overlong == "alone":
            alone.append(Piece(document, 0, length))
        elif overlong == "truncate":
            pieces.append(Piece(document, 0, capacity))
        else:
            pieces += [Piece(document, at, min(capacity, length - at)) for at in range(0, length, capacity)]
    return pieces, alone, dropped


def outcome_of(strategy: Strategy, lengths: np.ndarray, params: PackParams) -> Outcome:
    """The packs of one strategy over the stream, with over-long documents treated as the settings say."""
    capacity = params.capacity
    pieces, alone, dropped = prepared(lengths, capacity, params.overlong)
    if strategy == "wrap" and params.overlong == "cut":  # it cuts by itself, wherever a pack ends
        pieces = [Piece(document, 0, length) for document, length in enumerate(lengths.tolist())]
    placements, lines = _placed(strategy, pieces, alone, params)
    closed = handed_on(placements)
    runs, widths = tuple(closed.values()), _widths(strategy, closed, len(alone), params)
    packs = tuple(tuple(piece.document for piece in pack) for pack in runs)
    kept = np.array([piece.length for pack in runs for piece in pack])
    moved = measures.displacement(packs)
    to_pack = np.array([piece.length for piece in pieces], dtype=np.int64)
    least = measures.lower_bound(to_pack, capacity)
    proven = least if strategy == "wrap" else measures.proven_bound(to_pack, capacity)
    squares = [sum(piece.length**2 for piece in pack) for pack in runs]
    return Outcome(
        strategy=strategy,
        label=LABELS[strategy],
        packs=packs,
        runs=runs,
        widths=widths,
        n_packs=len(packs),
        lower_bound=least + len(alone),
        proven_bound=proven + len(alone),
        # 1 - tokens / places
        padding_percent=measures.percent_wasted(float(kept.sum()), sum(widths)),
        # 1 - sum of l^2 / sum of width^2
        attention_waste_percent=measures.percent_wasted(sum(squares), sum(width**2 for width in widths)),
        documents_cut=_documents_cut(runs, lengths),
        documents_dropped=tuple(dropped),
        tokens_lost=int(lengths.sum() - kept.sum()),
        max_depth=max((len(pack) for pack in runs), default=0),
        imbalance_tokens_percent=measures.waiting_percent(
            [sum(piece.length for piece in pack) for pack in runs], params.ranks
        ),
        imbalance_attention_percent=measures.waiting_percent(squares, params.ranks),
        displacement_mean=float(moved.mean()) if len(moved) else 0.0,
        displacement_most=int(moved.max(initial=0)),
        placements=tuple(placements),
        lines=tuple(lines),
    )


def _placed(
    strategy: Strategy, pieces: list[Piece], alone: list[Piece], params: PackParams
) -> tuple[list[Placement], list[int]]:
    """The strategy's placements, after those of the documents alone; and the lines on which the generators paused."""
    tokens = sum(piece.length for piece in pieces)
    most_packs = len(pieces) + len(alone) + tokens // params.capacity + 1
    shelf = Shelf(params.capacity, most_packs, checks_space=params.break_it != "over_capacity")
    knobs = Knobs(params.batch, params.buckets, params.threshold, params.window, params.depth)
    placements: list[Placement] = []
    lines: list[int] = []
    runs = [strategies.alone(alone, shelf)]
    if pieces:
        runs.append(strategies.place(strategy, pieces, shelf, knobs))
    for run in runs:
        for placement in run:
            placements.append(placement)
            lines.append(_innermost_line(run))
    return flushed(placements, forgets_newest=params.break_it == "lose_last_pack"), lines


def _innermost_line(run: Any) -> int:
    """The line on which a generator paused, or the one to which it has handed over."""
    while run.gi_yieldfrom is not None:
        run = run.gi_yieldfrom
    return run.gi_frame.f_lineno


def _widths(
    strategy: Strategy, closed: dict[int, tuple[Piece, ...]], alone: int, params: PackParams
) -> tuple[int, ...]:
    """The tokens that each pack occupies: the capacity, or more for what is longer; a row, its batch's longest.

    alone: how many packs, the first ones, hold a longer document by itself.
    """
    used = {pack: sum(piece.length for piece in pieces) for pack, pieces in closed.items()}
    if strategy != "pad_to_longest":
        return tuple(
            tokens if pack < alone else max(tokens, params.capacity) for pack, tokens in used.items()
        )
    longest: dict[int, int] = {}
    for row, tokens in used.items():
        batch = (row - alone) // params.batch
        longest[batch] = max(tokens, longest.get(batch, 0))
    return tuple(
        tokens if row < alone else longest[(row - alone) // params.batch] for row, tokens in used.items()
    )


def _documents_cut(runs: Sequence[Sequence[Piece]], lengths: np.ndarray) -> int:
    """Documents of which no piece is the whole: in several packs, or a part of them in none."""
    held = {piece.document: piece.length for pack in runs for piece in pack}
    return sum(
        length < whole for length, whole in zip(held.values(), lengths[list(held)].tolist(), strict=True)
    )


# ------------------------------------------------------------------------------------------------- the checks


def _checks(params: PackParams, lengths: np.ndarray, outcomes: Sequence[Outcome]) -> Iterator[Check]:
    """The checks of each strategy; of two, each says first which strategy it checks."""
    for outcome in outcomes:
        for check in _checks_of_strategy(params, lengths, outcome):
            labelled = joined([outcome.label, check.what], ": ")
            yield replace(check, what=labelled) if len(outcomes) > 1 else check


def _checks_of_strategy(params: PackParams, lengths: np.ndarray, outcome: Outcome) -> Iterator[Check]:
    wrong = sum(not whole for whole in _whole_documents(params, lengths, outcome))
    yield Check(
        "every document lies in exactly one pack, or whole in its pieces, or is listed as dropped",
        wrong,
        0,
        "the lengths of the stream, document by document",
    )
    yield Check(
        "no pack is over the capacity",
        _overrun(params, outcome),
        0,
        plural("{count:,} token", "{count:,} tokens", count=params.capacity),
    )
    yield Check(
        "no fewer packs than the proven bound",
        max(outcome.proven_bound - outcome.n_packs, 0),
        0,
        Message(
            "at least {bound:,}: tokens / capacity, Martello and Toth's L2, Fekete and Schepers' u_k",
            bound=outcome.proven_bound,
        ),
    )
    if outcome.strategy == "first_fit_decreasing":
        yield _within_proven_ratio(lengths, params, outcome)


def _whole_documents(params: PackParams, lengths: np.ndarray, outcome: Outcome) -> Iterator[bool]:
    """For every document, whether its pieces are all of it and nothing twice, or it was to be dropped and is."""
    found: dict[int, list[Piece]] = {}
    for piece in (piece for pack in outcome.runs for piece in pack):
        found.setdefault(piece.document, []).append(piece)
    dropped = set(outcome.documents_dropped)
    for document, length in enumerate(lengths.tolist()):
        overlong = length > params.capacity
        due = min(length, params.capacity) if params.overlong == "truncate" else length
        due = 0 if overlong and params.overlong == "drop" else due
        reached = 0
        for piece in sorted(found.get(document, ())):
            reached = reached + piece.length if piece.start == reached else -1
        yield reached == due and (document in dropped) == (due == 0)


def _overrun(params: PackParams, outcome: Outcome) -> int:
    """Tokens by which the worst pack is over the capacity; a longer document alone in its pack is meant to be."""
    meant = params.overlong == "alone"
    return max(
        (
            max(sum(piece.length for piece in pack) - params.capacity, 0)
            for pack in outcome.runs
            if not (meant and len(pack) == 1)
        ),
        default=0,
    )


def _within_proven_ratio(lengths: np.ndarray, params: PackParams, outcome: Outcome) -> Check:
    """FFD <= 11/9 OPT + 6/9. Where the lower bound L proves it, OPT >= L is used; else a packing of U >= OPT packs.

    With L a pass is a proof; with U only a failure is: no more packs than 11/9 U + 6/9 is what must follow.
    """
    apart = sum(length > params.capacity for length in lengths.tolist()) if params.overlong == "alone" else 0
    packs, least = outcome.n_packs - apart, outcome.proven_bound - apart
    known = least
    reference = Message(
        "Dósa 2007; OPT ≥ {known:,} by the proven bound, so this is certain",
        known=known,
    )
    if packs > 11 / 9 * least + 6 / 9:
        known = outcome_of("best_fit_decreasing", lengths, params).n_packs - apart
        reference = Message(
            "Dósa 2007; OPT ≤ {known:,} by best-fit-decreasing, as the proven bound leaves it open",
            known=known,
        )
    return Check(
        "first-fit-decreasing keeps within 11/9 OPT + 6/9 packs",
        max(packs - (11 / 9 * known + 6 / 9), 0),
        0,
        reference,
    )


def _notes(params: PackParams, lengths: np.ndarray, outcome: Outcome) -> Iterator[Message]:
    longer = lengths[lengths > params.capacity]
    if len(longer):
        yield _longer_than_the_capacity(longer, params)
    chosen = {params.strategy, params.versus}
    if "next_fit" in chosen:
        yield Message(
            "Next-fit has one open buffer. Some training code, lmms-engine among it, calls this first-fit."
        )
    if "pad_to_longest" in chosen:
        yield Message("Padded to the longest, every document has its own row; a row is counted as a pack.")
    if "window" in chosen and params.window >= len(lengths):
        yield Message("The window holds the whole stream, so this is best-fit-decreasing.")
    if chosen & {"nnlshp", "lp"}:
        yield Message(
            "Rounded to whole packs: with few documents of each length, what the plan saves can be lost in rounding."
        )
    if outcome.strategy == "wrap":
        yield Message(
            "Wrap cuts documents wherever a pack ends, so only tokens / capacity bounds it from below."
        )


def _longer_than_the_capacity(longer: np.ndarray, params: PackParams) -> Message:
    """What happens to documents over the capacity. longer: (documents,) their lengths."""
    values = {"count": len(longer), "tokens": int(longer[0]), "capacity": params.capacity}
    if params.overlong == "drop":
        return plural(
            "{count} document of {tokens:,} tokens is longer than the capacity of {capacity:,}: it is left out.",
            "{count:,} documents are longer than the capacity of {capacity:,}: they are left out.",
            **values,
        )
    if params.overlong == "cut":
        return plural(
            "{count} document of {tokens:,} tokens is longer than the capacity of {capacity:,}: it is cut into pieces "
            "of the capacity and a rest.",
            "{count:,} documents are longer than the capacity of {capacity:,}: they are cut into pieces of the "
            "capacity and a rest.",
            **values,
        )
    if params.overlong == "truncate":
        return plural(
            "{count} document of {tokens:,} tokens is longer than the capacity of {capacity:,}: it is cut off there, "
            "and the rest is lost.",
            "{count:,} documents are longer than the capacity of {capacity:,}: they are cut off there, and the rest "
            "is lost.",
            **values,
        )
    return plural(
        "{count} document of {tokens:,} tokens is longer than the capacity of {capacity:,}: it is alone in a pack, "
        "which is as long as the document and has no padding.",
        "{count:,} documents are longer than the capacity of {capacity:,}: each is alone in a pack, which is as long "
        "as the document and has no padding.",
        **values,
    )
