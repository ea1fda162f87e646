"""Memory of training steps: measured equals predicted to the byte, on real and on fake tensors, for every strategy."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

from explainers.checkpointing import measure as measure_module
from explainers.checkpointing import prediction, schedules
from explainers.checkpointing.measure import MeasureResult, build, fake_step, in_words, measure, plan_of, run
from explainers.checkpointing.measure_params import (
    BITES,
    LOST,
    REAL_BUDGET,
    STRATEGY_LABELS,
    WIDTH,
    MeasureParams,
    ModelParams,
)
from explainers.checkpointing.memory_trace import CATEGORIES, PHASES, MemoryTrace
from explainers.checkpointing.model import (
    Stopped,
    in_thread,
    model,
    model_with_progress,
    resident_bytes,
    verdict,
)
from explainers.checkpointing.step import AdamW, forward, plain_gradients
from explainers.checkpointing.views.measure import (
    MOST_STEPS,
    backward_borders,
    forward_borders,
    measure_scene,
)
from explainers.decoder import GptBlock, LlamaBlock
from explainers.experiment import choices_of, find, fit, watch
from explainers.model_shapes import LLAMA_3_1, PUBLISHED_PARAMETERS
from explainers.scene import Bands

ROOT = Path(__file__).parents[1]

# What another program measured of one GPT block in bfloat16 on a CPU, in bytes (memory.json of the oracles, under
# "activation", measured_torch2.15_cpu_bf16).
ORACLE: dict[str, Any] = {
    "sizes": {"hidden": 256, "heads": 4, "seq_len": 128, "batch": 2},
    "formula": 2_883_584,
    "with masks of one byte": 2_885_632,
    "with masks of two bytes": 3_147_776,
}
STRATEGIES = tuple(STRATEGY_LABELS)
BLOCKS = ("llama", "gpt")
SMALL = {"layers": 3, "hidden": 16, "heads": 4, "seq_len": 8}


def params(**fields: Any) -> MeasureParams:
    return MeasureParams(**{**SMALL, **fields})


# ------------------------------------------------------------------------------------ measured against predicted


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_is_kept_is_predicted_to_the_byte(strategy: str, block: str, dtype: str) -> None:
    result = measure(params(strategy=strategy, block=block, dtype=dtype))
    assert result.saved_after_forward_bytes == result.predicted_saved_after_forward_bytes
    assert result.max_abs_grad_error == 0
    assert result.passed


def some_params(draw: st.DrawFn) -> MeasureParams:
    """Any shapes that fit together, so small that a run takes milliseconds."""
    heads = draw(st.sampled_from([1, 2, 3, 4]))
    block, attention = draw(st.sampled_from(BLOCKS)), draw(st.sampled_from(["written", "flash"]))
    layers = draw(st.integers(1, 5))
    fields: dict[str, Any] = {
        "strategy": draw(st.sampled_from(STRATEGIES)),
        "block": block,
        "attention": attention,
        "layers": layers,
        "k": draw(st.integers(1, layers)),
        "heads": heads,
        "kv_heads": draw(st.sampled_from([one for one in (1, 2, 3, 4) if heads % one == 0])),
        "hidden": heads * draw(st.sampled_from([2, 4, 10])),
        "seq_len": draw(st.sampled_from([1, 2, 7, 16])),
        "batch": draw(st.integers(1, 3)),
        "dropout": 0.0 if attention == "flash" else draw(st.sampled_from([0.0, 0.3])),
        "dtype": draw(st.sampled_from(["float32", "bfloat16"])),
    }
    return MeasureParams(**fields)


@settings(max_examples=12, deadline=None)
@given(st.composite(some_params)())
def test_prediction_curve_and_fake_tensors_agree_for_any_sizes(chosen: MeasureParams) -> None:
    assert fit(chosen)[1] == []
    result = measure(chosen)
    assert [check.error for check in result.checks] == [0] * len(result.checks)
    differences = result.timeline.differences(fake_step(chosen).timeline)
    assert differences == 0 or chosen.fake_strides_differ
    timeline, strategy = result.timeline, chosen.strategy
    curve = prediction.kept_after_blocks(chosen.sizes, strategy, chosen.k)
    kept = timeline.of("kept_activation")
    assert kept[forward_borders(timeline, chosen.layers)[:-1]].tolist() == curve
    backward = prediction.alive_in_backward(chosen.sizes, strategy, chosen.k)
    alive = timeline.of("kept_activation", "recomputed_activation")
    assert alive[backward_borders(timeline, chosen.layers, strategy)].tolist() == backward


@pytest.mark.parametrize("layers", [1, 5, 6, 7, 80, 126])
@pytest.mark.parametrize("k", [1, 2, 3, 9])
def test_segments_are_those_of_the_schedules_on_a_chain(layers: int, k: int) -> None:
    for strategy, length in (("every_k", k), ("sqrt", schedules.sqrt_length(layers)), ("full", 1)):
        lengths = prediction.segments_of(strategy, layers, k)  # type: ignore[arg-type]
        starts = np.cumsum([1, *lengths])[:-1]
        assert tuple(starts) == schedules.every(length, 1, layers)
        assert sum(lengths) == layers


@pytest.mark.parametrize("block", BLOCKS)
def test_parameters_are_counted_from_the_shape(block: str) -> None:
    chosen = params(block=block)
    decoder, _ = build(chosen)
    assert sum(one.numel() for one in decoder.parameters()) == chosen.shape.parameters


def test_published_shapes_have_their_published_parameters() -> None:
    assert {name: shape.parameters for name, shape in LLAMA_3_1.items()} == PUBLISHED_PARAMETERS


def test_nothing_keeps_more_than_no_checkpoints_and_longer_segments_keep_less() -> None:
    saved = {
        strategy: measure(params(strategy=strategy, layers=4, seq_len=64)).saved_after_forward_bytes
        for strategy in STRATEGIES
    }
    assert saved["none"] == max(saved.values())
    assert saved["every_k"] == saved["sqrt"] < saved["full"]


def test_keeping_all_but_attention_saves_exactly_the_softmax() -> None:
    sizes = params(strategy="none").sizes
    softmax = sizes.batch * sizes.shape.heads * sizes.seq_len**2 * sizes.width
    none, selective = (
        measure(params(strategy=strategy)).saved_after_forward_bytes
        for strategy in ("none", "selective_attention")
    )
    assert none - selective == sizes.shape.layers * softmax


# -------------------------------------------------------------------------------------------- Korthikanti's count


def test_korthikanti_meets_the_oracle() -> None:
    result = measure(
        MeasureParams(block="gpt", strategy="none", layers=1, dtype="bfloat16", **ORACLE["sizes"])
    )
    ends = result.residual_terms["embedding, last norm, head and loss"]
    norms = result.residual_terms["mean and deviation of each LayerNorm"]
    masks = result.residual_terms["dropout masks of 2 bytes in place of 1"]
    assert result.korthikanti_bytes == ORACLE["formula"]
    assert result.saved_after_forward_bytes - ends == ORACLE["with masks of two bytes"]
    assert ORACLE["formula"] + norms == ORACLE["with masks of one byte"]
    assert ORACLE["with masks of one byte"] + masks == ORACLE["with masks of two bytes"]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"dtype": "bfloat16"},
        {"dropout": 0.0},
        {"dropout": 0.0, "attention": "flash"},
        {"layers": 5, "batch": 1},
    ],
)
def test_the_formula_and_its_residual_are_what_is_kept(fields: dict[str, Any]) -> None:
    result = measure(params(block="gpt", strategy="none", **fields))
    assert result.korthikanti_bytes is not None
    assert result.korthikanti_bytes + sum(result.residual_terms.values()) == result.saved_after_forward_bytes
    *rows, together, kept = result.count_rows
    assert sum(row.bytes for row in rows if not row.name.startswith("=")) == together.bytes == kept.bytes
    assert all(row.formula for row in result.count_rows)
    assert rows[0].bytes == result.korthikanti_bytes
    assert result.passed


@pytest.mark.parametrize("fields", [{}, {"block": "gpt", "strategy": "full"}])
def test_no_count_where_the_formula_does_not_speak(fields: dict[str, Any]) -> None:
    result = measure(params(**fields))
    assert (result.korthikanti_bytes, result.residual_terms, result.count_rows) == (None, {}, ())


# ---------------------------------------------------------------------------------------------------- the trace


@pytest.mark.parametrize(
    ("block", "attention"), [("llama", "written"), ("llama", "flash"), ("gpt", "written")]
)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_real_and_fake_timelines_are_the_same_event_for_event(
    strategy: str, block: str, attention: str
) -> None:
    chosen = params(strategy=strategy, block=block, attention=attention)
    result, fake = measure(chosen), fake_step(chosen)
    assert result.timeline.differences(fake.timeline) == 0
    assert fake.forward_runs == list(result.forward_runs)
    assert fake.timeline.rows().tolist() == result.events.tolist()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_timeline_adds_up(strategy: str) -> None:
    result = measure(params(strategy=strategy))
    timeline = result.timeline
    live = timeline.by_category
    assert (live >= 0).all()
    assert np.array_equal(live.sum(axis=0), timeline.live)
    assert sum(result.by_category.values()) == result.model_bytes + result.peak_bytes == timeline.live.max()
    # In the end the weights and the state of the optimizer are left, as before the step.
    left = {name: int(row[-1]) for name, row in zip(CATEGORIES, live, strict=True) if row[-1]}
    weights = result.params.shape.parameters * WIDTH["float32"]
    assert left == {"parameter": result.model_bytes, "optimizer_state": 2 * weights}
    assert result.allocated_total_bytes - result.freed_total_bytes == 2 * weights
    assert live[CATEGORIES.index("gradient")].max() == weights


def test_events_say_what_where_and_when() -> None:
    result = measure(params(strategy="full"))
    events = result.events.tolist()
    assert [event["index"] for event in events] == list(range(len(events)))
    assert {event["phase"] for event in events} == set(PHASES)
    assert {event["layer"] for event in events} == {-1, 0, 1, 2, 3}
    assert {event["category"] for event in events} == set(CATEGORIES) - {"parameter"}
    assert events[result.peak_event]["live_bytes"] == result.model_bytes + result.peak_bytes
    assert events[result.peak_event]["operation"] == result.peak_operation
    # Each recomputation comes before the backward pass of its layer, and the layers go backwards.
    spans = {
        (phase, layer): [
            event["index"] for event in events if (event["phase"], event["layer"]) == (phase, layer)
        ]
        for phase in ("recompute", "backward")
        for layer in range(3)
    }
    # (The backward pass of a layer begins just before it finds that it must be recomputed.)
    order = [(phase, layer) for layer in (2, 1, 0) for phase in ("recompute", "backward")]
    last = [max(spans[place]) for place in order]
    assert last == sorted(last)
    assert all(min(spans["recompute", layer]) < min(spans["backward", layer]) for layer in range(3))
    assert all(max(spans["recompute", layer]) < max(spans["backward", layer]) for layer in range(3))


def test_the_comparison_with_fake_tensors_is_a_check_of_its_own() -> None:
    without, asked = measure(params()), measure(params(fake=True))
    assert (without.fake_differences, asked.fake_differences) == (None, 0)
    assert len(asked.checks) == len(without.checks) + 1


@pytest.mark.parametrize(
    ("strategy", "runs"), [("none", 1), ("every_k", 2), ("full", 2), ("selective_matmuls", 2)]
)
def test_forward_runs_of_each_block(strategy: str, runs: int) -> None:
    assert measure(params(strategy=strategy)).forward_runs == (runs,) * 3


def test_nothing_waits_for_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        step, _ = run(params(block="gpt", strategy="selective_matmuls"))
    finally:
        gc.enable()
    assert step.timeline.differences(run(params(block="gpt", strategy="selective_matmuls"))[0].timeline) == 0
    assert step.timeline.live[-1] == step.timeline.resident + step.timeline.of("optimizer_state")[-1]


def test_a_view_is_no_event_and_a_write_in_place_neither() -> None:
    trace = MemoryTrace()
    with trace:
        a = torch.zeros(4, 4)
        b = a.view(16)[2:]
        b.add_(1)
        c = a + 1
        del a
        a_lives = len(trace.timeline())
        del b
        a_is_gone = len(trace.timeline())
        del c
    assert (a_lives, a_is_gone, len(trace.timeline())) == (2, 3, 4)
    assert trace.timeline().live.tolist() == [64, 128, 64, 0]


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_torchs_own_tracker_agrees_on_the_peak(strategy: str, block: str) -> None:
    chosen = params(strategy=strategy, block=block, layers=2)
    result = measure(chosen)
    with FakeTensorMode():
        decoder, tokens = build(chosen)
        tracker = MemTracker()
        tracker.track_external(decoder)
        with tracker:
            trained = list(decoder.parameters())
            optimizer = AdamW(trained)
            inputs, targets = tokens.clone()
            loss = forward(decoder, inputs, targets, plan_of(chosen), MemoryTrace())
            loss.backward()
            del loss, inputs, targets
            for which in range(len(trained)):
                optimizer.step(which)
        snapshot = tracker.get_tracker_snapshot("peak")
    assert snapshot[torch.device("cpu")]["Total"] == result.model_bytes + result.peak_bytes


# ------------------------------------------------------------------------------------------------- the gradients


def test_the_blocks_are_what_their_papers_say() -> None:
    """The written attention and torch's fused one give the same loss and gradients."""
    for block in BLOCKS:
        losses, gradients = [], []
        for attention in ("written", "flash"):
            chosen = params(block=block, attention=attention, dropout=0.0, strategy="none")
            torch.manual_seed(0)
            decoder, tokens = build(chosen)
            assert isinstance(decoder.blocks[0], {"llama": LlamaBlock, "gpt": GptBlock}[block])
            losses.append(forward(decoder, tokens[0], tokens[1], plan_of(chosen), MemoryTrace()).item())
            gradients.append(plain_gradients(decoder, tokens))
        assert losses[0] == pytest.approx(losses[1], abs=1e-5)
        for written, fused in zip(*gradients, strict=True):
            assert written is not None
            assert fused is not None
            assert torch.allclose(written, fused, atol=1e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_gradients_do_not_depend_on_the_strategy(strategy: str) -> None:
    step, exact = run(params(block="gpt", strategy=strategy))
    assert len(step.gradients) == len(exact)
    for ours, right in zip(step.gradients, exact, strict=True):
        assert ours is not None
        assert right is not None
        assert torch.equal(ours, right)


def test_a_run_is_repeatable_and_leaves_no_trace() -> None:
    torch.manual_seed(7)
    before, threads, dtype = torch.get_rng_state(), torch.get_num_threads(), torch.get_default_dtype()
    first = measure(params(block="gpt"))
    model(ModelParams(layers=1, seq_len=16))
    assert torch.equal(torch.get_rng_state(), before)
    assert (torch.get_num_threads(), torch.get_default_dtype()) == (threads, dtype)
    again = measure(params(block="gpt"))
    assert first.events.tolist() == again.events.tolist()


def test_a_fake_step_waits_for_its_turn_and_leaves_no_trace() -> None:
    fake_step(params(block="gpt"))  # the first one takes long by itself
    torch.manual_seed(7)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    with measure_module.alone():
        assert torch.get_num_threads() == 1
        other = threading.Thread(target=fake_step, args=(params(block="gpt"),))
        other.start()
        other.join(1)
        assert other.is_alive()
    other.join(30)
    assert not other.is_alive()
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_one_readers_fake_step_does_not_disturb_another_readers_gradients() -> None:
    """Checkpoints save and set back the random state of the process, on fake tensors too."""
    chosen, done = params(block="gpt", strategy="full"), threading.Event()

    def fakes() -> None:
        while not done.is_set():
            fake_step(chosen)

    other = threading.Thread(target=fakes)
    other.start()
    try:
        errors = [measure(chosen).max_abs_grad_error for _ in range(12)]
    finally:
        done.set()
        other.join()
    assert errors == [0.0] * 12


# --------------------------------------------------------------------------------------------------- in words


@pytest.mark.parametrize(
    ("strategy", "begins", "costs"),
    [
        ("none", "predicted to be kept after the forward pass: 3 layers × ", "no layer runs forward twice"),
        (
            "every_k",
            "predicted to be kept after the forward pass: 2 inputs of segments × 1,024 B + ",
            "3 of 3 layers run forward",
        ),
        (
            "selective_matmuls",
            "predicted to be kept after the forward pass: 3 inputs of segments × 1,024 B + 3 layers, as",
            "3 of 3",
        ),
    ],
)
def test_formula_and_saving_say_what_they_are(strategy: str, begins: str, costs: str) -> None:
    result = measure(params(strategy=strategy))
    assert result.formula.startswith(begins)
    saved, most = result.saved_after_forward_bytes, in_words(result.activation_peak_bytes)
    assert result.formula.endswith(f" = {saved:,} B; measured: {saved:,} B")
    assert costs in result.saving
    assert f"{most} measured, {most} predicted" in result.saving
    again = "the head does not run again, nor the last product of each segment"
    assert (again in result.saving) == (strategy == "every_k")


def test_with_dropout_the_last_product_runs_again_too() -> None:
    result = measure(params(block="gpt", strategy="full", dropout=0.1))
    assert "(the head does not run again)" in result.saving


def test_the_verdict_adds_up_and_says_whether_it_fits() -> None:
    parts = {"parameter": 60_000_000_000, "gradient": 10_000_000_000, "optimizer_state": 20_000_000_000}
    said = verdict(100_000_000_000, parts, 8.6, 26_000_000)
    assert said == (
        "100.0 GB are needed (60.0 weights, 10.0 gradients, 20.0 optimizer state in bf16, 10.0 else): "
        "20.0 GB more than 80 GB. Traced in 8.6 s, this process grew by 26.0 MB."
    )
    assert "it fits on 80 GB" in verdict(80_000_000_000, parts, 8.6, 0)


def test_a_peak_in_the_optimizer_step_is_told_with_what_the_strategy_saves() -> None:
    """Where fewer activations do not lower the sum, the verdict says why, and the saving stands beside it."""
    none, full = (model(ModelParams(layers=8, strategy=strategy)) for strategy in ("none", "full"))
    assert none.peak_phase == full.peak_phase == "optimizer"
    assert none.needed_bytes == full.needed_bytes
    assert full.by_category["kept_activation"] == full.by_category["recomputed_activation"] == 0
    for result in (none, full):
        assert "The peak is at the optimizer step" in result.verdict
    assert f"without checkpointing {in_words(none.activation_peak_bytes)}" in full.saving
    assert full.activation_peak_bytes < none.activation_peak_bytes
    long = model(ModelParams(layers=2, strategy="none", seq_len=16384))
    assert long.peak_phase != "optimizer"
    assert "optimizer step" not in long.verdict


# ----------------------------------------------------------------------------------------------------- break it


def test_every_break_is_named_everywhere() -> None:
    assert set(BITES) == set(LOST) == set(choices_of(MeasureParams, "break_it")) - {"none"}


@pytest.mark.parametrize("name", BITES)
def test_each_break_turns_the_check_red_and_without_it_all_is_green(name: str) -> None:
    assert measure(MeasureParams(**BITES[name])).passed
    broken = MeasureParams(**BITES[name], break_it=name)  # type: ignore[arg-type]
    assert fit(broken)[1] == []
    assert not measure(broken).passed


def test_gradients_counted_as_activations_hide_what_was_saved() -> None:
    result = measure(MeasureParams(**BITES["gradients_as_activations"], break_it="gradients_as_activations"))
    assert result.predicted_activation_peak_bytes is not None
    assert result.predicted_activation_peak_bytes < result.without_checkpoints_bytes / 2  # it does help
    assert result.activation_peak_bytes > result.without_checkpoints_bytes  # and does not seem to
    assert result.max_abs_grad_error == 0
    most = in_words(result.activation_peak_bytes)
    predicted = in_words(result.predicted_activation_peak_bytes)
    assert f"{most} measured, gradients counted among them, {predicted} predicted" in result.saving


def test_other_masks_give_other_gradients() -> None:
    result = measure(MeasureParams(**BITES["lost_random_state"], break_it="lost_random_state"))
    assert result.max_abs_grad_error > 1e-4
    assert result.saved_after_forward_bytes == result.predicted_saved_after_forward_bytes


def test_without_a_gradient_at_the_input_the_parameters_inside_get_none() -> None:
    chosen = MeasureParams(**BITES["reentrant_no_grad_input"], break_it="reentrant_no_grad_input")
    step, exact = run(chosen)
    missing = [ours is None for ours in step.gradients]
    assert not any(one is None for one in exact)
    assert missing == [True] * (len(missing) - 2) + [False] * 2  # only the last norm and the head learn
    assert set(step.forward_runs) == {1}


# ---------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"seq_len": 4096}, "seq_len"),
        ({"hidden": 2048}, "hidden"),
        ({"batch": 256, "seq_len": 512}, "batch"),
        ({"layers": 64, "hidden": 256}, "layers"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_allocated(
    fields: dict[str, Any], field: str
) -> None:
    before = resident_bytes()
    chosen = MeasureParams(**fields)
    adjustment = next(chosen.adjustments())
    assert adjustment.field == field
    assert f"at most {adjustment.value}" in adjustment.sentence
    fitted, _ = fit(chosen)
    assert fitted.step_bytes <= REAL_BUDGET
    assert getattr(fitted, field) == adjustment.value
    larger = {field: adjustment.value + (2 * chosen.heads if field == "hidden" else 1)}
    assert chosen.model_copy(update=larger).step_bytes > REAL_BUDGET
    assert resident_bytes() - before < 20_000_000


@pytest.mark.parametrize(
    ("fields", "field", "value"),
    [
        ({"k": 7}, "k", 3),
        ({"heads": 3, "kv_heads": 3}, "heads", 2),
        ({"hidden": 7, "heads": 1, "kv_heads": 1}, "hidden", 8),
        ({"kv_heads": 3}, "kv_heads", 2),
        ({"block": "gpt", "attention": "flash"}, "attention", "written"),
        ({"fake": True, "hidden": 8, "kv_heads": 1}, "fake", False),
        ({"break_it": "lost_random_state"}, "break_it", "none"),
        ({"break_it": "reentrant_no_grad_input", "strategy": "none"}, "break_it", "none"),
        ({"break_it": "reentrant_no_grad_input", "strategy": "selective_matmuls"}, "strategy", "every_k"),
    ],
)
def test_fields_that_do_not_fit_together(fields: dict[str, Any], field: str, value: Any) -> None:
    adjustment = next(params(**fields).adjustments())
    assert (adjustment.field, adjustment.value) == (field, value)
    assert "allowed" in adjustment.sentence
    fitted, made = fit(params(**fields))
    assert made[0] == adjustment
    assert getattr(fitted, field) == value
    assert fit(fitted) == (fitted, [])


def test_a_sentence_names_the_other_field_where_one_is_not_enough() -> None:
    chosen = MeasureParams(seq_len=4096, batch=256, hidden=2048)
    fitted, made = fit(chosen)
    assert fitted.step_bytes <= REAL_BUDGET
    first = made[0]
    assert f"{first.field} = " in first.sentence
    alone = chosen.model_copy(update={first.field: first.value})
    assert (alone.step_bytes > REAL_BUDGET) == (f"and a lower {made[1].field} too" in first.sentence)
    assert alone.step_bytes > REAL_BUDGET


def test_what_is_allowed_is_listed_and_fits() -> None:
    (heads, *_) = params(hidden=24, heads=5, kv_heads=1).adjustments()
    assert heads.sentence.endswith("allowed: 1, 2, 3, 4, 6 or 12.")
    (groups,) = params(heads=8, kv_heads=3).adjustments()
    assert groups.sentence.endswith("allowed: 1, 2, 4 or 8.")
    assert [*params(block="gpt", kv_heads=3).adjustments()] == []
    assert [*params(strategy="sqrt", k=9).adjustments()] == []


def test_a_model_has_no_more_layers_than_published() -> None:
    (adjustment,) = fit(ModelParams(model="llama-3.1-8b", layers=40))[1]
    assert (adjustment.field, adjustment.value) == ("layers", 32)


# ------------------------------------------------------------------------------------------------ whole models


@pytest.mark.parametrize(
    ("strategy", "attention"), [*((strategy, "flash") for strategy in STRATEGIES), ("full", "written")]
)
def test_a_few_layers_of_70b_are_predicted_to_the_byte(strategy: str, attention: str) -> None:
    result = model(ModelParams(layers=3, strategy=strategy, attention=attention))  # type: ignore[arg-type]
    assert result.saved_after_forward_bytes == result.predicted_saved_after_forward_bytes
    assert result.passed
    assert result.needed_bytes == result.model_bytes + result.peak_bytes
    assert result.weight_bytes == 2 * result.params.shape.parameters


def test_checkpointing_makes_8b_fit() -> None:
    chosen = {"model": "llama-3.1-8b", "seq_len": 8192}
    none, full = (model(ModelParams(strategy=strategy, **chosen)) for strategy in ("none", "full"))  # type: ignore[arg-type]
    assert (none.fits, full.fits) == (False, True)
    assert none.missing_bytes == none.needed_bytes - 80_000_000_000
    assert full.missing_bytes == 0


@pytest.mark.slow
@pytest.mark.parametrize(("name", "seconds"), [("llama-3.1-70b", 10), ("llama-3.1-405b", 20)])
def test_a_whole_model_traces_in_seconds_without_memory(name: str, seconds: float) -> None:
    start = time.process_time()  # of this process alone: the machine may be busy
    result = model(ModelParams(model=name))  # type: ignore[arg-type]
    took = time.process_time() - start
    print(
        f"{name}: {took:.1f} s, {result.allocated_bytes / 1e6:.0f} MB allocated, {result.warm_up_bytes / 1e6:.0f} MB "
        f"to warm up, {len(result.events):,} events"
    )
    assert result.passed
    assert result.parameters == PUBLISHED_PARAMETERS[name]
    assert result.allocated_bytes + result.warm_up_bytes < 200_000_000
    assert took < seconds
    assert f"{result.needed_bytes / 1e9:,.1f} GB are needed" in result.verdict
    layers = result.params.shape.layers
    assert f"{layers} of {layers} layers run forward twice" in result.saving


def test_progress_names_the_layer_and_grows() -> None:
    told, result = watch(model_with_progress(ModelParams(layers=2, seq_len=64)))
    shares = [share for _, (share, _) in told]
    words = [sentence for _, (_, sentence) in told]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] <= 1
    assert words[0] == "forward through layer 1 of 2"
    assert {word.split()[0] for word in words} == {"forward", "recomputing", "backward", "updating"}
    assert result.passed


def test_a_run_ends_when_nobody_listens_and_raises_what_went_wrong() -> None:
    seen: list[str] = []

    def talks(tell: Any) -> None:
        try:
            while True:
                tell((0.1, "talking"))
        except Stopped:
            seen.append("stopped")
            raise

    listening = in_thread(talks)
    next(listening)
    listening.close()
    assert seen == ["stopped"]

    def fails(tell: Any) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        watch(in_thread(fails))


# ------------------------------------------------------------------------------------------------------ the view


@pytest.fixture(scope="module")
def default() -> MeasureResult:
    return measure(MeasureParams())


def panel(scene: Any, name: str) -> Any:
    return next(one for one in scene.panels() if one.name == name)


def test_the_bands_are_the_memory_of_the_events(default: MeasureResult) -> None:
    scene = measure_scene(default)
    bands = panel(scene, "memory")
    assert isinstance(bands, Bands)
    assert scene.steps == bands.values.shape[1] <= MOST_STEPS
    assert bands.values.sum(axis=0).max() == default.model_bytes + default.peak_bytes
    assert bands.marked == int(bands.values.sum(axis=0).argmax())
    activations = panel(scene, "activations")
    alive = activations.values.sum(axis=0)
    assert alive.max() == alive[scene.start] == default.activation_peak_bytes
    assert scene.reopens
    assert scene.title == "Memory of one training step: 6 Llama layers of hidden size 64"
    (predicted,) = activations.lines
    assert alive[predicted.x] == pytest.approx(predicted.y, abs=8)  # the loss comes last
    assert (
        len(predicted.x) == 1 + 6 + 1 + 2 * 3
    )  # forward: embedding, layers, head; backward: twice a segment
    assert predicted.y.max() == default.activation_peak_bytes
    assert len(scene.to_bytes()) < 1_000_000


def test_the_words_name_operation_layer_and_bytes(default: MeasureResult) -> None:
    scene = measure_scene(default)
    assert len(scene.words.sentences) < 200
    assert scene.words.values.dtype == float  # whole numbers would travel as int32
    step = panel(scene, "memory").marked
    sentence = scene.words.sentences[scene.words.which[step]]
    assert default.peak_operation in sentence
    assert "Layer {0:d}, backward" in sentence
    assert default.events[default.peak_event]["layer"] == default.peak_layer - 1
    assert scene.words.values[:, 0].min() == 0  # the embedding; layers are counted from 1
    layer, _, live = scene.words.values[step]
    assert (layer, live) == (default.peak_layer, default.model_bytes + default.peak_bytes)
    assert "loss.backward()" in panel(scene, "step source").source


def test_the_row_of_layers_shows_the_one_at_work(default: MeasureResult) -> None:
    scene = measure_scene(default)
    _, going_forward, again, backward, updating = panel(scene, "layers").layers
    busy = [np.isfinite(layer.x.values).sum(axis=1) for layer in (going_forward, again, backward, updating)]
    assert np.sum(busy, axis=0).max() == 1
    assert all(one.any() for one in busy)


def test_the_same_view_draws_a_model() -> None:
    result = model(ModelParams(layers=2))
    scene = measure_scene(result)
    assert scene.name == "checkpointing.model"
    assert scene.title == "Memory of one training step: Llama 3.1 70B, 2 of 80 layers"
    memory, activations = panel(scene, "memory"), panel(scene, "activations")
    assert scene.words.values[memory.marked, 2] == result.needed_bytes
    assert activations.values[:, scene.start].sum() == result.activation_peak_bytes
    layers = panel(scene, "layers")
    assert layers.x.ticks == (1, 2)
    assert layers.layers[1].names[0] == "layer 1: forward"


# ----------------------------------------------------------------------------------------------------- the shell


@pytest.mark.parametrize(
    ("name", "flags", "fields"),
    [
        (
            "checkpointing.measure",
            ["--block", "gpt", "--strategy", "none"],
            {"max_abs_grad_error", "korthikanti_bytes"},
        ),
        ("checkpointing.model", ["--layers", "2"], {"seconds", "allocated_bytes", "fits", "missing_bytes"}),
    ],
)
def test_the_shell_gives_the_fixed_fields(name: str, flags: list[str], fields: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "explainers", name, *flags, "--json"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    given = json.loads(done.stdout)
    assert given["passed"] is True
    assert given["saved_after_forward_bytes"] == given["predicted_saved_after_forward_bytes"]
    assert {"peak_bytes", "by_category", "events", *fields} <= set(given)
    assert {"kind", "bytes", "category", "operation", "layer", "phase"} <= set(given["events"][0])
    assert not {"params", "timeline"} & set(given)


@pytest.mark.parametrize("flags", [["--seq_len", "4096"], ["--k", "9", "--layers", "6"]])
def test_the_shell_refuses_in_one_line(flags: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "explainers", "checkpointing.measure", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "allowed" in done.stderr


def test_settings_load_without_torch() -> None:
    code = "import sys, explainers.checkpointing.measure_params; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_experiments_are_registered() -> None:
    for name in ("checkpointing.measure", "checkpointing.model"):
        assert find(name).summary.endswith(".")
