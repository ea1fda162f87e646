"""The same training step for Llama 3.1 8B, 70B and 405B, on tensors that have a shape and no memory.

Under FakeTensorMode every operation really passes torch's dispatcher and autograd, layer by layer, and returns a tensor
of the right shape, strides and dtype whose storage knows how large it would be. So the trace is that of a real step,
event for event (checkpointing.measure shows that they are equal), and takes seconds. bfloat16 throughout.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch._subclasses import FakeTensorMode

from explainers.checkpointing import prediction
from explainers.checkpointing.measure import POLICIES, StepResult, measured, memory_checks
from explainers.checkpointing.measure_params import ModelParams
from explainers.checkpointing.memory_trace import MemoryTrace, Phase
from explainers.checkpointing.step import Plan, Step, training_step
from explainers.checkpointing.step_words import in_words
from explainers.contract.experiment import experiment, watch
from explainers.contract.messages import Message, joined
from explainers.contract.result import Check
from explainers.models.decoder import Decoder
from explainers.models.shapes import LLAMA_3_1, PUBLISHED_PARAMETERS

GPU_BYTES = 80_000_000_000
BYTES_A_PARAMETER = 2  # bfloat16

# Traced before each measurement, because torch loads much of its code when a process first uses fake tensors, and that
# memory does not belong to the measured trace.
SMALLEST = ModelParams(layers=1, seq_len=1)

Progress = tuple[float, str]


@dataclass(frozen=True, eq=False)
class ModelResult(StepResult):
    """The memory that one step of a model would need on one device; everything but `seconds` is in bytes.

    weight_bytes, gradient_bytes, optimizer_bytes: of all parameters. needed_bytes: weights, tables and the peak beyond
    them; fits: whether it is at most 80 GB; missing_bytes: what it needs beyond 80 GB. seconds: of the trace, including
    the construction of the model. allocated_bytes: the most by which this process really grew during the trace (with
    all its threads and the records of the trace). warm_up_bytes: by how much it grew just before, in a trace of the
    smallest step, for which torch loads its code for fake tensors, once per process. verdict: all this in words.
    """

    parameters: int
    weight_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    needed_bytes: int
    fits: bool
    missing_bytes: int
    seconds: float
    allocated_bytes: int
    warm_up_bytes: int
    verdict: str
    notes: tuple[str, ...]
    checks: tuple[Check, ...]
    params: ModelParams = field(metadata={"shell": False})


@experiment("checkpointing.model")
def model(params: ModelParams) -> ModelResult:
    """The same step for Llama 3.1 8B, 70B or 405B on fake tensors: what fits on 80 GB, without the memory."""
    return watch(model_with_progress(params))[1]


def model_with_progress(params: ModelParams) -> Generator[Progress, None, ModelResult]:
    """Traces the step. Yields the share that is done and a sentence on the layer at work."""
    start, before = time.perf_counter(), resident_bytes()
    trace(SMALLEST)
    largest = resident = resident_bytes()
    tracing = in_thread(lambda report: trace(params, report))
    while True:
        try:
            progress = next(tracing)
        except StopIteration as end:
            step = end.value
            break
        largest = max(largest, resident_bytes())
        yield progress
    fields = measured(step.timeline, step.forward_runs, params.sizes, params.strategy, params.k)
    seconds, largest = time.perf_counter() - start, max(largest, resident_bytes())
    return _result(params, fields, seconds, largest - resident, max(resident - before, 0))


def trace(params: ModelParams, report: Callable[[Progress], None] = lambda progress: None) -> Step:
    """The step on fake tensors. report: is called whenever a layer begins."""
    layers = params.shape.layers
    begun, last = 0, ("", -1)
    expected = (3 if params.strategy == "none" else 4) * layers  # forward, recompute, backward, optimizer

    def moved(phase: Phase, layer: int) -> None:
        nonlocal begun, last
        if last != (phase, layer) and 0 <= layer < layers:
            begun, last = begun + 1, (phase, layer)
            report((min(begun / expected, 0.99), _at_work(phase, layer + 1, layers)))

    with FakeTensorMode():
        decoder = Decoder(params.shape, params.seq_len, torch.bfloat16, attention=params.attention)
        tokens = torch.randint(params.shape.vocabulary, (2, params.batch, params.seq_len))
        plan = Plan(
            prediction.segments_of(params.strategy, layers, params.k),
            policy=POLICIES.get(params.strategy, ""),
            keep_random_state=False,
        )
        return training_step(decoder, tokens, plan, MemoryTrace(moved))


def _at_work(phase: Phase, layer: int, layers: int) -> Message:
    at = {"layer": layer, "layers": layers}
    sentences: dict[Phase, Message] = {
        "forward": Message("forward through layer {layer} of {layers}", **at),
        "recompute": Message("recomputing layer {layer} of {layers}", **at),
        "backward": Message("backward through layer {layer} of {layers}", **at),
        "optimizer": Message("updating layer {layer} of {layers}", **at),
    }
    return sentences[phase]


def _result(params: ModelParams, fields: dict, seconds: float, allocated: int, warm_up: int) -> ModelResult:
    parameters = params.shape.parameters
    needed = fields["model_bytes"] + fields["peak_bytes"]
    checks = [*memory_checks(fields)]
    if params.shape == LLAMA_3_1[params.model]:
        checks.append(
            Check(
                "the model has as many parameters as published",
                abs(parameters - PUBLISHED_PARAMETERS[params.model]),
                0,
                "the total of its safetensors files",
            )
        )
    return ModelResult(
        **fields,
        parameters=parameters,
        weight_bytes=BYTES_A_PARAMETER * parameters,
        gradient_bytes=BYTES_A_PARAMETER * parameters,
        optimizer_bytes=2 * BYTES_A_PARAMETER * parameters,
        needed_bytes=needed,
        fits=needed <= GPU_BYTES,
        missing_bytes=max(needed - GPU_BYTES, 0),
        seconds=seconds,
        allocated_bytes=allocated,
        warm_up_bytes=warm_up,
        verdict=verdict(needed, fields["by_category"], seconds, allocated, fields["peak_phase"]),
        notes=(
            Message("All of it on one device; sharding would divide it."),
            Message("Logits and the loss are in bfloat16 too, and are not computed in pieces."),
            Message(
                "The trace itself grew this process by {trace}; before it, a trace of the smallest step grew it by "
                "{warm_up}: code that torch loads once in the life of a process.",
                trace=in_words(allocated),
                warm_up=in_words(warm_up),
            ),
        ),
        checks=tuple(checks),
        params=params,
    )


def verdict(
    needed: int, by_category: dict[str, int], seconds: float, allocated: int, phase: str = "backward"
) -> Message:
    """How much is needed at the peak and for what, whether it fits on 80 GB, and what it cost to find out.

    phase: that of the peak. At a peak in the optimizer step, fewer activations do not lower the sum.
    """
    weights, gradients, state = (
        by_category[category] for category in ("parameter", "gradient", "optimizer_state")
    )
    missing = needed - GPU_BYTES
    sentences = [
        Message(
            "{needed:,.1f} GB are needed ({weights:,.1f} weights, {gradients:,.1f} gradients, "
            "{state:,.1f} optimizer state in bf16, {rest:,.1f} else): {fits}.",
            needed=needed / 1e9,
            weights=weights / 1e9,
            gradients=gradients / 1e9,
            state=state / 1e9,
            rest=(needed - weights - gradients - state) / 1e9,
            fits=Message("it fits on 80 GB")
            if missing <= 0
            else Message("{missing} more than 80 GB", missing=in_words(missing)),
        )
    ]
    if phase == "optimizer":
        sentences.append(
            Message(
                "The peak is at the optimizer step, when all gradients are there and no activations are left: to keep "
                "fewer activations would not lower it."
            )
        )
    cost = Message(
        "Traced in {seconds:.1f} s, this process grew by {grown}.",
        seconds=seconds,
        grown=in_words(allocated),
    )
    return joined([*sentences, cost], " ")


# -------------------------------------------------------------------------------------- a trace in a thread


class Stopped(Exception):
    """The generator of `in_thread` was closed: nobody waits for the result."""


def in_thread(
    work: Callable[[Callable[[Progress], None]], Any],
) -> Generator[Progress, None, Any]:
    """Calls `work(report)` in a thread, because a backward pass is a single call, and yields what it reports.

    Once the generator is closed, the next call of `report` raises Stopped. Raises what `work` raises.
    """
    reports: queue.SimpleQueue[Progress | None] = queue.SimpleQueue()
    stopped = threading.Event()
    outcome: dict[str, Any] = {}

    def report(progress: Progress) -> None:
        if stopped.is_set():
            raise Stopped
        reports.put(progress)

    def target() -> None:
        try:
            outcome["result"] = work(report)
        except BaseException as error:
            outcome["error"] = error
        reports.put(None)

    thread = threading.Thread(target=target, name="trace", daemon=True)
    thread.start()
    try:
        while (progress := reports.get()) is not None:
            yield progress
    finally:
        stopped.set()
        thread.join()
    if "error" in outcome:
        raise outcome["error"]
    return outcome["result"]


def resident_bytes() -> int:
    """Resident memory of this process; 0 where the system does not report it."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
