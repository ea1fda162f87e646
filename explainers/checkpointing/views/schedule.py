"""The picture of a schedule: what is in memory along the chain, memory over the steps, and other schedules' costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from explainers.checkpointing import revolve, rotor, schedules
from explainers.checkpointing.schedule import ScheduleResult
from explainers.checkpointing.schedule_prediction import segment_length
from explainers.checkpointing.views.lanes import chain_panel
from explainers.checkpointing.views.latex import MAX_M, PEAK_OF_K, ceiling_of_quotient, total
from explainers.checkpointing.views.plane import Dot, plane
from explainers.checkpointing.views.playing import COLUMNS, Playing, condensed
from explainers.contract.messages import LiveMessage, Message, joined, plural
from explainers.drawing.formula import formula, product
from explainers.drawing.panels import Axis, Bands, Code, Layer, Line, Marks
from explainers.drawing.scene import Column, Hue, Scene, Track, Words
from explainers.drawing.source_code import code_panel

SYMBOLS: Mapping[str, str] = {
    "M": Message("M: memory now, in units"),
    "B": Message("B: memory of one boundary activation, a layer's input kept as a checkpoint"),
    "I": Message("I: memory of one layer's internal activations"),
    "L": Message("L: layers of the chain"),
    "k": Message("k: layers of a segment"),
    "c": Message("c: snapshots, the boundaries that Revolve may keep at a time"),
    "s": Message("s: number of a segment, the first one being 1"),
    "ns": Message("n_s: layers of segment s"),
}

# Kind of step -> its sentence.
SENTENCES: dict[str, Message] = {
    "forward": LiveMessage("Layer {layer:d} runs forward; nothing of it is kept."),
    "forwards": LiveMessage("Layers {first_layer:d} to {layer:d} run forward; nothing of them is kept."),
    "forward again": LiveMessage(
        "Layer {layer:d} runs forward again (run {runs:d}), only to pass on its output."
    ),
    "forwards again": LiveMessage(
        "Layers {first_layer:d} to {layer:d} run forward again, only to pass on their output."
    ),
    "checkpoint": LiveMessage(
        "Layer {layer:d} runs forward, and its output is kept as a boundary: the input of layer {next_layer:d}."
    ),
    "checkpoint again": LiveMessage(
        "Layer {layer:d} runs forward again, and this time its output is kept: the input of layer {next_layer:d}."
    ),
    "tape": LiveMessage("Layer {layer:d} runs forward, and its internal activations are kept."),
    "tape again": LiveMessage("Layer {layer:d} runs forward again, and its inside stays until its backward."),
    "backward": LiveMessage("Layer {layer:d} goes backward: its internal activations are read and freed."),
    "backward, nothing freed": LiveMessage(
        "Layer {layer:d} goes backward, but what it has used stays in memory."
    ),
}
NAMES = tuple(SENTENCES)
NOW = LiveMessage("In memory now: **{memory:d}**.")


def scene(result: ScheduleResult) -> Scene:
    """Every action of the schedule, ready to be played."""
    playing = _playing(result)
    layers = plural("{count:,} layer", "{count:,} layers", count=result.params.layers)
    return Scene(
        name="checkpointing.schedule",
        title=Message("Checkpointing a chain of {layers}: {schedule}", layers=layers, schedule=result.label),
        steps=playing.steps,
        columns=(
            Column(1.9, (chain_panel(playing), memory_panel(playing, _expected(result)))),
            Column(1, (_front(result), so_far(playing))),
        ),
        words=_words(result, playing),
        stops=playing.turns(),
        start=playing.peak,
        reopens=True,
        rate=4.0,
        symbols=SYMBOLS,
        below=(Column(1, (schedule_code(_source(result), playing.lines),)),),
    )


def card(result: ScheduleResult) -> Scene:
    """The memory over the steps, small: the picture of this topic on the home page."""
    playing = _playing(result)
    memory = replace(memory_panel(playing, _expected(result)), title="", subtitle="", step_label="")
    return Scene(
        name="checkpointing.card",
        title="Memory kept, dropped and computed again",
        steps=playing.steps,
        columns=(Column(1, (memory,)),),
        words=_words(result, playing),
        start=playing.peak,
        reopens=True,
        rate=6.0,
    )


def _playing(result: ScheduleResult) -> Playing:
    params = result.params
    return condensed(
        moments=result.moments,
        lines=result.lines,
        boundaries=(params.boundary,) * params.layers,
        internals=(params.internal,) * params.layers,
        predicted=result.predicted_peak_units,
    )


def _expected(result: ScheduleResult) -> Message:
    return Message("the peak by formula") if result.prediction.exact else Message("the budget")


# ------------------------------------------------------------------------------------------------ the panels


def memory_panel(playing: Playing, expected: Message) -> Bands:
    """Memory after every step, by kind. expected: the name of the dashed line."""
    steps = np.array([0.0, playing.steps - 1.0])
    highest = max(float(playing.memory.max()), playing.predicted)
    return Bands(
        name="memory",
        title="Memory over the steps, in units",
        subtitle=Message("dashed: {expected}", expected=expected),
        height=130,
        values=np.stack([playing.boundary_units, playing.kept_units, playing.recomputed_units]),
        names=("boundaries", "inside, kept", "inside, recomputed"),
        hues=("output", "activation", "activation"),
        styles=("solid", "solid", "hatched"),
        lines=(Line(steps, np.full(2, playing.predicted), "current", dashed=True),),
        highest=1.25 * highest,
        marked=playing.peak,
        format=".6g",
        step_label="step",
    )


def _front(result: ScheduleResult) -> Marks:
    """Peak memory against extra forwards: the chosen schedule among all others."""
    dots = [Dot(point.family, point.label, point.peak_units, point.extra_forwards) for point in result.front]
    chosen = Dot("chosen", result.label, result.peak_units, result.extra_forwards)
    return plane(
        name="front",
        title="Peak memory against extra forwards",
        subtitle="across: units of memory · up: extra forward runs",
        dots=dots,
        chosen=chosen,
        highest=2.3 * result.params.layers,
        work=Message("extra"),
    )


def so_far(playing: Playing) -> Marks:
    """Forward runs, backward runs and memory, each as a bar that shows its share of the most."""
    forwards, backwards, memory = (
        int(playing.forwards[-1]),
        int(playing.backwards[-1]),
        float(playing.memory.max()),
    )
    layers = (
        *_progress_bar(0, Message("forward runs"), playing.forwards, "parameter", _of(forwards)),
        *_progress_bar(1, Message("backward runs"), playing.backwards, "gradient", _of(backwards)),
        *_progress_bar(
            2,
            Message("memory"),
            playing.memory,
            "activation",
            Message("peak {memory:,.6g}", memory=memory),
        ),
    )
    return Marks(
        name="so_far",
        title="So far",
        height=84,
        x=Axis(0, 1),
        y=Axis(-0.5, 2.5, flip=True),
        layers=layers,
        frame=False,
    )


def _of(most: int) -> Message:
    return Message("of {most:,.6g}", most=most)


def _progress_bar(row: int, name: Message, now: np.ndarray, hue: Hue, most: Message) -> tuple[Layer, ...]:
    """A row with its name, a bar for the numbers (steps,) `now`, the current number, and the most in words."""
    y, numbers = np.array([float(row)]), Track(now[:, None].astype(float))
    left, right, top, bottom = np.array([0.34]), np.array([0.68]), y - 0.24, y + 0.24
    reached = Track((0.34 + 0.34 * now / now.max())[:, None])
    return (
        Layer("label", x=np.zeros(1), y=y, hue="muted", names=(name,)),
        Layer("rect", x=left, y=top, x2=right, y2=bottom, hue=hue, style="faint"),
        Layer(
            "rect",
            x=left,
            y=top,
            x2=reached,
            y2=bottom,
            hue=hue,
            numbers=numbers,
            format=".6g",
            names=(name,),
        ),
        Layer("label", x=np.array([0.71]), y=y, hue=hue, numbers=numbers, format=".6g", size=4),
        Layer(
            "label",
            x=np.array([1.0]),
            y=y,
            hue="muted",
            style="faint",
            names=(most,),
            anchor="right",
            size=3,
        ),
    )


def schedule_code(function: Callable[..., Any], lines: np.ndarray) -> Code:
    """The source of the schedule's generator, with the line on which it paused at every step."""
    return code_panel(function, lines, note="explainers/checkpointing/chain.py plays it")


