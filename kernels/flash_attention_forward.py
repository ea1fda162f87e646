# Triton declares that iterating over its ranges never returns.
# pyright: reportGeneralTypeIssues=false
"""The forward kernel: tiled attention with an online softmax, one source for GPU, interpreter and trace.

FlashAttention-2 (Dao 2023, arXiv:2307.08691), Algorithm 1. One program owns one tile of BLOCK_Q query rows
and walks over the tiles of BLOCK_K keys that its rows may see. Per row it keeps the running maximum m, the
running denominator l and the un-normalised accumulator acc; a new tile rescales what is there by alpha =
exp(m - m_new).

Inside the kernel, scores are in units of ln 2 (scale * log2(e) replaces scale), since the GPU has exp2 but no
exp: exp(x) = exp2(x * log2(e)). The log-sum-exp and the traced m are stored in natural units.

A sliding window (Mistral: Jiang et al. 2023, arXiv:2310.06825, section 2) hides keys on both sides of the diagonal;
the tiles that it hides wholly are skipped. A soft cap c (Gemma 2, arXiv:2408.00118, section 2) makes a score s to
c tanh(s / c).
"""

from typing import Any

import torch
import triton
import triton.language as tl

from kernels import tuning
from kernels.problem import Problem
from kernels.scores import key_tiles_of, tanh


