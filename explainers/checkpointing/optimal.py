"""The best schedule of a chain whose layers differ, by dynamic programming (see `rotor`), and the usual ones."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import field_validator

from explainers.checkpointing import revolve, rotor, schedules
from explainers.checkpointing.chain import Action, Chain, Moment, play, with_lines
from explainers.checkpointing.pareto import Family, every_label, revolve_label
from explainers.contract.breaks import Break, break_field
from explainers.contract.experiment import experiment
from explainers.contract.messages import Message
from explainers.contract.params import Adjustment, Params, number, several
from explainers.contract.result import Check, Checked

MOST_LAYERS = 32
LARGEST_TIME, LARGEST_SIZE = 1_000, 256

BREAKS = (
    Break(
        name="forget_boundaries",
        label="forget the boundaries",
        consequence=(
            "The plan counts only the internal activations, so it keeps boundaries as if they cost nothing. "
            "Played, it needs more memory than the budget."
        ),
        settings={"budget": 60},
    ),
)


def _one_per_layer(default: tuple[int, ...], *, title: str, what: Message, most: int) -> Any:
    """A field with one number for each layer. what: what the number is."""
    description = Message(
        "one whole number from 1 to {most} per layer, separated by commas: {what}", most=most, what=what
    )
    return several(default, title, description, most=MOST_LAYERS)  # type: ignore[arg-type]


class OptimalParams(Params):
    times: tuple[int, ...] = _one_per_layer(
        (2, 3, 6, 4, 8, 5, 3, 1), title="Times", what=Message("its forward time"), most=LARGEST_TIME
    )
    boundaries: tuple[int, ...] = _one_per_layer(
        (8, 8, 6, 6, 4, 4, 2, 2),
        title="Boundary sizes",
        what=Message("memory of its input"),
        most=LARGEST_SIZE,
    )
    internals: tuple[int, ...] = _one_per_layer(
        (24, 24, 18, 20, 12, 10, 6, 4),
        title="Internal sizes",
        what=Message("memory of its internal activations, its own output included"),
        most=LARGEST_SIZE,
    )
    budget: int = number(
        60,
        "Memory budget",
        "Memory that the schedule may use",
        least=2,
        most=(MOST_LAYERS + 1) * LARGEST_SIZE,
        comfort=(24, 160),
        step=1,
        unit="units",
    )
    break_it: Literal["none", "forget_boundaries"] = break_field(BREAKS)

    @field_validator("times", mode="before")
    @classmethod
    def _whole_times(cls, given: Any) -> Any:
        return parse_numbers(given, LARGEST_TIME)

    @field_validator("boundaries", "internals", mode="before")
    @classmethod
    def _whole_sizes(cls, given: Any) -> Any:
        return parse_numbers(given, LARGEST_SIZE)

    @property
    def chain(self) -> Chain:
        return Chain(self.times, self.boundaries, self.internals)

    def adjustments(self) -> Iterator[Adjustment]:
        L = len(self.times)
        for name in ("boundaries", "internals"):
            sizes = getattr(self, name)
            if len(sizes) != L:
                sentence = Message(
                    "{field} has {numbers} numbers for {layers} layers; allowed: one per layer, as in times.",
                    field=name,
                    numbers=len(sizes),
                    layers=L,
                )
                yield Adjustment(name, (*sizes, *(sizes[-1],) * L)[:L], sentence)
                return
        least = int(rotor.least_budget(self.chain))
        if self.budget < least:
            sentence = Message(
                "budget = {budget} is below the least possible, {least}: the input and the largest inside of a layer; "
                "allowed: {least} or more.",
                budget=self.budget,
                least=least,
            )
            yield Adjustment("budget", least, sentence)


def parse_numbers(given: Any, most: int) -> tuple[int, ...]:
    """Whole numbers from 1 to `most`, one per layer. Raises ValueError with what is allowed and what was given."""
    parts = (given,) if isinstance(given, (int, str)) else tuple(given)
    if not 1 <= len(parts) <= MOST_LAYERS:
        raise ValueError(
            Message(
                "1 to {most} numbers separated by commas; these are {numbers}",
                most=MOST_LAYERS,
                numbers=len(parts),
            )
        )
    for part in parts:
        if not (str(part).isdecimal() and 1 <= int(part) <= most):
            raise ValueError(
                Message(
                    "whole numbers from 1 to {most:,} separated by commas; {given} is not one",
                    most=most,
                    given=repr(str(part)[:20]),
                )
            )
    return tuple(int(part) for part in parts)


@dataclass(frozen=True)
class Cost:
    """What a schedule costs on this chain. fits: within the budget. family: the curve on which it is drawn."""

    label: str
    peak: int
    extra_time: int
    fits: bool
    family: Family = field(metadata={"shell": False})


@dataclass(frozen=True, eq=False)
class OptimalResult(Checked):
    """The best schedule within the budget.

    forward_time: of one forward run of every layer; extra_time: beyond that. Backward times are the same in every
    schedule and left out. baselines: the usual schedules, which ignore the sizes. budgets, least_extra_time: the least
    extra time at every budget at which it changes. lines: for each moment, the source line on which the schedule's
    generator paused.
    """

    extra_time: int
    forward_time: int
    peak: int
    least_budget: int
    baselines: tuple[Cost, ...]
    budgets: np.ndarray
    least_extra_time: np.ndarray
    notes: tuple[str, ...]
    checks: tuple[Check, ...]
    schedule: list[dict[str, Any]]
    params: OptimalParams = field(metadata={"shell": False})
    moments: list[Moment] = field(metadata={"shell": False})
    lines: list[int] = field(metadata={"shell": False})


@experiment("checkpointing.optimal", breaks=BREAKS)
def optimal(params: OptimalParams) -> OptimalResult:
    """The fastest checkpointing of a chain of unequal layers within a memory budget, by dynamic programming."""
    chain, broken = params.chain, params.break_it == "forget_boundaries"
    keeps_all = int(chain.boundaries[0] + sum(chain.internals))
    table = rotor.unequal_layers(chain, max(params.budget, keeps_all) - int(chain.boundaries[0]))
    plan = rotor.unequal_layers(_without_boundaries(chain), params.budget) if broken else table
    m = params.budget - int(plan.chain.boundaries[0])

    lines: list[int] = []
    actions = with_lines(rotor.optimal(plan, 1, chain.layers, m), lines)
    moments = list(play(chain, actions, math.inf if broken else params.budget))
    cost = _cost(_Named(Message("optimal"), "optimal"), chain, moments, params.budget)
    planned = int(plan.time[1, chain.layers][m]) - int(sum(chain.times))
    baselines = tuple(
        _cost(named, chain, list(play(chain, usual)), params.budget) for named, usual in _usual(chain.layers)
    )
    budgets, least_extra_time = _curve(table)
    return OptimalResult(
        extra_time=cost.extra_time,
        forward_time=int(sum(chain.times)),
        peak=cost.peak,
        least_budget=int(rotor.least_budget(chain)),
        baselines=baselines,
        budgets=budgets,
        least_extra_time=least_extra_time,
        notes=(
            rotor.PERSISTENT,
            "Backward times are left out: every schedule has the same. So are the current activation and the gradient.",
        ),
        checks=tuple(_checks(params, cost, planned, baselines, moments)),
        schedule=[
            {
                "action": moment.kind,
                "layer": moment.layer,
                "again": moment.again,
                "memory": int(moment.memory),
            }
            for moment in moments
        ],
        params=params,
        moments=moments,
        lines=lines,
    )


def _without_boundaries(chain: Chain) -> Chain:
    return Chain(chain.times, (0,) * chain.layers, chain.internals)


class _Named(NamedTuple):
    """A schedule's label and the curve on which it is drawn."""

    label: Message
    family: Family


