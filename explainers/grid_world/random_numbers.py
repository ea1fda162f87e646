"""Stateless random numbers: one for each (seed, time, use), so that a run can continue from any transition.

Agents with the same seed see the same random draws at the same time (common random numbers).

Source: Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, 2014 (SplitMix64's finalizer).
"""

from __future__ import annotations

from enum import IntEnum

MASK = (1 << 64) - 1
ODD, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


class Use(IntEnum):
    """What a random number decides."""

    MOVE = 0  # which move an action becomes
    EXPLORE = 1  # whether to explore
    WHICH = 2  # which action: any of them, or one of the best
    START = 3  # where an episode with exploring starts begins
    COIN = 4  # which of the two tables of double Q-learning is updated
    BEST = 5  # which of the best actions in the updated table
    PLAN = 8  # and the numbers above it: one for each planning step


def uniform(seed: int, time: int, use: int) -> float:
    """A number in [0, 1)."""
    x = _mixed(_mixed(_mixed(seed) + time) + use)
    return (x >> 11) / (1 << 53)


def _mixed(x: int) -> int:
    x = (x + ODD) & MASK
    x = ((x ^ (x >> 30)) * FIRST) & MASK
    x = ((x ^ (x >> 27)) * SECOND) & MASK
    return x ^ (x >> 31)