def _source(result: ScheduleResult) -> Callable[..., Any]:
    """The generator that made the schedule."""
    made_by = {"none": schedules.keep_all, "revolve": revolve.revolve, "optimal": rotor.optimal}
    return made_by.get(result.params.strategy, schedules.in_segments)


# ------------------------------------------------------------------------------------------------- the words


def _words(result: ScheduleResult, playing: Playing) -> Words:
    params = result.params
    boundaries = product(r"\slot{boundaries:d}", params.boundary)
    internals = product(r"\slot{internals:d}", params.internal)
    memory = rf"M = {boundaries} + {internals} = \slot{{memory:d}}"
    frees = params.break_it != "never_free"
    return words(playing, memory, _end(result), _peak_formula(result), frees=frees)


def words(playing: Playing, memory: str, end: Message, end_formula: str, *, frees: bool = True) -> Words:
    """A sentence for every step, and the memory as a formula (in LaTeX); the last step has its own of both.

    frees: whether a backward frees what it has used.
    """
    which = [NAMES.index(name) for name in _names(playing, frees)]
    which[-1] = len(NAMES)
    return Words(
        sentences=(*(joined([sentence, NOW], " ") for sentence in SENTENCES.values()), end),
        which=np.array(which),
        values=playing.numbers(),
        formulas=(*[formula(memory)] * len(NAMES), formula(end_formula)),
        columns=COLUMNS,
    )


