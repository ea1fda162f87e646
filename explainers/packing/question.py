"""What a reader of a packing is offered: the settings that tell, what two strategies cost side by side, a question."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from explainers.packing.lengths import stream
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

# What is counted -> the field of the outcome, and how it is written.
COUNTS: dict[str, tuple[str, str]] = {
    "packs": ("n_packs", ",d"),
    "at least": ("proven_bound", ",d"),
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


def asked(facts: Mapping[str, Any], params: PackParams) -> dict[str, Any]:
    """The numbers that the question names, the answers to choose from, and what is said of the right one."""
    lengths = stream(params)
    right, least = facts["n_packs"], facts["proven_bound"]
    answers = sorted({least, right, math.ceil(right * 7 / 6), math.ceil(right * 4 / 3)})
    return {
        "answers": [str(answer) for answer in answers],
        "documents": len(lengths),
        "tokens": int(lengths.sum()),
        "capacity": params.capacity,
        "strategy": facts["label"],
        "n_packs": right,
        "least": least,
        "padding": f"{facts['padding_percent']:.1f}%",
    }
