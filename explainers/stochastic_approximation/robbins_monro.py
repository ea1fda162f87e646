"""`stochastic_approximation.robbins_monro`: the root of a function seen through noise, for one seed and many.

    w_{k+1} = w_k - a_k (g(w_k) + eta_k),   k = 1, 2, ...

Sources: Robbins and Monro 1951; Zhao 2025, section 6.2, whose example w^3 - 5 diverges with the steps printed there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from explainers.contract.experiment import experiment
from explainers.contract.messages import Message, joined, plural
from explainers.contract.result import Check, Checked
from explainers.stochastic_approximation import conditions, roots
from explainers.stochastic_approximation.conditions import Condition
from explainers.stochastic_approximation.printed import Printed
from explainers.stochastic_approximation.robbins_monro_params import BREAKS, RobbinsMonroParams
from explainers.stochastic_approximation.steps import Rule
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
)

NEAR = 0.5  # from the root: converged
STEEPER = 100.0  # times the greatest slope on the interval: a note reports such slopes elsewhere

# Rules that the picture compares with the steps that the book prints.
BESIDE = (Rule("c/(k+b)", b=1), Rule("c/(k+b)", b=2))


@dataclass(frozen=True, eq=False)
class RobbinsMonroResult(Checked):
    """Where the iterates went. What overflowed, or left where g is defined, is infinite or NaN (null in JSON).

    iterates: (first seeds, steps + 1), w_1 first. fan_at: (points,) the k of the quantiles. fan: (5, points), of 5, 25,
    50, 75 and 95 % of those of the first 1000 seeds that are finite. final_mean, final_std: of the finite last
    iterates. root: the one that attracts, nearest to the start; NaN without. converged_fraction: of the seeds, whose
    last iterate is within 0.5 of a root that attracts. diverged_fraction: whose last iterate is not finite.
    converged_at: (points,) the same at each k of fan_at, of the first 1000 seeds; beside: the same with the rules that
    a break is compared with, by their words. diverged_at: (steps + 1,) what has overflowed.
    rms, bound: (steps + 1,) root mean square distance to the root, and what the theorem's proof bounds it by; NaN
    where there is no root or no variance. sum, sum_of_squares: (steps,) of the steps so far. conditions: the theorem's.
    """

    iterates: np.ndarray
    fan_at: np.ndarray
    fan: np.ndarray
    final_mean: float
    final_std: float
    root: float
    converged_fraction: float
    diverged_fraction: float
    converged_at: np.ndarray
    diverged_at: np.ndarray
    beside: dict[str, np.ndarray]
    rms: np.ndarray
    bound: np.ndarray
    sum: np.ndarray
    sum_of_squares: np.ndarray
    conditions: tuple[Condition, ...]
    verdict: Message
    notes: tuple[Message, ...]
    checks: tuple[Check, ...]
    params: RobbinsMonroParams = field(metadata={"shell": False})
    moments: tuple[Moment, ...] = field(metadata={"shell": False})


@experiment("stochastic_approximation.robbins_monro", breaks=BREAKS)
def robbins_monro(params: RobbinsMonroParams) -> RobbinsMonroResult:
    """The root of a function seen through noise: iterates of many seeds, and the theorem's conditions."""
    g, steps, seeds = params.function_of_w.value, params.steps, params.seeds
    broken = Problem(g, params.w1, params.noise, params.sigma, params.bias, params.seed, params.attracting)
    ran = run(broken, params.used, steps, seeds)
    sound = ran if params.break_it == "none" else run(broken._replace(bias=0.0), params.rule, steps, seeds)
    bound = _bound(params, sound)
    decided = tuple(_conditions(params))
    a = params.used.at(np.arange(1, steps + 1))
    finite = ran.last[np.isfinite(ran.last)]
    converged, diverged = float(near(broken, ran.last).mean()), 1 - len(finite) / seeds
    moments = tuple(walk(broken, params.used, steps))
    others = BESIDE if params.break_it == "as_printed" else ()
    return RobbinsMonroResult(
        iterates=ran.first.T,
        fan_at=ran.fan_at,
        fan=ran.quantiles,
        final_mean=float(finite.mean()) if len(finite) else np.nan,
        final_std=float(finite.std()) if len(finite) else np.nan,
        root=params.root,
        converged_fraction=converged,
        diverged_fraction=diverged,
        converged_at=near(broken, ran.fan).mean(axis=1),
        diverged_at=1 - ran.finite / seeds,
        beside={
            rule.words: near(broken, run(broken, rule, steps, seeds).fan).mean(axis=1) for rule in others
        },
        rms=np.sqrt(ran.square),
        bound=np.sqrt(bound),
        sum=np.cumsum(a),
        sum_of_squares=np.cumsum(a**2),
        conditions=decided,
        verdict=_verdict(params, decided, ran, converged, diverged),
        notes=tuple(_notes(params)),
        checks=tuple(_checks(params, ran, moments, bound)),
        params=params,
        moments=moments,
    )


