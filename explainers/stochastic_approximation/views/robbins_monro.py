"""The picture of Robbins-Monro: the cobweb on the curve of g, the fan of many seeds, the sums of the steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from explainers.contract.messages import LiveMessage, Message
from explainers.drawing.axes import GREATEST, axis, curve, drawable, round_ticks, sendable
from explainers.drawing.formula import formula
from explainers.drawing.panels import Axis, Layer, Marks
from explainers.drawing.scene import Column, Hue, Scene, Track, Words
from explainers.drawing.source_code import code_panel, line_with
from explainers.stochastic_approximation.printed import Printed
from explainers.stochastic_approximation.robbins_monro import NEAR, RobbinsMonroResult
from explainers.stochastic_approximation.views.opening import FEWEST
from explainers.stochastic_approximation.views.robbins_monro_curves import arrival, fan, sums
from explainers.stochastic_approximation.walks import walk

CURVE = 321  # points of the drawn g
AWAY = 3  # lengths of the stated interval up to which the seeds are followed
TRAIL = 12  # earlier steps that stay visible
SYMBOLS = {
    "w": Message("the estimate"),
    "a": Message("the step size"),
    "η": Message("the noise of an observation"),
    "g": Message("the function whose root is sought"),
}
# after: the next w. overflowed: percent of the seeds.
COLUMNS = ("k", "w", "g", "noise", "a", "after", "overflowed")
SENTENCES = (
    LiveMessage(
        "k = {k:d}: at w = {w:.4g} the observation is g + η = {g:.4g} + {noise:(.4g}. A step of {a:.4g} times that "
        "leads to **{after:.4g}**."
    ),
    LiveMessage(
        "k = {k:d}: the step leads to no finite number: this seed has **overflowed**. It diverges, as do "
        "{overflowed:.0f}% of the seeds by now."
    ),
    LiveMessage("k = {k:d}: this seed overflowed earlier. By now {overflowed:.0f}% of the seeds have."),
)
FORMULA = r"w_{k+1} = w_k - a_k (g(w_k) + \eta_k) = \slot{w:.4g} - \slot{a:.4g} \, (\slot{g:(.4g} + \slot{noise:(.4g})"


def scene(result: RobbinsMonroResult) -> Scene:
    """A step for each observation of the first seed, with all seeds, the distance, and the sums of the steps."""
    low, high = _range(result)
    params, moments = result.params, result.moments
    return Scene(
        name="stochastic_approximation.robbins_monro",
        title="The root of a function seen through noise",
        steps=len(moments),
        columns=(
            Column(1.2, (_cobweb(result, low, high, 470),)),
            Column(1, (fan(result, low, high), *arrival(result), sums(result))),
        ),
        words=_words(result),
        start=_start(result),
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


def _start(result: RobbinsMonroResult) -> int:
    """The step that first leads near the root, with a few before it; of a seed that is lost, the one out of sight."""
    after = np.array([moment.after for moment in result.moments])
    few = min(FEWEST, -(-len(after) // 3)) - 1
    low, high = result.params.interval
    with np.errstate(invalid="ignore"):
        arrives = np.abs(after - result.root) <= NEAR
        in_sight = np.abs(after - result.params.w1) <= AWAY * (high - low)
    arrives[:few] = False
    if arrives.any():
        return int(np.argmax(arrives))
    lost = np.flatnonzero(~in_sight)
    return max(min(int(lost[0]) if len(lost) else few, len(after) - 1), 0)


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
        _moving("segment", (aside, tip), (aside, observed), hue="bad", name=Message("noise: "), numbers=eta),
        _moving("arrow", (at, observed), (to, zero), hue="current", name=Message("to "), numbers=after),
        _moving("point", (at, zero), None, hue="current", name="w: ", numbers=w),
        *_outside(w, low, high, up),
        *_roots(result, low, high),
    )
    interval_low, interval_high = map(Printed, result.params.interval)
    subtitle = Message(
        "red: noise · arrow: the step, with slope 1/aₖ · ring: the root · 0 < c₁ ≤ g′(w) ≤ c₂ on [{low:g}, {high:g}] "
        "{mark}",
        low=interval_low, high=interval_high, mark=result.conditions[0].mark,
    )  # fmt: skip
    return Marks(
        name="cobweb",
        title="" if card else f"g(w) = {result.params.g}",
        subtitle="" if card else subtitle,
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
        (True, "good", Message("root: ")),
        (False, "muted", Message("a root that pushes away: ")),
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

    return at_end(low, w < low, "← w = ", "left"), at_end(
        high, w > high, Message("outside, at w = "), "right"
    )


def _without_end(low: float, high: float) -> tuple[float, ...]:
    return tuple(tick for tick in round_ticks(low, high) if tick < low + 0.93 * (high - low))


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


def _words(result: RobbinsMonroResult) -> Words:
    """The first seed step by step: it leads to a number, overflows, or has overflowed earlier."""
    overflowed = 100 * result.diverged_at[1:]
    values = np.column_stack([np.array(result.moments, float), overflowed])
    _, w, _, _, _, after, _ = values.T
    which = np.where(np.isfinite(after), 0, np.where(np.isfinite(w), 1, 2))
    return Words(SENTENCES, which, sendable(values), formulas=(formula(FORMULA), "", ""), columns=COLUMNS)
