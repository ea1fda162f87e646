"""The settings of kv_cache.decode, and what follows from sizes alone.

Separate from decode.py, so that a page can show the controls without loading torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from explainers.contract.breaks import Break, break_field
from explainers.contract.messages import Message, plural
from explainers.contract.params import Adjustment, Params, choice, number
from explainers.models.head_counts import whole_groups

Kind = Literal["mha", "gqa", "mqa", "mla"]
KINDS: tuple[Kind, ...] = ("mha", "gqa", "mqa", "mla")

BREAKS = (
    Break(
        "rope_on_latent",
        "put RoPE on the keys of the latent",
        "RoPE turns each key by its position. A rotation that differs from token to token then lies between "
        "W_Q and W_UK, and no one matrix can absorb it: the keys must be made again at every step. So MLA puts "
        "RoPE on a few separate numbers.",
        {"kind": "mla"},
    ),
    Break(
        "no_rope_dims",
        "forget the RoPE key",
        "The cache is smaller, but only the RoPE key depends on the position of a token. Without it the scores "
        "lack a part, and every weight after the first token is wrong.",
        {"kind": "mla"},
    ),
    Break(
        "cache_before_norm",
        "cache the latent before its RMSNorm",
        "The heads were made for latents after their RMSNorm. Read back as they were before it, "
        "all keys and values have the wrong length.",
        {"kind": "mla"},
    ),
)


class DecodeParams(Params):
    kind: Kind = choice(
        "gqa",
        "Attention",
        "Which keys and values the query heads share",
        {"mha": "MHA", "gqa": "GQA", "mqa": "MQA", "mla": "MLA"},
    )
    heads: int = number(
        8, "Query heads", "Heads that ask", least=1, most=32, options=(2, 4, 8, 16), unit="heads"
    )
    groups: int = number(
        2,
        "Key/value heads",
        "Groups of query heads, each with a key and a value head; as many as query heads is MHA, one is MQA",
        least=1,
        most=32,
        options=(1, 2, 4, 8),
        unit="groups",
    )
    head_dim: int = number(
        8,
        "Head dimension",
        "Numbers in one query, key or value; even, because RoPE turns pairs",
        least=2,
        most=32,
        options=(4, 8, 16),
    )
    latent_dim: int = number(
        32,
        "Latent dimension",
        "Numbers in the latent of MLA (d_c; DeepSeek-V2 has four times the head dimension)",
        least=1,
        most=256,
        options=(4, 8, 16, 32, 64),
    )
    rope_dim: int = number(
        4,
        "RoPE key dimension",
        "Numbers in the RoPE key of MLA (d_R); even, because RoPE turns pairs",
        least=2,
        most=64,
        options=(2, 4, 8, 16),
    )
    hidden_size: int = number(
        64, "Hidden size", "Numbers in the hidden state of a token", least=1, most=512, options=(32, 64, 128)
    )
    prefill: int = number(
        4, "Prompt", "Tokens of the prefill", least=1, most=64, comfort=(1, 16), step=1, unit="tokens"
    )
    tokens: int = number(
        8, "Decoded", "Tokens that come one by one", least=1, most=64, comfort=(1, 32), step=1, unit="tokens"
    )
    dtype: Literal["float64", "float32", "bfloat16"] = choice(
        "float64", "Number format", "In which everything is computed and cached"
    )
    seed: int = number(
        0, "Seed", "Draws hidden states and weights", least=0, most=2**31 - 1, comfort=(0, 99), step=1
    )
    break_it: Literal["none", "rope_on_latent", "no_rope_dims", "cache_before_norm"] = break_field(
        BREAKS, "Removes one necessary part of MLA"
    )

    @property
    def length(self) -> int:
        """Tokens in the end: prefill and decoded."""
        return self.prefill + self.tokens

    def adjustments(self) -> Iterator[Adjustment]:
        for name in ("head_dim", "rope_dim"):
            if (size := getattr(self, name)) % 2:
                yield Adjustment(
                    name,
                    size - 1,
                    Message(
                        "{name} = {size} is odd; allowed: even numbers, because RoPE turns pairs.",
                        name=name,
                        size=size,
                    ),
                )
        yield from whole_groups("groups", self.groups, self.heads)
        if self.break_it != "none" and self.kind != "mla":
            yield Adjustment(
                "break_it",
                "none",
                Message(
                    "break_it = {part} removes a part of MLA; allowed: none, unless kind = mla.",
                    part=self.break_it,
                ),
            )


def telling_fields(params: DecodeParams) -> tuple[str, ...]:
    """The fields that change the picture of the chosen kind."""
    return {
        "gqa": ("kind", "groups", "head_dim", "tokens"),
        "mla": ("kind", "head_dim", "latent_dim", "rope_dim", "tokens"),
    }.get(params.kind, ("kind", "head_dim", "tokens"))


def groups_of(params: DecodeParams, kind: Kind) -> int:
    """Key/value heads of MHA, GQA or MQA."""
    return {"mha": params.heads, "gqa": params.groups, "mqa": 1}[kind]


def width_of(params: DecodeParams) -> int:
    """Bytes of one number."""
    return {"float64": 8, "float32": 4, "bfloat16": 2}[params.dtype]


def cache_formula(params: DecodeParams) -> tuple[int, Message]:
    """Bytes that the chosen cache must hold in the end, from the sizes alone, and the formula with its numbers."""
    width = width_of(params)
    if params.kind == "mla":
        total = (params.latent_dim + params.rope_dim) * params.length * width
        return total, Message(
            "({latent} + {rope}) × {tokens} tokens × {width} B = {total:,} B",
            latent=params.latent_dim,
            rope=params.rope_dim,
            tokens=params.length,
            width=width,
            total=total,
        )
    groups = groups_of(params, params.kind)
    total = 2 * groups * params.head_dim * params.length * width
    return total, plural(
        "2 × {count} group × {head_dim} × {tokens} tokens × {width} B = {total:,} B",
        "2 × {count} groups × {head_dim} × {tokens} tokens × {width} B = {total:,} B",
        count=groups,
        head_dim=params.head_dim,
        tokens=params.length,
        width=width,
        total=total,
    )
