"""`stochastic_approximation.sgd`: gradient descent with one sample an update, with a few, and with all of them.

    w_{k+1} = w_k - a_k (1/m) sum_{i in batch} grad f(w_k, x_i)

Two least-squares problems in the plane: the mean of points, and a line through points. Both have gradients A_i w - b_i,
so that the mean square distance to the solution is known exactly, step by step (`law`).

Source: Zhao 2025, section 6.4 and figure 6.5.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from explainers.contract.breaks import Break, break_field
from explainers.contract.experiment import experiment
from explainers.contract.messages import Message, joined, plural
from explainers.contract.params import Adjustment, choice, number, several
from explainers.contract.result import Check, Checked
from explainers.stochastic_approximation.noise import BIAS
from explainers.stochastic_approximation.steps import Rule, StepParams
from explainers.stochastic_approximation.walks import ENOUGH, ROUNDING, STANDARD_ERRORS

POINTS = 100
JUDGED = 100  # seeds whose gradients are checked
SIDE = 20.0  # of the square in which the points of the mean lie
LINE = (4.0, -3.0)  # intercept and slope of the line through which points are scattered
SCATTER = 6.0
REACH = 2.0  # of the places at which the line is seen
HUGE = 1e12
MOST_GATHERED = 300_000_000  # samples of all seeds, steps and batches

Size = Literal["1", "2", "5", "10", "20", "50", "all"]

SEEN: dict[str, Any] = {
    "problem": "mean", "batch_sizes": ("1", "5", "50"), "steps": 60, "seeds": 200, "start_x": -18, "start_y": 18,
    "step_rule": "c/k^p", "c": 1, "p": 1,
}  # fmt: skip
BreakIt = Literal["none", "constant_step", "biased_noise", "too_small_steps"]

BREAKS = (
    Break(
        name="constant_step",
        label="constant steps of 0.2",
        consequence=(
            "With constant steps all batch sizes start equally fast; then the small ones stay in a cloud around the "
            "solution that does not shrink."
        ),
        settings=SEEN,
    ),
    Break(
        name="biased_noise",
        label="noise with a mean",
        consequence="A gradient that is off on average is zero somewhere else, and all batch sizes go there.",
        settings=SEEN,
    ),
    Break(
        name="too_small_steps",
        label="steps too small: 1/(k+1)²",
        consequence="The steps add up to too little: even the exact gradient stops half way.",
        settings=SEEN,
    ),
)


def label(size: str) -> Message:
    """What the screen calls a batch size."""
    if size == "1":
        return Message("m = 1 (SGD)")
    return Message("all points (BGD)") if size == "all" else Message("m = {size}", size=size)


class SgdParams(StepParams):
    """The problem, the batch sizes, the start."""

    problem: Literal["mean", "regression"] = choice(
        "mean",
        "Problem",
        "What is minimized",
        {"mean": "mean of points", "regression": "line through points"},
    )
    batch_sizes: tuple[Size, ...] = several(
        ("1", "5", "50"),
        "Batch sizes",
        "Samples of each update, drawn with replacement; all: the exact gradient (BGD)",
        most=4,
        labels={**{size: size for size in get_args(Size)}, "1": "1 (SGD)", "all": "all (BGD)"},
    )
    steps: int = number(30, "Updates", "Of each seed", least=1, most=2000, comfort=(5, 200), step=5)
    seeds: int = number(
        200, "Seeds", "Runs, each with different draws", least=1, most=20_000, comfort=(1, 1000), step=1
    )
    start_x: float = number(
        -18.0, "Start, first", "Of the two numbers", least=-1e4, most=1e4, comfort=(-20, 20), step=1
    )
    start_y: float = number(
        18.0, "Start, second", "Of the two numbers", least=-1e4, most=1e4, comfort=(-20, 20), step=1
    )
    seed: int = number(0, "Seed", "Of points and draws", least=0, most=2**31 - 1)
    break_it: BreakIt = break_field(BREAKS)

    @property
    def start(self) -> np.ndarray:
        return np.array([self.start_x, self.start_y])

    def adjustments(self) -> Iterator[Adjustment]:
        if not self.batch_sizes:
            none_chosen = Message("batch_sizes = none is chosen; allowed: one to four.")
            yield Adjustment("batch_sizes", ("1", "5", "50"), none_chosen)
        if len(set(self.batch_sizes)) < len(self.batch_sizes):
            once = tuple(dict.fromkeys(self.batch_sizes))
            repeated = Message("batch_sizes = one of them twice; allowed: each once.")
            yield Adjustment("batch_sizes", once, repeated)
        each = self.seeds * sum(0 if size == "all" else int(size) for size in self.batch_sizes)
        if each * self.steps > MOST_GATHERED:
            most = MOST_GATHERED // each
            too_many = Message(
                "steps = {steps} is too many for these seeds and batches; allowed: 1 to {most}.",
                steps=self.steps,
                most=most,
            )
            yield Adjustment("steps", most, too_many)


class Squares(NamedTuple):
    """A least-squares problem: the gradient of sample i is A_i w - b_i. A: (n, 2, 2). b: (n, 2). points: (n, 2)."""

    A: np.ndarray
    b: np.ndarray
    points: np.ndarray

    @property
    def solution(self) -> np.ndarray:
        return np.linalg.solve(self.A.mean(axis=0), self.b.mean(axis=0))


def problem_of(params: SgdParams) -> Squares:
    """The points of a seed, and their least squares."""
    random = np.random.default_rng((params.seed, 0))
    if params.problem == "mean":  # f(w, x) = |w - x|^2 / 2
        x = random.uniform(-SIDE / 2, SIDE / 2, (POINTS, 2))
        return Squares(np.broadcast_to(np.eye(2), (POINTS, 2, 2)), x, x)
    at = random.uniform(-REACH, REACH, POINTS)
    y = LINE[0] + LINE[1] * at + SCATTER * random.standard_normal(POINTS)
    X = np.stack([np.ones(POINTS), at], axis=1)  # f(w, (x, y)) = (x' w - y)^2 / 2
    return Squares(X[:, :, None] * X[:, None, :], X * y[:, None], np.stack([at, y], axis=1))


class Descent(NamedTuple):
    """What is kept of one batch size. path: (steps + 1, 2) and gradients: (steps, 2) of the first seed.

    square, square_sd: (steps + 1,) mean and standard deviation over the seeds of the squared distance to the solution.
    off: (steps,) root mean square over the seeds of the sampled gradient's error, relative to the exact gradient's.
    unfair: how far the errors are from a mean of 0, in standard errors that are known exactly; where nothing is drawn,
    0 or, if there are errors, infinite.
    """

    path: np.ndarray
    gradients: np.ndarray
    square: np.ndarray
    square_sd: np.ndarray
    off: np.ndarray
    unfair: float


def descend(params: SgdParams, squares: Squares, size: Size, rule: Rule, bias: float) -> Descent:
    """All seeds of one batch size, side by side."""
    random = np.random.default_rng(
        (params.seed, 1)
    )  # the same draws for a size, whichever others are asked for
    flat = np.concatenate([squares.A.reshape(POINTS, 4), squares.b], axis=1)
    whole, solution = flat.mean(axis=0), squares.solution
    w = np.tile(params.start, (params.seeds, 1))
    path, away, gradients, off, errors = [w[0]], [((w - solution) ** 2).sum(axis=1)], [], [], []
    for a in rule.at(np.arange(1, params.steps + 1)):
        if size == "all":
            batch = np.broadcast_to(whole, (params.seeds, 6))
        else:
            batch = flat[random.integers(0, POINTS, (params.seeds, int(size)))].mean(axis=1)
        A, b = batch[:, :4].reshape(-1, 2, 2), batch[:, 4:]
        # w_{k+1} = w_k - a_k (A w_k - b), A and b the means over the batch
        gradient = np.einsum("sij,sj->si", A, w) - b + bias
        exact = w @ whole[:4].reshape(2, 2).T - whole[4:]
        gradients.append(gradient[0])
        with np.errstate(all="ignore"):
            off.append(np.sqrt(((gradient - exact) ** 2).sum() / (exact**2).sum()))
            errors.append(_standardized(squares, w[:JUDGED], (gradient - exact)[:JUDGED], size))
            w = w - a * gradient
            away.append(((w - solution) ** 2).sum(axis=1))
        path.append(w[0])
    error = np.concatenate(errors)
    error = error[~np.isnan(error)]
    return Descent(
        path=np.array(path),
        gradients=np.array(gradients),
        square=np.mean(away, axis=1),
        square_sd=np.std(away, axis=1),
        off=np.array(off),
        unfair=abs(float(error.sum())) / np.sqrt(max(len(error), 1)),
    )


def _standardized(squares: Squares, w: np.ndarray, errors: np.ndarray, size: Size) -> np.ndarray:
    """(seeds,) the errors along (1, 1), of mean 0 and variance 1 given w, as draws are fair: known from all samples.

    The exact gradient has no errors at all: one beyond rounding is infinite.
    """
    along = errors.sum(axis=1)
    if size == "all":
        beyond = np.abs(along) > ROUNDING * (1 + np.abs(w).sum(axis=1))
        return np.where(np.isfinite(along), np.where(beyond, np.inf, 0.0), np.nan)
    each = (squares.A @ w.T).transpose(2, 0, 1) - squares.b  # (seeds, samples, 2) gradients
    made = along / np.sqrt(each.sum(axis=2).var(axis=1) / int(size))
    return np.where(np.isfinite(made), made, np.nan)


def law(params: SgdParams, squares: Squares, size: Size) -> np.ndarray:
    """(steps + 1,) the exact mean square distance to the solution w*, with the steps that are set.

    With v = w - w* and u = (v, 1), an update is u' = T u, T the mean over the batch of T_i = [[1 - a A_i, -a g_i],
    [0, 1]], g_i = A_i w* - b_i. So M = E[u u'] becomes 1/m mean_i T_i M T_i' + (1 - 1/m) T M T', T the mean of all.
    """
    w = squares.solution
    g = squares.A @ w - squares.b
    u = np.append(params.start - w, 1.0)
    M, made = np.outer(u, u), []
    share = 0.0 if size == "all" else 1 / int(size)
    for a in [0.0, *params.rule.at(np.arange(1, params.steps + 1))]:  # the first leaves the start as it is
        T = np.tile(np.eye(3), (POINTS, 1, 1))
        T[:, :2, :2] -= a * squares.A
        T[:, :2, 2] = -a * g
        whole = T.mean(axis=0)
        if not np.isfinite(M).all():
            made.append(np.inf)
            continue
        M = share * (T @ M @ T.transpose(0, 2, 1)).mean(axis=0) + (1 - share) * whole @ M @ whole.T
        made.append(M[0, 0] + M[1, 1])
    return np.maximum(np.array(made), 0)


@dataclass(frozen=True, eq=False)
class SgdResult(Checked):
    """How near each batch size comes. Distances are to the least-squares solution of all points.

    rms: batch size -> root mean square distance after the last update, over the seeds. rms_by_step, law_by_step: batch
    size -> (steps + 1,), measured and exact. solution: (2,). points: (100, 2), of the mean, or (x, y) of the line.
    """

    rms: dict[str, float]
    rms_by_step: dict[str, np.ndarray]
    law_by_step: dict[str, np.ndarray]
    solution: np.ndarray
    points: np.ndarray
    notes: tuple[Message, ...]
    checks: tuple[Check, ...]
    params: SgdParams = field(metadata={"shell": False})
    descents: dict[str, Descent] = field(metadata={"shell": False})


@experiment("stochastic_approximation.sgd", breaks=BREAKS)
def sgd(params: SgdParams) -> SgdResult:
    """Gradient descent with one sample at a time, a few, or all: distance by updates and by samples."""
    squares = problem_of(params)
    bias = BIAS if params.break_it == "biased_noise" else 0.0
    descents = {size: descend(params, squares, size, params.used, bias) for size in params.batch_sizes}
    known = {size: law(params, squares, size) for size in params.batch_sizes}
    by_step = {size: np.sqrt(descent.square) for size, descent in descents.items()}
    return SgdResult(
        rms={size: float(distances[-1]) for size, distances in by_step.items()},
        rms_by_step=by_step,
        law_by_step={size: np.sqrt(square) for size, square in known.items()},
        solution=squares.solution,
        points=squares.points,
        notes=tuple(_notes(params, by_step)),
        checks=tuple(_checks(params, descents, known)),
        params=params,
        descents=descents,
    )


def _notes(params: SgdParams, by_step: dict[str, np.ndarray]) -> Iterator[Message]:
    samples, distances = at_equal_samples(params, by_step)
    if distances:
        each = tuple(
            Message("{distance:.3g} with {size}", distance=round(distance, 12), size=label(size))
            for size, distance in distances.items()
        )
        yield plural(
            "After the same {count:,} sample: {distances}.",
            "After the same {count:,} samples: {distances}.",
            count=samples,
            distances=joined(each),
        )
    lands = (
        params.problem == "mean" and params.used.at(np.array(1)) == 1 and params.break_it != "biased_noise"
    )
    if "all" in params.batch_sizes and lands:
        yield Message("The exact gradient of a mean points straight at it: a first step of 1 lands on it.")


def at_equal_samples(
    params: SgdParams, rms_by_step: Mapping[str, Sequence[float] | np.ndarray]
) -> tuple[int, dict[str, float]]:
    """The most samples that two or more batch sizes can all have seen, and how near each size then is.

    Sizes too large for that are left out, as is `all`, which draws no samples; 0 and nothing where two do not compare.
    """
    sizes = sorted(int(size) for size in params.batch_sizes if size != "all")
    while len(sizes) > 1:
        together = math.lcm(*sizes)
        if samples := params.steps * sizes[0] // together * together:
            return samples, {str(m): rms_by_step[str(m)][samples // m] for m in sizes}
        sizes.pop()
    return 0, {}


def _checks(params: SgdParams, descents: dict[str, Descent], known: dict[str, np.ndarray]) -> Iterator[Check]:
    a = params.rule.at(np.arange(1, params.steps + 1))[:, None]
    with np.errstate(all="ignore"):
        moved = {size: descent.path[:-1] - a * descent.gradients for size, descent in descents.items()}
        errors = [np.abs(descents[size].path[1:] - to) / (1 + np.abs(to)) for size, to in moved.items()]
    yield Check(
        "each update goes aₖ times its gradient, in all batch sizes",
        float(np.nanmax(errors)),
        ROUNDING,
        "the paths of the first seed, with the steps set",
    )
    yield Check(
        "gradients are right on average, in standard errors",
        max(descent.unfair for descent in descents.values()),
        STANDARD_ERRORS,
        "the exact gradient and its variance, at each w",
    )
    # on a line the squared distance has a tail too heavy for a test by its own spread
    if params.problem != "mean" or params.seeds < ENOUGH:
        return
    for size, descent in descents.items():
        square, expected = descent.square[-1], known[size][-1]
        if not max(expected, square) < HUGE:
            continue
        standard_error = descent.square_sd[-1] / np.sqrt(params.seeds) + ROUNDING * (1 + known[size][0])
        yield Check(
            Message("{size}: the mean square distance is as expected, in standard errors", size=label(size)),
            float(abs(square - expected) / standard_error),
            STANDARD_ERRORS,
            "the exact law, with the steps set",
        )
