"""Peak memory against extra forwards: what every schedule of a chain of equal layers costs, by formula and table.

No schedule is played here; the tests compare each point with its schedule as played.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from explainers.checkpointing import revolve, schedules
from explainers.checkpointing.rotor import equal_layers
from explainers.contract.messages import Message

Family = Literal["named", "every_k", "revolve", "optimal"]


@dataclass(frozen=True)
class Point:
    """What a schedule costs. family: the curve to which it belongs; "named" schedules belong to none."""

    family: Family
    label: str
    peak_units: int
    extra_forwards: int


@functools.lru_cache(maxsize=64)
def front(layers: int, boundary: int, internal: int) -> tuple[Point, ...]:
    """All schedules: the named ones, every k, Revolve with every number of snapshots, the optimum at every budget."""
    return (
        *_named(layers, boundary, internal),
        *_every_k(layers, boundary, internal),
        *_revolve(layers, boundary, internal),
        *_optimal(layers, boundary, internal),
    )


def every_label(k: int) -> Message:
    return Message("every {k}", k=k)


def revolve_label(c: int) -> Message:
    return Message("Revolve, c = {c}", c=c)


def optimal_label(budget: int) -> Message:
    return Message("optimal in {budget}", budget=budget)


def least_extra(layers: int, boundary: int, internal: int, budget: int) -> int:
    """Extra forwards of the optimal schedule within this budget."""
    table = equal_layers(layers, boundary, internal).extra[layers]
    return int(table[min(budget - boundary, layers * internal)])


def _named(layers: int, boundary: int, internal: int) -> Iterator[Point]:
    sizes = (layers, boundary, internal)
    yield Point("named", Message("none"), int(schedules.none_peak(*sizes)), 0)
    yield Point("named", Message("full"), int(schedules.every_k_peak(layers, 1, boundary, internal)), layers)
    k = schedules.sqrt_length(layers)
    yield Point("named", "√L", int(schedules.every_k_peak(layers, k, boundary, internal)), layers)
    yield Point("named", "Chen", int(schedules.chen_peak(*sizes)), 2 * layers)


def _every_k(layers: int, boundary: int, internal: int) -> Iterator[Point]:
    for k in range(1, layers + 1):
        peak = schedules.every_k_peak(layers, k, boundary, internal)
        yield Point("every_k", every_label(k), int(peak), layers)


def _revolve(layers: int, boundary: int, internal: int) -> Iterator[Point]:
    for c in range(1, layers + 1):
        peak = revolve.revolve_peak(layers, c, boundary, internal)
        yield Point("revolve", revolve_label(c), int(peak), revolve.extra_forwards(layers, c))


def _optimal(layers: int, boundary: int, internal: int) -> Iterator[Point]:
    extra = equal_layers(layers, boundary, internal).extra[layers]
    for m in np.flatnonzero(np.diff(extra) < 0) + 1 if layers > 1 else [internal]:
        budget = int(boundary + m)
        yield Point("optimal", optimal_label(budget), budget, int(extra[m]))