def near(problem: Problem, w: np.ndarray) -> np.ndarray:
    """Whether each iterate is within NEAR of a root that attracts; what has overflowed is not."""
    with np.errstate(invalid="ignore"):
        return problem.distance(w) <= NEAR


def _bound(params: RobbinsMonroParams, ran: Run) -> np.ndarray:
    """(steps + 1,) a bound on the mean square distance to the root; NaN where the run has none.

    With slopes between c_1 and c_2 wherever the iterates went, and noise that has mean 0 given the past,
    E d_{k+1}^2 <= max(|1 - a_k c_1|, |1 - a_k c_2|)^2 E d_k^2 + a_k^2 E eta_k^2: the step of the theorem's proof.
    """
    steps, root = params.steps, params.root
    if (
        len(params.attracting) != 1
        or not np.isfinite([root, ran.low, ran.high]).all()
        or params.noise == "heavy_tailed"
        or ran.finite[-1] < params.seeds
    ):
        return np.full(steps + 1, np.nan)
    least, most = roots.slopes(params.function_of_w, min(ran.low, root), max(ran.high, root))
    a = params.rule.at(np.arange(1, steps + 1))
    kept = np.maximum(np.abs(1 - a * least), np.abs(1 - a * most)) ** 2
    bound = np.empty(steps + 1)
    bound[0] = (params.w1 - root) ** 2
    with np.errstate(over="ignore"):
        for k in range(steps):
            bound[k + 1] = kept[k] * bound[k] + a[k] ** 2 * ran.noise[k]
    return bound


def _conditions(params: RobbinsMonroParams) -> Iterator[Condition]:
    low, high = params.interval
    yield conditions.of_slope(*params.slopes, low, high)
    yield from conditions.of_steps(params.used)
    yield from conditions.of_noise(params.noise, params.sigma, params.bias)


def _verdict(
    params: RobbinsMonroParams,
    decided: tuple[Condition, ...],
    ran: Run,
    converged: float,
    diverged: float,
) -> Message:
    """What the theorem promises, and what happened."""
    if np.isnan(params.root):
        return Message(
            "The theorem is about a root; as far as we looked, g has none that pulls the iterates in."
        )
    happened = _happened(params, converged, diverged)
    if all(condition.holds for condition in decided):
        return joined([_promise(params, ran), happened], " ")
    missing = joined([condition.name for condition in decided if not condition.holds])
    nothing = Message(
        "The theorem promises nothing, as not all its conditions hold ({missing}).", missing=missing
    )
    return joined([nothing, happened], " ")


