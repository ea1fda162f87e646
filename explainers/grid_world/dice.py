"""Dice that need no memory: a random number for each (seed, time, use), so that a run can go on from any moment.

Agents with one seed meet the same luck at the same time (common random numbers).

Source: Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, 2014 (SplitMix64's finalizer).
"""

from __future__ import annotations

from enum import IntEnum

MASK = (1 << 64) - 1
ODD, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


class Use(IntEnum):
    """What a number decides, at each time."""

    MOVE = 0  # which move an action becomes
    EXPLORE = 1  # whether to explore
    WHICH = 2  # which action, of all or of the best
    START = 3  # where an exploring episode starts
    COIN = 4  # which of two tables learns
    BEST = 5  # which of equal best actions of the learning table
    PLAN = 8  # and from here on, one for each planning step


def uniform(seed: int, time: int, use: int) -> float:
    """A number in [0, 1)."""
    x = _mixed(_mixed(_mixed(seed) + time) + use)
    return (x >> 11) / (1 << 53)


def _mixed(x: int) -> int:
    x = (x + ODD) & MASK
    x = ((x ^ (x >> 30)) * FIRST) & MASK
    x = ((x ^ (x >> 27)) * SECOND) & MASK
    return x ^ (x >> 31)
