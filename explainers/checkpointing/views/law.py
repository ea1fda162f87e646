"""The picture of the law: what each segment length costs, its two parts, and where the least peak lies."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from explainers.checkpointing.law import LawResult
from explainers.drawing.formula import formula
from explainers.drawing.panels import Axis, Layer, Marks
from explainers.drawing.scene import Column, Hue, Scene, Track, Words

SYMBOLS: Mapping[str, str] = {
    "L": "L: layers of the chain",
    "k": "k: layers of a segment",
    "B": "B: memory of one boundary activation, here 1",
    "I": "I: memory of one layer's internal activations, in boundaries",
}
HIGHEST = 3.2  # times the least peak: bars that are higher are cut there


def scene(result: LawResult) -> Scene:
    """One step for each k from 1 to L."""
    L = result.params.layers
    return Scene(
        name="checkpointing.law",
        title=f"The peak for every k: {L} layers, ratio {result.params.ratio:g}",
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
    """A bar for every k: boundaries below, internal activations above them; the current one shaded."""
    k, cut = result.k.astype(float), HIGHEST * result.least_peak
    foot, knee, head = (
        np.zeros(len(k)),
        np.minimum(result.boundaries, cut),
        np.minimum(result.peak, cut),
    )
    low, high = 0.5, len(k) + 0.5
    left, right = np.maximum(k - 0.4, low), k + 0.4
    names = tuple(f"k = {one}" for one in result.k)
    predicted = np.where(result.predicted <= cut, result.predicted, np.nan)
    return Marks(
        name="bars",
        title="Peak memory for every k, in boundaries",
        subtitle=f"teal: boundaries · blue: the inside of k layers · rings: the formula; cut at {cut:,.4g}",
        height=330,
        x=Axis(low, high, log=True, ticks=_doublings(len(k)), format="d"),
        y=Axis(0, 1.36 * cut, ticks=_thirds(cut), format=".4g"),
        layers=(
            Layer("rect", *_column(k, cut), "current", "faint"),
            Layer("rect", left, knee, right, head, "activation", numbers=result.peak, format=".6g", names=names),
            Layer(
                "rect",
                left,
                foot,
                right,
                knee,
                "output",
                numbers=result.boundaries,
                format=".6g",
                names=tuple(f"{name}, boundaries" for name in names),
            ),
            Layer("point", k, predicted, hue="current", style="hollow", size=3, numbers=predicted, format=".6g",
                  names=tuple(f"{name}, by the formula" for name in names)),
            *_mark(result.sqrt_layers, f"√L = {result.sqrt_layers:.3g}", "muted", 1.09 * cut, high),
            *_mark(result.continuous_k, f"√(L B / I) = {result.continuous_k:.3g}", "score", 1.18 * cut, high),
            *_mark(result.best_k, f"least: {result.least_peak:,.6g} at k = {result.best_k}", "good", 1.27 * cut, high),
        ),
    )  # fmt: skip


def _column(k: np.ndarray, height: float) -> tuple[Track, np.ndarray, Track, np.ndarray]:
    """Left, bottom, right and top of the current step's column."""
    return Track(k[:, None] - 0.5), np.zeros(1), Track(k[:, None] + 0.5), np.array([height])


def _mark(k: float, name: str, hue: Hue, top: float, high: float) -> tuple[Layer, Layer]:
    """A line up to a label of its own height, so that labels never touch one another."""
    share = (math.log(max(k, 0.5)) - math.log(0.5)) / (math.log(high) - math.log(0.5))
    anchor = "right" if share > 0.6 else "left"
    x, y = np.array([max(float(k), 0.5)]), np.array([top])
    aside = x * (high / 0.5) ** (-0.012 if anchor == "right" else 0.012)
    return (
        Layer("segment", x, np.zeros(1), x, y + 0.03 * top, hue, size=2),
        Layer("label", aside, y, hue=hue, names=(name,), anchor=anchor),
    )


