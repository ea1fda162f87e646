"""`grid_world.live`: a chunk of a run that goes on, found by replaying the run up to it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from explainers.experiment import Check, Checked, experiment
from explainers.grid_world import agents
from explainers.grid_world.dice import Use
from explainers.grid_world.learn_params import OFF_POLICY, truth
from explainers.grid_world.learning import (
    Checkpoint,
    Chunk,
    Phase,
    advance,
    at_the_start,
    believed,
    phase_of,
    skip,
)
from explainers.grid_world.live_params import TRANSITIONS, LiveParams
from explainers.grid_world.memory import Slot, new_memory
from explainers.scene import KEYFRAME_EVERY

COMPARED = 512  # transitions that the check takes again, by the readable agents
MOST_CHECKPOINTS = 64
THROWS = 1000
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class LiveResult(Checked):
    """One chunk of a run.

    first: its first transition. q: (states, actions) the estimates at its end. values: (rows, columns). rmse: every 64
    transitions, the root mean square distance of the estimates of the cells to the truth. episodes: ended so far.
    returns, lengths: of the episodes that end in the chunk.
    """

    first: int
    q: np.ndarray
    values: np.ndarray
    rmse: np.ndarray
    episodes: int
    returns: np.ndarray
    lengths: np.ndarray
    visits: np.ndarray
    notes: tuple[str, ...]
    checks: tuple[Check, ...]
    params: LiveParams = field(metadata={"shell": False})
    chunk: Chunk = field(metadata={"shell": False})
    keyframes: np.ndarray = field(metadata={"shell": False})


@experiment("grid_world.live", view="explainers.grid_world.views.live:live_scene")
def live(params: LiveParams) -> LiveResult:
    """A piece of a run whose agent goes on learning while its settings change."""
    phases = tuple(phase_of(changed, first) for first, changed in params.phases)
    chunk, after = advance(phases, _checkpoint(params, phases), TRANSITIONS)
    _remember(params, params.chunk + 1, after)
    keyframes = _keyframes(chunk)
    returns, lengths = _episodes(chunk)
    q = believed(after.memory)
    world = params.phases[-1][1].grid
    return LiveResult(
        first=params.chunk * TRANSITIONS,
        q=q,
        values=q.max(axis=1).reshape(world.cells.shape),
        rmse=_distances(params, keyframes, chunk),
        episodes=int(after.memory.where[Slot.EPISODE]),
        returns=returns,
        lengths=lengths,
        visits=after.memory.visits.sum(axis=1).reshape(world.cells.shape),
        notes=tuple(_notes(params)),
        checks=tuple(_checks(params, phases, chunk)),
        params=params,
        chunk=chunk,
        keyframes=keyframes,
    )


# Where runs stood that were seen lately: to go on with them costs less than to replay them.
_checkpoints: OrderedDict[tuple[str, int], Checkpoint] = OrderedDict()
_lock = threading.Lock()


def _checkpoint(params: LiveParams, phases: tuple[Phase, ...]) -> Checkpoint:
    with _lock:
        found = _checkpoints.get(_key(params, params.chunk))
    return found or skip(phases, at_the_start(params), params.chunk * TRANSITIONS)


def _remember(params: LiveParams, number: int, checkpoint: Checkpoint) -> None:
    with _lock:
        _checkpoints[_key(params, number)] = checkpoint
        while len(_checkpoints) > MOST_CHECKPOINTS:
            _checkpoints.popitem(last=False)


def _key(params: LiveParams, number: int) -> tuple[str, int]:
    return params.model_copy(update={"chunk": 0}).model_dump_json(), number


def _keyframes(chunk: Chunk) -> np.ndarray:
    """(80, states * columns) the estimates after transitions 0, 64, 128, .. of the chunk."""
    q = believed(chunk.before.memory).ravel()
    frames, done = [], 0
    for t in range(0, len(chunk.state), KEYFRAME_EVERY):
        until = int(chunk.starts[t + 1])
        # of several changes of one estimate the last counts, as NumPy writes them in order
        q[chunk.positions[done:until]] = chunk.values[done:until]
        frames.append(q.copy())
        done = until
    return np.stack(frames)


def _distances(params: LiveParams, keyframes: np.ndarray, chunk: Chunk) -> np.ndarray:
    """(80,) sqrt(mean over cells (V - v)^2) against the truth of the phase that each lies in."""
    columns = keyframes.shape[1] // params.grid.states
    V = keyframes.reshape(len(keyframes), -1, columns).max(axis=2)
    times = params.chunk * TRANSITIONS + KEYFRAME_EVERY * np.arange(len(keyframes))
    distance = np.zeros(len(keyframes))
    ends = [*(first for first, _ in params.phases[1:]), np.inf]
    for (first, held), end in zip(params.phases, ends, strict=True):
        here = (times >= first) & (times < end)
        if here.any():
            v, acting = truth(held, params.algorithm).max(axis=1), held.grid.lived_in
            distance[here] = np.sqrt(((V[here] - v) ** 2)[:, acting].mean(axis=1))
    return distance


def _episodes(chunk: Chunk) -> tuple[np.ndarray, np.ndarray]:
    """The return and the length of each episode that ends in the chunk."""
    ends = np.flatnonzero(chunk.end)
    before = chunk.before.memory
    total, length = np.cumsum(chunk.reward)[ends], ends + 1
    total_before = np.concatenate([[-float(before.sums[0])], total[:-1]]) if len(ends) else total
    length_before = np.concatenate([[-int(before.where[Slot.STEP])], length[:-1]]) if len(ends) else length
    return total - total_before, length - length_before


def _checks(params: LiveParams, phases: tuple[Phase, ...], chunk: Chunk) -> Iterator[Check]:
    held = next(phase for phase in reversed(phases) if phase.first <= chunk.before.time)
    later = [phase.first for phase in phases if phase.first > chunk.before.time]
    n = min([COMPARED, len(chunk.state), *(first - chunk.before.time for first in later)])
    memory = chunk.before.memory.copy()
    if held.first == chunk.before.time and not held.lived_in[memory.where[Slot.STATE]]:
        agents.begin(held.table, held.rules, memory)
    running = agents.live(held.table, held.rules, memory)
    taken = [next(running) for _ in range(n)]
    places = np.array([(one.state, one.action, one.move, one.after) for one in taken])
    same = (chunk.state[:n], chunk.action[:n], chunk.move[:n], chunk.after[:n])
    wrong = float((places != np.stack(same, axis=1)).any(axis=1).sum())
    errors = np.array([one.td_error for one in taken])
    learned = ~np.isnan(errors)
    wrong += float(np.abs(errors - chunk.error[:n])[learned].sum())
    yield Check(
        f"the readable agent takes the same {n} transitions", wrong, 0.0, "agents.py, one step after another"
    )
    yield _at_rest(params, held)
    yield _fair(held)
    if params.alpha_schedule == "one_over_n":
        yield _forgets(held)


def _fair(held: Phase) -> Check:
    """Of equal actions each is chosen as often as the others, within five standard deviations."""
    actions = len(held.table.reaching)
    agent = agents.Agent(held.table, held.rules, new_memory(held.rules, 1, actions, actions, 0.0, 1))
    chosen = [agent.best(np.zeros(actions), time, Use.WHICH) for time in range(THROWS)]
    often = np.bincount(chosen, minlength=actions) / THROWS
    tolerance = 5 * float(np.sqrt((1 / actions) * (1 - 1 / actions) / THROWS))
    error = float(np.abs(often - 1 / actions).max())
    return Check(
        "of equal actions each is chosen equally often", error, tolerance, f"1/{actions} of {THROWS} choices"
    )


def _forgets(held: Phase) -> Check:
    """With steps of 1/n the first update puts the target in the place of the initial value."""
    actions = len(held.table.reaching)
    agent = agents.Agent(held.table, held.rules, new_memory(held.rules, 1, actions, actions, 1.0, 1))
    agent.learn(0, 0, 0.0)
    error = abs(float(agent.Q[0, 0]))
    return Check("one update with 1/n forgets the initial value 1", error, ROUNDING, "the mean of one sample")


def _at_rest(params: LiveParams, held: Phase) -> Check:
    """An agent that knows the truth has nothing to learn: the mean of its target is what it knows."""
    settings = next(one for first, one in reversed(params.phases) if first == held.first)
    known = truth(settings, params.algorithm)
    moves, rules, q = settings.grid.moves, held.rules, known.copy()
    q[~settings.grid.lived_in] = 0.0
    if rules.beyond_the_end:  # a terminal cell is never updated: it keeps what it was given at first
        q[~settings.grid.lived_in] = settings.q0
    actions = len(moves.mix)
    if params.algorithm == "td0":
        odds = np.diff(held.table.policy, axis=1, prepend=0)
        ahead = q[:, 0]
    elif params.algorithm in OFF_POLICY or rules.epsilon == 0 or rules.epsilon_falls:
        ahead = q.max(axis=1)
    else:
        epsilon = 1.0 if rules.uniform_behaviour else rules.epsilon
        # V(s) = epsilon mean_a Q(s, a) + (1 - epsilon) max_a Q(s, a)
        ahead = epsilon * q.mean(axis=1) + (1 - epsilon) * q.max(axis=1)
    goes_on = ~moves.ends | rules.beyond_the_end
    # target(s, a) = sum_m mix[a, m] (r(s, m) + gamma V(s'))
    target = (moves.reward + rules.gamma * goes_on * ahead[moves.to]) @ moves.mix.T
    if params.algorithm == "td0":
        target = (odds * target).sum(axis=1, keepdims=True)
    acting = settings.grid.lived_in
    error = np.abs(target - known)[acting].max(initial=0.0) / max(
        1.0, float(np.abs(known[acting]).max(initial=0.0))
    )
    what = "an agent that knew the truth would learn nothing, relative"
    return Check(what, float(error), ROUNDING, f"the exact answer for {actions} actions, by linear equations")


def _notes(params: LiveParams) -> Iterator[str]:
    if len(params.phases) > 1:
        count = len(params.phases) - 1
        yield f"{count} change{'s' * (count > 1)} made while it ran; the link carries them."
