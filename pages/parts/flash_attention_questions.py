"""What the chapters of the flash attention page ask: before the picture, and in the end."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from explainers.flash_attention.backward import BackwardParams
from explainers.flash_attention.loop_orders import LoopOrdersParams
from explainers.flash_attention.online_softmax import OnlineSoftmaxParams, draw_row
from explainers.flash_attention.race import RaceParams
from explainers.flash_attention.tiles_params import TilesParams
from explainers.flash_attention.traffic import TrafficParams
from pages.parts.mistakes import asked_of, short_bytes
from pages.ui.cards.predict import counted
from pages.ui.chapter import Asked

FP32 = 4  # bytes
LEFT: Mapping[str, float] = {"all": 1, "three quarters": 0.75, "half": 0.5, "a quarter": 0.25}


# ---------------------------------------------------------------------------------------------- Tile by tile


def how_many_rescales(params: TilesParams, facts: Mapping[str, Any]) -> Asked:
    """How often the followed row's sums are rescaled; None for a row with a single tile."""
    if facts["row_tiles"] < 2:
        return None
    answers = counted(facts["row_rescales"], max(0, facts["row_tiles"] - 1))
    return {**facts, "row": params.followed_row, **answers}


def scores_never_written(params: TilesParams, facts: Mapping[str, Any]) -> Asked:
    """The bytes of the scores, which never reach slow memory."""
    queries, keys = params.seq_len, params.kv_len or params.seq_len
    # the bytes of a number are forgotten; a mask is thought to halve it; Q in place of S
    mistakes = (queries * keys, FP32 * queries * keys // 2, FP32 * queries * params.head_dim)
    return asked_of(FP32 * queries * keys, mistakes, short_bytes, queries=queries, keys=keys)


# -------------------------------------------------------------------------------------------------- One row


def records(params: OnlineSoftmaxParams, facts: Mapping[str, Any]) -> Asked:
    """How many blocks raise the maximum of the row, the first not counted; None for a single block."""
    row = draw_row(params)
    largest = [row[start : start + params.block].max() for start in range(0, len(row), params.block)]
    if len(largest) == 1:
        return None
    so_far = np.maximum.accumulate(largest)
    raised = sum(bool(after > before) for before, after in pairwise(so_far))
    answers = {raised, 0, len(largest) - 1, len(largest) // 2}
    return {
        "blocks": len(largest),
        "raised": raised,
        "answers": [str(answer) for answer in sorted(answers)],
        "right": str(raised),
    }


def largest_weight(params: OnlineSoftmaxParams, facts: Mapping[str, Any]) -> Asked:
    """The softmax weight of the largest score, from the log-sum-exp; None where that is no number."""
    row, lse = draw_row(params), facts["log_sum_exp"]
    if params.break_it != "none" or lse is None or not np.isfinite(lse):
        return None
    m = float(row.max())
    right = np.exp(m - lse)
    # the denominator is forgotten; all weights are thought to be alike; half
    wrong = (1.0, 1 / len(row), right / 2)
    shown = {f"{share:.1%}": share for share in sorted({right, *wrong}, reverse=True)}
    if len(shown) < 2:
        return None
    return {
        "m": f"{m:.2f}",
        "lse": f"{lse:.2f}",
        "answers": list(shown),
        "right": f"{right:.1%}",
    }


# --------------------------------------------------------------------------------------------- Memory traffic


def left_when_memory_doubles(params: TrafficParams, facts: Mapping[str, Any]) -> Asked:
    """What is left of the traffic of FlashAttention-2's loops when fast memory doubles."""
    left = facts["tiled_fa2_when_sram_doubles"]
    right = min(LEFT, key=lambda words: abs(LEFT[words] - left))
    return {
        "sram": short_bytes(params.sram_bytes),
        "left": left,
        "left_fa1": facts["tiled_when_sram_doubles"],
        "answers": list(LEFT),
        "right": right,
    }


def bytes_of_standard(params: TrafficParams, facts: Mapping[str, Any]) -> Asked:
    """The bytes that standard attention moves."""
    numbers, n, d, size = (
        facts["standard_accesses"],
        params.seq_len,
        params.head_dim,
        params.bytes_per_element,
    )
    # the bytes of a number are forgotten; S is moved once only; only inputs and output count
    mistakes = (numbers, n * n * size, 4 * n * d * size)
    return asked_of(numbers * size, mistakes, short_bytes, numbers=numbers, size=size)


# ------------------------------------------------------------------------------------------------ Loop orders


def writes_of_output(params: LoopOrdersParams, facts: Mapping[str, Any]) -> Asked:
    """How often each number of O is written with key tiles outside."""
    tiles = -(-params.seq_len // params.block_k)
    right = facts["fa1_output_writes"] // facts["fa2_output_writes"]
    say = "{} times".format
    return asked_of(
        right, (1, tiles - 1, 2 * tiles), say, tiles=tiles, numbers=params.seq_len * params.head_dim
    )


def writes_with_larger_blocks(params: LoopOrdersParams, facts: Mapping[str, Any]) -> Asked:
    """How many numbers of O are written with key blocks twice as long; None where those are too long."""
    doubled = 2 * params.block_k
    if doubled > params.seq_len:
        return None
    size = params.seq_len * params.head_dim
    right = (-(-params.seq_len // doubled) + 1) * size
    now = facts["fa1_output_writes"]
    # nothing changes; everything halves; the first writing, of zeros, is forgotten
    return asked_of(right, (now, now // 2, right - size), "{:,}".format, doubled=doubled, now=now)


# --------------------------------------------------------------------------------------------------- Backward


def tiles_computed_again(params: BackwardParams, facts: Mapping[str, Any]) -> Asked:
    """How many tiles of P are computed again."""
    right = facts["tiles_recomputed"]
    # one pass only; every tile, masked or not; every tile in both
    mistakes = (right // 2, facts["tiles_total"], 2 * facts["tiles_total"])
    return asked_of(right, mistakes, str, total=facts["tiles_total"])


def saved_for_backward(params: BackwardParams, facts: Mapping[str, Any]) -> Asked:
    """The bytes that the forward pass saves for the backward pass."""
    right, n, d = facts["saved_bytes"], params.seq_len, params.head_dim
    # the log-sum-exp is forgotten; m and l are both kept; only the log-sum-exp
    mistakes = (FP32 * n * d, right + FP32 * n, FP32 * n)
    return asked_of(right, mistakes, "{:,} B".format, standard=f"{facts['standard_saved_bytes']:,} B")


# ------------------------------------------------------------------------------------------------------- Race


def scores_in_memory(params: RaceParams, facts: Mapping[str, Any]) -> Asked:
    """The bytes of one N × N matrix of every head, as naive attention holds it, in fp32."""
    n, heads = params.longest, params.heads
    mistakes = (n * n * FP32, heads * n * n, heads * n * params.head_dim * FP32)
    return asked_of(heads * n * n * FP32, mistakes, short_bytes, n=n, heads=heads)


def operations(params: RaceParams, facts: Mapping[str, Any]) -> Asked:
    """The operations of the matrix products, half of them under the causal mask."""
    whole = 4 * params.heads * params.longest**2 * params.head_dim
    right = whole // 2 if params.causal else whole
    # the mask is forgotten or imagined; a product and a sum counted as one; one of the two products
    mask = "under the causal mask" if params.causal else "without a mask"
    values = {"n": params.longest, "heads": params.heads, "mask": mask}
    mistakes = (right / 0.5e9, right / 2e9, right / 0.25e9)
    return asked_of(right / 1e9, mistakes, "{:.3g} GFLOP".format, **values)
