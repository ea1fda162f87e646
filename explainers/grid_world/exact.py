"""Exact solutions: the value of a policy by a linear solve, and v*, q* and all optimal actions by policy iteration.

A policy is an array pi (states, actions) of probabilities. Cells in which no agent acts have value 0.

Sources: Zhao 2025, sections 2.7 (the Bellman equation in matrix form), 3.4 (policy iteration), 5.4 (epsilon-soft);
Puterman, Markov Decision Processes, 1994, section 6.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csc_array, csr_array, eye_array
from scipy.sparse.linalg import spsolve

from explainers.contract.messages import Message
from explainers.grid_world.compiled_plan import solve_large
from explainers.grid_world.world import Moves, World

TIE = 1e-9  # action values this close count as equal
ROUNDS_OFF = 1e-11  # the same, relative to the largest value; it applies where it exceeds TIE
ROUNDING = 1e-9  # tolerance of checks, relative to the largest value if that is above 1
SWEEP_UNTIL = 1e-13
MOST_SWEEPS = 100_000
MOST_ROUNDS = 1_000  # of policy iteration, which usually needs about ten
MOST_STATES = 10_000  # solved by linear equations; larger worlds by sweeps, to an error of PROVEN
PROVEN = 1e-6
UNBOUNDED = 1e12  # no policy that ends takes this many steps


@dataclass(frozen=True, eq=False)
class Optimal:
    """The optimal values (states,), action values (states, actions), and which actions are optimal: bool like q."""

    values: np.ndarray
    q: np.ndarray
    best: np.ndarray


def value_of(moves: Moves, policy: np.ndarray) -> np.ndarray:
    """v_pi, (states,): the solution of v = r_pi + gamma P_pi v. Raises ValueError if there is none.

    policy: (states, actions).
    """
    states = len(moves.to)
    likely = policy @ moves.mix  # (states, moves)
    stepping = likely * ~moves.ends
    row = np.repeat(np.arange(states), moves.to.shape[1])
    P = csr_array((stepping.ravel(), (row, moves.to.ravel())), shape=(states, states))
    r = (likely * moves.reward).sum(axis=1)
    # (I - gamma P_pi) v = r_pi
    v = np.atleast_1d(np.asarray(spsolve(csc_array(eye_array(states) - moves.gamma * P), r)))
    # without a discount a policy that never ends makes the equations singular, which rounding may hide
    if not (np.abs(v) <= UNBOUNDED * max(1.0, float(np.abs(r).max()))).all():
        raise ValueError(
            Message("the policy never ends somewhere, and without a discount its values are not finite")
        )
    return v


def within(moves: Moves, policy: np.ndarray, steps: int) -> np.ndarray:
    """(states, actions) the expected return of `steps` steps: the action, then the policy (states, actions)."""
    v = np.zeros(len(moves.to))
    for _ in range(steps - 1):
        # v_(t+1)(s) = sum_a pi(a|s) q_t(s, a)
        v = (policy * moves.backup(v)).sum(axis=1)
    return moves.backup(v)


def optimal(world: World) -> Optimal:
    """v*, q* and all optimal actions: ties within TIE, in large worlds within twice the error, count as optimal."""
    moves = world.moves
    if moves.gamma < 1 and world.states > MOST_STATES:
        values, error = solve_large(world, PROVEN)
        tie = 2 * error
    else:
        values = _by_sweeps(moves) if moves.gamma == 1 else _by_policy_iteration(moves, 0.0)[1]
        tie = tie_among(values)
    q = moves.backup(values)
    best = (q >= q.max(axis=1, keepdims=True) - tie) & world.acting[:, None]
    return Optimal(values, q, best)


def tie_among(values: np.ndarray) -> float:
    """How close two action values must be to count as equal, given the size of `values`."""
    return max(TIE, ROUNDS_OFF * float(np.abs(values).max(initial=0.0)))


def rounding(values: np.ndarray) -> float:
    """The tolerance of a check, given the size of `values`."""
    return ROUNDING * max(1.0, float(np.abs(values).max(initial=0.0)))


def _by_policy_iteration(moves: Moves, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """Policy iteration with exact evaluation among the epsilon-greedy policies: the best one, and its values.

    epsilon = 0 gives the best policy of all. Ends when no action is better by more than a tenth of a tie.
    """
    # without a discount the first policy must end its episodes, as the best one does
    first = _by_sweeps(moves) if moves.gamma == 1 else np.zeros(len(moves.to))
    chosen = moves.backup(first).argmax(axis=1)
    for _ in range(MOST_ROUNDS):
        policy = epsilon_greedy(np.eye(len(moves.mix), dtype=bool)[chosen], epsilon)
        v = value_of(moves, policy)
        q = moves.backup(v)
        better = q.max(axis=1) > q[np.arange(len(q)), chosen] + tie_among(v) / 10
        if not better.any():
            return policy, v
        # pi(s) = argmax_a q_pi(s, a); in a tie the present action stays
        chosen = np.where(better, q.argmax(axis=1), chosen)
    raise ValueError(
        Message("policy iteration did not converge within {rounds:,} rounds", rounds=MOST_ROUNDS)
    )


def _by_sweeps(moves: Moves) -> np.ndarray:
    """Value iteration from 0 to convergence, for gamma = 1, where the linear solve fails if a policy never ends."""
    v = np.zeros(len(moves.to))
    for _ in range(MOST_SWEEPS):
        # v_(k+1)(s) = max_a q_k(s, a)
        after = moves.backup(v).max(axis=1)
        if np.abs(after - v).max() <= SWEEP_UNTIL * max(1.0, np.abs(after).max()):
            return after
        v = after
    raise ValueError(Message("value iteration did not converge within {sweeps:,} sweeps", sweeps=MOST_SWEEPS))


def epsilon_greedy(best: np.ndarray, epsilon: float) -> np.ndarray:
    """(states, actions) the policy that takes a random action with probability epsilon, else the first best one."""
    actions = best.shape[1]
    # pi(a|s) = epsilon / |A| + (1 - epsilon) [a = a*]
    return epsilon / actions + (1 - epsilon) * np.eye(actions)[best.argmax(axis=1)]


def optimal_soft(world: World, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """The best epsilon-greedy policy, and its values (Zhao, section 5.4)."""
    return _by_policy_iteration(world.moves, epsilon)
