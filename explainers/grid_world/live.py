"""`grid_world.live`: a chunk of a run whose settings may change, computed by replaying the run up to it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from explainers.contract.experiment import experiment
from explainers.contract.messages import Message, joined
from explainers.contract.result import Check, Checked
from explainers.drawing.scene import KEYFRAME_EVERY
from explainers.grid_world import arrival, changes
from explainers.grid_world.learn_params import truth
from explainers.grid_world.learning import (
    Checkpoint,
    Chunk,
    Phase,
    advance,
    believed,
    first_checkpoint,
    phase_of,
    skip,
)
from explainers.grid_world.live_params import BREAKS, TRANSITIONS, LiveParams
from explainers.grid_world.memory import Slot
from explainers.grid_world.sound import checks_of

MOST_CHECKPOINTS = 64
NAMED_CHANGES = 5  # in a note: the latest ones


@dataclass(frozen=True, eq=False)
class LiveResult(Checked):
    """One chunk of a run.

    first: its first transition. q: (states, actions) the estimates at its end. values: (rows, columns) the maximum of q
    in each cell. rmse: the root mean square distance of the values to the truth, every 64 transitions; distance: its
    last value. episodes: ended so far. returns, lengths: of the episodes that end in the chunk. visits: (rows, columns)
    so far.
    """

    first: int
    q: np.ndarray
    values: np.ndarray
    rmse: np.ndarray
    distance: float
    episodes: int
    returns: np.ndarray
    lengths: np.ndarray
    visits: np.ndarray
    notes: tuple[str, ...]
    checks: tuple[Check, ...]
    params: LiveParams = field(metadata={"shell": False})
    chunk: Chunk = field(metadata={"shell": False})
    keyframes: np.ndarray = field(metadata={"shell": False})


@experiment("grid_world.live", breaks=BREAKS)
def live(params: LiveParams) -> LiveResult:
    """A chunk of the run of an agent that keeps learning while its settings change."""
    phases = tuple(phase_of(changed, first) for first, changed in params.phases)
    chunk, after = advance(phases, _checkpoint(params, phases), TRANSITIONS)
    _remember(params, params.chunk + 1, after)
    keyframes = _keyframes(chunk)
    returns, lengths = _episodes(chunk)
    rmse = _distances(params, keyframes, chunk)
    q = believed(after.memory)
    world = params.phases[-1][1].grid
    return LiveResult(
        first=params.chunk * TRANSITIONS,
        q=q,
        values=q.max(axis=1).reshape(world.cells.shape),
        rmse=rmse,
        distance=float(rmse[-1]),
        episodes=int(after.memory.where[Slot.EPISODE]),
        returns=returns,
        lengths=lengths,
        visits=after.memory.visits.sum(axis=1).reshape(world.cells.shape),
        notes=(*arrival.advice(params, after.memory), *_notes(params)),
        checks=tuple(_checks(params, phases, chunk)),
        params=params,
        chunk=chunk,
        keyframes=keyframes,
    )


# The ends of recent chunks: continuing from there is cheaper than replaying the run.
_checkpoints: OrderedDict[tuple[str, int], Checkpoint] = OrderedDict()
_lock = threading.Lock()


def _checkpoint(params: LiveParams, phases: tuple[Phase, ...]) -> Checkpoint:
    with _lock:
        found = _checkpoints.get(_key(params, params.chunk))
    return found or skip(phases, first_checkpoint(params), params.chunk * TRANSITIONS)


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
        # NumPy writes in order, so that the last of several changes of an estimate remains
        q[chunk.positions[done:until]] = chunk.values[done:until]
        frames.append(q.copy())
        done = until
    return np.stack(frames)


def _distances(params: LiveParams, keyframes: np.ndarray, chunk: Chunk) -> np.ndarray:
    """(80,) sqrt(mean over cells (V - v)^2), with v the truth of the phase at that time."""
    columns = keyframes.shape[1] // params.grid.states
    V = keyframes.reshape(len(keyframes), -1, columns).max(axis=2)
    times = params.chunk * TRANSITIONS + KEYFRAME_EVERY * np.arange(len(keyframes))
    distance = np.zeros(len(keyframes))
    ends = [*(first for first, _ in params.phases[1:]), np.inf]
    for (first, settings), end in zip(params.phases, ends, strict=True):
        here = (times >= first) & (times < end)
        if here.any():
            v, acting = truth(settings, params.algorithm).max(axis=1), settings.grid.acting
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


def _notes(params: LiveParams) -> Iterator[str]:
    made = changes.parse(params.changes)
    rules = {"rules": params.now.rules, "length": params.now.episode_length}
    if not made:
        yield Message("{rules} An episode is cut after {length:,} steps.", **rules)
        return
    yield Message(
        "After the last change, at {time:,}: {rules} An episode is cut after {length:,} steps.",
        time=made[-1].time,
        **rules,
    )
    latest = joined([_change_in_words(change) for change in made[-NAMED_CHANGES:]])
    if (earlier := len(made) - NAMED_CHANGES) > 0:
        yield Message(
            "Changed while it ran, which the link carries: {earlier} earlier, {changes}.",
            earlier=earlier,
            changes=latest,
        )
    else:
        yield Message("Changed while it ran, which the link carries: {changes}.", changes=latest)


def _change_in_words(change: changes.Change) -> Message:
    if change.field == "world":
        return Message("from {time:,} cells painted", time=change.time)
    title = LiveParams.model_fields[change.field].title or change.field
    return Message("from {time:,} {field} {value}", time=change.time, field=title, value=change.value)


def _checks(params: LiveParams, phases: tuple[Phase, ...], chunk: Chunk) -> Iterator[Check]:
    """The checks of the phase in which the chunk begins, on its transitions in that phase."""
    start = chunk.before.time
    at = max(number for number, phase in enumerate(phases) if phase.first <= start)
    until = min([phase.first - start for phase in phases[at + 1 :]] + [len(chunk.state)])
    yield from checks_of(params.phases[at][1], phases[at], chunk, until)
