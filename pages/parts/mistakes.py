"""The answers of a question about a number: the right one, among what plausible mistakes would give."""

from __future__ import annotations

import math
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
