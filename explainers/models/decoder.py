"""Decoder blocks in torch, written out, so that the bytes that autograd keeps for the backward pass are known.

LlamaBlock: RMSNorm (Zhang and Sennrich 2019), RoPE (Su et al. 2021), grouped queries (Ainslie et al. 2023), SwiGLU
(Shazeer 2020), no biases. GptBlock: LayerNorm before each part, GELU, dropout and biases, as in Radford et al. 2019
and as Korthikanti et al. 2022 count it.

Every tensor is created with a dtype and without a device, so that the same code runs on real and on fake tensors.

Letters of the shapes: b batch, s sequence, h hidden size, a heads, g key/value heads, d = h / a numbers per head,
f intermediate size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from explainers.models.layers import Attention, RMSNorm, Rope, RotatedAttention, attention_core
from explainers.models.shapes import DecoderShape


class LlamaBlock(nn.Module):
    """x + Attention(RMSNorm(x)), then x + SwiGLU(RMSNorm(x)), without biases.

    core: maps queries (b, s, a, d), keys and values (b, s, g, d) to the output (b, s, h). All blocks share it: it has
    tables and no weights.
    """

    def __init__(self, shape: DecoderShape, core: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        h, f, kv = shape.hidden, shape.intermediate, shape.kv_heads * shape.head_dim
        self.head_dim = shape.head_dim
        self.norm_1, self.norm_2 = RMSNorm(h, dtype), RMSNorm(h, dtype)
        self.W_Q, self.W_O = _linear(h, h, dtype), _linear(h, h, dtype)
        self.W_K, self.W_V = _linear(h, kv, dtype), _linear(h, kv, dtype)
        self.W_gate, self.W_up, self.W_down = _linear(h, f, dtype), _linear(h, f, dtype), _linear(f, h, dtype)
        self.core = core

    def forward(self, x: Tensor) -> Tensor:
        # x: (b, s, h)
        y = self.norm_1(x)
        q, k, v = (W(y).unflatten(-1, (-1, self.head_dim)) for W in (self.W_Q, self.W_K, self.W_V))
        x = x + self.W_O(self.core(q, k, v))

        y = self.norm_2(x)
        return x + self.W_down(functional.silu(self.W_gate(y)) * self.W_up(y))


class GptBlock(nn.Module):
    """x + Dropout(Attention(LayerNorm(x))), then x + Dropout(MLP(LayerNorm(x))), with GELU, dropout and biases."""

    def __init__(self, shape: DecoderShape, core: nn.Module, dtype: torch.dtype, dropout: float) -> None:
        super().__init__()
        h, f = shape.hidden, shape.intermediate
        self.head_dim, self.dropout = shape.head_dim, dropout
        self.norm_1, self.norm_2 = nn.LayerNorm(h, dtype=dtype), nn.LayerNorm(h, dtype=dtype)
        self.W_Q, self.W_K, self.W_V, self.W_O = (_linear(h, h, dtype, bias=True) for _ in range(4))
        self.W_in, self.W_out = _linear(h, f, dtype, bias=True), _linear(f, h, dtype, bias=True)
        self.core = core

    def forward(self, x: Tensor) -> Tensor:
        # x: (b, s, h)
        y = self.norm_1(x)
        q, k, v = (W(y).unflatten(-1, (-1, self.head_dim)) for W in (self.W_Q, self.W_K, self.W_V))
        x = x + functional.dropout(self.W_O(self.core(q, k, v)), self.dropout)

        y = self.norm_2(x)
        return x + functional.dropout(self.W_out(functional.gelu(self.W_in(y))), self.dropout)


class Decoder(nn.Module):
    """Embedding, blocks, last norm, head and the mean cross-entropy of the next token.

    embed, blocks and loss are separate, so that the caller decides how the blocks run (with checkpoints, for example).
    seq_len: the length of the sequences. The tables (mask, RoPE) are made once, for this length.
    dropout: the rate; Llama blocks apply it to the attention weights only.
    """

    def __init__(
        self,
        shape: DecoderShape,
        seq_len: int,
        dtype: torch.dtype,
        *,
        attention: Attention = "written",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        h, llama = shape.hidden, shape.block == "llama"
        core = attention_core(attention, seq_len, dropout)
        if llama:
            core = RotatedAttention(Rope(seq_len, shape.head_dim, dtype), core)
        make: Callable[[], nn.Module] = (
            (lambda: LlamaBlock(shape, core, dtype))
            if llama
            else (lambda: GptBlock(shape, core, dtype, dropout))
        )
        self.embedding = nn.Embedding(shape.vocabulary, h, dtype=dtype)
        self.positions = (
            nn.Parameter(torch.randn(shape.positions, h, dtype=dtype)) if shape.positions else None
        )
        self.blocks = nn.ModuleList(make() for _ in range(shape.layers))
        self.norm = RMSNorm(h, dtype) if llama else nn.LayerNorm(h, dtype=dtype)
        self.head = _linear(h, shape.vocabulary, dtype)

    def embed(self, tokens: Tensor) -> Tensor:
        """Hidden states (b, s, h) of tokens (b, s)."""
        x = self.embedding(tokens)
        return x if self.positions is None else x + self.positions[: tokens.shape[1]]

    def loss(self, x: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy, a scalar, of hidden states (b, s, h) and the next tokens (b, s)."""
        logits = self.head(self.norm(x))  # (b, s, V)
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def _linear(inputs: int, outputs: int, dtype: torch.dtype, *, bias: bool = False) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=bias, dtype=dtype)
