"""The picture of the bridge: three learners of one update, their estimates against the truth, their errors."""

from __future__ import annotations

import numpy as np

from explainers.contract.messages import LiveMessage, Message, plural
from explainers.drawing.axes import GREATEST, axis, drawable, log_axis, sendable, steps_axis
from explainers.drawing.formula import formula
from explainers.drawing.panels import Axis, Layer, Line, Lines, Marks
from explainers.drawing.scene import Column, Hue, Row, Scene, Track, Words
from explainers.drawing.source_code import code_panel, line_with
from explainers.stochastic_approximation.bridge import GAMMA, STATES, TITLES, BridgeResult, Learner
from explainers.stochastic_approximation.views.opening import half_way

HUES: dict[str, Hue] = {"sgd": "query", "td": "key", "q_learning": "score"}
FAR = 20.0  # beyond which bars are cut off
CODE_TITLE = Message("The code that just ran, for all three")
SYMBOLS = {
    "w": Message("the one estimate that is updated"),
    "a": Message("the step size, by how often it was updated"),
}
SUBTITLES = {
    "sgd": Message("of 0 and 1; green: truth"),
    "td": Message("by state 1 to 5; green: truth"),
    "q_learning": Message("of each state left, right; green: truth"),
}
# v and q are of the state and the action that are updated.
COLUMNS = (
    "update", "x", "w_before", "w_after", "v_state", "v_target", "v_before", "v_after",
    "q_state", "q_target", "q_before", "q_after", "gamma",
)  # fmt: skip
SENTENCES = tuple(
    LiveMessage(
        "Update {update:d}. SGD: target {x:.2g}, w {w_before:.3g} → **{w_after:.3g}**. TD(0), state {v_state:d}: "
        "target {v_target:.3g}, v {v_before:.3g} → **{v_after:.3g}**. Q, state {q_state:d}, {way}: target "
        "{q_target:.3g}, q {q_before:.3g} → **{q_after:.3g}**.",
        way=way,
    )
    for way in (Message("left"), Message("right"))
)
FORMULA = (
    r"w \leftarrow w - a_k (w - \mathrm{target}) : \quad \mathrm{target} = x, \quad r + v(s'), \quad "
    r"r + \slot{gamma:.1f} \max_{a'} q(s', a')"
)


def scene(result: BridgeResult) -> Scene:
    """A step for each update of all three."""
    updates = result.params.updates
    lines = np.full(updates, line_with("-= ", Learner.move))
    return Scene(
        name="stochastic_approximation.bridge",
        title="One update, three names",
        steps=updates,
        columns=(
            Column(
                1,
                (
                    Row(tuple(_estimates(result, name) for name in TITLES), (0.6, 1, 1.4)),
                    _rmse(result),
                ),
            ),
        ),
        words=_words(result),
        start=half_way(result.rmse["td"], log=True),
        reopens=True,
        rate=max(4.0, updates / 20),
        symbols=SYMBOLS,
        step_name=Message("update"),
        below=(Column(1, (code_panel(Learner.move, lines, title=CODE_TITLE, height=200),)),),
    )


def _names(name: str) -> tuple[str, ...]:
    if name == "sgd":
        return (Message("the mean: "),)
    states = range(1, STATES + 1)
    if name == "td":
        return tuple(Message("v of state {state}: ", state=state) for state in states)
    return tuple(
        label
        for state in states
        for label in (
            Message("q of state {state}, left: ", state=state),
            Message("q of state {state}, right: ", state=state),
        )
    )


def _estimates(result: BridgeResult, name: str) -> Marks:
    """Bars of the first seed's estimates, and a line for each truth."""
    right, first = result.truth[name], result.first[name][1:]
    count = len(right)
    at, half = np.arange(1.0, count + 1), 0.38
    if name == "q_learning":  # two bars a state
        at, half = np.repeat(np.arange(1.0, STATES + 1), 2) + np.tile([-0.22, 0.22], STATES), 0.19
    highest = min(1.1 * max(1.0, float(np.quantile(first, 0.995))), FAR)
    lowest = max(min(0.0, float(np.quantile(first, 0.005))), -FAR)
    marks = [
        Layer(
            "rect", x=at - half, y=np.zeros(count), x2=at + half, y2=Track(drawable(first, lowest, highest)),
            hue=HUES[name], numbers=Track(sendable(first)), format=".3g", names=_names(name),
        ),
        Layer(
            "segment", x=at - half, y=right, x2=at + half, y2=right, hue="good", size=6, numbers=right, format=".3g",
            names=tuple(Message("truth, {estimate}", estimate=label) for label in _names(name)),
        ),
    ]  # fmt: skip
    return Marks(
        name=name,
        title=TITLES[name],
        subtitle=SUBTITLES[name],
        height=240,
        x=Axis(0.4, at[-1] + 0.6, ticks=() if name == "sgd" else tuple(range(1, STATES + 1)), format="d"),
        y=axis(lowest, highest, room=0, most=4),
        layers=tuple(marks),
    )


def _rmse(result: BridgeResult) -> Lines:
    k = np.arange(result.params.updates + 1.0)
    shown = {name: np.where(rmse < GREATEST, rmse, np.nan) for name, rmse in result.rmse.items()}
    return Lines(
        name="rmse",
        title=plural(
            "Root mean square error over {count:,} seed",
            "Root mean square error over {count:,} seeds",
            count=result.params.seeds,
        ),
        height=190,
        x=steps_axis(result.params.updates, label="update", first=0),
        y=log_axis(np.concatenate([rmse[1:] for rmse in shown.values()]), most_decades=4),
        lines=tuple(Line(k, shown[name], HUES[name], label=title) for name, title in TITLES.items()),
        shown=Track(k[1:, None] + 1),
        ahead=True,
    )


def _words(result: BridgeResult) -> Words:
    """The targets and estimates of the first seed at each update, before it and after."""
    updates = result.params.updates
    x, s, r, s_next, at, action, reward, at_next = result.moves.T
    rows, every = np.arange(updates), result.first
    entries = {
        "sgd": np.zeros(updates, int),
        "td": s.astype(int),
        "q_learning": (2 * at + action).astype(int),
    }
    before = {name: every[name][:-1][rows, entries[name]] for name in TITLES}
    after = {name: every[name][1:][rows, entries[name]] for name in TITLES}
    v = np.pad(every["td"][:-1], ((0, 0), (1, 1)))
    best = np.pad(every["q_learning"][:-1].reshape(updates, STATES, 2).max(axis=2), ((0, 0), (1, 1)))
    td_target = r + v[rows, s_next.astype(int) + 1]
    q_target = reward + GAMMA * best[rows, at_next.astype(int) + 1]
    columns = [
        rows + 1, x, before["sgd"], after["sgd"], s + 1, td_target, before["td"], after["td"],
        at + 1, q_target, before["q_learning"], after["q_learning"], np.full(updates, GAMMA),
    ]  # fmt: skip
    values = sendable(np.stack(columns, axis=1).astype(float))
    return Words(SENTENCES, action.astype(int), values, formulas=(formula(FORMULA),) * 2, columns=COLUMNS)
