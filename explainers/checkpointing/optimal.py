"""The best schedule of a chain whose layers differ, by dynamic programming (see `rotor`), beside the usual ones."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from pydantic import field_validator

from explainers.checkpointing import revolve, rotor, schedules
from explainers.checkpointing.chain import Action, Chain, Moment, play, with_lines
from explainers.contract.breaks import Break, break_field
from explainers.contract.experiment import experiment
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
            "Played, it needs more memory than there is."
        ),
        settings={"budget": 60},
    ),
)


def _sizes(default: tuple[int, ...], title: str, description: str, most: int) -> Any:
    what = f"one whole number from 1 to {most} a layer, separated by commas: {description}"
    return several(default, title, what, most=MOST_LAYERS)  # type: ignore[arg-type]


class OptimalParams(Params):
    times: tuple[int, ...] = _sizes((2, 3, 6, 4, 8, 5, 3, 1), "Times", "its forward time", LARGEST_TIME)
    boundaries: tuple[int, ...] = _sizes(
        (8, 8, 6, 6, 4, 4, 2, 2), "Boundary sizes", "memory of its input", LARGEST_SIZE
    )
    internals: tuple[int, ...] = _sizes(
        (24, 24, 18, 20, 12, 10, 6, 4),
        "Internal sizes",
        "memory of its internal activations, its own output included",
        LARGEST_SIZE,
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
                sentence = (
                    f"{name} has {len(sizes)} numbers for {L} layers; allowed: one a layer, as in times."
                )
                yield Adjustment(name, (*sizes, *(sizes[-1],) * L)[:L], sentence)
                return
        least = int(rotor.least_budget(self.chain))
        if self.budget < least:
            sentence = (
                f"budget = {self.budget} is below the least possible, {least}: the input and the largest inside of "
                f"a layer; allowed: {least} or more."
            )
            yield Adjustment("budget", least, sentence)


def parse_numbers(given: Any, most: int) -> tuple[int, ...]:
    """Whole numbers from 1 to `most`, one a layer. Raises ValueError, which says what is allowed and what is wrong."""
    parts = (given,) if isinstance(given, (int, str)) else tuple(given)
    if not 1 <= len(parts) <= MOST_LAYERS:
        raise ValueError(f"1 to {MOST_LAYERS} numbers separated by commas, and these are {len(parts)}")
    for part in parts:
        if not (str(part).isdecimal() and 1 <= int(part) <= most):
            raise ValueError(
                f"whole numbers from 1 to {most:,} separated by commas, and {str(part)[:20]!r} is not one"
            )
    return tuple(int(part) for part in parts)


@dataclass(frozen=True)
class Cost:
    """What a schedule costs on this chain. fits: within the budget."""

    label: str
    peak: int
    extra_time: int
    fits: bool


@dataclass(frozen=True, eq=False)
class OptimalResult(Checked):
    """The best schedule within the budget.

    extra_time: forward time beyond one run of every layer; forward_time: that one run. Backward times are the same in
    every schedule and left out. baselines: the usual schedules, which take no notice of the sizes. budgets,
    least_extra_time: the least extra time at every budget at which it changes.
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
    lines: list[int] = field(
        metadata={"shell": False}
    )  # on which the schedule's generator paused, one a moment


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
    cost = _cost("optimal", chain, moments, params.budget)
    planned = int(plan.time[1, chain.layers][m]) - int(sum(chain.times))
    baselines = tuple(
        _cost(label, chain, list(play(chain, one)), params.budget) for label, one in _usual(chain.layers)
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
            "Backward times are left out: every schedule has the same. So are the activation at hand and the gradient.",
        ),
        checks=tuple(_checks(params, cost, planned, baselines, moments)),
        schedule=[
            {"action": one.kind, "layer": one.layer, "again": one.again, "memory": int(one.memory)}
            for one in moments
        ],
        params=params,
        moments=moments,
        lines=lines,
    )


def _without_boundaries(chain: Chain) -> Chain:
    return Chain(chain.times, (0,) * chain.layers, chain.internals)


def _cost(label: str, chain: Chain, moments: list[Moment], budget: int) -> Cost:
    time = sum(chain.times[one.layer - 1] for one in moments if one.kind != "backward")
    peak = int(max(one.memory for one in moments))
    return Cost(label, peak, int(time - sum(chain.times)), peak <= budget)


def _usual(L: int) -> Iterator[tuple[str, Generator[Action, None, None]]]:
    """The schedules that know only how many layers there are."""
    yield "none", schedules.keep_all(L)
    for k in range(1, L + 1):
        yield f"every {k}", schedules.in_segments(1, L, schedules.every(k, 1, L))
    for c in range(1, L + 1):
        yield f"Revolve, c = {c}", revolve.revolve(1, L, c)


def _curve(table: rotor.UnequalLayers) -> tuple[np.ndarray, np.ndarray]:
    """The budgets at which the least extra time changes, and that time."""
    time = table.time[1, table.chain.layers]
    first = np.flatnonzero(np.diff(time, prepend=rotor.NEVER) < 0)
    return first + int(table.chain.boundaries[0]), time[first] - int(sum(table.chain.times))


def _checks(
    params: OptimalParams, cost: Cost, planned: int, baselines: tuple[Cost, ...], moments: list[Moment]
) -> Iterator[Check]:
    L, over = len(params.times), max(cost.peak - params.budget, 0)
    yield Check("peak memory stays within the budget", over, 0, f"{params.budget} units")
    error = abs(cost.extra_time - planned)
    yield Check("extra time is that of the plan", error, 0, "the dynamic program's table")
    backward = [one.layer for one in moments if one.kind == "backward"]
    wrong = int(backward != list(range(L, 0, -1)))
    yield Check("every layer goes backward once, the last one first", wrong, 0, f"{L}, {L - 1}, .. 1")
    better = max((cost.extra_time - one.extra_time for one in baselines if one.fits), default=0)
    yield Check("no usual schedule that fits is faster", max(better, 0), 0, "none, every k, Revolve, played")
