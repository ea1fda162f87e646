# Triton declares that iterating over its ranges never returns.
# pyright: reportGeneralTypeIssues=false
"""The backward kernels: they recompute P tile by tile from the saved log-sum-exp L and store no N x N matrix.

FlashAttention-2 (Dao 2023, arXiv:2307.08691), Algorithm 2, with every gradient tile computed by one program,
so that no atomic addition is needed and the result is bitwise reproducible:

    delta = rowsum(dO * O)                                       one program a query tile
    dV = P^T dO,  dP = dO V^T,  dS = P * (dP - delta)
    dK = scale dS^T Q                                            one program a key tile, loop over query tiles
    dQ = scale dS K                                              one program a query tile, loop over key tiles

With grouped queries the program of a key tile also loops over the query heads that share its key head.
Scores are in units of ln 2, as in the forward kernel; L is loaded in natural units.
"""

from typing import Any

import torch
import triton
import triton.language as tl

from kernels import tuning
from kernels.flash_attention_forward import empty_like, kernel_arguments, strides
from kernels.problem import Problem


@triton.jit(do_not_specialize=["n_q"])
def flash_attention_delta(
    output_ptr, grad_output_ptr, delta_ptr,
    output_batch_stride, output_head_stride, output_row_stride,
    lse_batch_stride, lse_head_stride,
    n_q, query_heads,
    HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_Q: tl.constexpr,
):  # fmt: skip
    # One program: some rows of one head. Rows are independent here, so a pack is one long sequence.
    program = tl.program_id(0)
    query_tiles = (n_q + BLOCK_Q - 1) // BLOCK_Q
    head = (program // query_tiles % query_heads).to(tl.int64)
    batch = (program // query_tiles // query_heads).to(tl.int64)
    rows = program % query_tiles * BLOCK_Q + tl.arange(0, BLOCK_Q)
    dims = tl.arange(0, BLOCK_D)
    row_offsets = (
        batch * output_batch_stride + head * output_head_stride + rows.to(tl.int64) * output_row_stride
    )
    offsets = row_offsets[:, None] + dims[None, :]
    mask = (rows < n_q)[:, None] & (dims < HEAD_DIM)[None, :]
    output = tl.load(output_ptr + offsets, mask=mask, other=0.0).to(tl.float32)
    grad_output = tl.load(grad_output_ptr + offsets, mask=mask, other=0.0).to(tl.float32)
    # delta = rowsum(dO * O)
    delta = tl.sum(output * grad_output, 1)
    delta_ptr += batch * lse_batch_stride + head * lse_head_stride
    tl.store(delta_ptr + rows, delta, mask=rows < n_q)


@triton.jit(do_not_specialize=["n_q", "n_k"])
def flash_attention_grad_keys_values(
    q_ptr, k_ptr, v_ptr, grad_output_ptr, lse_ptr, delta_ptr, grad_k_ptr, grad_v_ptr,
    cu_seqlens_q_ptr, cu_seqlens_k_ptr,
    q_batch_stride, q_head_stride, q_row_stride,
    k_batch_stride, k_head_stride, k_row_stride,
    v_batch_stride, v_head_stride, v_row_stride,
    output_batch_stride, output_head_stride, output_row_stride,
    grad_k_batch_stride, grad_k_head_stride, grad_k_row_stride,
    lse_batch_stride, lse_head_stride,
    n_q, n_k, key_heads, group, scale, scale_log2,
    HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
    CAUSAL: tl.constexpr, VARLEN: tl.constexpr,
):  # fmt: skip
    # One program: one key tile of one key head of one sequence.
    program = tl.program_id(0)
    key_tiles = (n_k + BLOCK_K - 1) // BLOCK_K
    key_tile = program % key_tiles
    key_head = (program // key_tiles % key_heads).to(tl.int64)
    batch = (program // key_tiles // key_heads).to(tl.int64)
    q_ptr += batch * q_batch_stride
    k_ptr += batch * k_batch_stride + key_head * k_head_stride
    v_ptr += batch * v_batch_stride + key_head * v_head_stride
    grad_output_ptr += batch * output_batch_stride
    grad_k_ptr += batch * grad_k_batch_stride + key_head * grad_k_head_stride
    grad_v_ptr += batch * grad_k_batch_stride + key_head * grad_k_head_stride
    lse_ptr += batch * lse_batch_stride
    delta_ptr += batch * lse_batch_stride
    if VARLEN:
        q_start = tl.load(cu_seqlens_q_ptr + batch).to(tl.int64)
        k_start = tl.load(cu_seqlens_k_ptr + batch).to(tl.int64)
        n_q = (tl.load(cu_seqlens_q_ptr + batch + 1) - q_start).to(tl.int32)
        n_k = (tl.load(cu_seqlens_k_ptr + batch + 1) - k_start).to(tl.int32)
        if key_tile * BLOCK_K >= n_k:
            return
        q_ptr += q_start * q_row_stride
        k_ptr += k_start * k_row_stride
        v_ptr += k_start * v_row_stride
        grad_output_ptr += q_start * output_row_stride
        grad_k_ptr += k_start * grad_k_row_stride
        grad_v_ptr += k_start * grad_k_row_stride
        lse_ptr += q_start
        delta_ptr += q_start

    # Rows i >= j - offset see column j; from `full_tile` on, every row sees every column of this tile.
    offset = n_k - n_q
    first_column = key_tile * BLOCK_K
    last_column = tl.minimum(first_column + BLOCK_K, n_k) - 1
    query_tiles = (n_q + BLOCK_Q - 1) // BLOCK_Q
    seen_tile = query_tiles * 0
    full_tile = query_tiles * 0
    if CAUSAL:
        seen_tile = tl.minimum(tl.maximum(first_column - offset, 0) // BLOCK_Q, query_tiles)
        full_tile = (tl.maximum(last_column - offset, 0) + BLOCK_Q - 1) // BLOCK_Q
        full_tile = tl.minimum(full_tile, query_tiles)

    dims = tl.arange(0, BLOCK_D)
    query_range = tl.arange(0, BLOCK_Q)
    key_range = tl.arange(0, BLOCK_K)
    columns = first_column + key_range
    k_mask = (columns < n_k)[:, None] & (dims < HEAD_DIM)[None, :]
    k_ptr += first_column.to(tl.int64) * k_row_stride
    v_ptr += first_column.to(tl.int64) * v_row_stride
    k = tl.load(k_ptr + key_range[:, None] * k_row_stride + dims[None, :], mask=k_mask, other=0.0)
    v = tl.load(v_ptr + key_range[:, None] * v_row_stride + dims[None, :], mask=k_mask, other=0.0)
    q_offsets = query_range[:, None] * q_row_stride + dims[None, :]
    grad_output_offsets = query_range[:, None] * output_row_stride + dims[None, :]
    grad_k = tl.full([BLOCK_K, BLOCK_D], 0.0, tl.float32)
    grad_v = tl.full([BLOCK_K, BLOCK_D], 0.0, tl.float32)

    for member in tl.range(0, group):  # the query heads that share this key head
        head = key_head * group + member
        skipped_rows = (seen_tile * BLOCK_Q).to(tl.int64)
        q_tile_ptr = q_ptr + head * q_head_stride + skipped_rows * q_row_stride
        grad_output_tile_ptr = grad_output_ptr + head * output_head_stride + skipped_rows * output_row_stride
        head_lse_ptr = lse_ptr + head * lse_head_stride
        head_delta_ptr = delta_ptr + head * lse_head_stride
        for full in tl.static_range(2):  # first the tiles on the diagonal, then those that all rows see whole
            if full:
                first_tile = full_tile
                last_tile = query_tiles
            else:
                first_tile = seen_tile
                last_tile = full_tile
            for query_tile in tl.range(first_tile, last_tile):
                rows = query_tile * BLOCK_Q + query_range
                q_mask = (rows < n_q)[:, None] & (dims < HEAD_DIM)[None, :]
                q = tl.load(q_tile_ptr + q_offsets, mask=q_mask, other=0.0)
                grad_output = tl.load(grad_output_tile_ptr + grad_output_offsets, mask=q_mask, other=0.0)
                q_tile_ptr += BLOCK_Q * q_row_stride
                grad_output_tile_ptr += BLOCK_Q * output_row_stride
                # L = +inf gives P = 0 in rows beyond the end. Rows that saw no key have L = -inf: they lie in
                # tiles on the diagonal, where the mask below sets P = 0.
                lse = tl.load(head_lse_ptr + rows, mask=rows < n_q, other=float("inf"))
                lse = lse * 1.4426950408889634
                delta = tl.load(head_delta_ptr + rows, mask=rows < n_q, other=0.0)

                # P^T = exp(scale K Q^T - L): transposed, so that it enters the next product from registers
                scores = tl.dot(k, tl.trans(q), input_precision="ieee")
                weights = tl.exp2(scores * scale_log2 - lse[None, :])
                if CAUSAL and full == 0:
                    weights = tl.where(columns[:, None] <= rows[None, :] + offset, weights, 0.0)
                # dV = P^T dO
                grad_v = tl.dot(weights.to(v.dtype), grad_output, grad_v, input_precision="ieee")
                # dP^T = V dO^T, dS^T = P^T * (dP^T - delta)
                grad_weights = tl.dot(v, tl.trans(grad_output), input_precision="ieee")
                grad_scores = weights * (grad_weights - delta[None, :])
                # dK = scale dS^T Q (the scale once, at the end)
                grad_k = tl.dot(grad_scores.to(q.dtype), q, grad_k, input_precision="ieee")

    grad_offsets = key_range[:, None] * grad_k_row_stride + dims[None, :]
    grad_k_ptr += first_column.to(tl.int64) * grad_k_row_stride
    grad_v_ptr += first_column.to(tl.int64) * grad_k_row_stride
    grad_k = grad_k * scale
    tl.store(grad_k_ptr + grad_offsets, grad_k.to(grad_k_ptr.dtype.element_ty), mask=k_mask)
    tl.store(grad_v_ptr + grad_offsets, grad_v.to(grad_v_ptr.dtype.element_ty), mask=k_mask)


@triton.jit(do_not_specialize=["n_q", "n_k"])
def flash_attention_grad_queries(
    q_ptr, k_ptr, v_ptr, grad_output_ptr, lse_ptr, delta_ptr, grad_q_ptr, cu_seqlens_q_ptr, cu_seqlens_k_ptr,
    q_batch_stride, q_head_stride, q_row_stride,
    k_batch_stride, k_head_stride, k_row_stride,
    v_batch_stride, v_head_stride, v_row_stride,
    output_batch_stride, output_head_stride, output_row_stride,
    lse_batch_stride, lse_head_stride,
    n_q, n_k, query_heads, group, scale, scale_log2,
    HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
    CAUSAL: tl.constexpr, VARLEN: tl.constexpr,
):  # fmt: skip
    # One program: one query tile of one head of one sequence, the last tiles first, as in the forward kernel.
    program = tl.program_id(0)
    query_tiles = (n_q + BLOCK_Q - 1) // BLOCK_Q
    query_tile = query_tiles - 1 - program % query_tiles
    head = (program // query_tiles % query_heads).to(tl.int64)
    batch = (program // query_tiles // query_heads).to(tl.int64)
    q_ptr += batch * q_batch_stride + head * q_head_stride
    k_ptr += batch * k_batch_stride + head // group * k_head_stride
    v_ptr += batch * v_batch_stride + head // group * v_head_stride
    grad_output_ptr += batch * output_batch_stride + head * output_head_stride
    grad_q_ptr += batch * output_batch_stride + head * output_head_stride
    lse_ptr += batch * lse_batch_stride + head * lse_head_stride
    delta_ptr += batch * lse_batch_stride + head * lse_head_stride
    if VARLEN:
        q_start = tl.load(cu_seqlens_q_ptr + batch).to(tl.int64)
        k_start = tl.load(cu_seqlens_k_ptr + batch).to(tl.int64)
        n_q = (tl.load(cu_seqlens_q_ptr + batch + 1) - q_start).to(tl.int32)
        n_k = (tl.load(cu_seqlens_k_ptr + batch + 1) - k_start).to(tl.int32)
        if query_tile * BLOCK_Q >= n_q:
            return
        q_ptr += q_start * q_row_stride
        k_ptr += k_start * k_row_stride
        v_ptr += k_start * v_row_stride
        grad_output_ptr += q_start * output_row_stride
        grad_q_ptr += q_start * output_row_stride
        lse_ptr += q_start
        delta_ptr += q_start

    # The same tiles in the same order as in the forward kernel.
    offset = n_k - n_q
    first_row = query_tile * BLOCK_Q
    last_row = tl.minimum(first_row + BLOCK_Q, n_q) - 1
    seen_by_all_rows = n_k
    seen_by_any_row = n_k
    if CAUSAL:
        seen_by_all_rows = tl.minimum(tl.maximum(first_row + 1 + offset, 0), n_k)
        seen_by_any_row = tl.minimum(tl.maximum(last_row + 1 + offset, 0), n_k)
    full_tiles = seen_by_all_rows // BLOCK_K
    visited_tiles = (seen_by_any_row + BLOCK_K - 1) // BLOCK_K

    dims = tl.arange(0, BLOCK_D)
    query_range = tl.arange(0, BLOCK_Q)
    key_range = tl.arange(0, BLOCK_K)
    rows = first_row + query_range
    q_mask = (rows < n_q)[:, None] & (dims < HEAD_DIM)[None, :]
    grad_output_offsets = query_range[:, None] * output_row_stride + dims[None, :]
    q_ptr += first_row.to(tl.int64) * q_row_stride
    grad_output_ptr += first_row.to(tl.int64) * output_row_stride
    grad_q_ptr += first_row.to(tl.int64) * output_row_stride
    q = tl.load(q_ptr + query_range[:, None] * q_row_stride + dims[None, :], mask=q_mask, other=0.0)
    grad_output = tl.load(grad_output_ptr + grad_output_offsets, mask=q_mask, other=0.0)
    lse = tl.load(lse_ptr + rows, mask=rows < n_q, other=float("inf"))
    lse = lse * 1.4426950408889634
    delta = tl.load(delta_ptr + rows, mask=rows < n_q, other=0.0)
    k_offsets = key_range[:, None] * k_row_stride + dims[None, :]
    v_offsets = key_range[:, None] * v_row_stride + dims[None, :]
    grad_q = tl.full([BLOCK_Q, BLOCK_D], 0.0, tl.float32)

    for masked in tl.static_range(2):
        if masked:
            first_tile = full_tiles
            last_tile = visited_tiles
        else:
            first_tile = full_tiles * 0
            last_tile = full_tiles
        for key_tile in tl.range(first_tile, last_tile):
            columns = key_tile * BLOCK_K + key_range
            if masked:
                tile_mask = (columns < n_k)[:, None] & (dims < HEAD_DIM)[None, :]
            elif HEAD_DIM == BLOCK_D:
                tile_mask = None
            else:
                tile_mask = (dims < HEAD_DIM)[None, :]
            k = tl.load(k_ptr + k_offsets, mask=tile_mask, other=None if tile_mask is None else 0.0)
            v = tl.load(v_ptr + v_offsets, mask=tile_mask, other=None if tile_mask is None else 0.0)
            k_ptr += BLOCK_K * k_row_stride
            v_ptr += BLOCK_K * v_row_stride

            # P = exp(scale Q K^T - L)
            scores = tl.dot(q, tl.trans(k), input_precision="ieee")
            weights = tl.exp2(scores * scale_log2 - lse[:, None])
            if masked:
                weights = tl.where(columns[None, :] < n_k, weights, 0.0)
                if CAUSAL:
                    weights = tl.where(columns[None, :] <= rows[:, None] + offset, weights, 0.0)
            # dP = dO V^T, dS = P * (dP - delta)
            grad_weights = tl.dot(grad_output, tl.trans(v), input_precision="ieee")
            grad_scores = weights * (grad_weights - delta[:, None])
            # dQ = scale dS K (the scale once, at the end)
            grad_q = tl.dot(grad_scores.to(k.dtype), k, grad_q, input_precision="ieee")

    grad_q = grad_q * scale
    tl.store(grad_q_ptr + grad_output_offsets, grad_q.to(grad_q_ptr.dtype.element_ty), mask=q_mask)


def backward(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    output: torch.Tensor,
    lse: torch.Tensor,
    grad_output: torch.Tensor,
    problem: Problem,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Launch the backward kernels: dQ, dK, dV from what `forward` took and returned, and dO.

    q, output, grad_output: (B, Hq, Nq, D), k and v: (B, Hkv, Nk, D), lse: (B, Hq, Nq). Gradients have the
    shapes and the type of q, k, v. dK and dV are summed over a group's query heads in float32.
    """
    if grad_output.stride() != output.stride():  # the kernels address O, dO and dQ by the same strides
        grad_output = torch.empty_like(output).copy_(grad_output)
    grad_q, grad_k = torch.empty_like(output), empty_like(k)
    grad_v, delta = torch.empty_like(grad_k), torch.empty_like(lse)
    sequences = problem.sequences(q.shape[0])
    shared = kernel_arguments(q, k, v, output, lse, problem)
    shared |= {"grad_output_ptr": grad_output, "delta_ptr": delta, "key_heads": k.shape[1]}

    _launch_delta(shared | {"n_q": q.shape[2]}, q.shape[0] * q.shape[1])
    shared |= {"grad_k_ptr": grad_k, "grad_v_ptr": grad_v} | strides("grad_k", grad_k, problem.packed)
    tuning.launch("grad_keys_values", flash_attention_grad_keys_values, "k", sequences * k.shape[1], shared)
    shared |= {"grad_q_ptr": grad_q}
    tuning.launch("grad_queries", flash_attention_grad_queries, "q", sequences * q.shape[1], shared)
    return grad_q, grad_k, grad_v


def _launch_delta(arguments: dict[str, Any], batch_times_heads: int) -> None:
    """delta = rowsum(dO * O), 64 rows a program; memory bandwidth limits it, so there is nothing to tune."""
    block = 64 if arguments["q_ptr"].is_cuda else tuning.LARGEST_INTERPRETED_BLOCK
    programs = triton.cdiv(arguments["n_q"], block) * batch_times_heads
    if programs > 0:
        tuning.launch_untuned(flash_attention_delta, programs, arguments, {"BLOCK_Q": block})
