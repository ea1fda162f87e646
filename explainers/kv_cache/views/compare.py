"""The picture of the comparison: what one token leaves in each model, and how the caches grow with the context."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from explainers.contract.messages import LiveMessage, Message, joined
from explainers.drawing.panels import Axis, Layer, Marks
from explainers.drawing.scene import Column, Hue, Panel, Scene, Track, Words
from explainers.drawing.source_code import code_panel
from explainers.kv_cache.compare import CompareResult, Growth
from explainers.kv_cache.layers import LayerKind, Model, Vector

HUES: dict[str, Hue] = {"key": "key", "value": "value", "latent": "activation", "RoPE key": "key"}
VECTOR_NAMES: dict[str, Message] = {
    "key": Message("key"),
    "value": Message("value"),
    "latent": Message("latent"),
    "RoPE key": Message("RoPE key"),
}
COUNT_NAMES: dict[str, Message] = {  # what the screen calls the counts of Growth
    "logical": Message("logical"),
    "windowed": Message("kept"),
    "reserved": Message("reserved"),
}
MOST_SEPARATE_HEADS = 16  # more heads than these are drawn as one rectangle
ROWS_HIGH = {1: 44, 2: 34, 3: 27}  # px of a bar, by the number of models
LABELS_BESIDE = 1.6  # the width of the bars' panel, in lengths of the longest bar
ROW = 23  # px of a bar where there are more
NAME_ROW = 26  # px of a name above a model's layers


def scene(result: CompareResult) -> Scene:
    """The caches at every length up to the one asked for; it opens at that one."""
    steps = len(result.lengths)
    return Scene(
        name="kv_cache.compare",
        title="The KV cache as the context grows",
        steps=steps,
        columns=(Column(1.5, (_bars(result),)), Column(1, (_one_token(result),))),
        words=_words(result),
        stops=tuple(range(0, steps, 8)),
        start=steps - 1,
        reopens=True,
        rate=12.0,
        below=(Column(1, (_code(),)),),
    )


def _code() -> Panel:
    return code_panel(LayerKind, start="def kept", height=210)


def card(result: CompareResult) -> Scene:
    """Only the bars, small: the picture of this topic on the home page."""
    whole = scene(result)
    bars = replace(_bars(result, ("windowed",)), title="", subtitle="")
    return replace(whole, name="kv_cache.card", columns=(Column(1, (bars,)),), below=())


def _bars(result: CompareResult, counts: tuple[str, ...] = tuple(COUNT_NAMES)) -> Panel:
    """One group of bars a model: its name, then its counts, each with its bytes."""
    group = 1 + len(counts)
    longest = max(max(growth.logical[-1], growth.reserved[-1]) for growth in result.growth)
    layers: list[Layer] = []
    for number, (model, growth) in enumerate(zip(result.models, result.growth, strict=True)):
        name = Message("{model}, {attention}", model=model.title, attention=model.attention)
        layers.append(_label(0, group * number + 0.12, name))
        for row, count in enumerate(counts, group * number + 1):
            layers += _bar(growth, count, row, longest, named=group > 2)
    rows = group * len(result.models)
    return Marks(
        name="bars",
        title="The whole cache",
        subtitle="outlined: every token · filled: kept, windows honoured · hatched: reserved by an engine on all ranks",
        height=_row_height(result) * rows + 12,
        x=Axis(0, longest * LABELS_BESIDE),
        y=Axis(-0.5, rows - 0.5, flip=True),
        layers=tuple(layers),
    )


def _row_height(result: CompareResult) -> int:
    return ROWS_HIGH.get(len(result.models), ROW)


def _bar(growth: Growth, count: str, row: int, longest: float, named: bool) -> list[Layer]:
    """A bar with its bytes beside it; that of the windowed bytes is made of what they hold."""
    now = _track(getattr(growth, count))
    if count == "windowed":
        bars, start = [], np.zeros_like(now.values)
        for name, held in growth.parts.items():
            part = _track(held)
            bars.append(
                _rect(
                    Track(start),
                    Track(start + part.values),
                    row=row,
                    hue=HUES[name],
                    style="solid",
                    name=VECTOR_NAMES[name],
                    numbers=part,
                )
            )
            start = start + part.values
    else:
        style = "hollow" if count == "logical" else "hatched"
        bars = [
            _rect(np.zeros(1), now, row=row, hue="muted", style=style, name=COUNT_NAMES[count], numbers=now)
        ]
    label = Layer(
        "label",
        x=Track(now.values + longest * 0.012),
        y=np.array([float(row)]),
        hue="muted",
        size=4,
        numbers=now,
        format="bytes",
        names=(Message("{count} ", count=COUNT_NAMES[count]) if named else "",),
    )
    return [*bars, label]


def _rect(
    left: np.ndarray | Track,
    right: Track,
    *,
    row: int,
    hue: Hue,
    style: Literal["solid", "hollow", "hatched"],
    name: str,
    numbers: Track,
) -> Layer:
    top, bottom = np.array([row - 0.36]), np.array([row + 0.36])
    return Layer(
        "rect",
        x=left,
        y=top,
        x2=right,
        y2=bottom,
        hue=hue,
        style=style,
        numbers=numbers,
        format="allbytes",
        names=(name,),
    )


def _track(values: tuple[int, ...]) -> Track:
    return Track(np.array(values, float)[:, None])


def _label(x: float, y: float, words: str) -> Layer:
    return Layer("label", np.array([x]), np.array([y]), hue="muted", size=5, names=(words,))


def _one_token(result: CompareResult) -> Panel:
    """What one token leaves: a rectangle a model, as wide as a layer's numbers and as high as there are layers."""
    widest = max(_numbers(kind.vectors) for model in result.models for kind in model.kinds)
    height = _row_height(result) * 4 * len(result.models) + 12
    names = NAME_ROW * len(result.models)
    per_pixel = sum(model.layers for model in result.models) / max(60, height - names - 10)
    layers: list[Layer] = []
    y = 0.0
    for model in result.models:
        name = Message("{model}: {sizes}", model=model.title, sizes=_sizes(model))
        layers.append(_label(0, y + NAME_ROW * per_pixel * 0.62, name))
        y += NAME_ROW * per_pixel
        for kind in model.kinds:
            layers += _kind(kind, y, widest)
            y += kind.layers
    return Marks(
        name="token",
        title="What one token leaves",
        subtitle="as wide as the numbers of a layer, as high as there are layers · orange K, green V, "
        "blue the latent · hatched: forgotten outside the window",
        height=height,
        x=Axis(0, widest),
        y=Axis(0, y, flip=True),
        layers=tuple(layers),
    )


