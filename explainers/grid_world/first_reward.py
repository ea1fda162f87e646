"""What an agent learns from its first positive reward."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from explainers.contract.messages import Message
from explainers.grid_world.learning import advance, first_checkpoint, phase_of
from explainers.grid_world.live_params import LiveParams

PATIENCE = 3000  # transitions to wait for the first reward


@dataclass(frozen=True)
class FirstReward:
    """The first positive reward of a run.

    transition: counted from 1. where: the cell in which the agent was. estimates: how many the agent has. positive: how
    many of them the transition makes positive.
    """

    transition: int
    where: Message
    estimates: int
    positive: int


@lru_cache(maxsize=256)
def first_reward(params: LiveParams) -> FirstReward | None:
    """The first positive reward of the run, and how many estimates it makes positive.

    None if there is none within PATIENCE transitions or before a setting changes, if estimates begin above zero, and in
    a run with a break.
    """
    changed = [first for first, _ in params.phases[1:]]
    until = min([PATIENCE, *changed])
    if params.q0 > 0 or params.break_it != "none" or until == 0:
        return None
    chunk, _ = advance((phase_of(params),), first_checkpoint(params), until)
    positive = np.flatnonzero(chunk.reward > 0)
    if not len(positive):
        return None
    t = int(positive[0])
    new = slice(chunk.starts[t], chunk.starts[t + 1])
    row, column = divmod(int(chunk.state[t]), params.grid.columns)
    return FirstReward(
        transition=t + 1,
        where=Message("row {row}, column {column}", row=row + 1, column=column + 1),
        estimates=chunk.before.memory.q.size,
        positive=len(set(chunk.positions[new][chunk.values[new] > 0].tolist())),
    )
