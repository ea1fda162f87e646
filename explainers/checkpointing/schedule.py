"""One schedule of gradient checkpointing, played on a chain of equal layers, among all that it could have been.

The schedules stand in `schedules`, `revolve` and `rotor`, the executor in `chain`.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import field_validator

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
from explainers.checkpointing.pareto import Point, front, least_extra
from explainers.contract.breaks import Break, break_field
from explainers.contract.experiment import experiment
from explainers.contract.params import Adjustment, Params, choice, number, several
from explainers.contract.result import Check, Checked

MOST_LAYERS = 256

Strategy = Literal["none", "every_k", "sqrt", "full", "chen", "revolve", "optimal", "custom"]

BREAKS = (
    Break(
        name="forget_boundaries",
        label="forget the boundaries",
        consequence=(
            "A prediction that counts only the internal activations falls for ever as segments get shorter. "
            "Each segment also keeps its input, and of those there are the more the shorter the segments are."
        ),
        settings={"strategy": "every_k", "layers": 24, "k": 2},
    ),
    Break(
        name="never_free",
        label="free nothing after its use",
        consequence=(
            "What a layer's backward has used must be freed at once, as autograd does it. Left in memory, the "
            "recomputed activations pile up until there are as many as without checkpointing, and more."
        ),
        settings={"strategy": "every_k", "layers": 24, "k": 5},
    ),
)


class ScheduleParams(Params):
    layers: int = number(
        24,
        "Layers",
        "Length of the chain (L)",
        least=1,
        most=MOST_LAYERS,
        comfort=(4, 128),
        step=1,
        unit="layers",
    )
    strategy: Strategy = choice(
        "sqrt",
        "Strategy",
        "What is kept for the backward pass, and what is computed again",
        {
            "none": "none",
            "every_k": "every k",
            "sqrt": "√L",
            "full": "full",
            "chen": "Chen",
            "revolve": "Revolve",
            "optimal": "optimal",
            "custom": "yours",
        },
    )
    k: int = number(
        4, "k", "Layers of a segment", least=1, most=MOST_LAYERS, comfort=(1, 64), step=1, unit="layers"
    )
    snapshots: int = number(
        4,
        "Snapshots",
        "Boundaries that Revolve may keep at a time (c); the input counts as one",
        least=1,
        most=MOST_LAYERS,
        comfort=(1, 32),
        step=1,
    )
    budget: int = number(
        10,
        "Memory budget",
        "Memory that the optimal schedule may use",
        least=2,
        most=17_000,
        comfort=(2, 256),
        step=1,
        unit="units",
    )
    boundary: int = number(
        1,
        "Boundary",
        "Memory of one boundary activation, a layer's input kept as a checkpoint (B)",
        least=1,
        most=16,
        comfort=(1, 8),
        step=1,
        unit="units",
    )
    internal: int = number(
        1,
        "Inside of a layer",
        "Memory of one layer's internal activations, all that its backward needs, its output included (I)",
        least=1,
        most=64,
        comfort=(1, 34),
        step=1,
        unit="units",
    )
    kept: tuple[int, ...] = several(
        (1,),  # type: ignore[arg-type]
        "Layers kept",
        "numbers of the layers whose input is kept, separated by commas; the input of layer 1 is always kept",
        most=MOST_LAYERS,
    )
    break_it: Literal["none", "forget_boundaries", "never_free"] = break_field(BREAKS)

    @field_validator("kept", mode="before")
    @classmethod
    def _layer_numbers(cls, given: Any) -> Any:
        return tuple(sorted({1, *parse_kept(given)}))

    @property
    def starts(self) -> tuple[int, ...]:
        """The layers that start a segment in a custom schedule."""
        return tuple(sorted({1, *self.kept}))

    def adjustments(self) -> Iterator[Adjustment]:
        least = self.boundary + self.internal
        if self.strategy == "every_k" and self.k > self.layers:
            sentence = f"k = {self.k} is more than the chain has layers; allowed: 1 to {self.layers}."
            yield Adjustment("k", self.layers, sentence)
        if self.strategy == "optimal" and self.budget < least:
            sentence = (
                f"budget = {self.budget} is below the least possible, {least}: the input and the inside of one "
                f"layer; allowed: {least} or more."
            )
            yield Adjustment("budget", least, sentence)
        beyond = [layer for layer in self.kept if layer > self.layers]
        if self.strategy == "custom" and beyond:
            within = tuple(layer for layer in self.kept if layer <= self.layers)
            sentence = f"kept = {beyond[0]} is no layer of this chain; allowed: layers 1 to {self.layers}."
            yield Adjustment("kept", within, sentence)


def parse_kept(given: Any) -> tuple[int, ...]:
    """Layer numbers in order, each once. Raises ValueError, which says what is allowed and what is wrong."""
    parts = (given,) if isinstance(given, (int, str)) else tuple(given)
    for part in parts:
        if not (str(part).isdecimal() and 1 <= int(part) <= MOST_LAYERS):
            shown = str(part)[:20]
            raise ValueError(
                f"layer numbers from 1 to {MOST_LAYERS} separated by commas, and {shown!r} is not one"
            )
    return tuple(sorted({int(part) for part in parts}))


# ----------------------------------------------------------------------------------------- what is predicted


@dataclass(frozen=True)
class Prediction:
    """What a schedule should cost. exact: the peak is a formula's; otherwise no more than a bound. Texts show how."""

    peak_units: int
    peak_formula: str
    extra_forwards: int
    extra_formula: str
    exact: bool = True


