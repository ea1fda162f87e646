"""The picture of the law: the peak of each segment length, its two parts, and the lowest peak."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from explainers.checkpointing.law import LawResult
from explainers.checkpointing.views.latex import PEAK_OF_K, ceiling_of_quotient, total
from explainers.contract.messages import LiveMessage, Message
from explainers.drawing.formula import formula, product
from explainers.drawing.panels import Axis, Layer, Marks
from explainers.drawing.scene import Column, Hue, Scene, Track, Words

SYMBOLS: Mapping[str, str] = {
    "L": Message("L: layers of the chain"),
    "k": Message("k: layers of a segment"),
    "B": Message("B: memory of one boundary activation, here 1"),
    "I": Message("I: memory of one layer's internal activations, in boundaries"),
}
HIGHEST = 3.2  # times the lowest peak; higher bars are cut there

# The numbers of a step: the segment length; the two parts of the peak; the peak as played and by the formula; and by
# how many percent the peak exceeds the lowest one.
COLUMNS = ("k", "boundaries", "internals", "peak", "predicted", "over")


def scene(result: LawResult) -> Scene:
    """One step for each k from 1 to L."""
    L = result.params.layers
    return Scene(
        name="checkpointing.law",
        title=Message(
            "The peak for every k: {layers} layers, ratio {ratio:g}", layers=L, ratio=result.params.ratio
        ),
        steps=L,
        columns=(Column(1.7, (_bars(result),)), Column(1, (_parts(result),))),
        words=_words(result),
        stops=(result.best_k - 1,),
        start=result.best_k - 1,
        reopens=True,
        rate=4.0,
        symbols=SYMBOLS,
        step_name="k",
    )


def _bars(result: LawResult) -> Marks:
    """A bar for every k: boundaries below, internal activations above them; the current k is shaded."""
    cut, low, high = HIGHEST * result.least_peak, 0.5, len(result.k) + 0.5
    return Marks(
        name="bars",
        title="Peak memory for every k, in boundaries",
        subtitle=Message(
            "teal: boundaries · blue: the inside of k layers · rings: the formula; cut at {cut:,.4g}", cut=cut
        ),
        height=330,
        x=Axis(low, high, log=True, ticks=_doublings(len(result.k)), format="d"),
        y=Axis(0, 1.36 * cut, ticks=_thirds(cut), format=".4g"),
        layers=(*_bar_layers(result, cut, low), *_landmarks(result, cut, high)),
    )


def _bar_layers(result: LawResult, cut: float, low: float) -> tuple[Layer, ...]:
    """The current column, both parts of each bar, and the peak by the formula; all cut off at `cut`."""
    k = result.k.astype(float)
    left, right = np.maximum(k - 0.4, low), k + 0.4
    # boundaries fill a bar up to here, and internal activations the rest
    border = np.minimum(result.boundaries, cut)
    predicted = np.where(result.predicted <= cut, result.predicted, np.nan)
    return (
        Layer(
            "rect",
            x=Track(k[:, None] - 0.5),
            y=np.zeros(1),
            x2=Track(k[:, None] + 0.5),
            y2=np.array([cut]),
            hue="current",
            style="faint",
        ),
        Layer(
            "rect",
            x=left,
            y=border,
            x2=right,
            y2=np.minimum(result.peak, cut),
            hue="activation",
            numbers=result.peak,
            format=".6g",
            names=tuple(f"k = {length}" for length in result.k),
        ),
        Layer(
            "rect",
            x=left,
            y=np.zeros(len(k)),
            x2=right,
            y2=border,
            hue="output",
            numbers=result.boundaries,
            format=".6g",
            names=tuple(Message("k = {k}, boundaries", k=length) for length in result.k),
        ),
        Layer(
            "point",
            x=k,
            y=predicted,
            hue="current",
            style="hollow",
            size=3,
            numbers=predicted,
            format=".6g",
            names=tuple(Message("k = {k}, by the formula", k=length) for length in result.k),
        ),
    )


def _landmarks(result: LawResult, cut: float, high: float) -> tuple[Layer, ...]:
    """Lines at sqrt(L), at sqrt(L B / I) and at the best k."""
    least = Message("lowest: {peak:,.6g} at k = {k}", peak=result.least_peak, k=result.best_k)
    return (
        *_landmark(result.sqrt_layers, f"√L = {result.sqrt_layers:.3g}", "muted", 1.09 * cut, high),
        *_landmark(result.continuous_k, f"√(L B / I) = {result.continuous_k:.3g}", "score", 1.18 * cut, high),
        *_landmark(result.best_k, least, "good", 1.27 * cut, high),
    )


def _landmark(k: float, name: str, hue: Hue, top: float, high: float) -> tuple[Layer, Layer]:
    """A line with a label at its top; each line has another height, so that labels never overlap."""
    share = (math.log(max(k, 0.5)) - math.log(0.5)) / (math.log(high) - math.log(0.5))
    anchor = "right" if share > 0.6 else "left"
    x, y = np.array([max(float(k), 0.5)]), np.array([top])
    aside = x * (high / 0.5) ** (-0.012 if anchor == "right" else 0.012)
    return (
        Layer("segment", x=x, y=np.zeros(1), x2=x, y2=y + 0.03 * top, hue=hue, size=2),
        Layer("label", x=aside, y=y, hue=hue, names=(name,), anchor=anchor),
    )


def _parts(result: LawResult) -> Marks:
    """Both parts on logarithmic axes, on which they are straight and cross at sqrt(L B / I)."""
    k = result.k.astype(float)
    lowest, highest = min(1.0, result.params.ratio) * 0.8, float(result.peak.max()) * 1.25
    ceiling = highest * (highest / lowest) ** 0.14
    curves: dict[Message, tuple[np.ndarray, Hue]] = {
        Message("boundaries"): (result.boundaries, "output"),
        Message("inside"): (result.internals, "activation"),
        Message("peak"): (result.peak, "parameter"),
    }
    layers = []
    for number, (name, (values, hue)) in enumerate(curves.items()):
        names = tuple(Message("k = {k}, {curve}", k=length, curve=name) for length in result.k)
        x = np.array([0.8 * (1.3 * len(k) / 0.8) ** (0.04 + 0.34 * number)])
        y = np.array([highest * (highest / lowest) ** 0.06])
        layers += [
            Layer("point", x=k, y=values, hue=hue, size=2.2, numbers=values, format=".6g", names=names),
            Layer("label", x=x, y=y, hue=hue, size=4, names=(name,)),
        ]
    peak_now = Track(result.peak[:, None])
    current = Layer(
        "point",
        x=Track(k[:, None]),
        y=peak_now,
        hue="current",
        size=5.5,
        numbers=peak_now,
        format=".6g",
        names=("peak now",),
    )
    return Marks(
        name="parts",
        title="The two parts and their sum",
        subtitle="both axes logarithmic: the parts cross at √(L B / I)",
        height=330,
        x=Axis(0.8, 1.3 * len(k), log=True, ticks=_doublings(len(k)), format="d"),
        y=Axis(lowest, ceiling, log=True, ticks=_tens(lowest, highest), format=".4g"),
        layers=(*layers, current),
    )


def _words(result: LawResult) -> Words:
    over = 100 * (result.peak / result.least_peak - 1)
    values = [result.k, result.boundaries, result.internals, result.peak, result.predicted, over]
    broken = result.params.break_it == "forget_boundaries"
    written = [
        _sentence(k == 1, boundaries == 1, peak == result.least_peak, broken)
        for k, boundaries, peak in zip(result.k, result.boundaries, result.peak, strict=True)
    ]
    sentences = tuple(dict.fromkeys(written))
    return Words(
        sentences=sentences,
        which=np.array([sentences.index(sentence) for sentence in written]),
        values=np.stack(values, axis=1).astype(float),
        formulas=(formula(_peak_formula(result)),) * len(sentences),
        columns=COLUMNS,
    )


def _peak_formula(result: LawResult) -> str:
    """The peak by the formula, without boundaries where the break forgets them."""
    k, peak = r"\slot{k:d}", r"\slot{predicted:.6g}"
    inside = product(k, result.params.ratio)
    if result.params.break_it == "forget_boundaries":
        return f"k I = {inside} = {peak}"
    return f"{PEAK_OF_K} = {total(ceiling_of_quotient(result.params.layers, k), inside)} = {peak}"


def _sentence(one_layer: bool, one_boundary: bool, least: bool, broken: bool) -> LiveMessage:
    """The sentence of a segment length."""
    if broken and one_boundary:
        return LiveMessage(
            "Segments of {k:d}: the formula without boundaries says {predicted:.6g}. "
            "Played, the peak is **{peak:.6g}**: there is also {boundaries:d} boundary."
        )
    if broken:
        return LiveMessage(
            "Segments of {k:d}: the formula without boundaries says {predicted:.6g}. "
            "Played, the peak is **{peak:.6g}**: there are also {boundaries:d} boundaries."
        )
    return LiveMessage(
        "Segments of {k:d}: {kept} and {inside}, **{peak:.6g}** at the peak, {comparison}.",
        kept=LiveMessage("{boundaries:d} boundary")
        if one_boundary
        else LiveMessage("{boundaries:d} boundaries"),
        inside=LiveMessage("the inside of {k:d} layer")
        if one_layer
        else LiveMessage("the inside of {k:d} layers"),
        comparison=LiveMessage("the lowest of all") if least else LiveMessage("{over:.0f}% above the lowest"),
    )


def _doublings(last: int) -> tuple[float, ...]:
    return tuple(2.0**power for power in range(int(math.log2(last)) + 1))


def _tens(low: float, high: float) -> tuple[float, ...]:
    return tuple(10.0**power for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1))


def _thirds(cut: float) -> tuple[float, ...]:
    """0 and round numbers below the cut."""
    rough = cut / 3
    power = 10.0 ** math.floor(math.log10(rough))
    step = max(step for step in (power, 2 * power, 5 * power) if step <= rough)
    return tuple(float(tick) for tick in np.arange(0, cut, step))
