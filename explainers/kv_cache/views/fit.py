"""The picture of the fit: the memory of one GPU as the batch grows, and the largest batch at every context."""

from __future__ import annotations

import math

import numpy as np

from explainers.contract.messages import LiveMessage, Message
from explainers.drawing.formula import formula
from explainers.drawing.panels import Axis, Layer, Marks
from explainers.drawing.scene import Column, Hue, Panel, Scene, Track, Words
from explainers.kv_cache.fit import FitResult

STEPS_UP_TO = 48
HEIGHT = 310  # px of both panels
LABEL_GAP = 16  # px between labels beside the bar
BAR = 0.3  # share of the panel's width
A_QUARTER_OCTAVE = 2**0.25  # ratio of neighbouring contexts of the frontier

# One step's numbers; bytes on one GPU. sequence: what one more takes.
COLUMNS = ("batch", "tokens", "weights", "cache", "need", "usable", "free", "missing", "sequence")
_SUM = r"\slot{weights:bytes} + \slot{cache:bytes} = \slot{need:bytes}"
_FITS = _SUM + r" \leq \slot{usable:bytes}"
_DOES_NOT_FIT = _SUM + r" > \slot{usable:bytes}"
SENTENCES: dict[str, tuple[LiveMessage, str]] = {
    "fits": (
        LiveMessage(
            "Batch {batch:d} at {tokens:d} tokens: beside {weights:bytes} of weights, the cache takes {cache:bytes} "
            "on each GPU. **{free:bytes} stay free**, and each further sequence takes {sequence:bytes}."
        ),
        _FITS,
    ),
    "largest": (
        LiveMessage(
            "**Batch {batch:d} is the largest that fits** at {tokens:d} tokens: {free:bytes} stay free on each GPU, "
            "and one more sequence would take {sequence:bytes}."
        ),
        _FITS,
    ),
    "missing": (
        LiveMessage(
            "Batch {batch:d} at {tokens:d} tokens does not fit: it needs **{missing:bytes} more on each GPU** than "
            "the {usable:bytes} that may be used."
        ),
        _DOES_NOT_FIT,
    ),
    "weights": (
        LiveMessage(
            "Even without a cache the weights take {weights:bytes} on each GPU, where {usable:bytes} may be used: no "
            "batch fits. Batch {batch:d} needs **{missing:bytes} more on each GPU**."
        ),
        _DOES_NOT_FIT,
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
    """A vertical bar of one GPU's memory: weights below, the cache on them, what is free above, all named beside."""
    weights, usable, memory = float(result.gpu_weights), float(result.gpu_usable), float(result.gpu_memory)
    reserved, filled = _of_one_sequence(result)
    need = weights + reserved * batches
    top = max(memory, need.max()) * 1.06
    free, missing = np.where(need <= usable, need, np.nan), np.where(need > usable, need, np.nan)
    layers = (
        _block(usable, memory, "muted", "faint", Message("kept back")),
        _block(0, weights, "parameter", "solid", Message("weights")),
        _block(weights, weights + filled * batches, "activation", "solid", Message("KV cache")),
        _block(
            weights + filled * batches,
            _hidden_where(reserved == filled, need),
            "activation",
            "hatched",
            Message("reserved"),
        ),
        _block(free, usable, "muted", "hollow", Message("free")),
        _block(usable, missing, "bad", "hatched", Message("missing")),
        *(
            Layer(
                "segment",
                x=np.zeros(1),
                y=np.array([at]),
                x2=np.array([BAR + 0.03]),
                y2=np.array([at]),
                hue="muted",
                size=size,
            )
            for at, size in ((usable, 4), (memory, 2))
        ),
        *_labels(result, need, top),
    )
    return Marks(
        name="memory",
        title=Message("The memory of each {gpu}", gpu=result.gpu.name)
        if result.gpus > 1
        else Message("The memory of one {gpu}", gpu=result.gpu.name),
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
        "rect",
        x=np.zeros(1),
        y=y,
        x2=np.array([BAR]),
        y2=y2,
        hue=hue,
        style=style,  # type: ignore[arg-type]
        numbers=size,
        format="bytes",
        names=(name,),
    )


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
    placed = np.array([_spread(np.array(row), gap, top - gap / 2) for row in np.stack(middles, axis=1)])
    over = need > usable
    parts: tuple[tuple[str, Hue, np.ndarray, np.ndarray], ...] = (
        (Message("weights "), "parameter", placed[:, 0], weights * steps),
        (Message("KV cache "), "activation", placed[:, 1], need - weights),
        (Message("free "), "good", np.where(over, np.nan, placed[:, 2]), usable - need),
        (Message("missing "), "bad", np.where(over, placed[:, 2], np.nan), need - usable),
        (Message("may be used "), "muted", placed[:, 3], usable * steps),
        (Message("card "), "muted", placed[:, 4], memory * steps),
    )
    return [
        Layer(
            "label", np.array([BAR + 0.06]), _each(at), hue=hue, size=4.5, numbers=_each(size), format="bytes",
            names=(name,),
        )
        for name, hue, at, size in parts
    ]  # fmt: skip


def _spread(wanted: np.ndarray, gap: float, highest: float) -> np.ndarray:
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
    largest = np.array(
        [result.demand.largest_batch(int(context), result.gpu_usable) for context in contexts], float
    )
    shown = np.where(largest > 0, largest, np.nan)
    bottom, top = 0.7, max(largest.max(), float(batches[-1])) * 2.5
    left, right = contexts / A_QUARTER_OCTAVE**0.5, contexts * A_QUARTER_OCTAVE**0.5
    names = tuple(Message("{tokens:,} tokens, largest batch", tokens=int(context)) for context in contexts)
    return Marks(
        name="frontier",
        title="The largest batch that fits, by the context of each sequence",
        subtitle=Message(
            "on {gpus} × {gpu} · shaded: fits · point: this batch, hollow: does not fit",
            gpus=result.gpus,
            gpu=result.gpu.name,
        ),
        height=HEIGHT,
        x=Axis(left[0], right[-1], log=True, label="tokens", ticks=_context_ticks(low, high), format="d"),
        y=Axis(bottom, top, log=True, ticks=_batch_ticks(top), format="d"),
        layers=(
            Layer(
                "rect", x=left, y=np.full(len(left), bottom), x2=right, y2=shown, hue="good", style="faint"
            ),
            Layer(
                "segment",
                x=left,
                y=shown,
                x2=right,
                y2=shown,
                hue="good",
                size=4,
                names=names,
                numbers=largest,
                format="d",
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
    """The names of the two areas."""
    first, last = float(contexts[0]), float(contexts[-1])
    beyond = _note(last, top / 1.5, Message("does not fit"), "muted", "right")
    return (
        (beyond,)
        if np.isnan(shown[0])
        else (beyond, _note(first, bottom * 1.4, Message("fits"), "good", "left"))
    )


def _note(x: float, y: float, words: str, hue: Hue, anchor: str) -> Layer:
    return Layer(
        "label", np.array([x]), np.array([y]), hue=hue, size=4.5, names=(words,), anchor=anchor,  # type: ignore[arg-type]
    )  # fmt: skip


def _setting(result: FitResult, batches: np.ndarray) -> tuple[Layer, ...]:
    """The batch of the step as a point, its name on the side where the frontier is not."""
    x, y = np.array([float(result.setting.seq_len)]), batches.astype(float)
    fits = batches <= result.largest_batch
    inside, outside = np.where(fits, y, np.nan), np.where(fits, np.nan, y)
    names = (Message("{tokens:,} tokens, batch", tokens=result.setting.seq_len),)
    label = {"size": 4.5, "numbers": _each(y), "format": "d", "names": (Message("batch "),)}
    return (
        Layer("point", x, _each(inside), hue="current", size=6, numbers=_each(y), format="d", names=names),
        Layer("point", x, _each(outside), hue="bad", style="hollow", size=6, numbers=_each(y), format="d", names=names),
        Layer("label", x / 1.3, _each(inside), hue="current", anchor="right", **label),
        Layer("label", x * 1.3, _each(outside), hue="bad", anchor="left", **label),
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------- the words


def _words(result: FitResult, batches: np.ndarray) -> Words:
    sequence, _ = _of_one_sequence(result)
    weights, usable = float(result.gpu_weights), float(result.gpu_usable)
    cache = sequence * batches
    need = weights + cache
    same = np.ones(len(batches))
    numbers = (
        batches, result.setting.seq_len * same, weights * same, cache, need, usable * same,
        np.maximum(0, usable - need), np.maximum(0, need - usable), sequence * same,
    )  # fmt: skip
    which = np.array([NAMES.index(_sentence(result, int(batch))) for batch in batches])
    sentences = tuple(sentence for sentence, _ in SENTENCES.values())
    return Words(
        sentences=sentences,
        which=which,
        values=np.stack(numbers, axis=1),
        formulas=tuple(formula(latex) for _, latex in SENTENCES.values()),
        columns=COLUMNS,
    )


def _sentence(result: FitResult, batch: int) -> str:
    if result.gpu_weights > result.gpu_usable:
        return "weights"
    if batch > result.largest_batch:
        return "missing"
    return "largest" if batch == result.largest_batch else "fits"
