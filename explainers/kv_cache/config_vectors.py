"""Heads, and the vectors that one token leaves in a layer, from the keys of a config."""

from __future__ import annotations

from typing import Literal

from explainers.contract.messages import Message
from explainers.kv_cache.config_keys import Keys
from explainers.kv_cache.layer_patterns import FULL, SLIDING
from explainers.kv_cache.layers import Attention, Vector
from explainers.kv_cache.parameters import Heads, has_latent

SEE_EMBEDDINGS_TOO = ("zamba", "zamba2")  # their attention reads hidden state and embedding side by side
BreakSize = Literal["none", "head_dim_from_hidden", "mla_as_mha", "ignore_window"]


def kv_heads(keys: Keys, query: int) -> int:
    """One a query head unless the config says fewer. Falcon's first layouts have one for all, or one each."""
    if not keys.flag("new_decoder_architecture"):
        if keys.flag("multi_query"):
            return 1
        if keys.family == "falcon":
            return query
    if keys.holds("multi_query_group_num") and not keys.flag("multi_query_attention", True):
        return query  # ChatGLM
    return keys.whole("num_key_value_heads", query)


def _head_dim(keys: Keys, query: int) -> int:
    given = keys.optional("head_dim")
    if given is not None:
        return given
    hidden = keys.whole("hidden_size") * (2 if keys.family in SEE_EMBEDDINGS_TOO else 1)
    if hidden % query:
        raise ValueError(
            Message(
                "{heads} does not divide {hidden_size}; where it does not, head_dim must be given",
                heads=keys.said("num_attention_heads"),
                hidden_size=keys.said("hidden_size"),
            )
        )
    return hidden // query


def heads_of(keys: Keys) -> Heads:
    """The heads of the layers that see everything. Raises ValueError if the KV heads do not serve them evenly."""
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


def vectors_of(keys: Keys, layer_type: str, break_it: BreakSize) -> tuple[Vector, ...]:
    """What one token leaves in a layer of this type: a key and a value for each KV head, or latent and RoPE key.

    MiMo-V2 has other heads in layers with a window (swa_...), Gemma 4 in those without (global_...).
    """
    query = keys.whole("num_attention_heads")
    if has_latent(keys):
        return _latent_vectors(keys, query, break_it)
    heads = heads_of(keys)
    kv, key = heads.kv, heads.dim
    value = keys.optional("v_head_dim", least=0) or key
    if layer_type == SLIDING:
        kv = keys.whole("swa_num_key_value_heads", kv)
        key, value = keys.whole("swa_head_dim", key), keys.whole("swa_v_head_dim", value)
    elif (
        layer_type == FULL
        and not keys.holds("per_layer_config")
        and (longer := keys.optional("global_head_dim"))
    ):
        kv, key, value = keys.whole("num_global_key_value_heads", kv), longer, longer
    if break_it == "head_dim_from_hidden":
        key = value = max(1, keys.whole("hidden_size") // query)
    return (Vector("key", kv, key), Vector("value", kv, value))


def _latent_vectors(keys: Keys, query: int, break_it: BreakSize) -> tuple[Vector, ...]:
    rope = keys.whole("qk_rope_head_dim")
    if break_it == "mla_as_mha":
        key, value = keys.whole("qk_nope_head_dim") + rope, keys.whole("v_head_dim")
        return (Vector("key", query, key), Vector("value", query, value))
    return (Vector("latent", 1, keys.whole("kv_lora_rank")), Vector("RoPE key", 1, rope))


def attention_of(vectors: tuple[Vector, ...], query: int) -> Attention:
    if vectors[0].name == "latent":
        return "MLA"
    copies = vectors[0].copies
    return "MHA" if copies == query else "MQA" if copies == 1 else "GQA"
