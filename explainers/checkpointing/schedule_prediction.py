"""What a schedule should cost: its peak and its extra forwards by formula, and what other schedules cost."""

from __future__ import annotations

import math
from dataclasses import dataclass

from explainers.checkpointing import revolve, schedules
from explainers.checkpointing.pareto import Point, front, least_extra, optimal_label
from explainers.checkpointing.schedule_params import ScheduleParams
from explainers.contract.messages import Message


@dataclass(frozen=True)
class Prediction:
    """What a schedule should cost, with the formulas behind the numbers. exact: otherwise the peak is only a bound."""

    peak_units: int
    peak_formula: str
    extra_forwards: int
    extra_formula: str
    exact: bool = True


def least_extra_in(params: ScheduleParams, budget: int) -> int:
    """Extra forwards of the optimal schedule within this budget, from a table with both sizes divided by their gcd."""
    unit = math.gcd(params.boundary, params.internal)
    return least_extra(params.layers, params.boundary // unit, params.internal // unit, budget // unit)


def front_of(params: ScheduleParams) -> tuple[Point, ...]:
    """What other schedules cost, found with both sizes divided by their gcd: every peak is a multiple of it."""
    unit = math.gcd(params.boundary, params.internal)
    points = front(params.layers, params.boundary // unit, params.internal // unit)
    return tuple(_in_units(point, unit) for point in points)


def _in_units(point: Point, unit: int) -> Point:
    peak = unit * point.peak_units
    label = optimal_label(peak) if point.family == "optimal" else point.label
    return Point(point.family, label, peak, point.extra_forwards)


def segment_length(params: ScheduleParams) -> int:
    """k of the strategies that cut the chain into equal segments."""
    return {"every_k": params.k, "sqrt": schedules.sqrt_length(params.layers), "full": 1}[params.strategy]


def predict(params: ScheduleParams) -> Prediction:
    """Peak and extra forwards by formula. Under forget_boundaries the formula has no boundaries."""
    L, I = params.layers, params.internal
    B = 0 if params.break_it == "forget_boundaries" else params.boundary
    if params.strategy == "none":
        peak = int(schedules.none_peak(L, B, I))
        return Prediction(peak, f"{B} + {L} × {I}", 0, Message("no layer runs forward twice"))
    if params.strategy == "revolve":
        c = params.snapshots
        r, extra = revolve.repetitions(L, c), revolve.extra_forwards(L, c)
        return Prediction(
            peak_units=int(revolve.revolve_peak(L, c, B, I)),
            peak_formula=f"{min(c, L)} × {B} + {I}",
            extra_forwards=extra,
            extra_formula=f"t({L}, {c}) = {r} × {L} − C({c + r}, {c + 1}) = {extra}",
        )
    if params.strategy == "optimal":
        return Prediction(
            peak_units=params.budget,
            peak_formula=Message("the budget"),
            extra_forwards=least_extra_in(params, params.budget),
            extra_formula=Message("the dynamic program's"),
            exact=False,
        )
    if params.strategy == "chen":
        k = schedules.chen_length(L)
        peak = int(schedules.chen_peak(L, B, I))
        return Prediction(peak, f"(⌈{L}/{k * k}⌉ + {k} − 1) × {B} + {k} × {I}", 2 * L, f"2 L = {2 * L}")
    if params.strategy == "custom":
        peak = int(schedules.custom_peak(L, params.starts, B, I))
        over_segments = Message(
            "max over segments s of s × {boundary} + layers × {internal}", boundary=B, internal=I
        )
        return Prediction(peak, over_segments, L, f"L = {L}")
    k = segment_length(params)
    peak = int(schedules.every_k_peak(L, k, B, I))
    return Prediction(peak, f"⌈{L}/{k}⌉ × {B} + {k} × {I}", L, f"L = {L}")
