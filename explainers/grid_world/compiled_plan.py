"""v* of large worlds: Gauss-Seidel value iteration with Anderson acceleration, and a proven bound of the error.

A sweep in place carries values along its own direction in one pass; sweeps from all four corners in turn soon cover
every shortest path. A move that leads back to its own state (a bump, a slip into a wall) is solved for, not iterated.
Anderson acceleration then removes the slowly decaying rest, which comes from moves back and forth. The result is
returned only when its residual proves the error, whatever the acceleration did.

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
REMEMBERED = 6  # earlier results that the acceleration mixes
PLAIN, STAYS, IDLE = range(3)  # states: ordinary; with a move back to itself; where no agent acts


class _Table(NamedTuple):
    """The world as the sweeps read it.

    to: (states, moves); ends lead to one more state, whose value is 0. pay: (states, actions), the expected reward.
    kind: (states,). probabilities: for each action gamma times the probability of each move, as tuples: the compiler
    knows their lengths and unrolls the loops, so that a sweep takes a third of the time.
    """

    to: np.ndarray
    pay: np.ndarray
    kind: np.ndarray
    probabilities: tuple[tuple[float, ...], ...]
    columns: int


def solve_large(world: World, tolerance: float = TOLERANCE) -> tuple[np.ndarray, float]:
    """v* (states,) of a world with a discount, and a bound of its error.

    Raises ValueError without a discount, as the residual then does not bound the error.
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
    kind[~world.acting] = IDLE
    probabilities = tuple(tuple(row) for row in (moves.gamma * moves.mix).tolist())
    return _Table(to, np.ascontiguousarray(moves.reward @ moves.mix.T), kind, probabilities, world.columns)


def _swept(v: np.ndarray, table: _Table) -> np.ndarray:
    """G(v): four sweeps, one from each corner."""
    swept = np.append(v, 0.0)
    for corner in range(4):
        _sweep(swept, *table, corner)
    return swept[:-1]


class _Mixing:
    """Anderson acceleration: the next v mixes the last results G(v) so that the mixed change G(v) - v is smallest."""

    def __init__(self, states: int) -> None:
        self.changes, self.results = np.zeros(
            (2, REMEMBERED, states), np.float32
        )  # differences: they need no more
        self.products = np.zeros((REMEMBERED, REMEMBERED))
        self.last: tuple[np.ndarray, np.ndarray] | None = None
        self.results_seen = 0

    def next(self, v: np.ndarray, swept: np.ndarray) -> np.ndarray:
        """The next v, from v and G(v)."""
        change = swept - v
        if self.last is not None:
            at = self.results_seen % REMEMBERED
            self.changes[at], self.results[at] = change - self.last[0], swept - self.last[1]
            self.results_seen += 1
            mixed = min(self.results_seen, REMEMBERED)
            self.products[at, :mixed] = self.products[:mixed, at] = self.changes[:mixed] @ self.changes[at]
        self.last = (change, swept)
        mixed = min(self.results_seen, REMEMBERED)
        if not mixed:
            return swept
        # min over c of |change - sum_k c_k (f_k - f_(k-1))|^2
        products = self.products[:mixed, :mixed]
        ridge = 1e-10 * np.trace(products) * np.eye(mixed)
        weights = np.linalg.lstsq(
            products + ridge, self.changes[:mixed] @ change.astype(np.float32), rcond=None
        )[0]
        return swept - weights @ self.results[:mixed]


@numba.njit(cache=True, nogil=True)
def _sweep(v, to, pay, kind, probabilities, columns, corner):
    """One sweep in place from a corner, v(s) <- max_a q(s, a). v: (states + 1,), of which the last is 0."""
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
                    # v(s) = (r(s, a) + gamma sum over s' != s of p v(s')) / (1 - gamma p(s|s, a))
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
    """|Tv - v|, the maximum over the states. v: (states + 1,), of which the last is 0."""
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
