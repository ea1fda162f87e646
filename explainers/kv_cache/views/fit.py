"""The picture of the fit: the memory of one GPU as the batch grows, and the largest batch at every context."""

from __future__ import annotations

import math

import numpy as np

from explainers.drawing.formula import formula
from explainers.drawing.panels import Axis, Layer, Marks
from explainers.drawing.scene import Column, Hue, Panel, Scene, Track, Words
from explainers.kv_cache.fit import FitResult

STEPS_UP_TO = 48
HEIGHT = 310  # px of both panels
LABEL_GAP = 16  # px between labels beside the bar
BAR = 0.3  # share of the panel's width
A_QUARTER_OCTAVE = 2**0.25  # the contexts of the frontier lie this far apart

# The columns of a step's numbers: 0 batch, 1 context, 2 weights, 3 cache, 4 both, 5 usable, 6 free, 7 missing,
# 8 what one more sequence takes; bytes on one GPU.
_SUM = r"\slot{2:bytes} + \slot{3:bytes} = \slot{4:bytes}"
SENTENCES: dict[str, tuple[str, str]] = {
    "fits": (
        "Batch {0:d} at {1:d} tokens: beside {2:bytes} of weights, the cache takes {3:bytes} on each GPU. "
        "**{6:bytes} stay free**, and each further sequence takes {8:bytes}.",
        _SUM + r" \leq \slot{5:bytes}",
    ),
    "largest": (
        "**Batch {0:d} is the largest that fits** at {1:d} tokens: {6:bytes} stay free on each GPU, and one more "
        "sequence would take {8:bytes}.",
        _SUM + r" \leq \slot{5:bytes}",
    ),
    "missing": (
        "Batch {0:d} at {1:d} tokens does not fit: it needs **{7:bytes} more on each GPU** than the {5:bytes} "
        "that may be used.",
        _SUM + r" > \slot{5:bytes}",
    ),
    "weights": (
        "Even without a cache the weights take {2:bytes} on each GPU, where {5:bytes} may be used: no batch "
        "fits. Batch {0:d} needs **{7:bytes} more on each GPU**.",
        _SUM + r" > \slot{5:bytes}",
    ),
}
NAMES = tuple(SENTENCES)


def scene(result: FitResult) -> Scene:
    """Batches from one sequence to beyond the largest that fits; it opens at the batch asked for."""
    batches = batches_shown(result.largest_batch, result.setting.batch)
    return Scene(
        name="kv_cache.fit",
        title="What fits on the GPUs as the batch grows",
        steps=len(batches),
        columns=(
            Column(1, (_memory(result, batches),)),
            Column(1.6, (_frontier(result, batches),)),
        ),
        words=_words(result, batches),
        stops=tuple(np.flatnonzero(batches == result.largest_batch).tolist()),
        start=int(np.flatnonzero(batches == result.setting.batch)[0]),
        reopens=True,
        rate=6.0,
    )


