"""From the text of a config.json to a Model: which vectors each layer caches, over which window, and why.

Nothing in a config is evaluated, and what is wrong with one is said in a sentence that names the key.
Defaults where a key is absent are those of the configuration classes in `transformers`, for the keys that published
configs of a family do leave out. An absent sliding_window is none.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any, Literal

from explainers.contract.messages import Message, joined
from explainers.kv_cache.config_keys import Keys, plain, shown
from explainers.kv_cache.config_text import read_config
from explainers.kv_cache.layers import Attention, LayerKind, Model, Vector
from explainers.kv_cache.parameters import COUNT, Heads, count, has_latent

BreakSize = Literal["none", "head_dim_from_hidden", "mla_as_mha", "ignore_window"]

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "mistral": {"num_key_value_heads": 8},
    "mixtral": {"num_key_value_heads": 8, "num_experts": 8, "num_experts_per_tok": 2},
    "qwen2": {"use_sliding_window": False, "max_window_layers": 28},
    "qwen3": {"use_sliding_window": False, "max_window_layers": 28, "head_dim": 128},
    "qwen3_moe": {"use_sliding_window": False, "num_key_value_heads": 4},
    "gemma": {"tie_word_embeddings": True, "head_dim": 256},
    "gemma2": {
        "tie_word_embeddings": True,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "sliding_window_pattern": 2,
    },
    "gemma3_text": {
        "tie_word_embeddings": True,
        "vocab_size": 262_208,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "max_position_embeddings": 131_072,
        "sliding_window_pattern": 6,
    },
    "gpt2": {"tie_word_embeddings": True},
    "falcon": {"tie_word_embeddings": True, "multi_query": True, "parallel_attn": True},
    "gpt_oss": {
        "attention_bias": True,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "num_experts": 128,
        "num_experts_per_tok": 4,
        "sliding_window_pattern": 2,
    },
    "deepseek_v2": {"q_lora_rank": 1536, "n_shared_experts": 2},
    "deepseek_v3": {"q_lora_rank": 1536, "n_shared_experts": 1, "first_k_dense_replace": 3},
    "kimi_k2": {"q_lora_rank": 1536, "n_shared_experts": 1, "first_k_dense_replace": 1},
}

# Keys that change the count of real models and are not counted here.
NOT_COUNTED: Mapping[str, str] = {
    "num_nextn_predict_layers": Message("the module that predicts further tokens is not counted."),
    "num_kv_shared_layers": Message("layers that share a cache are counted as if each had its own."),
}

# Keys of layouts that are not read here: with one of them the bytes are those of another model.
NOT_UNDERSTOOD = (
    *("attn_layer_period", "attn_layer_indices", "layers_block_type", "hybrid_override_pattern"),  # hybrids
    *("global_head_dim", "num_global_key_value_heads", "cross_attention_layers", "use_cla"),
    *("attn_config", "index_head_dim", "is_encoder_decoder"),
)

TEXT_CONFIGS = ("text_config", "language_config", "llm_config")

WINDOW_KEYS = {"sliding_attention": "sliding_window", "chunked_attention": "attention_chunk_size"}
NO_CACHE = ("linear_attention", "mamba", "mamba2", "recurrent", "conv")
LAYER_TYPES = ("full_attention", "attention", *WINDOW_KEYS, *NO_CACHE)


# ------------------------------------------------------------------------------------------------ the model


def model_of(config: Mapping[str, Any], name: str = "config.json", break_it: BreakSize = "none") -> Model:
    """The decoder that a config describes.

    name: what to call it. break_it counts the cache as common calculators do: head_dim_from_hidden takes
    hidden_size / num_attention_heads for head_dim; mla_as_mha caches a key and a value for every head; ignore_window
    keeps all tokens everywhere. The parameters stay right.
    Raises ValueError with one sentence that names the key and what is allowed.
    """
    keys = keys_of(config)
    for needed in ("num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size"):
        keys.whole(needed)  # what every config must say
    notes = _first_notes(keys)
    heads = _heads(keys)
    attention, vectors = _vectors(keys, heads, break_it)
    kinds = _layer_kinds(keys, attention, heads.query, vectors, break_it, notes)
    return Model(
        name=name,
        title=f"{name} ({keys.family})" if keys.family else name,
        model_type=keys.family,
        hidden_size=keys.whole("hidden_size"),
        kinds=kinds,
        parameters=count(keys, heads),
        max_position=keys.optional("max_position_embeddings"),
        keys=_origins(keys, heads, kinds, break_it),
        notes=tuple(notes),
        config=keys.config,
    )


@functools.lru_cache(maxsize=16)
def read_model(text: str, break_it: BreakSize = "none") -> Model:
    """The model that the text of a config.json describes. Raises ValueError as read_config and model_of do."""
    return model_of(read_config(text), break_it=break_it)


def keys_of(config: Mapping[str, Any]) -> Keys:
    """The keys of the text model, with the defaults of its family."""
    config, inside = _text_config(config)
    model_type = config.get("model_type") or ""
    if model_type and not (isinstance(model_type, str) and re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", model_type)):
        raise ValueError(
            Message(
                "model_type is {value}; it must be 1 to 40 letters, digits, dots, hyphens or underscores",
                value=shown(model_type),
            )
        )
    return Keys(config, DEFAULTS.get(model_type, {}), model_type, inside)


def _text_config(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """The config of the text model and the key that holds it, where it is a part of a multimodal one."""
    for key in TEXT_CONFIGS:
        inner = config.get(key)
        if inner is None:
            continue
        if not isinstance(inner, Mapping):
            raise ValueError(
                Message(
                    "{key} is {value}; it must be an object with the keys of the text model",
                    key=key,
                    value=shown(inner),
                )
            )
        outer = {name: config[name] for name in ("tie_word_embeddings",) if name in config}
        return {**outer, **inner}, key
    return config, ""


def _first_notes(keys: Keys) -> list[str]:
    """What is assumed of the whole config."""
    notes = []
    if keys.inside:
        notes.append(
            Message(
                "Only {key} is counted: the other parts of a multimodal model keep no KV cache.",
                key=keys.inside,
            )
        )
    if keys.family not in COUNT:
        notes.append(
            Message(
                "model_type {family} is not known here: counted as a Llama-like decoder; cache and parameters are "
                "estimates.",
                family=keys.family,
            )
            if keys.family
            else Message(
                "model_type is absent: counted as a Llama-like decoder; cache and parameters are estimates."
            )
        )
    for name, sentence in NOT_COUNTED.items():
        if keys.optional(name, least=0):
            notes.append(Message("{key}: {consequence}", key=keys.said(name), consequence=sentence))
    for name in NOT_UNDERSTOOD:
        if keys.config.get(name):
            notes.append(
                Message(
                    "{key} is not understood here: the cache is counted as if it were absent, and is wrong.",
                    key=name,
                )
            )
    if keys.config.get("attention_chunk_size") and not keys.config.get("layer_types"):
        notes.append(
            Message(
                "attention_chunk_size without layer_types: every layer is counted as if it saw everything."
            )
        )
    return notes


# ------------------------------------------------------------------------------------------------ the heads


def _heads(keys: Keys) -> Heads:
    query = keys.whole("num_attention_heads")
    if has_latent(keys):  # every head has its own key and value, made from the latent
        return Heads(query, query, keys.whole("qk_nope_head_dim") + keys.whole("qk_rope_head_dim"))
    kv = kv_heads(keys, query)
    if query % kv:
        raise ValueError(
            Message(
                "{kv_heads} does not divide {query_heads}; each KV head must serve the same number of query heads",
                kv_heads=keys.said("num_key_value_heads"),
                query_heads=keys.said("num_attention_heads"),
            )
        )
    return Heads(query, kv, _head_dim(keys, query))


def kv_heads(keys: Keys, query: int) -> int:
    """One a query head unless the config says fewer. Falcon's first layouts have one for all, or one each."""
    if not keys.flag("new_decoder_architecture"):
        if keys.flag("multi_query"):
            return 1
        if keys.family == "falcon":
            return query
    return keys.whole("num_key_value_heads", query)


