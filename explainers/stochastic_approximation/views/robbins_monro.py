"""The picture of Robbins-Monro: the cobweb on the curve of g, the fan of many seeds, the sums of the steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from explainers.drawing.axes import (
    GREATEST,
    axis,
    curve,
    drawable,
    log_axis,
    round_ticks,
    sendable,
    steps_axis,
)
from explainers.drawing.formula import formula
from explainers.drawing.panels import Area, Axis, Layer, Line, Lines, Marks
from explainers.drawing.scene import Column, Hue, Scene, Track, Words
from explainers.drawing.source_code import code_panel, line_with
from explainers.stochastic_approximation.robbins_monro import NEAR, RobbinsMonroResult
from explainers.stochastic_approximation.steps import unbroken
from explainers.stochastic_approximation.walks import walk

CURVE = 321  # points of the drawn g
AWAY = 3  # lengths of the stated interval up to which the seeds are followed
TRAIL = 12  # earlier steps that stay visible
SYMBOLS = {
    "w": "the estimate",
    "a": "the step size",
    "η": "the noise of an observation",
    "g": "the function whose root is sought",
}
SENTENCES = (
    "k = {0:d}: at w = {1:.4g} the observation is g + η = {2:.4g} + {3:(.4g}. A step of {4:.4g} times that leads to "
    "**{5:.4g}**.",
    "k = {0:d}: the step leads beyond all numbers: this seed has **overflowed**. It diverges, as {6:.0f}% of the seeds "
    "have by now.",
    "k = {0:d}: this seed has overflowed before. {6:.0f}% of the seeds have by now.",
)
FORMULA = (
    r"w_{k+1} = w_k - a_k (g(w_k) + \eta_k) = \slot{1:.4g} - \slot{4:.4g} \, (\slot{2:(.4g} + \slot{3:(.4g})"
)


def scene(result: RobbinsMonroResult) -> Scene:
    """A step for each observation of the first seed; beside it all seeds, the distance, and the sums."""
    low, high = _range(result)
    params, moments = result.params, result.moments
    return Scene(
        name="stochastic_approximation.robbins_monro",
        title="The root of a function seen through noise",
        steps=len(moments),
        columns=(
            Column(1.2, (_cobweb(result, low, high, 470),)),
            Column(1, (_fan(result, low, high), *_arrival(result), _sums(result))),
        ),
        words=_words(result),
        reopens=True,
        rate=max(2.0, params.steps / 25),
        symbols=SYMBOLS,
        below=(Column(1, (code_panel(walk, np.full(len(moments), line_with("after = ", walk))),)),),
    )


def card(result: RobbinsMonroResult) -> Scene:
    """The cobweb alone, small."""
    low, high = _range(result)
    words = Words(("",), np.zeros(len(result.moments), int), np.zeros((len(result.moments), 1)))
    return Scene(
        name="stochastic_approximation.card",
        title="",
        steps=len(result.moments),
        columns=(Column(1, (_cobweb(result, low, high, 200, card=True),)),),
        words=words,
        start=min(8, len(result.moments) - 1),
    )


def _range(result: RobbinsMonroResult) -> tuple[float, float]:
    """Which w are drawn: where most iterates are, within the stated interval, and where half of the seeds end."""
    params = result.params
    lowest, highest = params.interval
    half = float(result.fan[2, -1])
    if abs(half - (lowest + highest) / 2) < AWAY * (highest - lowest):
        lowest, highest = min(lowest, half), max(highest, half)
    reached = [root.low for root in params.attracting]
    seen = np.concatenate([[params.w1], result.iterates[0], result.fan[[0, -1]].ravel(), [result.root]])
    seen = np.append(seen, [root for root in reached if np.nanmin(seen) <= root <= np.nanmax(seen)])
    if not reached:  # what pushes away
        seen = np.append(seen, [root.low for root in params.roots])
    seen = seen[np.isfinite(seen)]
    low, high = (float(np.clip(end, lowest, highest)) for end in (seen.min(), seen.max()))
    room = 0.08 * (high - low) or 0.5
    return low - room, high + room


def _cobweb(result: RobbinsMonroResult, low: float, high: float, height: int, card: bool = False) -> Marks:
    """From (w, 0) up to g(w), on by the noise, and back to the axis along a line of slope 1 / a_k."""
    columns = (np.array(column, float) for column in zip(*result.moments, strict=True))
    # nothing is drawn of what has overflowed
    _, w, g, eta, _, after = (np.where(np.abs(column) < GREATEST, column, np.nan) for column in columns)
    x = np.linspace(low, high, CURVE)
    y = result.params.function_of_w.value(x)
    up = _upright_axis(y, (g + eta)[np.isfinite(w) & (w >= low) & (w <= high)])
    at, to = drawable(w, low, high), drawable(after, low, high)
    tip, observed = drawable(g, up.low, up.high), drawable(g + eta, up.low, up.high)
    zero = np.zeros(len(w))
    aside = at + 0.008 * (high - low)  # the noise is drawn beside g, which it may hide
    layers = (
        curve(x, y=y, low=up.low, high=up.high, hue="output", name="g(w): "),
        _on_the_axis(low, high, "muted", 2),
        *_past(at, observed, to),
        _moving("segment", (at, zero), (at, tip), hue="output", name="g(w): ", numbers=g),
        _moving("segment", (aside, tip), (aside, observed), hue="bad", name="noise: ", numbers=eta),
        _moving("arrow", (at, observed), (to, zero), hue="current", name="to ", numbers=after),
        _moving("point", (at, zero), None, hue="current", name="w: ", numbers=w),
        *_outside(w, low, high, up),
        *_roots(result, low, high),
    )
    where = "[{:g}, {:g}]".format(*result.params.interval).replace("-", "−")
    slope = f"0 < c₁ ≤ g′(w) ≤ c₂ on {where} {'✓' if result.conditions[0].holds else '✗'}"
    return Marks(
        name="cobweb",
        title="" if card else f"g(w) = {result.params.g}",
        subtitle="" if card else f"red: noise · arrow: the step, of slope 1/aₖ · ring: the root · {slope}",
        height=height,
        x=Axis(low, high)
        if card
        else Axis(low, high, label="w", ticks=_without_end(low, high), format=".4g"),
        y=Axis(up.low, up.high) if card else up,
        layers=layers,
    )


def _upright_axis(curve_of_g: np.ndarray, observed: np.ndarray) -> Axis:
    """The axis of g and of the observations, without what lies far beyond the others."""
    seen = np.concatenate([curve_of_g, observed, [0.0]])
    seen = seen[np.abs(seen) < GREATEST]
    return axis(float(np.quantile(seen, 0.005)), float(np.quantile(seen, 0.995)))


def _on_the_axis(left: float, right: float, hue: Hue, size: float) -> Layer:
    return Layer(
        "segment",
        x=np.array([left]),
        y=np.zeros(1),
        x2=np.array([right]),
        y2=np.zeros(1),
        hue=hue,
        size=size,
    )


def _roots(result: RobbinsMonroResult, low: float, high: float) -> Iterator[Layer]:
    """The ends of the roots as rings, and stretches of roots that attract."""
    marks: tuple[tuple[bool, Hue, str], ...] = (
        (True, "good", "root: "),
        (False, "muted", "a root that pushes away: "),
    )
    for attracts, hue, name in marks:
        ends = [{root.low, root.high} for root in result.params.roots if root.attracts == attracts]
        here = np.array(sorted(set().union(*ends)))
        here = here[(here >= low) & (here <= high)]
        yield Layer(
            "point",
            x=here,
            y=np.zeros(len(here)),
            hue=hue,
            size=6,
            style="hollow",
            numbers=here,
            format=".4g",
            names=(name,) * len(here),
        )
    for root in result.params.attracting:
        if root.high > root.low:
            left, right = np.clip(root[:2], low, high)
            yield _on_the_axis(left, right, "good", 4)


def _outside(w: np.ndarray, low: float, high: float, up: Axis) -> tuple[Layer, Layer]:
    """Where w lies beyond an end of the axis: what it is, written at that end."""
    place = np.full((len(w), 1), up.low + 0.06 * (up.high - up.low))

    def at_end(end: float, beyond: np.ndarray, name: str, anchor: Literal["left", "right"]) -> Layer:
        x = np.where(beyond, end, np.nan)[:, None]
        return Layer(
            "label", Track(x), Track(place), hue="current", numbers=Track(sendable(w[:, None])), format=".3g",
            names=(name,), anchor=anchor,
        )  # fmt: skip

    return at_end(low, w < low, "← w = ", "left"), at_end(high, w > high, "outside, at w = ", "right")


def _without_end(low: float, high: float) -> tuple[float, ...]:
    return tuple(one for one in round_ticks(low, high) if one < low + 0.93 * (high - low))


def _moving(
    mark: Literal["segment", "arrow", "point"],
    start: tuple[np.ndarray, np.ndarray],
    end: tuple[np.ndarray, np.ndarray] | None,
    *,
    hue: Hue,
    name: str,
    numbers: np.ndarray,
) -> Layer:
    """A mark that moves with the steps. start, end: its x and y at each step."""
    x, y = (Track(values[:, None]) for values in start)
    x2, y2 = (Track(values[:, None]) for values in end) if end else (None, None)
    return Layer(
        mark,
        x=x,
        y=y,
        x2=x2,
        y2=y2,
        hue=hue,
        size=5,
        numbers=Track(numbers[:, None]),
        format=".4g",
        names=(name,),
    )


def _past(w: np.ndarray, observed: np.ndarray, after: np.ndarray) -> tuple[Layer, Layer]:
    """The last steps before this one, thin."""
    steps = len(w)
    back = np.arange(steps)[:, None] - np.arange(1, TRAIL + 1)
    there = back >= 0

    def earlier(values: np.ndarray) -> Track:
        return Track(np.where(there, values[np.maximum(back, 0)], np.nan))

    none = Track(np.where(there, 0.0, np.nan))
    return (
        Layer("segment", x=earlier(w), y=none, x2=earlier(w), y2=earlier(observed), hue="muted", size=1.5),
        Layer(
            "segment", x=earlier(w), y=earlier(observed), x2=earlier(after), y2=none, hue="muted", size=1.5
        ),
    )


def _fan(result: RobbinsMonroResult, low: float, high: float) -> Lines:
    """Quantiles of all seeds, and the first one."""
    k = result.fan_at + 1.0
    quantiles = drawable(result.fan, low, high)
    steps = result.params.steps
    own = drawable(result.iterates[0], low, high)
    lines = [
        Line(k, quantiles[2], "output", "median"),
        Line(np.arange(1.0, steps + 2), own, "current", "the seed on the left"),
    ]
    ends = sorted(set().union(*({root.low, root.high} for root in result.params.attracting)))
    for number, end in enumerate(one for one in ends if low <= one <= high):
        name = "" if number else "root"
        lines.append(Line(np.array([1.0, steps + 1]), np.full(2, end), "good", name, dashed=True))
    lost = " that have not overflowed" if result.diverged_fraction else ""
    return Lines(
        name="fan",
        title=f"wₖ of {result.params.seeds:,} seeds",
        subtitle=f"bands: 50% and 90% of those{lost}",
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


def _arrival(result: RobbinsMonroResult) -> tuple[Lines, ...]:
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
        Line(k, 100 * result.converged_at, "good", f"with {result.params.used.words}"),
        Line(every, 100 * result.diverged_at, "bad", "overflowed"),
    ]
    others: tuple[Hue, ...] = ("query", "score")
    for hue, (words, converged) in zip(others, result.beside.items(), strict=False):
        lines.append(Line(k, 100 * converged, hue, f"with {words}"))
    return Lines(
        name="near",
        title=f"Seeds within {NEAR:g} of {'a' if len(result.params.attracting) > 1 else 'the'} root, in %",
        height=150,
        x=steps_axis(result.params.steps + 1),
        y=Axis(0, 104, ticks=(0, 50, 100), format="d"),
        lines=tuple(lines),
        shown=Track(every[1:, None]),
        ahead=True,
    )


def _distance(result: RobbinsMonroResult) -> tuple[Lines, ...]:
    """The root mean square distance to the root, under its bound."""
    shown = np.where(result.rms < GREATEST, result.rms, np.nan)
    if not np.isfinite(shown).any():
        return ()
    steps = result.params.steps
    k = np.arange(1.0, steps + 2)
    lines = [Line(k, shown, "current", "over all seeds")]
    if np.isfinite(result.bound).all() and result.bound.max() < 1e6 * max(shown.max(), 1e-12):
        lines.append(
            Line(k, result.bound, "muted", "bound, as in the proof" + unbroken(result.params), dashed=True)
        )
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


def _sums(result: RobbinsMonroResult) -> Lines:
    """The sums of the steps and of their squares, and where each goes."""
    steps = result.params.steps
    k = np.arange(1.0, steps + 1)
    limits = [result.params.used.sum_of_powers(power) for power in (1, 2)]
    marks = ["✓" if one.holds else "✗" for one in result.conditions]
    told = ["∞" if np.isinf(one) else f"{one:.4g}" for one in limits]
    lines = [
        Line(k, result.sum, "output", f"Σ aₖ → {told[0]}"),
        Line(k, result.sum_of_squares, "score", f"Σ aₖ² → {told[1]}"),
    ]
    tops = [result.sum[-1], result.sum_of_squares[-1], *(one for one in limits if np.isfinite(one))]
    for limit, hue in zip(limits, ("output", "score"), strict=True):
        if np.isfinite(limit):
            lines.append(Line(np.array([1.0, steps]), np.full(2, limit), hue, dashed=True))  # type: ignore[arg-type]
    return Lines(
        name="sums",
        title="Sums of the steps, and of their squares",
        subtitle=f"Σ aₖ = ∞ {marks[1]} · Σ aₖ² < ∞ {marks[2]} · known from the rule, not from adding up",
        height=130,
        x=steps_axis(steps),
        y=axis(0, float(max(tops)), room=0.04, most=3),
        lines=tuple(lines),
        shown=Track(k[:, None]),
        ahead=True,
    )


def _words(result: RobbinsMonroResult) -> Words:
    """The columns: 0 k, 1 w, 2 g, 3 eta, 4 a, 5 after, 6 percent that have overflowed."""
    moments = result.moments
    lost = 100 * result.diverged_at[1:]
    values = np.array(
        [
            (one.k, one.w, one.g, one.eta, one.a, one.after, gone)
            for one, gone in zip(moments, lost, strict=True)
        ]
    )
    which = np.where(np.isfinite(values[:, 5]), 0, np.where(np.isfinite(values[:, 1]), 1, 2))
    return Words(SENTENCES, which, sendable(values), (formula(FORMULA), "", ""))
