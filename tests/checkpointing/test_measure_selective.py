"""Selective checkpointing through the backward pass, recomputed FLOPs, and where the picture of a break opens."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from torch.utils.flop_counter import FlopCounterMode

from explainers.checkpointing import pareto, prediction, rotor
from explainers.checkpointing.measure import build, measure, plan_of
from explainers.checkpointing.measure_params import BREAKS, STRATEGY_LABELS, MeasureParams
from explainers.checkpointing.memory_trace import PHASES, MemoryTrace
from explainers.checkpointing.schedule import actions_of
from explainers.checkpointing.schedule_params import ScheduleParams
from explainers.checkpointing.schedule_prediction import front_of, least_extra_in
from explainers.checkpointing.step import forward
from explainers.checkpointing.views.measure import scene as measure_scene
from explainers.checkpointing.views.measure_events import backward_borders, opening_event
from explainers.contract.params import fit
from tests.breaks import settings_of

SELECTIVE = ("selective_matmuls", "selective_attention")
SMALL: dict[str, Any] = {"layers": 3, "hidden": 16, "heads": 4, "seq_len": 8}


@pytest.mark.parametrize("strategy", SELECTIVE)
@pytest.mark.parametrize("block", ["llama", "gpt"])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"dropout": 0.0},
        {"dropout": 0.0, "attention": "flash"},
        {"batch": 1},
        {"seq_len": 1},
        {"seq_len": 32},
        {"heads": 1, "kv_heads": 1},
        {"kv_heads": 1, "dtype": "bfloat16"},
    ],
)
def test_a_selective_strategy_is_predicted_through_the_backward_pass(
    strategy: str, block: str, fields: dict[str, Any]
) -> None:
    chosen = MeasureParams(**{**SMALL, "strategy": strategy, "block": block, **fields})
    result = measure(chosen)
    timeline = result.timeline
    alive = timeline.of("kept_activation", "recomputed_activation")
    borders = backward_borders(timeline, chosen.layers, chosen.strategy)
    assert alive[borders].tolist() == prediction.alive_in_backward(chosen.sizes, chosen.strategy, 1)
    assert result.activation_peak_bytes == result.predicted_activation_peak_bytes
    (predicted,) = next(
        panel for panel in measure_scene(result).panels() if panel.name == "activations"
    ).lines  # type: ignore[attr-defined]
    assert len(predicted.x) == 1 + chosen.layers + 1 + 3 * chosen.layers
    assert (np.diff(predicted.x) >= 0).all()


def flops(chosen: MeasureParams) -> tuple[int, int]:
    """FLOPs of the forward pass and of the backward pass with what it recomputes, as torch counts them."""
    decoder, tokens = build(chosen)
    with FlopCounterMode(display=False) as going:
        loss = forward(decoder, tokens[0], tokens[1], plan_of(chosen), MemoryTrace())
    with FlopCounterMode(display=False) as returning:
        loss.backward()
    return going.get_total_flops(), returning.get_total_flops()


@pytest.mark.parametrize("strategy", STRATEGY_LABELS)
@pytest.mark.parametrize(("block", "dropout"), [("llama", 0.0), ("gpt", 0.0), ("gpt", 0.1)])
def test_what_runs_again_is_what_torch_counts(strategy: str, block: str, dropout: float) -> None:
    chosen = MeasureParams(**{**SMALL, "strategy": strategy, "block": block, "dropout": dropout})
    forward_flops, plain = flops(chosen.model_copy(update={"strategy": "none"}))
    _, with_strategy = flops(chosen)
    result = measure(chosen)
    assert result.recomputed_share == (with_strategy - plain) / forward_flops
    assert (f"{result.recomputed_share:.1%}" in result.saving) == (strategy != "none")


@pytest.mark.parametrize("name", settings_of(BREAKS))
def test_a_broken_step_opens_where_the_break_shows(name: str) -> None:
    chosen = fit(MeasureParams(**settings_of(BREAKS)[name], break_it=name))[0]  # type: ignore[arg-type]
    result = measure(chosen)
    timeline, event = result.timeline, opening_event(result)
    phase, layer = PHASES[timeline.phase[event]], int(timeline.layer[event])
    if name == "reentrant_no_grad_input":  # the head has gone backward, and nothing below it follows
        assert (phase, layer) == ("backward", chosen.layers)
        assert PHASES[timeline.phase[event + 1]] == "optimizer"
    elif name == "lost_random_state":  # the first layer of the last segment draws its first mask again
        assert (phase, layer) == ("recompute", chosen.layers - chosen.k)
        assert event == int(
            np.flatnonzero(
                (timeline.phase == PHASES.index("recompute"))
                & (timeline.operation == timeline.operation[event])
            )[0]
        )
    else:
        assert event == result.activation_peak_event
    scene = measure_scene(result)
    memory = next(panel for panel in scene.panels() if panel.name == "memory")
    assert memory.values[:, scene.start].tolist() == result.category_bytes[:, event].tolist()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("layers", "boundary", "internal"), [*itertools.product([1, 2, 9], [2, 3, 6, 16], [2, 6, 15, 64])]
)
def test_dividing_the_sizes_changes_no_schedule(layers: int, boundary: int, internal: int) -> None:
    params = ScheduleParams(layers=layers, boundary=boundary, internal=internal)
    assert front_of(params) == pareto.front(layers, boundary, internal)
    for budget in range(boundary + internal, boundary + layers * internal + 3):
        assert least_extra_in(params, budget) == pareto.least_extra(layers, boundary, internal, budget)
    for budget in range(boundary + internal, boundary + layers * internal + 3, 5):
        chosen = params.model_copy(update={"strategy": "optimal", "budget": budget})
        plan = rotor.equal_layers(layers, boundary, internal)
        assert [*actions_of(chosen)] == [*rotor.optimal(plan, 1, layers, budget - boundary)]
