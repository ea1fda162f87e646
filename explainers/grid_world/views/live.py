"""The picture of a live run: the agent, its estimates, and their distance to the truth."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from explainers.contract.messages import Message, joined
from explainers.drawing.axes import rounded_off
from explainers.drawing.panels import Axis, Cells, Code, Line, Lines
from explainers.drawing.scene import KEYFRAME_EVERY, Action, Column, Live, Patches, Scene, Track
from explainers.drawing.source_code import code_panel
from explainers.grid_world import agents
from explainers.grid_world.changes import parse
from explainers.grid_world.learn_params import (
    KINDS,
    LABELS,
    predicted_policy,
    rules_of,
    truth,
    truth_in_words,
)
from explainers.grid_world.learning import believed
from explainers.grid_world.live import LiveResult
from explainers.grid_world.live_params import MOST_CHUNKS, TRANSITIONS, LiveParams
from explainers.grid_world.memory import Slot
from explainers.grid_world.opening import opening
from explainers.grid_world.views.ground import SYMBOLS, ground, limit, side_by_side
from explainers.grid_world.views.live_steps import NOTHING, executed, phase_of_step
from explainers.grid_world.views.live_words import live_words

FAINTEST = 0.02  # relative to the largest true value: the least limit of the colours
BIN = 512  # transitions; the episodes that end in them share a point of the curve of returns
PAINT = Action("paint", hint="click or drag to change cells")
MORE_SYMBOLS: Mapping[str, str] = {
    "Q": Message("Q: what the agent believes an action to be worth"),
    "α": Message("alpha: the step size, how far Q moves towards its target"),
    "δ": Message("delta: the TD error, target minus Q"),
    "G": Message("G: the return, the discounted rewards to the end of the episode"),
    "λ": Message("lambda: how far back an error reaches"),
}


def scene(result: LiveResult) -> Scene:
    """One chunk of 5,120 transitions; the player appends it to the earlier ones."""
    params = result.params
    label = LABELS[params.algorithm]
    return Scene(
        name="grid_world.live",
        title=Message("An agent that learns: {algorithm}", algorithm=label),
        steps=TRANSITIONS,
        columns=side_by_side(
            params.grid, _world(result), _distance(result), _returns(result), _visits(result)
        ),
        words=live_words(result),
        stops=tuple(np.flatnonzero(result.chunk.end).tolist()),
        start=0 if result.first else opening(result.chunk),
        rate=10.0,
        symbols={**SYMBOLS, **MORE_SYMBOLS},
        step_name=Message("transition"),
        below=(Column(1, (_code(params),)),),
        live=Live(
            lineage=_lineage(params),
            changes=tuple(
                (change.time, f"{change.field}={change.value}") for change in parse(params.changes)
            ),
            first=result.first,
            last=params.chunk == MOST_CHUNKS - 1,
        ),
    )


def _lineage(params: LiveParams) -> str:
    """Names the run without its changes."""
    unchanged = params.model_copy(update={"changes": "", "chunk": 0})
    return hashlib.sha256(unchanged.model_dump_json().encode()).hexdigest()[:16]


def _world(result: LiveResult) -> Cells:
    """The agent in its world, with its estimates: action values, for a prediction values of states."""
    params, chunk = result.params, result.chunk
    at = phase_of_step(params)
    settings = [phase for _, phase in params.phases]
    most = limit(truth(settings[-1], params.algorithm))
    changing = Patches(_where_lived(result, settings, at), chunk.starts, chunk.positions, chunk.values)
    shared: dict[str, Any] = ground(settings[-1].grid) | {
        **_kinds(params),
        "height": 520,
        "action": PAINT,
        "paint": True,
        "limit": _limits(result, most),
        "told": Track(chunk.state[:, None]),
        "agent": Track(np.stack([chunk.after, chunk.action, executed(params, chunk), chunk.state], axis=1)),
        "flash": Track(np.stack([chunk.reward, rounded_off(chunk.error, NOTHING * most)], axis=1)),
        "flash_names": (Message("reward"), "δ"),
        "format": ".3g",
        "decimals": 2 if most < 10 else 1,
    }
    if params.algorithm == "td0":
        policies = [
            np.where(phase.grid.acting[:, None], predicted_policy(phase), np.nan).ravel()
            for phase in settings
        ]
        return Cells(
            name="world",
            title="The values that it predicts",
            subtitle="arrows: the policy that it follows",
            values=changing,
            policy=Track(np.stack(policies), at),
            **shared,
        )
    return Cells(
        name="world",
        title="What the agent believes: Q(s, a)",
        subtitle="triangles and disc: the actions; arrows: its policy; their length: the probability",
        q=changing,
        epsilon=_epsilon(result, settings, at),
        first_best=params.break_it == "first_index_ties",
        **shared,
    )


def _limits(result: LiveResult, most: float) -> Track:
    """The colours saturate at the largest estimate so far, so that even the first estimates are visible.

    most: the largest value of the truth.
    """
    chunk, size = result.chunk, np.zeros(TRANSITIONS)
    changed = np.flatnonzero(np.diff(chunk.starts))
    if len(changed):
        size[changed] = np.maximum.reduceat(np.abs(chunk.values), chunk.starts[changed])
    before = limit(believed(chunk.before.memory)) if chunk.before.time else 0.0
    return Track(np.maximum.accumulate(np.maximum(size, max(before, FAINTEST * most)))[:, None])


def _epsilon(result: LiveResult, settings: list[LiveParams], at: np.ndarray) -> Track:
    """The probability of a random action after each transition; it may fall with the number of episodes."""
    rules = [rules_of(phase, phase.algorithm) for phase in settings]
    epsilon = np.array([1.0 if each.uniform_behaviour else each.epsilon for each in rules])
    falls = np.array([each.epsilon_falls and not each.uniform_behaviour for each in rules])
    if not falls.any():
        return Track(epsilon[:, None], at)
    ended = int(result.chunk.before.memory.where[Slot.EPISODE]) + np.cumsum(result.chunk.end > 0)
    return Track((epsilon[at] / np.where(falls[at], np.sqrt(1 + ended), 1.0))[:, None])


def _where_lived(result: LiveResult, settings: list[LiveParams], at: np.ndarray) -> np.ndarray:
    """The keyframes, NaN in cells where no agent acts."""
    acting = np.stack([phase.grid.acting for phase in settings])[at[::KEYFRAME_EVERY]]
    columns = result.keyframes.shape[1] // acting.shape[1]
    return np.where(np.repeat(acting, columns, axis=1), result.keyframes, np.nan)


def _distance(result: LiveResult) -> Lines:
    """The distance to the truth, every 64 transitions."""
    x = result.first + KEYFRAME_EVERY * np.arange(len(result.rmse), dtype=float)
    highest, now = float(result.rmse.max()) or 1.0, result.params.now
    reference = Message(
        "root mean square; the truth is that of {policy}", policy=truth_in_words(now, now.algorithm)
    )
    return Lines(
        name="distance",
        title="How far its values are from the truth",
        subtitle=joined([reference, Message("dashed: a change")], " · ")
        if result.params.changes
        else reference,
        height=130,
        x=_time_axis(result),
        y=Axis(0, 1.08 * highest, ticks=(0.0, highest), format=".3g"),
        lines=(Line(x, result.rmse, hue="current"),),
        marks=_marks(result.params),
        shown=Track(np.arange(TRANSITIONS)[:, None] // KEYFRAME_EVERY + 1),
    )


def _returns(result: LiveResult) -> Lines:
    """The mean return of the episodes that ended in each 512 transitions."""
    ends = np.flatnonzero(result.chunk.end)
    bins = TRANSITIONS // BIN
    count = np.bincount(ends // BIN, minlength=bins)
    total = np.bincount(ends // BIN, result.returns, minlength=bins)
    mean = np.divide(total, count, out=np.full(bins, np.nan), where=count > 0)
    x = result.first + BIN * (np.arange(bins) + 1.0)
    # the first episodes of a new agent may be far below all others, and do not set the axis
    settled = mean if np.isnan(mean[len(mean) // 4 :]).all() else mean[len(mean) // 4 :]
    low, high = (float(np.nanmin(settled)), float(np.nanmax(mean))) if count.any() else (0.0, 1.0)
    low, high = min(low, 0.0), max(high, 0.0)
    room = 0.08 * (high - low or 1.0)
    return Lines(
        name="returns",
        title="What it earns: return of an episode",
        subtitle=Message("mean over each {transitions} transitions, without discount", transitions=BIN),
        height=110,
        x=_time_axis(result),
        y=Axis(low - room, high + room, ticks=(low, high) if high > low else (low,), format=".3g"),
        lines=(Line(x, mean, hue="good"),),
        marks=_marks(result.params),
        shown=Track(np.arange(TRANSITIONS)[:, None] // BIN),
    )


def _marks(params: LiveParams) -> tuple[float, ...]:
    """The transitions at which settings change."""
    return tuple(dict.fromkeys(float(change.time) for change in parse(params.changes)))


def _time_axis(result: LiveResult) -> Axis:
    begin, end = max(0, result.first + TRANSITIONS - 20 * TRANSITIONS), result.first + TRANSITIONS
    ticks = tuple(np.linspace(begin, end, 5)[:-1].tolist())  # the label needs the end
    return Axis(begin, end, label="transition", ticks=ticks, format="d")


def _visits(result: LiveResult) -> Cells:
    """The number of visits of each cell."""
    chunk, params = result.chunk, result.params
    world = params.now.grid
    shared: dict[str, Any] = ground(world) | _kinds(params)
    count = chunk.before.memory.visits.sum(axis=1).astype(float)
    # in an end no agent acts, so that no visits are counted
    count[~world.acting & (result.visits.ravel() == 0)] = np.nan
    frames, values, highest = [], np.zeros(TRANSITIONS), np.zeros(TRANSITIONS)
    most = int(np.nanmax(count, initial=0))
    for t, s in enumerate(chunk.state.tolist()):
        count[s] += 1
        most = max(most, int(count[s]))
        values[t], highest[t] = count[s], most
        if t % KEYFRAME_EVERY == 0:
            frames.append(count.copy())
    changing = Patches(np.stack(frames), np.arange(TRANSITIONS + 1), chunk.state, values)
    return Cells(
        name="visits",
        title="How often it was in each cell",
        subtitle="in the cells in which it acts",
        height=165,
        values=changing,
        limit=Track(highest[:, None]),
        decimals=0,
        **shared,
    )


def _kinds(params: LiveParams) -> dict[str, Track]:
    """The kind of each cell and the start. Painted cells appear one step early, before the agent meets them."""
    at = phase_of_step(params, later=1)
    grids = [phase.grid for _, phase in params.phases]
    return {
        "kinds": Track(np.stack([grid.cells.ravel() for grid in grids]), at),
        "start": Track(np.array([[grid.start] for grid in grids]), at),
    }


def _code(params: LiveParams) -> Code:
    rule = agents.UPDATE_RULES[KINDS[params.algorithm]]
    return code_panel(
        rule,
        title="The rule by which it learns",
        note="its compiled twin takes the same steps, and a check compares them",
        height=150,
    )
