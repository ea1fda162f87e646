# Triton declares that iterating over its ranges never returns.
# pyright: reportGeneralTypeIssues=false
"""The decoding kernels: one query token a sequence, its cache divided into splits, and the splits merged.

Flash-Decoding (Dao, Haziza, Massa, Sizov 2023, "Flash-Decoding for long-context inference"). Decoding has one row of
queries, so the tiles of queries that keep a GPU busy in training are missing. Instead, the keys are divided: one
program owns one split of one key head's keys and computes attention over them with an online softmax, for all query
heads that share the key head. A second kernel merges the splits.

With MLA (DeepSeek-V2, arXiv:2405.04434, section 2.1) a token's cache is one latent c and one RoPE key, shared by all
heads. With the up-projections absorbed into the query and the output, the latent is key and value at once: the score
is q_latent . c + q_rope . k_rope, the output a weighted sum of latents. So a tile of latents is loaded once for both.
"""

from typing import Any

import torch
import triton
import triton.language as tl

from kernels import tuning
from kernels.problem import LOG2_E

SHORTEST_SPLIT = 256  # keys; below, writing and merging a partial output costs more than reading its keys
WIDEST_PAIR = 256  # numbers of a key; a program with wider tiles has a multiprocessor to itself
SPLITS_MERGED_TOGETHER = 16