def _kind(kind: LayerKind, y: float, widest: int) -> list[Layer]:
    """The vectors of one kind of layer side by side, with a gap between heads."""
    gap = widest * 0.004
    layers, x = [], 0.0
    for vector in kind.vectors:
        rectangles = vector.copies if vector.copies <= MOST_SEPARATE_HEADS else 1
        width = vector.copies * vector.length / rectangles
        starts = x + width * np.arange(rectangles)
        layers.append(
            Layer(
                "rect",
                x=starts,
                y=np.full(rectangles, y),
                x2=starts + max(width - gap, width * 0.5),
                y2=np.full(rectangles, y + kind.layers * 0.97),
                hue=HUES[vector.name],
                style="hatched" if kind.window else "solid",
                numbers=np.full(rectangles, float(vector.copies * vector.length)),
                format="d",
                names=tuple(_vector_name(kind, vector, head) for head in range(rectangles)),
            )
        )
        x += vector.copies * vector.length
    return layers


def _vector_name(kind: LayerKind, vector: Vector, head: int) -> Message:
    named = {"vector": VECTOR_NAMES[vector.name], "layers": kind.layers, "kind": kind.name}
    if 1 < vector.copies <= MOST_SEPARATE_HEADS:
        return Message(
            "{vector} of KV head {head}, {layers} layers of {kind}, numbers in a layer for all heads",
            **named,
            head=head,
        )
    return Message("{vector}, {layers} layers of {kind}, numbers in a layer for all heads", **named)


