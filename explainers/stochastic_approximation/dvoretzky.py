"""`stochastic_approximation.dvoretzky`: whether the start is forgotten, which one product decides.

    E[w_{k+1}] - mu = prod_{i <= k} (1 - a_i) (w_1 - mu)

Source: Zhao 2025, section 6.3: Dvoretzky's theorem, with alpha_k = beta_k = a_k.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from explainers.contract.breaks import Break, break_field
from explainers.contract.experiment import experiment
from explainers.contract.messages import Message, joined
from explainers.contract.params import Adjustment, number
from explainers.contract.result import Check, Checked
from explainers.stochastic_approximation import conditions, laws
from explainers.stochastic_approximation.mean import HUGE, AverageParams
from explainers.stochastic_approximation.steps import FACTORS, Rule
from explainers.stochastic_approximation.walks import ENOUGH, ROUNDING, STANDARD_ERRORS, Run, run, work

BREAKS = (
    Break(
        name="too_small_steps",
        label="steps too small: 1/(k+1)²",
        consequence=(
            "The product of 1 − 1/(k + 1)² stops at one half. The estimate stops half way between start and mean, "
            "with ever less noise: it looks as if it had converged."
        ),
        settings={
            "step_rule": "c/(k+b)",
            "c": 1,
            "b": 1,
            "mu": 0,
            "sigma": 1,
            "w1": 20,
            "steps": 60,
            "seeds": 1000,
        },
    ),
)


class DvoretzkyParams(AverageParams):
    """A start far away, and how long."""

    mu: float = number(0.0, "μ", "Mean of the samples", least=-1e6, most=1e6, comfort=(-5, 5), step=0.5)
    w1: float = number(
        20.0, "w₁", "Where the estimate starts", least=-1e6, most=1e6, comfort=(-20, 20), step=1
    )
    steps: int = number(60, "Steps", "Of each seed", least=1, most=100_000, comfort=(5, 200), step=5)
    break_it: Literal["none", "too_small_steps"] = break_field(BREAKS)

    def adjustments(self) -> Iterator[Adjustment]:
        yield from work(self.seeds, self.steps)


@dataclass(frozen=True, eq=False)
class DvoretzkyResult(Checked):
    """What is left of the start.

    factors: (steps,) 1 - a_k. product: (steps + 1,) of them so far, 1 first. limit: of the product, null where there is
    none. mean, expected: (steps + 1,) of the iterates, over the seeds and exactly. final_mean: the last of mean.
    iterates: (first seeds, steps + 1). fan_at, fan: steps and quantiles, as of `robbins_monro`.
    """

    factors: np.ndarray
    product: np.ndarray
    limit: float
    mean: np.ndarray
    expected: np.ndarray
    final_mean: float
    iterates: np.ndarray
    fan_at: np.ndarray
    fan: np.ndarray
    verdict: Message
    checks: tuple[Check, ...]
    params: DvoretzkyParams = field(metadata={"shell": False})


@experiment("stochastic_approximation.dvoretzky", breaks=BREAKS)
def dvoretzky(params: DvoretzkyParams) -> DvoretzkyResult:
    """The product of 1 - a_k, which decides whether the start is forgotten, and runs from far away."""
    rule = params.used
    ran = run(params.problem(params.w1), rule, params.steps, params.seeds)
    product = laws.product(rule, params.steps)
    expected = params.mu + laws.product(params.rule, params.steps) * (params.w1 - params.mu)
    return DvoretzkyResult(
        factors=1 - rule.at(np.arange(1, params.steps + 1)),
        product=product,
        limit=rule.product_limit,
        mean=ran.mean,
        expected=expected,
        final_mean=float(ran.mean[-1]),
        iterates=ran.first.T,
        fan_at=ran.fan_at,
        fan=ran.quantiles,
        verdict=joined([_verdict(rule, params.steps), _asked(rule)], " "),
        checks=tuple(_checks(params, rule, ran, expected)),
        params=params,
    )


def _verdict(rule: Rule, steps: int) -> Message:
    limit, a = rule.product_limit, rule.at(np.arange(1, steps + 1))
    if (a == 1).any():
        k = int(np.argmax(a == 1)) + 1
        return Message("1 − aₖ is 0 at k = {k}: with that one step every start is forgotten.", k=k)
    if math.isnan(limit):
        return Message("The product has no limit: the steps overshoot.")
    if math.isfinite(rule.sum_of_powers(1)):
        if rule.product(FACTORS)[0] == 0:
            return Message("A later factor of the product is 0: with that one step every start is forgotten.")
        return Message(
            "The product stops at {limit:.4g}: that share of the start is never forgotten.", limit=limit
        )
    return Message("The product goes to 0: every start is forgotten in the end, though it may take long.")


def _asked(rule: Rule) -> Message:
    """What the theorem asks of the sums of the steps, and whether it holds."""
    total, squares = (f"{condition.name} {condition.mark}" for condition in conditions.of_steps(rule))
    return Message("Dvoretzky's theorem asks for {total} and {squares}.", total=total, squares=squares)


def closed_form(rule: Rule, steps: int) -> float | None:
    """The logarithm of the product's size without multiplying: by powers, telescoped, or by the gamma function.

    None where there is no such form, or a factor is not above 0.
    """
    a, k = rule.constant, steps + 1
    if a is not None:
        return steps * math.log(abs(1 - a)) if a != 1 else None
    if rule.kind == "1/(k+1)^2":
        return math.log((k + 1) / (2 * k))
    c, b = rule.c, rule.b if rule.kind == "c/(k+b)" else 0.0
    if (rule.kind == "c/k^p" and rule.p != 1) or c >= 1 + b:
        return None
    # prod (k + b - c) / (k + b)
    return math.lgamma(k + b - c) - math.lgamma(1 + b - c) + math.lgamma(1 + b) - math.lgamma(k + b)


def _checks(params: DvoretzkyParams, rule: Rule, ran: Run, expected: np.ndarray) -> Iterator[Check]:
    if (known := closed_form(rule, params.steps)) is not None:
        _, logarithm = rule.product(params.steps)
        off = abs(logarithm - known) / max(1.0, abs(known))
        yield Check("the logarithm of the product, factor by factor", off, ROUNDING, "its closed form")
    if params.seeds >= ENOUGH and max(abs(expected[-1]), ran.square[-1]) < HUGE:
        variance = laws.variance(params.rule, params.sigma, params.steps)[-1]
        standard_error = np.sqrt(variance / params.seeds) + ROUNDING * (1 + abs(params.w1) + abs(params.mu))
        error = abs(ran.mean[-1] - expected[-1]) / standard_error
        yield Check(
            "the mean over the seeds is as expected, in standard errors",
            error,
            STANDARD_ERRORS,
            "the product, with the steps set",
        )
