"""What each chapter of the KV cache asks: first to predict, in the end to check oneself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from explainers.contract.messages import Message
from explainers.kv_cache.catalogue import find_model
from explainers.kv_cache.compare import CompareParams
from explainers.kv_cache.decode_params import DecodeParams, Kind, cache_formula
from explainers.kv_cache.fit import FitParams, demand_of
from explainers.kv_cache.layers import ELEMENT_TYPES
from explainers.kv_cache.published import PublishedParams
from explainers.kv_cache.roofline import RooflineParams, Variant, own_step
from pages.parts.attention_answers import exact_bytes, offered, times, whole
from pages.ui.chapter import Asked

GIGABYTE = 10**9
MORE_EXPERTS = 1.05  # times the weights, from which on the answer speaks of experts
LABELS: Mapping[Kind, str] = {"mha": "MHA", "gqa": "GQA", "mqa": "MQA", "mla": "MLA"}
IN_PRINT = "deepseek-v3"  # the model whose printed sizes are compared in the end


def _with(asked: dict[str, Any] | None, **values: Any) -> Asked:
    """The answers and the values for the words; None without answers."""
    return None if asked is None else {**values, **asked}


# ---------------------------------------------------------------------------------------------- compare models


def factor_on_ranks(params: CompareParams, facts: Mapping[str, Any]) -> Asked:
    """What sharing costs on many ranks: from one copy to one on each."""
    on_ranks = facts["on_ranks"]
    if params.break_it != "none":
        return None
    wrong = (1, on_ranks["ranks"], 4, on_ranks["ranks"] // 4)
    return _with(offered(on_ranks["factor"], wrong, whole), **on_ranks)


def tokens_in_a_gigabyte(params: CompareParams, facts: Mapping[str, Any]) -> Asked:
    """How many tokens of the first model one gigabyte holds."""
    size = facts["sizes"][0]
    each, layers = size["bytes_per_token"], sum(kind["layers"] for kind in size["layer_kinds"])
    right = GIGABYTE // each
    if params.break_it != "none" or right == 0:
        return None
    wrong = (2 * right, right * layers, right // 8, right // 2)
    return _with(
        offered(right, wrong, whole, apart=0.1),
        title=size["title"],
        dtype=params.dtype,
        each=each,
        layers=layers,
    )


# ------------------------------------------------------------------------------------------------- share heads


def times_the_bytes(params: DecodeParams, facts: Mapping[str, Any]) -> Asked:
    """How many times the bytes of the chosen attention MHA keeps; of MQA where MHA is chosen."""
    if params.break_it != "none":
        return None
    kind: Kind = "mqa" if params.kind == "mha" else params.kind
    every, shared = facts["all_cache_bytes"]["mha"], facts["all_cache_bytes"][kind]
    wrong = (params.heads, 2 * every / shared, shared / every, 1, 2 * params.heads)
    return _with(
        offered(every / shared, wrong, times, apart=0.1),
        heads=params.heads,
        attention=LABELS[kind],
        every=every // params.length,
        shared=shared // params.length,
    )


def bytes_after_twice_the_tokens(params: DecodeParams, facts: Mapping[str, Any]) -> Asked:
    """How many bytes the cache holds once twice as many tokens have been decoded."""
    if params.break_it != "none":
        return None
    longer = params.model_copy(update={"tokens": 2 * params.tokens})
    now, right = cache_formula(params)[0], cache_formula(longer)[0]
    each = right // longer.length
    return _with(
        offered(right, (2 * now, right - each * params.prefill, now, right // 2), exact_bytes),
        tokens=longer.tokens,
        prefill=params.prefill,
        length=longer.length,
        attention=LABELS[params.kind],
        each=each,
        then=right,
    )


# -------------------------------------------------------------------------------------------------- fit on GPUs


def sequences_that_fit(params: FitParams, facts: Mapping[str, Any]) -> Asked:
    """How many sequences fit beside the weights."""
    right, usable, weights = facts["largest_batch"], facts["gpu_usable"], facts["gpu_weights"]
    if params.break_it != "none":
        return None
    each = facts["gpu_kv"] // params.batch
    wrong = (usable // each, max(0, usable - facts["weight_bytes"]) // each, params.tensor_parallel * right)
    return _with(
        offered(right, (*wrong, 2 * right), whole, apart=0.1),
        gpus=params.tensor_parallel,
        gpu=facts["gpu"]["name"],
        title=facts["title"],
        tokens=params.seq_len,
        free=three_digits(max(0, usable - weights) / GIGABYTE),
        each=three_digits(each / GIGABYTE),
    )


def sequences_on_twice_the_gpus(params: FitParams, facts: Mapping[str, Any]) -> Asked:
    """How many sequences fit on twice as many GPUs."""
    now, usable, gpus = facts["largest_batch"], facts["gpu_usable"], 2 * params.tensor_parallel
    demand = replace(demand_of(params), gpus=gpus)
    right = demand.largest_batch(params.seq_len, usable)
    if params.break_it != "none" or right == 0:
        return None
    return _with(
        offered(right, (2 * now, now, 4 * now, right // 2, 2 * right), whole, apart=0.04),
        gpus=gpus,
        tokens=params.seq_len,
        now=now,
        weights=three_digits(demand.rank_weights / GIGABYTE),
        each=three_digits(demand.rank_cache(params.seq_len, 1) / GIGABYTE),
    )


# -------------------------------------------------------------------------------------------------------- speed


def what_takes_longest(params: RooflineParams, facts: Mapping[str, Any]) -> Asked:
    """What sets the ceiling: reading the weights, reading the caches, or the arithmetic."""
    if params.break_it != "none":
        return None
    own = facts["own"]
    weights, cache = own["weight_bytes"], own["cache_bytes"] + own["copied_bytes"]
    answers = {"weights": Message("the weights"), "cache": Message("the caches")}
    answers["compute"] = Message("the arithmetic")
    read = "weights" if weights >= cache else "cache"
    return {
        "title": facts["title"],
        "batch": params.batch,
        "tokens": params.seq_len,
        "weights": three_digits(weights / GIGABYTE),
        "cache": three_digits(cache / GIGABYTE),
        "limit": answers["compute"] if own["limited_by"] == "compute" else Message("the reading"),
        "answers": list(answers.values()),
        "right": answers["compute" if own["limited_by"] == "compute" else read],
    }


def rate_at_twice_the_batch(params: RooflineParams, facts: Mapping[str, Any]) -> Asked:
    """How many tokens a second are possible at most with twice as many sequences."""
    if params.break_it != "none":
        return None
    doubled = own_step(params.model_copy(update={"batch": 2 * params.batch}))
    now, right = facts["own"]["tokens_per_second"], doubled.tokens_per_second
    return _with(
        offered(right, (2 * now, now, now / 2, 4 * now), three_digits, apart=0.08),
        batch=2 * params.batch,
        now=three_digits(now),
        gain=right / now,
        weights=three_digits(doubled.weight_bytes / GIGABYTE),
        cache=three_digits((doubled.cache_bytes + doubled.copied_bytes) / GIGABYTE),
        why=_why_not_twice(doubled, facts),
    )


def _why_not_twice(doubled: Variant, facts: Mapping[str, Any]) -> Message:
    """What limits the larger batch: the arithmetic, the weights of more experts, or the caches."""
    if doubled.limited_by == "compute":
        return Message("The arithmetic takes longer than that reading, and every sequence needs its own.")
    before = facts["own"]["weight_bytes"]
    if facts["experts_read"] and doubled.weight_bytes > MORE_EXPERTS * before:
        return Message(
            "The weights are {before} GB now: a larger batch meets more experts. Each new sequence also brings its "
            "own cache.",
            before=three_digits(before / GIGABYTE),
        )
    return Message("The weights serve all sequences, while each new one brings its own cache.")


def three_digits(value: float) -> str:
    """A number to three digits: 6,700, 477, 1.23."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if rounded >= 100 else f"{rounded:g}"


