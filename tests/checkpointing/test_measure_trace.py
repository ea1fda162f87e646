"""The memory trace event for event, on real and on fake tensors, and the gradients of a checkpointed step."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

from explainers.checkpointing import measure as measure_module
from explainers.checkpointing.measure import build, fake_step, measure, plan_of, traced_step
from explainers.checkpointing.measure_params import WIDTH, ModelParams
from explainers.checkpointing.memory_trace import CATEGORIES, PHASES, MemoryTrace
from explainers.checkpointing.model import model
from explainers.checkpointing.step import AdamW, forward, plain_gradients
from explainers.models.decoder import GptBlock, LlamaBlock
from tests.checkpointing.test_measure import BLOCKS, STRATEGIES, params

# ------------------------------------------------------------------------------------------------------ the trace


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
    by_category = timeline.by_category
    assert (by_category >= 0).all()
    assert np.array_equal(by_category.sum(axis=0), timeline.live_bytes)
    assert (
        sum(result.by_category.values())
        == result.model_bytes + result.peak_bytes
        == timeline.live_bytes.max()
    )
    # At the end the weights and the optimizer state are left, as before the step.
    left = {name: int(row[-1]) for name, row in zip(CATEGORIES, by_category, strict=True) if row[-1]}
    weights = result.params.shape.parameters * WIDTH["float32"]
    assert left == {"parameter": result.model_bytes, "optimizer_state": 2 * weights}
    assert result.allocated_total_bytes - result.freed_total_bytes == 2 * weights
    assert by_category[CATEGORIES.index("gradient")].max() == weights


def test_events_say_what_where_and_when() -> None:
    result = measure(params(strategy="full"))
    events = result.events.tolist()
    assert [event["index"] for event in events] == list(range(len(events)))
    assert {event["phase"] for event in events} == set(PHASES)
    assert {event["layer"] for event in events} == {-1, 0, 1, 2, 3}
    assert {event["category"] for event in events} == set(CATEGORIES) - {"parameter"}
    assert events[result.peak_event]["live_bytes"] == result.model_bytes + result.peak_bytes
    assert events[result.peak_event]["operation"] == result.peak_operation
    # Each recomputation precedes the backward pass of its layer, the last layer first.
    spans = {
        (phase, layer): [
            event["index"] for event in events if (event["phase"], event["layer"]) == (phase, layer)
        ]
        for phase in ("recompute", "backward")
        for layer in range(3)
    }
    # The backward pass of a layer begins just before its recomputation, so only the ends are in order.
    order = [(phase, layer) for layer in (2, 1, 0) for phase in ("recompute", "backward")]
    last = [max(spans[place]) for place in order]
    assert last == sorted(last)
    assert all(min(spans["recompute", layer]) < min(spans["backward", layer]) for layer in range(3))
    assert all(max(spans["recompute", layer]) < max(spans["backward", layer]) for layer in range(3))


def test_the_comparison_with_fake_tensors_is_a_separate_check() -> None:
    without, compared = measure(params()), measure(params(fake=True))
    assert (without.fake_differences, compared.fake_differences) == (None, 0)
    assert len(compared.checks) == len(without.checks) + 1


@pytest.mark.parametrize(
    ("strategy", "runs"), [("none", 1), ("every_k", 2), ("full", 2), ("selective_matmuls", 2)]
)
def test_forward_runs_of_each_block(strategy: str, runs: int) -> None:
    assert measure(params(strategy=strategy)).forward_runs == (runs,) * 3


def test_nothing_waits_for_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        step, _ = traced_step(params(block="gpt", strategy="selective_matmuls"))
    finally:
        gc.enable()
    assert (
        step.timeline.differences(traced_step(params(block="gpt", strategy="selective_matmuls"))[0].timeline)
        == 0
    )
    assert step.timeline.live_bytes[-1] == step.timeline.resident + step.timeline.of("optimizer_state")[-1]


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
    assert trace.timeline().live_bytes.tolist() == [64, 128, 64, 0]


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
            for index in range(len(trained)):
                optimizer.step(index)
        snapshot = tracker.get_tracker_snapshot("peak")
    assert snapshot[torch.device("cpu")]["Total"] == result.model_bytes + result.peak_bytes


# -------------------------------------------------------------------------------------------------- the gradients


def test_the_blocks_are_what_their_papers_say() -> None:
    """The written attention and torch's fused attention give the same loss and gradients."""
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
    step, exact = traced_step(params(block="gpt", strategy=strategy))
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
    fake_step(params(block="gpt"))  # the first fake step of a process takes long
    torch.manual_seed(7)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    with measure_module.exclusive_torch():
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
    """Checkpoints save and restore the random state of the process, on fake tensors too."""
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