def batches_shown(largest: int, asked: int) -> np.ndarray:
    """Batch sizes of the steps, at most 48: every one while they are few, else in equal ratios.

    The batch asked for is among them, and the largest that fits with the one after it.
    """
    last = max(largest + max(2, largest // 4), asked, 4)
    if last <= STEPS_UP_TO:
        return np.arange(1, last + 1)
    spaced = np.geomspace(1, last, STEPS_UP_TO - 3).round().astype(np.int64)
    return np.unique([*spaced, asked, max(1, largest), largest + 1])


# -------------------------------------------------------------------------------------------- one GPU's memory


def _memory(result: FitResult, batches: np.ndarray) -> Panel:
    """A standing bar of one GPU's memory: weights below, the cache on them, what is free above, all named beside."""
    weights, usable, memory = float(result.gpu_weights), float(result.gpu_usable), float(result.gpu_memory)
    one, filled = _of_one_sequence(result)
    need = weights + one * batches
    top = max(memory, need.max()) * 1.06
    free, missing = np.where(need <= usable, need, np.nan), np.where(need > usable, need, np.nan)
    layers = (
        _block(usable, memory, "muted", "faint", "kept back"),
        _block(0, weights, "parameter", "solid", "weights"),
        _block(weights, weights + filled * batches, "activation", "solid", "KV cache"),
        _block(
            weights + filled * batches,
            _hidden_where(one == filled, need),
            "activation",
            "hatched",
            "reserved",
        ),
        _block(free, usable, "muted", "hollow", "free"),
        _block(usable, missing, "bad", "hatched", "missing"),
        *(
            Layer(
                "segment",
                np.zeros(1),
                np.array([at]),
                np.array([BAR + 0.03]),
                np.array([at]),
                "muted",
                size=size,
            )
            for at, size in ((usable, 4), (memory, 2))
        ),
        *_labels(result, need, top),
    )
    return Marks(
        name="memory",
        title=f"The memory of {'each' if result.gpus > 1 else 'one'} {result.gpu.name}",
        subtitle="outlined: free · red hatching: missing · 1 GB = 10⁹ bytes = 0.931 GiB",
        height=HEIGHT,
        x=Axis(0, 1),
        y=Axis(0, top, ticks=round_ticks(top), format="bytes"),
        layers=layers,
    )


def _of_one_sequence(result: FitResult) -> tuple[float, float]:
    """Bytes that one sequence reserves on one GPU, and those of them that hold tokens."""
    seq_len = result.setting.seq_len
    return float(result.demand.rank_cache(seq_len, 1)), float(result.demand.rank_cache_filled(seq_len, 1))


def _hidden_where(hidden: bool, values: np.ndarray) -> np.ndarray:
    return np.full_like(values, np.nan) if hidden else values


def _block(low: float | np.ndarray, high: float | np.ndarray, hue: Hue, style: str, name: str) -> Layer:
    """A part of the bar. low, high: bytes, or (steps,) of them; NaN hides the part."""
    y, y2 = (_each(value) for value in (low, high))
    size = _each(np.asarray(high) - np.asarray(low))
    return Layer(
        "rect", np.zeros(1), y, np.array([BAR]), y2, hue, style,  # type: ignore[arg-type]
        numbers=size, format="bytes", names=(name,),
    )  # fmt: skip


def _each(value: float | np.ndarray) -> np.ndarray | Track:
    """One number for all steps, or one a step."""
    values = np.asarray(value, float)
    return Track(values[:, None]) if values.ndim else values[None]


def _labels(result: FitResult, need: np.ndarray, top: float) -> list[Layer]:
    """The names beside the bar, each near its part and none on another."""
    weights, usable, memory = float(result.gpu_weights), float(result.gpu_usable), float(result.gpu_memory)
    steps = np.ones(len(need))
    middles = [weights / 2 * steps, (weights + need) / 2, (need + usable) / 2, usable * steps, memory * steps]
    gap = LABEL_GAP * top / (HEIGHT - 10)
    placed = np.array([_apart(np.array(row), gap, top - gap / 2) for row in np.stack(middles, axis=1)])
    over = need > usable
    parts: tuple[tuple[str, Hue, np.ndarray, np.ndarray], ...] = (
        ("weights ", "parameter", placed[:, 0], weights * steps),
        ("KV cache ", "activation", placed[:, 1], need - weights),
        ("free ", "good", np.where(over, np.nan, placed[:, 2]), usable - need),
        ("missing ", "bad", np.where(over, placed[:, 2], np.nan), need - usable),
        ("may be used ", "muted", placed[:, 3], usable * steps),
        ("card ", "muted", placed[:, 4], memory * steps),
    )
    return [
        Layer(
            "label", np.array([BAR + 0.06]), _each(at), hue=hue, size=4.5, numbers=_each(size), format="bytes",
            names=(name,),
        )
        for name, hue, at, size in parts
    ]  # fmt: skip


def _apart(wanted: np.ndarray, gap: float, highest: float) -> np.ndarray:
    """Places near the wanted ones, in their order, at least `gap` apart and none above `highest`."""
    order = np.argsort(wanted, kind="stable")
    placed = wanted[order]
    for k in range(1, len(placed)):
        placed[k] = max(placed[k], placed[k - 1] + gap)
    placed[-1] = min(placed[-1], highest)
    for k in reversed(range(len(placed) - 1)):
        placed[k] = min(placed[k], placed[k + 1] - gap)
    return placed[np.argsort(order, kind="stable")]


def round_ticks(top: float) -> tuple[float, ...]:
    """Four to eight round numbers of bytes from zero to `top`."""
    power = 10.0 ** math.floor(math.log10(top))
    step = next(part * power for part in (5, 2, 1, 0.5, 0.2) if top >= 3 * part * power)
    return tuple(float(tick) for tick in np.arange(0, top, step))


# ------------------------------------------------------------------------------------------------ the frontier


def _frontier(result: FitResult, batches: np.ndarray) -> Panel:
    """The largest batch at every context: below it the setting fits, above it does not."""
    seq_len = result.setting.seq_len
    low, high = (
        max(1.0, min(64.0, seq_len / 16)),
        max(2.0**20, seq_len * 16.0),
    )  # with room for the point's name
    contexts = np.unique(np.geomspace(low, high, 4 * round(math.log2(high / low)) + 1).round().astype(int))
    largest = np.array([result.demand.largest_batch(int(one), result.gpu_usable) for one in contexts], float)
    shown = np.where(largest > 0, largest, np.nan)
    bottom, top = 0.7, max(largest.max(), float(batches[-1])) * 2.5
    left, right = contexts / A_QUARTER_OCTAVE**0.5, contexts * A_QUARTER_OCTAVE**0.5
    names = tuple(f"{one:,} tokens, largest batch" for one in contexts)
    return Marks(
        name="frontier",
        title="The largest batch that fits, by the context of each sequence",
        subtitle=f"on {result.gpus} × {result.gpu.name} · shaded: fits · point: this batch, hollow: does not fit",
        height=HEIGHT,
        x=Axis(left[0], right[-1], log=True, label="tokens", ticks=_context_ticks(low, high), format="d"),
        y=Axis(bottom, top, log=True, ticks=_batch_ticks(top), format="d"),
        layers=(
            Layer("rect", left, np.full(len(left), bottom), right, shown, "good", "faint"),
            Layer(
                "segment", left, shown, right, shown, "good", size=4, names=names, numbers=largest, format="d"
            ),
            *_areas(contexts, shown, bottom, top),
            *_setting(result, batches),
        ),
    )


def _context_ticks(low: float, high: float) -> tuple[float, ...]:
    """Every eighth power of two, but for those where the axis has its name."""
    return tuple(float(8**power) for power in range(9) if low <= 8**power <= high / 12)


def _batch_ticks(top: float) -> tuple[float, ...]:
    """Powers of ten up to `top`; 1, 2, 5 between them where they are few."""
    powers = [10.0**power for power in range(math.floor(math.log10(top)) + 1)]
    ticks = powers if len(powers) > 2 else [part * power for power in powers for part in (1, 2, 5)]
    return tuple(tick for tick in ticks if tick < top / 1.2)


def _areas(contexts: np.ndarray, shown: np.ndarray, bottom: float, top: float) -> tuple[Layer, ...]:
    """The words that tell the two areas apart."""
    first, last = float(contexts[0]), float(contexts[-1])
    beyond = _note(last, top / 1.5, "does not fit", "muted", "right")
    return (beyond,) if np.isnan(shown[0]) else (beyond, _note(first, bottom * 1.4, "fits", "good", "left"))


def _note(x: float, y: float, words: str, hue: Hue, anchor: str) -> Layer:
    return Layer(
        "label", np.array([x]), np.array([y]), hue=hue, size=4.5, names=(words,), anchor=anchor,  # type: ignore[arg-type]
    )  # fmt: skip


def _setting(result: FitResult, batches: np.ndarray) -> tuple[Layer, ...]:
    """The batch of the step as a point, its name on the side where the frontier is not."""
    x, y = np.array([float(result.setting.seq_len)]), batches.astype(float)
    fits = batches <= result.largest_batch
    inside, outside = np.where(fits, y, np.nan), np.where(fits, np.nan, y)
    names = (f"{result.setting.seq_len:,} tokens, batch",)
    label = {"size": 4.5, "numbers": _each(y), "format": "d", "names": ("batch ",)}
    return (
        Layer("point", x, _each(inside), hue="current", size=6, numbers=_each(y), format="d", names=names),
        Layer("point", x, _each(outside), hue="bad", style="hollow", size=6, numbers=_each(y), format="d", names=names),
        Layer("label", x / 1.3, _each(inside), hue="current", anchor="right", **label),
        Layer("label", x * 1.3, _each(outside), hue="bad", anchor="left", **label),
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------- the words


def _words(result: FitResult, batches: np.ndarray) -> Words:
    one, _ = _of_one_sequence(result)
    weights, usable = float(result.gpu_weights), float(result.gpu_usable)
    cache = one * batches
    need = weights + cache
    same = np.ones(len(batches))
    columns = (
        batches, result.setting.seq_len * same, weights * same, cache, need, usable * same,
        np.maximum(0, usable - need), np.maximum(0, need - usable), one * same,
    )  # fmt: skip
    which = np.array([NAMES.index(_sentence(result, int(batch))) for batch in batches])
    sentences = tuple(sentence for sentence, _ in SENTENCES.values())
    return Words(
        sentences, which, np.stack(columns, axis=1), tuple(formula(latex) for _, latex in SENTENCES.values())
    )


def _sentence(result: FitResult, batch: int) -> str:
    if result.gpu_weights > result.gpu_usable:
        return "weights"
    if batch > result.largest_batch:
        return "missing"
    return "largest" if batch == result.largest_batch else "fits"
