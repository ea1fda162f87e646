"""Where g is zero on an interval, whether it pulls towards there, and between which bounds its slope lies."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import bisect

from explainers.stochastic_approximation.expression import Expression

POINTS = 4001  # at which g and its slope are looked at
ZERO = 1e-12
WIDENINGS = 15  # of the interval, each to twice its length, before there is no root that attracts
NOT_A_POLE = 1e-6


class Root(NamedTuple):
    """A stretch on which g is 0, mostly a single point. attracts: g is negative before it and positive behind."""

    low: float
    high: float
    attracts: bool

    def distance(self, w: np.ndarray) -> np.ndarray:
        """How far w is from the stretch."""
        return np.maximum(np.maximum(self.low - w, w - self.high), 0)


def roots_of(g: Expression, low: float, high: float) -> tuple[Root, ...]:
    """The roots in [low, high] that lie between, or on, POINTS places, from left to right."""
    w = np.linspace(low, high, POINTS)
    value = g.value(w)
    zero = np.abs(value) <= ZERO
    found = []
    for k in np.flatnonzero((value[:-1] * value[1:] < 0) & ~zero[:-1] & ~zero[1:]):
        at = float(bisect(lambda one: float(g.value(np.array(one))), w[k], w[k + 1], xtol=1e-14))  # type: ignore[arg-type]
        if abs(float(g.value(np.array(at)))) < NOT_A_POLE:
            found.append(Root(at, at, bool(value[k] < 0)))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], zero, [False]]).astype(int)))
    for first, after in edges.reshape(-1, 2):
        before = value[first - 1] if first else -1.0
        behind = value[after] if after < POINTS else 1.0
        found.append(Root(float(w[first]), float(w[after - 1]), bool(before < 0 < behind)))
    return tuple(sorted(found))


def attracting(g: Expression, low: float, high: float) -> tuple[Root, ...]:
    """The roots in [low, high]; where none of them attracts, those of the first wider interval in which one does."""
    here = found = roots_of(g, low, high)
    for _ in range(WIDENINGS):
        if any(root.attracts for root in found):
            return found
        half = (high - low) / 2
        low, high = low - half, high + half
        found = roots_of(g, low, high)
    return here


def slopes(g: Expression, low: float, high: float) -> tuple[float, float]:
    """The least and greatest g' at POINTS places of [low, high]; NaN where g has no slope there."""
    slope = g.slope(np.linspace(low, high, POINTS))
    return float(slope.min()), float(slope.max())
