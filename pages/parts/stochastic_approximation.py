"""What the page of stochastic approximation adds to its chapters: questions, the theorem's conditions, verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st

from explainers.contract.messages import Message
from explainers.stochastic_approximation import guesses, laws
from explainers.stochastic_approximation.bridge import GAMMA, LABELS, BridgeParams
from explainers.stochastic_approximation.dvoretzky import DvoretzkyParams
from explainers.stochastic_approximation.mean import MeanParams
from explainers.stochastic_approximation.robbins_monro_params import RobbinsMonroParams
from explainers.stochastic_approximation.sgd import POINTS, SgdParams, at_equal_samples, label
from explainers.stochastic_approximation.steps import StepParams, step_fields
from pages.parts.mistakes import among, true_minus
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
CHECKED_STEP = 4  # whose step size a reader works out
OFF = 10.0  # of the gradient of one sample
WHY_EXACT = "All points together draw nothing by chance: their gradient is exact."


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


# --------------------------------------------------------------------------------------------- to check oneself


def spread_of_the_estimate(params: MeanParams, facts: Mapping[str, Any]) -> Asked:
    """The standard deviation of the last estimate; None where the samples do not vary."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = float((laws.weights(params.used, params.steps)[1:] ** 2).sum())
    sigma, k = params.sigma, params.steps
    if not sigma or not np.isfinite(squares):
        return None
    asked = among(sigma * np.sqrt(squares), sigma, sigma / np.sqrt(k), sigma / k)
    return asked and asked | {
        "sigma": sigma,
        "steps": k,
        "rule": params.used.words,
        "squares": squares,
        "alike": sigma / np.sqrt(k),
    }


def one_step_down(params: RobbinsMonroParams, facts: Mapping[str, Any]) -> Asked:
    """Where one step leads from the start; None where g is not defined there."""
    w, a = params.w1, float(params.used.at(np.array(CHECKED_STEP)))
    with np.errstate(all="ignore"):
        g = float(params.function_of_w.value(np.array(w)))
    noise = 0.0 if params.noise == "none" else params.sigma / 2
    seen = float(f"{g + noise:.3g}")
    if not np.isfinite(seen):
        return None
    asked = among(w - a * seen, w + a * seen, w - seen, a * seen, form=".4g")
    return asked and asked | {
        "k": CHECKED_STEP,
        "w": true_minus(w),
        "seen": true_minus(seen),
        "bracketed": f"({true_minus(seen)})" if seen < 0 else true_minus(seen),
        "rule": params.used.words,
        "a": a,
    }


def expected_after_three(params: DvoretzkyParams, facts: Mapping[str, Any]) -> Asked:
    """Where the seeds are on average after three steps; None where they start at the mean."""
    a = params.used.at(np.arange(1, 4))
    left, far = float((1 - a).prod()), params.w1 - params.mu
    if not far:
        return None
    asked = among(
        *(params.mu + share * far for share in (left, 1 - a[-1], 1 - a.sum(), a.prod())), left * params.w1
    )
    return asked and asked | {
        "w1": true_minus(params.w1),
        "mu": true_minus(params.mu),
        "rule": params.used.words,
        "left": true_minus(left, ".3g"),
        "factors": " · ".join(true_minus(factor, ".3g") for factor in 1 - a),
    }


def error_of_a_batch(params: SgdParams, facts: Mapping[str, Any]) -> Asked:
    """How far the gradient of the largest batch is off, if that of one sample is off by ten.

    None where there is only one sample, or a break moves all gradients.
    """
    largest = max(params.batch_sizes, key=lambda size: POINTS + 1 if size == "all" else int(size))
    if largest == "1" or params.break_it == "biased_noise":
        return None
    m = POINTS if largest == "all" else int(largest)
    right = 0.0 if largest == "all" else OFF / np.sqrt(m)
    asked = among(right, OFF / np.sqrt(m), OFF / m, OFF, OFF * np.sqrt(m))
    return asked and asked | {
        "off": OFF,
        "size": label(largest),
        "why": WHY_EXACT if largest == "all" else Message("10 / √{m} = {right:.3g}.", m=m, right=right),
    }


def one_td_update(params: BridgeParams, facts: Mapping[str, Any]) -> Asked:
    """The value after one update of TD(0); None where a break changes its targets."""
    if params.break_it != "none":
        return None
    v, ahead, a = 0.5, 0.8, float(params.used.at(np.array(CHECKED_STEP)))
    asked = among(v + a * (ahead - v), ahead, v + a * ahead, v + a * (GAMMA * ahead - v), v - a * (ahead - v))
    return asked and asked | {
        "k": CHECKED_STEP,
        "v": v,
        "ahead": ahead,
        "rule": params.used.words,
        "a": a,
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
