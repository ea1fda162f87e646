# Triton declares that iterating over its ranges never returns.
# pyright: reportGeneralTypeIssues=false
"""The backward kernels: they recompute P tile by tile from the saved log-sum-exp L and store no N x N matrix.

FlashAttention-2 (Dao 2023, arXiv:2307.08691), Algorithm 2, with every gradient tile computed by one program,
so that no atomic addition is needed and the result is bitwise reproducible:

    delta = rowsum(dO * O) - dL                                  one program some rows
    dV = P^T dO,  dP = dO V^T,  dS = P * (dP - delta)
    dK = scale dS^T Q                                            one program a key tile, loop over query tiles
    dQ = scale dS K                                              one program a query tile, loop over key tiles

dL is the gradient of the log-sum-exp, where a caller uses it. L = log sum_j exp(S_j) has dL/dS_j = exp(S_j - L) =
P_j, so it adds P * dL to dS = P * (dP - rowsum(dO * O)): one subtraction from delta. Under a soft cap, whose slope is
1 - tanh^2(scale S / c), dS is multiplied by that slope too.

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
from kernels.scores import add_product, key_tiles_of, query_tiles_of, tanh


@triton.jit(do_not_specialize=["n_q"])
def flash_attention_delta(
    output_ptr, grad_output_ptr, lse_ptr, grad_lse_ptr, delta_ptr,
    output_batch_stride, output_head_stride, output_row_stride,
    lse_batch_stride, lse_head_stride,
    n_q, query_heads,
    VALUE_DIM: tl.constexpr, BLOCK_DV: tl.constexpr, BLOCK_Q: tl.constexpr,
):  # fmt: skip
    # One program: some rows of one head. Rows are independent here, so a pack is one long sequence.
    program = tl.program_id(0)
    query_tiles = (n_q + BLOCK_Q - 1) // BLOCK_Q
    head = (program // query_tiles % query_heads).to(tl.int64)
    batch = (program // query_tiles // query_heads).to(tl.int64)
    rows = program % query_tiles * BLOCK_Q + tl.arange(0, BLOCK_Q)
    value_dims = tl.arange(0, BLOCK_DV)
    row_offsets = (
        batch * output_batch_stride + head * output_head_stride + rows.to(tl.int64) * output_row_stride
    )
    offsets = row_offsets[:, None] + value_dims[None, :]
    mask = (rows < n_q)[:, None] & (value_dims < VALUE_DIM)[None, :]
    output = tl.load(output_ptr + offsets, mask=mask, other=0.0).to(tl.float32)
    grad_output = tl.load(grad_output_ptr + offsets, mask=mask, other=0.0).to(tl.float32)
    lse_rows = batch * lse_batch_stride + head * lse_head_stride + rows
    lse = tl.load(lse_ptr + lse_rows, mask=rows < n_q, other=0.0)
    grad_lse = tl.load(grad_lse_ptr + lse_rows, mask=rows < n_q, other=0.0)
    # delta = rowsum(dO * O) - dL; of a row that sees no key L is constant, whatever its gradient (NaN where two
    # such L are merged)
    grad_lse = tl.where(lse == float("-inf"), 0.0, grad_lse)
    delta = tl.sum(output * grad_output, 1) - grad_lse
    tl.store(delta_ptr + lse_rows, delta, mask=rows < n_q)


@triton.jit(do_not_specialize=["n_q", "n_k", "window_left", "window_right"])
def flash_attention_grad_keys_values(
    q_ptr, k_ptr, v_ptr, grad_output_ptr, lse_ptr, delta_ptr, grad_k_ptr, grad_v_ptr,
    cu_seqlens_q_ptr, cu_seqlens_k_ptr,
    q_batch_stride, q_head_stride, q_row_stride,
    k_batch_stride, k_head_stride, k_row_stride,
    v_batch_stride, v_head_stride, v_row_stride,
    output_batch_stride, output_head_stride, output_row_stride,
    grad_k_batch_stride, grad_k_head_stride, grad_k_row_stride,
    grad_v_batch_stride, grad_v_head_stride, grad_v_row_stride,
    lse_batch_stride, lse_head_stride,
    n_q, n_k, window_left, window_right, key_heads, group, scale, scale_log2, cap_scale,
    HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr, VALUE_DIM: tl.constexpr, BLOCK_DV: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
    BOUND_LEFT: tl.constexpr, BOUND_RIGHT: tl.constexpr, SOFTCAP: tl.constexpr, VARLEN: tl.constexpr,
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
    grad_v_ptr += batch * grad_v_batch_stride + key_head * grad_v_head_stride
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
        grad_v_ptr += k_start * grad_v_row_stride
        lse_ptr += q_start
        delta_ptr += q_start

    offset = n_k - n_q
    first_column = key_tile * BLOCK_K
    last_column = tl.minimum(first_column + BLOCK_K, n_k) - 1
    begin, full_begin, full_end, end = query_tiles_of(
        first_column, last_column, offset, n_q, window_left, window_right, BLOCK_Q, BOUND_LEFT, BOUND_RIGHT
    )

    dims = tl.arange(0, BLOCK_D)
    query_range = tl.arange(0, BLOCK_Q)
    key_range = tl.arange(0, BLOCK_K)
    columns = first_column + key_range
    value_dims = tl.arange(0, BLOCK_DV)
    k_mask = (columns < n_k)[:, None] & (dims < HEAD_DIM)[None, :]
    v_mask = (columns < n_k)[:, None] & (value_dims < VALUE_DIM)[None, :]
    k_ptr += first_column.to(tl.int64) * k_row_stride
    v_ptr += first_column.to(tl.int64) * v_row_stride
    k = tl.load(k_ptr + key_range[:, None] * k_row_stride + dims[None, :], mask=k_mask, other=0.0)
    v = tl.load(v_ptr + key_range[:, None] * v_row_stride + value_dims[None, :], mask=v_mask, other=0.0)
    q_offsets = query_range[:, None] * q_row_stride + dims[None, :]
    grad_output_offsets = query_range[:, None] * output_row_stride + value_dims[None, :]
    grad_k = tl.full([BLOCK_K, BLOCK_D], 0.0, tl.float32)
    grad_v = tl.full([BLOCK_K, BLOCK_DV], 0.0, tl.float32)

    for member in tl.range(0, group):  # the query heads that share this key head
        head = key_head * group + member
        skipped_rows = (begin * BLOCK_Q).to(tl.int64)
        q_tile_ptr = q_ptr + head * q_head_stride + skipped_rows * q_row_stride
        grad_output_tile_ptr = grad_output_ptr + head * output_head_stride + skipped_rows * output_row_stride
        head_lse_ptr = lse_ptr + head * lse_head_stride
        head_delta_ptr = delta_ptr + head * lse_head_stride
        # The tiles on the diagonal, those whose rows all see the whole tile, then those at the window's left edge.
        for part in tl.static_range(2 + BOUND_LEFT):
            if part == 0:
                first_tile = begin
                last_tile = full_begin
            elif part == 1:
                first_tile = full_begin
                last_tile = full_end
            else:
                first_tile = full_end
                last_tile = end
            for query_tile in tl.range(first_tile, last_tile):
                rows = query_tile * BLOCK_Q + query_range
                q_mask = (rows < n_q)[:, None] & (dims < HEAD_DIM)[None, :]
                output_mask = (rows < n_q)[:, None] & (value_dims < VALUE_DIM)[None, :]
                q = tl.load(q_tile_ptr + q_offsets, mask=q_mask, other=0.0)
                grad_output = tl.load(grad_output_tile_ptr + grad_output_offsets, mask=output_mask, other=0.0)
                q_tile_ptr += BLOCK_Q * q_row_stride
                grad_output_tile_ptr += BLOCK_Q * output_row_stride
                # L = +inf gives P = 0 in rows beyond the end. Rows that saw no key have L = -inf: they lie in
                # tiles on the diagonal or at the left edge, where the mask below sets P = 0.
                lse = tl.load(head_lse_ptr + rows, mask=rows < n_q, other=float("inf"))
                lse = lse * 1.4426950408889634
                delta = tl.load(head_delta_ptr + rows, mask=rows < n_q, other=0.0)

                # P^T = exp(scale K Q^T - L): transposed, so that it enters the next product from registers
                scores = tl.dot(k, tl.trans(q), input_precision="ieee")
                if SOFTCAP:
                    scores = tanh(scores * cap_scale)
                weights = tl.exp2(scores * scale_log2 - lse[None, :])
                if BOUND_RIGHT and part != 1:
                    seen = columns[:, None] <= rows[None, :] + offset + window_right
                    weights = tl.where(seen, weights, 0.0)
                if BOUND_LEFT and part != 1:
                    seen = columns[:, None] >= rows[None, :] + offset - window_left
                    weights = tl.where(seen, weights, 0.0)
                # dV = P^T dO
                grad_v = add_product(weights.to(v.dtype), grad_output, grad_v)
                # dP^T = V dO^T, dS^T = P^T * (dP^T - delta)
                grad_weights = tl.dot(v, tl.trans(grad_output), input_precision="ieee")
                grad_scores = weights * (grad_weights - delta[None, :])
                if SOFTCAP:
                    grad_scores = grad_scores * (1.0 - scores * scores)
                # dK = scale dS^T Q (the scale once, at the end)
                grad_k = add_product(grad_scores.to(q.dtype), q, grad_k)

    grad_k_ptr += first_column.to(tl.int64) * grad_k_row_stride
    grad_v_ptr += first_column.to(tl.int64) * grad_v_row_stride
    grad_k_offsets = key_range[:, None] * grad_k_row_stride + dims[None, :]
    grad_v_offsets = key_range[:, None] * grad_v_row_stride + value_dims[None, :]
    grad_k = grad_k * scale
    tl.store(grad_k_ptr + grad_k_offsets, grad_k.to(grad_k_ptr.dtype.element_ty), mask=k_mask)
    tl.store(grad_v_ptr + grad_v_offsets, grad_v.to(grad_v_ptr.dtype.element_ty), mask=v_mask)


@triton.jit(do_not_specialize=["n_q", "n_k", "window_left", "window_right"])
def flash_attention_grad_queries(
    q_ptr, k_ptr, v_ptr, grad_output_ptr, lse_ptr, delta_ptr, grad_q_ptr, cu_seqlens_q_ptr, cu_seqlens_k_ptr,
    q_batch_stride, q_head_stride, q_row_stride,
    k_batch_stride, k_head_stride, k_row_stride,
    v_batch_stride, v_head_stride, v_row_stride,
    output_batch_stride, output_head_stride, output_row_stride,
    grad_q_batch_stride, grad_q_head_stride, grad_q_row_stride,
    lse_batch_stride, lse_head_stride,
    n_q, n_k, window_left, window_right, query_heads, group, scale, scale_log2, cap_scale,
    HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr, VALUE_DIM: tl.constexpr, BLOCK_DV: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
    BOUND_LEFT: tl.constexpr, BOUND_RIGHT: tl.constexpr, SOFTCAP: tl.constexpr, VARLEN: tl.constexpr,
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
    grad_q_ptr += batch * grad_q_batch_stride + head * grad_q_head_stride
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
        grad_q_ptr += q_start * grad_q_row_stride
        lse_ptr += q_start
        delta_ptr += q_start

    # The same tiles in the same order as in the forward kernel.
    offset = n_k - n_q
    first_row = query_tile * BLOCK_Q
    last_row = tl.minimum(first_row + BLOCK_Q, n_q) - 1
    begin, full_begin, full_end, end = key_tiles_of(
        first_row, last_row, offset, n_k, window_left, window_right, BLOCK_K, BOUND_LEFT, BOUND_RIGHT
    )

    value_dims = tl.arange(0, BLOCK_DV)
    dims = tl.arange(0, BLOCK_D)
    query_range = tl.arange(0, BLOCK_Q)
    key_range = tl.arange(0, BLOCK_K)
    rows = first_row + query_range
    q_mask = (rows < n_q)[:, None] & (dims < HEAD_DIM)[None, :]
    output_mask = (rows < n_q)[:, None] & (value_dims < VALUE_DIM)[None, :]
    grad_output_offsets = query_range[:, None] * output_row_stride + value_dims[None, :]
    grad_q_offsets = query_range[:, None] * grad_q_row_stride + dims[None, :]
    q_ptr += first_row.to(tl.int64) * q_row_stride
    grad_output_ptr += first_row.to(tl.int64) * output_row_stride
    grad_q_ptr += first_row.to(tl.int64) * grad_q_row_stride
    q = tl.load(q_ptr + query_range[:, None] * q_row_stride + dims[None, :], mask=q_mask, other=0.0)
    grad_output = tl.load(grad_output_ptr + grad_output_offsets, mask=output_mask, other=0.0)
    lse = tl.load(lse_ptr + rows, mask=rows < n_q, other=float("inf"))
    lse = lse * 1.4426950408889634
    delta = tl.load(delta_ptr + rows, mask=rows < n_q, other=0.0)
    k_offsets = key_range[:, None] * k_row_stride + dims[None, :]
    v_offsets = key_range[:, None] * v_row_stride + value_dims[None, :]
    k_ptr += (begin * BLOCK_K).to(tl.int64) * k_row_stride
    v_ptr += (begin * BLOCK_K).to(tl.int64) * v_row_stride
    grad_q = tl.full([BLOCK_Q, BLOCK_D], 0.0, tl.float32)

    for part in tl.static_range(1 - BOUND_LEFT, 3):
        if part == 0:
            first_tile = begin
            last_tile = full_begin
        elif part == 1:
            first_tile = full_begin
            last_tile = full_end
        else:
            first_tile = full_end
            last_tile = end
        for key_tile in tl.range(first_tile, last_tile):
            columns = key_tile * BLOCK_K + key_range
            if part != 1:
                k_mask = (columns < n_k)[:, None] & (dims < HEAD_DIM)[None, :]
                v_mask = (columns < n_k)[:, None] & (value_dims < VALUE_DIM)[None, :]
            else:
                k_mask = None if HEAD_DIM == BLOCK_D else (dims < HEAD_DIM)[None, :]
                v_mask = None if VALUE_DIM == BLOCK_DV else (value_dims < VALUE_DIM)[None, :]
            k = tl.load(k_ptr + k_offsets, mask=k_mask, other=None if k_mask is None else 0.0)
            v = tl.load(v_ptr + v_offsets, mask=v_mask, other=None if v_mask is None else 0.0)
            k_ptr += BLOCK_K * k_row_stride
            v_ptr += BLOCK_K * v_row_stride

            # P = exp(scale Q K^T - L)
            scores = tl.dot(q, tl.trans(k), input_precision="ieee")
            if SOFTCAP:
                scores = tanh(scores * cap_scale)
            weights = tl.exp2(scores * scale_log2 - lse[:, None])
            if part != 1:
                weights = tl.where(columns[None, :] < n_k, weights, 0.0)
                if BOUND_RIGHT:
                    seen = columns[None, :] <= rows[:, None] + offset + window_right
                    weights = tl.where(seen, weights, 0.0)
                if BOUND_LEFT:
                    seen = columns[None, :] >= rows[:, None] + offset - window_left
                    weights = tl.where(seen, weights, 0.0)
            # dP = dO V^T, dS = P * (dP - delta)
            grad_weights = tl.dot(grad_output, tl.trans(v), input_precision="ieee")
            grad_scores = weights * (grad_weights - delta[:, None])
            if SOFTCAP:
                grad_scores = grad_scores * (1.0 - scores * scores)
            # dQ = scale dS K (the scale once, at the end)
            grad_q = add_product(grad_scores.to(k.dtype), k, grad_q)

    grad_q = grad_q * scale
    tl.store(grad_q_ptr + grad_q_offsets, grad_q.to(grad_q_ptr.dtype.element_ty), mask=q_mask)


def backward(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    output: torch.Tensor,
    lse: torch.Tensor,
    grad_output: torch.Tensor,
    grad_lse: torch.Tensor,
    problem: Problem,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Launch the backward kernels: dQ, dK, dV from what `forward` took and returned, and the gradients dO and dL.

    q: (B, Hq, Nq, D), k: (B, Hkv, Nk, D), v: (B, Hkv, Nk, Dv), output, grad_output: (B, Hq, Nq, Dv), lse, grad_lse:
    (B, Hq, Nq). Gradients have the shapes and the type of q, k, v. dK and dV are summed over a group's query heads
    in float32.
    """
    if grad_output.stride() != output.stride():  # the kernels address O and dO, L and dL by the same strides
        grad_output = torch.empty_like(output).copy_(grad_output)
    grad_lse = grad_lse.contiguous()
    gradients = {"grad_q": empty_like(q, q.shape[3]), "grad_k": empty_like(k, k.shape[3])}
    gradients |= {"grad_v": empty_like(v, v.shape[3])}
    sequences = problem.sequences(q.shape[0])
    shared = kernel_arguments(q, k, v, output, lse, problem)
    shared |= {"grad_output_ptr": grad_output, "grad_lse_ptr": grad_lse, "delta_ptr": torch.empty_like(lse)}
    shared |= {"key_heads": k.shape[1]}
    for name, gradient in gradients.items():
        shared |= {f"{name}_ptr": gradient} | strides(name, gradient, problem.packed)

    _launch_delta(shared | {"n_q": q.shape[2]}, q.shape[0] * q.shape[1])
    tuning.launch("grad_keys_values", flash_attention_grad_keys_values, "k", sequences * k.shape[1], shared)
    tuning.launch("grad_queries", flash_attention_grad_queries, "q", sequences * q.shape[1], shared)
    return gradients["grad_q"], gradients["grad_k"], gradients["grad_v"]


def _launch_delta(arguments: dict[str, Any], batch_times_heads: int) -> None:
    """delta, 64 rows a program; memory bandwidth limits it, so there is nothing to tune."""
    block = 64 if arguments["q_ptr"].is_cuda else tuning.LARGEST_INTERPRETED_BLOCK
    programs = triton.cdiv(arguments["n_q"], block) * batch_times_heads
    if programs > 0:
        tuning.launch_untuned(flash_attention_delta, programs, arguments, {"BLOCK_Q": block})
