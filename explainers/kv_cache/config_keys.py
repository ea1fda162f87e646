"""The keys of a config.json, read one at a time: each checked, each remembered with the value it gave.

A key has more than one spelling (GPT-2 says n_layer where Llama says num_hidden_layers); the modules that count use
the first one, and what is shown to a reader is the one in the config.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from explainers.contract.messages import Message, joined

SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "num_hidden_layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers"),
    "hidden_size": ("hidden_size", "n_embd", "n_embed", "d_model", "dim", "model_dim"),
    "num_attention_heads": ("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads"),
    "num_key_value_heads": (
        "num_key_value_heads", "num_kv_heads", "n_head_kv", "n_kv_heads", "kv_n_heads", "num_attention_groups",
        "attn_config.kv_n_heads", "multi_query_group_num",
    ),
    "head_dim": ("head_dim", "attention_head_dim", "kv_channels", "dim_head", "head_size"),
    "max_position_embeddings": (
        "max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "max_sequence_length",
    ),
    "intermediate_size": ("intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim", "hidden_dim"),
    "num_experts": ("num_experts", "num_local_experts", "n_routed_experts"),
    "num_experts_per_tok": ("num_experts_per_tok", "num_experts_per_token", "moe_topk"),
    "sliding_window_pattern": ("sliding_window_pattern", "_sliding_window_pattern"),
    "sliding_window": ("sliding_window", "attention_window_size"),
    "vocab_size": ("vocab_size", "padded_vocab_size"),
}  # fmt: skip

# The keys that decide the bytes of the cache, by their first spelling.
DECIDING = frozenset(
    {
        *("num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim"),
        *("multi_query", "new_decoder_architecture", "v_head_dim"),
        *("kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "use_mla"),
        *(
            "layer_types",
            "sliding_window",
            "use_sliding_window",
            "max_window_layers",
            "sliding_window_pattern",
        ),
        *("full_attention_interval", "attention_chunk_size", "no_rope_layers", "no_rope_layer_interval"),
        *(
            "attn_layer_period",
            "attn_layer_offset",
            "attn_layer_indices",
            "attn_type_list",
            "layer_group_size",
        ),
        *(
            "layers_block_type",
            "block_types",
            "hybrid_layer_ids",
            "hybrid_override_pattern",
            "full_attn_idxs",
        ),
        *("hybrid_layer_pattern", "linear_attn_config", "block_configs", "num_key_value_heads_per_layer"),
        *("global_attn_every_n_layers", "local_attention", "cross_attention_layers", "num_kv_shared_layers"),
        *("swa_num_key_value_heads", "swa_head_dim", "swa_v_head_dim"),
        *("num_global_key_value_heads", "global_head_dim", "per_layer_config"),
    }
)

# The most that a key may say: far beyond any model, and small enough that every product stays readable.
MOST: Mapping[str, int] = {
    "num_hidden_layers": 10_000,
    "hidden_size": 1_000_000,
    "num_attention_heads": 100_000,
    "num_key_value_heads": 100_000,
    "head_dim": 16_384,
    "kv_lora_rank": 16_384,
    "q_lora_rank": 1_000_000,
    "qk_rope_head_dim": 16_384,
    "qk_nope_head_dim": 16_384,
    "v_head_dim": 16_384,
    "intermediate_size": 100_000_000,
    "moe_intermediate_size": 100_000_000,
    "shared_expert_intermediate_size": 100_000_000,
    "num_experts": 100_000,
    "num_experts_per_tok": 100_000,
    "n_shared_experts": 1_000,
    "vocab_size": 100_000_000,
}
MOST_OTHERWISE = 10_000_000_000

_NO_DEFAULT: Any = object()


def plain(text: str, longest: int = 60) -> str:
    """Text of others as a sentence may show it: short, and no character that a page could take for markup."""
    safe = re.sub(r"[^A-Za-z0-9 _.,:+-]", "?", text)
    return safe if len(safe) <= longest else f"{safe[: longest - 3]}..."


def shown(value: Any) -> str:
    """A JSON value as a sentence may show it: what holds other values by its kind only."""
    if isinstance(value, Mapping):
        return Message("an object")
    if isinstance(value, list):
        return Message("a list")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return Message("the text {text}", text=plain(value, 40)) if value else Message("an empty text")
    return "null" if value is None else plain(repr(value), 40)


class Keys:
    """A config's keys with their defaults, and what was said of each.

    Everything raises ValueError with one sentence that names the key and what is allowed.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        family: str,
        *,
        defaults: Mapping[str, Any],
        known: Collection[str] = (),
        layers: Sequence[str] = (),
        inside: str = "",
    ):
        """family: the model_type. defaults, known, layers: the defaults, the keys and the layer types of its class.

        inside: the key that holds this config, if any does.
        """
        self.config = config
        self.family = family
        self.inside = inside
        self.known = frozenset(known)
        self.layers = tuple(layers)
        self.assumed: dict[str, Any] = {}  # what was absent and taken from the class
        self._defaults = defaults

    def holds(self, name: str) -> bool:
        """Whether the config has the key (null counts as absent)."""
        return self._find(name)[1] is not None

    def whole(self, name: str, default: int = _NO_DEFAULT, *, least: int = 1) -> int:
        """The whole number from `least` to MOST under a key."""
        value = self.optional(name, least=least)
        if value is not None:
            return value
        if default is _NO_DEFAULT:
            raise ValueError(self._missing(name))
        return default

    def optional(self, name: str, *, least: int = 1) -> int | None:
        """The same, or None where the key is null, or absent and without a default of the family."""
        spelling, value = self._find(name)
        if value is None and spelling not in self.config:
            value = self._default(name)
        if value is None:
            return None
        most = MOST.get(name, MOST_OTHERWISE)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(
                Message(
                    "{key} is {value}; it must be a whole number from {least} to {most:,}",
                    key=self._full(spelling),
                    value=shown(value),
                    least=least,
                    most=most,
                )
            )
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """True or false under a key; null and absent give the family's default, else `default`."""
        value = self.config.get(name)
        if value is None:
            value = self._default(name)
        if value is None:
            value = default
        if not isinstance(value, bool):
            raise ValueError(
                Message(
                    "{key} is {value}; it must be true or false", key=self._full(name), value=shown(value)
                )
            )
        return value

    def listed(self, name: str, kind: type, what: str) -> list[Any] | None:
        """The list under a key, of `what` (a Message: words for a sentence), or None where it is absent or null."""
        value = self.config.get(name)
        if value is None:
            return None
        if not isinstance(value, list):
            raise ValueError(
                Message(
                    "{key} is {value}; it must be a list of {what}",
                    key=self._full(name),
                    value=shown(value),
                    what=what,
                )
            )
        for entry in value:
            if type(entry) is not kind:
                raise ValueError(
                    Message(
                        "{key} holds {value}; it must be a list of {what}",
                        key=self._full(name),
                        value=shown(entry),
                        what=what,
                    )
                )
        return value

    def said(self, name: str) -> str:
        """The key and its value, as the reader finds it in the config; or the default of the family."""
        spelling, value = self._find(name)
        if value is not None:
            return Message("{key} = {value}", key=self._full(spelling), value=shown(value))
        if name in self._defaults and spelling not in self.config:
            return Message(
                "{key} = {value} ({family}, where the key is absent)",
                key=name,
                value=shown(self._defaults[name]),
                family=self.family,
            )
        return Message("{key} is absent", key=name)

    def with_changes(self, changes: Mapping[str, Any]) -> Keys:
        """The same keys with some of another value, as one layer may have them."""
        changed = Keys(
            {**self.config, **changes},
            self.family,
            defaults=self._defaults,
            known=self.known,
            layers=self.layers,
            inside=self.inside,
        )
        changed.assumed = self.assumed
        return changed

    def knows(self, name: str) -> bool:
        """Whether the config has the key, or the class of its family."""
        spellings = SPELLINGS.get(name, (name,))
        return self.holds(name) or not self.known.isdisjoint(spellings)

    def _default(self, name: str) -> Any:
        value = self._defaults.get(name)
        if value is not None:
            self.assumed[name] = value
        return value

    def _find(self, name: str) -> tuple[str, Any]:
        """The spelling that the config uses and its value; the first spelling and None where there is none."""
        spellings = SPELLINGS.get(name, (name,))
        for spelling in spellings:
            if (value := self._at(spelling)) is not None:
                return spelling, value
        return spellings[0], None

    def _at(self, spelling: str) -> Any:
        """The value under a spelling; one with a dot is a key of an object within the config."""
        outer, dot, inner = spelling.partition(".")
        value = self.config.get(outer)
        if not dot:
            return value
        if value is not None and not isinstance(value, Mapping):
            raise ValueError(
                Message("{key} is {value}; it must be an object", key=self._full(outer), value=shown(value))
            )
        return None if value is None else value.get(inner)

    def _full(self, spelling: str) -> str:
        return f"{self.inside}.{spelling}" if self.inside else spelling

    def _missing(self, name: str) -> str:
        others = SPELLINGS.get(name, (name,))[1:]
        if not others:
            return Message("{key} is missing", key=self._full(name))
        return Message(
            "{key} is missing ({others} would do as well)", key=self._full(name), others=joined(others)
        )
