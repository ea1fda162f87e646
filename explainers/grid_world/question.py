"""What a reader of the grid world is offered: the settings that tell, what changed, a question."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from explainers.grid_world.costs import CostsParams
from explainers.grid_world.learn_params import LABELS, OneAgentParams
from explainers.grid_world.learning import advance, at_the_start, phase_of
from explainers.grid_world.live_params import LiveParams
from explainers.grid_world.plan import PlanParams

OWN_FIELD: dict[str, tuple[str, ...]] = {
    "n_step_sarsa": ("n",),
    "sarsa_lambda": ("lambda",),
    "dyna_q": ("planning_steps",),
    "td0": ("n", "policy"),
}
FURTHER: dict[str, tuple[str, ...]] = {
    "q_learning": ("behaviour",),
    "mc_epsilon_greedy": ("first_visit",),
    "mc_exploring_starts": ("first_visit",),
}
OF_PLAN: dict[str, tuple[str, ...]] = {
    "value_iteration": ("sweeps",),
    "policy_iteration": (),
    "truncated_policy_iteration": ("j", "sweeps"),
    "mc_basic": ("episode_length", "episodes"),
}
SCHEDULES = ("alpha_schedule", "epsilon_schedule")
PATIENCE = 3000  # transitions in which a first reward must come, for the question to be asked
ANSWERS = ("none", "one", "two to five", "more")


def telling_fields(params: OneAgentParams) -> tuple[str, ...]:
    """How it explores, where it does, and the fields of the algorithm alone."""
    explores = () if params.algorithm in ("td0", "mc_exploring_starts") else ("epsilon",)
    return (*explores, *OWN_FIELD.get(params.algorithm, ()))


def further_fields(params: OneAgentParams) -> tuple[str, ...]:
    """Those that are set less often."""
    return (*SCHEDULES, *FURTHER.get(params.algorithm, ()))


def planning_fields(params: PlanParams) -> tuple[str, ...]:
    """The fields of a plan that tell."""
    return ("preset", "algorithm", *OF_PLAN[params.algorithm], "gamma", "r_forbidden")


def costs_fields(params: CostsParams) -> tuple[str, ...]:
    """The fields of a study that tell."""
    return ("study", "preset", *(("longest",) if params.study == "length" else ()), "gamma", "r_forbidden")


def told(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What is compared when a setting of a run changes."""
    return {
        "distance to the truth, at the end of what is computed": f"{facts['distance']:.3g}",
        "episodes": facts["episodes"],
    }


@lru_cache(maxsize=256)
def asked(params: LiveParams) -> dict[str, Any] | None:
    """How many estimates become positive by the first positive reward; None where none comes soon, or from hope."""
    changed = [first for first, _ in params.phases[1:]]
    until = min([PATIENCE, *changed])
    if params.q0 > 0 or params.break_it != "none" or until == 0:
        return None
    chunk, _ = advance((phase_of(params),), at_the_start(params), until)
    met = np.flatnonzero(chunk.reward > 0)
    if not len(met):
        return None
    t = int(met[0])
    new = slice(chunk.starts[t], chunk.starts[t + 1])
    positive = len(set(chunk.positions[new][chunk.values[new] > 0].tolist()))
    row, column = divmod(int(chunk.state[t]), params.grid.columns)
    return {
        "label": LABELS[params.algorithm],
        "estimates": chunk.before.memory.q.size,
        "transition": t + 1,
        "where": f"row {row + 1}, column {column + 1}",
        "positive": positive,
        "answers": ANSWERS,
        "right": ANSWERS[0 if positive == 0 else 1 if positive == 1 else 2 if positive <= 5 else 3],
    }
