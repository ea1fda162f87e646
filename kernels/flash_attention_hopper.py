"""The launcher of the forward kernel for Hopper GPUs: which problems it takes, and with which settings it runs."""

# Gluon declares types of its own, which the checker cannot follow.
# pyright: reportArgumentType=false, reportCallIssue=false

import functools
import math
from typing import Any, NamedTuple

import torch
import triton
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from kernels.flash_attention_hopper_kernel import ROWS, flash_attention_forward_hopper
from kernels.problem import Problem


class Settings(NamedTuple):
    """How the kernel runs for one head dimension.

    registers: of a computing thread; entry_registers: the limit with which all threads start, so that those of the
    loading warps can be given away. longest_causal: with more keys than this under a causal mask, the query tiles are
    so unequal that the hardware gives them out better, one program each.
    """

    warpgroups: int
    block_k: int
    stages: int
    registers: int
    entry_registers: int
    longest_causal: int


# Measured on an H200 (docs/benchmarks.md); smaller key tiles and two warpgroups at D = 64 were 5 to 15 % slower.
SETTINGS = {64: Settings(3, 128, 2, 160, 128, 4096), 128: Settings(2, 128, 2, 240, 168, 8192)}
HEADS_TOGETHER_BYTES = 12e6  # keys and values that programs share in the L2 cache


def takes_problem(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, problem: Problem) -> bool:
    """Whether this kernel computes the problem: on a Hopper GPU, in 16 bits, D = Dv = 64 or 128, with a causal mask or
    none, and tensors that the memory accelerator can address (steps and start multiples of 16 bytes)."""
    window = (problem.window_left, problem.window_right)
    return (
        q.is_cuda
        and torch.cuda.get_device_capability(q.device)[0] == 9
        and q.element_size() == 2
        and q.shape[3] == v.shape[3]
        and q.shape[3] in SETTINGS
        and not problem.packed
        and not problem.softcap
        and (window == (-1, -1) or (window == (-1, 0) and k.shape[2] >= q.shape[2]))
        and min(*q.shape, *k.shape) > 0
        and all(_addressable(tensor) for tensor in (q, k, v))
    )


def _addressable(tensor: torch.Tensor) -> bool:
    steps = [stride for size, stride in zip(tensor.shape[:3], tensor.stride(), strict=False) if size > 1]
    return tensor.data_ptr() % 16 == 0 and all(step > 0 and step % 8 == 0 for step in steps)


def launch_forward(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    output: torch.Tensor,
    lse: torch.Tensor,
    problem: Problem,
) -> None:
    """Fill output and lse for a problem that `takes_problem`; shapes as in `flash_attention_forward.forward`."""
    batches, heads, n_q, head_dim = q.shape
    n_k, causal = k.shape[2], problem.window_right == 0
    settings = SETTINGS[head_dim]
    query_tiles = triton.cdiv(n_q, ROWS * settings.warpgroups) * heads * batches
    stays = not causal or n_k <= settings.longest_causal
    processors = torch.cuda.get_device_properties(q.device).multi_processor_count
    flash_attention_forward_hopper[(min(processors, query_tiles) if stays else query_tiles,)](
        _descriptor(q, ROWS),
        _descriptor(k, settings.block_k),
        _descriptor(v, settings.block_k),
        _descriptor(output, ROWS),
        lse,
        n_q,
        n_k,
        heads,
        batches,
        _heads_together(n_k, head_dim, heads * batches) if causal and head_dim == 64 and stays else 1,
        heads // k.shape[1],
        problem.scale_log2,
        HEAD_DIM=head_dim,
        BLOCK_K=settings.block_k,
        STAGES=settings.stages,
        CAUSAL=causal,
        RAGGED=n_k % settings.block_k != 0,
        WARPGROUPS=settings.warpgroups,
        REGISTERS=settings.registers,
        num_warps=4,
        maxnreg=settings.entry_registers,
    )


def _heads_together(n_k: int, head_dim: int, all_heads: int) -> int:
    """How many heads' keys and values of 2 bytes a number fit the share of the L2 cache: a divisor of all heads."""
    fitting = max(1, int(HEADS_TOGETHER_BYTES / (4 * n_k * head_dim)))
    return next(count for count in range(min(fitting, all_heads), 0, -1) if all_heads % count == 0)


def _descriptor(tensor: torch.Tensor, rows: int) -> Any:
    """A tile of `rows` rows of one head, (1, 1, rows, D), for the memory accelerator."""
    dtype = gl.bfloat16 if tensor.dtype == torch.bfloat16 else gl.float16
    block = [1, 1, rows, tensor.shape[3]]
    layout = _layout(rows, tensor.shape[3], dtype)
    strides = [
        stride if size > 1 else math.prod(block)
        for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
    ]
    return TensorDescriptor(tensor, list(tensor.shape), [*strides[:3], 1], block, layout)


@functools.cache
def _layout(rows: int, head_dim: int, dtype: Any) -> Any:
    return gl.NVMMASharedLayout.get_default_for([1, 1, rows, head_dim], dtype)
