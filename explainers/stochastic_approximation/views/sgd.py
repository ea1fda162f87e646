"""The picture of SGD: paths in the plane, and the distance by updates and by samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from explainers.contract.messages import LiveMessage, Message, joined, plural
from explainers.drawing.axes import (
    GREATEST,
    axis,
    drawable,
    log_axis,
    rounded_off,
    sendable,
    steps_axis,
)
from explainers.drawing.formula import formula
from explainers.drawing.panels import Axis, Layer, Line, Lines, Marks
from explainers.drawing.scene import Column, Hue, Scene, Track, Words
from explainers.drawing.source_code import code_panel, line_with
from explainers.stochastic_approximation.sgd import POINTS, SgdResult, descend, label
from explainers.stochastic_approximation.steps import is_broken
from explainers.stochastic_approximation.views.opening import half_way

HUES: tuple[Hue, ...] = ("query", "key", "value", "score")
COLOURS = (
    Message("blue"),
    Message("orange"),
    Message("green"),
    Message("purple"),
)  # what a reader calls them
FAR = 100.0  # beyond which a path that diverges is not followed
ROOM = 1.5  # times the size of what must be seen: how much farther paths are followed
ROUNDED_OFF = 1e-12
FLOOR = 1e-3  # below which a distance counts as none
SYMBOLS = {
    "w": Message("the estimate, two numbers"),
    "a": Message("the step size"),
    "m": Message("the batch size"),
}
FORMULA = r"w_{k+1} = w_k - \slot{a:.3g} \cdot \frac{1}{m} \sum_{i \in \mathrm{batch}} \nabla f(w_k, x_i)"


def scene(result: SgdResult) -> Scene:
    """A step for each update, of all batch sizes together."""
    steps = result.params.steps
    right = (_by_updates(result), _by_samples(result), _errors(result))
    return Scene(
        name="stochastic_approximation.sgd",
        title="One sample, a few, or all",
        steps=steps,
        columns=(Column(1.15, (_plane(result),)), Column(1, right)),
        words=_words(result),
        start=half_way(next(iter(result.rms_by_step.values())), log=True),
        reopens=True,
        rate=max(2.0, steps / 15),
        symbols=SYMBOLS,
        step_name=Message("update"),
        below=(Column(1, (code_panel(descend, np.full(steps, line_with("w = w - ", descend))),)),),
    )


def _plane(result: SgdResult) -> Marks:
    params, is_mean = result.params, result.params.problem == "mean"
    paths = [descent.path for descent in result.descents.values()]
    x, y = _frame(result, paths)
    corners = np.array([[x.low, y.low], [x.high, y.high]])
    layers = []
    if is_mean:
        names = tuple(Message("point {point}, ", point=k + 1) for k in range(POINTS))
        across, up = result.points.T
        layers.append(
            Layer(
                "point",
                across,
                up,
                hue="muted",
                style="hollow",
                size=2.5,
                numbers=across,
                format=".3g",
                names=names,
            )
        )
    for row, path in enumerate(paths):
        layers += _path(drawable(path, *corners), HUES[row], label(params.batch_sizes[row]))
    here = result.solution[:, None]
    layers.append(
        Layer(
            "point",
            here[0],
            here[1],
            hue="good",
            style="hollow",
            size=7,
            numbers=here[0],
            names=("the solution, ",),
        )
    )
    legend = [
        Message("{colour}: {size}", colour=colour, size=label(size))
        for colour, size in zip(COLOURS, params.batch_sizes, strict=False)
    ]
    ring = Message("ring: the solution") if is_mean else Message("ring: the solution; up: the slope")
    return Marks(
        name="plane",
        title="The first seed, in the plane",
        subtitle=joined((*legend, ring), " · "),
        height=470,
        x=x,
        y=y,
        layers=tuple(layers),
    )


def _frame(result: SgdResult, paths: list[np.ndarray]) -> tuple[Axis, Axis]:
    """Axes that hold the start, the solution, the points of a mean, and the paths, unless they lead far away."""
    needed = np.stack([result.solution, result.params.start])
    if result.params.problem == "mean":
        needed = np.concatenate([needed, result.points])
    ways = np.concatenate(paths)
    ways = ways[np.isfinite(ways).all(axis=1) & (np.abs(ways) < FAR).all(axis=1)]
    least, most = needed.min(axis=0), needed.max(axis=0)
    room = ROOM * (most - least)
    low = np.clip(ways.min(axis=0), least - room, least)
    high = np.clip(ways.max(axis=0), most, most + room)
    x, y = (axis(float(low[number]), float(high[number])) for number in (0, 1))
    name = Message("first coordinate") if result.params.problem == "mean" else Message("intercept")
    ticks = tuple(tick for tick in x.ticks if tick < x.low + 0.75 * (x.high - x.low))
    return replace(x, label=name, ticks=ticks), y


def _path(path: np.ndarray, hue: Hue, name: Message) -> list[Layer]:
    """The path so far, and where it is now."""
    now, so_far = path[1:], Track(np.arange(1.0, len(path))[:, None])
    (x, y), (x2, y2) = path[:-1].T, now.T
    return [
        Layer("segment", x=x, y=y, x2=x2, y2=y2, hue=hue, size=3, shown=so_far),
        Layer(
            "point",
            Track(now[:, :1]),
            Track(now[:, 1:]),
            hue=hue,
            size=5,
            numbers=Track(now[:, :1]),
            names=(Message("{size}, ", size=name),),
        ),
    ]


def _by_updates(result: SgdResult) -> Lines:
    k = np.arange(result.params.steps + 1.0)
    lines = []
    for row, (size, measured) in enumerate(result.rms_by_step.items()):
        lines.append(Line(k, _visible(measured), HUES[row], label=label(size)))
        lines.append(Line(k, _visible(result.law_by_step[size]), HUES[row], dashed=True))
    return Lines(
        name="updates",
        title="Distance to the solution, by updates",
        subtitle=joined((*_at_the_solution(result), _what_is_drawn(result)), "; "),
        height=190,
        x=steps_axis(result.params.steps, label="update", first=0),
        y=log_axis(_finite(lines)),
        lines=tuple(lines),
        shown=Track(k[1:, None] + 1),
        ahead=True,
    )


def _by_samples(result: SgdResult) -> Lines:
    """The same distances, where a batch of m costs m samples."""
    lines, most = [], 1.0
    for row, (size, measured) in enumerate(result.rms_by_step.items()):
        samples = np.arange(1.0, result.params.steps + 1) * (POINTS if size == "all" else int(size))
        lines.append(Line(samples, _visible(measured[1:]), HUES[row], label=label(size)))
        most = max(most, samples[-1])
    decades = int(np.ceil(np.log10(most))) or 1
    ticks = tuple(10.0**power for power in range(decades) if 10**power < most**0.8)
    return Lines(
        name="samples",
        title="The same, by samples",
        subtitle="at equal samples, which batch is nearer?",
        height=170,
        x=Axis(1, float(most) * 1.1, log=True, label="samples", ticks=ticks, format="d"),
        y=log_axis(_finite(lines)),
        lines=tuple(lines),
        shown=Track(np.arange(1.0, result.params.steps + 1)[:, None]),
        ahead=True,
    )


def _errors(result: SgdResult) -> Lines:
    """How wrong the sampled gradient is, relative to the exact one, at each distance: little far away, much nearby."""
    k = np.arange(1.0, result.params.steps + 1)
    lines, distances = [], [np.ones(1)]
    for row, (size, descent) in enumerate(result.descents.items()):
        if size == "all":
            continue
        distance = _visible(result.rms_by_step[size][:-1])
        error = np.where(np.isnan(distance), np.nan, descent.off)
        lines.append(Line(distance, error, HUES[row], label=label(size)))
        distances.append(distance[np.isfinite(distance)])
    across = log_axis(np.concatenate(distances), label="distance to the solution")
    is_mean = result.params.problem == "mean"
    return Lines(
        name="errors",
        title="Relative error of the gradient, by distance",
        subtitle=Message("far away (right) all batches agree; near the solution (left) small ones guess")
        if is_mean
        else Message("near the solution (left) small batches guess; on a line they err far away too"),
        height=170,
        x=replace(
            across, ticks=tuple(tick for tick in across.ticks if tick < across.high**0.55 * across.low**0.45)
        ),
        y=log_axis(_finite(lines) if lines else np.ones(1)),
        lines=tuple(lines) or (Line(k, np.full(len(k), np.nan), "muted"),),
        shown=Track(k[:, None]),
        ahead=True,
    )


def _at_the_solution(result: SgdResult) -> tuple[Message, ...]:
    """Which batch sizes end so near to the solution that the log axis has no place for them; empty for none."""
    there = tuple(label(size) for size, rms in result.rms.items() if rms < FLOOR)
    return (Message("below the axis, at the solution: {sizes}", sizes=joined(there)),) if there else ()


def _what_is_drawn(result: SgdResult) -> Message:
    seeds = plural("{count:,} seed", "{count:,} seeds", count=result.params.seeds)
    if is_broken(result.params):
        return Message("root mean square over {seeds}; dashed: the exact law, unbroken", seeds=seeds)
    return Message("root mean square over {seeds}; dashed: the exact law", seeds=seeds)


def _visible(distance: np.ndarray) -> np.ndarray:
    """Distances that a log axis can show: nothing of an exact hit, nor of what has overflowed."""
    return np.where((distance >= FLOOR) & (distance < GREATEST), distance, np.nan)


def _finite(lines: list[Line]) -> np.ndarray:
    every = np.concatenate([line.y for line in lines])
    return every[np.isfinite(every)] if np.isfinite(every).any() else np.ones(1)


def _words(result: SgdResult) -> Words:
    """The distance of each batch size after each update."""
    k = np.arange(1, result.params.steps + 1)
    columns = {"k": k, "a": result.params.used.at(k)}
    distances = []
    for size, rms in result.rms_by_step.items():
        columns[f"rms_{size}"] = rounded_off(rms[1:], ROUNDED_OFF)
        distances.append(
            LiveMessage("{size} **{distance}**", size=label(size), distance=f"{{rms_{size}:.3g}}")
        )
    sentence = LiveMessage(
        "After update {k:d}, root mean square distance: {distances}.", distances=joined(distances)
    )
    return Words(
        sentences=(sentence,),
        which=np.zeros(len(k), int),
        values=sendable(np.stack(list(columns.values()), axis=1)),
        formulas=(formula(FORMULA),),
        columns=tuple(columns),
    )
