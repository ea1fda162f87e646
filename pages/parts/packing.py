"""What the page of packing adds to its chapters: fields by strategy, the table of two strategies, what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from explainers.packing.doubled import doubled_capacity
from explainers.packing.pack_params import PackParams
from explainers.packing.strategies import Strategy
from pages.ui import lesson
from pages.ui.cards import tables
from pages.ui.chapter import Asked, Shown
from pages.ui.jobs.experiment_run import prepared_or_offered

OF_STRATEGY: dict[Strategy | str, tuple[str, ...]] = {
    "pad_to_longest": ("batch",),
    "k_buckets": ("buckets", "threshold"),
    "window": ("window",),
    "lpfhp": ("depth",),
    "spfhp": ("depth",),
    "nnlshp": ("depth",),
    "lp": ("depth",),
}
OF_SOURCE: dict[str, tuple[str, ...]] = {
    "lognormal": ("mu", "sigma"),
    "uniform": ("shortest",),
    "bimodal": ("short_median", "long_median", "long_share"),
    "zipf": ("exponent",),
}
# Nothing is asked of plans, which may take seconds, and of rows whose width the capacity does not change.
UNASKED: tuple[Strategy, ...] = ("nnlshp", "lp", "pad_to_longest")

# The heading of a column -> the field of the outcome, and its form.
COUNTS: dict[str, tuple[str, str]] = {
    "packs": ("n_packs", ",d"),
    "proven bound": ("proven_bound", ",d"),
    "padding %": ("padding_percent", ".1f"),
    "attention wasted %": ("attention_waste_percent", ".1f"),
    "documents cut": ("documents_cut", ",d"),
    "tokens lost": ("tokens_lost", ",d"),
    "depth": ("max_depth", ",d"),
    "ranks wait %": ("imbalance_attention_percent", ".1f"),
    "moved by at most": ("displacement_most", ",d"),
}
COUNT_NAMES = ("strategy", *COUNTS)


def pack_fields(params: PackParams) -> Sequence[str]:
    """The fields that change the packing: of the strategies in use, and of the stream."""
    used = [strategy for strategy in (params.strategy, params.versus) if strategy != "none"]
    own = [name for strategy in used for name in OF_STRATEGY.get(strategy, ())]
    drawn = () if params.lengths.strip() else ("source", "count")
    return ("strategy", "versus", *dict.fromkeys(own), "capacity", *drawn)


def further_pack_fields(params: PackParams) -> Sequence[str]:
    """The fields that are set less often."""
    drawn = () if params.lengths.strip() else (*OF_SOURCE[params.source], "longest", "seed")
    return ("overlong", "ranks", *drawn)


def both_strategies(shown: Shown) -> None:
    """What a change did, and what each strategy wastes."""
    shown.compare(_compared(shown.facts), sound=_unbroken(shown.params))
    tables.show(COUNT_NAMES, count_rows(shown.facts), numbers=range(1, len(COUNT_NAMES)))
    lesson.notes(shown)


def count_rows(facts: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """One row a strategy, under COUNT_NAMES. facts: of a PackResult."""
    outcomes = [outcome for outcome in (facts, facts["other"]) if outcome is not None]
    return [
        (outcome["label"], *(format(outcome[name], form) for name, form in COUNTS.values()))
        for outcome in outcomes
    ]


def _compared(facts: Mapping[str, Any]) -> dict[str, Any]:
    padding = f"{facts['padding_percent']:.1f}%"
    return {"packs": facts["n_packs"], "padding": padding, "tokens lost": facts["tokens_lost"]}


def _unbroken(params: PackParams) -> Mapping[str, Any] | None:
    """What a broken run is compared with: the numbers of the same settings, sound; None where nothing is broken."""
    if params.break_it == "none" or params.needs_button:
        return None
    sound = prepared_or_offered("packing.pack", params.model_copy(update={"break_it": "none"}))
    return sound and _compared(sound.facts)


def packs_twice_as_long(params: PackParams, facts: Mapping[str, Any]) -> Asked:
    """How much of the attention arithmetic is wasted in packs of twice the capacity.

    The question is about another capacity, as the picture and the table show all of the present one.
    """
    if params.strategy in UNASKED:
        return None
    doubled, now = doubled_capacity(params), facts["attention_waste_percent"]
    right = round(doubled.attention_waste_percent)
    # half as much, as much, half as much left over: those far from the right one
    wrong = {guess for guess in (round(now / 2), round(now), round(50 + now / 2)) if abs(guess - right) > 5}
    return {
        "strategy": doubled.label,
        "packs": doubled.packs,
        "padding": f"{doubled.padding_percent:.1f}%",
        "waste": f"{doubled.attention_waste_percent:.1f}%",
        "now": f"{now:.1f}%",
        "capacity": params.capacity,
        "double": 2 * params.capacity,
        "answers": [f"{answer}%" for answer in sorted({*wrong, right})],
        "right": f"{right}%",
    }


def packs_and_share(shown: Shown) -> None:
    """What a change did to the packs, and their notes."""
    shown.compare({"packs": shown.facts["packs"], "full": f"{shown.facts['efficiency_percent']:.2f}%"})
    lesson.notes(shown)


def loss_and_leak(shown: Shown) -> None:
    """What a change did to the three ways, and their notes."""
    facts = shown.facts
    shown.compare(
        {
            "loss, unpadded": facts["loss_unpadded"],
            "logits off by": facts["max_abs_logit_error"],
            "leak": facts["leak_unpadded"],
        }
    )
    lesson.notes(shown)
