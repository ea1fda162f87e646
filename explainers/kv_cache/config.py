"""From the text of a config.json to a Model: which vectors each layer caches, over which window, and why.

Nothing in a config is evaluated, and what is wrong with one is said in a sentence that names the key.
Where a key is absent, the default of the family's configuration class in `transformers` counts, and a warning says so.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from explainers.contract.messages import Message, joined
from explainers.kv_cache.config_keys import MOST_OTHERWISE, Keys, shown
from explainers.kv_cache.config_text import read_config
from explainers.kv_cache.config_vectors import BreakSize, attention_of, heads_of, vectors_of
from explainers.kv_cache.families import ENCODER_AND_DECODER, families, refusal
from explainers.kv_cache.layer_patterns import CHUNKED, NAMES, NONE, SLIDING, layer_types
from explainers.kv_cache.layers import LayerKind, Model, Parameters, Vector
from explainers.kv_cache.parameters import COUNT, Heads, count, has_latent
from explainers.kv_cache.understood import warnings_of

# What the classes in `transformers` set for the count of parameters, and families that it does not have.
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "mixtral": {"num_experts": 8, "num_experts_per_tok": 2},
    "gemma": {"tie_word_embeddings": True},
    "gemma2": {"tie_word_embeddings": True},
    "gemma3_text": {"tie_word_embeddings": True, "vocab_size": 262_208, "max_position_embeddings": 131_072},
    "gemma4_text": {"global_head_dim": 512},
    "mimo_v2_flash": {"swa_num_key_value_heads": 8},
    "gpt2": {"tie_word_embeddings": True},
    "falcon": {"tie_word_embeddings": True, "parallel_attn": True},
    "gpt_oss": {"attention_bias": True, "num_experts": 128, "num_experts_per_tok": 4},
    "deepseek_v2": {"q_lora_rank": 1536, "n_shared_experts": 2},
    "deepseek_v3": {"q_lora_rank": 1536, "n_shared_experts": 1, "first_k_dense_replace": 3},
    "kimi_k2": {"q_lora_rank": 1536, "n_shared_experts": 1, "first_k_dense_replace": 1},
}

# The objects of a multimodal config that hold its text model, or hold what holds it.
TEXT_CONFIGS = ("text_config", "language_config", "llm_config", "thinker_config", "decoder_config")
MOST_NESTED = 4

WINDOW_KEYS = {SLIDING: "sliding_window", CHUNKED: "attention_chunk_size"}


# ------------------------------------------------------------------------------------------------ the model


def model_of(config: Mapping[str, Any], name: str = "config.json", break_it: BreakSize = "none") -> Model:
    """The decoder that a config describes.

    name: what to call it. break_it counts the cache as common calculators do: head_dim_from_hidden takes
    hidden_size / num_attention_heads for head_dim; mla_as_mha caches a key and a value for every head; ignore_window
    keeps all tokens everywhere. The parameters stay right; None where they are not known.
    Raises ValueError with one sentence that names the key and what is allowed.
    """
    keys = keys_of(config)
    for family in (config.get("model_type"), keys.family):  # of the whole, and of its text model
        if isinstance(family, str) and (reason := refusal(family)):
            raise ValueError(Message("model_type is {family}: {reason}", family=family, reason=reason))
    if keys.flag("is_encoder_decoder"):
        raise ValueError(Message("is_encoder_decoder is true: {reason}", reason=ENCODER_AND_DECODER))
    warnings: list[str] = []
    types, names = layer_types(keys, warnings)
    query = keys.whole("num_attention_heads")
    kinds = _kinds(keys, types, query, break_it)
    parameters, unknown = parameters_of(keys)
    warnings = [*warnings_of(keys), *warnings]
    return Model(
        name=name,
        title=_title(name, keys.family, bool(warnings)),
        model_type=keys.family,
        hidden_size=keys.whole("hidden_size"),
        kinds=kinds,
        parameters=parameters,
        parameters_unknown=unknown,
        max_position=_longest(keys),
        keys=_origins(keys, kinds, names, break_it),
        warnings=tuple(warnings),
        notes=tuple(_notes(keys, types, names)),
        config=keys.config,
    )


def _title(name: str, family: str, is_doubtful: bool) -> str:
    """What the screen calls the model; a doubt stands wherever its number does."""
    if is_doubtful:
        return Message("{name} ({family}, uncertain)", name=name, family=family or Message("unknown family"))
    return f"{name} ({family})" if family else name


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
    known = families().get(model_type)
    more = DEFAULTS.get(model_type, {})
    if known is None:
        return Keys(config, model_type, defaults=more, inside=inside)
    defaults = {**known.defaults, **more}
    if (
        "sliding_attention" not in known.layers
    ):  # files of Mistral's later models leave out that they have no window
        defaults.pop("sliding_window", None)
    return Keys(config, model_type, defaults=defaults, known=known.keys, layers=known.layers, inside=inside)


def _text_config(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """The config of the text model and the keys that hold it, where it is a part of a multimodal one."""
    inside: list[str] = []
    for _ in range(MOST_NESTED):
        key = next((key for key in TEXT_CONFIGS if config.get(key) is not None), None)
        if key is None:
            break
        inner = config[key]
        if not isinstance(inner, Mapping):
            raise ValueError(
                Message(
                    "{key} is {value}; it must be an object with the keys of the text model",
                    key=key,
                    value=shown(inner),
                )
            )
        outer = {name: config[name] for name in ("tie_word_embeddings",) if name in config}
        config = {**outer, **inner}
        inside.append(key)
    return config, ".".join(inside)


def _longest(keys: Keys) -> int | None:
    """max_position_embeddings, or the longer context that YaRN was trained for: factor times the original."""
    given = keys.optional("max_position_embeddings")
    scaling = keys.config.get("rope_scaling") or keys.config.get("rope_parameters")
    if not isinstance(scaling, Mapping) or scaling.get("rope_type", scaling.get("type")) != "yarn":
        return given
    factor, original = scaling.get("factor"), scaling.get("original_max_position_embeddings", given)
    if (
        isinstance(factor, (int, float))
        and isinstance(original, int)
        and 0 < factor * original < MOST_OTHERWISE
    ):
        return max(given or 0, int(factor * original))
    return given


def _notes(keys: Keys, types: list[str], names: list[str]) -> Iterator[Message]:
    """What was left out, and what the config says of its cache."""
    if keys.inside:
        yield Message(
            "Only {key} is counted: the other parts of a multimodal model keep no KV cache.", key=keys.inside
        )
    if keys.optional("num_nextn_predict_layers", least=0):
        yield Message(
            "{key}: the module that predicts further tokens is not counted.",
            key=keys.said("num_nextn_predict_layers"),
        )
    if keys.optional("num_kv_shared_layers", least=0):
        yield Message(
            "{key}: the last layers read the cache of earlier ones and keep none.",
            key=keys.said("num_kv_shared_layers"),
        )
    if crossing := keys.listed("cross_attention_layers", int, Message("numbers of layers")):
        yield Message(
            "{count} layers attend to an image, whose keys and values are not counted.", count=len(crossing)
        )
    without = dict.fromkeys(name for name in names if NAMES.get(name) == NONE)
    if without:
        yield Message(
            "{without} of {layers} layers ({types}) keep a state of fixed size instead of a KV cache "
            "and are left out of the bytes.",
            without=sum(name in without for name in names),
            layers=len(names),
            types=joined(list(without)),
        )
    quantized = keys.config.get("quantization_config")
    scheme = quantized.get("kv_cache_scheme") if isinstance(quantized, Mapping) else None
    if isinstance(scheme, Mapping) and scheme.get("num_bits") == 8:
        yield Message("The config asks for a cache of 8 bits (kv_cache_scheme): choose fp8 for it.")


# ----------------------------------------------------------------------------------------------- the layers


def _kinds(keys: Keys, types: list[str], query: int, break_it: BreakSize) -> tuple[LayerKind, ...]:
    """The layers by what they keep, in the order in which the kinds turn up."""
    alike: dict[tuple[str, tuple[Vector, ...]], int] = {}
    of_layers = _heads_by_layer(keys, len(types), query)
    changes = _changes_by_layer(keys, len(types))
    common = {layer_type: vectors_of(keys, layer_type, break_it) for layer_type in set(types) - {NONE}}
    for layer, layer_type in enumerate(types):
        if layer_type == NONE:
            continue
        vectors = common[layer_type]
        if changed := changes.get(layer):
            vectors = vectors_of(keys.with_changes(changed), layer_type, break_it)
        if of_layers is not None:
            vectors = tuple(replace(vector, copies=of_layers[layer]) for vector in vectors)
        alike[layer_type, vectors] = alike.get((layer_type, vectors), 0) + 1
    if not alike:
        raise ValueError(
            Message("layer_types names no layer with attention; without one there is no KV cache to count")
        )
    return tuple(
        LayerKind(
            layer_type,
            attention_of(vectors, query),
            layers,
            query,
            vectors,
            None if break_it == "ignore_window" else _window(keys, layer_type),
        )
        for (layer_type, vectors), layers in alike.items()
    )


def _changes_by_layer(keys: Keys, layers: int) -> dict[int, Mapping[str, Any]]:
    """per_layer_config of `transformers`: by the number of a layer the keys that are different in it."""
    given = keys.config.get("per_layer_config")
    if given is None:
        return {}
    sentence = Message("per_layer_config must be an object of objects, each under the number of a layer")
    if not isinstance(given, Mapping) or not all(isinstance(each, Mapping) for each in given.values()):
        raise ValueError(sentence)
    if not all(number.isdecimal() and int(number) < layers for number in given):
        raise ValueError(sentence)
    return {int(number): each for number, each in given.items()}


def _heads_by_layer(keys: Keys, layers: int, query: int) -> list[int] | None:
    """KV heads layer by layer: num_key_value_heads_per_layer (DeciLM), block_configs (Nemotron-NAS)."""
    given = keys.listed("num_key_value_heads_per_layer", int, Message("{layers:,} numbers", layers=layers))
    if given is None and (blocks := keys.listed("block_configs", dict, Message("objects, one a layer"))):
        groups = [block["attention"].get("n_heads_in_group") for block in blocks]
        if any(group is not None and (type(group) is not int or group < 1) for group in groups):
            raise ValueError(Message("n_heads_in_group in block_configs must be a whole number from 1"))
        given = [query // group if group else query for group in groups]
    if given is None:
        return None
    if len(given) != layers or not all(1 <= heads <= query for heads in given):
        raise ValueError(
            Message(
                "num_key_value_heads_per_layer must hold {layers:,} numbers from 1 to {query}",
                layers=layers,
                query=query,
            )
        )
    return given


def _window(keys: Keys, layer_type: str) -> int | None:
    """The tokens that a layer keeps; None for all."""
    both_sides = keys.optional("local_attention")
    if layer_type == SLIDING and both_sides and keys.optional("sliding_window") is None:
        return max(1, both_sides // 2)  # ModernBERT counts the tokens on both sides
    key = WINDOW_KEYS.get(layer_type)
    return None if key is None else keys.whole(key)


# ---------------------------------------------------------------------------------------- where it came from


def _origins(
    keys: Keys, kinds: tuple[LayerKind, ...], names: list[str], break_it: BreakSize
) -> dict[str, str]:
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
        heads = heads_of(keys)
        origins["kv_heads"] = _kv_heads_origin(keys, heads)
        from_hidden = break_it == "head_dim_from_hidden" or keys.optional("head_dim") is None
        origins["head_dim"] = _head_dim_from_hidden(keys, heads) if from_hidden else keys.said("head_dim")
    for kind in kinds:
        if kind.window is not None:
            key = WINDOW_KEYS[kind.name]
            origins["window"] = keys.said(key if keys.optional(key) else "local_attention")
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


# --------------------------------------------------------------------------------------------- the parameters


def parameters_of(keys: Keys) -> tuple[Parameters | None, str]:
    """The parameters, exact; or None, and why they are not known."""
    if keys.family not in COUNT:
        return None, Message("no count of parameters is known for this family")
    try:
        return count(keys, heads_of(keys)), ""
    except ValueError as error:
        return None, error.args[0]
