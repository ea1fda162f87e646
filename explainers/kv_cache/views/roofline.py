"""The picture of the roofline: attention alone under the GPU's roof, and what one step reads, from MHA to MLA."""

from __future__ import annotations

import math

import numpy as np

from explainers.drawing.formula import formula
from explainers.drawing.panels import Axis, Layer, Marks
from explainers.drawing.scene import Column, Hue, Panel, Scene, Track, Words
from explainers.kv_cache.roofline import RooflineResult, Variant
from explainers.kv_cache.views.fit import round_ticks

ROW = 38  # px of a variant: its name, and its bar below
LEFT = 0.25  # FLOP/byte at the left edge of the roofline

# The columns of a step's numbers: 0 batch, 1 GPUs, 2 bandwidth of one in TB/s, 3 weights and 4 cache read in bytes,
# 5 tokens a second, 6 the same for one user, 7 FLOP a byte of attention, 8 tokens a second over MHA's, 9 peak of one
# GPU in TFLOP/s, 10 TFLOP of the step.
_MEMORY = (
    r"\text{rate} \leq \dfrac{\slot{0:d} \times \slot{1:d} \times \slot{2:.3g} \text{ TB/s}}"
    r"{\slot{3:bytes} + \slot{4:bytes}} = \slot{5:RATE}"
)
_COMPUTE = (
    r"\text{rate} \leq \dfrac{\slot{0:d} \times \slot{1:d} \times \slot{9:.4g} \text{ TFLOP/s}}"
    r"{\slot{10:.3g} \text{ TFLOP}} = \slot{5:RATE}"
)


def scene(result: RooflineResult) -> Scene:
    """One step a variant, from MHA to MLA; it opens at the model's own."""
    steps = len(result.variants)
    start = [variant.own for variant in result.variants].index(True)
    return Scene(
        name="kv_cache.roofline",
        title="The ceiling on decoded tokens, from MHA to MLA",
        steps=steps,
        columns=(Column(1.35, (_roof(result),)), Column(1, (_bars(result),))),
        words=_words(result),
        stops=(start,),
        start=start,
        reopens=True,
        rate=1.0,
        step_name="attention",
    )


# ------------------------------------------------------------------------------------------------- the roofline


def _roof(result: RooflineResult) -> Panel:
    """TFLOP/s that one GPU can reach at each intensity: what its memory brings, and no more than its peak."""
    intensities = np.array([variant.gpu_intensity for variant in result.variants])
    bandwidth, peak = result.gpu.bandwidth / 1e12, result.peak / 1e12
    left, right = min(LEFT, intensities.min() / 2), max(4 * result.ridge, 2.5 * intensities.max())
    bottom, top = bandwidth * left, 2.5 * peak
    return Marks(
        name="roofline",
        title=f"TFLOP/s of attention that {'each' if result.gpus > 1 else 'one'} {result.gpu.name} can reach",
        subtitle=f"slope: {bandwidth:,.4g} TB/s of memory · roof: {peak:,.4g} TFLOP/s · points: attention alone, "
        "without the weights",
        height=max(270, ROW * len(result.variants) + 22),
        x=Axis(left, right, log=True, label="FLOP/byte", ticks=_powers(1, right / 8)),
        y=Axis(bottom, top, log=True, ticks=_powers(bottom, top)),
        layers=(
            _line(left, bandwidth * left, result.ridge, peak),
            _line(result.ridge, peak, right, peak),
            _line(result.ridge, bottom, result.ridge, peak, "faint"),
            Layer(
                "label", np.array([result.ridge / 1.1]), np.array([bottom * 1.5]), hue="muted", style="faint",
                names=(f"ridge {result.ridge:,.0f} FLOP/byte",), anchor="right",
            ),
            *_points(result, intensities, np.minimum(peak, bandwidth * intensities)),
        ),
    )  # fmt: skip


def _powers(low: float, high: float) -> tuple[float, ...]:
    """The powers of ten from `low` to `high`."""
    return tuple(10.0**power for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1))


def _line(x: float, y: float, x2: float, y2: float, style: str = "solid") -> Layer:
    ends = (np.array([value]) for value in (x, y, x2, y2))
    return Layer("segment", *ends, "muted", style, size=4)  # type: ignore[arg-type]


def _points(result: RooflineResult, x: np.ndarray, y: np.ndarray) -> list[Layer]:
    """One point a variant, named; that of the step in the accent colour."""
    names = tuple(variant.name for variant in result.variants)
    current, others = _current(len(names))
    under_the_roof = x < result.ridge
    layers = [
        Layer("point", x, y, hue="score", size=5, names=names, numbers=x, format=".4g"),
        Layer("point", Track(x * current), y, hue="current", size=7, names=names, numbers=x, format=".4g"),
    ]
    # Names stand left above the slope. On the roof they would stand on each other: there the step's alone is shown.
    joined = _joined(names, x)
    slope, roof = np.where(under_the_roof, 1.0, np.nan), np.where(under_the_roof, np.nan, 1.0)
    alone = others * ~(np.nan_to_num(current) @ (x[:, None] == x)).astype(bool)
    for at, height, hue, style, anchor, words in (
        (x / 1.22 * np.where(alone == 1, 1.0, np.nan) * slope, 1.25, "muted", "faint", "right", joined),
        (x / 1.22 * current * slope, 1.25, "current", "solid", "right", names),
        (x * current * roof, 1.6, "current", "solid", "middle", names),
    ):
        layers.append(
            Layer("label", Track(at), y * height, hue=hue, style=style, size=4.5, names=words, anchor=anchor)  # type: ignore[arg-type]
        )
    return layers


