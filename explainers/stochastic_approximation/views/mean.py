"""The picture of mean estimation: samples, both means, what each sample counts, the variance over seeds."""

from __future__ import annotations

import numpy as np

from explainers.contract.messages import LiveMessage, Message, plural
from explainers.drawing.axes import (
    GREATEST,
    axis,
    drawable,
    log_axis,
    sendable,
    steps_axis,
)
from explainers.drawing.formula import formula
from explainers.drawing.panels import Axis, Layer, Line, Lines, Marks
from explainers.drawing.scene import Column, Hue, Scene, Track, Words
from explainers.drawing.source_code import code_panel, line_with
from explainers.stochastic_approximation import laws
from explainers.stochastic_approximation.mean import MeanResult
from explainers.stochastic_approximation.steps import is_broken
from explainers.stochastic_approximation.views.opening import half_way
from explainers.stochastic_approximation.walks import walk

BARS = 300  # at most, of samples
SYMBOLS = {"w": Message("the estimate"), "a": Message("the step size"), "x": Message("a sample")}
# after: the next w. difference: between that and batch_mean.
COLUMNS = ("k", "x", "w", "a", "after", "batch_mean", "difference")
SENTENCE = LiveMessage(
    "Sample {k:d} is {x:.4g}. The estimate moves {a:.4g} of the way to it, from {w:.4g} to **{after:.4g}**; the mean "
    "of all samples so far is {batch_mean:.4g}, a difference of {difference:.2g}."
)
FORMULA = r"w_{k+1} = w_k + a_k (x_k - w_k) = \slot{w:.4g} + \slot{a:.4g} \, (\slot{x:.4g} - \slot{w:(.4g})"


def scene(result: MeanResult) -> Scene:
    """A step for each sample of the first seed."""
    steps = result.params.steps
    return Scene(
        name="stochastic_approximation.mean",
        title="A mean, all at once and by small steps",
        steps=steps,
        columns=(
            Column(1.2, (_estimates(result), _shares(result))),
            Column(1, (_variance(result), _bias(result))),
        ),
        words=_words(result),
        start=half_way(np.append(result.params.sigma**2, result.variance_law[1:]), log=True),
        reopens=True,
        rate=max(2.0, steps / 25),
        symbols=SYMBOLS,
        below=(Column(1, (code_panel(walk, np.full(steps, line_with("after = ", walk))),)),),
    )


def _estimates(result: MeanResult) -> Lines:
    params, at = result.params, np.arange(result.params.steps + 1.0)
    low = float(min(result.samples.min(), params.w1))
    high = float(max(result.samples.max(), params.w1))
    # the estimates too, unless they run away
    room, estimates = high - low, result.iterates[0][np.isfinite(result.iterates[0])]
    low, high = max(min(low, estimates.min()), low - room), min(max(high, estimates.max()), high + room)
    own = drawable(result.iterates[0], low, high)
    return Lines(
        name="estimates",
        title="Samples, and two estimates of their mean",
        subtitle="the estimate after k samples is drawn at k",
        height=270,
        x=steps_axis(params.steps, first=0),
        y=axis(low, high),
        lines=(
            Line(at, np.append(np.nan, result.samples), "muted", label="sample xₖ"),
            Line(at, np.append(np.nan, result.batch_mean), "value", label="batch mean"),
            Line(at, own, "current", label="w, by small steps"),
            Line(np.array([0.0, params.steps]), np.full(2, params.mu), "good", label="μ", dashed=True),
        ),
        shown=Track(at[1:, None] + 1),
    )


