"""The curves beside the cobweb of Robbins-Monro: all seeds, how near they come to the root, the sums of the steps."""

from __future__ import annotations

import numpy as np

from explainers.contract.messages import Message, plural
from explainers.drawing.axes import GREATEST, axis, drawable, log_axis, steps_axis
from explainers.drawing.panels import Area, Axis, Line, Lines
from explainers.drawing.scene import Hue, Track
from explainers.stochastic_approximation.robbins_monro import NEAR, RobbinsMonroResult
from explainers.stochastic_approximation.steps import is_broken


def fan(result: RobbinsMonroResult, low: float, high: float) -> Lines:
    """Quantiles of all seeds, and the first one."""
    k = result.fan_at + 1.0
    quantiles = drawable(result.fan, low, high)
    steps = result.params.steps
    own = drawable(result.iterates[0], low, high)
    lines = [
        Line(k, quantiles[2], "output", label="median"),
        Line(np.arange(1.0, steps + 2), own, "current", label="the seed on the left"),
    ]
    ends = sorted(set().union(*({root.low, root.high} for root in result.params.attracting)))
    for number, end in enumerate(end for end in ends if low <= end <= high):
        name = "" if number else Message("root")
        lines.append(Line(np.array([1.0, steps + 1]), np.full(2, end), "good", label=name, dashed=True))
    if result.diverged_fraction:
        bands = Message("bands: 50% and 90% of those that have not overflowed")
    else:
        bands = Message("bands: 50% and 90% of the seeds")
    return Lines(
        name="fan",
        title=plural("wₖ of {count:,} seed", "wₖ of {count:,} seeds", count=result.params.seeds),
        subtitle=bands,
        height=210,
        x=steps_axis(steps + 1),
        y=axis(low, high, room=0),
        areas=(
            Area(k, quantiles[0], quantiles[4], "output"),
            Area(k, quantiles[1], quantiles[3], "output"),
        ),
        lines=tuple(lines),
        shown=Track(np.arange(2.0, steps + 2)[:, None]),
        ahead=True,
    )


def arrival(result: RobbinsMonroResult) -> tuple[Lines, ...]:
    """How many seeds are near the root, where some overflow; else how far they are. Nothing without a root."""
    if np.isnan(result.root):
        return ()
    several = len(result.params.attracting) > 1
    counted = result.diverged_fraction or result.beside or several
    return (_seeds_near(result),) if counted else _distance(result)


def _seeds_near(result: RobbinsMonroResult) -> Lines:
    """How many seeds are near the root, how many have overflowed, and what other steps do on the same noise."""
    k, every = result.fan_at + 1.0, np.arange(1.0, result.params.steps + 2)
    lines = [
        Line(k, 100 * result.converged_at, "good", label=_with(result.params.used.words)),
        Line(every, 100 * result.diverged_at, "bad", label="overflowed"),
    ]
    others: tuple[Hue, ...] = ("query", "score")
    for hue, (words, converged) in zip(others, result.beside.items(), strict=False):
        lines.append(Line(k, 100 * converged, hue, label=_with(words)))
    if len(result.params.attracting) > 1:
        title = Message("Seeds within {near:g} of a root, in %", near=NEAR)
    else:
        title = Message("Seeds within {near:g} of the root, in %", near=NEAR)
    return Lines(
        name="near",
        title=title,
        height=150,
        x=steps_axis(result.params.steps + 1),
        y=Axis(0, 104, ticks=(0, 50, 100), format="d"),
        lines=tuple(lines),
        shown=Track(every[1:, None]),
        ahead=True,
    )


def _with(rule: str) -> Message:
    return Message("with {rule}", rule=rule)


def _distance(result: RobbinsMonroResult) -> tuple[Lines, ...]:
    """The root mean square distance to the root, under its bound."""
    shown = np.where(result.rms < GREATEST, result.rms, np.nan)
    if not np.isfinite(shown).any():
        return ()
    steps = result.params.steps
    k = np.arange(1.0, steps + 2)
    lines = [Line(k, shown, "current", label="over all seeds")]
    if np.isfinite(result.bound).all() and result.bound.max() < 1e6 * max(shown.max(), 1e-12):
        if is_broken(result.params):
            bound = Message("bound, as in the proof, unbroken")
        else:
            bound = Message("bound, as in the proof")
        lines.append(Line(k, result.bound, "muted", label=bound, dashed=True))
    return (
        Lines(
            name="distance",
            title="Root mean square distance to the root",
            height=130,
            x=steps_axis(steps + 1),
            y=log_axis(np.concatenate([line.y for line in lines])),
            lines=tuple(lines),
            shown=Track(np.arange(2.0, steps + 2)[:, None]),
            ahead=True,
        ),
    )


def sums(result: RobbinsMonroResult) -> Lines:
    """The sums of the steps and of their squares, and where each goes."""
    steps = result.params.steps
    k = np.arange(1.0, steps + 1)
    limits = [result.params.used.sum_of_powers(power) for power in (1, 2)]
    _, total, squares, *_ = result.conditions
    labels = ["∞" if np.isinf(limit) else Message("{limit:.4g}", limit=limit) for limit in limits]
    lines = [
        Line(k, result.sum, "output", label=Message("Σ aₖ → {limit}", limit=labels[0])),
        Line(k, result.sum_of_squares, "score", label=Message("Σ aₖ² → {limit}", limit=labels[1])),
    ]
    tops = [result.sum[-1], result.sum_of_squares[-1], *(limit for limit in limits if np.isfinite(limit))]
    for limit, hue in zip(limits, ("output", "score"), strict=True):
        if np.isfinite(limit):
            lines.append(Line(np.array([1.0, steps]), np.full(2, limit), hue, dashed=True))  # type: ignore[arg-type]
    return Lines(
        name="sums",
        title="Sums of the steps, and of their squares",
        subtitle=Message(
            "Σ aₖ = ∞ {total} · Σ aₖ² < ∞ {squares} · known from the rule, not from adding up",
            total=total.mark,
            squares=squares.mark,
        ),
        height=130,
        x=steps_axis(steps),
        y=axis(0, float(max(tops)), room=0.04, most=3),
        lines=tuple(lines),
        shown=Track(k[:, None]),
        ahead=True,
    )
