"""What a decoder's layers cache, and the bytes that follow. Every count is a whole number; nothing is rounded.

    vector      what one head (or all heads together) keeps of one token: a key, a value, a latent
    kind        layers that cache the same vectors over the same window
    logical     every token of every layer
    windowed    a sliding layer keeps its last `window` tokens only
    reserved    what an engine sets aside: whole blocks of tokens, and whole heads on every rank

Formulas: DeepSeek-V2 (2024), Table 1; paged blocks: Kwon et al. (2023), *Efficient Memory Management for Large
Language Model Serving with PagedAttention*, section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from explainers.contract.messages import Message

Attention = Literal["MHA", "GQA", "MQA", "MLA"]
ElementName = Literal["fp32", "bf16", "fp16", "fp8", "int8", "q8_0", "q4_0"]


@dataclass(frozen=True)
class ElementType:
    """How numbers are stored: `block` of them take `block_bytes`, their scale included."""

    name: str
    block: int
    block_bytes: int

    def bytes_of(self, elements: int) -> int:
        """Bytes of one vector of `elements` numbers: whole blocks."""
        return -(-elements // self.block) * self.block_bytes


# q8_0 and q4_0 (llama.cpp, ggml-common.h): 32 numbers and one fp16 scale. fp8 and int8 are counted with one scale
# for a whole tensor, which is not counted.
ELEMENT_TYPES: Mapping[str, ElementType] = {
    "fp32": ElementType("fp32", 1, 4),
    "bf16": ElementType("bf16", 1, 2),
    "fp16": ElementType("fp16", 1, 2),
    "fp8": ElementType("fp8", 1, 1),
    "int8": ElementType("int8", 1, 1),
    "q8_0": ElementType("q8_0", 32, 34),
    "q4_0": ElementType("q4_0", 32, 18),
}


@dataclass(frozen=True)
class Vector:
    """A vector that one token leaves in a layer's cache.

    copies: how many there are, one a KV head; 1 where all query heads share it. length: its numbers.
    """

    name: Literal["key", "value", "latent", "RoPE key"]
    copies: int
    length: int


@dataclass(frozen=True)
class LayerKind:
    """Layers that cache alike. window: how many tokens they keep; None keeps all."""

    name: str
    attention: Attention
    layers: int
    query_heads: int
    vectors: tuple[Vector, ...]
    window: int | None = None

    def kept(self, seq_len: int) -> int:
        """min(length, window): the tokens that a sequence of `seq_len` leaves in the cache."""
        return seq_len if self.window is None else min(seq_len, self.window)

    def reserved(self, seq_len: int, block_tokens: int) -> int:
        """The tokens of all blocks in which one of the kept tokens lies."""
        first, last = seq_len - self.kept(seq_len), seq_len - 1
        return (last // block_tokens - first // block_tokens + 1) * block_tokens

    def token_bytes(self, dtype: ElementType) -> int:
        """Bytes that one token leaves in one layer."""
        return sum(vector.copies * dtype.bytes_of(vector.length) for vector in self.vectors)

    def rank_token_bytes(self, dtype: ElementType, tensor_parallel: int) -> int:
        """The same on one tensor-parallel rank: whole heads, so what all heads share is on every rank."""
        return sum(
            -(-vector.copies // tensor_parallel) * dtype.bytes_of(vector.length) for vector in self.vectors
        )


@dataclass(frozen=True)
class Parameters:
    """Parameter counts, exact, tied matrices once.

    embedding: of the token embedding, of which a token reads one row only (0 where it is tied to the output, which
    reads all of it). expert: of one routed expert in one layer; experts, experts_per_token: how many a layer has and
    a token uses; expert_layers: how many layers have them. All four are 0 in a dense model.
    """

    total: int
    embedding: int = 0
    expert: int = 0
    experts: int = 0
    experts_per_token: int = 0
    expert_layers: int = 0

    @property
    def active(self) -> int:
        """Parameters that one token meets: all but the experts it does not use."""
        return self.total - (self.experts - self.experts_per_token) * self.expert * self.expert_layers


@dataclass(frozen=True)
class Model:
    """A decoder as its config describes it.

    name: in the catalogue, or "config.json". keys: what a number is called -> the config keys behind it, with their
    values. parameters: None where they are not known; parameters_unknown says why. warnings: why the bytes may be
    wrong. notes: sentences about what was left out. config: what it was read from.
    """

    name: str
    title: str
    model_type: str
    hidden_size: int
    kinds: tuple[LayerKind, ...]
    parameters: Parameters | None
    max_position: int | None = None
    keys: Mapping[str, str] = field(default_factory=dict, hash=False)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    parameters_unknown: str = ""
    config: Mapping[str, Any] = field(default_factory=dict, hash=False, compare=False, repr=False)

    @property
    def known_parameters(self) -> Parameters:
        """The parameters. Raises ValueError where they are not known."""
        if self.parameters is None:
            raise ValueError(
                Message(
                    "the parameters of {model} are not known: {reason}",
                    model=self.title,
                    reason=self.parameters_unknown,
                )
            )
        return self.parameters

    @property
    def layers(self) -> int:
        return sum(kind.layers for kind in self.kinds)

    @property
    def attention(self) -> str:
        """MHA, GQA, MQA or MLA; by layer kind where they differ."""
        if len({kind.attention for kind in self.kinds}) == 1:
            return self.kinds[0].attention
        return ", ".join(f"{kind.attention} ({kind.name})" for kind in self.kinds)

    def bytes_per_token(self, dtype: ElementType) -> int:
        """Logical bytes of one token in all layers."""
        return sum(kind.layers * kind.token_bytes(dtype) for kind in self.kinds)

    def logical_bytes(self, dtype: ElementType, seq_len: int, batch: int) -> int:
        """Bytes of all tokens in all layers."""
        return batch * seq_len * self.bytes_per_token(dtype)

    def windowed_bytes(self, dtype: ElementType, seq_len: int, batch: int) -> int:
        """Bytes with sliding windows honoured."""
        return batch * sum(kind.layers * kind.kept(seq_len) * kind.token_bytes(dtype) for kind in self.kinds)

    def vector_bytes(self, dtype: ElementType, seq_len: int, batch: int) -> dict[str, int]:
        """The windowed bytes by what they hold: keys, values, latents, RoPE keys."""
        held: dict[str, int] = {}
        for kind in self.kinds:
            tokens = batch * kind.layers * kind.kept(seq_len)
            for vector in kind.vectors:
                size = tokens * vector.copies * dtype.bytes_of(vector.length)
                held[vector.name] = held.get(vector.name, 0) + size
        return held

    def rank_bytes(
        self, dtype: ElementType, seq_len: int, batch: int, tensor_parallel: int, block_tokens: int
    ) -> int:
        """Bytes that an engine reserves on one tensor-parallel rank."""
        return batch * sum(
            kind.layers * kind.reserved(seq_len, block_tokens) * kind.rank_token_bytes(dtype, tensor_parallel)
            for kind in self.kinds
        )

    def reserved_bytes(
        self, dtype: ElementType, seq_len: int, batch: int, tensor_parallel: int, block_tokens: int
    ) -> int:
        """Bytes that an engine reserves on all ranks together."""
        return tensor_parallel * self.rank_bytes(dtype, seq_len, batch, tensor_parallel, block_tokens)
