"""Which layers of a model keep a cache, over which window: what the many keys for it say, one reader for each.

Every reader answers with the type of each layer, FULL, SLIDING, CHUNKED or NONE, or with None where the config does
not have its key. The first that answers counts. Sources: the config classes of `transformers`, and the config.json of
the models named at each reader.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from explainers.contract.messages import Message, joined
from explainers.kv_cache.config_keys import Keys, plain, shown
from explainers.kv_cache.families import ATTENTIONS_A_LAYER

FULL, SLIDING, CHUNKED, NONE = "full", "sliding", "chunked", "none"

# What configs call the types of layers.
NAMES: Mapping[str, str] = {
    **dict.fromkeys(("full_attention", "attention", "global_attention", "full", "global", "hybrid"), FULL),
    "indexed_attention": FULL,
    **dict.fromkeys(("sliding_attention", "local_attention", "sliding", "local"), SLIDING),
    "chunked_attention": CHUNKED,
    **dict.fromkeys(
        ("linear_attention", "linear", "mamba", "mamba2", "recurrent", "conv", "moe", "mlp"), NONE
    ),
}

Types = list[str]

_PATTERN_KEYS = ("layer_types", "layers_block_type", "linear_attn_config")  # of classes whose layers differ


def layer_types(keys: Keys, warnings: list[str]) -> tuple[Types, Types]:
    """What each attention of the model keeps, and what the config calls it. Adds to `warnings` what was assumed."""
    layers = _number_of_layers(keys)
    for reader in _READERS:
        if (found := reader(keys, layers, warnings)) is not None:
            names = found
            break
    else:
        names = _by_window(keys, layers)
        if not keys.known.isdisjoint(_PATTERN_KEYS) and not keys.holds("sliding_window_pattern"):
            warnings.append(
                Message("No key says which layer is of which type: counted as if all kept the same.")
            )
    types = [NAMES.get(name, name) for name in names]
    if not keys.flag("use_sliding_window", True):
        types = [FULL if layer_type == SLIDING else layer_type for layer_type in types]
    types = _without_shared(keys, _without_cross_attention(keys, types))
    times = ATTENTIONS_A_LAYER.get(keys.family, 1)
    return types * times, names * times


def _number_of_layers(keys: Keys) -> int:
    if not keys.holds("num_hidden_layers"):
        for key in ("hybrid_override_pattern", "layers_block_type"):  # Nemotron-H
            pattern = keys.config.get(key)
            if isinstance(pattern, (str, list)) and pattern:
                return len(pattern)
    return keys.whole("num_hidden_layers")


# ------------------------------------------------------------------------------------------------- the readers


def _named(keys: Keys, layers: int, warnings: list[str]) -> Types | None:
    """layer_types, and layers_block_type of Jamba, Bamba and Zamba2: a name for each layer."""
    for key in ("layer_types", "layers_block_type"):
        given = keys.listed(key, str, Message("{layers:,} names, one a layer", layers=layers))
        if given is None:
            continue
        for name in given:
            if name not in NAMES:
                raise ValueError(
                    Message(
                        "{key} names {found}; allowed are {allowed} and other names for these",
                        key=key,
                        found=plain(name),
                        allowed=joined(["full_attention", "sliding_attention", "chunked_attention", "mamba"]),
                    )
                )
        if "indexed_attention" in given:
            warnings.append(Message("indexed_attention: the keys of the indexer are not counted."))
        return _as_many(key, given, layers, warnings)
    return None


def _as_many(key: str, given: Sequence[Any], layers: int, warnings: list[str]) -> list[Any]:
    """A list with an entry for each layer; what is beyond the last layer is left out, with a warning."""
    if len(given) < layers:
        raise ValueError(
            Message(
                "{key} has {entries:,} entries; it must have one for each of the {layers:,} layers",
                key=key,
                entries=len(given),
                layers=layers,
            )
        )
    if len(given) > layers:
        warnings.append(
            Message(
                "{key} has {entries:,} entries for {layers:,} layers; the first {layers:,} count.",
                key=key,
                entries=len(given),
                layers=layers,
            )
        )
    return list(given[:layers])


def _numbered(key: str, first: int = 0) -> Callable[[Keys, int, list[str]], Types | None]:
    """A list of the layers with attention, numbered from `first`; the others keep none."""

    def read(keys: Keys, layers: int, warnings: list[str]) -> Types | None:
        given = keys.listed(key, int, Message("numbers of layers"))
        if given is None:
            return None
        return _at(key, given, layers, first)

    return read


def _at(key: str, given: Sequence[int], layers: int, first: int) -> Types:
    for layer in given:
        if not first <= layer < layers + first:
            raise ValueError(
                Message(
                    "{key} names layer {layer}; allowed are {first} to {last}",
                    key=key,
                    layer=layer,
                    first=first,
                    last=layers + first - 1,
                )
            )
    return ["full_attention" if layer + first in given else "linear_attention" for layer in range(layers)]


def _blocks(keys: Keys, layers: int, warnings: list[str]) -> Types | None:
    """block_configs of Nemotron-NAS: an object a layer; attention.no_op and replace_with_linear keep none."""
    given = keys.listed("block_configs", dict, Message("objects, one a layer"))
    if given is None:
        return None
    types = []
    for block in _as_many("block_configs", given, layers, warnings):
        attention = block.get("attention")
        if not isinstance(attention, Mapping):
            raise ValueError(
                Message("attention in block_configs is {value}; it must be an object", value=shown(attention))
            )
        without = attention.get("no_op") is True or attention.get("replace_with_linear") is True
        types.append("linear_attention" if without else "full_attention")
    return types


def _linear_config(keys: Keys, layers: int, warnings: list[str]) -> Types | None:
    """linear_attn_config of Kimi Linear: full_attn_layers, numbered from 1."""
    given = keys.config.get("linear_attn_config")
    if given is None:
        return None
    numbers = given.get("full_attn_layers") if isinstance(given, Mapping) else None
    if not isinstance(numbers, list) or any(type(layer) is not int for layer in numbers):
        raise ValueError(
            Message("linear_attn_config must be an object with full_attn_layers, a list of numbers of layers")
        )
    return _at("linear_attn_config.full_attn_layers", numbers, layers, 1)


def _zeros_and_ones(key: str, one: str, zero: str) -> Callable[[Keys, int, list[str]], Types | None]:
    """A 0 or a 1 for each layer."""

    def read(keys: Keys, layers: int, warnings: list[str]) -> Types | None:
        given = keys.listed(key, int, Message("zeros and ones, one a layer"))
        if given is None:
            return None
        if not set(given) <= {0, 1}:
            raise ValueError(Message("{key} holds other numbers than 0 and 1", key=key))
        return [one if each else zero for each in _as_many(key, given, layers, warnings)]

    return read


def _repeated(keys: Keys, layers: int, warnings: list[str]) -> Types | None:
    """block_types of RecurrentGemma: names that repeat; its attention has a window."""
    given = keys.listed("block_types", str, Message("names that repeat from layer to layer"))
    if not given:
        return None
    if not set(given) <= {"recurrent", "attention"}:
        raise ValueError(Message("block_types names other blocks than recurrent and attention"))
    local = "sliding_attention" if keys.optional("sliding_window") else "full_attention"
    return [local if given[layer % len(given)] == "attention" else "recurrent" for layer in range(layers)]


def _letters(keys: Keys, layers: int, warnings: list[str]) -> Types | None:
    """hybrid_override_pattern of Nemotron-H: a letter for each layer, * for attention."""
    given = keys.config.get("hybrid_override_pattern")
    if given is None:
        return None
    if not isinstance(given, str) or not set(given) <= set("*M-E"):
        raise ValueError(Message("hybrid_override_pattern must be a text of the letters *, M, E and -"))
    letters = _as_many("hybrid_override_pattern", given, layers, warnings)
    return ["full_attention" if letter == "*" else "mamba" for letter in letters]


def _period(keys: Keys, layers: int, warnings: list[str]) -> Types | None:
    """attn_layer_period and attn_layer_offset of Jamba."""
    if (period := keys.optional("attn_layer_period")) is None:
        return None
    offset = keys.whole("attn_layer_offset", 0, least=0)
    return ["full_attention" if layer % period == offset else "mamba" for layer in range(layers)]


def _every(key: str, other: str) -> Callable[[Keys, int, list[str]], Types | None]:
    """The last of every so many layers sees everything; the others are of type `other`."""

    def read(keys: Keys, layers: int, warnings: list[str]) -> Types | None:
        if (every := keys.optional(key)) is None:
            return None
        return ["full_attention" if (layer + 1) % every == 0 else other for layer in range(layers)]

    return read


def _first_of_every(keys: Keys, layers: int, warnings: list[str]) -> Types | None:
    """global_attn_every_n_layers of ModernBERT: the first of every n layers sees everything."""
    if (every := keys.optional("global_attn_every_n_layers")) is None:
        return None
    return ["full_attention" if layer % every == 0 else "sliding_attention" for layer in range(layers)]


def _without_rope(keys: Keys, layers: int, warnings: list[str]) -> Types | None:
    """Llama 4: layers without RoPE (a 0 in no_rope_layers, or the last of no_rope_layer_interval) see everything."""
    if keys.optional("attention_chunk_size") is None or not keys.knows("no_rope_layer_interval"):
        return None
    given = keys.listed("no_rope_layers", int, Message("zeros and ones, one a layer"))
    if given:
        rope = _as_many("no_rope_layers", given, layers, warnings)
        return ["chunked_attention" if each else "full_attention" for each in rope]
    every = keys.whole("no_rope_layer_interval", 4)
    return ["full_attention" if (layer + 1) % every == 0 else "chunked_attention" for layer in range(layers)]


def _of_family(keys: Keys, layers: int, warnings: list[str]) -> Types | None:
    """How the layers of the family's class follow each other, where no key says so."""
    period = keys.layers
    if not period or keys.optional("sliding_window_pattern") or keys.optional("max_window_layers", least=0):
        return None
    if (
        "sliding_attention" in period
        and keys.optional("sliding_window") is None
        and not keys.holds("local_attention")
    ):
        return ["full_attention"] * layers  # the window is null
    if any(name not in NAMES for name in period):
        return None
    if len(period) > 1:
        warnings.append(
            Message(
                "No key says which layer is of which type; counted as in {family}: {types}, repeated.",
                family=keys.family,
                types=joined([name.removesuffix("_attention") for name in period]),
            )
        )
    return [period[layer % len(period)] for layer in range(layers)]


