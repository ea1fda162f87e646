"""The chain as three lanes, one column a layer: internal activations, boundary activations, the layers themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from explainers.checkpointing.chain import KEPT, NOT_KEPT, RECOMPUTED
from explainers.checkpointing.views.playing import Playing
from explainers.drawing.panels import Axis, Layer, Marks
from explainers.drawing.scene import Action, Hue, Track

HEIGHT = 196  # px, of which 18 are for the layers' numbers; heights below are in px from the top
INSIDE, BOUNDARY, LAYER = (22.0, 76.0), (104.0, 122.0), (150.0, 170.0)
OUTLINED_UP_TO = 40  # layers
NUMBERS_UP_TO = 48  # digits in the row of layers; more of them become bars

Rows = tuple[float, float]
Style = Literal["solid", "hollow", "hatched", "faint"]


def chain_panel(playing: Playing, *, clickable: bool = True) -> Marks:
    """The chain. Marks that can be hit stand at their layer's number, so an event's indices are the layer."""
    L = playing.layers
    empty = "outlined" if L <= OUTLINED_UP_TO else "pale"
    inside = [f"layer {l}, internal activations, units" for l in range(L + 1)]
    boundary = [f"layer {l}, boundary at its input, units" for l in range(L + 1)]
    layers = (
        _current(playing),
        *_empty(playing, 1, INSIDE, inside),
        _in_state(_lane(playing, 1, INSIDE, "activation", "solid", inside), playing.internals, KEPT),
        _in_state(_lane(playing, 1, INSIDE, "activation", "hatched", inside), playing.internals, RECOMPUTED),
        _at_layer(_lane(playing, 1, INSIDE, "gradient", "solid", inside), playing),
        *_empty(playing, 0, BOUNDARY, boundary),
        _in_state(_lane(playing, 0, BOUNDARY, "output", "solid", boundary), playing.boundaries, KEPT),
        _in_state(_lane(playing, 0, BOUNDARY, "output", "hatched", boundary), playing.boundaries, RECOMPUTED),
        *_runs(playing),
        _row_name("internal activations: all that its backward needs", INSIDE),
        _row_name("boundary activations: a layer's input, kept", BOUNDARY),
        _row_name("layers, and how often each ran forward", LAYER),
    )
    return Marks(
        name="chain",
        title="The chain, layer by layer",
        subtitle=f"solid: kept · hatched: recomputed · {empty}: not in memory · brown: in backward · shaded: at work",
        height=HEIGHT,
        x=Axis(0.4, L + 0.6, ticks=_ticks(L), format="d"),
        y=Axis(0, HEIGHT - 20, flip=True),
        layers=layers,
        action=Action("keep", "Click a layer to keep its input, or to drop it") if clickable else None,
    )


def _columns(layers: int) -> tuple[np.ndarray, np.ndarray]:
    """Left and right edges (L + 1,) of the columns, at the layer's number; number 0 is none."""
    middle = np.arange(layers + 1.0)
    middle[0] = np.nan
    half = 0.38 if layers <= 64 else 0.34
    return middle - half, middle + half


def _lane(playing: Playing, kind: int, rows: Rows, hue: Hue, style: Style, names: list[str]) -> Layer:
    """One rect a layer, as high as its share of the largest. kind: 0 for boundaries, 1 for internal activations."""
    left, right = _columns(playing.layers)
    sizes = np.concatenate([[0], playing.sizes[kind]])
    top = rows[1] - (rows[1] - rows[0]) * np.maximum(sizes / sizes.max(), 0.12)
    return Layer(
        "rect",
        left,
        top,
        right,
        np.full_like(left, rows[1]),
        hue,
        style,
        numbers=sizes,
        format=".6g",
        names=tuple(names),
    )


def _empty(playing: Playing, kind: int, rows: Rows, names: list[str]) -> tuple[Layer, ...]:
    """What is not in memory: outlined; where outlines would touch, pale, with points of no size to take the click."""
    if playing.layers <= OUTLINED_UP_TO:
        return (_lane(playing, kind, rows, "muted", "hollow", names),)
    lane = _lane(playing, kind, rows, "muted", "faint", names)
    left, right = _columns(playing.layers)
    middle = np.full_like(left, sum(rows) / 2)
    return lane, replace(
        lane, mark="point", x=(left + right) / 2, y=middle, x2=None, y2=None, style="solid", size=0
    )


def _in_state(layer: Layer, states: np.ndarray, state: int) -> Layer:
    """The layer's marks only where they are in this state; rows that repeat are sent once."""
    changed = np.ones(len(states), bool)
    changed[1:] = (states[1:] != states[:-1]).any(1)
    rows = states[changed]
    shown = np.where((rows == state) & (state != NOT_KEPT), layer.x, np.nan)  # type: ignore[arg-type]
    return replace(layer, x=Track(shown, (changed.cumsum() - 1).astype(np.int32)))


def _at_layer(layer: Layer, playing: Playing) -> Layer:
    """The mark of the layer that is in backward, at the steps that go backward."""
    alone = np.where(np.eye(playing.layers + 1, dtype=bool), layer.x, np.nan)  # type: ignore[arg-type]
    return replace(layer, x=Track(alone, np.where(playing.backward, playing.layer, 0).astype(np.int32)))


def _current(playing: Playing) -> Layer:
    """The column of the step's layer, or of its run of layers, shaded."""
    first = playing.first_of_run[:, None] - 0.5
    last = playing.layer[:, None] + 0.5
    top, bottom = np.array([INSIDE[0] - 5]), np.array([LAYER[1] + 4])
    return Layer("rect", Track(first), top, Track(last), bottom, "current", "faint")


def _runs(playing: Playing) -> tuple[Layer, ...]:
    """How often every layer has run forward: numbers in boxes, or bars where there is no room for numbers."""
    left, right = _columns(playing.layers)
    top, bottom = np.full_like(left, LAYER[0]), np.full_like(left, LAYER[1])
    most = int(playing.runs.max())
    names = tuple(f"layer {l}, forward runs" for l in range(playing.layers + 1))
    runs = playing.runs.astype(float)
    boxes = Layer("rect", left, top, right, bottom, "parameter", "faint")
    if playing.layers * len(str(most)) <= NUMBERS_UP_TO:
        middle = (left + right) / 2
        numbers = Layer(
            "label",
            middle,
            (top + bottom) / 2,
            hue="muted",
            numbers=Track(runs),
            format="d",
            anchor="middle",
            size=3 if playing.layers <= 24 else 2,
        )
        return boxes, numbers
    tops = LAYER[1] - (LAYER[1] - LAYER[0]) * runs / most
    bars = Layer(
        "rect",
        left,
        bottom,
        right,
        Track(tops),
        "parameter",
        numbers=Track(runs),
        format="d",
        names=names,
    )
    return boxes, bars


def _row_name(name: str, rows: Rows) -> Layer:
    y = np.array([rows[0] - 11])
    return Layer("label", np.array([0.5]), y, hue="muted", style="faint", size=3, names=(name,))


def _ticks(layers: int) -> tuple[float, ...]:
    """Layer 1 and round numbers, at most about nine."""
    step = next(step for step in (1, 2, 4, 8, 16, 32) if layers / step <= 9)
    return (1.0, *(float(at) for at in range(step, layers + 1, step) if at > 1))
