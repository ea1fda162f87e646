"""One training step of a decoder under a checkpointing strategy: forward, loss, backward, AdamW.

Sources: Chen et al. 2016 (segments of k blocks, of which only the input is kept); torch.utils.checkpoint with
use_reentrant=False, and its selective policies; Korthikanti et al. 2022, section 5 (recompute only attention).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from explainers.checkpointing.memory_trace import MemoryTrace, Timeline
from explainers.models.decoder import Decoder, LlamaBlock

LEARNING_RATE, BETA_1, BETA_2, EPSILON, WEIGHT_DECAY = 1e-3, 0.9, 0.95, 1e-8, 0.1

_aten: Any = torch.ops.aten

# The results that a selective policy keeps; all others are recomputed.
MATMULS = {
    _aten.mm.default,
    _aten.addmm.default,
    _aten.bmm.default,
    _aten._scaled_dot_product_flash_attention_for_cpu.default,
}
READ_BY_BACKWARD = {  # outside attention; in a GptBlock the only products of two tensors are those of dropout
    "llama": {_aten.mm.default, _aten.mul.Tensor, _aten.rsqrt.default, _aten.silu.default},
    "gpt": {_aten.addmm.default, _aten.native_layer_norm.default, _aten.gelu.default},
}


@dataclass(frozen=True)
class Plan:
    """How the blocks are checkpointed.

    segments: the number of blocks in each; () for no checkpointing. policy: the results that a segment keeps in
    addition to its input: "" (none), "matmuls" or "attention" (all but attention). keep_random_state: dropout draws
    the same masks again. reentrant: the older kind of checkpoint.
    """

    segments: tuple[int, ...]
    policy: str = ""
    keep_random_state: bool = True
    reentrant: bool = False


# --------------------------------------------------------------------------------------------- the algorithm


def forward(model: Decoder, inputs: Tensor, targets: Tensor, plan: Plan, trace: MemoryTrace) -> Tensor:
    """The loss, a scalar. inputs, targets: tokens (b, s)."""
    trace.enter("forward", -1)
    x = model.embed(inputs)  # (b, s, h)
    if not plan.segments:
        for block in model.blocks:
            x = block(x)
    first = 0
    for length in plan.segments:
        segment = model.blocks[first : first + length]
        x = run_checkpointed(segment, x, plan, trace)
        first += length
    trace.enter("forward", len(model.blocks))
    return model.loss(x, targets)


def run_checkpointed(segment: nn.ModuleList, x: Tensor, plan: Plan, trace: MemoryTrace) -> Tensor:
    """Runs the blocks and keeps only their input; the backward pass calls `run_blocks` a second time."""

    def run_blocks(x: Tensor) -> Tensor:
        again = trace.recomputing() if trace.phase == "backward" else contextlib.nullcontext()
        with again:
            for block in segment:
                x = block(x)
        return x

    if plan.reentrant:
        return checkpoint(run_blocks, x, use_reentrant=True, preserve_rng_state=plan.keep_random_state)
    options: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": plan.keep_random_state}
    if plan.policy:
        options["context_fn"] = functools.partial(_contexts, plan.policy, segment)
    return checkpoint(run_blocks, x, **options)


class AdamW:
    """AdamW (Loshchilov and Hutter 2019), parameter by parameter; both moments exist before its first step."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters = parameters
        self.first = [torch.zeros_like(parameter) for parameter in parameters]
        self.second = [torch.zeros_like(parameter) for parameter in parameters]

    @torch.no_grad()
    def step(self, index: int) -> None:
        """Updates one parameter by its gradient g."""
        parameter, m, v = self.parameters[index], self.first[index], self.second[index]
        g = parameter.grad
        if g is None:
            return
        # m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g g
        m.lerp_(g, 1 - BETA_1)
        v.mul_(BETA_2).addcmul_(g, g, value=1 - BETA_2)
        # p = p - lr (wd p + m / (1 - b1) / (sqrt(v / (1 - b2)) + eps))
        parameter.mul_(1 - LEARNING_RATE * WEIGHT_DECAY)
        denominator = v.sqrt().div_((1 - BETA_2) ** 0.5).add_(EPSILON)
        parameter.addcdiv_(m, denominator, value=-LEARNING_RATE / (1 - BETA_1))


@dataclass(frozen=True, eq=False)
class Step:
    """A traced training step. forward_runs: of each block. gradients: of all trained parameters."""

    timeline: Timeline
    forward_runs: list[int]
    gradients: list[Tensor | None]


