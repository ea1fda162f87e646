"""What each chapter of flash attention asks: first to predict, in the end to check oneself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from explainers.contract.messages import Message
from explainers.flash_attention.backward import BackwardParams
from explainers.flash_attention.loop_orders import LoopOrdersParams
from explainers.flash_attention.mask import bounds_of, key_tiles_visited
from explainers.flash_attention.moves import flash_attention_1_traffic, paper_blocks, standard_traffic
from explainers.flash_attention.online_softmax import OnlineSoftmaxParams, draw_row, exact_softmax
from explainers.flash_attention.race import LARGEST_NAIVE_BYTES, RaceParams, naive_bytes
from explainers.flash_attention.tiled import tile_ranges
from explainers.flash_attention.tiles_params import TilesParams
from explainers.flash_attention.traffic import TrafficParams
from pages.parts.attention_answers import exact_bytes, kibibytes, megabytes, offered, percent, times, whole
from pages.ui.chapter import Asked

FP32 = 4  # bytes of a number


def _with(asked: dict[str, Any] | None, **values: Any) -> Asked:
    """The answers and the values for the words; None without answers."""
    return None if asked is None else {**values, **asked}


# ------------------------------------------------------------------------------------------------- tile by tile


def how_many_rescales(params: TilesParams, facts: Mapping[str, Any]) -> Asked:
    """How often the followed row's sums are rescaled."""
    right, later = facts["row_rescales"], facts["row_tiles"] - 1
    if later < 1 or params.break_it in ("no_rescale", "no_max"):
        return None
    wrong = [number for number in (0, later, right + 1, right - 1, right + 2) if number <= later]
    return _with(offered(right, wrong, whole), row=params.followed_row, later=later)