# ----------------------------------------------------------------------------------------------------- in print


def figures_that_differ(params: PublishedParams, facts: Mapping[str, Any]) -> Asked:
    """How many of the printed figures are not what the configs give."""
    figures, right = len(facts["rows"]), sum(not row["agrees"] for row in facts["rows"])
    return _with(offered(right, (0, figures // 2, 3 * right, figures), whole), figures=figures, differ=right)


def times_the_latents(params: PublishedParams, facts: Mapping[str, Any]) -> Asked:
    """How many times its latents the keys and values of all heads of DeepSeek-V3 take."""
    bf16 = ELEMENT_TYPES["bf16"]
    whole_heads, latents = find_model(IN_PRINT, "mla_as_mha"), find_model(IN_PRINT)
    every, kept = whole_heads.bytes_per_token(bf16), latents.bytes_per_token(bf16)
    heads = latents.kinds[0].query_heads
    lengths = [vector.length for model in (whole_heads, latents) for vector in model.kinds[0].vectors]
    named = dict(zip(("key", "value", "latent", "rope"), lengths, strict=True))
    asked = offered(every / kept, (heads, 2 * every / kept, heads / 8, kept / every), times, apart=0.1)
    return _with(asked, title=latents.title, heads=heads, every=every, kept=kept, **named)
