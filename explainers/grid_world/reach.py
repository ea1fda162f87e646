"""Reachability: from which cells an episode can end, and whether the start can reach a target."""

from __future__ import annotations

import functools

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order

from explainers.grid_world.world import TARGET, World


def cells_that_reach_an_end(world: World) -> np.ndarray:
    """(states,) bool: the cells from which some choice of actions can end the episode."""
    return _reaching_an_end(world, np.ones(world.moves.to.shape, bool))


def ends_under(world: World, policy: np.ndarray) -> np.ndarray:
    """(states,) bool: the cells from which episodes under the policy (states, actions) can end."""
    return _reaching_an_end(world, policy @ world.moves.mix > 0)


@functools.lru_cache(64)  # by the identity of the world
def start_reaches_an_aim(world: World) -> bool:
    """Whether the agent can get from the start to a target or a jump."""
    moves = world.moves
    aims = {*np.flatnonzero(world.cells.ravel() == TARGET), *(jump.cell for jump in world.jumps)}
    cells, which = np.nonzero(np.repeat(world.acting[:, None], moves.to.shape[1], axis=1))
    graph = csr_array(
        (np.ones(len(cells), np.int8), (cells, moves.to[cells, which])), shape=2 * (world.states,)
    )
    reached = breadth_first_order(graph, world.start, return_predecessors=False)
    return not aims.isdisjoint(reached.tolist())


def _reaching_an_end(world: World, possible: np.ndarray) -> np.ndarray:
    """(states,) bool: the cells from which possible moves lead to an end. possible: (states, moves) bool."""
    moves, end = world.moves, world.states  # the end is one more node of the graph
    cells, which = np.nonzero(possible & world.acting[:, None])
    after = np.where(moves.ends[cells, which], end, moves.to[cells, which])
    backwards = csr_array((np.ones(len(cells), np.int8), (after, cells)), shape=(end + 1, end + 1))
    reached = np.zeros(end + 1, bool)
    reached[breadth_first_order(backwards, end, return_predecessors=False)] = True
    return reached[:end]
