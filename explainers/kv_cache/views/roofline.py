"""The picture of the roofline: attention alone under the GPU's roof, and what one step reads, from MHA to MLA."""

from __future__ import annotations

import math

import numpy as np

from explainers.contract.messages import LiveMessage, Message, joined
from explainers.drawing.formula import formula
from explainers.drawing.panels import Axis, Layer, Marks
from explainers.drawing.scene import Column, Hue, Panel, Scene, Track, Words
from explainers.kv_cache.roofline import RooflineResult, Variant
from explainers.kv_cache.views.fit import round_ticks

ROW = 38  # px of a variant: its name, and its bar below
LEFT = 0.25  # FLOP/byte at the left edge of the roofline

# One step's numbers: bandwidth in TB/s and peak in TFLOP/s of one GPU, weights and cache as read in bytes, rates in
# tokens a second, intensity in FLOP a byte of attention, gain: the rate over MHA's, flops of the step in TFLOP.
COLUMNS = (
    "batch", "gpus", "bandwidth", "weights", "cache", "rate", "user_rate", "intensity", "gain", "peak", "flops",
)  # fmt: skip
_MEMORY = (
    r"\text{rate} \leq \dfrac{\slot{batch:d} \times \slot{gpus:d} \times \slot{bandwidth:.3g} \text{ TB/s}}"
    r"{\slot{weights:bytes} + \slot{cache:bytes}} = \slot{rate:RATE}"
)
_COMPUTE = (
    r"\text{rate} \leq \dfrac{\slot{batch:d} \times \slot{gpus:d} \times \slot{peak:.4g} \text{ TFLOP/s}}"
    r"{\slot{flops:.3g} \text{ TFLOP}} = \slot{rate:RATE}"
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
        title=Message("TFLOP/s of attention that each {gpu} can reach", gpu=result.gpu.name)
        if result.gpus > 1
        else Message("TFLOP/s of attention that one {gpu} can reach", gpu=result.gpu.name),
        subtitle=Message(
            "slope: {bandwidth:,.4g} TB/s of memory · roof: {peak:,.4g} TFLOP/s · points: attention alone, "
            "without the weights",
            bandwidth=bandwidth,
            peak=peak,
        ),
        height=max(270, ROW * len(result.variants) + 22),
        x=Axis(left, right, log=True, label="FLOP/byte", ticks=_powers(1, right / 8)),
        y=Axis(bottom, top, log=True, ticks=_powers(bottom, top)),
        layers=(
            _line((left, bandwidth * left), (result.ridge, peak)),
            _line((result.ridge, peak), (right, peak)),
            _line((result.ridge, bottom), (result.ridge, peak), "faint"),
            Layer(
                "label", np.array([result.ridge / 1.1]), np.array([bottom * 1.5]), hue="muted", style="faint",
                names=(Message("ridge {ridge:,.0f} FLOP/byte", ridge=result.ridge),), anchor="right",
            ),
            *_points(result, intensities, np.minimum(peak, bandwidth * intensities)),
        ),
    )  # fmt: skip


def _powers(low: float, high: float) -> tuple[float, ...]:
    """The powers of ten from `low` to `high`."""
    return tuple(10.0**power for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1))


def _line(start: tuple[float, float], end: tuple[float, float], style: str = "solid") -> Layer:
    x, y, x2, y2 = (np.array([value]) for value in (*start, *end))
    return Layer("segment", x=x, y=y, x2=x2, y2=y2, hue="muted", style=style, size=4)  # type: ignore[arg-type]


