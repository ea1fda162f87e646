"""The picture of mean estimation: samples, both means, what each sample counts, the variance over seeds."""

from __future__ import annotations

import numpy as np

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
from explainers.stochastic_approximation.steps import unbroken
from explainers.stochastic_approximation.walks import walk

BARS = 300  # at most, of samples
SYMBOLS = {"w": "the estimate", "a": "the step size", "x": "a sample"}
SENTENCE = (
    "Sample {0:d} is {1:.4g}. The estimate goes a share of {3:.4g} of the way to it, from {2:.4g} to **{4:.4g}**; the "
    "mean of all samples so far is {5:.4g}, a difference of {6:.2g}."
)
FORMULA = r"w_{k+1} = w_k + a_k (x_k - w_k) = \slot{2:.4g} + \slot{3:.4g} \, (\slot{1:.4g} - \slot{2:(.4g})"


def scene(result: MeanResult) -> Scene:
    """A step for each sample of the first seed."""
    steps = result.params.steps
    return Scene(
        name="stochastic_approximation.mean",
        title="A mean, in one go and by small steps",
        steps=steps,
        columns=(
            Column(1.2, (_estimates(result), _shares(result))),
            Column(1, (_variance(result), _bias(result))),
        ),
        words=_words(result),
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
        subtitle="the estimate after k samples stands at k",
        height=270,
        x=steps_axis(params.steps, first=0),
        y=axis(low, high),
        lines=(
            Line(at, np.append(np.nan, result.samples), "muted", "sample xₖ"),
            Line(at, np.append(np.nan, result.batch_mean), "value", "batch mean"),
            Line(at, own, "current", "w, by small steps"),
            Line(np.array([0.0, params.steps]), np.full(2, params.mu), "good", "μ", dashed=True),
        ),
        shown=Track(at[1:, None] + 1),
    )


def _shares(result: MeanResult) -> Marks:
    """The share of the start and of each sample in the estimate, as bars that change with every step.

    Of a long run BARS samples and BARS steps, evenly spread: a picture has no room for more.
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
    # beside the largest of the step, so that none is cut off
    largest = np.nanmax(np.abs(shares), axis=1)
    heights = shares / np.where(largest > 0, largest, 1.0)[:, None]
    zero = np.where(np.isnan(shares), np.nan, 0.0)

    def bars(first: int, last: int, hue: Hue) -> Layer:
        some = slice(first, last)
        return Layer(
            "rect", x=samples[some] - half, y=Track(zero[:, some], row_of_step), x2=samples[some] + half,
            y2=Track(heights[:, some], row_of_step), hue=hue,
            numbers=Track(sendable(shares[:, some]), row_of_step), format=".3g",
            names=tuple(f"sample {k}: " if k else "the start: " for k in samples[some]),
        )  # fmt: skip

    return Marks(
        name="shares",
        title="What the estimate remembers",
        subtitle="the share of each sample in it, beside the largest, whose number stands below; red: of the start",
        height=190,
        x=steps_axis(steps, "sample", first=0),
        y=Axis(1.02 * float(np.nanmin(heights, initial=0.0)), 1.02, ticks=(0, 1), format="d"),
        readout=Track(sendable(largest[:, None]), row_of_step),
        readout_format=".3g",
        layers=(bars(0, 1, "bad"), bars(1, len(samples), "score")),
    )


def _variance(result: MeanResult) -> Lines:
    k = np.arange(1.0, result.params.steps + 1)
    measured, law = (
        np.where(one < GREATEST, one, np.nan)[1:] for one in (result.variance, result.variance_law)
    )
    lines = [
        Line(k, measured, "current", f"over {result.params.seeds:,} seeds"),
        Line(k, law, "muted", "the law" + unbroken(result.params), dashed=True),
    ]
    if np.isfinite(floor := laws.steady_variance(result.params.used, result.params.sigma)):
        lines.append(Line(k, np.full(len(k), floor), "bad", f"a/(2 − a) σ² = {floor:.3g}", dashed=True))
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
    measured, law = (np.where(np.abs(one) < GREATEST, one, np.nan) for one in (result.mean, result.mean_law))
    both = np.concatenate([measured, law, [result.params.mu]])
    return Lines(
        name="bias",
        title="Mean of the estimate over the seeds",
        subtitle="how fast the start is forgotten",
        height=170,
        x=steps_axis(result.params.steps, first=0),
        y=axis(float(np.nanmin(both)), float(np.nanmax(both)), most=4),
        lines=(
            Line(k, measured, "current", "measured"),
            Line(k, law, "muted", "the law" + unbroken(result.params), dashed=True),
            Line(k[[0, -1]], np.full(2, result.params.mu), "good", "μ", dashed=True),
        ),
        shown=Track(k[1:, None] + 1),
        ahead=True,
    )


def _words(result: MeanResult) -> Words:
    """The columns: 0 k, 1 x, 2 w, 3 a, 4 after, 5 batch mean, 6 their difference."""
    rows = [
        (one.k, x, one.w, one.a, one.after, batch, _apart(one.after, batch))
        for one, x, batch in zip(result.moments, result.samples, result.batch_mean, strict=True)
    ]
    return Words((SENTENCE,), np.zeros(len(rows), int), sendable(np.array(rows)), (formula(FORMULA),))


def _apart(estimate: float, mean: float) -> float:
    """How far the two are from each other: 0 where only rounding is between them."""
    off = abs(estimate - mean)
    return 0.0 if off <= 1e-12 * (1 + abs(mean)) else off
