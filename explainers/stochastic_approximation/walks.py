"""The one update of this topic, for a single seed as a watched generator, and for many at once as its fast twin.

w_{k+1} = w_k - a_k (g(w_k) + eta_k),   k = 1, 2, ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from explainers.contract.messages import Message, plural
from explainers.contract.params import Adjustment
from explainers.stochastic_approximation.noise import BLOCK, Noise, draws, spread
from explainers.stochastic_approximation.roots import Root
from explainers.stochastic_approximation.steps import Rule

FIRST_SEEDS = 10  # all of whose iterates are kept
FAN_SEEDS = 1000  # whose quantiles are drawn
FAN_POINTS = 1001  # at most, of the quantiles
TOGETHER = 16 * BLOCK  # seeds that move at once, so that their numbers stay in the cache
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MOST_WORK = 200_000_000  # steps of all seeds
STANDARD_ERRORS = 5
ENOUGH = 20  # seeds from which a mean over them says something
ROUNDING = 1e-9


class Problem(NamedTuple):
    """What is to be solved: g, the start, the noise and its mean. roots: that attract; distances count from them."""

    g: Callable[[np.ndarray], np.ndarray]
    w1: float
    noise: Noise
    sigma: float
    bias: float
    seed: int
    roots: tuple[Root, ...]

    def distance(self, w: np.ndarray) -> np.ndarray:
        """How far each w is from the nearest root; NaN without one."""
        if not self.roots:
            return np.full(w.shape, np.nan)
        return np.min([root.distance(w) for root in self.roots], axis=0)


class Moment(NamedTuple):
    """One step of one seed: at w the function is g, seen with noise eta; a step of a leads to `after`."""

    k: int
    w: float
    g: float
    eta: float
    a: float
    after: float


def walk(problem: Problem, rule: Rule, steps: int) -> Iterator[Moment]:
    """The algorithm, for the first seed."""
    w = np.array(problem.w1)
    noise = draws(problem.noise, range(1), steps, problem.seed)
    for k, drawn in enumerate(noise, 1):
        a = float(rule.at(np.array(k)))
        eta = problem.bias + float(spread(problem.noise, problem.sigma, w)) * drawn[0]
        with np.errstate(all="ignore"):  # what overflows is infinite
            g = problem.g(w)
            # w_{k+1} = w_k - a_k (g(w_k) + eta_k)
            after = w - a * (g + eta)
        yield Moment(k, float(w), float(g), float(eta), a, float(after))
        w = after


class Run(NamedTuple):
    """What is kept of all seeds; the rows are steps, w_1 first.

    first: (steps + 1, first seeds). fan_at: (points,) steps. fan: (points, seeds). finite: (steps + 1,) how many seeds.
    last: (seeds,). mean: (steps + 1,) of w. square, square_sd: (steps + 1,) mean and standard deviation of the squared
    distance to the nearest root. noise: (steps,) mean variance of the noise. low, high: between which all iterates lie.
    ups, downs: how often the noise was above and below 0.
    """

    first: np.ndarray
    fan_at: np.ndarray
    fan: np.ndarray
    finite: np.ndarray
    last: np.ndarray
    mean: np.ndarray
    square: np.ndarray
    square_sd: np.ndarray
    noise: np.ndarray
    low: float
    high: float
    ups: int
    downs: int

    @property
    def quantiles(self) -> np.ndarray:
        """(5, points) of the iterates that are finite; NaN where none is."""
        if np.isfinite(self.fan).all():
            return np.quantile(self.fan, QUANTILES, axis=1)
        made = np.full((len(QUANTILES), len(self.fan)), np.nan)
        for row, values in enumerate(self.fan):
            if len(finite := values[np.isfinite(values)]):
                made[:, row] = np.quantile(finite, QUANTILES)
        return made


def run(problem: Problem, rule: Rule, steps: int, seeds: int) -> Run:
    """The fast twin of `walk`: all seeds, thousands at a time."""
    fan_at = np.unique(np.linspace(0, steps, min(steps + 1, FAN_POINTS)).round().astype(int))
    rows = {int(k): row for row, k in enumerate(fan_at)}
    a = rule.at(np.arange(1, steps + 1))
    first = np.empty((steps + 1, min(seeds, FIRST_SEEDS)))
    fan = np.empty((len(fan_at), min(seeds, FAN_SEEDS)))
    finite, total, square, fourth, noise = np.zeros((5, steps + 1))
    last, low, high, ups, downs = np.empty(seeds), problem.w1, problem.w1, 0, 0
    for start in range(0, seeds, TOGETHER):
        some = range(start, min(start + TOGETHER, seeds))
        w = np.full(len(some), problem.w1)
        drawn = draws(problem.noise, some, steps, problem.seed)
        with np.errstate(all="ignore"):  # what overflows is infinite
            for k in range(steps + 1):
                away = problem.distance(w) ** 2
                finite[k] += np.isfinite(w).sum()
                total[k] += w.sum()
                square[k] += away.sum()
                fourth[k] += (away**2).sum()
                low, high = min(low, float(np.fmin.reduce(w))), max(high, float(np.fmax.reduce(w)))
                if start < FAN_SEEDS and k in rows:
                    fan[rows[k], start : start + len(some)] = w[: FAN_SEEDS - start]
                if start == 0:
                    first[k] = w[: first.shape[1]]
                if k == steps:
                    break
                scale = spread(problem.noise, problem.sigma, w)
                noise[k] += (scale**2 * np.ones(len(some))).sum()
                eta = problem.bias + scale * next(drawn)
                ups, downs = ups + int((eta > 0).sum()), downs + int((eta < 0).sum())
                w = w - a[k] * (problem.g(w) + eta)
        last[start : start + len(some)] = w
    with np.errstate(all="ignore"):
        lost = np.inf if problem.roots else np.nan
        mean = np.where(finite == seeds, square / seeds, lost)
        sd = np.sqrt(np.maximum(fourth / seeds - mean**2, 0))
        middle = total / seeds
    return Run(
        first=first, fan_at=fan_at, fan=fan, finite=finite, last=last, mean=middle, square=mean, square_sd=sd,
        noise=noise[:-1] / seeds, low=low, high=high, ups=ups, downs=downs,
    )  # fmt: skip


def work(seeds: int, steps: int) -> Iterator[Adjustment]:
    """Fewer steps for a run that would take more than MOST_WORK of them over all seeds."""
    if seeds * steps > MOST_WORK:
        most = MOST_WORK // seeds
        sentence = Message(
            "steps = {steps} is too many for {seeds}; allowed: 1 to {most}.",
            steps=steps,
            seeds=plural("{count} seed", "{count} seeds", count=seeds),
            most=most,
        )
        yield Adjustment("steps", most, sentence)


def apart(moments: tuple[Moment, ...], ran: Run) -> float:
    """How far the first seed of `run` goes from `walk`, relative to 1 + |w|, until both overflow; inf if one alone."""
    alone, among_many = np.array([moment.after for moment in moments]), ran.first[1:, 0]
    finite = np.isfinite(alone)
    if (finite != np.isfinite(among_many)).any():
        return np.inf
    alone, among_many = alone[finite], among_many[finite]
    return float(np.max(np.abs(alone - among_many) / (1 + np.abs(alone)), initial=0.0))
