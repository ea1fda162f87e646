"""The fast twin of `tiled.tiled_attention` for the CPU: large tiles, many heads at once, no new memory in the loop.

The same recurrence (FlashAttention-2, Dao 2023, Algorithm 1). What makes it fast: the scores of every tile
overwrite those of the last, the accumulator is the output itself, key tiles that no query of a tile sees are
skipped, and only the columns from the diagonal on are masked. Heads are divided among threads that never wait
for each other: PyTorch's own threads synchronise after every operation, which on a busy machine costs more than
the operation.
"""

from __future__ import annotations

import functools
import math
import threading
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from explainers.flash_attention.standard import visible

BLOCK_Q = 128
BLOCK_K = 1024


def fast_attention(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool, scale: float | None = None
) -> tuple[Tensor, Tensor]:
    """Exact attention without gradients. q (H, Nq, D) or (B, H, Nq, D), k and v alike with Nk.

    scale: 1/sqrt(D) when None. Causal masks align bottom-right. Returns O, of q's shape, and lse, without its
    last size; a row that sees no key gives 0 and -inf.
    """
    shape, scale = q.shape, 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    q, k, v = (part.detach().flatten(0, -3) for part in (q, k, v))
    output, lse = torch.zeros_like(q), q.new_full(q.shape[:-1], -math.inf)
    buffer = q.new_empty(len(q), BLOCK_Q * min(BLOCK_K, k.shape[1]))

    def fill(heads: slice) -> None:
        parts = (part[heads] for part in (q, k, v, output, lse, buffer))
        _fill(*parts, causal=causal, scale=scale)

    threads = 1 if q.is_cuda else torch.get_num_threads()
    share = math.ceil(len(q) / threads)
    shares = [slice(start, start + share) for start in range(0, len(q), share)]
    list(map(fill, shares) if len(shares) == 1 else _workers(threads).map(fill, shares))
    return output.view(shape), lse.view(shape[:-1])


@torch.no_grad()
def _fill(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    output: Tensor,
    lse: Tensor,
    buffer: Tensor,
    *,
    causal: bool,
    scale: float,
) -> None:
    """The loop over tiles. q, output (heads, Nq, D), k and v (heads, Nk, D), lse (heads, Nq). buffer: one tile of S."""
    heads, n_q, n_k = *q.shape[:2], k.shape[1]
    offset = n_k - n_q
    # the rows before -offset see no key; every later one sees key 0, so its maximum is finite after the first tile
    for row in range(max(0, -offset) if causal else 0, n_q if n_k else 0, BLOCK_Q):
        rows = (row, min(row + BLOCK_Q, n_q))
        Q, O = q[:, slice(*rows)], output[:, slice(*rows)]
        m, l = Q.new_full((*Q.shape[:2], 1), -math.inf), Q.new_zeros(*Q.shape[:2], 1)
        keys = min(rows[1] + offset, n_k) if causal else n_k
        for column in range(0, keys, BLOCK_K):
            columns = (column, min(column + BLOCK_K, keys))
            K, V = k[:, slice(*columns)], v[:, slice(*columns)]
            size = (heads, Q.shape[1], K.shape[1])
            S = buffer.view(-1)[: math.prod(size)].view(size)
            # S = scale Q K^T, masked
            torch.baddbmm(S, Q, K.mT, beta=0, alpha=scale, out=S)
            if causal:
                _mask(S, rows, columns, offset)
            # m_new = max(m, rowmax(S)),  alpha = exp(m - m_new)
            m_new = torch.maximum(m, S.amax(dim=-1, keepdim=True))
            alpha = torch.exp(m - m_new)
            m = m_new
            # P = exp(S - m),  l = alpha l + rowsum(P),  O = alpha O + P V
            P = S.sub_(m).exp_()
            l.mul_(alpha).add_(P.sum(dim=-1, keepdim=True))
            O.mul_(alpha).baddbmm_(P, V)
        # O = O / l,  lse = m + log l
        O.div_(l)
        lse[:, slice(*rows)] = (m + torch.log(l)).squeeze(-1)


def _mask(S: Tensor, rows: tuple[int, int], columns: tuple[int, int], offset: int) -> None:
    """Puts -inf where a key may not be seen; every row sees the columns that the first row sees."""
    first_hidden = max(rows[0] + offset + 1, columns[0])
    if first_hidden < columns[1]:
        hidden = ~visible(rows, (first_hidden, columns[1]), offset, S.device)
        S[..., first_hidden - columns[0] :].masked_fill_(hidden, -math.inf)


@functools.cache
def _workers(count: int) -> ThreadPoolExecutor:
    """`count` threads, in each of which PyTorch uses a single thread.

    torch.set_num_threads sets the number of the calling thread, but threads started later inherit it: so all workers
    start now, and then the number is restored.
    """
    started = threading.Barrier(count + 1)

    def start() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # the first query fixes the number of this thread, at 1
        started.wait()

    pool = ThreadPoolExecutor(count, "fast_attention", start)
    for _ in range(count):
        pool.submit(int)
    started.wait()
    torch.set_num_threads(count)
    return pool