def actions_of(params: ScheduleParams) -> Generator[Action, None, None]:
    """The schedule that the settings ask for."""
    L = params.layers
    if params.strategy == "none":
        return schedules.keep_all(L)
    if params.strategy == "revolve":
        return revolve.revolve(1, L, params.snapshots)
    if params.strategy == "optimal":
        # forget_boundaries: the plan is made as if they cost nothing
        B = 0 if params.break_it == "forget_boundaries" else params.boundary
        unit = math.gcd(B, params.internal)  # nothing changes at a memory between two multiples of it
        plan = rotor.equal_layers(L, B // unit, params.internal // unit)
        return rotor.optimal(plan, 1, L, (params.budget - B) // unit)
    if params.strategy == "chen":
        return schedules.in_segments(1, L, *schedules.chen_levels(L))
    if params.strategy == "custom":
        return schedules.in_segments(1, L, params.starts)
    return schedules.in_segments(1, L, schedules.every(segment_length(params), 1, L))


def least_extra_in(params: ScheduleParams, budget: int) -> int:
    """Extra forwards of the optimum in this memory, from a table in multiples of what divides both sizes."""
    unit = math.gcd(params.boundary, params.internal)
    return least_extra(params.layers, params.boundary // unit, params.internal // unit, budget // unit)


def front_of(params: ScheduleParams) -> tuple[Point, ...]:
    """What other schedules cost, found with both sizes divided by what divides them: every peak is a multiple."""
    unit = math.gcd(params.boundary, params.internal)
    points = front(params.layers, params.boundary // unit, params.internal // unit)
    return tuple(_in_units(point, unit) for point in points)


def _in_units(point: Point, unit: int) -> Point:
    peak = unit * point.peak_units
    label = f"optimal in {peak}" if point.family == "optimal" else point.label
    return Point(point.family, label, peak, point.extra_forwards)


def segment_length(params: ScheduleParams) -> int:
    """k of the strategies that cut the chain into equal segments."""
    return {"every_k": params.k, "sqrt": schedules.sqrt_length(params.layers), "full": 1}[params.strategy]


def predict(params: ScheduleParams) -> Prediction:
    """Peak and extra forwards by formula. Under forget_boundaries a boundary costs nothing in it."""
    L, I = params.layers, params.internal
    B = 0 if params.break_it == "forget_boundaries" else params.boundary
    if params.strategy == "none":
        return Prediction(
            int(schedules.none_peak(L, B, I)), f"{B} + {L} × {I}", 0, "no layer runs forward twice"
        )
    if params.strategy == "revolve":
        c = params.snapshots
        r, saved = revolve.repetitions(L, c), revolve.extra_forwards(L, c)
        return Prediction(
            int(revolve.revolve_peak(L, c, B, I)),
            f"{min(c, L)} × {B} + {I}",
            saved,
            f"t({L}, {c}) = {r} × {L} − C({c + r}, {c + 1}) = {saved}",
        )
    if params.strategy == "optimal":
        extra = least_extra_in(params, params.budget)
        return Prediction(params.budget, "the budget", extra, "the dynamic program's", exact=False)
    if params.strategy == "chen":
        k = schedules.chen_length(L)
        shown = f"(⌈{L}/{k * k}⌉ + {k} − 1) × {B} + {k} × {I}"
        return Prediction(int(schedules.chen_peak(L, B, I)), shown, 2 * L, f"2 L = {2 * L}")
    if params.strategy == "custom":
        peak = int(schedules.custom_peak(L, params.starts, B, I))
        return Prediction(peak, f"max over segments s of s × {B} + layers × {I}", L, f"L = {L}")
    k = segment_length(params)
    peak = int(schedules.every_k_peak(L, k, B, I))
    return Prediction(peak, f"⌈{L}/{k}⌉ × {B} + {k} × {I}", L, f"L = {L}")


# -------------------------------------------------------------------------------------------- the experiment


@dataclass(frozen=True, eq=False)
class ScheduleResult(Checked):
    """A schedule as it was played.

    forward_runs counts every forward, taping included; extra_forwards those beyond the first of each layer.
    kept: the layers whose input is a kept boundary when the forward pass ends; kept_internals: those whose internal
    activations are. runs: of each layer. steps: one a schedule's action, with the activations of each kind then in
    memory and the memory in units. least_budget: below it nothing fits. front: what other schedules cost.
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
    lines: list[int] = field(
        metadata={"shell": False}
    )  # on which the schedule's generator paused, one a moment


@experiment("checkpointing.schedule", breaks=BREAKS)
def schedule(params: ScheduleParams) -> ScheduleResult:
    """A checkpointing schedule, played on a chain: what is kept, what is recomputed, and the peak of memory."""
    L, B, I = params.layers, params.boundary, params.internal
    budget = params.budget if params.strategy == "optimal" and params.break_it == "none" else math.inf
    lines: list[int] = []
    actions = with_lines(actions_of(params), lines)
    frees = params.break_it != "never_free"
    moments = list(play(Chain.uniform(L, B, I), actions, budget, frees=frees))
    forwards = [moment.layer for moment in moments if moment.kind != "backward"]
    runs = tuple(forwards.count(layer) for layer in range(1, L + 1))
    kept = at_end_of_forward(moments, L)
    peak, extra, prediction = (
        int(max(moment.memory for moment in moments)),
        len(forwards) - L,
        predict(params),
    )
    points = front_of(params)
    chosen = Point("named", label_of(params), peak, extra)
    return ScheduleResult(
        peak_units=peak,
        predicted_peak_units=prediction.peak_units,
        peak_formula=f"{prediction.peak_formula} = {prediction.peak_units}",
        forward_runs=len(forwards),
        extra_forwards=extra,
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


def label_of(params: ScheduleParams) -> str:
    """What the screen calls the schedule."""
    return {
        "none": "none",
        "every_k": f"every {params.k}",
        "sqrt": f"√L: every {schedules.sqrt_length(params.layers)}",
        "full": "full",
        "chen": "Chen",
        "revolve": f"Revolve, c = {params.snapshots}",
        "optimal": f"optimal in {params.budget}",
        "custom": f"yours: {len(params.starts)} kept",
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
        yield Check("peak memory stays within the budget", max(over, 0), 0, f"{params.budget} units")
    reference = {
        "revolve": "Griewank and Walther 2000, t(l, c) = r l − C(c + r, c + 1)",
        "optimal": "the dynamic program's table",
    }.get(params.strategy, prediction.extra_formula)
    error = abs(chosen.extra_forwards - prediction.extra_forwards)
    yield Check("extra forwards are those of the formula", error, 0, reference)
    backward = [moment.layer for moment in moments if moment.kind == "backward"]
    wrong = abs(len(backward) - L) + sum(
        one != due for one, due in zip(backward, range(L, 0, -1), strict=False)
    )
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


def _notes(params: ScheduleParams) -> Iterator[str]:
    L = params.layers
    yield (
        "Counted are boundaries and internal activations. Left out, because every schedule has exactly one of "
        "each: the activation at hand, which the last forward has just handed on, and the gradient."
    )
    if params.strategy in ("every_k", "sqrt", "full", "chen", "custom"):
        yield (
            "Whatever was dropped is recomputed when its backward comes, the last segment too, as "
            "torch.utils.checkpoint does. Only torch's checkpoint_sequential keeps the last segment's inside."
        )
    if params.strategy in ("every_k", "sqrt") and L % segment_length(params):
        k = segment_length(params)
        yield f"{k} does not divide {L}: the first segment is the short one, with {L % k} of the layers."
    if params.strategy == "sqrt":
        yield (
            f"√{L} = {math.sqrt(L):.2f}, rounded to {segment_length(params)}. It is best where the inside of a layer "
            "takes as much as a boundary; in a transformer it takes many times as much."
        )
    if params.strategy == "full" and params.internal <= params.boundary:
        yield (
            "Where the inside of a layer takes no more than its boundary, to keep every boundary saves nothing. In a "
            "transformer it takes 16 times as much or more."
        )
    if params.strategy == "chen":
        k = schedules.chen_length(L)
        yield (
            f"One level of recursion: outer segments of {k * k} layers, each recomputed in inner segments of {k}. With "
            "unit costs the peak is about 3 ∛L, for two extra forwards a layer."
        )
    if params.strategy == "revolve":
        yield "Revolve keeps the inside of one layer at a time. Where more fit, the optimal schedule is better."
        if params.snapshots > L:
            yield f"More snapshots than layers are of no use: {L} are kept."
    if params.strategy == "optimal":
        yield (
            "Found by dynamic programming (Beaumont et al. 2019): boundaries where memory is short, whole insides "
            f"where it is not. {rotor.PERSISTENT}"
        )
