"""A run of one agent, piece by piece: `advance(phases, checkpoint, n) -> (chunk, checkpoint)`.

A run is a list of phases: each has its table and rules, and begins at a time. A checkpoint is all that was learned and
where the agent is; with the seed in it, the run goes on from there exactly as it would have.
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
    """Settings that hold from a time on. lived_in: (states,) bool, where an agent can be."""

    first: int
    table: Table
    rules: Rules
    lived_in: np.ndarray


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Where a run stands. Its memory must not be written to: copy it."""

    memory: Memory

    @property
    def time(self) -> int:
        return int(self.memory.where[Slot.TIME])


@dataclass(frozen=True, eq=False)
class Chunk:
    """What happened in n transitions.

    state, action, move, after, end: (n,) whole numbers; end is 1 where the episode ended, 2 where it was cut. reward,
    error: (n,), the TD error NaN where nothing was learned. starts: (n + 1,), positions, values: the changes of the
    estimates by each transition. before: where the run stood.
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
    """The phase in which these settings hold."""
    rules = rules_of(params, params.algorithm)
    return Phase(first, table_of(params, params.algorithm), rules, params.grid.lived_in)


def at_the_start(params: OneAgentParams) -> Checkpoint:
    """An agent that has learned nothing, in the start."""
    return Checkpoint(newborn(phase_of(params), params, params.seed))


def newborn(phase: Phase, params: OneAgentParams, seed: int) -> Memory:
    """The memory of an agent that begins."""
    world = params.grid
    actions = len(ACTIONS[world.actions])
    columns = actions if phase.table.policy.size == 0 else 1
    memory = new_memory(phase.rules, world.states, actions, columns, first_value(params), seed)
    begin(phase, memory)
    return memory


def begin(phase: Phase, memory: Memory) -> None:
    """Puts the agent where an episode begins."""
    (compiled if compiled.ready() else agents).begin(phase.table, phase.rules, memory)


def believed(memory: Memory) -> np.ndarray:
    """(states, columns) the estimates that are shown: of double Q-learning the mean of both."""
    return (memory.q + memory.q2) / 2 if memory.q2.size else memory.q.copy()


def advance(phases: Sequence[Phase], checkpoint: Checkpoint, n: int) -> tuple[Chunk, Checkpoint]:
    """n transitions from a checkpoint, recorded, and the checkpoint after them."""
    memory = checkpoint.memory.copy()
    most = n + int(memory.where[Slot.STEP])
    room = most * _changes_each(phases)
    whole, real, starts = np.zeros((n, 5), np.int32), np.zeros((n, 2)), np.zeros(n + 1, np.int64)
    log = (np.zeros(1, np.int64), np.zeros(room, np.int64), np.zeros(room))
    done = 0
    for phase, steps in _pieces(phases, checkpoint.time, n):
        _move_in(phase, memory)
        piece = slice(done, done + steps)
        record = (whole[piece], real[piece], starts[done : done + steps + 1], log)
        go_on(phase, memory, steps, NO_RETURNS, NO_LENGTHS, record)
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
        _move_in(phase, memory)
        go_on(phase, memory, steps, NO_RETURNS, NO_LENGTHS, compiled.no_record())
    return Checkpoint(memory)


def go_on(
    phase: Phase, memory: Memory, steps: int, returns: np.ndarray, lengths: np.ndarray, record: tuple
) -> int:
    """As compiled.live; by the readable agents until the compiled ones are ready."""
    if compiled.ready():
        return compiled.live(phase.table, phase.rules, memory, steps, returns, lengths, record)
    return _watched(phase, memory, steps, returns, lengths, record)


def _watched(
    phase: Phase, memory: Memory, steps: int, returns: np.ndarray, lengths: np.ndarray, record: tuple
) -> int:
    whole, real, starts, (count, positions, values) = record
    running, done, t = agents.live(phase.table, phase.rules, memory), 0, 0
    while t < steps and (done < len(returns) or len(returns) == 0):
        so_far, length = float(memory.sums[0]), int(memory.where[Slot.STEP])
        one = next(running)
        if len(whole):
            whole[t] = one.state, one.action, one.move, one.after, one.end
            real[t] = one.reward, one.td_error
            for position, value in one.changes:
                positions[count[0]], values[count[0]] = position, value
                count[0] += 1
            starts[t + 1] = count[0]
        if one.end and len(returns):
            returns[done], lengths[done] = so_far + one.reward, length + 1
        done, t = done + bool(one.end), t + 1
    return t


def _pieces(phases: Sequence[Phase], time: int, n: int) -> list[tuple[Phase, int]]:
    """The phases that the n transitions from `time` on lie in, with how many lie in each."""
    pieces = []
    ends = [*(phase.first for phase in phases[1:]), time + n]
    for phase, end in zip(phases, ends, strict=True):
        steps = min(end, time + n) - max(phase.first, time)
        if steps > 0:
            pieces.append((phase, steps))
    return pieces


def _move_in(phase: Phase, memory: Memory) -> None:
    """At the beginning of a phase: an agent whose cell has become a wall, or an end, goes to the start."""
    if int(memory.where[Slot.TIME]) == phase.first and not phase.lived_in[memory.where[Slot.STATE]]:
        begin(phase, memory)


def _changes_each(phases: Sequence[Phase]) -> int:
    """How many estimates a transition changes at most, on average over an episode."""
    rules = phases[0].rules
    if rules.kind == Kind.LAMBDA:
        return MOST_TRACES
    return 1 + (max(phase.rules.planning_steps for phase in phases) if rules.kind == Kind.DYNA else 0)
