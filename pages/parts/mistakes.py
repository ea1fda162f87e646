"""The answers of a question about a number: the right one, among what plausible mistakes would give."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

MOST = 5  # answers
ROUNDING = 1e-12  # relative to the largest answer: smaller ones are 0


def among(right: float, *wrong: float, form: str = ".3g") -> dict[str, Any] | None:
    """Answers in the order of their size, those that look alike only once; None where nothing wrong is left."""
    numbers = [number for number in (right, *wrong) if math.isfinite(number)]
    if not math.isfinite(right):
        return None
    largest = max(map(abs, numbers))
    said: dict[str, float] = {}
    for number in numbers:
        number = number if abs(number) > ROUNDING * largest else 0.0
        if len(said) < MOST:
            said.setdefault(true_minus(number, form), number)
    answers = tuple(sorted(said, key=said.__getitem__))
    return {"answers": answers, "right": next(iter(said))} if len(answers) > 1 else None


def true_minus(number: float, form: str = "g") -> str:
    """A number in this form, with a true minus sign instead of a hyphen."""
    return format(number, form).replace("-", "−")


def asked_of(
    right: float, mistakes: Iterable[float], say: Callable[[Any], str], **values: Any
) -> dict[str, Any] | None:
    """A question about a number: the values that its words name, and the answers in the order of their size.

    say: a number in words. Mistakes that read as the right answer, or are not positive, are left out; None where
    nothing wrong is left.
    """
    said = {say(right): right}
    for mistake in mistakes:
        if mistake > 0 and len(said) < MOST:
            said.setdefault(say(mistake), mistake)
    if len(said) == 1:
        return None
    return {**values, "answers": sorted(said, key=said.__getitem__), "right": say(right)}


def short_bytes(size: float) -> str:
    """A size with three digits: 16.4 kB, 1.05 GB."""
    for unit, bytes_of in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= 0.9995 * bytes_of:
            return f"{size / bytes_of:.3g} {unit}"
    return f"{size:.3g} B"
