"""The picture of a training step's memory: bands over its events, the layers at work, and what is alive now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from explainers.checkpointing import prediction
from explainers.checkpointing.measure import MeasureResult
from explainers.checkpointing.measure_params import ModelParams
from explainers.checkpointing.memory_trace import CATEGORIES, PHASES, Phase, Timeline
from explainers.checkpointing.model import ModelResult
from explainers.checkpointing.prediction import Strategy
from explainers.checkpointing.step import training_step
from explainers.contract.params import control_of
from explainers.drawing.panels import Axis, Bands, Layer, Line, Marks
from explainers.drawing.scene import Column, Hue, Panel, Scene, Track, Words
from explainers.drawing.source_code import code_panel, line_with
from explainers.models.decoder import GptBlock, LlamaBlock
from explainers.models.shapes import LLAMA_3_1

MOST_STEPS = 1500
MOST_STOPS = 40
HEIGHT = 290

NAMES = (
    "parameters",
    "optimizer state",
    "gradients",
    "kept activations",
    "recomputed activations",
    "temporaries",
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
    "weights",
    "optimizer state",
    "a gradient",
    "a kept activation",
    "a recomputed activation",
    "a temporary",
)

MASK = "aten.empty_like"  # which dropout fills with its mask

# Where the training step is in each phase, as its source says it.
LINES: dict[Phase, str] = {
    "forward": "loss = forward(",
    "recompute": "loss.backward()",
    "backward": "loss.backward()",
    "optimizer": "optimizer.step(",
}


@dataclass(frozen=True, eq=False)
class Shown:
    """The events that become steps, and the timeline that they are from. events: (steps,) indices."""

    timeline: Timeline
    events: np.ndarray
    layers: int

    def __len__(self) -> int:
        return len(self.events)

    def step_of(self, event: int) -> int:
        """The step that shows this event, or the last one before it."""
        return max(int(np.searchsorted(self.events, event, side="right")) - 1, 0)

    @property
    def layer(self) -> np.ndarray:
        return self.timeline.layer[self.events]

    @property
    def phase(self) -> np.ndarray:
        return self.timeline.phase[self.events]


def scene(result: MeasureResult | ModelResult) -> Scene:
    """The memory of one training step over its events, ready to be played, from the moment worth seeing."""
    opening = opening_event(result)
    shown = chosen_events(result.timeline, result.params.shape.layers, opening)
    llama = result.params.shape.block == "llama"
    return Scene(
        name="checkpointing.measure" if isinstance(result, MeasureResult) else "checkpointing.model",
        title=f"Memory of one training step: {_whose(result)}",
        steps=len(shown),
        columns=(
            Column(2.1, (_memory(result, shown), _activations(result, shown))),
            Column(1, (_layers(shown), _now(result, shown))),
        ),
        words=_words(shown),
        stops=_stops(shown),
        start=shown.step_of(opening),
        reopens=True,
        rate=40,
        step_name="event",
        below=(
            Column(1, (_step_source(shown),)),
            Column(1, (_block_source(LlamaBlock if llama else GptBlock),)),
        ),
    )


def opening_event(result: MeasureResult | ModelResult) -> int:
    """Where most activations live; under a break, the event at which it shows.

    Gradients taken for activations show at that same peak. Lost random state: the first dropout mask that is drawn
    again. A cut graph: the end of the backward pass, where the layers' gradients should have been made.
    """
    timeline = result.timeline
    broken = result.params.break_it if isinstance(result, MeasureResult) else "none"
    if broken == "reentrant_no_grad_input":
        return int(np.flatnonzero(timeline.phase == PHASES.index("backward"))[-1])
    if broken == "lost_random_state":
        mask = timeline.operation == timeline.operations.index(MASK)
        again = timeline.phase == PHASES.index("recompute")
        return int(np.flatnonzero(mask & again & timeline.allocates)[0])
    return result.activation_peak_event


def _whose(result: MeasureResult | ModelResult) -> str:
    """The model, as the title names it."""
    params = result.params
    if isinstance(result, MeasureResult):
        kind = "Llama" if params.shape.block == "llama" else "GPT"
        return f"{_counted(params.shape.layers, f'{kind} layer')} of hidden size {params.shape.hidden}"
    name = control_of(ModelParams, "model").labels[result.params.model]  # type: ignore[index]
    whole = LLAMA_3_1[result.params.model].layers
    layers = (
        f"all {whole} layers" if params.shape.layers == whole else f"{params.shape.layers} of {whole} layers"
    )
    return f"{name}, {layers}"


def _counted(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def chosen_events(timeline: Timeline, layers: int, also: int) -> Shown:
    """All events, or of more than MOST_STEPS the borders of phases and layers, the peak, and the largest changes.

    also: one more event that is chosen in any case.

    Of what is made before the forward pass only the end is shown; where events are left out, of the optimizer only the
    borders.
    """
    place = timeline.layer * len(PHASES) + timeline.phase
    first = max(int(np.argmax(timeline.phase == PHASES.index("forward"))) - 1, 0)
    borders = np.flatnonzero(np.diff(place)) + 1
    ends = [first, timeline.forward_ends - 1, timeline.peak, also, len(timeline) - 1]
    must = {*ends, *borders.tolist(), *(borders - 1).tolist()}
    must = {event for event in must if event >= first}
    if len(timeline) - first <= MOST_STEPS:
        return Shown(timeline, np.arange(first, len(timeline)), layers)
    largest = np.argsort(-timeline.sizes, kind="stable")
    largest = largest[(largest >= first) & (timeline.phase[largest] != PHASES.index("optimizer"))]
    chosen = must | set(largest[: max(MOST_STEPS - len(must), 0)].tolist())
    return Shown(timeline, np.array(sorted(chosen)), layers)


# ------------------------------------------------------------------------------------------------ the panels


def _memory(result: MeasureResult | ModelResult, shown: Shown) -> Panel:
    events = len(result.timeline)
    thinned = (
        f"{len(shown):,} of {events:,} events: all borders of layers and phases, and the largest changes"
        if len(shown) < events
        else f"all {events:,} events"
    )
    return Bands(
        name="memory",
        title="Live memory",
        subtitle=thinned,
        height=HEIGHT,
        values=result.category_bytes[:, shown.events].astype(float),
        names=NAMES,
        hues=HUES,
        styles=STYLES,
        marked=shown.step_of(result.peak_event),
    )


def _activations(result: MeasureResult | ModelResult, shown: Shown) -> Panel:
    """Kept and recomputed activations by themselves, and how many there must be at the borders, from sizes alone."""
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
    dashed = (
        "when a layer ends, forward and backward"
        if strategy == "none"
        else "forward when a layer ends, backward before, at the most of and after each recomputation"
        if strategy.startswith("selective")
        else "forward when a layer ends, backward before and after a segment is recomputed"
    )
    return Bands(
        name="activations",
        title="Activations alone",
        subtitle=f"dashed: predicted from sizes alone, {dashed}",
        height=150,
        values=values,
        names=tuple(NAMES[place] for place in ACTIVATIONS),
        hues=tuple(HUES[place] for place in ACTIVATIONS),
        styles=tuple(STYLES[place] for place in ACTIVATIONS),
        lines=(predicted,),
        step_label="events of the step →",
    )


def forward_borders(timeline: Timeline, layers: int) -> list[int]:
    """The last event of the embedding, of each block and of the head in the forward pass."""
    layer = timeline.layer[: timeline.forward_ends]
    forward = timeline.phase[: timeline.forward_ends] == PHASES.index("forward")
    ends = [np.flatnonzero(forward & (layer == place)) for place in range(-1, layers + 1)]
    return [int(events[-1]) for events in ends if len(events)]


def backward_borders(timeline: Timeline, layers: int, strategy: Strategy) -> list[int]:
    """The events at which `prediction.alive_in_backward` says what is alive, in their order."""
    if strategy == "none":
        backward = timeline.phase == PHASES.index("backward")
        ends = [np.flatnonzero(backward & (timeline.layer == place)) for place in reversed(range(layers))]
        return [int(events[-1]) for events in ends if len(events)]
    borders = np.flatnonzero(np.diff(timeline.phase == PHASES.index("recompute"))).tolist()
    if not strategy.startswith("selective"):
        return borders
    alive = timeline.of("kept_activation", "recomputed_activation")
    spans = zip(borders[::2], borders[1::2], strict=True)
    return [event for a, b in spans for event in (a, a + int(alive[a : b + 1].argmax()), b)]


def _layers(shown: Shown) -> Panel:
    """A row of layers, counted from 1; the one at work is filled by what it does."""
    places = np.arange(1, shown.layers + 1, dtype=float)
    left, right = places - 0.5, places + 0.5
    at_work = shown.layer[:, None] + 1 == places

    def doing(phase: Phase, hue: Hue, style: Any) -> Layer:
        busy = at_work & (shown.phase == PHASES.index(phase))[:, None]
        return Layer(
            "rect",
            Track(np.where(busy, left, np.nan)),
            np.zeros(shown.layers),
            Track(np.where(busy, right, np.nan)),
            np.ones(shown.layers),
            hue=hue,
            style=style,
            names=tuple(f"layer {place}: {phase}" for place in range(1, shown.layers + 1)),
        )

    return Marks(
        name="layers",
        title="Layer at work",
        subtitle="solid forward, hatched recompute, brown backward, ochre optimizer",
        height=92,
        x=Axis(0.5, shown.layers + 0.5, label="layer", ticks=_ticks(shown.layers), format="d"),
        y=Axis(-0.1, 1.1),
        layers=(
            Layer(
                "rect",
                left,
                np.zeros(shown.layers),
                right,
                np.ones(shown.layers),
                hue="muted",
                style="hollow",
            ),
            doing("forward", "activation", "solid"),
            doing("recompute", "activation", "hatched"),
            doing("backward", "gradient", "solid"),
            doing("optimizer", "optimizer", "solid"),
        ),
    )


def _ticks(layers: int) -> tuple[float, ...]:
    every = -(-layers // 8)
    return tuple(float(place) for place in range(1, layers + 1, every))


def _now(result: MeasureResult | ModelResult, shown: Shown) -> Panel:
    """Bars of what is alive at this moment, by category."""
    values = result.category_bytes[:, shown.events].T.astype(float)
    rows = np.arange(len(CATEGORIES), dtype=float)
    most = float(values.max())
    bars = tuple(
        Layer(
            "rect",
            np.zeros(1),
            rows[place : place + 1] + 0.08,
            Track(values[:, place : place + 1]),
            rows[place : place + 1] + 0.5,
            hue=HUES[place],
            style=STYLES[place],  # type: ignore[arg-type]
        )
        for place in range(len(CATEGORIES))
    )
    labels = Layer(
        "label",
        np.zeros(len(rows)),
        rows - 0.2,
        hue="muted",
        names=tuple(f"{name}: " for name in NAMES),
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
    at = {phase: line_with(LINES[phase], training_step) for phase in PHASES}
    lines = np.array([at[PHASES[phase]] for phase in shown.phase])
    return code_panel(training_step, lines, name="step source", title="The training step", height=0)


def _block_source(block: type[LlamaBlock] | type[GptBlock]) -> Panel:
    return code_panel(block, name="block source", title="A block", height=0)


# ------------------------------------------------------------------------------------------------- the words


def _words(shown: Shown) -> Words:
    """One sentence a step: who does what, how much it takes or gives back, and how much is alive."""
    timeline, events = shown.timeline, shown.events
    sentences: dict[str, int] = {}
    which = [sentences.setdefault(_sentence(shown, event), len(sentences)) for event in events]
    values = np.stack([shown.layer + 1, timeline.sizes[events], timeline.live[events]], axis=1)
    # float, because whole numbers travel as int32 and these count bytes beyond 2 GB
    return Words(tuple(sentences), np.array(which), values.astype(float))


def _sentence(shown: Shown, event: int) -> str:
    timeline = shown.timeline
    if event == shown.events[0]:
        return "Before the step: weights and optimizer state, {2:bytes}, are **live all the time**."
    operation = timeline.operations[timeline.operation[event]]
    category = ONE_OF[timeline.category[event]]
    place = _place(int(timeline.layer[event]), shown.layers, PHASES[timeline.phase[event]])
    does = (
        f"**{operation} takes {{1:bytes}}** for {category}"
        if timeline.allocates[event]
        else f"**{{1:bytes}} are freed**, {category} of {operation}"
    )
    return f"{place}: {does}; {{2:bytes}} are live."


def _place(layer: int, layers: int, phase: Phase) -> str:
    where = "Embedding" if layer < 0 else "Head and loss" if layer == layers else "Layer {0:d}"
    return f"{where}, {phase}"


def _stops(shown: Shown) -> tuple[int, ...]:
    """Where a phase begins; of the many recomputations only where they are few."""
    recompute, backward = PHASES.index("recompute"), PHASES.index("backward")
    without_recompute = np.where(shown.phase == recompute, backward, shown.phase)
    every, few = (np.flatnonzero(np.diff(phases)) + 1 for phases in (shown.phase, without_recompute))
    return (0, *(every if len(every) <= MOST_STOPS else few).tolist())
