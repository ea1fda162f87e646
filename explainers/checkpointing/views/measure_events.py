"""Which events of a training step become steps of its picture, where it opens, and the borders of layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from explainers.checkpointing.measure import MeasureResult
from explainers.checkpointing.memory_trace import PHASES, Timeline
from explainers.checkpointing.model import ModelResult
from explainers.checkpointing.prediction import Strategy

MOST_STEPS = 1500
MOST_STOPS = 40
MASK = "aten.empty_like"  # the operation with which dropout allocates its mask


@dataclass(frozen=True, eq=False)
class Shown:
    """The events of a timeline that become steps. events: (steps,) indices."""

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


def chosen_events(timeline: Timeline, layers: int, also: int) -> Shown:
    """All events, or of more than MOST_STEPS the borders of phases and layers, the peak, and the largest changes.

    also: one more event that is always chosen.

    Of the events before the forward pass only the last is shown. Where events are left out, only the borders of the
    optimizer's are shown.
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


def opening_event(result: MeasureResult | ModelResult) -> int:
    """The event with the most activations alive; under a break, the event that shows its effect.

    Gradients counted as activations show at that same peak. Lost random state: the first dropout mask that is drawn
    again. A cut graph: the end of the backward pass, in which the layers' gradients should have been computed.
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


def forward_borders(timeline: Timeline, layers: int) -> list[int]:
    """The last event of the embedding, of each block and of the head in the forward pass."""
    layer = timeline.layer[: timeline.forward_ends]
    forward = timeline.phase[: timeline.forward_ends] == PHASES.index("forward")
    ends = [np.flatnonzero(forward & (layer == place)) for place in range(-1, layers + 1)]
    return [int(events[-1]) for events in ends if len(events)]


def backward_borders(timeline: Timeline, layers: int, strategy: Strategy) -> list[int]:
    """The events to which the numbers of `prediction.alive_in_backward` belong, in their order."""
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


def stops(shown: Shown) -> tuple[int, ...]:
    """The steps at which a phase begins, without recomputations where there are many."""
    recompute, backward = PHASES.index("recompute"), PHASES.index("backward")
    without_recompute = np.where(shown.phase == recompute, backward, shown.phase)
    all_begins, few = (np.flatnonzero(np.diff(phases)) + 1 for phases in (shown.phase, without_recompute))
    return (0, *(all_begins if len(all_begins) <= MOST_STOPS else few).tolist())
