"""Standard attention: the whole score matrix at once. In float64 it is the reference of every other module.

Source: FlashAttention (Dao et al. 2022), section 2.2 and Algorithm 0.
"""

from __future__ import annotations

import math
from typing import NotRequired, TypedDict, Unpack

import torch
from torch import Tensor

from explainers.flash_attention.mask import UNLIMITED, Window


class Definition(TypedDict):
    """What defines attention besides Q, K and V. window: (left, right), as in `mask`, whose code this does not share,
    since it is the reference. softcap: c in c tanh(S / c) (Gemma 2, 2024, section 2); 0: no cap."""

    causal: bool
    scale: float
    window: NotRequired[Window]
    softcap: NotRequired[float]


def masked_scores(
    q: Tensor, k: Tensor, *, causal: bool, scale: float, window: Window = UNLIMITED, softcap: float = 0.0
) -> Tensor:
    """S (Nq, Nk) for q (Nq, D) and k (Nk, D): scaled dot products, capped, -inf where a key may not be seen."""
    # S = scale Q K^T
    S = scale * q @ k.T
    # S = c tanh(S / c)
    S = softcap * torch.tanh(S / softcap) if softcap else S
    (n_q, n_k), seen = S.shape, torch.ones_like(S, dtype=torch.bool)
    left, right = window[0], 0 if causal else window[1]
    if right >= 0:
        seen = seen.tril(n_k - n_q + right)
    if left >= 0:
        seen = seen.triu(n_k - n_q - left)
    return S.masked_fill(~seen, -math.inf)


def standard_attention(
    q: Tensor, k: Tensor, v: Tensor, **definition: Unpack[Definition]
) -> tuple[Tensor, Tensor]:
    """Attention by its definition, in the type of its inputs.

    q (Nq, D), k (Nk, D), v (Nk, Dv). Returns O (Nq, Dv) and the natural log-sum-exp of each row of S (Nq,). A row that
    may see no key gives O = 0 and log-sum-exp -inf. Differentiable.
    """
    S = masked_scores(q, k, **definition)
    # lse = log sum_j exp(S_j)
    lse = torch.logsumexp(S, dim=1)
    # P = exp(S - lse): each row sums to 1, or to 0 where nothing is seen
    P = torch.exp(S - lse.masked_fill(lse == -math.inf, 0)[:, None])
    # O = P V
    return P @ v, lse
