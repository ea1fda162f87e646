"""Parts of decoder blocks in torch, written out, so that the bytes that autograd keeps for backward are known.

RMSNorm: Zhang and Sennrich 2019. RoPE: Su et al. 2021. Grouped queries: Ainslie et al. 2023. torch.nn.RMSNorm is not
used: in bfloat16 on a CPU it keeps two copies in float32.

Letters of the shapes: b batch, s sequence, h hidden size, a heads, g key/value heads, r = a / g heads a group,
d = h / a numbers a head.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

ROPE_BASE = 500_000.0
NORM_EPSILON = 1e-5

Attention = Literal["written", "flash"]


class RMSNorm(nn.Module):
    """x divided by the root of its mean square, times a gain."""

    def __init__(self, hidden: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(hidden, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        # x: (b, s, h)
        inverse_rms = torch.rsqrt(x.square().mean(-1, keepdim=True) + NORM_EPSILON)  # (b, s, 1)
        return x * inverse_rms * self.gain


class Rope(nn.Module):
    """Rotary position embedding: the pair (x_i, x_i+d/2) of position t turns by the angle t base^(-2i / d)."""

    cos: Tensor
    sin: Tensor

    def __init__(self, seq_len: int, head_dim: int, dtype: torch.dtype) -> None:
        super().__init__()
        frequencies = ROPE_BASE ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
        angles = torch.arange(seq_len, dtype=torch.float32)[:, None, None] * frequencies  # (s, 1, d / 2)
        self.register_buffer("cos", angles.cos().to(dtype), persistent=False)
        self.register_buffer("sin", angles.sin().to(dtype), persistent=False)

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        # x: (b, s, heads, d); positions: (b, s), where a row does not simply count 0, 1, 2, ...
        cos, sin = (self.cos, self.sin) if positions is None else (self.cos[positions], self.sin[positions])
        first, second = x.chunk(2, dim=-1)
        return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def written_attention(q: Tensor, k: Tensor, v: Tensor, hidden: Tensor, dropout: float = 0.0) -> Tensor:
    """softmax(Q K^T / sqrt(d)) V as it stands on paper: the scores of all heads are in memory.

    q: (b, s, a, d); k, v: (b, s, g, d). hidden: true where a query must not see a key, (s, s) or (b g, 1, s, s).
    Returns (b, s, h). The r query heads of a group stand below each other as rows, so that K and V are never
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
    """`written_attention` under the causal mask, which is made once."""

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
    """The same by torch's fused kernel, which keeps the output and one log-sum-exp a row in place of the weights."""

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
    return WrittenAttention(seq_len, dropout) if kind == "written" else FlashAttention(dropout)


class RotatedAttention(nn.Module):
    """RoPE on queries and keys, then attention."""

    def __init__(self, rope: Rope, attention: nn.Module) -> None:
        super().__init__()
        self.rope, self.attention = rope, attention

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.attention(self.rope(q), self.rope(k), v)