def _happened(params: RobbinsMonroParams, converged: float, diverged: float) -> Message:
    """Which share of the seeds is near a root, and which has overflowed."""
    shown = {
        "steps": plural("{count:,} step", "{count:,} steps", count=params.steps),
        "converged": converged,
        "near": NEAR,
    }
    one_root = len(params.attracting) == 1
    if diverged and one_root:
        return Message(
            "After {steps} {converged:.1%} of the seeds are within {near:g} of the root, and {diverged:.1%} have "
            "overflowed, or left where g is defined.",
            diverged=diverged,
            **shown,
        )
    if diverged:
        return Message(
            "After {steps} {converged:.1%} of the seeds are within {near:g} of a root, and {diverged:.1%} have "
            "overflowed, or left where g is defined.",
            diverged=diverged,
            **shown,
        )
    if one_root:
        return Message(
            "After {steps} {converged:.1%} of the seeds are within {near:g} of the root; none has overflowed.",
            **shown,
        )
    return Message(
        "After {steps} {converged:.1%} of the seeds are within {near:g} of a root; none has overflowed.",
        **shown,
    )


def _promise(params: RobbinsMonroParams, ran: Run) -> Message:
    """What the theorem says where all its conditions hold on the interval: it asks for the slope on the whole line."""
    least, most = params.slopes_everywhere
    if least > 0 and np.isfinite(most):
        return Message(
            "All conditions hold, and for all w: the theorem promises convergence, with probability one."
        )
    low, high = params.interval
    if ran.low >= low and ran.high <= high:
        return Message(
            "All conditions hold for w from {low:g} to {high:g}, though not for all w: the theorem promises "
            "convergence as long as the iterates stay there, as they did.",
            low=Printed(low), high=Printed(high),
        )  # fmt: skip
    return Message(
        "All conditions hold for w from {low:g} to {high:g}, though not for all w: the theorem promises convergence "
        "only while the iterates stay there, and these went from {lowest:.3g} to {highest:.3g}.",
        low=Printed(low), high=Printed(high), lowest=Printed(ran.low), highest=Printed(ran.high),
    )  # fmt: skip


def _notes(params: RobbinsMonroParams) -> Iterator[Message]:
    attracting = params.attracting
    if len(attracting) > 1:
        places = tuple(Message("{place:.3g}", place=Printed(round(root.low, 9) + 0.0)) for root in attracting)
        yield Message(
            "g pulls towards several roots ({places}); near any of them counts as converged.",
            places=joined(places),
        )
    yield from _steepness(params)
    if any(root.high > root.low for root in attracting):
        yield Message("g is 0 on a whole stretch: the iterates may stop anywhere on it.")
    if any(not root.attracts for root in params.roots):
        yield Message("At some roots g does not rise through 0: they do not hold the iterates.")


def _steepness(params: RobbinsMonroParams) -> Iterator[Message]:
    """A note where g is much steeper far away, where a large step may lead."""
    low, high = params.interval
    (_, here), (_, far) = params.slopes, params.slopes_everywhere
    if far > STEEPER * here > 0:
        yield Message(
            "The slope of g is at most {here:.3g} for w from {low:g} to {high:g}, but reaches {far:.3g} for |w| up to "
            "a million: an iterate that a large step throws far out overshoots farther with the next.",
            here=Printed(here), low=Printed(low), high=Printed(high), far=Printed(far),
        )  # fmt: skip


def _checks(
    params: RobbinsMonroParams, ran: Run, moments: tuple[Moment, ...], bound: np.ndarray
) -> Iterator[Check]:
    yield Check(
        "the first seed, run alone, takes the same path",
        apart(moments, ran),
        ROUNDING,
        "the algorithm as written",
    )
    if (params.noise != "none" and params.sigma > 0) or params.bias:
        thrown = max(ran.ups + ran.downs, 1)
        yield Check(
            "the noise is above 0 as often as below, in standard errors",
            abs(ran.ups - ran.downs) / np.sqrt(thrown),
            STANDARD_ERRORS,
            "the sign test",
        )
    if np.isfinite(bound).all() and params.seeds >= ENOUGH:
        with np.errstate(invalid="ignore"):
            least = ran.square - STANDARD_ERRORS * ran.square_sd / np.sqrt(params.seeds)
            over = float(np.max((least - bound) / np.maximum(bound, ROUNDING)))
        yield Check(
            "the mean square distance stays below its bound, as a share of it",
            max(over, 0.0) if over == over else np.inf,
            1e-6,
            "the step of the proof, with the steps set",
        )
