"""Reachability: from which cells an episode can end, whether the start can reach a target, and how soon by chance."""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy.sparse import csc_array, csr_array, eye_array
from scipy.sparse.csgraph import breadth_first_order
from scipy.sparse.linalg import splu

from explainers.grid_world.world import TARGET, World


def cells_that_reach_an_end(world: World) -> np.ndarray:
    """(states,) bool: the cells from which some choice of actions can end the episode."""
    return _reaching(world, _likely(world) > 0, world.terminal)


def ends_under(world: World, policy: np.ndarray) -> np.ndarray:
    """(states,) bool: the cells from which episodes under the policy (states, actions) can end."""
    return _reaching(world, policy @ world.moves.mix > 0, world.terminal)


def aims(world: World) -> np.ndarray:
    """(states,) bool: the targets, and the cells from which the agent jumps."""
    found = world.cells.ravel() == TARGET
    found[[jump.cell for jump in world.jumps]] = True
    return found


@functools.lru_cache(64)  # by the identity of the world
def start_reaches_an_aim(world: World) -> bool:
    """Whether the agent can get from the start to a target or a jump."""
    return bool(aims(world)[_walked(world, np.zeros(world.states, bool))].any())


@functools.lru_cache(64)  # by the identity of the world
def hitting_time(world: World) -> float:
    """The expected steps of a random walk, with equal probabilities of the actions, from the start to an aim or an end.

    Infinite where the walk may get to cells that lead to neither, or only with probabilities too small for float64. The
    solution of h(s) = 1 + sum_s' P(s, s') h(s') over the cells before an aim or an end, where h is 0 (Norris, Markov
    Chains, 1997, theorem 1.3.5).
    """
    last = aims(world) | world.terminal
    walked = _walked(world, last)
    before = walked[~last[walked]]
    if last[world.start]:
        return 0.0
    if not _reaching(world, _likely(world) > 0, last)[before].all():
        return math.inf
    moves, number = world.moves, np.full(world.states, -1)
    number[before] = np.arange(len(before))
    to = number[moves.to[before]]
    rows, which = np.nonzero(to >= 0)
    likely = _likely(world)[before[rows], which]
    P = csr_array((likely, (rows, to[rows, which])), shape=2 * (len(before),))
    # (I - P) h = 1
    try:
        h = splu(csc_array(eye_array(len(before)) - P)).solve(np.ones(len(before)))
    except RuntimeError:  # singular in float64
        return math.inf
    time = float(h[number[world.start]])
    return time if time >= 1 and math.isfinite(time) else math.inf


def _likely(world: World) -> np.ndarray:
    """(states, moves) the probability of each move of a random walk; none where no agent acts."""
    return world.acting[:, None] * world.moves.mix.mean(axis=0)


def _walked(world: World, last: np.ndarray) -> np.ndarray:
    """The cells to which a random walk from the start can get that ends in the cells `last` (states,)."""
    cells, which = np.nonzero((_likely(world) > 0) & ~last[:, None])
    graph = csr_array(
        (np.ones(len(cells), np.int8), (cells, world.moves.to[cells, which])), shape=2 * (world.states,)
    )
    return breadth_first_order(graph, world.start, return_predecessors=False)


def _reaching(world: World, possible: np.ndarray, last: np.ndarray) -> np.ndarray:
    """(states,) bool: the acting cells from which possible moves (states, moves) lead to the cells `last` (states,)."""
    moves, end = world.moves, world.states  # the end is one more node of the graph
    cells, which = np.nonzero(possible & world.acting[:, None])
    after = np.where(last[moves.to[cells, which]], end, moves.to[cells, which])
    backwards = csr_array((np.ones(len(cells), np.int8), (after, cells)), shape=(end + 1, end + 1))
    reached = np.zeros(end + 1, bool)
    reached[breadth_first_order(backwards, end, return_predecessors=False)] = True
    return reached[:end]