def _head_dim(keys: Keys, query: int) -> int:
    hidden = keys.whole("hidden_size")
    given = keys.optional("head_dim")
    if given is None and hidden % query:
        raise ValueError(
            Message(
                "{heads} does not divide {hidden_size}; where it does not, head_dim must be given",
                heads=keys.said("num_attention_heads"),
                hidden_size=keys.said("hidden_size"),
            )
        )
    return given or hidden // query


def _vectors(keys: Keys, heads: Heads, break_it: BreakSize) -> tuple[Attention, tuple[Vector, ...]]:
    """What one token leaves in one layer: a key and a value for each KV head, or the latent and the RoPE key."""
    if has_latent(keys):
        return _latent_vectors(keys, heads, break_it)
    dim = heads.dim
    if break_it == "head_dim_from_hidden":
        dim = max(1, keys.whole("hidden_size") // heads.query)
    attention: Attention = "MHA" if heads.kv == heads.query else "MQA" if heads.kv == 1 else "GQA"
    return attention, (Vector("key", heads.kv, dim), Vector("value", heads.kv, dim))


def _latent_vectors(keys: Keys, heads: Heads, break_it: BreakSize) -> tuple[Attention, tuple[Vector, ...]]:
    rope = keys.whole("qk_rope_head_dim")
    if break_it == "mla_as_mha":
        key, value = keys.whole("qk_nope_head_dim") + rope, keys.whole("v_head_dim")
        return "MHA", (Vector("key", heads.query, key), Vector("value", heads.query, value))
    return "MLA", (Vector("latent", 1, keys.whole("kv_lora_rank")), Vector("RoPE key", 1, rope))


# ----------------------------------------------------------------------------------------------- the layers


def _layer_kinds(
    keys: Keys,
    attention: Attention,
    query_heads: int,
    vectors: tuple[Vector, ...],
    break_it: BreakSize,
    notes: list[str],
) -> tuple[LayerKind, ...]:
    """The layers by what they keep, in the order in which the kinds turn up."""
    types = layer_types(keys)
    left_out = [layer_type for layer_type in dict.fromkeys(types) if layer_type in NO_CACHE]
    if left_out:
        notes.append(
            Message(
                "{without} of {layers} layers ({types}) keep a state of fixed size instead of a KV cache "
                "and are left out of the bytes.",
                without=sum(layer_type in NO_CACHE for layer_type in types),
                layers=len(types),
                types=joined(left_out),
            )
        )
    kinds = []
    for layer_type in dict.fromkeys(types):
        if layer_type in NO_CACHE:
            continue
        window = None if break_it == "ignore_window" else _window(keys, layer_type)
        name, layers = layer_type.removesuffix("_attention"), types.count(layer_type)
        kinds.append(LayerKind(name, attention, layers, query_heads, vectors, window))
    if not kinds:
        raise ValueError(
            Message("layer_types names no layer with attention; without one there is no KV cache to count")
        )
    return tuple(kinds)


def layer_types(keys: Keys) -> list[str]:
    """What each layer is, one of LAYER_TYPES."""
    layers = keys.whole("num_hidden_layers")
    given = keys.listed("layer_types", str, Message("{layers:,} names, one a layer", layers=layers))
    if given is not None:
        return _given_layer_types(keys, layers, given)
    if (every := keys.optional("full_attention_interval")) is not None:
        return [
            "full_attention" if (layer + 1) % every == 0 else "linear_attention" for layer in range(layers)
        ]
    if not _slides(keys):
        return ["full_attention"] * layers
    pattern = keys.optional("sliding_window_pattern")  # one layer in every `pattern` sees everything
    first = keys.whole("max_window_layers", 0, least=0)
    slides = [layer >= first and (pattern is None or (layer + 1) % pattern != 0) for layer in range(layers)]
    return ["sliding_attention" if sliding else "full_attention" for sliding in slides]


def _given_layer_types(keys: Keys, layers: int, given: list[str]) -> list[str]:
    if len(given) != layers:
        raise ValueError(
            Message(
                "layer_types has {entries:,} entries; it must have one for each of the {layers:,} layers",
                entries=len(given),
                layers=layers,
            )
        )
    for layer_type in given:
        if layer_type not in LAYER_TYPES:
            raise ValueError(
                Message(
                    "layer_types names {found}; allowed are {allowed}",
                    found=plain(layer_type),
                    allowed=joined(LAYER_TYPES),
                )
            )
    if not keys.flag("use_sliding_window", True):
        return ["full_attention" if name == "sliding_attention" else name for name in given]
    return given


def _slides(keys: Keys) -> bool:
    return keys.flag("use_sliding_window", True) and keys.optional("sliding_window") is not None


def _window(keys: Keys, layer_type: str) -> int | None:
    key = WINDOW_KEYS.get(layer_type)
    return None if key is None else keys.whole(key)


# ---------------------------------------------------------------------------------------- where it came from


def _origins(keys: Keys, heads: Heads, kinds: tuple[LayerKind, ...], break_it: BreakSize) -> dict[str, str]:
    """What each number is called -> the config key behind it, with its value."""
    origins = {
        "layers": keys.said("num_hidden_layers"),
        "hidden_size": keys.said("hidden_size"),
        "query_heads": keys.said("num_attention_heads"),
    }
    if has_latent(keys):
        origins["latent"] = keys.said("kv_lora_rank")
        origins["rope_key"] = keys.said("qk_rope_head_dim")
    else:
        origins["kv_heads"] = _kv_heads_origin(keys, heads)
        from_hidden = break_it == "head_dim_from_hidden" or keys.optional("head_dim") is None
        origins["head_dim"] = _head_dim_from_hidden(keys, heads) if from_hidden else keys.said("head_dim")
    for kind in kinds:
        if kind.window is not None:
            origins["window"] = keys.said(WINDOW_KEYS[f"{kind.name}_attention"])
    if keys.holds("layer_types"):
        counts: list[str] = [Message("{layers} {kind}", layers=kind.layers, kind=kind.name) for kind in kinds]
        origins["layer_kinds"] = Message("layer_types: {counts}", counts=joined(counts))
    origins["max_position"] = keys.said("max_position_embeddings")
    origins["vocab_size"] = keys.said("vocab_size")
    return origins


def _kv_heads_origin(keys: Keys, heads: Heads) -> str:
    if heads.kv == 1 and keys.flag("multi_query") and not keys.flag("new_decoder_architecture"):
        return Message("multi_query = true, so 1")
    if keys.optional("num_key_value_heads") == heads.kv:
        return keys.said("num_key_value_heads")
    return Message("{heads}, one each", heads=keys.said("num_attention_heads"))


def _head_dim_from_hidden(keys: Keys, heads: Heads) -> str:
    hidden = keys.whole("hidden_size")
    return Message(
        "hidden_size / num_attention_heads = {hidden} / {heads} = {quotient}",
        hidden=hidden,
        heads=heads.query,
        quotient=hidden // heads.query,
    )
