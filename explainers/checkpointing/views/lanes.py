"""The chain in three rows, with a column for each layer: internal activations, boundary activations, forward runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from explainers.checkpointing.chain import KEPT, NOT_KEPT, RECOMPUTED
from explainers.checkpointing.views.playing import Playing
from explainers.contract.messages import Message
from explainers.drawing.panels import Axis, Layer, Marks
from explainers.drawing.scene import Action, Hue, Track

HEIGHT = 196  # px, 18 of them for the layers' numbers; the heights below are in px from the top
INSIDE, BOUNDARY, LAYER = (22.0, 76.0), (104.0, 122.0), (150.0, 170.0)
OUTLINED_UP_TO = 40  # layers
NUMBERS_UP_TO = 48  # digits in the row of layers; above that, bars take the place of numbers

Rows = tuple[float, float]
Style = Literal["solid", "hollow", "hatched", "faint"]


def chain_panel(playing: Playing, *, clickable: bool = True) -> Marks:
    """The chain. Mark l of a layer that can be clicked belongs to layer l, so the index of an event is the layer."""
    L = playing.layers
    empty = Message("outlined") if L <= OUTLINED_UP_TO else Message("pale")
    inside = [Message("layer {layer}, internal activations, units", layer=l) for l in range(L + 1)]
    boundary = [Message("layer {layer}, boundary at its input, units", layer=l) for l in range(L + 1)]
    layers = (
        _current(playing),
        *_empty(playing, 1, INSIDE, inside),
        _in_state(_lane(playing, 1, INSIDE, "activation", "solid", inside), playing.internals, KEPT),
        _in_state(_lane(playing, 1, INSIDE, "activation", "hatched", inside), playing.internals, RECOMPUTED),
        _at_layer(_lane(playing, 1, INSIDE, "gradient", "solid", inside), playing),
        *_empty(playing, 0, BOUNDARY, boundary),
        _in_state(_lane(playing, 0, BOUNDARY, "output", "solid", boundary), playing.boundaries, KEPT),
        _in_state(_lane(playing, 0, BOUNDARY, "output", "hatched", boundary), playing.boundaries, RECOMPUTED),
        *_forward_runs(playing),
        _row_name(Message("internal activations: all that its backward needs"), INSIDE),
        _row_name(Message("boundary activations: a layer's input, kept"), BOUNDARY),
        _row_name(Message("layers, and how often each ran forward"), LAYER),
    )
    return Marks(
        name="chain",
        title="The chain, layer by layer",
        subtitle=Message(
            "solid: kept · hatched: recomputed · {empty}: not in memory · brown: in backward · shaded: at work",
            empty=empty,
        ),
        height=HEIGHT,
        x=Axis(0.4, L + 0.6, ticks=_ticks(L), format="d"),
        y=Axis(0, HEIGHT - 20, flip=True),
        layers=layers,
        action=Action("keep", hint="Click a layer to keep its input, or to drop it") if clickable else None,
    )


def _columns(layers: int) -> tuple[np.ndarray, np.ndarray]:
    """Left and right edges (L + 1,) of the columns; entry l is layer l, and entry 0 is NaN."""
    middle = np.arange(layers + 1.0)
    middle[0] = np.nan
    half = 0.38 if layers <= 64 else 0.34
    return middle - half, middle + half


def _lane(playing: Playing, kind: int, rows: Rows, hue: Hue, style: Style, names: Sequence[str]) -> Layer:
    """A rect for each layer, with its share of the largest as height. kind: 0 boundaries, 1 internal activations."""
    left, right = _columns(playing.layers)
    sizes = np.concatenate([[0], playing.sizes[kind]])
    top = rows[1] - (rows[1] - rows[0]) * np.maximum(sizes / sizes.max(), 0.12)
    return Layer(
        "rect",
        x=left,
        y=top,
        x2=right,
        y2=np.full_like(left, rows[1]),
        hue=hue,
        style=style,
        numbers=sizes,
        format=".6g",
        names=tuple(names),
    )


def _empty(playing: Playing, kind: int, rows: Rows, names: Sequence[str]) -> tuple[Layer, ...]:
    """What is not in memory: outlined; where outlines would touch, pale, with points of size 0 that take the clicks."""
    if playing.layers <= OUTLINED_UP_TO:
        return (_lane(playing, kind, rows, "muted", "hollow", names),)
    lane = _lane(playing, kind, rows, "muted", "faint", names)
    left, right = _columns(playing.layers)
    middle = np.full_like(left, sum(rows) / 2)
    return lane, replace(
        lane, mark="point", x=(left + right) / 2, y=middle, x2=None, y2=None, style="solid", size=0
    )


def _in_state(layer: Layer, states: np.ndarray, state: int) -> Layer:
    """The marks of those layers that are in this state. Equal rows are sent once."""
    changed = np.ones(len(states), bool)
    changed[1:] = (states[1:] != states[:-1]).any(1)
    rows = states[changed]
    shown = np.where((rows == state) & (state != NOT_KEPT), layer.x, np.nan)  # type: ignore[arg-type]
    return replace(layer, x=Track(shown, (changed.cumsum() - 1).astype(np.int32)))


def _at_layer(layer: Layer, playing: Playing) -> Layer:
    """The mark of the layer that is in backward, in steps that go backward."""
    only_it = np.where(np.eye(playing.layers + 1, dtype=bool), layer.x, np.nan)  # type: ignore[arg-type]
    return replace(layer, x=Track(only_it, np.where(playing.backward, playing.layer, 0).astype(np.int32)))


def _current(playing: Playing) -> Layer:
    """The column of the step's layer, or the columns of its layers, shaded."""
    first = playing.first_layer[:, None] - 0.5
    last = playing.layer[:, None] + 0.5
    top, bottom = np.array([INSIDE[0] - 5]), np.array([LAYER[1] + 4])
    return Layer("rect", x=Track(first), y=top, x2=Track(last), y2=bottom, hue="current", style="faint")


