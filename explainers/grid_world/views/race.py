"""The picture of a race: learning curves over the seeds, and the returns while learning and afterwards."""

from __future__ import annotations

import numpy as np

from explainers.contract.messages import LiveMessage, Message, joined, plural
from explainers.drawing.axes import round_ticks, steps_axis
from explainers.drawing.panels import Axis, Layer, Line, Lines, Marks
from explainers.drawing.scene import Column, Hue, Scene, Track, Words
from explainers.grid_world.learn_params import LABELS
from explainers.grid_world.race import LAST, RaceResult
from explainers.grid_world.views.ground import true_minus

HUES: tuple[Hue, ...] = ("query", "key", "value", "score")


def scene(result: RaceResult) -> Scene:
    """The curves, which grow point by point, and the returns while learning and afterwards."""
    points = result.smooth.shape[2]
    return Scene(
        name="grid_world.race",
        title="Agents that race with the same random draws",
        steps=points,
        columns=(
            Column(1.5, (_curves(result),)),
            Column(1, (_ends(result),)),
        ),
        words=_words(result),
        start=points - 1,
        reopens=True,
        rate=max(4.0, points / 10),
        step_name=Message("point"),
    )


def _curves(result: RaceResult) -> Lines:
    points = result.smooth.shape[2]
    x = result.window * (np.arange(points) + 1.0)
    settled = result.smooth[:, :, points // 20 :]
    high = max(float(result.smooth.max()), result.best_return)
    low = float(settled.min())
    low -= 0.08 * (high - low or 1.0)
    best = np.full(points, result.best_return)
    lines = [Line(x, best, hue="muted", label="best possible", dashed=True)]
    # values below the axis are left out, which the subtitle says
    shown = np.where(result.smooth >= low, result.smooth, np.nan)
    for row, algorithm in enumerate(result.params.algorithms):
        lower, median, upper = shown[row]
        lines.append(Line(x, lower, hue=HUES[row], dashed=True))
        lines.append(Line(x, upper, hue=HUES[row], dashed=True))
        lines.append(Line(x, median, hue=HUES[row], label=LABELS[algorithm]))
    left_out = x[np.isnan(shown[:, 1]).any(axis=0)]
    parts: list[str] = [Message("solid: median, dashed: quartiles")]
    if result.window > 1:
        parts.insert(0, Message("mean of {window} episodes", window=result.window))
    if len(left_out):
        parts.append(
            Message("to episode {last:.0f} below {low}", last=left_out.max(), low=true_minus(low, ".3g"))
        )
    return Lines(
        name="curves",
        title=plural(
            "Return of an episode, over {count} seed",
            "Return of an episode, over {count} seeds",
            count=result.params.seeds,
        ),
        subtitle=joined(parts, "; "),
        height=330,
        x=steps_axis(int(x[-1]), label="episode", first=int(x[0])),
        y=Axis(low, high + 0.06 * (high - low or 1.0), ticks=round_ticks(low, high), format=".3g"),
        lines=tuple(lines),
        shown=Track(np.arange(1.0, points + 1)[:, None]),
    )


def _ends(result: RaceResult) -> Marks:
    """For each agent the return of its last episodes, with exploration, and of its greedy policy afterwards."""
    agents = len(result.params.algorithms)
    y = np.arange(agents, dtype=float)
    both = np.concatenate([result.online_median, result.greedy_median, [result.best_return]])
    low, high = float(both.min()), float(both.max())
    room = 0.18 * (high - low or 1.0)
    names = [LABELS[algorithm] for algorithm in result.params.algorithms]
    online, greedy = result.online_median, result.greedy_median
    layers = (
        Layer("segment", x=online, y=y, x2=greedy, y2=y, hue="muted", size=2),
        _points(
            online, y, "bad", [Message("{agent}: the last episodes, exploring", agent=name) for name in names]
        ),
        _points(
            greedy,
            y,
            "good",
            [Message("{agent}: its greedy policy afterwards", agent=name) for name in names],
        ),
        Layer("label", x=np.full(agents, low - room), y=y - 0.3, hue="muted", names=tuple(names)),
        _numbers(online, y + 0.24, "bad"),
        _numbers(greedy, y + 0.42, "good"),
    )
    return Marks(
        name="ends",
        title="While learning, and afterwards",
        subtitle=Message(
            "red: return of the last {last} episodes · green: of the greedy policy; medians over the seeds",
            last=LAST,
        ),
        height=90 + 64 * agents,
        x=Axis(low - room, high + room, ticks=(low, high), format=".1f", label="return"),
        y=Axis(agents - 0.5, -0.6),
        layers=layers,
    )


def _points(x: np.ndarray, y: np.ndarray, hue: Hue, names: list[Message]) -> Layer:
    return Layer("point", x=x, y=y, hue=hue, size=6, numbers=x, format=".1f", names=tuple(names))


def _numbers(x: np.ndarray, y: np.ndarray, hue: Hue) -> Layer:
    """The values x, written at (x, y)."""
    return Layer("label", x=x, y=y, hue=hue, anchor="middle", names=("",) * len(x), numbers=x, format=".1f")


def _words(result: RaceResult) -> Words:
    """The columns: the last episode of the point, then the median of each agent by the name of its algorithm."""
    points, window = result.smooth.shape[2], result.window
    medians: list[str] = [
        LiveMessage("{agent} **{median}**", agent=LABELS[algorithm], median=f"{{{algorithm}:.4g}}")
        for algorithm in result.params.algorithms
    ]
    filled = {"medians": joined(medians), "best": true_minus(result.best_return, ".4g")}
    sentence = (
        LiveMessage(
            "The {window} episodes up to {episode:d}: median return of {medians}; the most that any policy earns on "
            "average is {best}.",
            window=window,
            **filled,
        )
        if window > 1
        else LiveMessage(
            "Episode {episode:d}: median return of {medians}; the most that any policy earns on average is {best}.",
            **filled,
        )
    )
    last = window * (np.arange(points) + 1.0)
    return Words(
        sentences=(sentence,),
        which=np.zeros(points, int),
        values=np.concatenate([last[:, None], result.smooth[:, 1].T], axis=1),
        columns=("episode", *result.params.algorithms),
    )
