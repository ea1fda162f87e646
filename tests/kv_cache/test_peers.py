"""The KV cache against `transformers`: parameters of its model classes, and the tensors that its caches hold.

The classes are built on the meta device, which has shapes and no memory; a few tiny ones really run.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, StaticCache

from explainers.kv_cache.catalogue import CATALOGUE, find_model
from explainers.kv_cache.config import model_of
from explainers.kv_cache.layers import ELEMENT_TYPES, Model

SEEDS = range(4)
RUN_SEEDS = range(2)
TOKENS = 13


def theirs(config: dict[str, Any], device: str = "meta") -> Any:
    """The class of `transformers` for a config. Kimi K2 has no class: it is a DeepSeek-V3."""
    model_type = config["model_type"].replace("kimi_k2", "deepseek_v3")
    with torch.device(device):
        known = AutoConfig.for_model(**{**config, "model_type": model_type})
        return AutoModelForCausalLM.from_config(known, experts_implementation="eager")


def parameters_of(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())  # a tied matrix comes once


# -------------------------------------------------------------------------------------- configs at random


def common(draw: Random, **more: Any) -> dict[str, Any]:
    """The keys of every family, with heads that hidden_size / num_attention_heads does not give away."""
    heads = draw.choice([8, 16])
    return {
        "num_hidden_layers": draw.randint(1, 4),
        "hidden_size": heads * draw.choice([4, 6, 10]),
        "intermediate_size": draw.randint(5, 60),
        "vocab_size": draw.randint(20, 90),
        "max_position_embeddings": 64,
        "num_attention_heads": heads,
        "num_key_value_heads": draw.choice([1, 2, heads]),
        "tie_word_embeddings": draw.random() < 0.5,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    } | more


def sometimes_absent(draw: Random, config: dict[str, Any], *names: str) -> dict[str, Any]:
    """The config with some of the keys left to the defaults of the family."""
    return {name: value for name, value in config.items() if name not in names or draw.random() < 0.5}


def llama(draw: Random) -> dict[str, Any]:
    more = {"attention_bias": draw.random() < 0.5, "mlp_bias": draw.random() < 0.5, "head_dim": 6}
    return sometimes_absent(draw, common(draw, **more), "num_key_value_heads", "head_dim", "attention_bias")


def mistral(draw: Random) -> dict[str, Any]:
    config = common(draw, head_dim=6, sliding_window=draw.choice([None, 5]))
    return sometimes_absent(draw, config, "num_key_value_heads", "head_dim")


def mixtral(draw: Random) -> dict[str, Any]:
    config = common(draw, num_local_experts=5, num_experts_per_tok=3)
    return sometimes_absent(draw, config, "num_key_value_heads", "num_local_experts", "num_experts_per_tok")


def qwen2(draw: Random) -> dict[str, Any]:
    windows = {"use_sliding_window": draw.random() < 0.7, "sliding_window": 5, "max_window_layers": 1}
    return sometimes_absent(draw, common(draw, **windows), "use_sliding_window", "max_window_layers")


def qwen3(draw: Random) -> dict[str, Any]:
    return sometimes_absent(
        draw, qwen2(draw) | {"head_dim": 6, "attention_bias": True}, "head_dim", "attention_bias"
    )


def qwen3_moe(draw: Random) -> dict[str, Any]:
    experts = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 7}
    layers = {"decoder_sparse_step": draw.choice([1, 2]), "mlp_only_layers": draw.choice([[], [0], [1, 3]])}
    config = common(draw, head_dim=6, attention_bias=draw.random() < 0.5, **experts, **layers)
    return sometimes_absent(draw, config, "decoder_sparse_step", "mlp_only_layers", "num_key_value_heads")


def gemma(draw: Random) -> dict[str, Any]:
    config = common(draw, head_dim=6)
    return sometimes_absent(draw, config, "head_dim", "tie_word_embeddings")


def gemma2(draw: Random) -> dict[str, Any]:
    types = [draw.choice(["full_attention", "sliding_attention"]) for _ in range(3)]
    config = common(
        draw, num_hidden_layers=3, head_dim=6, sliding_window=5, layer_types=types, attention_bias=True
    )
    return sometimes_absent(draw, config, "layer_types", "attention_bias", "tie_word_embeddings")


def gemma3_text(draw: Random) -> dict[str, Any]:
    config = gemma2(draw) | {"num_hidden_layers": 7}
    config.pop("layer_types", None)
    config["sliding_window_pattern"] = 3
    names = ("sliding_window_pattern", "vocab_size", "num_attention_heads", "num_key_value_heads")
    config = sometimes_absent(draw, config, *names)
    return (
        config | {"num_key_value_heads": 1}
        if "num_attention_heads" in config
        else config | {"hidden_size": 40}
    )


def phi3(draw: Random) -> dict[str, Any]:
    config = common(draw, sliding_window=draw.choice([None, 5]))
    return sometimes_absent(draw, config, "num_key_value_heads", "sliding_window")


def falcon(draw: Random) -> dict[str, Any]:
    """One of the three layouts: old with one KV head, old with ALiBi and a KV head each, new with groups."""
    config = common(draw)
    layouts = (
        {
            "multi_query": True,
            "parallel_attn": draw.random() < 0.5,
            "num_kv_heads": config["num_attention_heads"],
        },
        {"multi_query": False, "alibi": True, "parallel_attn": False},
        {"new_decoder_architecture": True, "num_kv_heads": 2},
    )
    for name in ("num_key_value_heads", "intermediate_size", "pad_token_id"):
        config.pop(name)
    config |= draw.choice(layouts) | {"bias": draw.random() < 0.5}
    return sometimes_absent(
        draw, config | {"ffn_hidden_size": 30}, "ffn_hidden_size", "bias", "tie_word_embeddings"
    )


def gpt2(draw: Random) -> dict[str, Any]:
    shape = {"n_layer": draw.randint(1, 3), "n_head": 4, "n_embd": 4 * draw.choice([4, 6]), "n_positions": 32}
    config = {
        "vocab_size": 50,
        "n_inner": draw.choice([None, 31]),
        "tie_word_embeddings": draw.random() < 0.5,
    }
    ends = {"bos_token_id": 1, "eos_token_id": 2}
    return sometimes_absent(draw, shape | config | ends, "n_inner", "tie_word_embeddings")


def gpt_oss(draw: Random) -> dict[str, Any]:
    experts = {"num_local_experts": 5, "num_experts_per_tok": 3, "sliding_window": 5}
    config = common(draw, head_dim=6, attention_bias=draw.random() < 0.5, **experts)
    return sometimes_absent(
        draw, config, "head_dim", "num_key_value_heads", "attention_bias", "num_local_experts"
    )


def deepseek(draw: Random) -> dict[str, Any]:
    experts = {
        "n_routed_experts": 8,
        "num_experts_per_tok": 2,
        "n_shared_experts": 2,
        "moe_intermediate_size": 7,
    }
    latent = {"kv_lora_rank": 12, "q_lora_rank": draw.choice([None, 9]), "qk_rope_head_dim": 4}
    heads = {"qk_nope_head_dim": 6, "v_head_dim": 5, "attention_bias": draw.random() < 0.5}
    groups = {"n_group": 1, "topk_group": 1, "num_nextn_predict_layers": 0}
    config = common(draw, first_k_dense_replace=draw.randint(0, 2), **experts, **latent, **heads, **groups)
    return sometimes_absent(
        draw, config | {"num_key_value_heads": config["num_attention_heads"]}, "n_shared_experts"
    )


FAMILIES: dict[str, Callable[[Random], dict[str, Any]]] = {
    "llama": llama,
    "mistral": mistral,
    "mixtral": mixtral,
    "qwen2": qwen2,
    "qwen3": qwen3,
    "qwen3_moe": qwen3_moe,
    "gemma": gemma,
    "gemma2": gemma2,
    "gemma3_text": gemma3_text,
    "phi3": phi3,
    "falcon": falcon,
    "gpt2": gpt2,
    "gpt_oss": gpt_oss,
    "deepseek_v2": deepseek,
    "deepseek_v3": deepseek,
    "kimi_k2": deepseek,
}


def drawn(family: str, seed: int) -> dict[str, Any]:
    return {"model_type": family, **FAMILIES[family](Random(f"{family} {seed}"))}


# ---------------------------------------------------------------------------------------------- parameters


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_config_at_random_has_as_many_parameters_as_the_class(family: str, seed: int) -> None:
    config = drawn(family, seed)
    assert model_of(config).known_parameters.total == parameters_of(theirs(config))


@pytest.mark.slow
@pytest.mark.parametrize("name", CATALOGUE)
def test_a_model_of_the_catalogue_has_as_many_parameters_as_the_class(name: str) -> None:
    assert find_model(name).known_parameters.total == parameters_of(theirs(dict(CATALOGUE[name].config)))


# ----------------------------------------------------------------------------------------------- the cache


@pytest.mark.parametrize("seed", RUN_SEEDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_class_caches_as_many_bytes(family: str, seed: int) -> None:
    """The class runs on the CPU in fp32 and leaves its own cache."""
    config = drawn(family, seed)
    module = theirs(config, "cpu").eval()
    cache = DynamicCache(config=module.config)
    with torch.no_grad():
        module(torch.randint(0, 20, (2, TOKENS)), past_key_values=cache, use_cache=True)
    assert bytes_in(cache) == expected(model_of(config))


def bytes_in(cache: Any) -> int:
    """Bytes of all tensors in a cache of `transformers`."""
    parts = [part for layer in cache.layers for part in (layer.keys, layer.values)]
    return sum(part.numel() * part.element_size() for part in parts)


def expected(model: Model) -> int:
    """Ours, two sequences in fp32, with a token less in a full window: `transformers` drops the oldest token of a
    window as soon as the newest has been attended, we when the next one comes."""
    fp32 = ELEMENT_TYPES["fp32"]
    full = [kind for kind in model.kinds if kind.window is not None and kind.window <= TOKENS]
    return model.windowed_bytes(fp32, TOKENS, 2) - 2 * sum(
        kind.layers * kind.token_bytes(fp32) for kind in full
    )


@pytest.mark.parametrize(
    "name", ["llama-3.1-8b", "qwen2.5-7b", "gpt-oss-20b", "gemma-3-27b", "mistral-7b-v0.1"]
)
def test_a_static_cache_reserves_what_a_window_keeps(name: str) -> None:
    """Full size, on the meta device: transformers' StaticCache has min(length, window) places a layer."""
    config = AutoConfig.for_model(**CATALOGUE[name].config)
    cache = StaticCache(config=config, max_cache_len=8192)
    model = find_model(name)
    first = model.kinds[0].vectors[0]
    cache.early_initialization(1, first.copies, first.length, torch.bfloat16, torch.device("meta"))
    assert bytes_in(cache) == model.windowed_bytes(ELEMENT_TYPES["bf16"], 8192, 1)