def _shares(result: MeanResult) -> Marks:
    """The share of the start and of each sample in the estimate, as bars that change with every step.

    A long run shows BARS samples and BARS steps, evenly spread: a picture has no room for more.
    """
    steps = result.params.steps
    ends = np.unique(np.linspace(1, steps, min(steps, BARS)).round().astype(int))
    samples = np.append(0, ends)
    shares = np.full((len(ends), len(samples)), np.nan)
    for row, k in enumerate(ends):
        seen = samples[samples <= k]
        shares[row, : len(seen)] = laws.weights(result.params.used, int(k))[seen]
    row_of_step = np.searchsorted(ends, np.arange(1, steps + 1), side="right") - 1
    half = 0.4 * steps / len(ends)
    # relative to the largest of the step, so that none is cut off
    largest = np.nanmax(np.abs(shares), axis=1)
    heights = shares / np.where(largest > 0, largest, 1.0)[:, None]
    zero = np.where(np.isnan(shares), np.nan, 0.0)

    def bars(first: int, last: int, hue: Hue) -> Layer:
        some = slice(first, last)
        return Layer(
            "rect", x=samples[some] - half, y=Track(zero[:, some], row_of_step), x2=samples[some] + half,
            y2=Track(heights[:, some], row_of_step), hue=hue,
            numbers=Track(sendable(shares[:, some]), row_of_step), format=".3g",
            names=tuple(map(_bar_name, samples[some])),
        )  # fmt: skip

    return Marks(
        name="shares",
        title="What the estimate remembers",
        subtitle="each sample's share of it, relative to the largest, which is printed below; red: the start's",
        height=190,
        x=steps_axis(steps, label="sample", first=0),
        y=Axis(1.02 * float(np.nanmin(heights, initial=0.0)), 1.02, ticks=(0, 1), format="d"),
        readout=Track(sendable(largest[:, None]), row_of_step),
        readout_format=".3g",
        layers=(bars(0, 1, "bad"), bars(1, len(samples), "score")),
    )


def _bar_name(sample: int) -> Message:
    return Message("sample {sample}: ", sample=sample) if sample else Message("the start: ")


def _variance(result: MeanResult) -> Lines:
    k = np.arange(1.0, result.params.steps + 1)
    measured, law = (
        np.where(variance < GREATEST, variance, np.nan)[1:]
        for variance in (result.variance, result.variance_law)
    )
    lines = [
        Line(
            k,
            measured,
            "current",
            label=plural("over {count:,} seed", "over {count:,} seeds", count=result.params.seeds),
        ),
        Line(k, law, "muted", label=_law(result), dashed=True),
    ]
    if np.isfinite(floor := laws.steady_variance(result.params.used, result.params.sigma)):
        floor_label = Message("a/(2 − a) σ² = {floor:.3g}", floor=floor)
        lines.append(Line(k, np.full(len(k), floor), "bad", label=floor_label, dashed=True))
    return Lines(
        name="variance",
        title="Variance of the estimate",
        subtitle="of the law: (1 − aₖ)² times the last, and aₖ² σ²",
        height=200,
        x=steps_axis(result.params.steps),
        y=log_axis(np.concatenate([line.y for line in lines])),
        lines=tuple(lines),
        shown=Track(k[:, None]),
        ahead=True,
    )


def _bias(result: MeanResult) -> Lines:
    k = np.arange(result.params.steps + 1.0)
    measured, law = (
        np.where(np.abs(mean) < GREATEST, mean, np.nan) for mean in (result.mean, result.mean_law)
    )
    both = np.concatenate([measured, law, [result.params.mu]])
    return Lines(
        name="bias",
        title="Mean of the estimate over the seeds",
        subtitle="how fast the start is forgotten",
        height=170,
        x=steps_axis(result.params.steps, first=0),
        y=axis(float(np.nanmin(both)), float(np.nanmax(both)), most=4),
        lines=(
            Line(k, measured, "current", label="measured"),
            Line(k, law, "muted", label=_law(result), dashed=True),
            Line(k[[0, -1]], np.full(2, result.params.mu), "good", label="μ", dashed=True),
        ),
        shown=Track(k[1:, None] + 1),
        ahead=True,
    )


def _law(result: MeanResult) -> Message:
    return Message("the law, unbroken") if is_broken(result.params) else Message("the law")


def _words(result: MeanResult) -> Words:
    rows = [
        (moment.k, x, moment.w, moment.a, moment.after, batch, _apart(moment.after, batch))
        for moment, x, batch in zip(result.moments, result.samples, result.batch_mean, strict=True)
    ]
    return Words(
        sentences=(SENTENCE,),
        which=np.zeros(len(rows), int),
        values=sendable(np.array(rows)),
        formulas=(formula(FORMULA),),
        columns=COLUMNS,
    )


def _apart(estimate: float, mean: float) -> float:
    """How far the two are from each other: 0 where only rounding is between them."""
    off = abs(estimate - mean)
    return 0.0 if off <= 1e-12 * (1 + abs(mean)) else off
