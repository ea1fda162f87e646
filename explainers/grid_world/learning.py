"""The run of one agent, in chunks: `advance(phases, checkpoint, n) -> (chunk, checkpoint)`.

A run is a list of phases, each with its table, its rules and the time at which it begins. A checkpoint is the agent's
memory, with its position and seed, so that a run continued from it is identical to one without the interruption.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from explainers.grid_world import agents, compiled
from explainers.grid_world.learn_params import OneAgentParams, first_value, rules_of, table_of
from explainers.grid_world.memory import MOST_TRACES, Kind, Memory, Rules, Slot, Table, new_memory
from explainers.grid_world.world import ACTIONS

NO_RETURNS, NO_LENGTHS = np.zeros(0), np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Phase:
    """Settings from the time `first` on. acting: (states,) bool, the cells in which the agent can be."""

    first: int
    table: Table
    rules: Rules
    acting: np.ndarray


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state of a run. Do not write to its memory: copy it."""

    memory: Memory

    @property
    def time(self) -> int:
        return int(self.memory.where[Slot.TIME])


@dataclass(frozen=True, eq=False)
class Chunk:
    """n transitions.

    state, action, move, after, end: (n,) whole numbers; end is 1 where the episode ended, 2 where it was cut. reward,
    error: (n,); the TD error is NaN where nothing was learned. starts (n + 1,), positions, values: the estimates that
    each transition changed. before: the checkpoint from which the chunk began.
    """

    state: np.ndarray
    action: np.ndarray
    move: np.ndarray
    after: np.ndarray
    end: np.ndarray
    reward: np.ndarray
    error: np.ndarray
    starts: np.ndarray
    positions: np.ndarray
    values: np.ndarray
    before: Checkpoint


def phase_of(params: OneAgentParams, first: int = 0) -> Phase:
    """The phase with these settings."""
    rules = rules_of(params, params.algorithm)
    return Phase(first, table_of(params, params.algorithm), rules, params.grid.acting)


def first_checkpoint(params: OneAgentParams) -> Checkpoint:
    """An agent before its first step."""
    return Checkpoint(newborn(phase_of(params), params, params.seed))


def newborn(phase: Phase, params: OneAgentParams, seed: int) -> Memory:
    """The memory of an agent before its first step."""
    world = params.grid
    actions = len(ACTIONS[world.actions])
    columns = actions if phase.table.policy.size == 0 else 1
    memory = new_memory(phase.rules, world.states, actions, columns, first_value(params), seed)
    begin(phase, memory)
    return memory


def begin(phase: Phase, memory: Memory) -> None:
    """Starts an episode."""
    (compiled if compiled.ready() else agents).begin(phase.table, phase.rules, memory)


def believed(memory: Memory) -> np.ndarray:
    """(states, columns) the estimates, for double Q-learning the mean of both tables."""
    return (memory.q + memory.q2) / 2 if memory.q2.size else memory.q.copy()


def advance(phases: Sequence[Phase], checkpoint: Checkpoint, n: int) -> tuple[Chunk, Checkpoint]:
    """The next n transitions after a checkpoint, and the checkpoint after them."""
    memory = checkpoint.memory.copy()
    # an episode that is under way may update the estimates of its earlier steps as well
    room = (n + int(memory.where[Slot.STEP])) * _changes_each(phases)
    whole, real, starts = np.zeros((n, 5), np.int32), np.zeros((n, 2)), np.zeros(n + 1, np.int64)
    log = (np.zeros(1, np.int64), np.zeros(room, np.int64), np.zeros(room))
    done = 0
    for phase, steps in _pieces(phases, checkpoint.time, n):
        _enter_phase(phase, memory)
        piece = slice(done, done + steps)
        record = (whole[piece], real[piece], starts[done : done + steps + 1], log)
        take_transitions(phase, memory, steps, NO_RETURNS, NO_LENGTHS, record)
        done += steps
    changes = int(log[0][0])
    chunk = Chunk(
        *(whole[:, column] for column in range(5)),
        reward=real[:, 0],
        error=real[:, 1],
        starts=starts,
        positions=log[1][:changes],
        values=log[2][:changes],
        before=checkpoint,
    )
    return chunk, Checkpoint(memory)


def skip(phases: Sequence[Phase], checkpoint: Checkpoint, n: int) -> Checkpoint:
    """The checkpoint n transitions later, without a record."""
    memory = checkpoint.memory.copy()
    for phase, steps in _pieces(phases, checkpoint.time, n):
        _enter_phase(phase, memory)
        take_transitions(phase, memory, steps, NO_RETURNS, NO_LENGTHS, compiled.no_record())
    return Checkpoint(memory)


def take_transitions(
    phase: Phase, memory: Memory, steps: int, returns: np.ndarray, lengths: np.ndarray, record: tuple
) -> int:
    """As compiled.live, with the readable agents until the compiled ones are ready."""
    if compiled.ready():
        return compiled.live(phase.table, phase.rules, memory, steps, returns, lengths, record)
    return _take_readable(phase, memory, steps, returns, lengths, record)


def _take_readable(
    phase: Phase, memory: Memory, steps: int, returns: np.ndarray, lengths: np.ndarray, record: tuple
) -> int:
    whole, real, starts, (count, positions, values) = record
    transitions, done, t = agents.transitions(phase.table, phase.rules, memory), 0, 0
    while t < steps and (done < len(returns) or len(returns) == 0):
        so_far, length = float(memory.sums[0]), int(memory.where[Slot.STEP])
        taken = next(transitions)
        if len(whole):
            whole[t] = taken.state, taken.action, taken.move, taken.after, taken.end
            real[t] = taken.reward, taken.td_error
            for position, value in taken.changes:
                positions[count[0]], values[count[0]] = position, value
                count[0] += 1
            starts[t + 1] = count[0]
        if taken.end and len(returns):
            returns[done], lengths[done] = so_far + taken.reward, length + 1
        done, t = done + bool(taken.end), t + 1
    return t


def _pieces(phases: Sequence[Phase], time: int, n: int) -> list[tuple[Phase, int]]:
    """The phases of the n transitions from `time` on, each with its number of transitions."""
    pieces = []
    ends = [*(phase.first for phase in phases[1:]), time + n]
    for phase, end in zip(phases, ends, strict=True):
        steps = min(end, time + n) - max(phase.first, time)
        if steps > 0:
            pieces.append((phase, steps))
    return pieces


def _enter_phase(phase: Phase, memory: Memory) -> None:
    """At the beginning of a phase, sends an agent whose cell has become a wall or an end to the start."""
    if int(memory.where[Slot.TIME]) == phase.first and not phase.acting[memory.where[Slot.STATE]]:
        begin(phase, memory)


def _changes_each(phases: Sequence[Phase]) -> int:
    """The most estimates that a transition changes, on average over an episode."""
    rules = phases[0].rules
    if rules.kind == Kind.LAMBDA:
        return MOST_TRACES
    return 1 + (max(phase.rules.planning_steps for phase in phases) if rules.kind == Kind.DYNA else 0)
