"""What a reader is asked before the page tells, chapter by chapter, and what is compared when a setting changes.

A question is a mapping: `answers`, the `right` one, and the numbers that its words and its explanation need.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from explainers.stochastic_approximation import laws
from explainers.stochastic_approximation.bridge import LABELS, BridgeParams
from explainers.stochastic_approximation.dvoretzky import DvoretzkyParams
from explainers.stochastic_approximation.mean import MeanParams
from explainers.stochastic_approximation.robbins_monro import RobbinsMonroParams
from explainers.stochastic_approximation.sgd import SgdParams, at_equal_samples, label

Asked = dict[str, Any]

SHARES_OF_SEEDS = ("hardly any", "fewer than half", "more than half", "nearly all")
SHARES_OF_START = ("nothing", "less than 1%", "1% to 30%", "more than 30%")
COUNTS_MOST = ("the start", "the first sample", "the last sample", "all samples the same", "another")
WHY_THE_MEAN = (
    "A sample is right on average from the first; targets of TD(0) and Q-learning hold estimates that are still wrong, "
    "and steps like 1/k soon are too small to mend that."
)
WHY_THE_OTHERS = (
    "Steps that stay large let TD(0) and Q-learning go on mending targets that were wrong at first, while the noise of "
    "the mean's own samples keeps it where it is."
)
WHY_ALIKE = "With aₖ = 1/k on a mean every sample counts alike, however they are bundled."
WHY_NOT_ALIKE = (
    "Only with aₖ = 1/k on a mean does every sample count alike; here it matters how they are bundled."
)
ALIKE = "all about the same"
ALIKE_WITHIN = 1.25  # times each other


def about_mean(params: MeanParams, facts: Mapping[str, Any]) -> Asked:
    """What counts most in the last estimate."""
    shares = np.abs(laws.weights(params.used, params.steps))
    samples = shares[1:]
    if np.allclose(samples, samples[0]) and shares[0] <= samples[0]:
        right = COUNTS_MOST[3]
    else:
        places = {0: COUNTS_MOST[0], 1: COUNTS_MOST[1], params.steps: COUNTS_MOST[2]}
        right = places.get(int(shares.argmax()), COUNTS_MOST[4])
    told = {"start": shares[0], "first": shares[1], "last": shares[-1]}
    return {"steps": params.steps, "rule": params.used.words, "answers": COUNTS_MOST, "right": right} | told


def about_search(params: RobbinsMonroParams, facts: Mapping[str, Any]) -> Asked:
    """How many seeds end near the root."""
    converged = facts["converged_fraction"]
    right = SHARES_OF_SEEDS[sum(converged > limit for limit in (0.05, 0.5, 0.95))]
    told = {"seeds": params.seeds, "steps": params.steps, "rule": params.used.words, "g": params.g}
    return told | {
        "converged": converged, "verdict": facts["verdict"], "answers": SHARES_OF_SEEDS, "right": right,
    }  # fmt: skip


def about_start(params: DvoretzkyParams, facts: Mapping[str, Any]) -> Asked:
    """How much of the start is left in the end; more than all of it, where steps overshoot."""
    left = float(abs(laws.product(params.used, params.steps)[-1]))
    right = SHARES_OF_START[sum(left > limit for limit in (0, 0.01, 0.3))]
    limit = params.used.product_limit
    end = "it has no limit" if np.isnan(limit) else f"in the end it is {limit:.2%}"
    if limit == 0:
        end = "in the end nothing is left"
    told = {"steps": params.steps, "rule": params.used.words, "left": left, "end": end}
    return told | {"answers": SHARES_OF_START, "right": right}


def about_batches(params: SgdParams, facts: Mapping[str, Any]) -> Asked | None:
    """Which batch size is nearest after equally many samples; None where no two can be compared."""
    samples, distances = at_equal_samples(params, facts["rms_by_step"])
    if not distances or None in distances.values():
        return None
    nearest, farthest = min(distances, key=distances.__getitem__), max(distances.values())
    right = ALIKE if farthest < ALIKE_WITHIN * distances[nearest] else label(nearest)
    told = ", ".join(f"{distance:.3g} with {label(size)}" for size, distance in distances.items())
    answers = (*map(label, distances), ALIKE)
    return {
        "samples": samples,
        "rule": params.used.words,
        "distances": told,
        "why": WHY_ALIKE if params.used.is_running_mean and params.problem == "mean" else WHY_NOT_ALIKE,
        "answers": answers,
        "right": right,
    }


def about_bridge(params: BridgeParams, facts: Mapping[str, Any]) -> Asked | None:
    """Whose error shrinks most; None where errors overflow."""
    shrunk = {
        LABELS[name]: error[-1] / error[0] for name, error in facts["rmse"].items() if None not in error
    }
    if len(shrunk) < len(LABELS):
        return None
    told = ", ".join(f"{name} {share:.0%}" for name, share in shrunk.items())
    right = min(shrunk, key=shrunk.__getitem__)
    why = WHY_THE_MEAN if right == LABELS["sgd"] else WHY_THE_OTHERS
    return {"updates": params.updates, "rule": params.used.words, "shrunk": told, "why": why} | {
        "answers": tuple(shrunk), "right": right,
    }  # fmt: skip


def told(facts: Mapping[str, Any]) -> dict[str, str]:
    """What is compared when a setting changes."""
    converged, diverged = facts["converged_fraction"], facts["diverged_fraction"]
    return {"near the root": f"{converged:.1%}", "overflowed": f"{diverged:.1%}"}
