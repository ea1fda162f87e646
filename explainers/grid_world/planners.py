"""Planning with a known model: value iteration, policy iteration, truncated policy iteration, MC Basic.

Each is a generator that yields a Stage after every sweep and every improvement. It needs nothing of a model but
`backup(values) -> q`, which contains gamma and the rewards.

Sources: Zhao 2025, sections 4.1 (value iteration), 4.2 (policy iteration), 4.3 (truncated), 5.2 (MC Basic).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Literal

import numpy as np

Backup = Callable[..., np.ndarray]  # values (states,), optionally a slice of states -> q (states, actions)
BETTER = (
    1e-10  # an action must be better by this much to replace the present one, so that ties cause no cycles
)


@dataclass(frozen=True, eq=False)
class Stage:
    """The state of a planner after `what`. values: (states,). chosen: (states,) the action of each state."""

    what: Literal["start", "sweep", "evaluated", "improved"]
    values: np.ndarray
    chosen: np.ndarray


Plan = Generator[Stage, None, None]


def greedy(q: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """(states,) the best action of each state, or the present one where none is better by more than BETTER."""
    present = q[np.arange(len(q)), chosen]
    # pi(s) = argmax_a q(s, a)
    return np.where(q.max(axis=1) > present + BETTER, q.argmax(axis=1), chosen)


def value_iteration(
    backup: Backup, v0: np.ndarray, sweeps: int, tolerance: float, in_place: bool = False
) -> Plan:
    """v <- max_a q(s, a), repeatedly: each sweep improves the policy and evaluates it once."""
    v, chosen = v0.copy(), backup(v0).argmax(axis=1)
    yield Stage("start", v, chosen)
    for _ in range(sweeps):
        # v_(k+1)(s) = max_a (sum_s' p(s'|s, a) (r + gamma v_k(s')))
        after = _one_by_one(backup, v, None) if in_place else backup(v).max(axis=1)
        change = np.abs(after - v).max()
        v, chosen = after, greedy(backup(after), chosen)
        yield Stage("sweep", v, chosen)
        if change <= tolerance:
            return


def policy_iteration(
    backup: Backup,
    v0: np.ndarray,
    rounds: int,
    evaluate: Callable[[np.ndarray], np.ndarray],
) -> Plan:
    """Evaluates the policy and improves it, until it no longer changes.

    evaluate(chosen): the exact values of the policy that takes chosen[s].
    """
    v, chosen = v0.copy(), backup(v0).argmax(axis=1)
    yield Stage("start", v, chosen)
    for _ in range(rounds):
        # v_pi = r_pi + gamma P_pi v_pi
        v = evaluate(chosen)
        yield Stage("evaluated", v, chosen)
        # pi'(s) = argmax_a q_pi(s, a)
        better = greedy(backup(v), chosen)
        yield Stage("improved", v, better)
        if (better == chosen).all():
            return
        chosen = better


def truncated_policy_iteration(
    backup: Backup, v0: np.ndarray, sweeps: int, tolerance: float, j: int, in_place: bool = False
) -> Plan:
    """Policy iteration whose evaluation is j sweeps from the current values; j = 1 is value iteration.

    sweeps: the most sweeps of evaluation in total.
    """
    v, chosen = v0.copy(), backup(v0).argmax(axis=1)
    yield Stage("start", v, chosen)
    done = 0
    while done < sweeps:
        before = v
        for _ in range(min(j, sweeps - done)):
            # v_(j+1)(s) = q_j(s, pi(s))
            v = _one_by_one(backup, v, chosen) if in_place else _of_policy(backup(v), chosen)
            done += 1
            yield Stage("sweep", v, chosen)
        better = greedy(backup(v), chosen)
        yield Stage("improved", v, better)
        if (better == chosen).all() and np.abs(v - before).max() <= tolerance:
            return
        chosen = better


def mc_basic(rollout: Callable[[np.ndarray], np.ndarray], states: int, actions: int, most: int) -> Plan:
    """Policy iteration without a model: q_pi(s, a) is the return of an episode that starts with s, a and follows pi.

    rollout(chosen): those returns, (states, actions). most: rounds.
    """
    chosen = np.zeros(states, int)
    v = np.zeros(states)
    yield Stage("start", v, chosen)
    for _ in range(most):
        # q_pi(s, a) = G of one episode;  pi'(s) = argmax_a q_pi(s, a)
        q = rollout(chosen)
        better = greedy(q, chosen)
        v = q.max(axis=1)
        yield Stage("improved", v, better)
        if (better == chosen).all():
            return
        chosen = better


def _one_by_one(backup: Backup, values: np.ndarray, chosen: np.ndarray | None) -> np.ndarray:
    """A sweep in place: each state already uses the new values of the states before it."""
    v = values.copy()
    for s in range(len(v)):
        q = backup(v, slice(s, s + 1))[0]
        v[s] = q.max() if chosen is None else q[chosen[s]]
    return v


def _of_policy(q: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    return q[np.arange(len(q)), chosen]
