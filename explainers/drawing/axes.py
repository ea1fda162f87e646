"""What views share to draw curves: axes with round numbers, and curves as marks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from explainers.drawing.panels import Axis, Layer
from explainers.drawing.scene import Hue

GREATEST = 1e30  # the greatest number that is drawn or named
FARTHEST = 50  # lengths of an axis


def round_ticks(low: float, high: float, most: int = 5) -> tuple[float, ...]:
    """At most `most` round places from low to high: multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / most or 1.0
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(float(f"{step * k:.6g}") for k in range(first, last + 1))


def axis(low: float, high: float, label: str = "", room: float = 0.06, most: int = 5) -> Axis:
    """From low to high with some room at both ends; wider where both are the same."""
    if not high > low:
        low, high = low - 0.5, high + 0.5
    space = room * (high - low)
    low, high = low - space, high + space
    return Axis(low, high, label=label, ticks=round_ticks(low, high, most), format=".4g")


def steps_axis(last: int, label: str = "k", first: int = 1) -> Axis:
    """Counts from `first`; the end is left to the label."""
    ticks = tuple(
        tick for tick in round_ticks(first, max(last, first + 1)) if tick <= first + 0.88 * (last - first)
    )
    ticks = tuple(tick for tick in ticks if tick == round(tick))
    return Axis(first, max(last, first + 1), label=label, ticks=ticks, format="d")


def log_axis(values: np.ndarray, label: str = "", most_decades: int = 5) -> Axis:
    """Powers of ten around the positive values, at most `most_decades` below the greatest."""
    positive = values[np.isfinite(values) & (values > 0)]
    high = math.ceil(math.log10(positive.max()) - 1e-9) if len(positive) else 0
    low = math.floor(math.log10(positive.min()) + 1e-9) if len(positive) else -1
    low = max(min(low, high - 1), high - most_decades)
    ticks = tuple(10.0**power for power in range(low, high + 1, 1 if high - low < 4 else 2))
    short = low >= -3 and high <= 4
    return Axis(10.0**low, 10.0**high, log=True, label=label, ticks=ticks, format=".4g" if short else ".0e")


def drawable(values: np.ndarray, low: Any, high: Any) -> np.ndarray:
    """Values clipped to FARTHEST lengths beyond the axis, so that they fit into single precision; NaN stays.

    The player cuts off what lies outside the axis.
    """
    far = FARTHEST * (high - low)
    return np.clip(values, low - far, high + far)


def curve(
    x: np.ndarray, y: np.ndarray, low: float, high: float, hue: Hue, name: str, size: float = 4
) -> Layer:
    """A curve as segments, omitted where it leaves the axis."""
    shown = np.where((y >= low) & (y <= high), y, np.nan)
    names = (name,) * (len(x) - 1)
    return Layer(
        "segment",
        x=x[:-1],
        y=shown[:-1],
        x2=x[1:],
        y2=shown[1:],
        hue=hue,
        size=size,
        numbers=sendable(y[:-1]),
        format=".4g",
        names=names,
    )


def sendable(values: np.ndarray) -> np.ndarray:
    """Numbers that fit into single precision. NaN becomes 0; no sentence uses it."""
    return np.clip(np.nan_to_num(values, posinf=GREATEST, neginf=-GREATEST), -GREATEST, GREATEST)


def rounded_off(values: np.ndarray, smallest: float) -> np.ndarray:
    """Values for a reader: 0 where they are smaller than rounding errors may be."""
    return np.where(np.abs(values) < smallest, 0.0, values)
