"""`stochastic_approximation.mean`: the mean of samples, of all at once and by small steps towards each.

    batch:        mean_k = (x_1 + ... + x_k) / k
    incremental:  w_{k+1} = w_k + a_k (x_k - w_k) = w_k - a_k (g(w_k) + eta_k),  g(w) = w - mu,  eta_k = mu - x_k

Source: Zhao 2025, section 6.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from explainers.contract.breaks import Break, break_field
from explainers.contract.experiment import experiment
from explainers.contract.messages import Message
from explainers.contract.params import Adjustment, choice, number
from explainers.contract.result import Check, Checked
from explainers.stochastic_approximation import laws
from explainers.stochastic_approximation.noise import BIAS, LABELS
from explainers.stochastic_approximation.roots import Root
from explainers.stochastic_approximation.steps import Rule, StepParams
from explainers.stochastic_approximation.walks import (
    ENOUGH,
    ROUNDING,
    STANDARD_ERRORS,
    Moment,
    Problem,
    Run,
    apart,
    run,
    walk,
    work,
)

HUGE = 1e100  # beyond which a run counts as diverged

SEEN: dict[str, Any] = {
    "step_rule": "c/k^p", "c": 1, "p": 1, "alpha": 0, "mu": 2, "sigma": 1, "w1": -3, "steps": 100, "seeds": 1000,
}  # fmt: skip
BreakIt = Literal["none", "constant_step", "biased_noise", "too_small_steps"]

BREAKS = (
    Break(
        name="constant_step",
        label="constant steps of 0.2",
        consequence=(
            "With a constant step old samples fade, and the estimate keeps the variance a/(2 − a) σ², however many "
            "samples come. That is useful for a mean that moves, and only then."
        ),
        settings=SEEN,
    ),
    Break(
        name="biased_noise",
        label="noise with a mean",
        consequence="Samples that are off on average have another mean, and the estimate finds that one.",
        settings=SEEN,
    ),
    Break(
        name="too_small_steps",
        label="steps too small: 1/(k+1)²",
        consequence="The samples only ever get half of the estimate: the other half remains the start.",
        settings=SEEN,
    ),
)


class AverageParams(StepParams):
    """What is averaged, from where, and how often."""

    mu: float = number(2.0, "μ", "Mean of the samples", least=-1e6, most=1e6, comfort=(-5, 5), step=0.5)
    sigma: float = number(
        1.0, "σ", "Standard deviation of the samples", least=0, most=100, comfort=(0, 5), step=0.1
    )
    distribution: Literal["normal", "uniform"] = choice(
        "normal",
        "Distribution",
        "How the samples are distributed",
        {name: LABELS[name] for name in ("normal", "uniform")},
    )
    seeds: int = number(
        1000, "Seeds", "Runs, each with different samples", least=1, most=100_000, comfort=(1, 1000), step=1
    )
    seed: int = number(0, "Seed", "Of the samples", least=0, most=2**31 - 1)

    def problem(self, w1: float, bias: float = 0.0) -> Problem:
        """Mean estimation as the search for a root."""
        root = Root(self.mu, self.mu, True)
        return Problem(lambda w: w - self.mu, w1, self.distribution, self.sigma, bias, self.seed, (root,))


class MeanParams(AverageParams):
    """Where the estimate starts, how many samples, and a constant step instead of the rule."""

    w1: float = number(
        -3.0, "w₁", "Where the estimate starts", least=-1e6, most=1e6, comfort=(-10, 10), step=0.5
    )
    steps: int = number(100, "Samples", "Of each seed", least=1, most=100_000, comfort=(5, 200), step=5)
    alpha: float = number(
        0.0,
        "Constant α",
        "A constant step size instead of the rule; 0: as the rule says",
        least=0,
        most=2,
        step=0.01,
    )
    break_it: BreakIt = break_field(BREAKS)

    @property
    def rule(self) -> Rule:
        return Rule("constant", self.alpha) if self.alpha else super().rule

    def adjustments(self) -> Iterator[Adjustment]:
        yield from work(self.seeds, self.steps)


@dataclass(frozen=True, eq=False)
class MeanResult(Checked):
    """The estimates. steady_variance: mean squared distance of the last half of the iterates from their expectation.

    samples: (steps,) of the first seed. batch_mean: (steps,) of its samples so far. iterates: (first seeds, steps + 1),
    w_1 first. shares: (steps + 1,) of w_1 and of each sample in the last iterate. mean, variance: (steps + 1,) over the
    seeds; mean_law, variance_law: what they are exactly, with the steps that are set. steady_variance_law: a / (2 - a)
    sigma^2, for a constant step below 2; else null.
    """

    samples: np.ndarray
    batch_mean: np.ndarray
    iterates: np.ndarray
    shares: np.ndarray
    mean: np.ndarray
    mean_law: np.ndarray
    variance: np.ndarray
    variance_law: np.ndarray
    steady_variance: float
    steady_variance_law: float
    final_mean: float
    notes: tuple[Message, ...]
    checks: tuple[Check, ...]
    params: MeanParams = field(metadata={"shell": False})
    moments: tuple[Moment, ...] = field(metadata={"shell": False})


@experiment("stochastic_approximation.mean", breaks=BREAKS)
def mean(params: MeanParams) -> MeanResult:
    """The mean of samples, at once and by small steps; what each sample counts; the variance over seeds."""
    problem = params.problem(params.w1, -BIAS if params.break_it == "biased_noise" else 0.0)
    moments = tuple(walk(problem, params.used, params.steps))
    ran = run(problem, params.used, params.steps, params.seeds)
    samples = params.mu - np.array([moment.eta for moment in moments])
    mean_law = params.mu + laws.product(params.rule, params.steps) * (params.w1 - params.mu)
    variance_law = laws.variance(params.rule, params.sigma, params.steps)
    with np.errstate(all="ignore"):
        variance = ran.square - (ran.mean - params.mu) ** 2
        variance[variance < ROUNDING * ran.square] = 0  # what rounding leaves of two equal numbers
        off = mean_law - params.mu
        around = (ran.square - 2 * off * (ran.mean - params.mu) + off**2)[-(params.steps // 2 + 1) :].mean()
    return MeanResult(
        samples=samples,
        batch_mean=np.cumsum(samples) / np.arange(1, params.steps + 1),
        iterates=ran.first.T,
        shares=laws.weights(params.used, params.steps),
        mean=ran.mean,
        mean_law=mean_law,
        variance=variance,
        variance_law=variance_law,
        steady_variance=float(around),
        steady_variance_law=laws.steady_variance(params.rule, params.sigma),
        final_mean=float(ran.mean[-1]),
        notes=tuple(_notes(params)),
        checks=tuple(_checks(params, samples, moments, ran, mean_law, variance_law)),
        params=params,
        moments=moments,
    )


def _notes(params: MeanParams) -> Iterator[Message]:
    a, left = params.used.constant, abs(float(laws.product(params.used, params.steps)[-1]))
    if a is not None and a >= 2:
        yield Message(
            "A step of 2 or more overshoots by at least as much as the estimate was off: it never settles."
        )
    elif params.used.is_running_mean:
        yield Message(
            "With aₖ = 1/k the two are the same numbers, sample by sample, and the start is forgotten at once."
        )
    elif 0.01 < left <= 1:
        yield Message("{left:.1%} of the last estimate still comes from the start.", left=left)


def _checks(
    params: MeanParams,
    samples: np.ndarray,
    moments: tuple[Moment, ...],
    ran: Run,
    mean_law: np.ndarray,
    variance_law: np.ndarray,
) -> Iterator[Check]:
    yield Check(
        "the first seed, run alone, takes the same path",
        apart(moments, ran),
        ROUNDING,
        "the algorithm as written",
    )
    last, scale = moments[-1].after, 1 + max(np.abs(samples).max(), abs(params.w1))
    if not max(abs(mean_law[-1]), variance_law[-1], abs(last), ran.square[-1]) < HUGE:
        return
    if params.rule.is_running_mean:
        means = np.cumsum(samples) / np.arange(1, len(samples) + 1)
        off = np.abs(np.array([moment.after for moment in moments]) - means).max() / scale
        yield Check(
            "with 1/k every estimate is the batch mean", float(off), 1e-12, "numpy's sum of the samples"
        )
    shares = laws.weights(params.rule, params.steps)
    added = float(shares @ np.concatenate([[params.w1], samples]))
    yield Check(
        "the last estimate is the samples by their shares",
        abs(added - last) / (scale * max(np.abs(shares).sum(), 1)),
        ROUNDING,
        "the closed form, with the steps set",
    )
    if params.seeds >= ENOUGH:
        error = abs(ran.mean[-1] - mean_law[-1])
        standard_error = np.sqrt(variance_law[-1] / params.seeds) + ROUNDING * scale
        yield Check(
            "its mean over the seeds is as expected, in standard errors",
            error / standard_error,
            STANDARD_ERRORS,
            "the exact law",
        )
        expected = variance_law[-1] + (mean_law[-1] - params.mu) ** 2
        error = abs(ran.square[-1] - expected)
        standard_error = ran.square_sd[-1] / np.sqrt(params.seeds) + ROUNDING * (
            expected + scale**2 * ROUNDING
        )
        yield Check(
            "its mean squared error over the seeds is as expected, in standard errors",
            error / standard_error,
            STANDARD_ERRORS,
            "the exact law",
        )
