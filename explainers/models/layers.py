"""Parts of decoder blocks in torch, written out, so that the bytes that autograd keeps for backward are known.

RMSNorm: Zhang and Sennrich 2019. RoPE: Su et al. 2021, section 3.4.2. Grouped queries: Ainslie et al. 2023.
torch.nn.RMSNorm is not used: in bfloat16 on a CPU it keeps two copies in float32.

Letters of the shapes: b batch, s sequence, h hidden size, a heads, g key/value heads, r = a / g heads per group,
d = h / a numbers per head, n tokens.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

# Llama 3: rope_theta and rms_norm_eps of its config.json
LLAMA_ROPE_BASE = 500_000.0
LLAMA_NORM_EPSILON = 1e-5

Pairing = Literal["halves", "interleaved"]
Attention = Literal["written", "flash"]


# --------------------------------------------------------------------------------------------- normalization


def rms_norm(x: Tensor, gain: Tensor, epsilon: float) -> Tensor:
    """x (..., h) divided by the root of its mean square, times the gain (h,). epsilon is added to the mean square."""
    # x / sqrt(mean(x^2) + epsilon) * gain
    inverse_rms = torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon)  # (..., 1)
    return x * inverse_rms * gain


class RMSNorm(nn.Module):
    """`rms_norm` over the last dimension of x (..., hidden), with a trained gain that starts at 1."""

    def __init__(self, hidden: int, dtype: torch.dtype, *, epsilon: float = LLAMA_NORM_EPSILON) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.gain = nn.Parameter(torch.ones(hidden, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.gain, self.epsilon)


# ------------------------------------------------------------------------------------------------- positions


def rope(x: Tensor, positions: Tensor, *, pairing: Pairing, base: float) -> Tensor:
    """Rotary position embedding of x, computed in float64 and rounded once to the dtype of x.

    x: (..., d), d even. positions: broadcast against the other dimensions of x. The pair i of a token at position t
    turns by the angle t base^(-2i / d). The pair is (x_i, x_i+d/2) with "halves", as in Llama, and (x_2i, x_2i+1)
    with "interleaved", as in the paper, GPT-J and DeepSeek.
    """
    cos, sin = _cos_sin(positions, x.shape[-1], base, torch.float64)
    return _turned(x.double(), cos, sin, pairing).to(x.dtype)


class Rope(nn.Module):
    """`rope` with the pairing "halves", from tables of cos and sin for the positions 0 to seq_len - 1.

    The angles are computed in float32, as in Llama; the tables and the products have `dtype`.
    """

    cos: Tensor
    sin: Tensor

    def __init__(
        self, seq_len: int, head_dim: int, dtype: torch.dtype, *, base: float = LLAMA_ROPE_BASE
    ) -> None:
        super().__init__()
        cos, sin = _cos_sin(torch.arange(seq_len)[:, None], head_dim, base, torch.float32)  # (s, 1, d / 2)
        self.register_buffer("cos", cos.to(dtype), persistent=False)
        self.register_buffer("sin", sin.to(dtype), persistent=False)

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        """x: (b, s, heads, d). positions: (b, s), below seq_len; without them every row counts 0, 1, 2, ..."""
        cos, sin = (self.cos, self.sin) if positions is None else (self.cos[positions], self.sin[positions])
        return _turned(x, cos, sin, "halves")


def _cos_sin(positions: Tensor, d: int, base: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """cos and sin (..., d / 2) of the angles t base^(-2i / d), for each t in positions (...) and each pair i."""
    frequencies = base ** (-torch.arange(0, d, 2, dtype=dtype) / d)
    angles = positions.to(dtype)[..., None] * frequencies
    return angles.cos(), angles.sin()


def _turned(x: Tensor, cos: Tensor, sin: Tensor, pairing: Pairing) -> Tensor:
    """x (..., d) with each pair turned by the angle whose cos and sin (..., d / 2) are given."""
    first, second = x.chunk(2, dim=-1) if pairing == "halves" else (x[..., 0::2], x[..., 1::2])
    # (first, second) -> (first cos - second sin,  second cos + first sin)
    turned = first * cos - second * sin, second * cos + first * sin
    return torch.cat(turned, dim=-1) if pairing == "halves" else torch.stack(turned, dim=-1).flatten(-2)


# ------------------------------------------------------------------------------------------------- attention


def written_attention(q: Tensor, k: Tensor, v: Tensor, hidden: Tensor, dropout: float = 0.0) -> Tensor:
    """softmax(Q K^T / sqrt(d)) V, operation by operation: the scores of all heads are in memory at once.

    q: (b, s, a, d); k, v: (b, s, g, d). hidden: true where a query must not see a key, (s, s) or (b g, 1, s, s).
    Returns (b, s, h). The r query heads of a group become more rows of the same matrix, so that K and V are never
    repeated.
    """
    b, s, a, d = q.shape
    g, r = k.shape[2], a // k.shape[2]
    Q = q.view(b, s, g, r, d).permute(0, 2, 3, 1, 4).reshape(b * g, r * s, d)
    K = k.transpose(1, 2).reshape(b * g, s, d)
    V = v.transpose(1, 2).reshape(b * g, s, d)

    S = torch.bmm(Q, K.transpose(1, 2)) / math.sqrt(d)  # (b g, r s, s)
    S = S.view(b * g, r, s, s).masked_fill(hidden, -math.inf)
    P = functional.dropout(S.softmax(dim=-1), dropout)
    O = torch.bmm(P.view(b * g, r * s, s), V)  # (b g, r s, d)
    return O.view(b, g, r, s, d).permute(0, 3, 1, 2, 4).reshape(b, s, a * d)


class WrittenAttention(nn.Module):
    """`written_attention` under a causal mask that is made once, for sequences of seq_len tokens."""

    later: Tensor

    def __init__(self, seq_len: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        later = torch.ones(seq_len, seq_len, dtype=torch.bool).triu(1)
        self.register_buffer("later", later, persistent=False)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        # q: (b, s, a, d); k, v: (b, s, g, d)
        return written_attention(q, k, v, self.later, self.dropout)


class FlashAttention(nn.Module):
    """Causal attention by torch's fused kernel, which keeps the output and one log-sum-exp per row, not the weights."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        # q: (b, s, a, d); k, v: (b, s, g, d)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        grouped = q.shape[1] != k.shape[1]
        o = functional.scaled_dot_product_attention(
            q, k, v, dropout_p=self.dropout, is_causal=True, enable_gqa=grouped
        )
        return o.transpose(1, 2).flatten(2)  # (b, s, h)


def attention_core(kind: Attention, seq_len: int, dropout: float = 0.0) -> nn.Module:
    """Causal attention of queries (b, s, a, d) over keys and values (b, s, g, d): the module of that kind."""
    return WrittenAttention(seq_len, dropout) if kind == "written" else FlashAttention(dropout)


class RotatedAttention(nn.Module):
    """RoPE on queries and keys, then attention."""

    def __init__(self, rope: Rope, attention: nn.Module) -> None:
        super().__init__()
        self.rope, self.attention = rope, attention

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        # q: (b, s, a, d); k, v: (b, s, g, d)
        return self.attention(self.rope(q), self.rope(k), v)
