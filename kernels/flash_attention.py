"""Exact attention in tiles, forward and backward: FlashAttention-2 (Dao 2023, arXiv:2307.08691) in Triton.

    output = flash_attention(q, k, v, causal=True)
    output = flash_attention_varlen(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k)
    trace = flash_attention_trace(q, k, v, block_q=16, block_k=16)

On CUDA tensors the kernels run compiled and autotuned, on CPU tensors in the interpreter worker
(`kernels.interpreter`), from the same source (`kernels.flash_attention_forward`,
`kernels.flash_attention_backward`).

Masks are aligned bottom-right: the diagonal of query row i is key i + Nk - Nq (in SDPA's is_causal it is key i).
A row that sees no key has output 0, log-sum-exp -inf and gradient 0.
"""

import ast
import dataclasses
import functools
from pathlib import Path
from typing import Any, Literal, Unpack, overload

import torch

from kernels.arguments import (
    LARGEST_HEAD_DIM,
    UNLIMITED,
    AttentionOptions,
    Window,
    check_batch,
    check_heads,
    check_lengths,
    check_tensors,
    problem_of,
)
from kernels.dispatch import interpreted, ready_for_kernels
from kernels.problem import Problem

TRACE_BLOCKS = (16, 32, 64, 128)
BREAKS = ("none", "no_rescale", "no_max", "finite_sentinel", "top_left", "whole_tiles", "fp16_accumulator")
SMALLEST_NORMAL = 2.0**-126  # of float32
_FORWARD_SOURCE = Path(__file__).with_name("flash_attention_forward.py")


@overload
def flash_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    causal: bool = False,
    window: Window = UNLIMITED,
    softcap: float = 0.0,
    scale: float | None = None,
    return_lse: Literal[False] = False,
) -> torch.Tensor: ...


@overload
def flash_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    causal: bool = False,
    window: Window = UNLIMITED,
    softcap: float = 0.0,
    scale: float | None = None,
    return_lse: Literal[True],
) -> tuple[torch.Tensor, torch.Tensor]: ...