def tiles_with_other_mask(params: TilesParams, facts: Mapping[str, Any]) -> Asked:
    """How many tiles are computed once the causal mask is switched."""
    if params.break_it != "none":
        return None
    bounds = bounds_of(not params.causal, (params.window, -1))
    visits = [
        len(key_tiles_visited(rows, params.keys, params.block_k, params.keys - params.seq_len, bounds))
        for rows in tile_ranges(params.seq_len, params.block_q)
    ]
    right, total, now = sum(visits), facts["tiles_total"], facts["tiles_visited"]
    # as many as now; all; half; the tiles at the edge of the mask left out, or counted twice
    wrong = (now, total, total // 2, right - len(visits), right + len(visits), right - 1)
    state = Message("off") if params.causal else Message("on")
    return _with(
        offered(right, [number for number in wrong if number <= total], whole),
        total=total,
        now=now,
        state=state,
    )


# ------------------------------------------------------------------------------------------------------ one row


def weight_of_first_block(params: OnlineSoftmaxParams, facts: Mapping[str, Any]) -> Asked:
    """How much weight the first block has in the end."""
    row, block = draw_row(params), params.block
    if params.break_it != "none" or block >= len(row):
        return None
    right, equal = 100 * float(exact_softmax(row)[:block].sum()), 100 * block / len(row)
    asked = offered(right, (equal, 100, 100 - right, (100 + right) / 2), percent, apart=0.1)
    return _with(asked, block=block, length=len(row), share=right, equal=equal)


def rescales_in_other_blocks(params: OnlineSoftmaxParams, facts: Mapping[str, Any]) -> Asked:
    """How often the maximum rises if the row is read in blocks of another size."""
    row = draw_row(params)
    other = 1 if params.block > 1 else min(4, len(row))
    blocks = math.ceil(len(row) / other)
    if params.break_it != "none" or blocks < 2:
        return None
    right, now = rises(row, other), rises(row, params.block)
    wrong = (now, blocks - 1, 0, right + 1, right + 2)
    return _with(
        offered(right, [number for number in wrong if number < blocks], whole),
        other=other,
        block=params.block,
        now=now,
    )


def rises(row: np.ndarray, block: int) -> int:
    """In how many blocks of a row (length,), the first not counted, a score is larger than all before."""
    highest = np.maximum.accumulate([row[start : start + block].max() for start in range(0, len(row), block)])
    return int((np.diff(highest) > 0).sum())


# ----------------------------------------------------------------------------------------------- memory traffic


def fewer_accesses(params: TrafficParams, facts: Mapping[str, Any]) -> Asked:
    """How many times fewer numbers FlashAttention-1 moves than standard attention."""
    n, d, blocks = params.seq_len, params.head_dim, paper_blocks(params.sram_elements, params.head_dim)
    standard, tiled = standard_traffic(n, n, d).total, flash_attention_1_traffic(n, d, *blocks).total
    asked = offered(standard / tiled, (n / d, tiled / standard, 4 * standard / tiled, 1), times, apart=0.1)
    return _with(asked, n=n, d=d, sram=kibibytes(params.sram_bytes), standard=standard, tiled=tiled)


def sram_of_full_query_blocks(params: TrafficParams, facts: Mapping[str, Any]) -> Asked:
    """From which size of fast memory the paper's rule gives a query block of d rows."""
    d, size = params.head_dim, params.bytes_per_element
    # Br = min(ceil(M / 4d), d) = d  from  M = 4d (d - 1) + 1
    right = (4 * d * (d - 1) + 1) * size
    asked = offered(right, (d * d * size, 4 * d * size, 16 * d * d * size), kibibytes, apart=0.1)
    return _with(asked, d=d, size=size)


# -------------------------------------------------------------------------------------------------- loop orders


def writes_of_output(params: LoopOrdersParams, facts: Mapping[str, Any]) -> Asked:
    """How many times as many numbers of O FlashAttention-1 writes."""
    queries, keys = _tiles(params)
    right = facts["fa1_output_writes"] // facts["fa2_output_writes"]
    asked = offered(right, (keys, 1, queries + 1, queries * keys), times)
    return _with(asked, fa1=facts["fa1_output_writes"], fa2=facts["fa2_output_writes"], keys=keys)


def reads_of_keys(params: LoopOrdersParams, facts: Mapping[str, Any]) -> Asked:
    """How often FlashAttention-2 reads each number of K and V."""
    queries, keys = _tiles(params)
    asked = offered(queries, (1, keys, queries * keys, params.block_q, queries + 1), whole)
    return _with(asked, block=params.block_q, n=params.seq_len)


def _tiles(params: LoopOrdersParams | BackwardParams) -> tuple[int, int]:
    """How many query tiles and key tiles there are."""
    return math.ceil(params.seq_len / params.block_q), math.ceil(params.seq_len / params.block_k)


# ----------------------------------------------------------------------------------------------------- backward


def tiles_recomputed(params: BackwardParams, facts: Mapping[str, Any]) -> Asked:
    """How many tiles of P the backward pass computes again."""
    right, total = facts["tiles_recomputed"], facts["tiles_total"]
    asked = offered(right, (right // 2, total, 2 * total, 3 * right // 2), whole)
    return _with(asked, total=total, visited=right // 2)


def kept_at_twice_the_length(params: BackwardParams, facts: Mapping[str, Any]) -> Asked:
    """How many bytes are kept for the backward pass of a sequence twice as long."""
    n, d = 2 * params.seq_len, params.head_dim
    right = n * (d + 1) * FP32
    asked = offered(right, (n * d * FP32, right // 2, n * n * FP32, 2 * right), exact_bytes)
    return _with(asked, n=n, d=d, kept=right, weights=n * n * FP32)


# ----------------------------------------------------------------------------------------------------- the race


def memory_of_scores(params: RaceParams, facts: Mapping[str, Any]) -> Asked:
    """How much memory the matrices of naive attention take."""
    n, heads = params.longest, params.heads
    right = naive_bytes(heads, n, FP32)
    wrong = (right / heads, right / 4, 2 * heads * n * params.head_dim * FP32, 4 * right)
    return _with(offered(right, wrong, megabytes, apart=0.1), n=n, heads=heads, size=megabytes(right))


def longest_naive(params: RaceParams, facts: Mapping[str, Any]) -> Asked:
    """Up to which length naive attention stays within the memory that it gets here."""
    right = max(n for n in _doubling() if naive_bytes(params.heads, n, FP32) <= LARGEST_NAIVE_BYTES)
    return _with(
        offered(right, (right // 2, 2 * right, 4 * right), whole),
        heads=params.heads,
        size=megabytes(naive_bytes(params.heads, right, FP32)),
        twice=megabytes(naive_bytes(params.heads, 2 * right, FP32)),
    )


def _doubling() -> Iterator[int]:
    return (2**power for power in range(8, 16))
