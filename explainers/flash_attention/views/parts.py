"""Panels that several scenes of flash attention share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from explainers.drawing.panels import Axis, Layer, Marks
from explainers.drawing.scene import Action, Panel, Track


def dumbbells(
    name: str,
    title: str,
    before: np.ndarray,
    now: np.ndarray,
    followed: np.ndarray,
    *,
    height: int,
    row_name: str,
    action: Action | None = None,
) -> Panel:
    """One running value a row, before (hollow) and now (solid). before, now: (steps, rows); followed: (steps,)."""
    finite = np.concatenate([before[np.isfinite(before)], now[np.isfinite(now)], [0.0]])
    low, high = (finite.min(), finite.max()) if finite.max() > finite.min() else (0.0, 1.0)
    # A row that has seen nothing has m = -inf: it is drawn at the left edge. What overflowed is not drawn.
    left, right = (
        np.where(np.isneginf(values), low, np.where(np.isposinf(values), np.nan, values))
        for values in (before, now)
    )
    rows = np.arange(now.shape[1], dtype=float)
    layers = (
        Layer("segment", x=Track(left), y=rows, x2=Track(right), y2=rows, size=3, style="faint"),
        Layer(
            "point",
            x=Track(left),
            y=rows,
            style="hollow",
            size=3.6,
            names=("before",) * len(rows),
            numbers=Track(before),
            format=".6g",
        ),
        Layer(
            "point",
            x=Track(right),
            y=rows,
            size=3.6,
            names=("now",) * len(rows),
            numbers=Track(now),
            format=".6g",
        ),
    )
    panel = _rows_panel(now, followed, Axis(float(low), float(high)), layers)
    return replace(panel, name=name, title=title, height=height, row_name=row_name, action=action)


def bars(
    name: str,
    title: str,
    values: np.ndarray,
    followed: np.ndarray,
    *,
    height: int,
    row_name: str,
    action: Action | None = None,
) -> Panel:
    """One factor from 0 to 1 a row, as a bar. values: (steps, rows); followed: (steps,), the shaded row."""
    rows = np.arange(values.shape[1], dtype=float)
    layer = Layer(
        "segment",
        x=np.zeros_like(rows),
        y=rows,
        x2=Track(values),
        y2=rows,
        hue="current",
        size=7,
        numbers=Track(values),
        format=".4f",
    )
    panel = replace(_rows_panel(values, followed, Axis(0, 1), (layer,)), row_name=row_name, action=action)
    # A factor may be 0.26 or 5e-5.
    return replace(panel, name=name, title=title, height=height, readout_format=".3g")


def _rows_panel(now: np.ndarray, followed: np.ndarray, x: Axis, layers: tuple[Layer, ...]) -> Marks:
    """A nameless panel with one line a row, the followed row shaded, and its number in the title."""
    rows = now.shape[1]
    readout = np.array([values[place] for values, place in zip(now, followed, strict=True)])
    return Marks(
        name="",
        x=x,
        y=Axis(-0.7, rows - 0.3, flip=True),
        layers=layers,
        highlight=Track(followed.astype(float)),
        readout=Track(readout),
    )
