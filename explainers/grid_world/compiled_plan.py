"""v* of large worlds: Gauss-Seidel value iteration, swept from all four corners and accelerated, with a proven bound.

A sweep in place carries news as far as it goes with the sweep; from four corners in turn every shortest way is soon
covered. What stays where it is (a bump, a slip against a wall) is solved for instead of iterated. Anderson's mixing of
the last results then takes out the slow remainder: agents that go to and fro. Whatever the mixing does, the result is
returned only when its residual proves the error.

Sources: Bertsekas, Dynamic Programming and Optimal Control II, section 2.2 (Gauss-Seidel value iteration); Puterman,
Markov Decision Processes, 1994, section 6.3 (bounds from the residual); H. Zhao, A fast sweeping method for eikonal
equations, 2005 (sweeps in alternating directions); Geist and Scherrer, Anderson acceleration for reinforcement
learning, 2018.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from explainers.contract.messages import Message
from explainers.grid_world.world import World

TOLERANCE = 1e-6
MOST_ROUNDS = 20_000
REMEMBERED = 6  # results that are mixed
PLAIN, STAYS, IDLE = range(
    3
)  # kinds of states: as the equation says; a move may lead back to it; nobody acts in it


class _Table(NamedTuple):
    """The world for sweeps.

    to: (states, moves), an end leads to one more state that is worth 0. pay: (states, actions), the mean reward.
    kind: (states,). probabilities: gamma times that of each move, for each action: tuples, whose lengths the compiler
    knows, so that it unrolls the loops over them (a third of the time).
    """

    to: np.ndarray
    pay: np.ndarray
    kind: np.ndarray
    probabilities: tuple[tuple[float, ...], ...]
    columns: int


def solve_large(world: World, tolerance: float = TOLERANCE) -> tuple[np.ndarray, float]:
    """v* (states,) of a world with a discount, and how far it is from the truth at most.

    Raises ValueError without a discount: then no residual bounds the error.
    """
    if world.gamma >= 1:
        raise ValueError(Message("a bound of the error needs a discount below 1"))
    table, v, mixing = _table(world), np.zeros(world.states), _Mixing(world.states)
    for _ in range(MOST_ROUNDS):
        swept = _swept(v, table)
        # |v - v*| <= |Tv - v| / (1 - gamma)
        if np.abs(swept - v).max() <= 10 * tolerance * (1 - world.gamma):
            bound = _residual(np.append(swept, 0.0), table.to, table.pay, table.probabilities) / (
                1 - world.gamma
            )
            if bound <= tolerance:
                return swept, bound
        v = mixing.next(v, swept)
    raise ValueError(Message("value iteration did not converge within {rounds:,} rounds", rounds=MOST_ROUNDS))


def _table(world: World) -> _Table:
    moves, states = world.moves, world.states
    to = np.where(moves.ends, states, moves.to).astype(np.uint32)
    kind = np.where((to == np.arange(states)[:, None]).any(axis=1), STAYS, PLAIN).astype(np.uint8)
    kind[~world.lived_in] = IDLE
    probabilities = tuple(tuple(row) for row in (moves.gamma * moves.mix).tolist())
    return _Table(to, np.ascontiguousarray(moves.reward @ moves.mix.T), kind, probabilities, world.columns)


def _swept(v: np.ndarray, table: _Table) -> np.ndarray:
    """G(v): four sweeps, one from each corner."""
    swept = np.append(v, 0.0)
    for corner in range(4):
        _sweep(swept, *table, corner)
    return swept[:-1]


class _Mixing:
    """Anderson's mixing: the next v is the mixture of the last G(v) whose mixed change G(v) - v is the smallest."""

    def __init__(self, states: int) -> None:
        self.changes, self.results = np.zeros(
            (2, REMEMBERED, states), np.float32
        )  # differences: they need no more
        self.products = np.zeros((REMEMBERED, REMEMBERED))
        self.last: tuple[np.ndarray, np.ndarray] | None = None
        self.known = 0

    def next(self, v: np.ndarray, swept: np.ndarray) -> np.ndarray:
        """The v to go on with, from v and G(v)."""
        change = swept - v
        if self.last is not None:
            at = self.known % REMEMBERED
            self.changes[at], self.results[at] = change - self.last[0], swept - self.last[1]
            self.known += 1
            held = min(self.known, REMEMBERED)
            self.products[at, :held] = self.products[:held, at] = self.changes[:held] @ self.changes[at]
        self.last = (change, swept)
        held = min(self.known, REMEMBERED)
        if not held:
            return swept
        # min over c of |change - sum_k c_k (f_k - f_(k-1))|^2
        products = self.products[:held, :held]
        slightly = 1e-10 * np.trace(products) * np.eye(held)
        weights = np.linalg.lstsq(
            products + slightly, self.changes[:held] @ change.astype(np.float32), rcond=None
        )[0]
        return swept - weights @ self.results[:held]


@numba.njit(cache=True, nogil=True)
def _sweep(v, to, pay, kind, probabilities, columns, corner):
    """One sweep in place from a corner, v(s) <- max_a q(s, a). v: (states + 1,), the last one is worth 0."""
    rows = len(to) // columns
    for i in range(rows):
        row = i if corner < 2 else rows - 1 - i
        for j in range(columns):
            s = row * columns + (j if corner % 2 == 0 else columns - 1 - j)
            if kind[s] == IDLE:
                continue
            best = -np.inf
            for a, likely in enumerate(probabilities):
                # q(s, a) = r(s, a) + gamma sum_m p(m|a) v(s')
                q = pay[s, a]
                for m in range(len(likely)):
                    q += likely[m] * v[to[s, m]]
                if kind[s] == STAYS:
                    # v(s) = (r(s, a) + gamma sum over s' that are not s) / (1 - gamma p(s|s, a))
                    leaves = 1.0
                    for m in range(len(likely)):
                        if to[s, m] == s:
                            leaves -= likely[m]
                            q -= likely[m] * v[s]
                    q /= leaves
                best = max(best, q)
            v[s] = best


@numba.njit(cache=True, nogil=True)
def _residual(v, to, pay, probabilities):
    """|Tv - v|, the largest over the states. v: (states + 1,), the last one is worth 0."""
    residual = 0.0
    for s in range(len(to)):
        best = -np.inf
        for a, likely in enumerate(probabilities):
            q = pay[s, a]
            for m in range(len(likely)):
                q += likely[m] * v[to[s, m]]
            best = max(best, q)
        residual = max(residual, abs(best - v[s]))
    return residual
