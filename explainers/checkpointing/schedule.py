"""One schedule of gradient checkpointing, played on a chain of equal layers, and what other schedules cost.

The schedules are in `schedules`, `revolve` and `rotor`, the executor in `chain`.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

from explainers.checkpointing import revolve, rotor, schedules
from explainers.checkpointing.chain import (
    Action,
    Chain,
    Moment,
    at_end_of_forward,
    numbers_of,
    play,
    with_lines,
)
from explainers.checkpointing.pareto import Point, every_label, optimal_label, revolve_label
from explainers.checkpointing.schedule_params import BREAKS, ScheduleParams
from explainers.checkpointing.schedule_prediction import (
    Prediction,
    front_of,
    least_extra_in,
    predict,
    segment_length,
)
from explainers.contract.experiment import experiment
from explainers.contract.messages import Message, joined
from explainers.contract.result import Check, Checked


def actions_of(params: ScheduleParams) -> Generator[Action, None, None]:
    """The actions of the chosen schedule."""
    L = params.layers
    if params.strategy == "none":
        return schedules.keep_all(L)
    if params.strategy == "revolve":
        return revolve.revolve(1, L, params.snapshots)
    if params.strategy == "optimal":
        # under forget_boundaries the plan assumes that boundaries cost nothing
        B = 0 if params.break_it == "forget_boundaries" else params.boundary
        unit = math.gcd(B, params.internal)  # all sizes are multiples of it, so the table needs no others
        plan = rotor.equal_layers(L, B // unit, params.internal // unit)
        return rotor.optimal(plan, 1, L, (params.budget - B) // unit)
    if params.strategy == "chen":
        return schedules.in_segments(1, L, *schedules.chen_levels(L))
    if params.strategy == "custom":
        return schedules.in_segments(1, L, params.starts)
    return schedules.in_segments(1, L, schedules.every(segment_length(params), 1, L))


@dataclass(frozen=True, eq=False)
class ScheduleResult(Checked):
    """A schedule as played.

    forward_runs: all forward runs, taping included; extra_forwards: those beyond the first of each layer. runs: forward
    runs of each layer. kept: the layers whose input is a kept boundary when the forward pass ends; kept_internals:
    those whose internal activations are kept then. steps: one per action, with the number of boundaries and of layers'
    internal activations in memory after it, and the memory in units. least_budget: no schedule fits in less.
    front: what other schedules cost. lines: for each moment, the source line on which the generator paused.
    """

    peak_units: int
    predicted_peak_units: int
    peak_formula: str
    forward_runs: int
    extra_forwards: int
    extra_formula: str
    backward_runs: int
    kept: tuple[int, ...]
    kept_internals: tuple[int, ...]
    runs: tuple[int, ...]
    least_budget: int
    label: str
    front: tuple[Point, ...]
    notes: tuple[str, ...]
    checks: tuple[Check, ...]
    steps: list[dict[str, Any]]
    params: ScheduleParams = field(metadata={"shell": False})
    prediction: Prediction = field(metadata={"shell": False})
    moments: list[Moment] = field(metadata={"shell": False})
    lines: list[int] = field(metadata={"shell": False})


@experiment("checkpointing.schedule", breaks=BREAKS)
def schedule(params: ScheduleParams) -> ScheduleResult:
    """A checkpointing schedule, played on a chain: what is kept, what is recomputed, and peak memory."""
    L, B, I = params.layers, params.boundary, params.internal
    budget = params.budget if params.strategy == "optimal" and params.break_it == "none" else math.inf
    lines: list[int] = []
    actions = with_lines(actions_of(params), lines)
    frees = params.break_it != "never_free"
    moments = list(play(Chain.uniform(L, B, I), actions, budget, frees=frees))
    forwards = [moment.layer for moment in moments if moment.kind != "backward"]
    runs = tuple(forwards.count(layer) for layer in range(1, L + 1))
    kept = at_end_of_forward(moments, L)
    peak = int(max(moment.memory for moment in moments))
    prediction, points = predict(params), front_of(params)
    chosen = Point("named", label_of(params), peak, len(forwards) - L)
    return ScheduleResult(
        peak_units=peak,
        predicted_peak_units=prediction.peak_units,
        peak_formula=Message(
            "{formula} = {peak}", formula=prediction.peak_formula, peak=prediction.peak_units
        ),
        forward_runs=len(forwards),
        extra_forwards=chosen.extra_forwards,
        extra_formula=prediction.extra_formula,
        backward_runs=len(moments) - len(forwards),
        kept=numbers_of(kept.boundaries),
        kept_internals=numbers_of(kept.internals),
        runs=runs,
        least_budget=B + I,
        label=chosen.label,
        front=points,
        notes=tuple(_notes(params)),
        checks=tuple(_checks(params, prediction, chosen, points, moments)),
        steps=[_as_step(moment) for moment in moments],
        params=params,
        prediction=prediction,
        moments=moments,
        lines=lines,
    )


def _as_step(moment: Moment) -> dict[str, Any]:
    return {
        "action": moment.kind,
        "layer": moment.layer,
        "again": moment.again,
        "boundaries": moment.boundary_count,
        "internals": moment.internal_count,
        "memory": int(moment.memory),
    }


def label_of(params: ScheduleParams) -> Message:
    """The schedule's name on screen."""
    return {
        "none": Message("none"),
        "every_k": every_label(params.k),
        "sqrt": Message("√L: every {k}", k=schedules.sqrt_length(params.layers)),
        "full": Message("full"),
        "chen": Message("Chen"),
        "revolve": revolve_label(params.snapshots),
        "optimal": optimal_label(params.budget),
        "custom": Message("yours: {kept} kept", kept=len(params.starts)),
    }[params.strategy]