def flash_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    causal: bool = False,
    window: Window = UNLIMITED,
    softcap: float = 0.0,
    scale: float | None = None,
    return_lse: bool = False,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Attention softmax(scale q k^T) v, once differentiable in q, k and v.

    q: (B, Hq, Nq, D), k: (B, Hkv, Nk, D), v: (B, Hkv, Nk, Dv), Hq a multiple of Hkv (each key head serves a group
    of query heads), D and Dv from 16 to 256 (MLA has 192 and 128), all float32, float16 or, on a GPU, bfloat16.
    window: (left, right), the keys that row i sees on either side of key i + Nk - Nq, -1 for all; or the left number
    alone. Mistral's sliding window of W tokens counts the token itself: window=W - 1, causal=True.
    softcap: c, by which a scaled score s becomes c tanh(s / c) (Gemma 2 has 50); 0 for none.
    scale: finite, also 0 or negative; 1/sqrt(D) by default. causal: right = 0. Returns the output (B, Hq, Nq, Dv);
    with return_lse also the natural log-sum-exp of each row's scores, scaled and capped, (B, Hq, Nq) float32,
    differentiable as well. Left out: ALiBi, dropout and masks given as tensors.

    Raises ValueError for arguments outside this, RuntimeError where Triton is not installed, for a second
    derivative, and under torch.func's vmap and forward-mode transforms.
    Source: FlashAttention-2, Algorithms 1 and 2; window and alignment as in the flash-attention repository.
    """
    check_tensors(q, k, v, "(batch, heads, rows, head_dim)", 4)
    check_batch("k", k, "q", q)
    check_heads(q.shape[1], k.shape[1])
    options: AttentionOptions = {"causal": causal, "window": window, "softcap": softcap, "scale": scale}
    problem = problem_of(q.shape[2], k.shape[2], q.shape[3], **options)
    output, lse = _attention(q, k, v, problem)
    return (output, lse) if return_lse else output


def flash_attention_varlen(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    **options: Unpack[AttentionOptions],
) -> torch.Tensor:
    """Attention within each sequence of a pack, once differentiable in q, k and v.

    q: (Tq, Hq, D), k: (Tk, Hkv, D), v: (Tk, Hkv, Dv), the sequences one after another. cu_seqlens_q, cu_seqlens_k:
    (S + 1,) int32, where each of the S sequences starts, from 0 to Tq (Tk); a sequence may be empty. max_seqlen_q,
    max_seqlen_k: at least the longest sequence. options: causal, window, softcap and scale as in `flash_attention`;
    each sequence has its own diagonal. Returns (Tq, Hq, Dv).

    Raises ValueError for arguments outside this, RuntimeError where Triton is not installed. On a GPU the
    first check of the lengths waits for them to be copied to the host; a tensor that has not changed since is not
    checked again.
    """
    check_tensors(q, k, v, "(tokens, heads, head_dim)", 3)
    check_heads(q.shape[1], k.shape[1])
    check_lengths("q", cu_seqlens_q, max_seqlen_q, q)
    check_lengths("k", cu_seqlens_k, max_seqlen_k, k)
    if cu_seqlens_q.numel() != cu_seqlens_k.numel():
        raise ValueError(f"cu_seqlens_k must have as many entries as cu_seqlens_q, {cu_seqlens_q.numel()}.")
    # (T, H, D) -> (1, H, T, D), a view; cu_seqlens tells the kernels where the sequences start.
    q, k, v = (tensor.transpose(0, 1).unsqueeze(0) for tensor in (q, k, v))
    starts = (cu_seqlens_q.contiguous(), cu_seqlens_k.contiguous())
    problem = problem_of(int(max_seqlen_q), int(max_seqlen_k), q.shape[3], starts, **options)
    output, _ = _attention(q, k, v, problem)
    return output.squeeze(0).transpose(0, 1)


@dataclasses.dataclass(frozen=True)
class TileTrace:
    """The kernel's state after each tile it visited; zero for skipped tiles and for rows beyond the last.

    visited: (query_tiles, key_tiles) bool. m, l, alpha: (query_tiles, key_tiles, block_q) float32, the
    running maximum (of the scores, scaled and capped, natural units), the running denominator, and the factor that
    rescaled l and the accumulator before the tile was added. accumulator: (query_tiles, key_tiles, block_q,
    Dv) float32, not yet divided by l. output: (Nq, Dv), lse: (Nq,).

    A row that has seen no key yet has m = -inf, l = 0, alpha = 1; its first visible score gives alpha = 0.
    """

    visited: torch.Tensor
    m: torch.Tensor
    l: torch.Tensor
    alpha: torch.Tensor
    accumulator: torch.Tensor
    output: torch.Tensor
    lse: torch.Tensor


def flash_attention_trace(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    block_q: int,
    block_k: int,
    break_it: str = "none",
    **options: Unpack[AttentionOptions],
) -> TileTrace:
    """One head's attention by the same forward kernel, which records its state after every tile.

    q: (Nq, D), k: (Nk, D), v: (Nk, Dv), float32. block_q, block_k: 16, 32, 64 or 128 rows a tile (on a GPU the
    larger blocks with a large D do not fit and Triton raises OutOfResources). options: causal, window, softcap and
    scale as in `flash_attention`. break_it removes one part of the algorithm:
    - "no_rescale": alpha is 1; - "no_max": m is 0, so that exp may overflow; - "finite_sentinel": -1e6 in place
    of -inf, so that a row that sees no key averages v; - "top_left": the diagonal is j = i whatever Nq and Nk are;
    - "whole_tiles": hidden tiles are skipped, but a tile that is visited is not masked;
    - "fp16_accumulator": the accumulator and l are rounded to float16 after each tile.

    Raises ValueError for arguments outside this, RuntimeError where Triton is not installed.
    """
    check_tensors(q, k, v, "(rows, head_dim)", 2)
    if q.dtype != torch.float32:
        raise ValueError(f"q must be float32 to be traced, got {q.dtype}.")
    for name, block in (("block_q", block_q), ("block_k", block_k)):
        if block not in TRACE_BLOCKS:
            raise ValueError(f"{name} must be one of {', '.join(map(str, TRACE_BLOCKS))}, got {block}.")
    if break_it not in BREAKS:
        raise ValueError(f"break_it must be one of {', '.join(BREAKS)}, got {break_it!r}.")
    problem = problem_of(q.shape[0], k.shape[0], q.shape[1], **options)
    q, problem = with_positive_scale(q, problem)
    heads = {name: tensor.detach()[None, None] for name, tensor in (("q", q), ("k", k), ("v", v))}
    output, lse, records = _launch(
        "forward_trace", heads, problem, block_q=block_q, block_k=block_k, break_it=break_it
    )
    return TileTrace(
        visited=(records[..., 0] > 0).any(dim=-1),
        m=records[..., 1],
        l=records[..., 2],
        alpha=records[..., 3],
        accumulator=records[..., 4:],
        output=output[0, 0],
        lse=lse[0, 0],
    )


def visited_tiles(n_q: int, n_k: int, block_q: int, block_k: int, **options: Unpack[AttentionOptions]) -> int:
    """How many tiles the kernel visits for one head: those with a key that a row sees."""
    problem = problem_of(n_q, n_k, LARGEST_HEAD_DIM, **options)
    left, right = problem.window_left, problem.window_right
    visited = 0
    for first_row in range(0, n_q, block_q):
        last_row = min(first_row + block_q, n_q) - 1
        first = max(first_row + n_k - n_q - left, 0) if left >= 0 else 0
        last = min(last_row + n_k - n_q + right, n_k - 1) if right >= 0 else n_k - 1
        visited += last // block_k - first // block_k + 1 if last >= first else 0
    return visited


@functools.cache
def kernel_source() -> tuple[str, int]:
    """The text of the forward kernel, and the line of its file on which the text starts."""
    text = _FORWARD_SOURCE.read_text(encoding="utf-8")
    definitions = (node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef))
    kernel = next(node for node in definitions if node.name == "flash_attention_forward")
    first_line = kernel.decorator_list[0].lineno
    return "\n".join(text.splitlines()[first_line - 1 : kernel.end_lineno]) + "\n", first_line


@functools.cache
def step_lines() -> dict[str, int]:
    """The line of each of the kernel's steps in its file, in order: scores, maximum, weights, rescale,
    accumulate, finish. Comments such as `# step: scores` mark them in the source."""
    text, first_line = kernel_source()
    marked = (line.partition("# step: ")[2].strip() for line in text.splitlines())
    return {step: first_line + index for index, step in enumerate(marked) if step}


def with_positive_scale(q: torch.Tensor, problem: Problem) -> tuple[torch.Tensor, Problem]:
    """Another q and a positive scale that give the same attention, in all gradients too.

    The kernels take the maximum before they scale, and multiply -inf, a masked score, by the scale. So a negative
    sign goes into q: s q = |s| (-q). Under a scale of 0, -0, or so small that float32 makes it 0, all scores are 0,
    as with q = 0 and a scale of 1.
    """
    if problem.scale >= SMALLEST_NORMAL:
        return q, problem
    sign, scale = (-1.0, -problem.scale) if problem.scale <= -SMALLEST_NORMAL else (0.0, 1.0)
    return q * sign, dataclasses.replace(problem, scale=scale)


def _attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, problem: Problem
) -> tuple[torch.Tensor, torch.Tensor]:
    """Output and log-sum-exp, with gradients, under any scale."""
    q, problem = with_positive_scale(q, problem)
    return _FlashAttention.apply(q, k, v, problem)


class _OnceDifferentiable(torch.autograd.Function):
    """Refuses what the kernels cannot do, in one sentence each; torch's own words speak of its classes."""

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        raise RuntimeError(
            "flash_attention cannot run under torch.vmap: put the mapped dimension into the batch or the heads of "
            "q, k and v."
        )

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        raise RuntimeError(
            "flash_attention has no forward-mode derivative: use torch.autograd.grad or backward()."
        )


class _FlashAttention(_OnceDifferentiable):
    """Saves q, k, v, O and the log-sum-exp; the backward kernels recompute P from them."""

    @staticmethod
    def forward(
        q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, problem: Problem
    ) -> tuple[torch.Tensor, torch.Tensor]:
        output, lse = _launch("forward", {"q": q, "k": k, "v": v}, problem)
        return output, lse

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, torch.Tensor]) -> None:
        q, k, v, problem = inputs
        # Autograd saves cu_seqlens too: it raises if a saved tensor was changed in place before backward.
        ctx.save_for_backward(q, k, v, *output, problem.cu_seqlens_q, problem.cu_seqlens_k)
        ctx.problem = dataclasses.replace(problem, cu_seqlens_q=None, cu_seqlens_k=None)

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  (as many gradients as outputs)
        ctx: Any, grad_output: torch.Tensor, grad_lse: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        *tensors, cu_seqlens_q, cu_seqlens_k = ctx.saved_tensors
        problem = dataclasses.replace(ctx.problem, cu_seqlens_q=cu_seqlens_q, cu_seqlens_k=cu_seqlens_k)
        return (*_Gradients.apply(*tensors, grad_output, grad_lse, problem), None)


class _Gradients(_OnceDifferentiable):
    """dQ, dK and dV, of which there is no further derivative."""

    @staticmethod
    def forward(*tensors_and_problem: Any) -> tuple[torch.Tensor, ...]:
        *tensors, problem = tensors_and_problem
        names = ("q", "k", "v", "output", "lse", "grad_output", "grad_lse")
        return _launch("backward", dict(zip(names, tensors, strict=True)), problem)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
        """Nothing to save."""

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> Any:
        raise RuntimeError(
            "flash_attention has no second derivative: its gradients can be computed, not differentiated again."
        )


def _launch(
    operation: str, tensors: dict[str, torch.Tensor], problem: Problem, **options: int | str
) -> tuple[torch.Tensor, ...]:
    """Call a launcher of the kernel modules where the tensors are: here on a GPU, in the worker on a CPU."""
    tensors = ready_for_kernels(tensors)
    if not tensors["q"].is_cuda:  # the worker puts the Problem together again
        return interpreted(operation, {**tensors, **vars(problem), **options})
    from kernels import flash_attention_backward, flash_attention_forward

    module = flash_attention_backward if operation == "backward" else flash_attention_forward
    return getattr(module, operation)(**tensors, problem=problem, **options)