def _names(playing: Playing, frees: bool) -> list[str]:
    """The key in SENTENCES of every step."""
    names = []
    for moment, first in zip(playing.moments, playing.first_layer, strict=True):
        name = "forwards" if moment.kind == "forward" and first < moment.layer else moment.kind
        if moment.kind == "backward":
            name = name if frees else "backward, nothing freed"
        elif moment.again:
            name += " again"
        names.append(name)
    return names


def _end(result: ScheduleResult) -> Message:
    return Message(
        "All layers have gone backward. The peak was **{peak:,} units**, {agreement}; {extra}.",
        peak=result.peak_units,
        agreement=_agreement(result),
        extra=plural(
            "{count:,} forward run was extra",
            "{count:,} forward runs were extra",
            count=result.extra_forwards,
        ),
    )


def _agreement(result: ScheduleResult) -> Message:
    """How the peak as played compares with the prediction."""
    predicted = result.predicted_peak_units
    if not result.checks[0].passed:
        return Message("not the predicted **{predicted:,}**", predicted=predicted)
    if result.prediction.exact:
        return Message("as predicted")
    return Message("within the budget of {budget:,}", budget=predicted)


def _peak_formula(result: ScheduleResult) -> str:
    """The predicted peak in LaTeX, without boundaries where the break forgets them."""
    params, peak = result.params, result.predicted_peak_units
    counts = params.break_it != "forget_boundaries"
    if params.strategy == "optimal":
        return rf"{MAX_M} = {result.peak_units} \quad (\text{{budget }} {params.budget})"
    if params.strategy == "none":
        return f"{total('B' if counts else '', 'L I')} = {_in_latex(result.peak_formula)}"
    if params.strategy == "custom":
        per_segment = total("s B" if counts else "", r"n_{\text{s}} I")
        return rf"\max_s ({per_segment}) = {peak}"
    if params.strategy == "revolve":
        return f"{total('c B' if counts else '', 'I')} = {_in_latex(result.peak_formula)}"
    if params.strategy == "chen":
        boundaries = r"(\lceil L / k^2 \rceil + k - 1) B" if counts else ""
        return f"{total(boundaries, 'k I')} = {peak}"
    k = segment_length(params)
    inside = product(k, params.internal)
    if not counts:
        return f"k I = {inside} = {peak}"
    boundaries = product(ceiling_of_quotient(params.layers, k), params.boundary)
    return f"{PEAK_OF_K} = {boundaries} + {inside} = {peak}"


def _in_latex(text: str) -> str:
    return text.replace("×", r"\times")
