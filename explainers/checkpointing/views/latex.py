"""Parts of formulas as LaTeX."""

from __future__ import annotations

MAX_M = r"\max M"
PEAK_OF_K = r"\lceil L / k \rceil B + k I"


def ceiling_of_quotient(dividend: str | int, divisor: str | int) -> str:
    return " ".join((r"\lceil", str(dividend), "/", str(divisor), r"\rceil"))


def total(*summands: str) -> str:
    """The sum of those summands that are not empty."""
    return " + ".join(summand for summand in summands if summand)