@triton.jit(do_not_specialize=["n_k", "splits"])
def flash_decoding(
    q_ptr, q_rope_ptr, k_ptr, k_rope_ptr, v_ptr, lengths_ptr, partial_ptr, partial_lse_ptr,
    q_batch_stride, q_head_stride,
    q_rope_batch_stride, q_rope_head_stride,
    k_batch_stride, k_head_stride, k_row_stride,
    k_rope_batch_stride, k_rope_row_stride,
    v_batch_stride, v_head_stride, v_row_stride,
    n_k, key_heads, group, splits, scale_log2,
    HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr, VALUE_DIM: tl.constexpr, BLOCK_DV: tl.constexpr,
    ROPE_DIM: tl.constexpr, BLOCK_ROPE: tl.constexpr,
    LATENT: tl.constexpr, RAGGED: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    # One program: one split of the keys of one key head, for BLOCK_Q of the query heads that share it. Programs that
    # read the same keys for other query heads are neighbours, so that the L2 cache serves all but the first.
    program = tl.program_id(0)
    query_tiles = (group + BLOCK_Q - 1) // BLOCK_Q
    query_tile = program % query_tiles
    split = program // query_tiles % splits
    key_head = (program // query_tiles // splits % key_heads).to(tl.int64)
    batch = (program // query_tiles // splits // key_heads).to(tl.int64)

    # The split's keys, from `first` to `end`: whole tiles, as many for every split of this sequence.
    length = n_k
    if RAGGED:
        length = tl.minimum(tl.maximum(tl.load(lengths_ptr + batch), 0), n_k)
    tiles = (length + BLOCK_K - 1) // BLOCK_K
    keys_a_split = (tiles + splits - 1) // splits * BLOCK_K
    first = tl.minimum(split * keys_a_split, length)
    end = tl.minimum(first + keys_a_split, length)

    # A tile of query heads in place of query rows; tl.dot wants 16, so the rows beyond the group are 0.
    members = query_tile * BLOCK_Q + tl.arange(0, BLOCK_Q)
    heads = key_head * group + members
    in_group = members < group
    dims = tl.arange(0, BLOCK_D)
    value_dims = tl.arange(0, BLOCK_DV)
    rope_dims = tl.arange(0, BLOCK_ROPE)
    q_ptrs = q_ptr + batch * q_batch_stride + heads[:, None] * q_head_stride + dims[None, :]
    q = tl.load(q_ptrs, mask=in_group[:, None] & (dims < HEAD_DIM)[None, :], other=0.0)
    if LATENT:
        q_rope_ptrs = q_rope_ptr + batch * q_rope_batch_stride
        q_rope_ptrs += heads[:, None] * q_rope_head_stride + rope_dims[None, :]
        q_rope_mask = in_group[:, None] & (rope_dims < ROPE_DIM)[None, :]
        q_rope = tl.load(q_rope_ptrs, mask=q_rope_mask, other=0.0)

    key_range = tl.arange(0, BLOCK_K)
    first_row = first.to(tl.int64)
    k_ptr += batch * k_batch_stride + key_head * k_head_stride + first_row * k_row_stride
    k_offsets = key_range[:, None] * k_row_stride + dims[None, :]
    k_step = BLOCK_K * k_row_stride
    if LATENT:
        k_rope_ptr += batch * k_rope_batch_stride + first_row * k_rope_row_stride
        k_rope_offsets = key_range[:, None] * k_rope_row_stride + rope_dims[None, :]
        k_rope_step = BLOCK_K * k_rope_row_stride
    else:
        v_ptr += batch * v_batch_stride + key_head * v_head_stride + first_row * v_row_stride
        v_offsets = key_range[:, None] * v_row_stride + value_dims[None, :]
        v_step = BLOCK_K * v_row_stride

    m = tl.full([BLOCK_Q], float("-inf"), tl.float32)
    l = tl.full([BLOCK_Q], 0.0, tl.float32)
    acc = tl.full([BLOCK_Q, BLOCK_DV], 0.0, tl.float32)
    for start in tl.range(first, end, BLOCK_K):
        seen = key_range < end - start
        k = tl.load(k_ptr + k_offsets, mask=seen[:, None] & (dims < HEAD_DIM)[None, :], other=0.0)
        k_ptr += k_step

        # S = scale Q K^T, with MLA scale (Q_latent C^T + Q_rope K_rope^T), in units of ln 2
        scores = tl.dot(q, tl.trans(k), input_precision="ieee")
        if LATENT:
            k_rope_mask = seen[:, None] & (rope_dims < ROPE_DIM)[None, :]
            k_rope = tl.load(k_rope_ptr + k_rope_offsets, mask=k_rope_mask, other=0.0)
            k_rope_ptr += k_rope_step
            scores = tl.dot(q_rope, tl.trans(k_rope), scores, input_precision="ieee")
        scores = tl.where(seen[None, :], scores * scale_log2, float("-inf"))

        # m_new = max(m, rowmax(S)), P = exp(S - m_new), alpha = exp(m - m_new); every tile has a key, so m_new > -inf
        m_new = tl.maximum(m, tl.max(scores, 1))
        weights = tl.exp2(scores - m_new[:, None])
        alpha = tl.exp2(m - m_new)

        # l = alpha l + rowsum(P), acc = alpha acc + P V; with MLA the latents that gave the scores are the values
        l = l * alpha + tl.sum(weights, 1)
        if LATENT:
            v = k
        else:
            v = tl.load(v_ptr + v_offsets, mask=seen[:, None] & (value_dims < VALUE_DIM)[None, :], other=0.0)
            v_ptr += v_step
        acc = tl.dot(weights.to(v.dtype), v, acc * alpha[:, None], input_precision="ieee")
        m = m_new

    # O = acc / l, L = m + log(l); a split without keys has l = 0: its output is 0, its log-sum-exp -inf
    divisor = tl.where(l == 0.0, 1.0, l)
    lse = tl.where(l == 0.0, float("-inf"), (m + tl.log2(divisor)) * 0.6931471805599453)
    rows = (batch * key_heads * group + heads) * splits + split
    partial_ptrs = partial_ptr + rows[:, None] * VALUE_DIM + value_dims[None, :]
    partial = (acc / divisor[:, None]).to(partial_ptr.dtype.element_ty)
    tl.store(partial_ptrs, partial, mask=in_group[:, None] & (value_dims < VALUE_DIM)[None, :])
    tl.store(partial_lse_ptr + rows, lse, mask=in_group)


@triton.jit(do_not_specialize=["splits"])
def merge_splits(
    partial_ptr, partial_lse_ptr, output_ptr, lse_ptr, splits,
    VALUE_DIM: tl.constexpr, BLOCK_DV: tl.constexpr, BLOCK_SPLITS: tl.constexpr, BLOCK_S: tl.constexpr,
):  # fmt: skip
    # One program: one head of one sequence, BLOCK_S of its splits together.
    row = tl.program_id(0).to(tl.int64)
    partial_ptr += row * splits * VALUE_DIM
    partial_lse_ptr += row * splits

    # L = logsumexp_s L_s; where no split saw a key, largest = -inf, and exp(-inf - -inf) would be NaN: subtract 0
    every_split = tl.arange(0, BLOCK_SPLITS)
    every_lse = tl.load(partial_lse_ptr + every_split, mask=every_split < splits, other=float("-inf"))
    largest = tl.max(every_lse, 0)
    largest = tl.where(largest == float("-inf"), 0.0, largest)
    total = tl.sum(tl.exp(every_lse - largest), 0)
    divisor = tl.where(total == 0.0, 1.0, total)
    tl.store(lse_ptr + row, tl.where(total == 0.0, float("-inf"), largest + tl.log(divisor)))

    # O = sum_s exp(L_s - L) O_s
    value_dims = tl.arange(0, BLOCK_DV)
    output = tl.full([BLOCK_DV], 0.0, tl.float32)
    for start in tl.range(0, splits, BLOCK_S):
        some = start + tl.arange(0, BLOCK_S)
        mask = (some < splits)[:, None] & (value_dims < VALUE_DIM)[None, :]
        partial = tl.load(partial_ptr + some[:, None] * VALUE_DIM + value_dims[None, :], mask=mask, other=0.0)
        some_lse = tl.load(partial_lse_ptr + some, mask=some < splits, other=float("-inf"))
        weights = tl.exp(some_lse - largest) / divisor
        output += tl.sum(weights[:, None] * partial, 0)
    output_ptrs = output_ptr + row * VALUE_DIM + value_dims
    tl.store(output_ptrs, output.to(output_ptr.dtype.element_ty), mask=value_dims < VALUE_DIM)


def decode(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    lengths: torch.Tensor | None = None,
    *,
    scale: float,
    splits: int | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Launch the kernels on checked arguments.

    q: (B, Hq, D), k: (B, Hkv, N, D), v: (B, Hkv, N, Dv), the last dimension contiguous; lengths: (B,) int32,
    contiguous; splits: None to choose. Returns the output (B, Hq, Dv) and the natural log-sum-exp (B, Hq) float32.
    """
    arguments = {"q_ptr": q, "k_ptr": k, "v_ptr": v, "lengths_ptr": lengths, "LATENT": False}
    arguments |= {"q_rope_ptr": None, "q_rope_batch_stride": 0, "q_rope_head_stride": 0}
    arguments |= {"k_rope_ptr": None, "k_rope_batch_stride": 0, "k_rope_row_stride": 0}
    arguments |= {"v_batch_stride": v.stride(0), "v_head_stride": v.stride(1), "v_row_stride": v.stride(2)}
    arguments |= {"k_batch_stride": k.stride(0), "k_head_stride": k.stride(1), "k_row_stride": k.stride(2)}
    arguments |= {"key_heads": k.shape[1], "n_k": k.shape[2], "VALUE_DIM": v.shape[3]}
    arguments |= {"ROPE_DIM": 0, "BLOCK_ROPE": 16}
    return _launch(arguments, scale, splits)


def decode_latent(
    q_latent: torch.Tensor,
    q_rope: torch.Tensor,
    latents: torch.Tensor,
    rope_keys: torch.Tensor,
    lengths: torch.Tensor | None = None,
    *,
    scale: float,
    splits: int | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same for MLA: all H query heads share one head of keys, whose latents are also the values.

    q_latent: (B, H, R), q_rope: (B, H, Dr), latents: (B, N, R), rope_keys: (B, N, Dr), the last dimension contiguous.
    Returns the output (B, H, R), a mixture of latents, and the natural log-sum-exp (B, H) float32.
    """
    arguments = {"q_ptr": q_latent, "k_ptr": latents, "v_ptr": None, "lengths_ptr": lengths, "LATENT": True}
    arguments |= {"q_rope_ptr": q_rope, "k_rope_ptr": rope_keys}
    arguments |= {"q_rope_batch_stride": q_rope.stride(0), "q_rope_head_stride": q_rope.stride(1)}
    arguments |= {"k_rope_batch_stride": rope_keys.stride(0), "k_rope_row_stride": rope_keys.stride(1)}
    arguments |= {"v_batch_stride": 0, "v_head_stride": 0, "v_row_stride": 0}
    arguments |= {"k_batch_stride": latents.stride(0), "k_head_stride": 0, "k_row_stride": latents.stride(1)}
    arguments |= {"key_heads": 1, "n_k": latents.shape[1], "VALUE_DIM": latents.shape[2]}
    rope_dim = rope_keys.shape[2]
    arguments |= {"ROPE_DIM": rope_dim, "BLOCK_ROPE": tuning.padded_head_dim(rope_dim)}
    return _launch(arguments, scale, splits)


def _launch(arguments: dict[str, Any], scale: float, splits: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the splits, and merge them where there is more than one."""
    q, key_heads, value_dim = arguments["q_ptr"], arguments["key_heads"], arguments["VALUE_DIM"]
    batch, query_heads, head_dim = q.shape
    block_q, programs = _query_tiles(q, key_heads)
    if splits is None:
        splits = chosen_splits(q, key_heads, arguments["n_k"], value_dim)
    output = torch.empty(batch, query_heads, value_dim, dtype=q.dtype, device=q.device)
    lse = torch.empty(batch, query_heads, dtype=torch.float32, device=q.device)
    if programs == 0:
        return output, lse
    partial, partial_lse = output, lse  # a single split is the whole
    if splits > 1:
        partial = torch.empty(*lse.shape, splits, value_dim, dtype=torch.float32, device=q.device)
        partial_lse = torch.empty(*lse.shape, splits, dtype=torch.float32, device=q.device)
    arguments |= {"q_batch_stride": q.stride(0), "q_head_stride": q.stride(1)}
    arguments |= {"group": query_heads // key_heads, "BLOCK_Q": block_q}
    arguments |= {"HEAD_DIM": head_dim, "BLOCK_D": tuning.padded_head_dim(head_dim)}
    arguments |= {"BLOCK_DV": tuning.padded_head_dim(value_dim)}
    arguments |= {"RAGGED": arguments["lengths_ptr"] is not None, "scale_log2": scale * LOG2_E}
    arguments |= {"partial_ptr": partial, "partial_lse_ptr": partial_lse, "splits": splits}
    tuning.launch_decoding(flash_decoding, programs * splits, arguments)
    if splits > 1:
        merging = {"BLOCK_SPLITS": triton.next_power_of_2(splits), "BLOCK_S": SPLITS_MERGED_TOGETHER}
        arguments |= {"output_ptr": output, "lse_ptr": lse}
        tuning.launch_untuned(merge_splits, batch * query_heads, arguments, merging)
    return output, lse


def chosen_splits(q: torch.Tensor, key_heads: int, n_k: int, value_dim: int) -> int:
    """The splits that `decode` and `decode_latent` choose for queries (B, Hq, D) on n_k keys."""
    _, programs = _query_tiles(q, key_heads)
    return splits_that_fill(_room(q.device, max(q.shape[2], value_dim)), programs, n_k)


def splits_that_fill(room: int, programs: int, n_k: int) -> int:
    """Into how many splits `programs` programs, one for each tile of query heads, divide their keys.

    As many as there is room for on the card at once: with fewer, multiprocessors idle; with more, the last ones wait
    for a free multiprocessor while the others idle. But no split gets fewer than SHORTEST_SPLIT of the n_k keys.
    """
    return max(1, min(room // max(1, programs), n_k // SHORTEST_SPLIT))


def _query_tiles(q: torch.Tensor, key_heads: int) -> tuple[int, int]:
    """The rows of a tile of query heads, and how many such tiles all sequences have."""
    group = q.shape[1] // key_heads
    rows = tuning.decoding_rows(group, q.element_size())
    return rows, q.shape[0] * key_heads * triton.cdiv(group, rows)


def _room(device: torch.device, width: int) -> int:
    """How many programs run at once: two on a multiprocessor, one of which computes while the other waits for its keys;
    one where the tiles are so wide that they fill its shared memory. The interpreter runs one after another."""
    if device.type == "cpu":
        return 1
    multiprocessors = torch.cuda.get_device_properties(device).multi_processor_count
    return multiprocessors * (2 if width <= WIDEST_PAIR else 1)
