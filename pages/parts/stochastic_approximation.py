"""What the page of stochastic approximation adds to its chapters: questions, the theorem's conditions, verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st

from explainers.stochastic_approximation import guesses
from explainers.stochastic_approximation.bridge import LABELS, BridgeParams
from explainers.stochastic_approximation.dvoretzky import DvoretzkyParams
from explainers.stochastic_approximation.mean import MeanParams
from explainers.stochastic_approximation.robbins_monro_params import RobbinsMonroParams
from explainers.stochastic_approximation.sgd import SgdParams, at_equal_samples, label
from explainers.stochastic_approximation.steps import StepParams, step_fields
from pages.ui import lesson, page
from pages.ui.cards import tables
from pages.ui.chapter import Asked, Shown

SHARES_OF_SEEDS = ("hardly any", "fewer than half", "more than half", "nearly all")
SHARES_OF_START = ("nothing", "less than 1%", "1% to 30%", "more than 30%")
COUNTS_MOST: Mapping[guesses.Most, str] = {
    "start": "the start",
    "first": "the first sample",
    "last": "the last sample",
    "alike": "all samples the same",
    "other": "another",
}
WHY_THE_MEAN = (
    "A sample is right on average from the first; targets of TD(0) and Q-learning contain estimates that are still "
    "wrong, and steps like 1/k soon are too small to correct that."
)
WHY_THE_OTHERS = (
    "Steps that stay large let TD(0) and Q-learning go on correcting targets that were wrong at first, while the noise "
    "of the mean's own samples keeps it where it is."
)
WHY_ALIKE = "With aₖ = 1/k on a mean every sample counts alike, however they are bundled."
WHY_NOT_ALIKE = (
    "Only with aₖ = 1/k on a mean does every sample count alike; here it matters how they are bundled."
)
ALIKE = "all about the same"
ALIKE_WITHIN = 1.25  # times each other


def with_steps(*others: str, before: Sequence[str] = ()) -> Callable[[StepParams], Sequence[str]]:
    """The step size, by the fields that the chosen rule uses, among other fields."""
    return lambda params: (*before, *step_fields(params), *others)


def counts_most(params: MeanParams, facts: Mapping[str, Any]) -> Asked:
    """What counts most in the last estimate."""
    shares = guesses.shares(params)
    return {
        "steps": params.steps,
        "rule": params.used.words,
        "start": shares.start,
        "first": shares.first,
        "last": shares.last,
        "answers": tuple(COUNTS_MOST.values()),
        "right": COUNTS_MOST[shares.most],
    }


def seeds_near_the_root(params: RobbinsMonroParams, facts: Mapping[str, Any]) -> Asked:
    """How many seeds end near the root."""
    converged = facts["converged_fraction"]
    return {
        "seeds": params.seeds,
        "steps": params.steps,
        "rule": params.used.words,
        "g": params.g,
        "converged": converged,
        "verdict": facts["verdict"],
        "answers": SHARES_OF_SEEDS,
        "right": SHARES_OF_SEEDS[sum(converged > limit for limit in (0.05, 0.5, 0.95))],
    }


def left_of_the_start(params: DvoretzkyParams, facts: Mapping[str, Any]) -> Asked:
    """How much of the start is left in the end."""
    left, limit = guesses.left_of_start(params), params.used.product_limit
    end = "it has no limit" if np.isnan(limit) else f"in the end it is {limit:.2%}"
    return {
        "steps": params.steps,
        "rule": params.used.words,
        "left": left,
        "end": "in the end nothing is left" if limit == 0 else end,
        "answers": SHARES_OF_START,
        "right": SHARES_OF_START[sum(left > share for share in (0, 0.01, 0.3))],
    }


def nearest_batch_size(params: SgdParams, facts: Mapping[str, Any]) -> Asked:
    """Which batch size is nearest after equally many samples; None where no two can be compared."""
    samples, distances = at_equal_samples(params, facts["rms_by_step"])
    if not distances or None in distances.values():
        return None
    nearest, farthest = min(distances, key=distances.__getitem__), max(distances.values())
    return {
        "samples": samples,
        "rule": params.used.words,
        "distances": ", ".join(f"{distance:.3g} with {label(size)}" for size, distance in distances.items()),
        "why": WHY_ALIKE if params.used.is_running_mean and params.problem == "mean" else WHY_NOT_ALIKE,
        "answers": (*map(label, distances), ALIKE),
        "right": ALIKE if farthest < ALIKE_WITHIN * distances[nearest] else label(nearest),
    }


def shrinks_most(params: BridgeParams, facts: Mapping[str, Any]) -> Asked:
    """Whose error shrinks most; None where errors overflow."""
    errors = {LABELS[name]: error for name, error in facts["rmse"].items() if None not in error}
    if len(errors) < len(LABELS):
        return None
    shrunk = {name: error[-1] / error[0] for name, error in errors.items()}
    right = min(shrunk, key=shrunk.__getitem__)
    return {
        "updates": params.updates,
        "rule": params.used.words,
        "shrunk": ", ".join(f"{name} {share:.0%}" for name, share in shrunk.items()),
        "why": WHY_THE_MEAN if right == LABELS["sgd"] else WHY_THE_OTHERS,
        "answers": tuple(shrunk),
        "right": right,
    }


def theorem(shown: Shown) -> None:
    """What a change did, each condition of the theorem, and what it promises."""
    facts = shown.facts
    shares = {"near the root": facts["converged_fraction"], "overflowed": facts["diverged_fraction"]}
    shown.compare({name: f"{share:.1%}" for name, share in shares.items()})
    with page.card("conditions", "The theorem, for this choice"):
        st.markdown(shown.said("theorem"))
        for each in facts["conditions"]:
            mark = ":green[**✓**]" if each["holds"] else ":red[**✗**]"
            st.markdown(f"{mark} **{each['name']}**: {tables.plain(each['why'])}.")
        st.markdown(tables.plain(facts["verdict"]))
    lesson.notes(shown)


def verdict(shown: Shown) -> None:
    """What the product decides."""
    tables.lines([shown.facts["verdict"]])
