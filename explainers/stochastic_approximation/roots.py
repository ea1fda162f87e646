"""Where g is zero, whether it pulls towards there, and between which bounds its slope lies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import bisect

from explainers.stochastic_approximation.expression import Expression

POINTS = 4001  # at which g and its slope are looked at
ZERO = 1e-12  # up to this |g| counts as 0
STRETCH = 0.01  # of the interval: shorter runs of zeros are a point, longer ones a stretch
CLOSER = 9  # times the search for the least slope narrows to a fiftieth: from 100,000 to rounding
OF_NEIGHBOURS = 1e-3  # of the neighbouring values: a larger |g| at a change of sign is a pole or a jump
HALVINGS = 2000  # of an interval as long as floating-point numbers reach
WIDENINGS = 15  # of the interval, each to three times its length, in the search for a root that attracts
WHOLE_LINE = np.concatenate([-np.logspace(6, -3, 400), [0.0], np.logspace(-3, 6, 400)])


class Root(NamedTuple):
    """A stretch on which g is 0, mostly a single point. attracts: g is negative before it and positive after."""

    low: float
    high: float
    attracts: bool

    def distance(self, w: np.ndarray) -> np.ndarray:
        """How far w is from the stretch."""
        if self.low == self.high:
            return np.abs(w - self.low)
        return np.maximum(np.maximum(self.low - w, w - self.high), 0)


def roots_of(g: Expression, low: float, high: float) -> tuple[Root, ...]:
    """The roots in [low, high] that POINTS places find, on them or between, from left to right."""
    w = np.linspace(low, high, POINTS)
    value = g.value(w)
    found = [Root(at, at, bool(value[k] < 0)) for k, at, is_root in _crossings(g, w, value) if is_root]
    zero = np.abs(value) <= ZERO
    edges = np.flatnonzero(np.diff(np.concatenate([[False], zero, [False]]).astype(int)))
    step = w[1] - w[0]
    for first, after in edges.reshape(-1, 2):
        before = float(g.value(np.array(w[first] - step)))
        behind = float(g.value(np.array(w[after - 1] + step)))
        begin, end = float(w[first]), float(w[after - 1])
        if end - begin < STRETCH * (high - low):
            begin = end = (begin + end) / 2
        found.append(Root(begin, end, before < 0 < behind))
    return tuple(sorted(found))


def _crossings(g: Expression, w: np.ndarray, value: np.ndarray) -> Iterator[tuple[int, float, bool]]:
    """Between which places g changes its sign, where, and whether it is 0 there and does not jump."""
    zero = np.abs(value) <= ZERO
    sign = np.where(zero, 0, np.sign(value))
    for k in np.flatnonzero(sign[:-1] * sign[1:] < 0):
        at = _between(g, float(w[k]), float(w[k + 1]))
        there = abs(float(g.value(np.array(at))))
        beside = max(abs(value[k]), abs(value[k + 1]))
        yield int(k), at, bool(np.isfinite(beside)) and there <= OF_NEIGHBOURS * beside


def _between(g: Expression, low: float, high: float) -> float:
    """Where g changes its sign between two places, which may be far apart."""
    found: Any = bisect(lambda w: float(g.value(np.array(w))), low, high, xtol=1e-14, maxiter=HALVINGS)
    return float(found)


def around(g: Expression, low: float, high: float) -> tuple[Root, ...]:
    """The roots in an interval three times as long, because iterates leave the stated one.

    Where none of them attracts, the roots of the first wider interval in which one does.
    """
    first: tuple[Root, ...] = ()
    for widening in range(WIDENINGS):
        length = high - low
        low, high = low - length, high + length
        found = roots_of(g, low, high)
        first = first if widening else found
        if any(root.attracts for root in found):
            return found
    return first


def slopes(g: Expression, low: float, high: float) -> tuple[float, float]:
    """The least and greatest g' at POINTS places of [low, high]; NaN where g is not defined everywhere, or jumps."""
    return _slopes(g, np.linspace(low, high, POINTS))


def slopes_everywhere(g: Expression) -> tuple[float, float]:
    """The same from -1,000,000 to 1,000,000, at places that lie closer near 0."""
    return _slopes(g, WHOLE_LINE)


def _slopes(g: Expression, w: np.ndarray) -> tuple[float, float]:
    value = g.value(w)
    if not np.isfinite(value).all() or not all(is_root for *_, is_root in _crossings(g, w, value)):
        return np.nan, np.nan
    return _least(g.slope, w), -_least(lambda w: -g.slope(w), w)


def _least(slope: Callable[[np.ndarray], np.ndarray], w: np.ndarray) -> float:
    """The least slope, searched ever more closely: it may touch 0 between two places."""
    found = np.inf
    for _ in range(1 + CLOSER):
        here = slope(w)
        k = int(here.argmin())
        found = np.minimum(found, here[k])
        w = np.linspace(w[max(k - 1, 0)], w[min(k + 1, len(w) - 1)], 101)
    return float(found)
