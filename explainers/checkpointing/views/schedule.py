"""The picture of a schedule: the chain with what is in memory, the memory over the steps, and what others cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from explainers.checkpointing import revolve, rotor, schedules
from explainers.checkpointing.schedule import ScheduleResult, segment_length
from explainers.checkpointing.views.lanes import chain_panel
from explainers.checkpointing.views.plane import Dot, plane
from explainers.checkpointing.views.playing import Playing, condensed
from explainers.drawing.formula import formula
from explainers.drawing.panels import Axis, Bands, Code, Layer, Line, Marks
from explainers.drawing.scene import Column, Hue, Panel, Scene, Track, Words
from explainers.drawing.source_code import code_panel

SYMBOLS: Mapping[str, str] = {
    "M": "M: memory now, in units",
    "B": "B: memory of one boundary activation, a layer's input kept as a checkpoint",
    "I": "I: memory of one layer's internal activations",
    "L": "L: layers of the chain",
    "k": "k: layers of a segment",
    "c": "c: snapshots, the boundaries that Revolve may keep at a time",
    "s": "s: number of a segment, the first one being 1",
    "ns": "n_s: layers of segment s",
}

# The columns of a step's numbers: 0 layer, 1 boundaries and 2 layers' insides in memory, 3 memory, 4 forward runs so
# far, 5 backward runs so far, 6 the first layer of the run of forwards, 7 the next layer, 8 how often this layer ran.
NOW = " In memory now: **{3:d}**."
MOMENTS: dict[str, str] = {
    "forward": "Layer {0:d} runs forward; nothing of it is kept." + NOW,
    "forwards": "Layers {6:d} to {0:d} run forward; nothing of them is kept." + NOW,
    "forward again": "Layer {0:d} runs forward again (run {8:d}), only to hand on its output." + NOW,
    "forwards again": "Layers {6:d} to {0:d} run forward again, only to hand on their output." + NOW,
    "checkpoint": "Layer {0:d} runs forward, and its output is kept as a boundary: the input of layer {7:d}."
    + NOW,
    "checkpoint again": "Layer {0:d} runs forward again, and this time its output is kept: the input of layer {7:d}."
    + NOW,
    "tape": "Layer {0:d} runs forward, and its internal activations are kept." + NOW,
    "tape again": "Layer {0:d} runs forward again, and its inside stays until its backward." + NOW,
    "backward": "Layer {0:d} goes backward: its internal activations are read and freed." + NOW,
    "backward, nothing freed": "Layer {0:d} goes backward, but what it has used stays in memory." + NOW,
}
NAMES = tuple(MOMENTS)


def scene(result: ScheduleResult) -> Scene:
    """Every action of the schedule, ready to be played."""
    playing = _playing(result)
    return Scene(
        name="checkpointing.schedule",
        title=f"Checkpointing a chain of {_count(result.params.layers, 'layer')}: {result.label}",
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
    """The chain and its memory, small: the picture of this topic on the home page."""
    playing = _playing(result)
    panels: tuple[Panel, ...] = (
        replace(chain_panel(playing), title="", subtitle="", action=None),
        replace(memory_panel(playing, _expected(result)), height=84, title="", subtitle="", step_label=""),
    )
    return Scene(
        name="checkpointing.card",
        title="Memory kept, dropped and computed again",
        steps=playing.steps,
        columns=(Column(1, panels),),
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


def _expected(result: ScheduleResult) -> str:
    return "the peak by formula" if result.prediction.exact else "the budget"


# ------------------------------------------------------------------------------------------------ the panels


def memory_panel(playing: Playing, expected: str) -> Bands:
    """Memory after every step, by kind; the dashed line is what was expected, told by these words."""
    steps = np.array([0.0, playing.steps - 1.0])
    highest = max(float(playing.memory.max()), playing.predicted)
    return Bands(
        name="memory",
        title="Memory over the steps, in units",
        subtitle=f"dashed: {expected}",
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
    dots = [Dot(one.family, one.label, one.peak_units, one.extra_forwards) for one in result.front]
    chosen = Dot("chosen", result.label, result.peak_units, result.extra_forwards)
    return plane(
        "front",
        "Peak memory against extra forwards",
        "across: units of memory · up: extra forward runs",
        dots,
        chosen,
        highest=2.3 * result.params.layers,
    )


def so_far(playing: Playing) -> Marks:
    """Forward runs, backward runs and memory, each as a bar of its whole."""
    rows: dict[str, tuple[np.ndarray, Hue, float]] = {
        "forward runs": (playing.forwards, "parameter", playing.forwards[-1]),
        "backward runs": (playing.backwards, "gradient", playing.backwards[-1]),
        "memory": (playing.memory, "activation", playing.memory.max()),
    }
    layers: list[Layer] = []
    for row, (name, (now, hue, whole)) in enumerate(rows.items()):
        y, numbers = np.array([float(row)]), Track(now[:, None].astype(float))
        left, right, top, bottom = np.array([0.34]), np.array([0.68]), y - 0.24, y + 0.24
        reached = Track((0.34 + 0.34 * now / whole)[:, None])
        of = f"of {whole:,.6g}" if name != "memory" else f"peak {whole:,.6g}"
        layers += [
            Layer("label", np.zeros(1), y, hue="muted", names=(name,)),
            Layer("rect", left, top, right, bottom, hue, "faint"),
            Layer("rect", left, top, reached, bottom, hue, numbers=numbers, format=".6g", names=(name,)),
            Layer("label", np.array([0.71]), y, hue=hue, numbers=numbers, format=".6g", size=4),
            Layer(
                "label", np.array([1.0]), y, hue="muted", style="faint", names=(of,), anchor="right", size=3
            ),
        ]
    return Marks(
        name="so_far",
        title="So far",
        height=84,
        x=Axis(0, 1),
        y=Axis(-0.5, 2.5, flip=True),
        layers=tuple(layers),
        frame=False,
    )


def schedule_code(function: Callable[..., Any], lines: np.ndarray) -> Code:
    """The generator that made the schedule, with the line on which it paused at every step."""
    return code_panel(function, lines, note="explainers/checkpointing/chain.py plays it")


def _source(result: ScheduleResult) -> Callable[..., Any]:
    """The generator that made the schedule."""
    made_by = {"none": schedules.keep_all, "revolve": revolve.revolve, "optimal": rotor.optimal}
    return made_by.get(result.params.strategy, schedules.in_segments)


# ------------------------------------------------------------------------------------------------- the words


def _words(result: ScheduleResult, playing: Playing) -> Words:
    params = result.params
    memory = (
        rf"M = \slot{{1:d}} \times {params.boundary} + \slot{{2:d}} \times {params.internal} = \slot{{3:d}}"
    )
    frees = params.break_it != "never_free"
    return words(playing, memory, _end(result), _peak_formula(result), frees=frees)


def words(playing: Playing, memory: str, end: str, end_formula: str, *, frees: bool = True) -> Words:
    """A sentence for every step, with the memory in LaTeX beside it; the last step has its own."""
    which = [NAMES.index(name) for name in _names(playing, frees)]
    which[-1] = len(NAMES)
    formulas = (*[formula(memory)] * len(NAMES), formula(end_formula))
    return Words((*MOMENTS.values(), end), np.array(which), playing.numbers(), formulas)


def _names(playing: Playing, frees: bool) -> list[str]:
    """The name of every step's sentence."""
    names = []
    for moment, first in zip(playing.moments, playing.first_of_run, strict=True):
        name = "forwards" if moment.kind == "forward" and first < moment.layer else moment.kind
        if moment.kind == "backward":
            name += "" if frees else ", nothing freed"
        elif moment.again:
            name += " again"
        names.append(name)
    return names