def _parts(result: LawResult) -> Marks:
    """Both parts on logarithmic axes, where they are straight and cross at sqrt(L B / I)."""
    k = result.k.astype(float)
    lowest, highest = min(1.0, result.params.ratio) * 0.8, float(result.peak.max()) * 1.25
    ceiling = highest * (highest / lowest) ** 0.14
    now = Track(np.arange(len(k), dtype=float)[:, None] + 1)
    curves: dict[str, tuple[np.ndarray, Hue]] = {
        "boundaries": (result.boundaries, "output"),
        "inside": (result.internals, "activation"),
        "peak": (result.peak, "parameter"),
    }
    layers = []
    for number, (name, (values, hue)) in enumerate(curves.items()):
        names = tuple(f"k = {one}, {name}" for one in result.k)
        layers.append(Layer("point", k, values, hue=hue, size=2.2, numbers=values, format=".6g", names=names))
        at = np.array([0.8 * (1.3 * len(k) / 0.8) ** (0.04 + 0.34 * number)])
        y = np.array([highest * (highest / lowest) ** 0.06])
        layers.append(Layer("label", at, y, hue=hue, size=4, names=(name,)))
    current = Layer(
        "point", now, Track(result.peak[:, None]), hue="current", size=5.5, numbers=Track(result.peak[:, None]),
        format=".6g", names=("peak now",),
    )  # fmt: skip
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
    """The columns: 0 k, 1 boundaries, 2 internal activations, 3 peak as played, 4 by the formula, 5 over the least."""
    values = np.stack(
        [
            result.k,
            result.boundaries,
            result.internals,
            result.peak,
            result.predicted,
            100 * (result.peak / result.least_peak - 1),
        ],
        axis=1,
    ).astype(float)
    L, ratio = result.params.layers, result.params.ratio
    broken = result.params.break_it == "forget_boundaries"
    written = [
        _sentence(k == 1, boundaries == 1, peak == result.least_peak, broken)
        for k, boundaries, peak in zip(result.k, result.boundaries, result.peak, strict=True)
    ]
    sentences = tuple(dict.fromkeys(written))
    whole = (
        rf"\lceil L / k \rceil B + k I = \lceil {L} / \slot{{0:d}} \rceil + \slot{{0:d}} \times {ratio:g} = "
        r"\slot{4:.6g}"
    )
    forgotten = rf"k I = \slot{{0:d}} \times {ratio:g} = \slot{{4:.6g}}"
    which = np.array([sentences.index(one) for one in written])
    shown = formula(forgotten if broken else whole)
    return Words(sentences, which, values, (shown,) * len(sentences))


def _sentence(one_layer: bool, one_boundary: bool, least: bool, broken: bool) -> str:
    """What is said of a segment length; a single layer and a single boundary are not spoken of as many."""
    boundaries = "{1:d} boundary" if one_boundary else "{1:d} boundaries"
    if broken:
        there = "is" if one_boundary else "are"
        says = "Segments of {0:d}: the formula without boundaries says {4:.6g}. Played, the peak is **{3:.6g}**: "
        return f"{says}there {there} {boundaries} too."
    inside = "the inside of {0:d} layer" if one_layer else "the inside of {0:d} layers"
    over = "the least there is" if least else "{5:.0f}% over the least"
    return f"Segments of {{0:d}}: {boundaries} and {inside}, **{{3:.6g}}** at the peak, {over}."


def _doublings(last: int) -> tuple[float, ...]:
    return tuple(2.0**power for power in range(int(math.log2(last)) + 1))


def _tens(low: float, high: float) -> tuple[float, ...]:
    return tuple(10.0**power for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1))


def _thirds(cut: float) -> tuple[float, ...]:
    """0 and round numbers up to the cut."""
    rough = cut / 3
    power = 10.0 ** math.floor(math.log10(rough))
    step = max(one for one in (power, 2 * power, 5 * power) if one <= rough)
    return tuple(float(at) for at in np.arange(0, cut, step))
