"""The answers of a question about a number: the right one among plausible mistakes, from small to large."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

MOST_ANSWERS = 5


def offered(
    right: float, wrong: Iterable[float], write: Callable[[float], str], apart: float = 0.0
) -> dict[str, Any] | None:
    """The answers and the right one; None where no wrong one is left.

    wrong: the most plausible mistakes first; those below 0, and those too close to another answer, are left out.
    apart: how far two answers must be from each other, as a share of the larger one.
    """
    kept = [right]
    for value in wrong:
        told_apart = all(
            write(value) != write(other) and abs(value - other) >= apart * max(value, other) for other in kept
        )
        if math.isfinite(value) and value >= 0 and told_apart and len(kept) < MOST_ANSWERS:
            kept.append(value)
    if len(kept) < 2:
        return None
    return {"answers": [write(value) for value in sorted(kept)], "right": write(right)}


def whole(value: float) -> str:
    """1234.0: 1,234."""
    return f"{value:,.0f}"


def about(value: float) -> str:
    """A number to two digits: 1,200, 35, 4.6, 0.037."""
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:.2g}"


def times(value: float) -> str:
    """A factor to two digits: 4.6×."""
    return f"{about(value)}×"


def percent(value: float) -> str:
    """A share of 100: 35%."""
    return f"{value:.0f}%"


def exact_bytes(value: float) -> str:
    """1234: 1,234 B."""
    return f"{value:,.0f} B"


def kibibytes(value: float) -> str:
    """Bytes to three digits, in KiB from 1,024 on: 128 KiB."""
    return f"{value / 1024:,.3g} KiB" if value >= 1024 else f"{about(value)} B"


def megabytes(value: float) -> str:
    """Bytes to two digits, in MB, and in GB from 10⁹ on: 130 MB."""
    return f"{about(value / 1e9)} GB" if value >= 1e9 else f"{about(value / 1e6)} MB"
