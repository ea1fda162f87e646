"""The picture of the bridge: three learners of one update, their estimates against the truth, their errors."""

from __future__ import annotations

import numpy as np

from explainers.drawing.axes import GREATEST, axis, drawable, log_axis, sendable, steps_axis
from explainers.drawing.formula import formula
from explainers.drawing.panels import Axis, Layer, Line, Lines, Marks
from explainers.drawing.scene import Column, Hue, Row, Scene, Track, Words
from explainers.drawing.source_code import code_panel, line_with
from explainers.stochastic_approximation.bridge import GAMMA, STATES, TITLES, BridgeResult, Learner

HUES: dict[str, Hue] = {"sgd": "query", "td": "key", "q_learning": "score"}
FAR = 20.0  # beyond which bars are cut off
CODE_TITLE = "The code that just ran, for all three"
SYMBOLS = {"w": "the one estimate that is updated", "a": "the step size, by how often it was updated"}
SENTENCE = (
    "Update {0:d}. SGD: target {1:.2g}, w {2:.3g} → **{3:.3g}**. TD(0), state {4:d}: target {5:.3g}, v {6:.3g} → "
    "**{7:.3g}**. Q, state {8:d}, {way}: target {9:.3g}, q {10:.3g} → **{11:.3g}**."
)
FORMULA = (
    r"w \leftarrow w - a_k (w - \mathrm{target}) : \quad \mathrm{target} = x, \quad r + v(s'), \quad "
    r"r + \slot{12:.1f} \max_{a'} q(s', a')"
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
        reopens=True,
        rate=max(4.0, updates / 20),
        symbols=SYMBOLS,
        step_name="update",
        below=(Column(1, (code_panel(Learner.move, lines, title=CODE_TITLE, height=200),)),),
    )


def _names(name: str) -> tuple[str, ...]:
    if name == "sgd":
        return ("the mean: ",)
    if name == "td":
        return tuple(f"v of state {s + 1}: " for s in range(STATES))
    return tuple(f"q of state {s + 1}, {way}: " for s in range(STATES) for way in ("left", "right"))


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
            names=tuple(f"truth, {one}" for one in _names(name)),
        ),
    ]  # fmt: skip
    subtitle = {"sgd": "of 0 and 1", "td": "by state 1 to 5", "q_learning": "of each state left, right"}[name]
    return Marks(
        name=name,
        title=TITLES[name],
        subtitle=f"{subtitle}; green: truth",
        height=240,
        x=Axis(0.4, at[-1] + 0.6, ticks=() if name == "sgd" else tuple(range(1, STATES + 1)), format="d"),
        y=axis(lowest, highest, room=0, most=4),
        layers=tuple(marks),
    )


def _rmse(result: BridgeResult) -> Lines:
    k = np.arange(result.params.updates + 1.0)
    shown = {name: np.where(one < GREATEST, one, np.nan) for name, one in result.rmse.items()}
    return Lines(
        name="rmse",
        title=f"Root mean square error over {result.params.seeds:,} seeds",
        height=190,
        x=steps_axis(result.params.updates, "update", first=0),
        y=log_axis(np.concatenate([one[1:] for one in shown.values()]), most_decades=4),
        lines=tuple(Line(k, shown[name], HUES[name], TITLES[name]) for name in TITLES),
        shown=Track(k[1:, None] + 1),
        ahead=True,
    )


def _words(result: BridgeResult) -> Words:
    """The columns: 0 update; 1 x, 2 before, 3 after; 4 s, 5 target, 6 before, 7 after; the same of Q; 12 gamma."""
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
    sentences = tuple(SENTENCE.replace("{way}", way) for way in ("left", "right"))
    return Words(sentences, action.astype(int), values, (formula(FORMULA),) * 2)