def _end(result: ScheduleResult) -> str:
    extra = _count(result.extra_forwards, "forward run")
    was = "was extra" if result.extra_forwards == 1 else "were extra"
    peak, predicted = result.peak_units, result.predicted_peak_units
    if result.checks[0].passed:
        agrees = "as predicted" if result.prediction.exact else f"within the budget of {predicted:,}"
    else:
        agrees = f"and not the **{predicted:,}** that were predicted"
    return f"All layers have gone backward. The peak was **{peak:,} units**, {agrees}; {extra} {was}."


def _peak_formula(result: ScheduleResult) -> str:
    params = result.params
    B = "" if params.break_it == "forget_boundaries" else "B"
    if params.strategy == "optimal":
        return rf"\max M = {result.peak_units} \quad (\text{{budget }} {params.budget})"
    if params.strategy == "none":
        return rf"{_sum(B, 'L I')} = {_in_latex(result.peak_formula)}"
    if params.strategy == "custom":
        inside = r"n_{\text{s}} I"
        return rf"\max_s ({_sum('s B' if B else '', inside)}) = {result.predicted_peak_units}"
    if params.strategy == "revolve":
        return rf"{_sum('c B' if B else '', 'I')} = {_in_latex(result.peak_formula)}"
    if params.strategy == "chen":
        terms = r"(\lceil L / k^2 \rceil + k - 1) B" if B else ""
        return rf"{_sum(terms, 'k I')} = {result.predicted_peak_units}"
    k = segment_length(params)
    terms = r"\lceil L / k \rceil B" if B else ""
    numbers = (
        rf"\lceil {params.layers} / {k} \rceil \times {params.boundary} + {k} \times {params.internal}"
        if B
        else rf"{k} \times {params.internal}"
    )
    return rf"{_sum(terms, 'k I')} = {numbers} = {result.predicted_peak_units}"


def _sum(boundaries: str, internals: str) -> str:
    return f"{boundaries} + {internals}" if boundaries else internals


def _in_latex(text: str) -> str:
    return text.replace("×", r"\times")


def _count(number: int, one: str) -> str:
    return f"{number:,} {one if number == 1 else one + 's'}"