def training_step(model: Decoder, tokens: Tensor, plan: Plan, trace: MemoryTrace) -> Step:
    """One step, traced. tokens: (2, b, s), inputs and targets.

    The optimizer's state exists from the beginning, as in every step but the first, and gradients are freed at the end:
    so the memory alive at the end is that of the model and the optimizer.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    layers = [
        _layer_of(name, model) for name, parameter in model.named_parameters() if parameter.requires_grad
    ]
    trace.count_as_resident([*model.parameters(), *model.buffers()])
    with announcing(model, trace) as forward_runs:
        with trace:
            trace.enter("optimizer", -1)
            optimizer = AdamW(trained)
            trace.categorize("optimizer_state", [*optimizer.first, *optimizer.second])

            trace.enter("forward", -1)
            inputs, targets = tokens.clone()
            loss = forward(model, inputs, targets, plan, trace)
            trace.end_forward()

            trace.enter("backward", len(model.blocks))
            loss.backward()
            found = [parameter.grad for parameter in trained]
            trace.categorize("gradient", [gradient for gradient in found if gradient is not None])
        gradients = [None if gradient is None else gradient.clone() for gradient in found]
        del found
        with trace:
            del loss, inputs, targets
            for index, layer in enumerate(layers):
                trace.enter("optimizer", layer)
                optimizer.step(index)
            model.zero_grad(set_to_none=True)
        return Step(trace.timeline(), forward_runs, gradients)


def plain_gradients(model: Decoder, tokens: Tensor) -> list[Tensor | None]:
    """Gradients of all trained parameters without any checkpointing; leaves the model unchanged."""
    inputs, targets = tokens
    forward(model, inputs, targets, Plan(()), MemoryTrace()).backward()
    found = [parameter.grad for parameter in model.parameters() if parameter.requires_grad]
    model.zero_grad(set_to_none=True)
    return found


# --------------------------------------------------------------------------------------------- which block is at work


@contextlib.contextmanager
def announcing(model: Decoder, trace: MemoryTrace):
    """Announces to the trace which block is at work; yields the number of forward runs of each block."""
    runs = [0] * len(model.blocks)
    handles = []
    for layer, block in enumerate(model.blocks):

        def begins(_module: nn.Module, _inputs: Any, layer: int = layer) -> None:
            runs[layer] += 1
            trace.enter("recompute" if trace.phase == "recompute" else "forward", layer)

        def ends(_module: nn.Module, _inputs: Any, output: Tensor, layer: int = layer) -> None:
            if output.requires_grad:  # the block's backward pass begins once this gradient is computed
                output.register_hook(lambda _: trace.enter("backward", layer))

        handles += [block.register_forward_pre_hook(begins), block.register_forward_hook(ends)]

    def embedded(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        if output.requires_grad:
            output.register_hook(lambda _: trace.enter("backward", -1))

    handles.append(model.embedding.register_forward_hook(embedded))
    try:
        yield runs
    finally:
        for handle in handles:
            handle.remove()


def _layer_of(name: str, model: Decoder) -> int:
    """The block of a parameter; -1 for the embedding, and the number of blocks for the last norm and the head."""
    first, _, rest = name.partition(".")
    if first == "blocks":
        return int(rest.partition(".")[0])
    return -1 if first in ("embedding", "positions") else len(model.blocks)


# ------------------------------------------------------------------------------------- selective checkpointing


def _contexts(policy: str, segment: nn.ModuleList) -> tuple[Any, Any]:
    """The contexts that torch enters around the forward pass of a segment and around its recomputation."""
    if policy == "matmuls":
        return create_selective_checkpoint_contexts(lambda _context, op, *_, **__: _keep(op in MATMULS))
    core, read = _CoreWatch(), READ_BY_BACKWARD["llama" if isinstance(segment[0], LlamaBlock) else "gpt"]

    def keep_all_but_attention(context: Any, op: Any, *_: Any, **__: Any) -> CheckpointPolicy:
        return _keep(op in read and not core.at_work)

    caching, cached = create_selective_checkpoint_contexts(keep_all_but_attention)
    return core.watching(segment, caching), cached


class _CoreWatch:
    """Watches the attention core. at_work: whether the forward pass is inside it now."""

    def __init__(self) -> None:
        self.at_work = False

    @contextlib.contextmanager
    def watching(self, segment: nn.ModuleList, caching: Any):
        """Around the forward pass of a segment, together with the context `caching`."""
        first: Any = segment[0]  # the blocks share one core
        handles = [
            first.core.register_forward_pre_hook(functools.partial(self._set, True)),
            first.core.register_forward_hook(functools.partial(self._set, False)),
        ]
        try:
            with caching:
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _set(self, value: bool, *_: Any) -> None:
        self.at_work = value


def _keep(kept: bool) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE
