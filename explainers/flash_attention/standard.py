"""Standard attention: the whole score matrix at once. In float64 it is the reference of every other module.

Source: FlashAttention (Dao et al. 2022), section 2.2 and Algorithm 0.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def visible(
    rows: tuple[int, int], columns: tuple[int, int], offset: int, device: torch.device | None = None
) -> Tensor:
    """Which keys a causal query may see: (rows, columns) of bool, true where column <= row + offset.

    rows, columns: the ranges (start, stop) of a tile. offset: keys minus queries, so that the last
    query sees the last key (bottom-right alignment, as in the flash-attention library).
    """
    row = torch.arange(*rows, device=device)[:, None]
    column = torch.arange(*columns, device=device)[None, :]
    return column <= row + offset


def masked_scores(q: Tensor, k: Tensor, *, causal: bool, scale: float) -> Tensor:
    """S (Nq, Nk) for q (Nq, D) and k (Nk, D): scaled dot products, -inf where a key may not be seen."""
    # S = scale Q K^T
    S = scale * q @ k.T
    if causal:
        n_q, n_k = S.shape
        S = S.masked_fill(~visible((0, n_q), (0, n_k), n_k - n_q), -math.inf)
    return S


def standard_attention(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool, scale: float
) -> tuple[Tensor, Tensor]:
    """Attention by its definition, in the type of its inputs.

    q (Nq, D), k and v (Nk, D). Returns O (Nq, D) and the natural log-sum-exp of each row of S (Nq,).
    A row that may see no key gives O = 0 and log-sum-exp -inf. Differentiable.
    """
    S = masked_scores(q, k, causal=causal, scale=scale)
    # lse = log sum_j exp(S_j)
    lse = torch.logsumexp(S, dim=1)
    # P = exp(S - lse): each row sums to 1, or to 0 where nothing is seen
    P = torch.exp(S - lse.masked_fill(lse == -math.inf, 0)[:, None])
    # O = P V
    return P @ v, lse
