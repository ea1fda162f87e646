"""Revolve: the fewest extra forwards with c snapshots and the internal activations of one layer at a time.

Source: Griewank and Walther 2000, "Algorithm 799: Revolve", sections 2 and 3. A snapshot is a boundary activation,
and the input counts as one. Taping a layer is a forward run. A layer's first forward run is not extra, even if it is
the taping run, so t(1, c) = 0.
"""

from __future__ import annotations

import math
from collections.abc import Generator

from explainers.checkpointing.chain import Action


def beta(c: int, r: int) -> int:
    """C(c + r, c): the longest chain that c snapshots reverse with at most r extra forward runs of each layer."""
    return math.comb(c + r, c) if r >= 0 else 0


def repetitions(l: int, c: int) -> int:
    """r(l, c) = min {r : beta(c, r) >= l}: the most extra forward runs of any layer."""
    r = 0
    while beta(c, r) < l:
        r += 1
    return r


def extra_forwards(l: int, c: int) -> int:
    """t(l, c) = r l - beta(c + 1, r - 1) = r l - C(c + r, c + 1): forward runs beyond the first of each layer."""
    r = repetitions(l, c)
    return r * l - beta(c + 1, r - 1)


def next_snapshot(l: int, c: int) -> int:
    """How many of l layers to advance before the next snapshot.

    t(l, c) = min over j of j + t(l - j, c - 1) + t(j, c); this is the least such j.
    """
    r = repetitions(l, c)
    return max(beta(c, r - 2), l - beta(c - 1, r), 1)


def revolve(first: int, last: int, c: int) -> Generator[Action, None, None]:
    """Reverses layers first .. last with c snapshots, the input of `first` being one of them."""
    while last > first and c > 1:
        # t(l, c) = j + t(l - j, c - 1) + t(j, c)
        middle = first + next_snapshot(last - first + 1, c)
        for l in range(first, middle - 1):
            yield Action("forward", l)
        yield Action("checkpoint", middle - 1)
        yield from revolve(middle, last, c - 1)
        last = middle - 1

    # t(l, 1) = l (l - 1) / 2: from the only snapshot to each layer, the last layer first
    for end in range(last, first - 1, -1):
        for l in range(first, end):
            yield Action("forward", l)
        yield Action("tape", end)
        yield Action("backward", end)


def revolve_peak(layers: int, c: int, boundary: float, internal: float) -> float:
    """min(c, L) B + I: all snapshots, and the internal activations of one layer."""
    return min(c, layers) * boundary + internal
