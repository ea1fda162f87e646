"""`grid_world.learn`: one agent from its first step to its last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from explainers.contract.experiment import experiment
from explainers.contract.messages import Message, plural
from explainers.contract.params import number
from explainers.contract.result import Check, Checked
from explainers.grid_world import arrival, compiled, exact
from explainers.grid_world.learn_params import BREAKS, OneAgentParams, converges_to_optimum, truth
from explainers.grid_world.learning import (
    NO_LENGTHS,
    NO_RETURNS,
    Checkpoint,
    advance,
    believed,
    newborn,
    phase_of,
    take_transitions,
)
from explainers.grid_world.memory import Memory, Slot
from explainers.grid_world.sound import COMPARED, checks_of

MEASURED = 200  # how often the distance to the truth is measured
MOST_STEPS = 50_000_000  # stops agents whose episodes take too long


class LearnParams(OneAgentParams):
    """An agent, and how long it learns."""

    episodes: int = number(500, "Episodes", "How many", least=1, most=1_000_000, comfort=(1, 5000), step=1)
    steps: int = number(
        0, "Transitions", "How many, in place of episodes; 0: by episodes", least=0, most=MOST_STEPS, step=1
    )


@dataclass(frozen=True, eq=False)
class LearnResult(Checked):
    """What an agent has learned.

    q: (states, actions), for a prediction (states, 1). values: (rows, columns) the maximum of q in each cell. returns,
    lengths: of the episodes that ended. rmse: the root mean square distance of the values to the truth, at most 200
    times at equal intervals. visits: (states, actions). policy: (states, actions), greedy; ties share the probability.
    steps: transitions.
    """

    q: np.ndarray
    values: np.ndarray
    returns: np.ndarray
    lengths: np.ndarray
    rmse: np.ndarray
    visits: np.ndarray
    policy: np.ndarray
    steps: int
    notes: tuple[str, ...]
    checks: tuple[Check, ...]


@experiment("grid_world.learn", breaks=BREAKS)
def learn(params: LearnParams) -> LearnResult:
    """An agent learns by trial and error, for a number of episodes or transitions."""
    phase, world = phase_of(params), params.grid
    memory = newborn(phase, params, params.seed)
    start = Checkpoint(memory.copy())
    true_values, rmse = truth(params, params.algorithm).max(axis=1), []
    returns = np.zeros(0 if params.steps else params.episodes)
    lengths = np.zeros(len(returns), np.int64)
    steps = 0
    for piece in _pieces(params):
        filled = (returns[piece], lengths[piece]) if not params.steps else (NO_RETURNS, NO_LENGTHS)
        left = (piece.stop - piece.start) if params.steps else MOST_STEPS - steps
        steps += take_transitions(phase, memory, left, *filled, compiled.no_record())
        rmse.append(_distance(memory, true_values, world.acting))
    ended = int(memory.where[Slot.EPISODE])
    q = believed(memory)
    chunk, _ = advance((phase,), start, min(COMPARED, steps))
    return LearnResult(
        q=q,
        values=q.max(axis=1).reshape(world.cells.shape),
        returns=returns[:ended],
        lengths=lengths[:ended],
        rmse=np.array(rmse),
        visits=memory.visits,
        policy=_greedy(q, world.acting),
        steps=steps,
        notes=(*arrival.advice(params, memory), *_notes(params, ended)),
        checks=tuple(checks_of(params, phase, chunk)),
    )


def _pieces(params: LearnParams) -> Iterator[slice]:
    """The run in at most 200 pieces, of transitions or of episodes."""
    whole = params.steps or params.episodes
    marks = np.unique(np.linspace(0, whole, min(MEASURED, whole) + 1).astype(int))
    for begin, end in pairwise(marks.tolist()):
        yield slice(begin, end)


def _distance(memory: Memory, true_values: np.ndarray, acting: np.ndarray) -> float:
    """sqrt(mean over cells (V - v)^2)."""
    V = believed(memory).max(axis=1)
    return float(np.sqrt(((V - true_values) ** 2)[acting].mean()))


def _greedy(q: np.ndarray, acting: np.ndarray) -> np.ndarray:
    best = (q >= q.max(axis=1, keepdims=True) - exact.TIE) & acting[:, None]
    return best / np.maximum(best.sum(axis=1, keepdims=True), 1)


def _notes(params: LearnParams, ended: int) -> Iterator[str]:
    if not params.steps and ended < params.episodes:
        yield plural(
            "Stopped after {steps:,} transitions, in which {count:,} episode ended.",
            "Stopped after {steps:,} transitions, in which {count:,} episodes ended.",
            count=ended,
            steps=MOST_STEPS,
        )
    if params.algorithm != "td0" and not converges_to_optimum(params, params.algorithm):
        yield Message(
            "The truth is here the best policy that explores as the agent does: it is worth less than v*."
        )