def _cost(named: _Named, chain: Chain, moments: list[Moment], budget: int) -> Cost:
    time = sum(chain.times[moment.layer - 1] for moment in moments if moment.kind != "backward")
    peak = int(max(moment.memory for moment in moments))
    return Cost(
        label=named.label,
        peak=peak,
        extra_time=int(time - sum(chain.times)),
        fits=peak <= budget,
        family=named.family,
    )


def _usual(L: int) -> Iterator[tuple[_Named, Generator[Action, None, None]]]:
    """The schedules that depend only on the number of layers."""
    yield _Named(Message("none"), "named"), schedules.keep_all(L)
    for k in range(1, L + 1):
        actions = schedules.in_segments(1, L, schedules.every(k, 1, L))
        yield _Named(every_label(k), "every_k"), actions
    for c in range(1, L + 1):
        yield _Named(revolve_label(c), "revolve"), revolve.revolve(1, L, c)


def _curve(table: rotor.UnequalLayers) -> tuple[np.ndarray, np.ndarray]:
    """The budgets at which the least extra time changes, and the least extra time there."""
    time = table.time[1, table.chain.layers]
    first = np.flatnonzero(np.diff(time, prepend=rotor.NEVER) < 0)
    return first + int(table.chain.boundaries[0]), time[first] - int(sum(table.chain.times))


def _checks(
    params: OptimalParams, cost: Cost, planned: int, baselines: tuple[Cost, ...], moments: list[Moment]
) -> Iterator[Check]:
    L, over = len(params.times), max(cost.peak - params.budget, 0)
    yield Check(
        "peak memory stays within the budget", over, 0, Message("{budget} units", budget=params.budget)
    )
    error = abs(cost.extra_time - planned)
    yield Check("extra time is that of the plan", error, 0, "the dynamic program's table")
    backward = [moment.layer for moment in moments if moment.kind == "backward"]
    wrong = int(backward != list(range(L, 0, -1)))
    yield Check("every layer goes backward once, the last one first", wrong, 0, f"{L}, {L - 1}, .. 1")
    better = max((cost.extra_time - usual.extra_time for usual in baselines if usual.fits), default=0)
    yield Check("no usual schedule that fits is faster", max(better, 0), 0, "none, every k, Revolve, played")
