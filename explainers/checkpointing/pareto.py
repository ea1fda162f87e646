"""Peak memory against extra forwards: what every schedule of a chain of equal layers costs, by formula and table.

No schedule is played here: that each point is what its schedule really costs, the tests hold against the executor.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from explainers.checkpointing import revolve, schedules
from explainers.checkpointing.rotor import equal_layers

Family = Literal["named", "every_k", "revolve", "optimal"]


@dataclass(frozen=True)
class Point:
    """What one schedule costs. family: which curve it lies on; "named" lies on none."""

    family: Family
    label: str
    peak_units: int
    extra_forwards: int


@functools.lru_cache(maxsize=64)
def front(layers: int, boundary: int, internal: int) -> tuple[Point, ...]:
    """Every k, Revolve with every number of snapshots, the optimum at every budget where it changes, and the rest."""
    return (
        *_named(layers, boundary, internal),
        *_every_k(layers, boundary, internal),
        *_revolve(layers, boundary, internal),
        *_optimal(layers, boundary, internal),
    )


def least_extra(layers: int, boundary: int, internal: int, budget: int) -> int:
    """Extra forwards of the optimum in this memory."""
    table = equal_layers(layers, boundary, internal).extra[layers]
    return int(table[min(budget - boundary, layers * internal)])


def _named(layers: int, boundary: int, internal: int) -> Iterator[Point]:
    sizes = (layers, boundary, internal)
    yield Point("named", "none", int(schedules.none_peak(*sizes)), 0)
    yield Point("named", "full", int(schedules.every_k_peak(layers, 1, boundary, internal)), layers)
    k = schedules.sqrt_length(layers)
    yield Point("named", "√L", int(schedules.every_k_peak(layers, k, boundary, internal)), layers)
    yield Point("named", "Chen", int(schedules.chen_peak(*sizes)), 2 * layers)


def _every_k(layers: int, boundary: int, internal: int) -> Iterator[Point]:
    for k in range(1, layers + 1):
        peak = schedules.every_k_peak(layers, k, boundary, internal)
        yield Point("every_k", f"every {k}", int(peak), layers)


def _revolve(layers: int, boundary: int, internal: int) -> Iterator[Point]:
    for c in range(1, layers + 1):
        peak = revolve.revolve_peak(layers, c, boundary, internal)
        yield Point("revolve", f"Revolve, c = {c}", int(peak), revolve.extra_forwards(layers, c))


def _optimal(layers: int, boundary: int, internal: int) -> Iterator[Point]:
    extra = equal_layers(layers, boundary, internal).extra[layers]
    for m in np.flatnonzero(np.diff(extra) < 0) + 1 if layers > 1 else [internal]:
        yield Point("optimal", f"optimal in {boundary + m}", int(boundary + m), int(extra[m]))
