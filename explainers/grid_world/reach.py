"""Which cells can reach an end of the episode, and which cells the start can reach."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order

from explainers.grid_world.world import World


def cells_that_reach_an_end(world: World) -> np.ndarray:
    """(states,) bool: from where some choice of actions can end the episode."""
    moves = world.moves
    cells, which = np.nonzero(moves.mix.sum(axis=0)[None, :] * np.ones((world.states, 1)))
    end = world.states  # one more node: the end
    target = np.where(moves.ends[cells, which], end, moves.to[cells, which])
    acting = world.lived_in[cells]
    edges = (np.ones(int(acting.sum()), np.int8), (target[acting], cells[acting]))  # backwards
    graph = csr_array(edges, shape=(end + 1, end + 1))
    reached = np.zeros(end + 1, bool)
    reached[breadth_first_order(graph, end, return_predecessors=False)] = True
    return reached[:end]
