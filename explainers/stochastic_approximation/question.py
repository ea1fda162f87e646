"""What a reader of Robbins-Monro is asked, and what is compared when a setting changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ANSWERS = ("hardly any", "fewer than half", "more than half", "nearly all")
LIMITS = (0.05, 0.5, 0.95)


def share_in_words(fraction: float) -> str:
    """Which of ANSWERS a share of the seeds is."""
    return ANSWERS[sum(fraction > limit for limit in LIMITS)]


def told(facts: Mapping[str, Any]) -> dict[str, str]:
    """What is compared when a setting changes."""
    converged, diverged = facts["converged_fraction"], facts["diverged_fraction"]
    return {"converged": f"{converged:.1%}", "overflowed": f"{diverged:.1%}"}