@triton.jit(do_not_specialize=["n_q", "n_k", "window_left", "window_right"])
def flash_attention_forward(
    q_ptr, k_ptr, v_ptr, output_ptr, lse_ptr, cu_seqlens_q_ptr, cu_seqlens_k_ptr, trace_ptr,
    q_batch_stride, q_head_stride, q_row_stride,
    k_batch_stride, k_head_stride, k_row_stride,
    v_batch_stride, v_head_stride, v_row_stride,
    output_batch_stride, output_head_stride, output_row_stride,
    lse_batch_stride, lse_head_stride,
    n_q, n_k, window_left, window_right, query_heads, group, scale_log2, cap_scale,
    HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr, VALUE_DIM: tl.constexpr, BLOCK_DV: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
    BOUND_LEFT: tl.constexpr, BOUND_RIGHT: tl.constexpr, SOFTCAP: tl.constexpr, VARLEN: tl.constexpr,
    TRACE: tl.constexpr, BREAK_IT: tl.constexpr,
):  # fmt: skip
    # One program: one query tile of one head of one sequence. Under a causal mask the last tiles have the
    # most work, so they start first.
    program = tl.program_id(0)
    query_tiles = (n_q + BLOCK_Q - 1) // BLOCK_Q
    query_tile = query_tiles - 1 - program % query_tiles
    head = (program // query_tiles % query_heads).to(tl.int64)
    batch = (program // query_tiles // query_heads).to(tl.int64)
    q_ptr += batch * q_batch_stride + head * q_head_stride
    k_ptr += batch * k_batch_stride + head // group * k_head_stride
    v_ptr += batch * v_batch_stride + head // group * v_head_stride
    output_ptr += batch * output_batch_stride + head * output_head_stride
    lse_ptr += batch * lse_batch_stride + head * lse_head_stride
    if VARLEN:  # `batch` numbers the sequences of the pack; replace the longest lengths by this sequence's
        q_start = tl.load(cu_seqlens_q_ptr + batch).to(tl.int64)
        k_start = tl.load(cu_seqlens_k_ptr + batch).to(tl.int64)
        n_q = (tl.load(cu_seqlens_q_ptr + batch + 1) - q_start).to(tl.int32)
        n_k = (tl.load(cu_seqlens_k_ptr + batch + 1) - k_start).to(tl.int32)
        if query_tile * BLOCK_Q >= n_q:
            return
        q_ptr += q_start * q_row_stride
        k_ptr += k_start * k_row_stride
        v_ptr += k_start * v_row_stride
        output_ptr += q_start * output_row_stride
        lse_ptr += q_start

    # Row i sees the columns i + offset - window_left <= j <= i + offset + window_right: the diagonal, j = i + offset,
    # ends in the bottom right corner.
    offset = n_k - n_q
    if BREAK_IT == "top_left":
        offset = 0
    first_row = query_tile * BLOCK_Q
    last_row = tl.minimum(first_row + BLOCK_Q, n_q) - 1
    begin, full_begin, full_end, end = key_tiles_of(
        first_row, last_row, offset, n_k, window_left, window_right, BLOCK_K, BOUND_LEFT, BOUND_RIGHT
    )
    if BREAK_IT == "finite_sentinel":  # the sentinel shows only if rows that see no key still visit a tile
        end = tl.minimum(tl.maximum(end, begin + 1), (n_k + BLOCK_K - 1) // BLOCK_K)

    # A masked score is -inf, and so is the maximum over no scores.
    hidden = float("-inf")
    m = tl.full([BLOCK_Q], float("-inf"), tl.float32)
    if BREAK_IT == "finite_sentinel":
        hidden = -1.0e6 * 1.4426950408889634 / scale_log2  # -1e6 once scaled, in natural units
        m = tl.full([BLOCK_Q], 0.0, tl.float32) + hidden * scale_log2
    l = tl.full([BLOCK_Q], 0.0, tl.float32)
    acc = tl.full([BLOCK_Q, BLOCK_DV], 0.0, tl.float32)

    dims = tl.arange(0, BLOCK_D)
    value_dims = tl.arange(0, BLOCK_DV)
    rows = first_row + tl.arange(0, BLOCK_Q)
    key_range = tl.arange(0, BLOCK_K)
    row_offsets = tl.arange(0, BLOCK_Q)[:, None] * q_row_stride + dims[None, :]
    k_offsets = key_range[:, None] * k_row_stride + dims[None, :]
    v_offsets = key_range[:, None] * v_row_stride + value_dims[None, :]
    k_step = BLOCK_K * k_row_stride
    v_step = BLOCK_K * v_row_stride
    k_ptr += begin.to(tl.int64) * k_step
    v_ptr += begin.to(tl.int64) * v_step
    q_mask = (rows < n_q)[:, None] & (dims < HEAD_DIM)[None, :]
    output_mask = (rows < n_q)[:, None] & (value_dims < VALUE_DIM)[None, :]
    q = tl.load(q_ptr + first_row.to(tl.int64) * q_row_stride + row_offsets, mask=q_mask, other=0.0)
    records = tl.arange(0, BLOCK_Q) * (4 + VALUE_DIM)
    accumulator_records = records[:, None] + (4 + value_dims[None, :])
    visited = tl.full([BLOCK_Q], 1.0, tl.float32)
    if TRACE:  # the records of this query tile's key tiles follow one another
        trace_ptr += query_tile * ((n_k + BLOCK_K - 1) // BLOCK_K) * (BLOCK_Q * (4 + VALUE_DIM))

    # The tiles at the left edge of the window, those that every row sees whole, then those on the diagonal or at
    # the ragged end: only the first and the last pay for masks.
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
            k_ptr += k_step
            v_ptr += v_step

            # S = Q K^T (the scale is applied below, fused into the exponent)
            scores = tl.dot(q, tl.trans(k), input_precision="ieee")  # step: scores
            if SOFTCAP:  # c tanh(scale S / c); c takes the place of the scale below
                scores = tanh(scores * cap_scale)
            if part != 1:
                if BOUND_RIGHT and BREAK_IT != "whole_tiles":
                    seen = columns[None, :] <= rows[:, None] + offset + window_right
                    scores = tl.where(seen, scores, hidden)
                if BOUND_LEFT and BREAK_IT != "whole_tiles":
                    seen = columns[None, :] >= rows[:, None] + offset - window_left
                    scores = tl.where(seen, scores, hidden)
                scores = tl.where(columns[None, :] < n_k, scores, float("-inf"))

            # m_new = max(m, rowmax(scale S))
            m_new = tl.maximum(m, tl.max(scores, 1) * scale_log2)  # step: maximum
            if BREAK_IT == "no_max":
                m_new = tl.full([BLOCK_Q], 0.0, tl.float32)
            # P = exp(scale S - m_new), alpha = exp(m - m_new)
            subtracted = m_new
            if part != 1:  # in a row that has seen no key yet exp(-inf - -inf) would be NaN, so subtract 0
                subtracted = tl.where(m_new == float("-inf"), 0.0, m_new)
            weights = tl.exp2(scores * scale_log2 - subtracted[:, None])  # step: weights
            alpha = tl.exp2(m - subtracted)
            if part != 1:
                alpha = tl.where(m_new == float("-inf"), 1.0, alpha)
            if BREAK_IT == "no_rescale":
                alpha = tl.full([BLOCK_Q], 1.0, tl.float32)

            # l = alpha l + rowsum(P), acc = alpha acc + P V
            l = l * alpha + tl.sum(weights, 1)
            acc = acc * alpha[:, None]  # step: rescale
            acc = tl.dot(weights.to(v.dtype), v, acc, input_precision="ieee")  # step: accumulate
            m = m_new
            if BREAK_IT == "fp16_accumulator":
                acc = acc.to(tl.float16).to(tl.float32)
                l = l.to(tl.float16).to(tl.float32)

            if TRACE:  # a record [visited, m, l, alpha, acc] for each row; m in natural units
                tile_ptr = trace_ptr + key_tile * (BLOCK_Q * (4 + VALUE_DIM))
                tl.store(tile_ptr + records, visited, mask=rows < n_q)
                tl.store(tile_ptr + (records + 1), m * 0.6931471805599453, mask=rows < n_q)
                tl.store(tile_ptr + (records + 2), l, mask=rows < n_q)
                tl.store(tile_ptr + (records + 3), alpha, mask=rows < n_q)
                tl.store(tile_ptr + accumulator_records, acc, mask=output_mask)

    # O = acc / l, L = m + log(l); a row that saw no key has l = 0: its output is 0, its log-sum-exp -inf
    divisor = tl.where(l == 0.0, 1.0, l)
    output = acc / divisor[:, None]  # step: finish
    lse = tl.where(l == 0.0, float("-inf"), (m + tl.log2(divisor)) * 0.6931471805599453)
    output_offsets = tl.arange(0, BLOCK_Q)[:, None] * output_row_stride + value_dims[None, :]
    output_ptr += first_row.to(tl.int64) * output_row_stride
    tl.store(output_ptr + output_offsets, output.to(output_ptr.dtype.element_ty), mask=output_mask)
    tl.store(lse_ptr + rows, lse, mask=rows < n_q)


def forward(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    problem: Problem,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Launch the forward kernel on checked arguments, on a Hopper GPU its fast twin where that takes them.

    q: (B, Hq, Nq, D), k: (B, Hkv, Nk, D), v: (B, Hkv, Nk, Dv), the last dimension contiguous; for a pack B = 1,
    and Nq, Nk are the packed lengths. Returns the output (B, Hq, Nq, Dv) and the natural log-sum-exp (B, Hq, Nq)
    float32.
    """
    output = empty_like(q, v.shape[3])
    lse = torch.empty(q.shape[:3], dtype=torch.float32, device=q.device)
    if q.is_cuda:
        from kernels import flash_attention_hopper as hopper

        if hopper.takes_problem(q, k, v, problem):
            with tuning.on_device(q):
                hopper.launch_forward(q, k, v, output, lse, problem)
            return output, lse
    arguments = kernel_arguments(q, k, v, output, lse, problem)
    arguments |= {"trace_ptr": None, "TRACE": False, "BREAK_IT": "none"}
    sequences = problem.sequences(q.shape[0])
    tuning.launch("forward", flash_attention_forward, "q", sequences * q.shape[1], arguments)
    return output, lse


def forward_trace(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    problem: Problem,
    *,
    block_q: int,
    block_k: int,
    break_it: str,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Launch the same kernel on one head, with tiles of a given size, and record its state after every tile.

    q: (1, 1, Nq, D), k: (1, 1, Nk, D), v: (1, 1, Nk, Dv), float32. Returns the output (1, 1, Nq, Dv), the
    log-sum-exp (1, 1, Nq) and the records (query_tiles, key_tiles, block_q, 4 + Dv): visited, m, l, alpha,
    accumulator.
    """
    n_q, n_k, value_dim = q.shape[2], k.shape[2], v.shape[3]
    query_tiles, key_tiles = triton.cdiv(n_q, block_q), triton.cdiv(n_k, block_k)
    records = torch.zeros(
        (query_tiles, key_tiles, block_q, 4 + value_dim), dtype=torch.float32, device=q.device
    )
    output = empty_like(q, value_dim)
    lse = torch.empty(q.shape[:3], dtype=torch.float32, device=q.device)
    arguments = kernel_arguments(q, k, v, output, lse, problem)
    arguments |= {"trace_ptr": records, "TRACE": True, "BREAK_IT": break_it}
    if query_tiles > 0:
        # Fused multiply-adds would round differently from the steps that the page shows one by one.
        options = {"BLOCK_Q": block_q, "BLOCK_K": block_k, "num_stages": 1, "enable_fp_fusion": False}
        tuning.launch_untuned(flash_attention_forward, query_tiles, arguments, options)
    return output, lse, records


def kernel_arguments(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    output: torch.Tensor,
    lse: torch.Tensor,
    problem: Problem,
) -> dict[str, Any]:
    """The arguments of both the forward and the backward kernels: pointers, strides, sizes, mask and scale.

    A pack has no batch stride: cu_seqlens gives the first row of each sequence.
    """
    packed = problem.packed
    arguments: dict[str, Any] = {"q_ptr": q, "k_ptr": k, "v_ptr": v, "output_ptr": output, "lse_ptr": lse}
    arguments |= {"cu_seqlens_q_ptr": problem.cu_seqlens_q, "cu_seqlens_k_ptr": problem.cu_seqlens_k}
    for name, tensor in (("q", q), ("k", k), ("v", v), ("output", output)):
        arguments |= strides(name, tensor, packed)
    arguments |= {"lse_batch_stride": 0 if packed else lse.stride(0), "lse_head_stride": lse.stride(1)}
    arguments |= {"n_q": problem.max_seqlen_q, "n_k": problem.max_seqlen_k}
    arguments |= {"query_heads": q.shape[1], "group": q.shape[1] // max(1, k.shape[1])}
    arguments |= {"HEAD_DIM": q.shape[3], "BLOCK_D": tuning.padded_head_dim(q.shape[3])}
    arguments |= {"VALUE_DIM": v.shape[3], "BLOCK_DV": tuning.padded_head_dim(v.shape[3])}
    arguments |= {"window_left": problem.window_left, "window_right": problem.window_right}
    arguments |= {"BOUND_LEFT": problem.window_left >= 0, "BOUND_RIGHT": problem.window_right >= 0}
    arguments |= {"scale": problem.scale, "scale_log2": problem.scale_log2, "cap_scale": problem.cap_scale}
    arguments |= {"SOFTCAP": problem.softcap > 0, "VARLEN": packed}
    return arguments


def strides(name: str, tensor: torch.Tensor, packed: bool) -> dict[str, int]:
    """The strides of a (B, H, N, D) tensor, in elements, under the names that the kernels give them."""
    return {
        f"{name}_batch_stride": 0 if packed else tensor.stride(0),
        f"{name}_head_stride": tensor.stride(1),
        f"{name}_row_stride": tensor.stride(2),
    }


def empty_like(tensor: torch.Tensor, last: int) -> torch.Tensor:
    """An empty (B, H, N, last) tensor whose dimensions lie in memory in the order of `tensor`'s, but the last one
    innermost."""
    outer = sorted(range(3), key=tensor.stride, reverse=True)
    return torch.empty_permuted(
        (*tensor.shape[:3], last), (*outer, 3), dtype=tensor.dtype, device=tensor.device
    )