def _by_window(keys: Keys, layers: int) -> Types:
    """All layers full, or all with a window but those that a pattern or max_window_layers leaves out."""
    if not keys.flag("use_sliding_window", True) or keys.optional("sliding_window") is None:
        return ["full_attention"] * layers
    pattern = keys.optional("sliding_window_pattern")  # one layer in every `pattern` sees everything
    first = keys.whole("max_window_layers", 0, least=0)
    slides = [layer >= first and (pattern is None or (layer + 1) % pattern != 0) for layer in range(layers)]
    return ["sliding_attention" if sliding else "full_attention" for sliding in slides]


_READERS: tuple[Callable[[Keys, int, list[str]], Types | None], ...] = (
    _named,
    _blocks,
    _linear_config,
    _zeros_and_ones("attn_type_list", "full_attention", "linear_attention"),  # MiniMax-M1
    _zeros_and_ones("hybrid_layer_pattern", "sliding_attention", "full_attention"),  # MiMo-V2
    _every("layer_group_size", "linear_attention"),  # Ling linear
    _numbered("full_attn_idxs"),  # LFM2
    _numbered("attn_layer_indices"),  # Bamba
    _numbered("hybrid_layer_ids"),  # Zamba2
    _repeated,
    _letters,
    _period,
    _every("full_attention_interval", "linear_attention"),  # Qwen3-Next
    _first_of_every,
    _without_rope,
    _of_family,
)


# ------------------------------------------------------------------------------------- layers that keep nothing


def _without_cross_attention(keys: Keys, types: Types) -> Types:
    """Llama 3.2 Vision: layers that attend to the image keep none of the text's tokens."""
    crossing = keys.listed("cross_attention_layers", int, Message("numbers of layers")) or []
    return [NONE if layer in crossing else layer_type for layer, layer_type in enumerate(types)]


def _without_shared(keys: Keys, types: Types) -> Types:
    """Gemma 3n: the last num_kv_shared_layers layers read the cache of earlier ones."""
    shared = keys.whole("num_kv_shared_layers", 0, least=0)
    if shared >= len(types):
        if not shared:
            return types
        raise ValueError(
            Message(
                "{key}; at least one layer must keep its own cache", key=keys.said("num_kv_shared_layers")
            )
        )
    return [*types[: len(types) - shared], *[NONE] * shared]