def _points(result: RooflineResult, x: np.ndarray, y: np.ndarray) -> list[Layer]:
    """One point a variant, named; that of the step in the accent colour."""
    names = tuple(variant.name for variant in result.variants)
    current, others = _current(len(names))
    under_the_roof = x < result.ridge
    layers = [
        Layer("point", x, y, hue="score", size=5, names=names, numbers=x, format=".4g"),
        Layer("point", Track(x * current), y, hue="current", size=7, names=names, numbers=x, format=".4g"),
    ]
    # Names are left of the slope. On the roof they would overlap, so only the name of the current step is shown there.
    joined = _joined(names, x)
    slope, roof = np.where(under_the_roof, 1.0, np.nan), np.where(under_the_roof, np.nan, 1.0)
    separate = others * ~(np.nan_to_num(current) @ (x[:, None] == x)).astype(bool)
    for at, height, hue, style, anchor, words in (
        (x / 1.22 * np.where(separate == 1, 1.0, np.nan) * slope, 1.25, "muted", "faint", "right", joined),
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
    return Marks(
        name="bars",
        title=Message("What one step reads, on all {gpus} GPUs", gpus=result.gpus)
        if result.gpus > 1
        else Message("What one step reads"),
        subtitle=Message(
            "grey: weights · blue: the cache of all sequences · hatched: the same heads again, on another GPU"
        )
        if copied.any()
        else Message("grey: weights · blue: the cache of all sequences"),
        height=ROW * len(variants) + 22,
        x=Axis(0, top, ticks=round_ticks(top), format="bytes"),
        y=Axis(-0.55, len(variants) - 0.5, flip=True),
        layers=(
            _part(np.zeros(len(variants)), weights, "parameter", "solid", Message("weights")),
            _part(weights, weights + cache, "activation", "solid", Message("cache")),
            _part(weights + cache, np.where(copied > 0, weights + cache + copied, np.nan), "activation", "hatched",
                  Message("read again")),
            *_names(variants),
        ),
        highlight=Track(np.arange(len(variants), dtype=float)),
    )  # fmt: skip


def _part(start: np.ndarray, end: np.ndarray, hue: Hue, style: str, name: str) -> Layer:
    rows = np.arange(len(start), dtype=float)
    return Layer(
        "rect",
        x=np.where(np.isnan(end), np.nan, start),
        y=rows + 0.02,
        x2=end,
        y2=rows + 0.36,
        hue=hue,
        style=style,  # type: ignore[arg-type]
        names=(name,) * len(rows),
        numbers=end - start,
        format="allbytes",
    )


def _names(variants: tuple[Variant, ...]) -> list[Layer]:
    """Above each bar its attention and its rate."""
    rows = np.arange(len(variants), dtype=float)
    texts = tuple(
        Message(
            "{attention} (this model): at most {rate} tokens/s",
            attention=variant.name,
            rate=rate_in_words(variant.tokens_per_second),
        )
        if variant.own
        else Message(
            "{attention}: at most {rate} tokens/s",
            attention=variant.name,
            rate=rate_in_words(variant.tokens_per_second),
        )
        for variant in variants
    )
    current, others = _current(len(variants))
    return [
        Layer("label", np.zeros(len(rows)), Track((rows - 0.24) * shown), hue=hue, style=style, size=4.5, names=texts)  # type: ignore[arg-type]
        for shown, hue, style in ((others, "muted", "faint"), (current, "current", "solid"))
    ]  # fmt: skip


def rate_in_words(rate: float) -> Message:
    """Tokens a second as the player writes them: 6,704, 477, 1.23."""
    return Message("{rate:,.0f}", rate=rate) if rate >= 1000 else Message("{rate:.3g}", rate=rate)


# --------------------------------------------------------------------------------------------------- the words


def _words(result: RooflineResult) -> Words:
    """A sentence and a formula for each variant."""
    numbers = [_numbers(result, variant) for variant in result.variants]
    sentences = tuple(_sentence(result, variant) for variant in result.variants)
    formulas = tuple(
        formula(
            (_MEMORY if variant.limited_by == "memory" else _COMPUTE).replace("RATE", _rate_format(variant))
        )
        for variant in result.variants
    )
    return Words(
        sentences=sentences,
        which=np.arange(len(numbers)),
        values=np.array(numbers),
        formulas=formulas,
        columns=COLUMNS,
    )


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


def _sentence(result: RooflineResult, variant: Variant) -> Message:
    if variant.own:
        reads = LiveMessage(
            "{attention}, as {model} has it, reads {weights:bytes} of weights and {cache:bytes} of cache in one step; "
            "each byte of the cache serves {intensity:.3g} FLOP.",
            attention=variant.name,
            model=result.title,
        )
    else:
        reads = LiveMessage(
            "With {attention} one step reads {weights:bytes} of weights and {cache:bytes} of cache; "
            "each byte of the cache serves {intensity:.3g} FLOP.",
            attention=variant.name,
        )
    sentences = [reads, _ceiling(result, variant)]
    if not result.runs:
        sentences.append(Message("It could not run: weights and cache do not fit on these GPUs."))
    return joined(sentences, " ")


def _ceiling(result: RooflineResult, variant: Variant) -> Message:
    """What limits the step, and how many tokens a second that leaves to all and to each user."""
    parts = {
        "limit": Message("The memory") if variant.limited_by == "memory" else Message("The arithmetic"),
        "tokens": f"{{rate:{_rate_format(variant)}}}",
        "share": LiveMessage("{user_rate:.3g} for each of {batch:d} users")
        if result.setting.batch > 1
        else Message("all for one user"),
    }
    gain = variant.tokens_per_second / result.variants[0].tokens_per_second
    if abs(gain - 1) > 0.005:
        return LiveMessage(
            "{limit} is the limit: at most **{tokens} tokens/s**, {gain:.3g} times MHA's, {share}.", **parts
        )
    return LiveMessage("{limit} is the limit: at most **{tokens} tokens/s**, {share}.", **parts)
