"""The fast twin of `tiles.tiled_attention` for the CPU: large tiles, all heads at once, no new memory inside the loop.

The same recurrence (FlashAttention-2, Dao 2023, Algorithm 1). What makes it fast: one score buffer is used for every
tile and overwritten in place; the scale is folded into Q; key tiles that nothing of a query tile sees are
skipped, and only the columns right of the diagonal's start are masked.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from explainers.flash_attention.standard import visible

BLOCK_Q = 128
BLOCK_K = 1024


@torch.no_grad()
def fast_attention(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool, scale: float | None = None
) -> tuple[Tensor, Tensor]:
    """Exact attention without gradients. q (H, Nq, D) or (B, H, Nq, D), k and v alike with Nk.

    scale: 1/sqrt(D) when None. Causal masks align bottom-right. Returns O, of q's shape, and lse, without its
    last size; a row that sees no key gives 0 and -inf.
    """
    output, lse = torch.zeros_like(q), q.new_full(q.shape[:-1], -math.inf)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    q, k, v = (part.flatten(0, -3) for part in (q, k, v))
    _fill(q, k, v, output.view(q.shape), lse.view(q.shape[:-1]), causal, scale)
    return output, lse


def _fill(q: Tensor, k: Tensor, v: Tensor, output: Tensor, lse: Tensor, causal: bool, scale: float) -> None:
    """The loops, for q (heads, Nq, D)."""
    heads, n_q, n_k = *q.shape[:2], k.shape[1]
    offset = n_k - n_q
    buffer = q.new_empty(heads * BLOCK_Q * min(BLOCK_K, n_k))
    # the rows before -offset see no key; every later one sees key 0, so its maximum is finite after the first tile
    for row in range(max(0, -offset) if causal else 0, n_q if n_k else 0, BLOCK_Q):
        rows = (row, min(row + BLOCK_Q, n_q))
        Q = scale * q[:, slice(*rows)]
        O = torch.zeros_like(Q)
        m, l = Q.new_full((*Q.shape[:2], 1), -math.inf), Q.new_zeros(*Q.shape[:2], 1)
        keys = min(rows[1] + offset, n_k) if causal else n_k
        for column in range(0, keys, BLOCK_K):
            columns = (column, min(column + BLOCK_K, keys))
            shape = (heads, rows[1] - rows[0], columns[1] - columns[0])
            S = buffer[: math.prod(shape)].view(shape)
            # S = Q K^T
            torch.bmm(Q, k[:, slice(*columns)].mT, out=S)
            if causal:
                _mask(S, rows, columns, offset)
            # m_new = max(m, rowmax(S)),  alpha = exp(m - m_new)
            m_new = torch.maximum(m, S.amax(dim=-1, keepdim=True))
            alpha = torch.exp(m - m_new)
            m = m_new
            # P = exp(S - m),  l = alpha l + rowsum(P),  O = alpha O + P V
            P = S.sub_(m).exp_()
            l.mul_(alpha).add_(P.sum(dim=-1, keepdim=True))
            O.mul_(alpha).baddbmm_(P, v[:, slice(*columns)])
        # O = O / l,  lse = m + log l
        torch.div(O, l, out=output[:, slice(*rows)])
        lse[:, slice(*rows)] = (m + torch.log(l)).squeeze(-1)


def _mask(S: Tensor, rows: tuple[int, int], columns: tuple[int, int], offset: int) -> None:
    """Puts -inf where a key may not be seen; the columns that the first row sees, all rows see."""
    first_hidden = max(rows[0] + offset + 1, columns[0])
    if first_hidden < columns[1]:
        hidden = ~visible(rows, (first_hidden, columns[1]), offset, S.device)
        S[..., first_hidden - columns[0] :].masked_fill_(hidden, -math.inf)
