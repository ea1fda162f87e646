"""One training step of a decoder under a checkpointing strategy: forward, loss, backward, AdamW.

Sources: Chen et al. 2016 (segments of k blocks, of which only the input is kept); torch.utils.checkpoint with
use_reentrant=False, and its selective policies; Korthikanti et al. 2022, section 5 (recompute attention alone).
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

# Which results a selective policy keeps; all others are computed again.
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
    """How the blocks are run: the segment lengths, and what is kept of a segment besides its input.

    segments: how many blocks each has; () for no checkpointing. policy: "" (nothing else is kept), "matmuls" or
    "attention" (all but attention). keep_random_state: dropout draws the same masks again. reentrant: the older kind.
    """

    segments: tuple[int, ...]
    policy: str = ""
    keep_random_state: bool = True
    reentrant: bool = False


# --------------------------------------------------------------------------------------------- the algorithm


def forward(model: Decoder, inputs: Tensor, targets: Tensor, plan: Plan, trace: MemoryTrace) -> Tensor:
    """The loss, a scalar, of tokens (b, s) and those that come next (b, s)."""
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
    """Blocks one after the other, of which only the input is kept; the backward pass calls `run` a second time."""

    def run(x: Tensor) -> Tensor:
        again = trace.recomputing() if trace.phase == "backward" else contextlib.nullcontext()
        with again:
            for block in segment:
                x = block(x)
        return x

    if plan.reentrant:
        return checkpoint(run, x, use_reentrant=True, preserve_rng_state=plan.keep_random_state)
    how: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": plan.keep_random_state}
    if plan.policy:
        how["context_fn"] = functools.partial(_contexts, plan.policy, segment)
    return checkpoint(run, x, **how)


class AdamW:
    """AdamW (Loshchilov and Hutter 2019), parameter by parameter; its two moments are there before its first step."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters = parameters
        self.first = [torch.zeros_like(parameter) for parameter in parameters]
        self.second = [torch.zeros_like(parameter) for parameter in parameters]

    @torch.no_grad()
    def step(self, which: int) -> None:
        """Moves one parameter along its gradient g."""
        parameter, m, v = self.parameters[which], self.first[which], self.second[which]
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
    """A traced training step. forward_runs: how often each block ran. gradients: of all trained parameters."""

    timeline: Timeline
    forward_runs: list[int]
    gradients: list[Tensor | None]


def training_step(model: Decoder, tokens: Tensor, plan: Plan, trace: MemoryTrace) -> Step:
    """One step, traced. tokens: (2, b, s), what comes in and what comes next.

    The optimizer's state is there from the beginning, as in every step but the first, and gradients are let go at the
    end: so the memory alive at the end is that of the model and the optimizer.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    layers = [_layer_of(name, model) for name, one in model.named_parameters() if one.requires_grad]
    trace.stands_before([*model.parameters(), *model.buffers()])
    with following(model, trace) as forward_runs:
        with trace:
            trace.enter("optimizer", -1)
            optimizer = AdamW(trained)
            trace.are("optimizer_state", [*optimizer.first, *optimizer.second])

            trace.enter("forward", -1)
            inputs, targets = tokens.clone()
            loss = forward(model, inputs, targets, plan, trace)
            trace.end_forward()

            trace.enter("backward", len(model.blocks))
            loss.backward()
            trace.are("gradient", [one.grad for one in trained if one.grad is not None])
        gradients = [None if one.grad is None else one.grad.clone() for one in trained]
        with trace:
            del loss, inputs, targets
            for which, layer in enumerate(layers):
                trace.enter("optimizer", layer)
                optimizer.step(which)
            model.zero_grad(set_to_none=True)
        return Step(trace.timeline(), forward_runs, gradients)


def plain_gradients(model: Decoder, tokens: Tensor) -> list[Tensor | None]:
    """Gradients of all trained parameters without any checkpointing; the model stays as it was."""
    inputs, targets = tokens
    forward(model, inputs, targets, Plan(()), MemoryTrace()).backward()
    found = [one.grad for one in model.parameters() if one.requires_grad]
    model.zero_grad(set_to_none=True)
    return found


# --------------------------------------------------------------------------------------------- who is at work


@contextlib.contextmanager
def following(model: Decoder, trace: MemoryTrace):
    """Tells the trace which block is at work; yields how often each block ran forward."""
    runs = [0] * len(model.blocks)
    handles = []
    for layer, block in enumerate(model.blocks):

        def begins(_module: nn.Module, _inputs: Any, layer: int = layer) -> None:
            runs[layer] += 1
            trace.enter("recompute" if trace.phase == "recompute" else "forward", layer)

        def ends(_module: nn.Module, _inputs: Any, output: Tensor, layer: int = layer) -> None:
            if output.requires_grad:  # when its gradient is there, the block's backward pass begins
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
    """The block of a parameter; -1 for the embedding, and the number of blocks for what comes after them."""
    first, _, rest = name.partition(".")
    if first == "blocks":
        return int(rest.partition(".")[0])
    return -1 if first in ("embedding", "positions") else len(model.blocks)


# ------------------------------------------------------------------------------------- selective checkpointing


def _contexts(policy: str, segment: nn.ModuleList) -> tuple[Any, Any]:
    """What torch enters around the forward pass of a segment and around its recomputation."""
    if policy == "matmuls":
        return create_selective_checkpoint_contexts(lambda _context, op, *_, **__: _keep(op in MATMULS))
    inside, read = _Inside(), READ_BY_BACKWARD["llama" if isinstance(segment[0], LlamaBlock) else "gpt"]

    def keep_all_but_attention(context: Any, op: Any, *_: Any, **__: Any) -> CheckpointPolicy:
        return _keep(op in read and not inside.attention)

    caching, cached = create_selective_checkpoint_contexts(keep_all_but_attention)
    return inside.watching(segment, caching), cached


class _Inside:
    """Whether the forward pass is inside an attention core at this moment."""

    def __init__(self) -> None:
        self.attention = False

    @contextlib.contextmanager
    def watching(self, segment: nn.ModuleList, caching: Any):
        """Around the forward pass of a segment, besides the context `caching`."""
        handles = []
        for block in segment:
            core: Any = block.core
            handles.append(core.register_forward_pre_hook(functools.partial(self._set, True)))
            handles.append(core.register_forward_hook(functools.partial(self._set, False)))
            break  # the blocks share one core
        try:
            with caching:
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _set(self, value: bool, *_: Any) -> None:
        self.attention = value


def _keep(kept: bool) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE
