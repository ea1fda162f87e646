"""Exact attention in tiles, forward and backward: FlashAttention-2 (Dao 2023, arXiv:2307.08691) in Triton.

    output = flash_attention(q, k, v, causal=True)
    output = flash_attention_varlen(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k)
    trace = flash_attention_trace(q, k, v, block_q=16, block_k=16)

On CUDA tensors the kernels run compiled and autotuned, on CPU tensors in the interpreter worker
(`kernels.interpreter`), from the same source (`kernels.flash_attention_forward`,
`kernels.flash_attention_backward`).

The causal mask is aligned bottom-right: query row i sees the keys j <= i + Nk - Nq. A row that sees no key
has output 0, log-sum-exp -inf and gradient 0.
"""

import ast
import dataclasses
import functools
import itertools
import math
import numbers
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, overload

import torch
from torch.autograd.function import once_differentiable

from kernels.interpreter import interpreter, triton_available
from kernels.problem import Problem

SMALLEST_HEAD_DIM, LARGEST_HEAD_DIM = 16, 256
TRACE_BLOCKS = (16, 32, 64, 128)
BREAKS = ("none", "no_rescale", "no_max", "finite_sentinel", "top_left", "fp16_accumulator")
_FORWARD_SOURCE = Path(__file__).with_name("flash_attention_forward.py")


@overload
def flash_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    causal: bool = False,
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
    scale: float | None = None,
    return_lse: Literal[True],
) -> tuple[torch.Tensor, torch.Tensor]: ...


def flash_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    causal: bool = False,
    scale: float | None = None,
    return_lse: bool = False,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Attention softmax(scale q k^T) v, differentiable in q, k and v.

    q: (B, Hq, Nq, D), k and v: (B, Hkv, Nk, D), Hq a multiple of Hkv (each key head serves a group of query
    heads), D from 16 to 256, all float32, float16 or, on a GPU, bfloat16. scale: positive, 1/sqrt(D) by
    default. Returns the output (B, Hq, Nq, D); with return_lse also the natural log-sum-exp of each row's
    scaled scores, (B, Hq, Nq) float32, through which no gradient flows.

    Raises ValueError for arguments outside this, RuntimeError where Triton is not installed.
    Source: FlashAttention-2, Algorithms 1 and 2; alignment as in the flash-attention repository since 2.1.
    """
    _check_tensors(q, k, v, "(batch, heads, rows, head_dim)", 4)
    if q.shape[0] != k.shape[0]:
        raise ValueError(f"k must have the batch size of q, {q.shape[0]}, got {k.shape[0]}.")
    _check_heads(q.shape[1], k.shape[1])
    problem = Problem(q.shape[2], k.shape[2], bool(causal), _checked_scale(scale, q.shape[3]))
    output, lse = _FlashAttention.apply(q, k, v, problem)
    return (output, lse) if return_lse else output


class MaskAndScale(TypedDict, total=False):
    """The options of attention, with the defaults and the meaning that `flash_attention` gives them."""

    causal: bool
    scale: float | None


def flash_attention_varlen(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    **mask_and_scale: Unpack[MaskAndScale],
) -> torch.Tensor:
    """Attention within each sequence of a pack, differentiable in q, k and v.

    q: (Tq, Hq, D), k and v: (Tk, Hkv, D), the sequences one after another. cu_seqlens_q, cu_seqlens_k: (S +
    1,) int32, where each of the S sequences starts, from 0 to Tq (Tk); a sequence may be empty. max_seqlen_q,
    max_seqlen_k: at least the longest sequence. causal and scale as in `flash_attention`. Returns (Tq, Hq, D).

    Raises ValueError for arguments outside this, RuntimeError where Triton is not installed. On a GPU the
    check of the lengths waits for them to be copied to the host.
    """
    _check_tensors(q, k, v, "(tokens, heads, head_dim)", 3)
    _check_heads(q.shape[1], k.shape[1])
    _check_lengths("q", cu_seqlens_q, max_seqlen_q, q)
    _check_lengths("k", cu_seqlens_k, max_seqlen_k, k)
    if cu_seqlens_q.numel() != cu_seqlens_k.numel():
        raise ValueError(f"cu_seqlens_k must have as many entries as cu_seqlens_q, {cu_seqlens_q.numel()}.")
    # (T, H, D) -> (1, H, T, D), a view; cu_seqlens tells the kernels where the sequences start.
    as_batch = [tensor.transpose(0, 1).unsqueeze(0) for tensor in (q, k, v)]
    causal, scale = _checked_mask_and_scale(q.shape[2], **mask_and_scale)
    starts = (cu_seqlens_q.contiguous(), cu_seqlens_k.contiguous())
    problem = Problem(int(max_seqlen_q), int(max_seqlen_k), causal, scale, *starts)
    output, _ = _FlashAttention.apply(*as_batch, problem)
    return output.squeeze(0).transpose(0, 1)


@dataclasses.dataclass(frozen=True)
class TileTrace:
    """The kernel's state after each tile it visited; zero for skipped tiles and for rows beyond the last.

    visited: (query_tiles, key_tiles) bool. m, l, alpha: (query_tiles, key_tiles, block_q) float32, the
    running maximum (of the scaled scores, natural units), the running denominator, and the factor that
    rescaled l and the accumulator before the tile was added. accumulator: (query_tiles, key_tiles, block_q,
    D) float32, not yet divided by l. output: (Nq, D), lse: (Nq,).

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
    causal: bool = False,
    scale: float | None = None,
    break_it: str = "none",
) -> TileTrace:
    """One head's attention by the same forward kernel, which records its state after every tile.

    q: (Nq, D), k and v: (Nk, D), float32. block_q, block_k: 16, 32, 64 or 128 rows a tile (on a GPU the
    larger blocks with a large D do not fit and Triton raises OutOfResources). break_it removes one part of the
    algorithm:
    - "no_rescale": alpha is 1; - "no_max": m is 0, so that exp may overflow; - "finite_sentinel": -1e6 in place
    of -inf, so that a row that sees no key averages v; - "top_left": row i sees j <= i whatever Nq and Nk are;
    - "fp16_accumulator": the accumulator and l are rounded to float16 after each tile.

    Raises ValueError for arguments outside this, RuntimeError where Triton is not installed.
    """
    _check_tensors(q, k, v, "(rows, head_dim)", 2)
    if q.dtype != torch.float32:
        raise ValueError(f"q must be float32 to be traced, got {q.dtype}.")
    for name, block in (("block_q", block_q), ("block_k", block_k)):
        if block not in TRACE_BLOCKS:
            raise ValueError(f"{name} must be one of {', '.join(map(str, TRACE_BLOCKS))}, got {block}.")
    if break_it not in BREAKS:
        raise ValueError(f"break_it must be one of {', '.join(BREAKS)}, got {break_it!r}.")
    problem = Problem(q.shape[0], k.shape[0], bool(causal), _checked_scale(scale, q.shape[1]))
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


