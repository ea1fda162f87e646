"""`grid_world.costs`: the cost of each value of one setting: epsilon, the episode length, or j.

Sources: Zhao 2025, sections 4.3 (j), 5.2 (episode length), 5.4 (epsilon); Sutton and Barto 2018, section 4.6.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np

from explainers.contract.breaks import Break, break_field
from explainers.contract.experiment import experiment
from explainers.contract.messages import Message
from explainers.contract.params import Adjustment, choice, number
from explainers.contract.result import Check, Checked
from explainers.grid_world import exact, planners
from explainers.grid_world.world import WALL, Moves, World
from explainers.grid_world.world_params import WorldParams

NEAR = 1e-3  # values this close to v* count as found
LOOK_AT = 12  # sweeps after which the picture shows the world, for every j
MOST_SWEEPS = 3000
ROUNDS = 100
SWEEPS = (1, 2, 3, 5, 8, 13, 20, 40, 80)

BREAKS = (
    Break(
        name="forget_discount",
        label="forget the discount",
        consequence=(
            "Without gamma a longer episode only collects more: the returns grow with every reward of the "
            "target, and do not converge."
        ),
        settings={"study": "length"},
    ),
)


class CostsParams(WorldParams):
    """Which setting varies, and how far."""

    study: Literal["epsilon", "length", "sweeps"] = choice(
        "epsilon",
        "What is varied",
        "The setting whose cost is measured",
        {
            "epsilon": "exploration ε",
            "length": "episode length L",
            "sweeps": "evaluation sweeps j",
        },
    )
    longest: int = number(
        30, "Longest episode", "The largest length L, in steps", least=2, most=200, comfort=(5, 60), step=1
    )
    break_it: Literal["none", "forget_discount"] = break_field(BREAKS)

    def adjustments(self) -> Iterator[Adjustment]:
        yield from super().adjustments()
        if self.gamma == 1:
            sentence = Message(
                "gamma = 1 leaves a policy that never ends without finite values; allowed: below 1."
            )
            yield Adjustment("gamma", 0.99, sentence)
        if self.break_it != "none" and self.study != "length":
            sentence = Message(
                "break_it = {broken} is about the length of episodes; allowed: none here.",
                broken=self.break_it,
            )
            yield Adjustment("break_it", "none", sentence)


class Point(NamedTuple):
    """One value of the setting. values: (states,). policy: (states, actions). measured: in the order of NAMES."""

    at: float
    values: np.ndarray
    policy: np.ndarray
    measured: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class CostsResult(Checked):
    """What each value of the setting costs.

    at: (points,) the setting. values: (points, rows, columns), NaN in walls. measured: name -> (points,). For epsilon:
    the mean value over the cells of the best soft policy, and of the best policy made soft. For the length: the largest
    distance of the returns to v*. For j: sweeps, improvements and backups per cell until all values are within 0.001 of
    v*; NaN if 3000 sweeps are not enough. wrong: (points,) cells whose likeliest action is not optimal.
    """

    at: np.ndarray
    values: np.ndarray
    measured: dict[str, np.ndarray]
    wrong: np.ndarray
    checks: tuple[Check, ...]
    params: CostsParams = field(metadata={"shell": False})
    policies: np.ndarray = field(metadata={"shell": False})
    best: exact.Optimal = field(metadata={"shell": False})


NAMES: dict[str, tuple[str, ...]] = {
    "epsilon": ("best_soft", "best_made_soft"),
    "length": ("error",),
    "sweeps": ("sweeps", "improvements", "backups"),
}


@experiment("grid_world.costs", breaks=BREAKS)
def costs(params: CostsParams) -> CostsResult:
    """The costs of exploration, short episodes and sweeps of evaluation, compared with v*."""
    world = params.grid
    best = exact.optimal(world)
    points = list(_points(params, best))
    policies = np.stack([point.policy for point in points])
    acting = np.flatnonzero(world.acting)
    wrong = [(~best.best[acting, policy[acting].argmax(axis=1)]).sum() for policy in policies]
    walls = world.cells == WALL
    measured = np.array([point.measured for point in points]).T
    return CostsResult(
        at=np.array([point.at for point in points]),
        values=np.stack([np.where(walls, np.nan, point.values.reshape(walls.shape)) for point in points]),
        measured=dict(zip(NAMES[params.study], measured, strict=True)),
        wrong=np.array(wrong),
        checks=tuple(_checks(params, points, best)),
        params=params,
        policies=policies,
        best=best,
    )


def _points(params: CostsParams, best: exact.Optimal) -> Iterator[Point]:
    world = params.grid
    if params.study == "epsilon":
        for percent in range(0, 100, 5):  # at 1 all policies are the same
            yield _exploring(world, best, percent / 100)
    elif params.study == "length":
        moves = replace(world.moves, gamma=1.0) if params.break_it == "forget_discount" else world.moves
        for length in range(1, params.longest + 1):
            yield _short_sighted(world, moves, best, length)
    else:
        for j in SWEEPS:
            yield _evaluated(world, best, j)


def _exploring(world: World, best: exact.Optimal, epsilon: float) -> Point:
    """The best policy that explores, compared with the best policy of all, made to explore."""
    policy, values = exact.optimal_soft(world, epsilon)
    made_soft = exact.value_of(world.moves, exact.epsilon_greedy(best.best, epsilon))
    acting = world.acting
    return Point(epsilon, values, policy, (values[acting].mean(), made_soft[acting].mean()))


def _short_sighted(world: World, moves: Moves, best: exact.Optimal, length: int) -> Point:
    """MC Basic with expected returns of `length` steps, until its policy no longer changes."""
    one_hot = np.eye(len(moves.mix))
    *_, followed, last = planners.mc_basic(
        lambda chosen: exact.within(moves, one_hot[chosen], length), world.states, len(one_hot), ROUNDS
    )
    error = np.abs(last.values - best.values)[world.acting].max(initial=0.0)
    return Point(length, last.values, one_hot[followed.chosen], (error,))


def _evaluated(world: World, best: exact.Optimal, j: int) -> Point:
    """Truncated policy iteration until its values are found; the picture shows it after LOOK_AT sweeps."""
    backup, acting = world.moves.backup, world.acting
    sweeps, improvements, shown = 0, 0, None
    for stage in planners.truncated_policy_iteration(backup, np.zeros(world.states), MOST_SWEEPS, 0, j):
        sweeps += stage.what == "sweep"
        improvements += stage.what == "improved"
        if sweeps <= LOOK_AT or shown is None:
            shown = stage
        if np.abs(stage.values - best.values)[acting].max(initial=0.0) <= NEAR:
            break
    else:
        sweeps = improvements = np.nan
    assert shown
    actions = len(world.moves.mix)
    # an evaluation backs up one action of each cell, an improvement all of them
    measured = (sweeps, improvements, sweeps + actions * improvements)
    return Point(j, shown.values, np.eye(actions)[shown.chosen], measured)


def _checks(params: CostsParams, points: list[Point], best: exact.Optimal) -> Iterator[Check]:
    moves, acting, rounding = params.grid.moves, params.grid.acting, exact.rounding(best.values)
    if params.study == "epsilon":
        residual, above = 0.0, 0.0
        for epsilon, values, _, (soft, made_soft) in points:
            q = moves.backup(values)
            # v(s) = (1 - epsilon) max_a q(s, a) + epsilon / |A| sum_a q(s, a)
            again = (1 - epsilon) * q.max(axis=1) + epsilon * q.mean(axis=1)
            residual = max(residual, float(np.abs(again - values)[acting].max(initial=0.0)))
            above = max(above, made_soft - soft)
        yield Check(
            what="the best soft values solve their own Bellman optimality equation",
            error=residual,
            tolerance=rounding,
            reference="one look ahead",
        )
        yield Check(
            what="the best policy made soft is never better",
            error=above,
            tolerance=rounding,
            reference="the theorem, section 5.4",
        )
    elif params.study == "length":
        error = max(_reward_by_reward(moves, point) for point in points)
        yield Check(
            what="the returns, added up reward by reward",
            error=error,
            tolerance=rounding,
            reference="powers of the policy's transitions",
        )
    else:
        # j = 1 is value iteration, sweep by sweep
        sweeps, v = 0, np.zeros(len(moves.to))
        while sweeps < MOST_SWEEPS and np.abs(v - best.values)[acting].max(initial=0.0) > NEAR:
            v, sweeps = moves.backup(v).max(axis=1), sweeps + 1
        counted = np.nan_to_num(points[0].measured[0], nan=MOST_SWEEPS)
        yield Check(
            what="j = 1 takes as many sweeps",
            error=abs(float(counted) - sweeps),
            tolerance=0,
            reference="value iteration",
        )


def _reward_by_reward(moves: Moves, point: Point) -> float:
    """How far the values are from max_a of a backup of G = sum_t gamma^t P_pi^t r_pi, summed from t = 0 on."""
    likely = point.policy @ moves.mix  # (states, moves)
    expected = (likely * moves.reward).sum(axis=1)
    G = np.zeros(len(expected))
    for t in range(int(point.at) - 1):
        G += moves.gamma**t * expected
        expected = (likely * ~moves.ends * expected[moves.to]).sum(axis=1)
    return float(np.abs(moves.backup(G).max(axis=1) - point.values).max())