def _forward_runs(playing: Playing) -> tuple[Layer, ...]:
    """How often every layer has run forward: numbers in boxes, or bars where there is no room for numbers."""
    left, right = _columns(playing.layers)
    top, bottom = np.full_like(left, LAYER[0]), np.full_like(left, LAYER[1])
    most = int(playing.runs.max())
    runs = playing.runs.astype(float)
    boxes = Layer("rect", x=left, y=top, x2=right, y2=bottom, hue="parameter", style="faint")
    if playing.layers * len(str(most)) <= NUMBERS_UP_TO:
        numbers = Layer(
            "label",
            x=(left + right) / 2,
            y=(top + bottom) / 2,
            hue="muted",
            numbers=Track(runs),
            format="d",
            anchor="middle",
            size=3 if playing.layers <= 24 else 2,
        )
        return boxes, numbers
    bars = Layer(
        "rect",
        x=left,
        y=bottom,
        x2=right,
        y2=Track(LAYER[1] - (LAYER[1] - LAYER[0]) * runs / most),
        hue="parameter",
        numbers=Track(runs),
        format="d",
        names=tuple(Message("layer {layer}, forward runs", layer=l) for l in range(playing.layers + 1)),
    )
    return boxes, bars


def _row_name(name: Message, rows: Rows) -> Layer:
    x, y = np.array([0.5]), np.array([rows[0] - 11])
    return Layer("label", x=x, y=y, hue="muted", style="faint", size=3, names=(name,))


def _ticks(layers: int) -> tuple[float, ...]:
    """Layer 1 and the multiples of a power of two, about nine at most."""
    step = next(step for step in (1, 2, 4, 8, 16, 32) if layers / step <= 9)
    return (1.0, *(float(layer) for layer in range(step, layers + 1, step) if layer > 1))
