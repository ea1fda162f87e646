"""`grid_world.solve`: the exact values of the best policy of a world, or of a simple one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array

from explainers.contract.breaks import Break, break_field
from explainers.contract.experiment import experiment
from explainers.contract.messages import Message, plural
from explainers.contract.params import Adjustment, choice
from explainers.contract.result import Check, Checked
from explainers.grid_world import exact
from explainers.grid_world.published import Printed, checks_against_print, printed_of
from explainers.grid_world.reach import ends_under
from explainers.grid_world.world import ACTIONS, WALL, Moves, World
from explainers.grid_world.world_params import WorldParams

Policy = Literal["optimal", "uniform", "up", "right", "down", "left", "stay"]
AGREES = 1e-8  # relative difference allowed between two methods
SETTLED = 1e-12
MOST_ITERATIONS = 20_000
MOST_ELIMINATED = 1_500  # states, for which a dense matrix still fits

BREAKS = (
    Break(
        name="forget_discount",
        label="forget the discount",
        consequence=(
            "Action values that add the next value without discount are too large: they no longer agree with the "
            "values from which they are computed, and the best action may be another one."
        ),
    ),
)


class SolveParams(WorldParams):
    policy: Policy = choice(
        "optimal",
        "Policy",
        "Whose values are computed",
        {
            "optimal": "the best",
            "uniform": "at random",
            "up": "up",
            "right": "right",
            "down": "down",
            "left": "left",
            "stay": "stay",
        },
    )
    break_it: Literal["none", "forget_discount"] = break_field(BREAKS)

    def adjustments(self) -> Iterator[Adjustment]:
        yield from super().adjustments()
        world = self.grid
        if self.policy not in ("optimal", "uniform", *world.action_names):
            allowed = ", ".join(("optimal", "uniform", *world.action_names))
            sentence = Message(
                "policy = {policy} is no action here; allowed: {allowed}.",
                policy=self.policy,
                allowed=allowed,
            )
            yield Adjustment("policy", "optimal", sentence)
        elif self.policy != "optimal" and self.gamma == 1:
            stuck = int((world.acting & ~ends_under(world, policy_of(world, self.policy))).sum())
            if stuck:
                sentence = plural(
                    "policy = {policy} never ends from {count} cell, and with gamma = 1 has no values there; "
                    "allowed: optimal, or gamma below 1.",
                    "policy = {policy} never ends from {count} cells, and with gamma = 1 has no values there; "
                    "allowed: optimal, or gamma below 1.",
                    count=stuck,
                    policy=self.policy,
                )
                yield Adjustment("policy", "optimal", sentence)


@dataclass(frozen=True, eq=False)
class SolveResult(Checked):
    """Exact values.

    values: (rows, columns), NaN in walls. q: (states, actions), NaN where no agent acts. optimal_actions: for each
    state, row by row, the numbers of its best actions (1 up, 2 right, 3 down, 4 left, 5 stay, then the diagonals);
    empty where no agent acts. residual: the largest error of the Bellman equation. published: what textbooks print of
    this world and policy.
    """

    values: np.ndarray
    q: np.ndarray
    optimal_actions: tuple[tuple[int, ...], ...]
    residual: float
    published: tuple[Printed, ...]
    notes: tuple[str, ...]
    checks: tuple[Check, ...]
    params: SolveParams = field(metadata={"shell": False})
    policy: np.ndarray = field(metadata={"shell": False})


def policy_of(world: World, name: str) -> np.ndarray:
    """(states, actions) the probabilities of the policy "uniform", or of the same action everywhere."""
    actions = len(ACTIONS[world.actions])
    if name == "uniform":
        return np.full((world.states, actions), 1 / actions)
    return np.eye(actions)[np.full(world.states, world.action_names.index(name))]


@experiment("grid_world.solve", breaks=BREAKS)
def solve(params: SolveParams) -> SolveResult:
    """The exact values of a policy, from linear equations, and every optimal action."""
    world = params.grid
    moves, best = world.moves, exact.optimal(world)
    if params.policy == "optimal":
        policy = best.best / np.maximum(best.best.sum(axis=1, keepdims=True), 1)
        values = best.values
    else:
        policy = policy_of(world, params.policy)
        values = exact.value_of(moves, policy)
    # q(s, a) = sum_m mix[a, m] (r + gamma v(s'))
    q = moves_ahead(params).backup(values)
    # v(s) = sum_a pi(a|s) q(s, a); for the optimal policy max_a q(s, a)
    again = q.max(axis=1) if params.policy == "optimal" else (policy * q).sum(axis=1)
    residual = float(np.abs(again - values)[world.acting].max(initial=0.0))
    walls = world.cells.ravel() == WALL
    numbers = np.array(ACTIONS[world.actions]) + 1
    return SolveResult(
        values=np.where(walls, np.nan, values).reshape(world.cells.shape),
        q=np.where(world.acting[:, None], q, np.nan),
        optimal_actions=tuple(tuple(int(number) for number in numbers[row]) for row in best.best),
        residual=residual,
        published=printed_of(params, params.policy),
        notes=tuple(_notes(params)),
        checks=(
            *_checks(params, values, policy, residual),
            *checks_against_print(params, params.policy, values, best.best),
        ),
        params=params,
        policy=np.where(world.acting[:, None], policy, np.nan),
    )


def moves_ahead(params: SolveParams) -> Moves:
    """The moves for computing q; a break removes their discount."""
    return (
        replace(params.grid.moves, gamma=1.0) if params.break_it == "forget_discount" else params.grid.moves
    )


def _checks(params: SolveParams, values: np.ndarray, policy: np.ndarray, residual: float) -> Iterator[Check]:
    large = params.grid.states > exact.MOST_STATES
    tolerance = 2 * exact.PROVEN if large and params.policy == "optimal" else exact.rounding(values)
    yield Check(
        what="the values solve the Bellman equation",
        error=residual,
        tolerance=tolerance,
        reference="one look ahead from every cell",
    )
    moves = params.grid.moves
    if large:
        if params.policy == "optimal" and params.gamma < 1:
            bound = residual / (1 - params.gamma)
            yield Check(
                what="the residual proves the error",
                error=bound,
                tolerance=exact.PROVEN,
                reference="the Bellman residual over 1 - gamma",
            )
        return
    settles = params.gamma**MOST_ITERATIONS < SETTLED
    if params.policy == "optimal" and settles:
        again, reference = _by_value_iteration(moves), Message("value iteration from 0")
    elif params.grid.states > MOST_ELIMINATED:
        return
    elif params.policy == "optimal":
        again, reference = _by_linear_program(moves), Message("a linear program")
    else:
        again, reference = _by_elimination(moves, policy), Message("a dense solve, by elimination")
    error = float(np.abs(again - values).max()) / max(1.0, float(np.abs(values).max()))
    yield Check(
        what="another way gives the same values, relative", error=error, tolerance=AGREES, reference=reference
    )


def _by_value_iteration(moves: Moves) -> np.ndarray:
    """v* by value iteration, until the values no longer change."""
    v = np.zeros(len(moves.to))
    for _ in range(MOST_ITERATIONS):
        after = moves.backup(v).max(axis=1)
        change = np.abs(after - v).max()
        v = after
        if change <= SETTLED * max(1.0, np.abs(v).max()):
            break
    return v


def _by_linear_program(moves: Moves) -> np.ndarray:
    """v* as the smallest values with v(s) >= q(s, a) for all actions: min sum_s v(s), a linear program."""
    states, actions = len(moves.to), len(moves.mix)
    rows, bounds = np.zeros((states * actions, states)), np.zeros(states * actions)
    for s, a, m in np.ndindex(states, *moves.mix.shape):
        likely = moves.mix[a, m]
        bounds[s * actions + a] -= likely * moves.reward[s, m]
        rows[s * actions + a, moves.to[s, m]] += moves.gamma * likely * (not moves.ends[s, m])
    # gamma P v - v <= -r
    rows[np.arange(len(rows)), np.repeat(np.arange(states), actions)] -= 1
    return linprog(np.ones(states), csr_array(rows), bounds, bounds=(None, None)).x


def _by_elimination(moves: Moves, policy: np.ndarray) -> np.ndarray:
    """v_pi by elimination on a dense matrix, built state by state, action by action and move by move."""
    matrix, right = np.eye(len(moves.to)), np.zeros(len(moves.to))
    for s, a, m in np.ndindex(len(moves.to), *moves.mix.shape):
        likely = policy[s, a] * moves.mix[a, m]
        right[s] += likely * moves.reward[s, m]
        matrix[s, moves.to[s, m]] -= moves.gamma * likely * (not moves.ends[s, m])
    return np.linalg.solve(matrix, right)


def _notes(params: SolveParams) -> Iterator[str]:
    if params.grid.terminal.any() and params.gamma < 1:
        yield Message(
            "Twice the rewards are twice the values; but one more for every step moves the policy, as episodes end."
        )
    elif params.gamma < 1:
        yield Message(
            "Rewards α r + β give values α v + β / (1 − γ), and the same best actions, as no episode "
            "ends here (Zhao, theorem 3.6)."
        )
