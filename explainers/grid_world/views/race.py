"""The picture of a race: learning curves over the seeds, and what exploring costs while and after learning."""

from __future__ import annotations

import numpy as np

from explainers.drawing.axes import round_ticks, steps_axis
from explainers.drawing.panels import Axis, Layer, Line, Lines, Marks
from explainers.drawing.scene import Column, Hue, Scene, Track, Words
from explainers.grid_world.learn_params import LABELS
from explainers.grid_world.race import LAST, RaceResult

HUES: tuple[Hue, ...] = ("query", "key", "value", "score")


def scene(result: RaceResult) -> Scene:
    """The curves grow point by point; beside them the returns while learning and after it."""
    points = result.smooth.shape[2]
    return Scene(
        name="grid_world.race",
        title="Agents that race on the same dice",
        steps=points,
        columns=(
            Column(1.5, (_curves(result),)),
            Column(1, (_ends(result),)),
        ),
        words=_words(result),
        start=points - 1,
        reopens=True,
        rate=max(4.0, points / 10),
        step_name="point",
    )


def _curves(result: RaceResult) -> Lines:
    points = result.smooth.shape[2]
    x = result.window * (np.arange(points) + 1.0)
    settled = result.smooth[:, :, points // 20 :]
    high = max(float(result.smooth.max()), result.best_return)
    low = float(settled.min())
    low -= 0.08 * (high - low or 1.0)
    lines = [Line(x, np.full(points, result.best_return), "muted", "the most possible", dashed=True)]
    # what lies below the axis is left out, and the subtitle says so
    drawn = np.where(result.smooth >= low, result.smooth, np.nan)
    for row, algorithm in enumerate(result.params.algorithms):
        lower, median, upper = drawn[row]
        lines.append(Line(x, lower, HUES[row], dashed=True))
        lines.append(Line(x, upper, HUES[row], dashed=True))
        lines.append(Line(x, median, HUES[row], LABELS[algorithm]))
    each = f"mean of {result.window} episodes; " if result.window > 1 else ""
    cut = np.isnan(drawn[:, 1]).any(axis=0)
    last = x[np.flatnonzero(cut)].max(initial=0)
    below = f"; to episode {last:.0f} below {low:.3g}".replace("-", "−") if last else ""
    return Lines(
        name="curves",
        title=f"Return of an episode, over {result.params.seeds} seeds",
        subtitle=f"{each}solid: median, dashed: quartiles{below}",
        height=330,
        x=steps_axis(int(x[-1]), "episode", first=int(x[0])),
        y=Axis(low, high + 0.06 * (high - low or 1.0), ticks=round_ticks(low, high), format=".3g"),
        lines=tuple(lines),
        shown=Track(np.arange(1.0, points + 1)[:, None]),
    )


def _ends(result: RaceResult) -> Marks:
    """For each agent the return of the last episodes, exploring, and of its greedy policy afterwards."""
    agents = len(result.params.algorithms)
    y = np.arange(agents, dtype=float)
    both = np.concatenate([result.online_median, result.greedy_median, [result.best_return]])
    low, high = float(both.min()), float(both.max())
    room = 0.18 * (high - low or 1.0)
    names = [LABELS[one] for one in result.params.algorithms]
    layers = [
        Layer("segment", result.online_median, y, result.greedy_median, y, "muted", size=2),
        Layer(
            "point", result.online_median, y, hue="bad", size=6, numbers=result.online_median, format=".1f",
            names=tuple(f"{name}: the last episodes, exploring" for name in names),
        ),
        Layer(
            "point", result.greedy_median, y, hue="good", size=6, numbers=result.greedy_median, format=".1f",
            names=tuple(f"{name}: its greedy policy afterwards" for name in names),
        ),
        Layer("label", np.full(agents, low - room), y - 0.3, hue="muted", names=tuple(names)),
        Layer(
            "label", result.online_median, y + 0.24, hue="bad", anchor="middle", names=("",) * agents,
            numbers=result.online_median, format=".1f",
        ),
        Layer(
            "label", result.greedy_median, y + 0.42, hue="good", anchor="middle", names=("",) * agents,
            numbers=result.greedy_median, format=".1f",
        ),
    ]  # fmt: skip
    return Marks(
        name="ends",
        title="While learning, and afterwards",
        subtitle=f"red: return of the last {LAST} episodes · green: of the greedy policy; medians over the seeds",
        height=90 + 64 * agents,
        x=Axis(low - room, high + room, ticks=(low, high), format=".1f", label="return"),
        y=Axis(agents - 0.5, -0.6),
        layers=tuple(layers),
    )


def _words(result: RaceResult) -> Words:
    """The columns: 0 the last episode of the point, then the median of each agent."""
    points, window = result.smooth.shape[2], result.window
    parts = [f"{LABELS[one]} **{{{column}:.4g}}**" for column, one in enumerate(result.params.algorithms, 1)]
    which = f"The {window} episodes up to {{0:d}}" if window > 1 else "Episode {0:d}"
    best = f"{result.best_return:.4g}".replace("-", "−")
    sentence = (
        f"{which}: median return of {', '.join(parts)}; the most that any policy earns on average is {best}."
    )
    last = window * (np.arange(points) + 1.0)
    values = np.concatenate([last[:, None], result.smooth[:, 1].T], axis=1)
    return Words((sentence,), np.zeros(points, int), values)
