"""The conditions of the Robbins-Monro theorem, each decided for the choice made: from the step rule, the noise, and g'.

Source: Zhao 2025, theorem 6.1: 0 < c_1 <= g'(w) <= c_2; sum a_k infinite, sum a_k^2 finite; noise of mean 0 and finite
variance, given the past.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from explainers.contract.messages import Message
from explainers.stochastic_approximation.noise import DEGREES, Noise
from explainers.stochastic_approximation.printed import Printed
from explainers.stochastic_approximation.steps import Rule


@dataclass(frozen=True)
class Condition:
    """One condition: its name, whether it holds, and why."""

    name: str
    holds: bool
    why: Message

    @property
    def mark(self) -> str:
        """Whether it holds, as a sign."""
        return "✓" if self.holds else "✗"


def of_slope(least: float, most: float, low: float, high: float) -> Condition:
    """g' between two positive bounds, on the stated interval."""
    holds = least > 0 and math.isfinite(most)
    return Condition("0 < c₁ ≤ g′(w) ≤ c₂", holds, _why_slope(least, most, Printed(low), Printed(high)))


def _why_slope(least: float, most: float, low: Printed, high: Printed) -> Message:
    if math.isnan(least) or math.isnan(most):
        return Message("g is not defined everywhere for w from {low:.4g} to {high:.4g}", low=low, high=high)
    if not math.isfinite(most):
        return Message("the slope is unbounded for w from {low:.4g} to {high:.4g}", low=low, high=high)
    if least > 0:
        return Message(
            "{least:.3g} ≤ g′(w) ≤ {most:.3g} for w from {low:.4g} to {high:.4g}",
            least=least, most=most, low=low, high=high,
        )  # fmt: skip
    if least == 0:
        return Message(
            "the slope goes down to 0 for w from {low:.4g} to {high:.4g}, so no c₁ above 0 is below it",
            low=low,
            high=high,
        )
    return Message(
        "the least slope is {least:.3g}: g falls somewhere for w from {low:.4g} to {high:.4g}",
        least=Printed(least), low=low, high=high,
    )  # fmt: skip


def of_steps(rule: Rule) -> Iterator[Condition]:
    """What the sums of the steps and of their squares do."""
    total, squares = rule.sum_of_powers(1), rule.sum_of_powers(2)
    if math.isinf(total):
        reaches = Message("however far the root is, the steps reach it")
    else:
        reaches = Message(
            "all steps together go no farther than {total:.4g} times the largest |g|", total=total
        )
    yield Condition("Σ aₖ = ∞", math.isinf(total), reaches)
    if math.isfinite(squares):
        lasts = Message("the sum is {squares:.4g}, so the noise dies out", squares=squares)
    else:
        lasts = Message("steps that large never stop letting noise in")
    yield Condition("Σ aₖ² < ∞", math.isfinite(squares), lasts)


def of_noise(kind: Noise, sigma: float, bias: float) -> Iterator[Condition]:
    """What the mean and the variance of the noise are."""
    if kind == "none" or sigma == 0:
        yield Condition("E[ηₖ] = 0", bias == 0, Message("it is always {bias:g}", bias=bias))
        yield Condition("E[ηₖ²] < ∞", True, Message("there is no noise that varies"))
        return
    if bias == 0:
        yield Condition("E[ηₖ] = 0", True, Message("errors cancel on average"))
    else:
        yield Condition("E[ηₖ] = 0", False, Message("its mean is {bias:g}", bias=bias))
    yield Condition("E[ηₖ²] < ∞", kind != "heavy_tailed", _why_variance(kind, sigma))


def _why_variance(kind: Noise, sigma: float) -> Message:
    if kind == "heavy_tailed":
        return Message("Student's t with {degrees:g} degrees of freedom has no variance", degrees=DEGREES)
    if kind == "state_dependent":
        return Message("its standard deviation is {sigma:g} (1 + |w|), given w", sigma=sigma)
    return Message("its standard deviation is {sigma:g}", sigma=sigma)
