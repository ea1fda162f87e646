"""Noise for many seeds at once. The noise of a seed does not depend on how many other seeds or steps are asked for.

Each block of 256 seeds has its generator, which draws step after step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from explainers.contract.messages import Message

BLOCK = 256  # seeds of one generator
SLICE = 500  # steps that are drawn at a time
DEGREES = 1.5  # of freedom of the heavy tail: it has a mean and no variance
BIAS = 0.5  # the mean of biased noise

Noise = Literal["normal", "uniform", "heavy_tailed", "state_dependent", "none"]
LABELS: dict[str, str] = {
    "normal": Message("normal"),
    "uniform": Message("uniform"),
    "heavy_tailed": Message("heavy tails"),
    "state_dependent": Message("grows with |w|"),
    "none": Message("none"),
}


def draws(kind: Noise, seeds: range, steps: int, seed: int) -> Iterator[np.ndarray]:
    """For each step a row of noise with mean 0 and, where it has one, variance 1, for these seeds.

    seeds: begins at a multiple of BLOCK. Raises ValueError for another beginning.
    """
    if seeds.start % BLOCK:
        raise ValueError(
            Message("seeds begin at {start}; allowed: multiples of {block}.", start=seeds.start, block=BLOCK)
        )
    blocks = range(seeds.start // BLOCK, -(-seeds.stop // BLOCK))
    generators = [np.random.default_rng((seed, block)) for block in blocks]
    for first in range(0, steps, SLICE):
        size = (min(SLICE, steps - first), BLOCK)
        yield from np.concatenate([_drawn(kind, generator, size) for generator in generators], axis=1)[
            :, : len(seeds)
        ]


def _drawn(kind: Noise, generator: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    if kind == "none":
        return np.zeros(size)
    if kind == "uniform":
        return generator.uniform(-np.sqrt(3), np.sqrt(3), size)
    if kind == "heavy_tailed":
        return generator.standard_t(DEGREES, size)
    return generator.standard_normal(size)


def spread(kind: Noise, sigma: float, w: np.ndarray) -> np.ndarray | float:
    """The factor of the noise at w: its standard deviation there, where it has one."""
    if kind == "none":
        return 0.0
    return sigma * (1 + np.abs(w)) if kind == "state_dependent" else sigma
