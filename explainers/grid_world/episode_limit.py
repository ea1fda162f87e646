"""After how many steps an episode is cut, unless a reader says: from the time in which chance reaches the target."""

from __future__ import annotations

import math

from explainers.grid_world.exact import MOST_STATES
from explainers.grid_world.reach import hitting_time
from explainers.grid_world.world import World

LEAST, MOST = 100, 1_000_000
FACTOR = 1.5  # about four of five random walks arrive within 1.5 times their mean
READABLE = (1, 2, 5, 10)


def limit_of(world: World) -> int | None:
    """The least of 100, 200, 500, 1000, .. that is at least 1.5 times the hitting time of a random walk.

    None where that time is infinite, and in worlds of more than MOST_STATES cells, where it takes long to compute.
    """
    if world.states > MOST_STATES or math.isinf(time := hitting_time(world)):
        return None
    least = FACTOR * time
    if least <= LEAST:
        return LEAST
    magnitude = 10 ** math.floor(math.log10(least))
    return min(MOST, next(part * magnitude for part in READABLE if part * magnitude >= least))
