"""The conditions of the Robbins-Monro theorem, each decided for the choice made: from the step rule, the noise, and g'.

Source: Zhao 2025, theorem 6.1: 0 < c_1 <= g'(w) <= c_2; sum a_k infinite, sum a_k^2 finite; noise of mean 0 and finite
variance, given the past.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from explainers.stochastic_approximation.noise import DEGREES, Noise
from explainers.stochastic_approximation.steps import Rule


@dataclass(frozen=True)
class Condition:
    """One condition: its name, whether it holds, and why."""

    name: str
    holds: bool
    why: str


def of_slope(least: float, most: float, low: float, high: float) -> Condition:
    """g' between two positive bounds, on the stated interval."""
    holds = least > 0 and math.isfinite(most)
    where = f"for w from {low:.4g} to {high:.4g}".replace("-", "−")
    if math.isnan(least) or math.isnan(most):
        why = f"g is not defined everywhere {where}"
    elif holds:
        why = f"{least:.3g} ≤ g′(w) ≤ {most:.3g} {where}"
    elif not math.isfinite(most):
        why = f"the slope goes beyond all numbers {where}"
    elif least == 0:
        why = f"the slope goes down to 0 {where}, so no c₁ above 0 is below it"
    else:
        why = f"the least slope is {least:.3g}: g falls somewhere {where}".replace("-", "−")
    return Condition("0 < c₁ ≤ g′(w) ≤ c₂", holds, why)


def of_steps(rule: Rule) -> Iterator[Condition]:
    """What the sums of the steps and of their squares do."""
    total, squares = rule.sum_of_powers(1), rule.sum_of_powers(2)
    reached = "however far the root is, the steps reach it"
    short = f"all steps together go no farther than {total:.4g} times the largest |g|"
    yield Condition("Σ aₖ = ∞", math.isinf(total), reached if math.isinf(total) else short)
    summed = f"the sum is {squares:.4g}, so the noise dies out"
    lasting = "steps that large let noise in for ever"
    yield Condition("Σ aₖ² < ∞", math.isfinite(squares), summed if math.isfinite(squares) else lasting)


def of_noise(kind: Noise, sigma: float, bias: float) -> Iterator[Condition]:
    """What the mean and the variance of the noise are."""
    if kind == "none" or sigma == 0:
        yield Condition("E[ηₖ] = 0", bias == 0, f"it is always {bias:g}")
        yield Condition("E[ηₖ²] < ∞", True, "there is no noise that varies")
        return
    centred = bias == 0
    yield Condition("E[ηₖ] = 0", centred, "errors cancel on average" if centred else f"its mean is {bias:g}")
    finite = kind != "heavy_tailed"
    heavy = f"Student's t with {DEGREES:g} degrees of freedom has none"
    why = f"its standard deviation is {sigma:g}" + (
        " (1 + |w|), given w" if kind == "state_dependent" else ""
    )
    yield Condition("E[ηₖ²] < ∞", finite, why if finite else heavy)
