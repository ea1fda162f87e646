"""The picture of a run that goes on: the agent, what it believes, and how far that is from the truth."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from explainers.drawing.axes import rounded_off
from explainers.drawing.formula import formula
from explainers.drawing.panels import Axis, Cells, Code, Line, Lines
from explainers.drawing.scene import KEYFRAME_EVERY, Action, Column, Live, Patches, Scene, Track, Words
from explainers.drawing.source_code import code_panel
from explainers.grid_world import agents
from explainers.grid_world.changes import parse
from explainers.grid_world.learn_params import (
    KINDS,
    LABELS,
    SCHEDULES,
    predicted_policy,
    rules_of,
    truth,
    truth_in_words,
)
from explainers.grid_world.learning import Chunk, believed
from explainers.grid_world.live import LiveResult
from explainers.grid_world.live_params import MOST_CHUNKS, TRANSITIONS, LiveParams
from explainers.grid_world.memory import Kind, Schedule, Slot
from explainers.grid_world.views.ground import SYMBOLS, directions, ground, limit, side_by_side

NOTHING = 1e-6  # of the largest value: an error that is none
FAINTEST = 0.02  # of the largest true value: below it estimates are as good as none
BIN = 512  # transitions whose episodes share a point of the curve of returns
PAINT = Action("paint", "click or drag to change cells")
MORE_SYMBOLS: Mapping[str, str] = {
    "Q": "Q: what the agent believes an action to be worth",
    "α": "alpha: the step size, how far Q moves towards its target",
    "δ": "delta: the TD error, target minus Q",
    "G": "G: the return, the discounted rewards to the end of the episode",
    "λ": "lambda: how far back an error reaches",
}
# What a transition may be, besides what was intended.
PLAIN, SLIPPED, ENDED, CUT, UNLEARNED = range(5)
OUTCOMES = (
    "Reward {2:.3g}, TD error **{3:.3g}**.",
    "It slips, and goes another way. Reward {2:.3g}, TD error **{3:.3g}**.",
    "Reward {2:.3g}, TD error **{3:.3g}**; the episode ends here with return {4:.4g}.",
    "Reward {2:.3g}, TD error **{3:.3g}**; the episode is cut here, with return {4:.4g}.",
    "Reward {2:.3g}. {waits}",
)
# of agents that learn later than they go: whose estimate the error is of
LEARNED = ", learned for row {{11:d}}, column {{12:d}}{}: TD error **"
LEARNED_OF = {Kind.N_STEP: LEARNED.format(""), Kind.MONTE_CARLO: LEARNED.format(" last of all")}
# why an agent learns nothing from a transition
WAITS = {
    Kind.MONTE_CARLO: "Monte Carlo learns when the episode is over.",
    Kind.N_STEP: "The first target of this episode is not complete yet: it needs n rewards.",
}
TARGET = r"\slot{2:(.3g} + \slot{7:.3g} \cdot \slot{8:(.4g}"
ONE_STEP = (
    rf"Q(s, a) \leftarrow \slot{{5:.4g}} + \slot{{6:.3g}} ({TARGET} - \slot{{5:(.4g}}) = \slot{{9:.4g}}"
)
WITH_RETURN = (
    r"Q(s, a) \leftarrow \slot{5:.4g} + \slot{6:.3g} (\slot{13:(.4g} - \slot{5:(.4g}) = \slot{9:.4g}"
)
SHORT = {
    Kind.DOUBLE_Q_LEARNING: r"\delta = r + \gamma Q_2(s', \operatorname{argmax}_a Q_1(s', a)) - Q_1(s, a) "
    r"= \slot{3:.4g}, \quad (Q_1 + Q_2) / 2 \leftarrow \slot{9:.4g}",
    Kind.N_STEP: r"G = r_1 + \gamma r_2 + \dots + \gamma^n Q(s', a'), \quad " + WITH_RETURN,
    Kind.LAMBDA: rf"\delta = {TARGET} - \slot{{5:(.4g}} = \slot{{3:.4g}}, \quad Q \leftarrow Q + \alpha \delta e",
    Kind.MONTE_CARLO: WITH_RETURN,
}


def scene(result: LiveResult) -> Scene:
    """5,120 transitions, which the player joins to those before."""
    params = result.params
    label = LABELS[params.algorithm]
    return Scene(
        name="grid_world.live",
        title=f"An agent that learns: {label}",
        steps=TRANSITIONS,
        columns=side_by_side(
            params.grid, _world(result), _distance(result), _returns(result), _visits(result)
        ),
        words=_words(result),
        stops=tuple(np.flatnonzero(result.chunk.end).tolist()),
        rate=10.0,
        symbols={**SYMBOLS, **MORE_SYMBOLS},
        step_name="transition",
        below=(Column(1, (_code(params),)),),
        live=Live(
            lineage=_lineage(params),
            changes=tuple((one.time, f"{one.field}={one.value}") for one in parse(params.changes)),
            first=result.first,
            last=params.chunk == MOST_CHUNKS - 1,
        ),
    )


def _lineage(params: LiveParams) -> str:
    same = params.model_copy(update={"changes": "", "chunk": 0})
    return hashlib.sha256(same.model_dump_json().encode()).hexdigest()[:16]


def _phase_of_step(params: LiveParams, later: int = 0) -> np.ndarray:
    """(steps,) the number of the phase in which each transition of the chunk lies, or one that comes `later`."""
    firsts = np.array([first for first, _ in params.phases])
    times = params.chunk * TRANSITIONS + np.arange(TRANSITIONS) + later
    return np.searchsorted(firsts, times, side="right") - 1


def _world(result: LiveResult) -> Cells:
    """The world as the agent believes it: action values, or of a prediction values, and the agent."""
    params, chunk = result.params, result.chunk
    at = _phase_of_step(params)
    settings = [held for _, held in params.phases]
    known = truth(settings[-1], params.algorithm)
    changing = Patches(_where_lived(result, settings, at), chunk.starts, chunk.positions, chunk.values)
    shared: dict[str, Any] = ground(settings[-1].grid) | {
        **_kinds(params),
        "height": 520,
        "action": PAINT,
        "paint": True,
        "limit": _limits(result, limit(known)),
        "told": Track(chunk.state[:, None]),
        "agent": Track(np.stack([chunk.after, chunk.action, _executed(params, chunk), chunk.state], axis=1)),
        "flash": Track(np.stack([chunk.reward, rounded_off(chunk.error, NOTHING * limit(known))], axis=1)),
        "flash_names": ("reward", "δ"),
        "format": ".3g",
        "decimals": 2 if limit(known) < 10 else 1,
    }
    if params.algorithm == "td0":
        policies = [
            np.where(held.grid.lived_in[:, None], predicted_policy(held), np.nan).ravel() for held in settings
        ]
        title = "The values that it predicts"
        return Cells(
            "world",
            title,
            "arrows: the policy that it follows",
            values=changing,
            policy=Track(np.stack(policies), at),
            **shared,
        )
    return Cells(
        "world",
        "What the agent believes: Q(s, a)",
        "triangles and disc: the actions; arrows: its policy, as long as probable",
        q=changing,
        epsilon=_epsilon(result, settings, at),
        first_best=params.break_it == "first_index_ties",
        **shared,
    )


def _limits(result: LiveResult, most: float) -> Track:
    """Where the colours saturate: at the largest estimate so far, so that the first ones are seen already.

    most: the largest value of the truth.
    """
    chunk, size = result.chunk, np.zeros(TRANSITIONS)
    changed = np.flatnonzero(np.diff(chunk.starts))
    if len(changed):
        size[changed] = np.maximum.reduceat(np.abs(chunk.values), chunk.starts[changed])
    before = limit(believed(chunk.before.memory)) if chunk.before.time else 0.0
    return Track(np.maximum.accumulate(np.maximum(size, max(before, FAINTEST * most)))[:, None])


def _epsilon(result: LiveResult, settings: list[LiveParams], at: np.ndarray) -> Track:
    """The probability of an action at random after each transition: it falls with the episodes that have ended."""
    rules = [rules_of(held, held.algorithm) for held in settings]
    epsilon = np.array([1.0 if one.uniform_behaviour else one.epsilon for one in rules])
    falls = np.array([one.epsilon_falls and not one.uniform_behaviour for one in rules])
    if not falls.any():
        return Track(epsilon[:, None], at)
    ended = int(result.chunk.before.memory.where[Slot.EPISODE]) + np.cumsum(result.chunk.end > 0)
    return Track((epsilon[at] / np.where(falls[at], np.sqrt(1 + ended), 1.0))[:, None])


def _where_lived(result: LiveResult, settings: list[LiveParams], at: np.ndarray) -> np.ndarray:
    """The keyframes, NaN in cells in which nobody acts."""
    acting = np.stack([held.grid.lived_in for held in settings])[at[::KEYFRAME_EVERY]]
    columns = result.keyframes.shape[1] // acting.shape[1]
    return np.where(np.repeat(acting, columns, axis=1), result.keyframes, np.nan)


def _executed(params: LiveParams, chunk: Chunk) -> np.ndarray:
    """(steps,) the action whose direction the agent took; -1 for a direction that no action has."""
    # the moves of the actions come first; slipping may add others behind them
    return np.where(chunk.move < len(directions(params.grid)), chunk.move, -1)


def _distance(result: LiveResult) -> Lines:
    """The distance to the truth, every 64 transitions."""
    x = result.first + KEYFRAME_EVERY * np.arange(len(result.rmse), dtype=float)
    highest, now = float(result.rmse.max()) or 1.0, result.params.now
    return Lines(
        name="distance",
        title="How far its values are from the truth",
        subtitle=f"root mean square; the truth is that of {truth_in_words(now, now.algorithm)}"
        + (" · dashed: a change" if result.params.changes else ""),
        height=130,
        x=_time_axis(result),
        y=Axis(0, 1.08 * highest, ticks=(0.0, highest), format=".3g"),
        lines=(Line(x, result.rmse, "current"),),
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
    # the first episodes of an agent that knows nothing may lie far below all others
    settled = mean if np.isnan(mean[len(mean) // 4 :]).all() else mean[len(mean) // 4 :]
    low, high = (float(np.nanmin(settled)), float(np.nanmax(mean))) if count.any() else (0.0, 1.0)
    low, high = min(low, 0.0), max(high, 0.0)
    room = 0.08 * (high - low or 1.0)
    return Lines(
        name="returns",
        title="What it earns: return of an episode",
        subtitle=f"mean over each {BIN} transitions, without discount",
        height=110,
        x=_time_axis(result),
        y=Axis(low - room, high + room, ticks=(low, high) if high > low else (low,), format=".3g"),
        lines=(Line(x, mean, "good"),),
        marks=_marks(result.params),
        shown=Track(np.arange(TRANSITIONS)[:, None] // BIN),
    )


def _marks(params: LiveParams) -> tuple[float, ...]:
    """The transitions from which on something was changed."""
    return tuple(dict.fromkeys(float(one.time) for one in parse(params.changes)))


def _time_axis(result: LiveResult) -> Axis:
    begin, end = max(0, result.first + TRANSITIONS - 20 * TRANSITIONS), result.first + TRANSITIONS
    ticks = tuple(float(one) for one in np.linspace(begin, end, 5)[:-1])  # the last place is the label's
    return Axis(begin, end, label="transition", ticks=ticks, format="d")


def _visits(result: LiveResult) -> Cells:
    """How often the agent was in each cell."""
    chunk, params = result.chunk, result.params
    now = params.phases[-1][1].grid
    shared: dict[str, Any] = ground(now) | _kinds(params)
    seen = chunk.before.memory.visits.sum(axis=1).astype(float)
    # no agent acts in an end, so that none is counted there
    seen[~now.lived_in & (result.visits.ravel() == 0)] = np.nan
    frames, values, highest = [], np.zeros(TRANSITIONS), np.zeros(TRANSITIONS)
    most = int(np.nanmax(seen, initial=0))
    for t, s in enumerate(chunk.state.tolist()):
        seen[s] += 1
        most = max(most, int(seen[s]))
        values[t], highest[t] = seen[s], most
        if t % KEYFRAME_EVERY == 0:
            frames.append(seen.copy())
    changing = Patches(np.stack(frames), np.arange(TRANSITIONS + 1), chunk.state, values)
    return Cells(
        "visits",
        "How often it was in each cell",
        "of the cells in which it acts",
        height=165,
        values=changing,
        limit=Track(highest[:, None]),
        decimals=0,
        **shared,
    )


def _kinds(params: LiveParams) -> dict[str, Track]:
    """What each cell is, and which is the start, as it changes while the agent runs: painted is seen at once."""
    at = _phase_of_step(params, later=1)
    grids = [held.grid for _, held in params.phases]
    return {
        "kinds": Track(np.stack([grid.cells.ravel() for grid in grids]), at),
        "start": Track(np.array([[grid.start] for grid in grids]), at),
    }


def _code(params: LiveParams) -> Code:
    rule = agents.LEARN[KINDS[params.algorithm]]
    twin = "its compiled twin takes the same steps, and a check compares them"
    return code_panel(rule, title="The rule by which it learns", note=twin, height=150)


# ------------------------------------------------------------------------------------------------- the words


def _words(result: LiveResult) -> Words:
    """The columns: 0 row, 1 column, 2 reward, 3 error, 4 return, 5 Q before, 6 alpha, 7 gamma, 8 V ahead, 9 Q after.

    10 episode, 11 row and 12 column of what is learned, 13 the return or target G that it moves towards.
    """
    params, chunk = result.params, result.chunk
    world, kind = params.grid, KINDS[params.algorithm]
    settings = [held for _, held in params.phases]
    at = _phase_of_step(params)
    gamma = np.array([1.0 if held.break_it == "forget_discount" else held.gamma for held in settings])[at]
    cell, before, after = _learned(result, kind)
    looked = np.divide(chunk.error + before - chunk.reward, gamma, out=np.zeros(TRANSITIONS), where=gamma > 0)
    size = np.divide(after - before, chunk.error, out=_alpha(settings)[at], where=np.abs(chunk.error) > 1e-12)
    values = np.stack(
        [
            chunk.state // world.columns + 1,
            chunk.state % world.columns + 1,
            chunk.reward,
            rounded_off(chunk.error, NOTHING * limit(truth(settings[-1], params.algorithm))),
            _return_so_far(chunk),
            before,
            size,
            gamma,
            looked,
            after,
            _episode_of(chunk),
            cell // world.columns + 1,
            cell % world.columns + 1,
            before + chunk.error,
        ],
        axis=1,
    )
    names = world.action_names
    outcome = np.where(_executed(params, chunk) != chunk.action, SLIPPED, PLAIN)
    outcome = np.where(chunk.end > 0, ENDED + (chunk.end - 1), outcome)
    outcome = np.where(np.isnan(chunk.error), UNLEARNED, outcome)
    waits = WAITS.get(kind, "")
    start = "Episode {10:d}, row {0:d}, column {1:d}: the agent goes **"
    one_step = kind == Kind.N_STEP and rules_of(params, params.algorithm).n == 1
    learned_of = "" if one_step else LEARNED_OF.get(kind, "")
    outcomes = [what.replace(", TD error **", learned_of) if learned_of else what for what in OUTCOMES]
    sentences = [
        f"{start if name != 'stay' else start.replace('goes', 'chooses to')}{name}**. {what}".replace(
            "{waits}", waits
        )
        for name in names
        for what in outcomes
    ]
    short = ONE_STEP if one_step else SHORT.get(kind, ONE_STEP)
    if params.algorithm == "td0":
        short = short.replace("Q", "V").replace("(s, a)", "(s)").replace("(s', a')", "(s')")
    learned = formula(short)
    formulas = ["" if what == OUTCOMES[UNLEARNED] else learned for _ in names for what in OUTCOMES]
    which = chunk.action * len(OUTCOMES) + outcome
    return Words(tuple(sentences), which, np.nan_to_num(values), tuple(formulas))


def _alpha(settings: list[LiveParams]) -> np.ndarray:
    """(phases,) the step size of each where it is constant, else 0: it cannot be seen from an update of size 0."""
    return np.array(
        [one.alpha if SCHEDULES[one.alpha_schedule] == Schedule.CONSTANT else 0.0 for one in settings]
    )


def _learned(result: LiveResult, kind: Kind) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(steps,) each: the cell of the estimate that a transition is told to change, and its value before and after.

    That of the pair that was tried; of n steps the one that waited longest; of Monte Carlo the last one.
    """
    chunk = result.chunk
    q = believed(chunk.before.memory)
    columns = q.shape[1]
    tried = chunk.state if columns == 1 else chunk.state * columns + chunk.action
    flat, starts = q.ravel(), chunk.starts.tolist()
    pairs, before, after = tried.copy(), np.zeros(TRANSITIONS), np.zeros(TRANSITIONS)
    for t, pair in enumerate(tried.tolist()):
        positions = chunk.positions[starts[t] : starts[t + 1]]
        values = chunk.values[starts[t] : starts[t + 1]]
        if kind in LEARNED_OF and len(positions):
            pair = int(positions[0 if kind == Kind.N_STEP else -1])
        # of Dyna-Q the update from the world comes first, and then those from its model
        own = values[positions == pair]
        pairs[t], before[t] = pair, flat[pair]
        if len(own) and kind == Kind.MONTE_CARLO:
            after[t], before[t] = own[-1], own[-2] if len(own) > 1 else flat[pair]
        else:
            after[t] = own[0] if len(own) else flat[pair]
        flat[positions] = values
    return pairs // columns, before, after


def _episode_of(chunk: Chunk) -> np.ndarray:
    """(steps,) the number of the episode in which each transition lies, from 1."""
    ended = np.cumsum(chunk.end > 0)
    return int(chunk.before.memory.where[Slot.EPISODE]) + 1 + np.concatenate([[0], ended[:-1]])


def _return_so_far(chunk: Chunk) -> np.ndarray:
    """(steps,) the sum of the rewards of the episode, this one among them."""
    total = float(chunk.before.memory.sums[0]) + np.cumsum(chunk.reward)
    ends = np.flatnonzero(chunk.end)
    # what was earned before the episode in which each transition lies
    earlier = np.concatenate([[0.0], total[ends]])
    return total - earlier[np.searchsorted(ends, np.arange(len(total)), side="left")]
