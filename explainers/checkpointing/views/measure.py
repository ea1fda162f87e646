"""The picture of a training step's memory: bands over its events, the layer at work, and what is alive now."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from explainers.checkpointing import prediction
from explainers.checkpointing.measure import MeasureResult
from explainers.checkpointing.measure_params import ModelParams
from explainers.checkpointing.memory_trace import CATEGORIES, PHASES, Phase
from explainers.checkpointing.model import ModelResult
from explainers.checkpointing.step import training_step
from explainers.checkpointing.views.measure_events import (
    Shown,
    backward_borders,
    chosen_events,
    forward_borders,
    opening_event,
    stops,
)
from explainers.contract.messages import LiveMessage, Message, plural
from explainers.contract.params import control_of
from explainers.drawing.panels import Axis, Bands, Layer, Line, Marks
from explainers.drawing.scene import Column, Hue, Panel, Scene, Track, Words
from explainers.drawing.source_code import code_panel, line_with
from explainers.models.decoder import GptBlock, LlamaBlock
from explainers.models.shapes import LLAMA_3_1

HEIGHT = 290

NAMES = (
    Message("parameters"),
    Message("optimizer state"),
    Message("gradients"),
    Message("kept activations"),
    Message("recomputed activations"),
    Message("temporaries"),
)
HUES: tuple[Hue, ...] = ("parameter", "optimizer", "gradient", "activation", "activation", "muted")
STYLES: tuple[Literal["solid", "hatched", "hollow"], ...] = (
    "solid",
    "solid",
    "solid",
    "solid",
    "hatched",
    "hollow",
)
ACTIVATIONS = [CATEGORIES.index("kept_activation"), CATEGORIES.index("recomputed_activation")]
ONE_OF = (
    Message("weights"),
    Message("optimizer state"),
    Message("a gradient"),
    Message("a kept activation"),
    Message("a recomputed activation"),
    Message("a temporary"),
)
PHASE_NAMES: dict[Phase, Message] = {
    "forward": Message("forward"),
    "recompute": Message("recompute"),
    "backward": Message("backward"),
    "optimizer": Message("optimizer"),
}

# The numbers of a step: the layer at work, counted from 1; the bytes allocated or freed; the bytes alive after that.
COLUMNS = ("layer", "size", "live_bytes")

# The line of the training step's source that is at work in each phase.
LINES: dict[Phase, str] = {
    "forward": "loss = forward(",
    "recompute": "loss.backward()",
    "backward": "loss.backward()",
    "optimizer": "optimizer.step(",
}


def scene(result: MeasureResult | ModelResult) -> Scene:
    """The memory of one training step over its events, ready to be played; it opens at `opening_event`."""
    opening = opening_event(result)
    shown = chosen_events(result.timeline, result.params.shape.layers, opening)
    llama = result.params.shape.block == "llama"
    return Scene(
        name="checkpointing.measure" if isinstance(result, MeasureResult) else "checkpointing.model",
        title=Message("Memory of one training step: {model}", model=_model_name(result)),
        steps=len(shown),
        columns=(
            Column(2.1, (_memory(result, shown), _activations(result, shown))),
            Column(1, (_layers(shown), _now(result, shown))),
        ),
        words=_words(shown),
        stops=stops(shown),
        start=shown.step_of(opening),
        reopens=True,
        rate=40,
        step_name="event",
        below=(
            Column(1, (_step_source(shown),)),
            Column(1, (_block_source(LlamaBlock if llama else GptBlock),)),
        ),
    )


def _model_name(result: MeasureResult | ModelResult) -> Message:
    params = result.params
    if isinstance(result, MeasureResult):
        layers = params.shape.layers
        return Message(
            "{layers} of hidden size {hidden}",
            layers=plural("{count} Llama layer", "{count} Llama layers", count=layers)
            if params.shape.block == "llama"
            else plural("{count} GPT layer", "{count} GPT layers", count=layers),
            hidden=params.shape.hidden,
        )
    name = control_of(ModelParams, "model").labels[result.params.model]  # type: ignore[index]
    traced, whole = params.shape.layers, LLAMA_3_1[result.params.model].layers
    if traced == whole:
        return Message("{model}, all {layers} layers", model=name, layers=whole)
    return Message("{model}, {traced} of {layers} layers", model=name, traced=traced, layers=whole)


# ------------------------------------------------------------------------------------------------ the panels


def _memory(result: MeasureResult | ModelResult, shown: Shown) -> Panel:
    events = len(result.timeline)
    subtitle = (
        Message(
            "{shown:,} of {events:,} events: all borders of layers and phases, and the largest changes",
            shown=len(shown),
            events=events,
        )
        if len(shown) < events
        else Message("all {events:,} events", events=events)
    )
    return Bands(
        name="memory",
        title="Live memory",
        subtitle=subtitle,
        height=HEIGHT,
        values=result.category_bytes[:, shown.events].astype(float),
        names=NAMES,
        hues=HUES,
        styles=STYLES,
        marked=shown.step_of(result.peak_event),
    )


def _activations(result: MeasureResult | ModelResult, shown: Shown) -> Panel:
    """Only kept and recomputed activations, and the prediction for the borders, from sizes alone."""
    strategy = result.params.strategy
    values = result.category_bytes[ACTIVATIONS][:, shown.events].astype(float)
    kept = prediction.kept_after_blocks(result.params.sizes, strategy, result.params.k)
    kept.append(result.predicted_saved_after_forward_bytes)
    kept += prediction.alive_in_backward(result.params.sizes, strategy, result.params.k)
    borders = [
        *forward_borders(result.timeline, shown.layers),
        *backward_borders(result.timeline, shown.layers, strategy),
    ]
    steps = [shown.step_of(event) for event in borders[: len(kept)]]
    predicted = Line(x=np.array(steps), y=np.array(kept[: len(steps)], float), hue="current", dashed=True)
    when = (
        Message("when a layer ends, forward and backward")
        if strategy == "none"
        else Message(
            "forward when a layer ends, backward before and after each recomputation and at its maximum"
        )
        if strategy.startswith("selective")
        else Message("forward when a layer ends, backward before and after a segment is recomputed")
    )
    return Bands(
        name="activations",
        title="Activations only",
        subtitle=Message("dashed: predicted from sizes alone, {when}", when=when),
        height=150,
        values=values,
        names=tuple(NAMES[place] for place in ACTIVATIONS),
        hues=tuple(HUES[place] for place in ACTIVATIONS),
        styles=tuple(STYLES[place] for place in ACTIVATIONS),
        lines=(predicted,),
        step_label="events of the step →",
    )


def _layers(shown: Shown) -> Panel:
    """A row of layers, counted from 1; the fill of the layer at work shows its phase."""
    places = np.arange(1, shown.layers + 1, dtype=float)
    left, right = places - 0.5, places + 0.5
    bottom, top = np.zeros(shown.layers), np.ones(shown.layers)
    at_work = shown.layer[:, None] + 1 == places

    def in_phase(phase: Phase, hue: Hue, style: Any) -> Layer:
        busy = at_work & (shown.phase == PHASES.index(phase))[:, None]
        return Layer(
            "rect",
            x=Track(np.where(busy, left, np.nan)),
            y=bottom,
            x2=Track(np.where(busy, right, np.nan)),
            y2=top,
            hue=hue,
            style=style,
            names=tuple(
                Message("layer {layer}: {phase}", layer=layer, phase=PHASE_NAMES[phase])
                for layer in range(1, shown.layers + 1)
            ),
        )

    return Marks(
        name="layers",
        title="Layer at work",
        subtitle="solid forward, hatched recompute, brown backward, ochre optimizer",
        height=92,
        x=Axis(0.5, shown.layers + 0.5, label="layer", ticks=_ticks(shown.layers), format="d"),
        y=Axis(-0.1, 1.1),
        layers=(
            Layer("rect", x=left, y=bottom, x2=right, y2=top, hue="muted", style="hollow"),
            in_phase("forward", "activation", "solid"),
            in_phase("recompute", "activation", "hatched"),
            in_phase("backward", "gradient", "solid"),
            in_phase("optimizer", "optimizer", "solid"),
        ),
    )


def _ticks(layers: int) -> tuple[float, ...]:
    """At most eight layers, evenly spaced."""
    distance = -(-layers // 8)
    return tuple(float(layer) for layer in range(1, layers + 1, distance))


def _now(result: MeasureResult | ModelResult, shown: Shown) -> Panel:
    """What is alive after the current event: a bar for each category."""
    values = result.category_bytes[:, shown.events].T.astype(float)
    rows = np.arange(len(CATEGORIES), dtype=float)
    most = float(values.max())
    bars = tuple(
        Layer(
            "rect",
            x=np.zeros(1),
            y=rows[place : place + 1] + 0.08,
            x2=Track(values[:, place : place + 1]),
            y2=rows[place : place + 1] + 0.5,
            hue=HUES[place],
            style=STYLES[place],  # type: ignore[arg-type]
        )
        for place in range(len(CATEGORIES))
    )
    labels = Layer(
        "label",
        x=np.zeros(len(rows)),
        y=rows - 0.2,
        hue="muted",
        names=tuple(Message("{category}: ", category=name) for name in NAMES),
        numbers=Track(values),
        format="bytes",
        size=4,
        style="faint",
    )
    return Marks(
        name="now",
        title="Alive now",
        height=250,
        x=Axis(0, most),
        y=Axis(-0.5, len(rows) - 0.3, flip=True),
        layers=(*bars, labels),
        frame=False,
    )


def _step_source(shown: Shown) -> Panel:
    line_of = {phase: line_with(LINES[phase], training_step) for phase in PHASES}
    lines = np.array([line_of[PHASES[phase]] for phase in shown.phase])
    return code_panel(training_step, lines, name="step source", title="The training step", height=0)


def _block_source(block: type[LlamaBlock] | type[GptBlock]) -> Panel:
    return code_panel(block, name="block source", title="A block", height=0)


# ------------------------------------------------------------------------------------------------- the words


def _words(shown: Shown) -> Words:
    """A sentence for each step: what happens where, how many bytes it takes or frees, and how many are alive."""
    timeline, events = shown.timeline, shown.events
    sentences: dict[Message, int] = {}
    which = [sentences.setdefault(_sentence(shown, event), len(sentences)) for event in events]
    values = np.stack([shown.layer + 1, timeline.sizes[events], timeline.live_bytes[events]], axis=1)
    return Words(
        sentences=tuple(sentences),
        which=np.array(which),
        values=values.astype(float),  # whole numbers travel as int32, and these count bytes beyond 2 GB
        columns=COLUMNS,
    )


def _sentence(shown: Shown, event: int) -> Message:
    timeline = shown.timeline
    if event == shown.events[0]:
        return LiveMessage(
            "Before the step: weights and optimizer state, {live_bytes:bytes}, are **live all the time**."
        )
    places = {
        "place": _place(int(timeline.layer[event]), shown.layers, PHASES[timeline.phase[event]]),
        "operation": timeline.operations[timeline.operation[event]],
        "category": ONE_OF[timeline.category[event]],
    }
    if timeline.allocates[event]:
        return LiveMessage(
            "{place}: **{operation} allocates {size:bytes}** for {category}; {live_bytes:bytes} are live.",
            **places,
        )
    return LiveMessage(
        "{place}: **{size:bytes} are freed**, {category} of {operation}; {live_bytes:bytes} are live.",
        **places,
    )


def _place(layer: int, layers: int, phase: Phase) -> Message:
    """The layer at work and the phase; the player fills in the number of the layer."""
    if layer < 0:
        return Message("Embedding, {phase}", phase=PHASE_NAMES[phase])
    if layer == layers:
        return Message("Head and loss, {phase}", phase=PHASE_NAMES[phase])
    return LiveMessage("Layer {layer:d}, {phase}", phase=PHASE_NAMES[phase])
