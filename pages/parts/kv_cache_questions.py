"""What the chapters of the KV cache page ask: before the picture, and in the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from explainers.kv_cache.compare import CompareParams
from explainers.kv_cache.decode_params import DecodeParams
from explainers.kv_cache.fit import FitParams
from explainers.kv_cache.published import PublishedParams
from explainers.kv_cache.roofline import RooflineParams
from pages.parts.mistakes import asked_of, short_bytes
from pages.ui.chapter import Asked

LIMITS: Mapping[str, str] = {"memory": "reading memory", "arithmetic": "arithmetic"}
# Llama-3.1-405B, which the last question of "In print" counts: layers, query heads, KV heads, head dimension.
LAYERS, HEADS, KV_HEADS, HEAD_DIM = 126, 128, 8, 128
BF16 = 2  # bytes


# --------------------------------------------------------------------------------------------- Compare models


def factor_on_ranks(params: CompareParams, facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """What sharing costs on many ranks: from one copy to one on each."""
    on_ranks = facts["on_ranks"]
    right = str(on_ranks["factor"])
    answers = sorted({"1", "4", str(on_ranks["ranks"]), right}, key=int)
    return {**on_ranks, "answers": answers, "right": right}


def one_more_reader(params: CompareParams, facts: Mapping[str, Any]) -> Asked:
    """What the last model keeps when one more sequence of this length comes; nothing is asked of a broken count."""
    size = facts["sizes"][-1]
    if params.break_it != "none":
        return None
    each = size["windowed_bytes"] / params.batch
    right = size["windowed_bytes"] + each
    # windows are forgotten; a whole batch more; nothing more
    mistakes = (size["logical_bytes"] * (1 + 1 / params.batch), 2 * right, size["windowed_bytes"])
    values = {
        "title": size["title"],
        "tokens": params.seq_len,
        "batch": params.batch,
        "each": short_bytes(each),
    }
    return asked_of(right, mistakes, short_bytes, **values)


# ------------------------------------------------------------------------------------------------ Share heads


def share_of_mha(params: DecodeParams, facts: Mapping[str, Any]) -> Asked:
    """How large the cache of the chosen attention is beside MHA's."""
    sizes = facts["all_cache_bytes"]
    right = sizes[params.kind] / sizes["mha"]
    # one group is thought to be one head; the heads of a group; half
    mistakes = (1 / params.heads, params.groups / params.heads, 1 / max(params.groups, 1), 0.5, 1.0)
    return asked_of(right, mistakes, "{:.1%}".format, kind=params.kind.upper(), heads=params.heads)


def one_more_token(params: DecodeParams, facts: Mapping[str, Any]) -> Asked:
    """What one more token adds to the cache of this layer."""
    right, tokens = facts["bytes_per_token"], params.prefill + params.tokens
    # values are forgotten; keys and values of every query head; everything is kept twice
    mistakes = (right // 2, facts["all_cache_bytes"]["mha"] // tokens, 2 * right)
    return asked_of(right, mistakes, "{:,} B".format, kind=params.kind.upper(), dtype=params.dtype)


# ------------------------------------------------------------------------------------------------ Fit on GPUs


def sequences_that_fit(params: FitParams, facts: Mapping[str, Any]) -> Asked:
    """How many sequences of this context fit at once; None where the weights leave no room, or nothing is known."""
    right, cache = facts["largest_batch"], facts["gpu_kv"]
    if params.break_it != "none" or not cache or not right:
        return None
    each = cache / params.batch
    # the weights are forgotten; the reserve is forgotten; only one GPU's memory counts for all
    mistakes = (
        facts["gpu_usable"] // each,
        (facts["gpu_memory"] - facts["gpu_weights"]) // each,
        right // params.tensor_parallel,
    )
    values = {
        "tokens": params.seq_len,
        "each": short_bytes(each),
        "weights": short_bytes(facts["gpu_weights"]),
        "usable": short_bytes(facts["gpu_usable"]),
    }
    return asked_of(right, mistakes, lambda batch: f"{int(batch):,}", **values)


def context_that_fits(params: FitParams, facts: Mapping[str, Any]) -> Asked:
    """Up to which context this batch can grow; None where not even one token fits."""
    right = facts["longest_context"]
    if params.break_it != "none" or not right:
        return None
    # of one sequence instead of the batch; of a batch twice as large; as now
    mistakes = (right * params.batch, right / 2, params.seq_len)
    return asked_of(right, mistakes, lambda tokens: f"{int(tokens):,}", batch=params.batch)


# ------------------------------------------------------------------------------------------------------ Speed


def what_limits(params: RooflineParams, facts: Mapping[str, Any]) -> Asked:
    """What a step of this model waits for."""
    own = facts["own"]
    if params.break_it != "none" or own["limited_by"] not in LIMITS:
        return None
    return {
        "batch": params.batch,
        "tokens": params.seq_len,
        "intensity": f"{own['intensity']:.3g}",
        "ridge": f"{facts['ridge']:.3g}",
        "answers": list(LIMITS.values()),
        "right": LIMITS[own["limited_by"]],
    }


def rate_of_twice_the_batch(params: RooflineParams, facts: Mapping[str, Any]) -> Asked:
    """The tokens a second of a batch twice as large; None where more than reading the weights and the cache counts."""
    own = facts["own"]
    if (
        params.break_it != "none"
        or own["limited_by"] != "memory"
        or own["copied_bytes"]
        or facts["experts_read"]
    ):
        return None
    rate, weights, cache = own["tokens_per_second"], own["weight_bytes"], own["cache_bytes"]
    right = rate * 2 * (weights + cache) / (weights + 2 * cache)
    # the cache is thought to be read once; the weights are thought to be read for each; nothing is gained
    mistakes = (2 * rate, rate, rate * (weights + cache) / (weights + 2 * cache))
    values = {"batch": params.batch, "double": 2 * params.batch, "rate": f"{rate:,.0f}"}
    return asked_of(right, mistakes, "{:,.0f} /s".format, **values)


# --------------------------------------------------------------------------------------------------- In print


def figures_that_differ(params: PublishedParams, facts: Mapping[str, Any]) -> Asked:
    """How many of the printed figures the count does not confirm."""
    rows = facts["rows"]
    right = sum(not row["agrees"] for row in rows)
    return asked_of(right, (2 * right, len(rows) // 2, len(rows)), str, figures=len(rows))


def bytes_of_a_large_model(params: PublishedParams, facts: Mapping[str, Any]) -> Asked:
    """The bytes of a token in Llama-3.1-405B, from its config."""
    right = 2 * LAYERS * KV_HEADS * HEAD_DIM * BF16
    # values are forgotten; every query head; 16 KV heads, as the first files had them
    mistakes = (right // 2, right * HEADS // KV_HEADS, 2 * right)
    return asked_of(right, mistakes, "{:,} B".format, layers=LAYERS, kv_heads=KV_HEADS, head_dim=HEAD_DIM)