def _joined(names: tuple[str, ...], x: np.ndarray) -> tuple[str, ...]:
    """Names of points in one place, all at the first of them; the others stay without."""
    groups = [[name for name, other in zip(names, x, strict=True) if other == at] for at in x]
    return tuple(
        ", ".join(group) if group[0] == name else "" for name, group in zip(names, groups, strict=True)
    )


def _current(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """(steps, variants) of 1 where the variant is that of the step, else NaN; and the other way round."""
    same = np.eye(steps, dtype=bool)
    return np.where(same, 1.0, np.nan), np.where(same, np.nan, 1.0)


# -------------------------------------------------------------------------------------------- what a step reads


def _bars(result: RooflineResult) -> Panel:
    """A bar a variant: weights, then the cache, then what tensor-parallel ranks read again."""
    variants = result.variants
    weights, cache, copied = (
        np.array([getattr(variant, name) for variant in variants], float)
        for name in ("weight_bytes", "cache_bytes", "copied_bytes")
    )
    top = float((weights + cache + copied).max()) * 1.04
    hatched = " · hatched: the same heads again, on another GPU" if copied.any() else ""
    return Marks(
        name="bars",
        title="What one step reads" + (f", on all {result.gpus} GPUs" if result.gpus > 1 else ""),
        subtitle=f"grey: weights · blue: the cache of all sequences{hatched}",
        height=ROW * len(variants) + 22,
        x=Axis(0, top, ticks=round_ticks(top), format="bytes"),
        y=Axis(-0.55, len(variants) - 0.5, flip=True),
        layers=(
            _part(np.zeros(len(variants)), weights, "parameter", "solid", "weights"),
            _part(weights, weights + cache, "activation", "solid", "cache"),
            _part(weights + cache, np.where(copied > 0, weights + cache + copied, np.nan), "activation", "hatched",
                  "read again"),
            *_names(variants),
        ),
        highlight=Track(np.arange(len(variants), dtype=float)),
    )  # fmt: skip


def _part(start: np.ndarray, end: np.ndarray, hue: Hue, style: str, name: str) -> Layer:
    rows = np.arange(len(start), dtype=float)
    return Layer(
        "rect", np.where(np.isnan(end), np.nan, start), rows + 0.02, end, rows + 0.36, hue, style,  # type: ignore[arg-type]
        names=(name,) * len(rows), numbers=end - start, format="allbytes",
    )  # fmt: skip


def _names(variants: tuple[Variant, ...]) -> list[Layer]:
    """Above each bar its attention and its rate."""
    rows = np.arange(len(variants), dtype=float)
    texts = tuple(
        f"{variant.name}{' (this model)' * variant.own}: at most {rate_in_words(variant.tokens_per_second)} tokens/s"
        for variant in variants
    )
    current, others = _current(len(variants))
    return [
        Layer("label", np.zeros(len(rows)), Track((rows - 0.24) * shown), hue=hue, style=style, size=4.5, names=texts)  # type: ignore[arg-type]
        for shown, hue, style in ((others, "muted", "faint"), (current, "current", "solid"))
    ]  # fmt: skip


def rate_in_words(rate: float) -> str:
    """Tokens a second as the player writes them: 6,704, 477, 1.23."""
    return f"{rate:,.0f}" if rate >= 1000 else f"{rate:.3g}"


# --------------------------------------------------------------------------------------------------- the words


def _words(result: RooflineResult) -> Words:
    """A sentence and a formula of its own for each variant."""
    columns = [_numbers(result, variant) for variant in result.variants]
    sentences = tuple(_sentence(result, variant) for variant in result.variants)
    formulas = tuple(
        formula(
            (_MEMORY if variant.limited_by == "memory" else _COMPUTE).replace("RATE", _rate_format(variant))
        )
        for variant in result.variants
    )
    return Words(sentences, np.arange(len(columns)), np.array(columns), formulas)


def _rate_format(variant: Variant) -> str:
    return "d" if variant.tokens_per_second >= 1000 else ".3g"


def _numbers(result: RooflineResult, variant: Variant) -> list[float]:
    return [
        result.setting.batch,
        result.gpus,
        result.gpu.bandwidth / 1e12,
        variant.weight_bytes,
        variant.cache_bytes + variant.copied_bytes,
        variant.tokens_per_second,
        variant.tokens_per_second_per_user,
        variant.gpu_intensity,
        variant.tokens_per_second / result.variants[0].tokens_per_second,
        result.peak / 1e12,
        variant.flops / 1e12,
    ]


def _sentence(result: RooflineResult, variant: Variant) -> str:
    name = f"{variant.name}, as {result.title} has it," if variant.own else f"With {variant.name} one step"
    reads = "{3:bytes} of weights and {4:bytes} of cache"
    one = f"{name} reads {reads}" if not variant.own else f"{name} reads {reads} in one step"
    limit = "the memory" if variant.limited_by == "memory" else "the arithmetic"
    gain = variant.tokens_per_second / result.variants[0].tokens_per_second
    against = ", {8:.3g} times MHA's" if abs(gain - 1) > 0.005 else ""
    room = "" if result.runs else " It could not run: weights and cache do not fit on these GPUs."
    return (
        f"{one}; each byte of the cache serves {{7:.3g}} FLOP. "
        f"{limit.capitalize()} is the limit: at most **{{5:{_rate_format(variant)}}} tokens/s**{against}, "
        + ("{6:.3g} for each of {0:d} users." if result.setting.batch > 1 else "all for one user.")
        + room
    )