def _numbers(vectors: tuple[Vector, ...]) -> int:
    return sum(vector.copies * vector.length for vector in vectors)


def _sizes(model: Model) -> Message:
    """ "2,048 numbers × 80 layers"; the kinds of layers one after the other."""
    widths = {_numbers(kind.vectors) for kind in model.kinds}
    if len(widths) == 1:
        return Message("{numbers:,} × {layers} layers", numbers=widths.pop(), layers=model.layers)
    products: list[str] = [
        Message("{numbers:,} × {layers}", numbers=_numbers(kind.vectors), layers=kind.layers)
        for kind in model.kinds
    ]
    return joined(products, " + ")


def _words(result: CompareResult) -> Words:
    """One sentence a length: the largest cache against the smallest, which may change places on the way."""
    sentences: list[Message] = []
    which, values = [], []
    titles = [model.title for model in result.models]
    further = _further_sentence(result, titles)
    for step, length in enumerate(result.lengths):
        now = [growth.windowed[step] for growth in result.growth]
        largest, smallest = now.index(max(now)), len(now) - 1 - now[::-1].index(min(now))
        sentence = _sentence(length, titles, largest, smallest)
        if further and length > 0:
            sentence = joined([sentence, further], " ")
        if sentence not in sentences:
            sentences.append(sentence)
        which.append(sentences.index(sentence))
        engine = [growth.reserved[step] for growth in result.growth]
        right = [bytes_at[step] for bytes_at in result.right]
        ratio = now[largest] / max(1, now[smallest])
        values.append([length, now[largest], now[smallest], ratio, *engine, *right])
    models = range(len(titles))
    columns = ("tokens", "largest", "smallest", "ratio", *map(_reserved, models), *map(_right, models))
    return Words(tuple(sentences), np.array(which), np.array(values, float), columns=columns)


def _reserved(model: int) -> str:
    """The column of the bytes that an engine reserves for a model."""
    return f"reserved_{model}"


def _right(model: int) -> str:
    """The column of the bytes that a model keeps where the count is not broken."""
    return f"right_{model}"


def _further_sentence(result: CompareResult, titles: list[str]) -> Message | None:
    """What an engine reserves where that is another number, or what is right where the count is broken."""
    if result.setting.break_it != "none":
        each: list[str] = [
            LiveMessage("{model} **{size}**", model=title, size=f"{{{_right(number)}:bytes}}")
            for number, title in enumerate(titles)
        ]
        return LiveMessage("This count is wrong on purpose; right is {sizes}.", sizes=joined(each))
    if all(size.reserved_bytes <= 1.01 * size.windowed_bytes for size in result.sizes):
        return None
    reserved: list[str] = [
        LiveMessage("{model} {size}", model=title, size=f"{{{_reserved(number)}:bytes}}")
        for number, title in enumerate(titles)
    ]
    return LiveMessage(
        "An engine on {ranks} ranks reserves {sizes}.",
        ranks=result.setting.tensor_parallel,
        sizes=joined(reserved),
    )


def _sentence(length: int, titles: list[str], largest: int, smallest: int) -> Message:
    if length == 0:
        return Message("No token has been read yet: every cache is empty.")
    if largest == smallest:
        return LiveMessage(
            "After {tokens:d} tokens {model} keeps **{largest:bytes}** ({largest:ibytes}).",
            model=titles[largest],
        )
    return LiveMessage(
        "After {tokens:d} tokens {model} keeps **{largest:bytes}** ({largest:ibytes}), {other} **{smallest:bytes}** "
        "({smallest:ibytes}): **{ratio:.2f} times** as much.",
        model=titles[largest],
        other=titles[smallest],
    )
