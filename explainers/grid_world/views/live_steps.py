"""Numbers of each transition of a chunk, which the panels and the words show."""

from __future__ import annotations

import numpy as np

from explainers.grid_world.learn_params import KINDS, SCHEDULES
from explainers.grid_world.learning import Chunk, believed
from explainers.grid_world.live import LiveResult
from explainers.grid_world.live_params import TRANSITIONS, LiveParams
from explainers.grid_world.memory import Kind, Schedule, Slot
from explainers.grid_world.views.ground import directions

NOTHING = 1e-6  # relative to the largest value: smaller errors are shown as 0
LEARNS_LATER = (Kind.N_STEP, Kind.MONTE_CARLO)  # update the estimates of earlier transitions


def phase_of_step(params: LiveParams, later: int = 0) -> np.ndarray:
    """(steps,) the number of the phase of each transition, or of the one that comes `later`."""
    firsts = np.array([first for first, _ in params.phases])
    times = params.chunk * TRANSITIONS + np.arange(TRANSITIONS) + later
    return np.searchsorted(firsts, times, side="right") - 1


def executed(params: LiveParams, chunk: Chunk) -> np.ndarray:
    """(steps,) the action whose direction the agent took; -1 for a direction that no action has."""
    # the moves of the actions come first; slipping may add others behind them
    return np.where(chunk.move < len(directions(params.grid)), chunk.move, -1)


def constant_alpha(params: LiveParams) -> np.ndarray:
    """(steps,) the step size where it is constant, else 0: an update of size 0 does not reveal it."""
    settings = [phase for _, phase in params.phases]
    alpha = [
        phase.alpha if SCHEDULES[phase.alpha_schedule] == Schedule.CONSTANT else 0.0 for phase in settings
    ]
    return np.array(alpha)[phase_of_step(params)]


def learned_update(result: LiveResult) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(steps,) each: the cell of the estimate whose update is described, and its value before and after.

    Of n-step methods it is the pair that waited longest, of Monte Carlo the last one updated, else the pair just tried.
    """
    chunk, kind = result.chunk, KINDS[result.params.algorithm]
    q = believed(chunk.before.memory)
    columns = q.shape[1]
    tried = chunk.state if columns == 1 else chunk.state * columns + chunk.action
    flat, starts = q.ravel(), chunk.starts.tolist()
    pairs, before, after = tried.copy(), np.zeros(TRANSITIONS), np.zeros(TRANSITIONS)
    for t, pair in enumerate(tried.tolist()):
        positions = chunk.positions[starts[t] : starts[t + 1]]
        values = chunk.values[starts[t] : starts[t + 1]]
        if kind in LEARNS_LATER and len(positions):
            pair = int(positions[0 if kind == Kind.N_STEP else -1])
        # Dyna-Q updates from the world first, then from its model
        own = values[positions == pair]
        pairs[t], before[t] = pair, flat[pair]
        if len(own) and kind == Kind.MONTE_CARLO:
            after[t], before[t] = own[-1], own[-2] if len(own) > 1 else flat[pair]
        else:
            after[t] = own[0] if len(own) else flat[pair]
        flat[positions] = values
    return pairs // columns, before, after


def episode_of_step(chunk: Chunk) -> np.ndarray:
    """(steps,) the number of the episode of each transition, from 1."""
    ended = np.cumsum(chunk.end > 0)
    return int(chunk.before.memory.where[Slot.EPISODE]) + 1 + np.concatenate([[0], ended[:-1]])


def return_so_far(chunk: Chunk) -> np.ndarray:
    """(steps,) the sum of the rewards of the episode up to and including each transition."""
    total = float(chunk.before.memory.sums[0]) + np.cumsum(chunk.reward)
    ends = np.flatnonzero(chunk.end)
    # rewards of the episodes before
    earlier = np.concatenate([[0.0], total[ends]])
    return total - earlier[np.searchsorted(ends, np.arange(len(total)), side="left")]
