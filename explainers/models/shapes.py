"""The shapes of decoder models: the sizes from which parameters and activations are counted.

The Llama 3.1 shapes come from the config.json of meta-llama/Llama-3.1-8B, -70B and -405B. PUBLISHED_PARAMETERS are the
totals of their safetensors files, for comparison with a model built here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Block = Literal["llama", "gpt"]


@dataclass(frozen=True)
class DecoderShape:
    """A stack of decoder blocks between an embedding and an output head with separate (untied) weights.

    block: "llama" (RMSNorm, RoPE, grouped queries, SwiGLU, no biases) or "gpt" (LayerNorm, learned positions, GELU,
    dropout, biases; as many key/value heads as heads). intermediate: the width inside the MLP. positions: the number of
    learned positions, 0 if positions are not learned.
    """

    block: Block
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    positions: int = 0

    @property
    def head_dim(self) -> int:
        """Numbers per head."""
        return self.hidden // self.heads

    @property
    def block_parameters(self) -> int:
        """Parameters of one block."""
        h, f, kv = self.hidden, self.intermediate, self.kv_heads * self.head_dim
        if self.block == "llama":
            return 2 * h + 2 * h * h + 2 * h * kv + 3 * h * f
        return 2 * 2 * h + 4 * (h * h + h) + (h * f + f) + (f * h + h)

    @property
    def parameters(self) -> int:
        """All parameters: blocks, embedding, head, last norm and learned positions."""
        last_norm = self.hidden if self.block == "llama" else 2 * self.hidden
        tables = (2 * self.vocabulary + self.positions) * self.hidden
        return self.layers * self.block_parameters + tables + last_norm


LLAMA_3_1: Mapping[str, DecoderShape] = {
    "llama-3.1-8b": DecoderShape("llama", 32, 4096, 32, 8, 14336, 128256),
    "llama-3.1-70b": DecoderShape("llama", 80, 8192, 64, 8, 28672, 128256),
    "llama-3.1-405b": DecoderShape("llama", 126, 16384, 128, 8, 53248, 128256),
}

PUBLISHED_PARAMETERS: Mapping[str, int] = {
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "llama-3.1-405b": 405_853_388_800,
}