def _checks(
    params: ScheduleParams,
    prediction: Prediction,
    chosen: Point,
    points: tuple[Point, ...],
    moments: list[Moment],
) -> Iterator[Check]:
    L, over = params.layers, chosen.peak_units - prediction.peak_units
    if prediction.exact:
        yield Check("peak memory is that of the formula", abs(over), 0, prediction.peak_formula)
    else:
        yield Check("peak memory stays within the budget", max(over, 0), 0, _units(params.budget))
    reference = {
        "revolve": Message("Griewank and Walther 2000, t(l, c) = r l − C(c + r, c + 1)"),
        "optimal": Message("the dynamic program's table"),
    }.get(params.strategy, prediction.extra_formula)
    error = abs(chosen.extra_forwards - prediction.extra_forwards)
    yield Check("extra forwards are those of the formula", error, 0, reference)
    backward = [moment.layer for moment in moments if moment.kind == "backward"]
    due = range(L, 0, -1)
    wrong = abs(len(backward) - L) + sum(layer != l for layer, l in zip(backward, due, strict=False))
    yield Check("every layer goes backward once, the last one first", wrong, 0, f"{L}, {L - 1}, .. 1")
    better = max(
        least_extra_in(params, point.peak_units) - point.extra_forwards for point in (*points, chosen)
    )
    yield Check(
        "no schedule shown here beats the optimum in the same memory",
        max(better, 0),
        0,
        "Beaumont et al. 2019, by dynamic programming",
    )


def _units(memory: int) -> Message:
    return Message("{memory} units", memory=memory)


def _notes(params: ScheduleParams) -> Iterator[Message]:
    """What is counted, and what a reader should know of the chosen strategy."""
    yield Message(
        "Counted are boundaries and internal activations. Left out, because every schedule has exactly one of "
        "each: the current activation, which is the output of the last forward, and the gradient."
    )
    if params.strategy in ("every_k", "sqrt", "full", "chen", "custom"):
        yield from _notes_on_segments(params)
    if params.strategy == "revolve":
        yield Message(
            "Revolve keeps the inside of one layer at a time. Where more fit, the optimal schedule is better."
        )
        if params.snapshots > params.layers:
            yield Message("More snapshots than layers do not help: {kept} are kept.", kept=params.layers)
    if params.strategy == "optimal":
        found = Message(
            "Found by dynamic programming (Beaumont et al. 2019): boundaries where memory is short, whole insides "
            "where it is not."
        )
        yield joined([found, rotor.PERSISTENT], " ")


def _notes_on_segments(params: ScheduleParams) -> Iterator[Message]:
    L = params.layers
    yield Message(
        "Whatever was dropped is recomputed when its backward comes, the last segment too, as "
        "torch.utils.checkpoint does. Only torch's checkpoint_sequential keeps the last segment's inside."
    )
    if params.strategy in ("every_k", "sqrt") and L % segment_length(params):
        k = segment_length(params)
        yield Message(
            "{k} does not divide {layers}: the first segment is the short one, with {rest} of the layers.",
            k=k,
            layers=L,
            rest=L % k,
        )
    if params.strategy == "sqrt":
        yield Message(
            "√{layers} = {root:.2f}, rounded to {k}. It is best where the inside of a layer takes as much as a "
            "boundary; in a transformer it takes many times as much.",
            layers=L,
            root=math.sqrt(L),
            k=segment_length(params),
        )
    if params.strategy == "full" and params.internal <= params.boundary:
        yield Message(
            "Where the inside of a layer takes no more than its boundary, keeping every boundary saves nothing. In a "
            "transformer it takes at least 16 times as much."
        )
    if params.strategy == "chen":
        k = schedules.chen_length(L)
        yield Message(
            "One level of recursion: outer segments of {outer} layers, each recomputed in inner segments of {inner}. "
            "With unit costs the peak is about 3 ∛L, for two extra forwards per layer.",
            outer=k * k,
            inner=k,
        )
