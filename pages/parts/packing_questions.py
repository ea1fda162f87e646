"""What the chapters of the packing page ask: before the picture, and in the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from explainers.contract.messages import Message
from explainers.packing.guesses import document_tokens
from explainers.packing.histogram_params import HistogramParams
from explainers.packing.pack_params import PackParams
from explainers.packing.run_params import RunParams, squares
from explainers.packing.unpad_params import UnpadParams
from pages.ui.chapter import Asked

PADDING_LEFT = ("under 1%", "1% to 5%", "5% to 20%", "over 20%")
MOST_TIMES = 100  # as many times faster or more is no answer that anybody would choose


def _counts(numbers: Iterable[int]) -> list[str]:
    """Whole numbers as answers, each once, in ascending order."""
    return [f"{number:,}" for number in sorted(set(numbers))]


def _sum(numbers: Sequence[int], power: str = "") -> str:
    return " + ".join(f"{number}{power}" for number in numbers)


# --------------------------------------------------------------------------------------------- Pack documents


def packs_half_as_long(params: PackParams, facts: Mapping[str, Any]) -> Asked:
    """How many packs of half the capacity the same tokens fill if they are cut; None where no token is packed."""
    places = sum(facts["widths"])
    # padding = 1 - tokens / places
    tokens = round(places * (1 - facts["padding_percent"] / 100))
    if not tokens:
        return None
    half, packs = max(params.capacity // 2, 1), facts["n_packs"]
    right = -(-tokens // half)
    # the last, half-empty pack forgotten; as many as now; twice as many, padding included
    guessed = {right - 1, packs, 2 * packs} - {0}
    return {
        "tokens": tokens,
        "half": half,
        "double": 2 * packs,
        "packs": packs,
        "answers": _counts(guessed | {right} if guessed - {right} else {right, 2 * right}),
        "right": f"{right:,}",
    }


# ---------------------------------------------------------------------------------------------- Pack millions


def padding_left(params: HistogramParams, facts: Mapping[str, Any]) -> Asked:
    """How much padding the packs have; None where a break loses documents."""
    if params.break_it != "none":
        return None
    padding = facts["padding_percent"]
    return {
        "sequences": facts["sequences"],
        "unpacked": f"{facts['unpacked_padding_percent']:.1f}%",
        "strategy": facts["label"],
        "depth": Message("at most {depth:,}", depth=params.depth) if params.depth else Message("any number"),
        "packs": facts["packs"],
        "padding": f"{padding:.2f}%",
        "bound": facts["proven_bound"] or facts["lower_bound"],
        "answers": PADDING_LEFT,
        "right": PADDING_LEFT[sum(padding > limit for limit in (1, 5, 20))],
    }


def times_faster(params: HistogramParams, facts: Mapping[str, Any]) -> Asked:
    """How many times fewer packs there are than documents; None where a break loses documents."""
    if params.break_it != "none":
        return None
    alone, packed = facts["unpacked_padding_percent"], facts["padding_percent"]
    right = (100 - packed) / (100 - alone)
    # the ratio of the padding; as many as share a pack at most; the padding saved, added to 1
    guessed = {alone / packed if packed else 1.0, float(facts["max_depth"]), 1 + (alone - packed) / 100}
    wrong = {guess for guess in guessed if abs(guess - right) > 0.1 and guess < MOST_TIMES} or {2 * right}
    return {
        "unpacked": f"{alone:.1f}%",
        "padding": f"{packed:.1f}%",
        "alone": f"{100 - alone:.1f}%",
        "full": f"{100 - packed:.1f}%",
        "answers": list(dict.fromkeys(f"{times:.1f}×" for times in sorted({*wrong, right}))),
        "right": f"{right:.1f}×",
    }


# --------------------------------------------------------------------------------------------- Remove padding


def where_a_document_begins(params: UnpadParams, facts: Mapping[str, Any]) -> Asked:
    """Where the last document begins in the flat row; None where one document has tokens, or something is broken."""
    tokens = document_tokens(params)
    with_tokens = [document for document, length in enumerate(tokens) if length]
    if len(with_tokens) < 2 or params.break_it != "none":
        return None
    document = with_tokens[-1]
    starts, row = (0, *accumulate(tokens)), document * max(tokens)
    right = starts[document]
    before = _sum([length for length in tokens[:document] if length])
    # where its padded row begins; one too late; where it ends
    answers = _counts({right, row, right + 1, starts[document + 1]})
    return {
        "lengths": ", ".join(map(str, tokens)),
        "document": document,
        "sum": f"{before} = {right}" if "+" in before else before,
        "longest": max(tokens),
        "row": row,
        "answers": answers,
        "right": str(right),
    }


def tokens_with_a_loss(params: UnpadParams, facts: Mapping[str, Any]) -> Asked:
    """For how many tokens there is a loss; None under a break."""
    if params.break_it != "none":
        return None
    tokens = document_tokens(params)
    T, documents = sum(tokens), sum(length > 0 for length in tokens)
    right = T - documents
    # every token; all but the last of the row; all but the last of each pack
    return {
        "tokens": T,
        "documents": documents,
        "packs": len(params.packs),
        "across": T - 1,
        "answers": _counts({right, T, T - 1, max(T - len(params.packs), right)}),
        "right": str(right),
    }


# ----------------------------------------------------------------------------------------------------- Run it


def documents_that_move(params: RunParams, facts: Mapping[str, Any]) -> Asked:
    """In how many other documents logits move in the naive row; None where one document alone has tokens."""
    with_tokens = [document for document, length in enumerate(params.document_lengths) if length]
    others = len(with_tokens) - 1
    if not others:
        return None
    before = others // 2
    document = with_tokens[before]
    moved = facts["leak_by_document"]["packed_naive"][document]
    right = sum(leak > 0 for observed, leak in enumerate(moved) if observed != document)
    return {
        "document": document,
        "before": before,
        "after": others - before,
        "answers": _counts({0, before, others - before, others, right}),
        "right": str(right),
    }


def scores_unpadded(params: RunParams, facts: Mapping[str, Any]) -> Asked:
    """How many scores a head computes in a layer where documents are held apart."""
    lengths, pairs = params.document_lengths, params.pairs
    right = squares(lengths)
    # one row for all; padded rows; a score a token
    return {
        "lengths": ", ".join(map(str, lengths)),
        "sum": _sum([length for length in lengths if length], "²"),
        "tokens": sum(lengths),
        "naive": pairs["packed_naive"],
        "rows": len(lengths),
        "longest": max(lengths),
        "padded": pairs["padded"],
        "answers": _counts({right, pairs["packed_naive"], pairs["padded"], sum(lengths)}),
        "right": f"{right:,}",
    }
