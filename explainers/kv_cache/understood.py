"""What of a config was not understood, or was not there and had to be assumed: said in front of the number.

A layout that is not known must not pass as a Llama. A key counts as understood if a reader of this package uses it, or
if its name says that it has nothing to do with the cache.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from explainers.contract.messages import Message, joined, plural
from explainers.kv_cache.config_keys import DECIDING, SPELLINGS, Keys, plain, shown
from explainers.kv_cache.families import families
from explainers.kv_cache.parameters import COUNT, has_latent

MOST_NAMED = 6  # keys in one sentence

_READ = DECIDING | {spelling for spellings in SPELLINGS.values() for spelling in spellings}

# Parts of names that tell of attention, layers or caches.
_OF_CACHES = re.compile(
    r"head|kv|key|value|attn|attention|layer|cache|window|latent|lora_rank|group|block|hybrid|share|cla|cross|"
    r"recurrent|pattern|interval|period|offset|local|global|chunk|swa|mla|stack|depth"
)
# Parts of names that tell of something else, whatever stands beside them.
_OF_OTHERS = re.compile(
    r"dropout|drop|bias|norm|prob|pdrop|expert|moe|router|mlp|ffn|ff_dim|intermediate|multiplier|softcap|scal|"
    r"temperature|rope|rotary|theta|token|vocab|conv|ssm|mamba|linear_|dt_|mtp|nextn|q_lora|_impl|dtype|adapter|"
    r"use_cache|quant|vision|audio|image|init|epsilon|_eps|act|sink|clip|gate|parallel_attn|position_embedding_type|"
    r"qkv_bias|first_k_dense|sparse_step|topk_group|n_group|_index|embedding|label|version|architectures|auto_map|"
    r"alibi|softmax|flash|logn|gradient|max_length|logit|residual|use_parallel|"
    r"tokenizer|torch|generation|layer_id|kernel|reorder|upcast|summary|chunk_size_feed|return|output|pruned|tie_"
)
# Keys of published configs that no class has and that do not touch the cache.
_ELSEWHERE = frozenset(
    {
        *("pretraining_tp", "name_or_path", "_name_or_path", "model_type", "transformers_version"),
        *(
            "multi_query_attention",
            "attention_method",
            "attention_hidden_size",
            "mla_use_nope",
            "attention_k_eq_v",
        ),
        *("swa_num_attention_heads", "block_dim", "layer_switch", "order_of_interleaved_layers"),
    }
)

# Keys that classes have and whose use would make another cache than the one counted here.
_NOT_COUNTED = (
    "use_cla",
    "index_head_dim",
    "num_attention_heads_per_layer",
    "prefix_dense_sliding_window_pattern",
)

# Keys whose absence says nothing: the class decides by itself, and the number shows how.
_SILENT = frozenset(
    {
        *("use_sliding_window", "multi_query", "new_decoder_architecture", "use_mla", "v_head_dim"),
        *("no_rope_layer_interval", "qk_nope_head_dim", "num_kv_shared_layers", "max_window_layers"),
    }
)


def is_known(keys: Keys) -> bool:
    """Whether the family's config is known: from its class in `transformers`, or counted here by name."""
    return keys.family in families() or keys.family in COUNT


def warnings_of(keys: Keys) -> Iterator[Message]:
    """A sentence for each reason to doubt the bytes. To be called when all keys have been read (`Keys.assumed`)."""
    if not keys.family:
        yield Message("model_type is absent: counted as a Llama, which may be wrong.")
    elif not is_known(keys):
        yield Message(
            "model_type {family} is not known here: its keys are read as those of a Llama, which may be wrong.",
            family=keys.family,
        )
    if unknown := not_understood(keys):
        named = [plain(name) for name in unknown[:MOST_NAMED]]
        yield plural(
            "{keys} is not understood: if it is about attention, layers or the cache, the number is wrong.",
            "{keys} are not understood: if they are about attention, layers or the cache, the number is wrong.",
            count=len(unknown),
            keys=joined([*named, "..."] if len(unknown) > MOST_NAMED else named),
        )
    if assumed := _assumed(keys):
        yield Message(
            "Not in the config, so the defaults of {family} count: {defaults}.",
            family=keys.family,
            defaults=joined(assumed),
        )
    if _lacks_window(keys):
        window = families()[keys.family].defaults.get("sliding_window")
        if window:
            yield Message(
                "sliding_window is absent: every layer is counted in full; {family} itself would take {window:,}.",
                family=keys.family,
                window=window,
            )
        else:
            yield Message("sliding_window is absent: every layer is counted in full.")
    if _one_for_each_head(keys):
        yield Message("num_key_value_heads is absent: counted as one key and value for each query head.")


def _lacks_window(keys: Keys) -> bool:
    """Whether the family's class has a window for all layers and the config does not speak of it."""
    if "sliding_window" not in keys.known or any(
        name in keys.config for name in ("sliding_window", "layer_types")
    ):
        return False
    slides = families()[keys.family].defaults.get("use_sliding_window", True)
    return bool(slides) and "sliding_attention" not in keys.layers


def _one_for_each_head(keys: Keys) -> bool:
    """Whether nothing says how many KV heads there are, though a model of this family may have fewer."""
    if keys.holds("num_key_value_heads") or "num_key_value_heads" in keys.assumed or has_latent(keys):
        return False
    if any(keys.holds(name) for name in ("num_key_value_heads_per_layer", "block_configs", "multi_query")):
        return False
    nested = keys.family == "dbrx"  # its class has them in attn_config
    return "num_key_value_heads" in keys.known or nested or not is_known(keys)


def _assumed(keys: Keys) -> list[str]:
    return [
        Message("{key} = {value}", key=name, value=shown(value))
        for name, value in keys.assumed.items()
        if name in DECIDING and name not in _SILENT
    ]


def not_understood(keys: Keys) -> list[str]:
    """The names of keys that are not understood and may be about the cache, those of inner objects with a dot."""
    found = []
    for name, value in _flat(keys.config):
        last = name.rpartition(".")[2]
        if value in (None, False, 0) and value is not True:
            continue
        if last in _NOT_COUNTED or (_is_doubtful(last, value) and not _is_used(keys, name)):
            found.append(name)
    return found


def _is_used(keys: Keys, name: str) -> bool:
    if name in _READ or name in keys.known or name in _ELSEWHERE:
        return True
    outer = name.partition(".")[0]
    return "." in name and (outer in ("linear_attn_config", "block_configs") or outer in keys.known)


def _is_doubtful(name: str, value: Any) -> bool:
    """Whether a key that no reader uses may be about the cache: by its name, or as a number or list of unknown name."""
    if _OF_OTHERS.search(name.lower()):
        return False
    if _OF_CACHES.search(name.lower()):
        return True
    return (type(value) is int and value > 1) or isinstance(value, list)


def _flat(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The keys of the config and of the objects in it, except those that describe other parts of a model."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            if not _OF_OTHERS.search(name.lower()):
                yield from ((f"{name}.{inner}", each) for inner, each in value.items())
        else:
            yield name, value
