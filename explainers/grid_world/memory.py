"""The state of an agent as arrays, shared by the readable agents (`agents.py`) and the compiled ones.

Estimates have a row for each state and a column for each action. A prediction, which estimates the values of a given
policy, has one column.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np

MOST_TRACES = 128  # pairs that have an eligibility trace at once
TRACE_UNTIL = 1e-3  # smaller traces are set to 0


class Kind(IntEnum):
    """The rule by which an agent learns."""

    SARSA = 0
    EXPECTED_SARSA = 1
    Q_LEARNING = 2
    DOUBLE_Q_LEARNING = 3
    N_STEP = 4
    LAMBDA = 5
    DYNA = 6
    MONTE_CARLO = 7


class Schedule(IntEnum):
    """How the step size of a pair falls with the number n of its updates."""

    CONSTANT = 0
    ONE_OVER_N = 1
    POLYNOMIAL = 2  # alpha / n^0.7
    ONE_OVER_N_PLUS_ONE = 3  # the initial value counts as one more sample


class Table(NamedTuple):
    """The world as the agents' loop reads it: World.moves with cumulative probabilities.

    to, reward, ends: (states, moves). reaching: (actions, moves) cumulative probabilities. starts: (starts,) the states
    in which episodes may begin. policy: (states, actions) cumulative probabilities of the predicted policy; (0, 0) for
    control. target: (states,) bool.
    """

    to: np.ndarray
    reward: np.ndarray
    ends: np.ndarray
    reaching: np.ndarray
    starts: np.ndarray
    policy: np.ndarray
    target: np.ndarray


class Rules(NamedTuple):
    """The settings of an algorithm. gamma is 1 where the break removes the discount."""

    kind: int
    gamma: float
    alpha: float
    schedule: int
    epsilon: float
    epsilon_falls: bool  # epsilon / sqrt(1 + episode)
    trace_decay: float  # lambda
    n: int
    planning_steps: int
    first_visit: bool
    exploring_starts: bool
    uniform_behaviour: bool
    first_of_ties: bool
    beyond_the_end: bool  # whether it bootstraps from terminal cells
    episode_length: int


class Memory(NamedTuple):
    """Everything that changes while an agent learns.

    q, q2: (states, columns) estimates; q2 only for double Q-learning. count: (states, columns) updates. visits:
    (states, actions). trace: (states, columns) eligibility traces; active: (MOST_TRACES,) the pairs that have one.
    model_to, model_reward, model_ends: (states, actions) the model of Dyna-Q; seen: its pairs in the order of their
    first visit. past_pair, past_reward: of the episode so far (Monte Carlo) or its last n steps. first: (states,
    columns) the step of the episode that visited a pair first, from 1. where: whole numbers, indexed by Slot. sums:
    (1,) the return of the episode so far, without discount.
    """

    q: np.ndarray
    q2: np.ndarray
    count: np.ndarray
    visits: np.ndarray
    trace: np.ndarray
    active: np.ndarray
    model_to: np.ndarray
    model_reward: np.ndarray
    model_ends: np.ndarray
    seen: np.ndarray
    past_pair: np.ndarray
    past_reward: np.ndarray
    first: np.ndarray
    where: np.ndarray
    sums: np.ndarray

    def copy(self) -> Memory:
        return Memory(*(array.copy() for array in self))


class Slot(IntEnum):
    """The indices of Memory.where."""

    STATE = 0
    ACTION = 1
    TIME = 2
    EPISODE = 3
    STEP = 4  # of the episode
    TRACES = 5
    SEEN = 6
    SEED = 7  # of the random numbers
    REACHED = 8  # how often the agent has entered a target
    CUT = 9  # episodes that were cut


def new_memory(rules: Rules, states: int, actions: int, columns: int, q0: float, seed: int) -> Memory:
    """An agent before its first step: every estimate is q0. `begin` chooses its first state and action."""
    pairs = (states, columns)
    model = (states, actions) if rules.kind == Kind.DYNA else (0, 0)
    past = {Kind.MONTE_CARLO: rules.episode_length, Kind.N_STEP: rules.n}.get(Kind(rules.kind), 0)
    where = np.zeros(len(Slot), np.int64)
    where[Slot.SEED] = seed
    return Memory(
        q=np.full(pairs, q0, float),
        q2=np.full(pairs if rules.kind == Kind.DOUBLE_Q_LEARNING else (0, 0), q0, float),
        count=np.zeros(pairs, np.int64),
        visits=np.zeros((states, actions), np.int64),
        trace=np.zeros(pairs if rules.kind == Kind.LAMBDA else (0, 0)),
        active=np.zeros(MOST_TRACES if rules.kind == Kind.LAMBDA else 0, np.int64),
        model_to=np.zeros(model, np.int32),
        model_reward=np.zeros(model),
        model_ends=np.zeros(model, np.bool_),
        seen=np.zeros(states * actions if rules.kind == Kind.DYNA else 0, np.int64),
        past_pair=np.zeros(past, np.int64),
        past_reward=np.zeros(past),
        first=np.zeros(pairs if rules.kind == Kind.MONTE_CARLO else (0, 0), np.int64),
        where=where,
        sums=np.zeros(1),
    )
