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

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numba
import numpy as np

from explainers.grid_world.world import World

TOLERANCE = 1e-6
MOST_ROUNDS = 20_000
REMEMBERED = 6  # results that are mixed
LARGE = 100_000  # states from which on several cores sweep
BLOCKS = 2


def solve_large(world: World, tolerance: float = TOLERANCE) -> tuple[np.ndarray, float]:
    """v* (states,) of a world with a discount, and how far it is from the truth at most.

    Raises ValueError without a discount: then no residual bounds the error.
    """
    if world.gamma >= 1:
        raise ValueError("a bound of the error needs a discount below 1")
    moves = world.moves
    table = (moves.to, moves.reward, moves.ends, moves.mix, moves.gamma)
    v, mixing = np.zeros(world.states), _Mixing(world.states)
    with ThreadPoolExecutor(BLOCKS) as pool:
        for _ in range(MOST_ROUNDS):
            swept = _swept(v, table, world, pool)
            # |v - v*| <= |Tv - v| / (1 - gamma)
            if np.abs(swept - v).max() <= 10 * tolerance * (1 - moves.gamma):
                bound = _residual(swept, *table) / (1 - moves.gamma)
                if bound <= tolerance:
                    return swept, bound
            v = mixing.next(v, swept)
    raise ValueError(f"no value iteration within {MOST_ROUNDS:,} rounds")


def _swept(v: np.ndarray, table: tuple, world: World, pool: ThreadPoolExecutor) -> np.ndarray:
    """G(v): four sweeps, one from each corner.

    Large worlds in blocks of rows, side by side; a block takes the others as they were before the sweep, so that the
    result does not depend on who was faster.
    """
    swept = v.copy()
    if world.states < LARGE:
        for corner in range(4):
            _sweep(swept, swept, table, world.columns, (0, world.rows, corner))
        return swept
    before, edges = np.empty_like(v), np.linspace(0, world.rows, BLOCKS + 1).astype(int)
    for corner in range(4):
        np.copyto(before, swept)
        blocks = [(int(first), int(last), corner) for first, last in pairwise(edges)]
        jobs = [pool.submit(_sweep, swept, before, table, world.columns, block) for block in blocks]
        for job in jobs:
            job.result()
    return swept


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


@numba.njit(cache=True, inline="always")
def _best(v, before, first, last, s, to, reward, ends, mix, gamma, solved, ahead, stays):
    """max_a q(s, a) from v, and from `before` for states outside [first, last).

    solved: v(s) itself, where a move stays, is solved for; else taken as it is.
    """
    loops = False
    for m in range(mix.shape[1]):
        after, ended = to[s, m], ends[s, m]
        stays[m] = solved and after == s and not ended
        loops |= stays[m]
        # r(s, m) + gamma v(s')
        value = v[after] if first <= after < last else before[after]
        ahead[m] = reward[s, m] + (0.0 if ended or stays[m] else gamma * value)
    best = -np.inf
    for a in range(mix.shape[0]):
        q = 0.0
        for m in range(mix.shape[1]):
            q += mix[a, m] * ahead[m]
        if loops:
            staying = 0.0
            for m in range(mix.shape[1]):
                staying += mix[a, m] * stays[m]
            # v(s) = (sum_m p (r + gamma v(s'))) / (1 - gamma p(s|s, a)), the sum over s' that are not s
            q /= 1.0 - gamma * staying
        best = max(best, q)
    return best


@numba.njit(cache=True, nogil=True)
def _sweep(v, before, table, columns, block):
    """One sweep in place, v(s) <- max_a q(s, a). block: the rows from first to last, and the corner to begin in."""
    to, reward, ends, mix, gamma = table
    first, last, corner = block
    ahead, stays = np.empty(mix.shape[1]), np.empty(mix.shape[1], np.bool_)
    begin, end = first * columns, last * columns
    for i in range(last - first):
        row = first + i if corner < 2 else last - 1 - i
        for j in range(columns):
            s = row * columns + (j if corner % 2 == 0 else columns - 1 - j)
            v[s] = _best(v, before, begin, end, s, to, reward, ends, mix, gamma, True, ahead, stays)


@numba.njit(cache=True, nogil=True)
def _residual(v, to, reward, ends, mix, gamma):
    """|Tv - v|, the largest over the states."""
    ahead, stays, residual = np.empty(mix.shape[1]), np.empty(mix.shape[1], np.bool_), 0.0
    for s in range(len(v)):
        best = _best(v, v, 0, len(v), s, to, reward, ends, mix, gamma, False, ahead, stays)
        residual = max(residual, abs(best - v[s]))
    return residual
