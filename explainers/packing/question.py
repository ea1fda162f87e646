"""What a reader of a packing is offered: the settings that tell, what two strategies cost side by side, a question."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from cachetools import LRUCache, cached

from explainers.packing.lengths import stream
from explainers.packing.pack import outcome_of
from explainers.packing.pack_params import PackParams
from explainers.packing.strategies import Strategy

OWN_FIELD: dict[Strategy, tuple[str, ...]] = {
    "pad_to_longest": ("batch",),
    "k_buckets": ("buckets", "threshold"),
    "window": ("window",),
    "lpfhp": ("depth",),
    "spfhp": ("depth",),
    "nnlshp": ("depth",),
    "lp": ("depth",),
}
OWN_OF_SOURCE: dict[str, tuple[str, ...]] = {
    "lognormal": ("mu", "sigma"),
    "uniform": ("shortest",),
    "bimodal": ("short_median", "long_median", "long_share"),
    "zipf": ("exponent",),
}
# Without a question: plans, which may take seconds, and rows whose width the capacity does not change.
UNASKED: tuple[Strategy, ...] = ("nnlshp", "lp", "pad_to_longest")

# What is counted -> the field of the outcome, and how it is written.
COUNTS: dict[str, tuple[str, str]] = {
    "packs": ("n_packs", ",d"),
    "proven bound": ("proven_bound", ",d"),
    "padding": ("padding_percent", ".1f"),
    "attention wasted": ("attention_waste_percent", ".1f"),
    "documents cut": ("documents_cut", ",d"),
    "tokens lost": ("tokens_lost", ",d"),
    "depth": ("max_depth", ",d"),
    "ranks wait": ("imbalance_attention_percent", ".1f"),
    "moved by at most": ("displacement_most", ",d"),
}
COUNT_NAMES = ("strategy", *(f"{name} %" if form == ".1f" else name for name, (_, form) in COUNTS.items()))


def telling_fields(params: PackParams) -> tuple[str, ...]:
    """The fields that change the packing: of the strategies in use, and of the stream."""
    own = [
        name
        for used in (params.strategy, params.versus)
        if used != "none"
        for name in OWN_FIELD.get(used, ())
    ]
    drawn = () if params.lengths.strip() else ("source", "count")
    return (*dict.fromkeys(own), "capacity", *drawn)


def further_fields(params: PackParams) -> tuple[str, ...]:
    """The fields that are set less often."""
    drawn = () if params.lengths.strip() else (*OWN_OF_SOURCE[params.source], "longest", "seed")
    return ("overlong", "ranks", *drawn)


def count_rows(facts: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """One row a strategy, under COUNT_NAMES. facts: of a PackResult."""
    outcomes = [one for one in (facts, facts["other"]) if one is not None]
    return [(one["label"], *(format(one[name], form) for name, form in COUNTS.values())) for one in outcomes]


def told(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the line about a change compares."""
    padding = f"{facts['padding_percent']:.1f}%"
    return {"packs": facts["n_packs"], "padding": padding, "tokens lost": facts["tokens_lost"]}


@cached(LRUCache(256), lock=threading.Lock())
def twice_as_long(params: PackParams) -> dict[str, Any]:
    """What the same documents cost in packs of twice the capacity, with nothing broken."""
    changes = {"capacity": 2 * params.capacity, "break_it": "none"}
    outcome = outcome_of(params.strategy, stream(params), params.model_copy(update=changes))
    return {
        "strategy": outcome.label,
        "packs": f"{outcome.n_packs:,} {'pack' if outcome.n_packs == 1 else 'packs'}",
        "padding": f"{outcome.padding_percent:.1f}%",
        "waste": outcome.attention_waste_percent,
    }


def can_be_asked(params: PackParams) -> bool:
    """Whether packs of twice the capacity make a question."""
    return params.strategy not in UNASKED


def asked(facts: Mapping[str, Any], params: PackParams) -> dict[str, Any]:
    """The numbers that the question names, the answers to choose from, and what is said of the right one.

    The question is about packs of twice the capacity, as the picture and the table tell all about the present ones.
    """
    doubled, now = twice_as_long(params), facts["attention_waste_percent"]
    right = round(doubled["waste"])
    # half as much, as much, half as much left over: those far from the right one
    wrong = {guess for guess in (round(now / 2), round(now), round(50 + now / 2)) if abs(guess - right) > 5}
    return doubled | {
        "answers": [f"{answer}%" for answer in sorted({*wrong, right})],
        "right": f"{right}%",
        "waste": f"{doubled['waste']:.1f}%",
        "now": f"{now:.1f}%",
        "capacity": params.capacity,
        "double": 2 * params.capacity,
    }
