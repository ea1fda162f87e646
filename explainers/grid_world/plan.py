"""`grid_world.plan`: planning sweep by sweep, compared with the exact solution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from explainers.contract.breaks import Break, break_field
from explainers.contract.experiment import experiment, watch
from explainers.contract.messages import Message
from explainers.contract.params import Adjustment, choice, number, switch
from explainers.contract.result import Check, Checked
from explainers.grid_world import exact, planners
from explainers.grid_world.rollouts import returns_of
from explainers.grid_world.world import WALL
from explainers.grid_world.world_params import WorldParams

Algorithm = Literal["value_iteration", "policy_iteration", "truncated_policy_iteration", "mc_basic"]

LABELS: dict[str, str] = {
    "value_iteration": Message("value iteration"),
    "policy_iteration": Message("policy iteration"),
    "truncated_policy_iteration": Message("truncated policy iteration"),
    "mc_basic": "MC Basic",
}

BreakIt = Literal["none", "forget_discount", "stop_when_policy_unchanged"]

BREAKS = (
    Break(
        name="forget_discount",
        label="forget the discount",
        consequence=(
            "Without gamma the sweeps do not contract: in a world without end, values grow by the reward of the "
            "target at every sweep, and there is no v* to converge to."
        ),
        settings={"algorithm": "value_iteration"},
    ),
    Break(
        name="stop_when_policy_unchanged",
        label="stop when the policy stays the same",
        consequence=(
            "The greedy policy often stays the same long before the values are right, and may change again "
            "later. Only a change of the values below a tolerance bounds the error."
        ),
        settings={"algorithm": "value_iteration"},
    ),
)


class PlanParams(WorldParams):
    algorithm: Algorithm = choice("value_iteration", "Algorithm", "How the values are found", LABELS)
    sweeps: int = number(
        200, "Sweeps", "Most sweeps over all cells", least=1, most=5000, comfort=(1, 400), step=1
    )
    j: int = number(
        5,
        "Evaluation sweeps j",
        "Sweeps of evaluation between two improvements (truncated policy iteration)",
        least=1,
        most=1000,
        comfort=(1, 100),
        step=1,
    )
    tolerance: float = number(
        1e-6, "Tolerance", "Planning ends when no value changes by more", least=0, most=1, comfort=(0, 1)
    )
    in_place: bool = switch(
        False, "In place", "Whether a sweep at once uses the values that it has just found"
    )
    episode_length: int = number(
        30, "Episode length", "Steps of an episode (MC Basic)", least=1, most=1000, comfort=(1, 100), step=1
    )
    episodes: int = number(
        1,
        "Episodes",
        "Episodes from each cell and action (MC Basic)",
        least=1,
        most=100,
        comfort=(1, 20),
        step=1,
    )
    seed: int = number(
        0, "Seed", "Of the random draws (MC Basic in a slippery world)", least=0, most=10**6, step=1
    )
    break_it: BreakIt = break_field(BREAKS)

    def adjustments(self) -> Iterator[Adjustment]:
        yield from super().adjustments()
        if self.gamma == 1 and self.algorithm == "policy_iteration":
            sentence = Message(
                "algorithm = policy_iteration may meet a policy that never ends, whose values are not finite without "
                "a discount; allowed: the others, or gamma below 1."
            )
            yield Adjustment("algorithm", "value_iteration", sentence)
        if self.break_it != "none" and (self.algorithm != "value_iteration" or self.gamma == 1):
            sentence = Message(
                "break_it = {broken} is about value iteration with a discount; allowed: none here.",
                broken=self.break_it,
            )
            yield Adjustment("break_it", "none", sentence)


@dataclass(frozen=True, eq=False)
class PlanResult(Checked):
    """A plan, stage by stage.

    values: (rows, columns), NaN in walls. errors: the largest distance to v* of v_0, v_1, ..: after every sweep, in
    policy iteration after every evaluation. policy_optimal_at: k of the first pi_k = greedy(v_(k-1)) that takes only
    optimal actions, None if there is none. outer_loops: improvements of the policy. total_sweeps: of evaluation. gaps:
    (stages, 2) for policy iteration, truncated or not: how far v is from v_pi, which evaluation closes, and how far pi
    is from greedy, which improvement closes; (0, 2) for the other algorithms and without a discount.
    """

    values: np.ndarray
    errors: np.ndarray
    policy_optimal_at: int | None
    outer_loops: int
    total_sweeps: int
    gaps: np.ndarray
    notes: tuple[str, ...]
    checks: tuple[Check, ...]
    params: PlanParams = field(metadata={"shell": False})
    stages: tuple[planners.Stage, ...] = field(metadata={"shell": False})
    lines: tuple[int, ...] = field(metadata={"shell": False})
    best: exact.Optimal = field(metadata={"shell": False})


@experiment("grid_world.plan", breaks=BREAKS)
def plan(params: PlanParams) -> PlanResult:
    """Planning sweep by sweep, compared with v* and with the contraction that theory promises."""
    world = params.grid
    best = exact.optimal(world)
    watched, _ = watch(_planner(params))
    stages = tuple(stage for _, stage in watched)
    if params.break_it == "stop_when_policy_unchanged":
        stages = _until_policy_stays(stages)
    valued = [stage for stage in stages if stage.what in ("start", "sweep", "evaluated")]
    if params.algorithm == "mc_basic":
        valued = list(stages)
    acting = world.acting
    errors = np.array([np.abs(stage.values - best.values)[acting].max(initial=0.0) for stage in valued])
    optimal_at = next(
        (k for k, stage in enumerate(valued, 1) if best.best[acting, stage.chosen[acting]].all()), None
    )
    sweeps = sum(stage.what == "sweep" for stage in stages)
    improvements = sum(stage.what == "improved" for stage in stages)
    return PlanResult(
        values=np.where(world.cells == WALL, np.nan, stages[-1].values.reshape(world.cells.shape)),
        errors=errors,
        policy_optimal_at=optimal_at,
        outer_loops=improvements or sweeps,
        total_sweeps=sweeps,
        gaps=_gaps(params, stages),
        notes=tuple(_notes(params)),
        checks=tuple(_checks(params, stages, valued, errors, best)),
        params=params,
        stages=stages,
        lines=tuple(line for line, _ in watched)[: len(stages)],
        best=best,
    )


def _planner(params: PlanParams) -> planners.Plan:
    world = params.grid
    moves = replace(world.moves, gamma=1.0) if params.break_it == "forget_discount" else world.moves
    v0 = np.zeros(world.states)
    if params.algorithm == "value_iteration":
        return planners.value_iteration(moves.backup, v0, params.sweeps, params.tolerance, params.in_place)
    if params.algorithm == "truncated_policy_iteration":
        return planners.truncated_policy_iteration(
            moves.backup, v0, params.sweeps, params.tolerance, params.j, params.in_place
        )
    if params.algorithm == "mc_basic":
        rollout = returns_of(moves, params.episode_length, params.episodes, params.seed)
        return planners.mc_basic(rollout, world.states, len(moves.mix), params.sweeps)
    one_hot = np.eye(len(moves.mix))
    return planners.policy_iteration(
        moves.backup, v0, params.sweeps, lambda chosen: exact.value_of(moves, one_hot[chosen])
    )


def _until_policy_stays(stages: tuple[planners.Stage, ...]) -> tuple[planners.Stage, ...]:
    """The stages up to the first sweep that does not change the greedy policy."""
    for k in range(1, len(stages)):
        if stages[k].what == "sweep" and (stages[k].chosen == stages[k - 1].chosen).all():
            return stages[: k + 1]
    return stages


def _gaps(params: PlanParams, stages: tuple[planners.Stage, ...]) -> np.ndarray:
    """PlanResult.gaps: the zigzag of evaluation and improvement (Sutton and Barto, section 4.6)."""
    world = params.grid
    turns = params.algorithm in ("policy_iteration", "truncated_policy_iteration")
    if not turns or params.gamma == 1 or world.states > exact.MOST_STATES:
        return np.zeros((0, 2))
    moves, acting, states = world.moves, world.acting, np.arange(world.states)
    gaps, chosen, v_pi = [], None, np.zeros(0)
    for stage in stages:
        if chosen is None or (stage.chosen != chosen).any():
            chosen, v_pi = stage.chosen, exact.value_of(moves, np.eye(len(moves.mix))[stage.chosen])
        # |v - v_pi| and |max_a q(s, a) - q(s, pi(s))|, with q from a backup of v
        q = moves.backup(stage.values)
        better = q.max(axis=1) - q[states, chosen]
        gaps.append([np.abs(stage.values - v_pi)[acting].max(initial=0.0), better[acting].max(initial=0.0)])
    return np.array(gaps)


def _converged(params: PlanParams, stages: tuple[planners.Stage, ...]) -> bool:
    """Whether planning converged before its sweeps or rounds ran out."""
    if params.algorithm == "policy_iteration":
        return len(stages) > 1 and bool((stages[-1].chosen == stages[-2].chosen).all())
    return sum(stage.what == "sweep" for stage in stages) < params.sweeps


def _checks(
    params: PlanParams,
    stages: tuple[planners.Stage, ...],
    valued: list[planners.Stage],
    errors: np.ndarray,
    best: exact.Optimal,
) -> Iterator[Check]:
    gamma, rounding = params.gamma, exact.rounding(best.values)
    if params.algorithm == "value_iteration" and gamma < 1:
        # |v_k - v*| <= gamma^k |v_0 - v*|
        over = errors - gamma ** np.arange(len(errors)) * errors[0]
        yield Check(
            what="no error above gamma^k times the first",
            error=max(float(over.max()), 0.0),
            tolerance=rounding,
            reference="the contraction",
        )
    large = params.grid.states > exact.MOST_STATES
    error_of_best, reference = (
        (exact.PROVEN, Message("sweeps with a bound"))
        if large
        else (rounding, Message("policy iteration, exactly solved"))
    )
    if params.algorithm != "mc_basic" and gamma < 1 and _converged(params, stages):
        # |v - v*| <= gamma / (1 - gamma) |v_k - v_(k-1)|; a policy that improvement leaves unchanged has v*
        promised = 0.0 if params.algorithm == "policy_iteration" else gamma / (1 - gamma) * params.tolerance
        yield Check(
            what="the values are v*, as near as the tolerance promises",
            error=float(errors[-1]),
            tolerance=promised + error_of_best,
            reference=reference,
        )
    if params.algorithm == "mc_basic" and not params.slip:
        moves, last = params.grid.moves, valued[-2] if len(valued) > 1 else valued[-1]
        expected = exact.within(moves, np.eye(len(moves.mix))[last.chosen], params.episode_length)
        error = np.abs(expected.max(axis=1) - valued[-1].values).max()
        yield Check(
            what="the returns are those of the policy over that many steps",
            error=float(error),
            tolerance=rounding,
            reference="its finite-horizon Bellman equation",
        )
    q = params.grid.moves.backup(best.values)
    residual = np.abs(q.max(axis=1) - best.values)[params.grid.acting].max(initial=0.0)
    yield Check(
        what="v* solves the Bellman optimality equation",
        error=float(residual),
        tolerance=2 * error_of_best,
        reference="one look ahead",
    )


def _notes(params: PlanParams) -> Iterator[str]:
    if params.gamma == 1 and params.algorithm != "mc_basic":
        yield Message(
            "Without a discount nothing contracts sweep by sweep: the curve falls once episodes reach an end."
        )
    if params.algorithm == "mc_basic":
        yield Message(
            "An episode of L steps sees no reward beyond them: what lies farther away counts for nothing."
        )
