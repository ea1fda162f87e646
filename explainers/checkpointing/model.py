"""The same training step for Llama 3.1 8B, 70B and 405B, on tensors that have a shape and no memory.

Under FakeTensorMode every operation really passes torch's dispatcher and autograd, layer by layer, and gives back a
tensor of the right shape, strides and dtype whose storage says how large it would be. So the trace is that of a real
step, event for event (checkpointing.measure shows that they are equal), and takes seconds. bfloat16 throughout.
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
from explainers.checkpointing.measure import POLICIES, StepResult, in_words, measured, memory_checks
from explainers.checkpointing.measure_params import ModelParams
from explainers.checkpointing.memory_trace import MemoryTrace, Phase
from explainers.checkpointing.step import Plan, Step, training_step
from explainers.contract.experiment import experiment, watch
from explainers.contract.result import Check
from explainers.models.decoder import Decoder
from explainers.models.shapes import LLAMA_3_1, PUBLISHED_PARAMETERS

GPU_BYTES = 80_000_000_000
BYTES_A_PARAMETER = 2  # bfloat16

# Traced before each measurement: torch loads much of its code when fake tensors are first used, once in the life of a
# process, which is not what a trace takes.
SMALLEST = ModelParams(layers=1, seq_len=1)

Progress = tuple[float, str]

_WORDS: dict[Phase, str] = {
    "forward": "forward through",
    "recompute": "recomputing",
    "backward": "backward through",
    "optimizer": "updating",
}


@dataclass(frozen=True, eq=False)
class ModelResult(StepResult):
    """The memory that one step of a model would need on one device, all in bytes but `seconds`.

    weight_bytes, gradient_bytes, optimizer_bytes: of all parameters. needed_bytes: weights, tables and the peak above
    them; fits: that it is at most 80 GB; missing_bytes: what it is more. seconds: of the trace, with the building of
    the model. allocated_bytes: by how much this process really grew meanwhile, at most (all its threads, and what the
    trace itself writes down included). warm_up_bytes: by how much it had grown just before, by a trace of the smallest
    step, for which torch loads its code for fake tensors, once in the life of a process. verdict: all this in words.
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
    """Traces the step, telling the share that is done and which layer is at work."""
    start, before = time.perf_counter(), resident_bytes()
    trace(SMALLEST)
    largest = resident = resident_bytes()
    run = in_thread(lambda tell: trace(params, tell))
    while True:
        try:
            progress = next(run)
        except StopIteration as end:
            step = end.value
            break
        largest = max(largest, resident_bytes())
        yield progress
    fields = measured(step.timeline, step.forward_runs, params.sizes, params.strategy, params.k)
    seconds, largest = time.perf_counter() - start, max(largest, resident_bytes())
    return _result(params, fields, seconds, largest - resident, max(resident - before, 0))


def trace(params: ModelParams, tell: Callable[[Progress], None] = lambda progress: None) -> Step:
    """The step on fake tensors; `tell` hears of every layer that begins."""
    layers = params.shape.layers
    begun, last = 0, ("", -1)
    expected = (3 if params.strategy == "none" else 4) * layers  # forward, recompute, backward, optimizer

    def heard(phase: Phase, layer: int) -> None:
        nonlocal begun, last
        if last != (phase, layer) and 0 <= layer < layers:
            begun, last = begun + 1, (phase, layer)
            tell((min(begun / expected, 0.99), f"{_WORDS[phase]} layer {layer + 1} of {layers}"))

    with FakeTensorMode():
        decoder = Decoder(params.shape, params.seq_len, torch.bfloat16, attention=params.attention)
        tokens = torch.randint(params.shape.vocabulary, (2, params.batch, params.seq_len))
        plan = Plan(
            prediction.segments_of(params.strategy, layers, params.k),
            policy=POLICIES.get(params.strategy, ""),
            keep_random_state=False,
        )
        return training_step(decoder, tokens, plan, MemoryTrace(heard))


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
            "All of it on one device; sharding would divide it.",
            "Logits and the loss are in bfloat16 too, and are not computed in pieces.",
            f"The trace itself grew this process by {in_words(allocated)}; before it, a trace of the smallest step "
            f"grew it by {in_words(warm_up)}: code that torch loads once in the life of a process.",
        ),
        checks=tuple(checks),
        params=params,
    )


def verdict(
    needed: int, by_category: dict[str, int], seconds: float, allocated: int, phase: str = "backward"
) -> str:
    """How much is needed at the peak and for what, whether it fits on 80 GB, and what it cost to find out.

    phase: in which the peak is; where that is the optimizer's, the sum does not fall with the activations.
    """
    names = {"parameter": "weights", "gradient": "gradients", "optimizer_state": "optimizer state"}
    parts = [f"{by_category[category] / 1e9:,.1f} {name}" for category, name in names.items()]
    rest = needed - sum(by_category[category] for category in names)
    missing = needed - GPU_BYTES
    fits = "it fits on 80 GB" if missing <= 0 else f"{in_words(missing)} more than 80 GB"
    why = (
        " The peak is at the optimizer step, when all gradients are there and no activations are left: to keep fewer "
        "activations would not lower it."
        if phase == "optimizer"
        else ""
    )
    return (
        f"{needed / 1e9:,.1f} GB are needed ({', '.join(parts)} in bf16, {rest / 1e9:,.1f} else): {fits}."
        f"{why} Traced in {seconds:.1f} s, this process grew by {in_words(allocated)}."
    )


# -------------------------------------------------------------------------------------------- how it is run


class Stopped(Exception):
    """Nobody waits for the run any more."""


def in_thread(run: Callable[[Callable[[Progress], None]], Any]) -> Generator[Progress, None, Any]:
    """Runs `run(tell)` in a thread, because a backward pass is one call, and yields what it tells meanwhile.

    Closing the generator ends the run at the next thing that it tells. Raises what the run raises.
    """
    told: queue.SimpleQueue[Progress | None] = queue.SimpleQueue()
    stopped = threading.Event()
    outcome: dict[str, Any] = {}

    def tell(progress: Progress) -> None:
        if stopped.is_set():
            raise Stopped
        told.put(progress)

    def work() -> None:
        try:
            outcome["result"] = run(tell)
        except BaseException as error:
            outcome["error"] = error
        told.put(None)

    thread = threading.Thread(target=work, name="trace", daemon=True)
    thread.start()
    try:
        while (progress := told.get()) is not None:
            yield progress
    finally:
        stopped.set()
        thread.join()
    if "error" in outcome:
        raise outcome["error"]
    return outcome["result"]


def resident_bytes() -> int:
    """Memory of this process that is in RAM now; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