def visited_tiles(n_q: int, n_k: int, block_q: int, block_k: int, causal: bool) -> int:
    """How many tiles the kernel visits for one head: all, or under a causal mask those with a pair on or below
    the bottom-right diagonal."""
    key_tiles, visited = -(-n_k // block_k), 0
    for first_row in range(0, n_q, block_q):
        last_row = min(first_row + block_q, n_q) - 1
        reached = -(-(last_row + 1 + n_k - n_q) // block_k) if causal else key_tiles
        visited += min(max(reached, 0), key_tiles)
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


class _FlashAttention(torch.autograd.Function):
    """Saves q, k, v, O and the log-sum-exp; the backward kernels recompute P from them."""

    @staticmethod
    def forward(
        ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, problem: Problem
    ) -> tuple[torch.Tensor, torch.Tensor]:
        output, lse = _launch("forward", {"q": q, "k": k, "v": v}, problem)
        # Autograd saves cu_seqlens too: it raises if a saved tensor was changed in place before backward.
        ctx.save_for_backward(q, k, v, output, lse, problem.cu_seqlens_q, problem.cu_seqlens_k)
        ctx.problem = dataclasses.replace(problem, cu_seqlens_q=None, cu_seqlens_k=None)
        ctx.mark_non_differentiable(lse)
        return output, lse

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]  (the decorator hides its parameters)
        ctx: Any, *grad_outputs: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        q, k, v, output, lse, cu_seqlens_q, cu_seqlens_k = ctx.saved_tensors
        problem = dataclasses.replace(ctx.problem, cu_seqlens_q=cu_seqlens_q, cu_seqlens_k=cu_seqlens_k)
        tensors = {"q": q, "k": k, "v": v, "output": output, "lse": lse, "grad_output": grad_outputs[0]}
        return (*_launch("backward", tensors, problem), None)


def _launch(
    operation: str, tensors: dict[str, torch.Tensor], problem: Problem, **options: int | str
) -> tuple[torch.Tensor, ...]:
    """Call a launcher of the kernel modules where the tensors are: here on a GPU, in the worker on a CPU."""
    tensors = {name: _last_dimension_contiguous(tensor) for name, tensor in tensors.items()}
    if not triton_available():
        raise RuntimeError(
            "Triton is not installed here, so its kernels cannot run; it exists for Linux only."
        )
    if not tensors["q"].is_cuda:
        sent = {**tensors, **vars(problem), **options}  # the worker puts the Problem together again
        arrays = {name: value.detach().numpy() for name, value in sent.items() if torch.is_tensor(value)}
        settings = {name: value for name, value in sent.items() if name not in arrays}
        return tuple(torch.from_numpy(result) for result in interpreter.run(operation, arrays, settings))
    from kernels import flash_attention_backward, flash_attention_forward

    module = flash_attention_backward if operation == "backward" else flash_attention_forward
    return getattr(module, operation)(**tensors, problem=problem, **options)


def _last_dimension_contiguous(tensor: torch.Tensor) -> torch.Tensor:
    """The kernels take strides for all dimensions but the last."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def _check_tensors(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, layout: str, dimensions: int) -> None:
    named = {"q": q, "k": k, "v": v}
    for name, tensor in named.items():
        if not torch.is_tensor(tensor):
            raise ValueError(f"{name} must be a torch tensor, got {type(tensor).__name__}.")
        if tensor.dim() != dimensions:
            raise ValueError(
                f"{name} must have {dimensions} dimensions {layout}, got shape {tuple(tensor.shape)}."
            )
    for name, tensor in named.items():
        if tensor.dtype not in (torch.float32, torch.float16, torch.bfloat16):
            raise ValueError(f"{name} must be float32, float16 or bfloat16, got {tensor.dtype}.")
        if tensor.device.type not in ("cpu", "cuda"):
            raise ValueError(f"{name} must be on the CPU or on a CUDA device, got {tensor.device}.")
        if tensor.dtype != q.dtype or tensor.device != q.device:
            raise ValueError(f"{name} must have the dtype and device of q, {q.dtype} on {q.device}.")
    if q.dtype == torch.bfloat16 and q.device.type == "cpu":
        raise ValueError(
            "q must be float32 or float16 on the CPU: Triton's interpreter cannot compute in bfloat16."
        )
    if not SMALLEST_HEAD_DIM <= q.shape[-1] <= LARGEST_HEAD_DIM:
        allowed = f"from {SMALLEST_HEAD_DIM} to {LARGEST_HEAD_DIM}"
        raise ValueError(f"q must have a head dimension {allowed}, got {q.shape[-1]}.")
    if k.shape[-1] != q.shape[-1]:
        raise ValueError(f"k must have the head dimension of q, {q.shape[-1]}, got {k.shape[-1]}.")
    if v.shape != k.shape:
        raise ValueError(f"v must have the shape of k, {tuple(k.shape)}, got {tuple(v.shape)}.")


def _check_heads(query_heads: int, key_heads: int) -> None:
    if key_heads == 0 or query_heads % key_heads != 0:
        raise ValueError(f"q must have a multiple of the {key_heads} heads of k, got {query_heads}.")


def _check_lengths(name: str, cu_seqlens: torch.Tensor, max_seqlen: int, tensor: torch.Tensor) -> None:
    argument = f"cu_seqlens_{name}"
    if not isinstance(cu_seqlens, torch.Tensor) or cu_seqlens.dtype != torch.int32 or cu_seqlens.dim() != 1:
        raise ValueError(f"{argument} must be a one-dimensional int32 tensor.")
    if cu_seqlens.device != tensor.device or cu_seqlens.numel() == 0:
        raise ValueError(
            f"{argument} must have at least one entry and be on the device of {name}, {tensor.device}."
        )
    starts = cu_seqlens.tolist()
    lengths = [end - start for start, end in itertools.pairwise(starts)]
    if starts[0] != 0:
        raise ValueError(f"{argument} must start with 0, got {starts[0]}.")
    if min(lengths, default=0) < 0:
        raise ValueError(f"{argument} must not decrease.")
    if starts[-1] != tensor.shape[0]:
        raise ValueError(
            f"{argument} must end with the {tensor.shape[0]} tokens of {name}, got {starts[-1]}."
        )
    longest = max(lengths, default=0)
    if not isinstance(max_seqlen, numbers.Integral) or int(max_seqlen) < longest:
        allowed = f"an integer no smaller than the longest sequence, {longest}"
        raise ValueError(f"max_seqlen_{name} must be {allowed}, got {max_seqlen}.")


def _checked_mask_and_scale(
    head_dim: int, *, causal: bool = False, scale: float | None = None
) -> tuple[bool, float]:
    return bool(causal), _checked_scale(scale, head_dim)


def _checked_scale(scale: float | None, head_dim: int) -> float:
    if scale is None:
        return 1.0 / math.sqrt(head_dim)
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"scale must be positive and finite, got {scale}.")
    return float(scale)
