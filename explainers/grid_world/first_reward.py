"""What an agent learns by its first reward."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from explainers.contract.messages import Message
from explainers.grid_world.learning import advance, at_the_start, phase_of
from explainers.grid_world.live_params import LiveParams

PATIENCE = 3000  # transitions in which the first reward must come


@dataclass(frozen=True)
class FirstReward:
    """The first positive reward of a run.

    transition: counted from 1. where: the cell in which it was earned. estimates: how many the agent has. positive: how
    many of them become positive by it.
    """

    transition: int
    where: Message
    estimates: int
    positive: int


@lru_cache(maxsize=256)
def first_reward(params: LiveParams) -> FirstReward | None:
    """How many estimates become positive by the first positive reward.

    None where none comes within PATIENCE transitions and before a setting changes, where estimates begin above zero,
    and in a broken run.
    """
    changed = [first for first, _ in params.phases[1:]]
    until = min([PATIENCE, *changed])
    if params.q0 > 0 or params.break_it != "none" or until == 0:
        return None
    chunk, _ = advance((phase_of(params),), at_the_start(params), until)
    met = np.flatnonzero(chunk.reward > 0)
    if not len(met):
        return None
    t = int(met[0])
    new = slice(chunk.starts[t], chunk.starts[t + 1])
    row, column = divmod(int(chunk.state[t]), params.grid.columns)
    return FirstReward(
        transition=t + 1,
        where=Message("row {row}, column {column}", row=row + 1, column=column + 1),
        estimates=chunk.before.memory.q.size,
        positive=len(set(chunk.positions[new][chunk.values[new] > 0].tolist())),
    )
