"""The fast twin of `tiled.tiled_attention` for the CPU: large tiles, many heads at once, no new memory in the loop.

The same recurrence (FlashAttention-2, Dao 2023, Algorithm 1). What makes it fast: the scores of every tile
overwrite those of the last, the accumulator is the output itself, keys that no query of a tile sees are skipped, and
only the columns that some query of the tile does not see are masked. Heads are divided among threads that never wait
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

from explainers.flash_attention.mask import UNLIMITED, Window, visible
from explainers.flash_attention.tiled import Tiling

BLOCK_Q = 128
BLOCK_K = 1024


def fast_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool,
    scale: float | None = None,
    window: Window = UNLIMITED,
    softcap: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Exact attention without gradients. q (H, Nq, D) or (B, H, Nq, D), k alike with Nk, v with Nk and Dv.

    scale: 1/sqrt(D) when None. window, softcap: as of `Tiling`. Masks align bottom-right. Returns O, of q's shape with
    Dv, and lse, of q's shape without D; a row that sees no key gives 0 and -inf.
    """
    shape, scale = q.shape[:-1], 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    tiling = Tiling(BLOCK_Q, BLOCK_K, causal, scale, window=window, softcap=softcap)
    q, k, v = (part.detach().flatten(0, -3) for part in (q, k, v))
    output, lse = q.new_zeros(*q.shape[:2], v.shape[-1]), q.new_full(q.shape[:2], -math.inf)
    buffer = q.new_empty(len(q), BLOCK_Q * min(BLOCK_K, k.shape[1]))

    def fill(heads: slice) -> None:
        parts = (part[heads] for part in (q, k, v, output, lse, buffer))
        _fill(*parts, tiling=tiling)

    threads = 1 if q.is_cuda else torch.get_num_threads()
    share = math.ceil(len(q) / threads)
    shares = [slice(start, start + share) for start in range(0, len(q), share)]
    list(map(fill, shares) if len(shares) == 1 else _workers(threads).map(fill, shares))
    return output.view(*shape, -1), lse.view(shape)


@torch.no_grad()
def _fill(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    output: Tensor,
    lse: Tensor,
    buffer: Tensor,
    tiling: Tiling,
) -> None:
    """The loop over tiles. q (heads, Nq, D), k (heads, Nk, D), v (heads, Nk, Dv), output (heads, Nq, Dv), lse (heads,
    Nq). buffer: one tile of S."""
    heads, n_q, n_k = *q.shape[:2], k.shape[1]
    offset, (left, right), softcap = n_k - n_q, tiling.bounds, tiling.softcap
    # the rows before -offset - right see no key; every later one sees a key
    for row in range(max(0, -offset - right) if right >= 0 else 0, n_q if n_k else 0, BLOCK_Q):
        rows = (row, min(row + BLOCK_Q, n_q))
        Q, O = q[:, slice(*rows)], output[:, slice(*rows)]
        m, l = Q.new_full((*Q.shape[:2], 1), -math.inf), Q.new_zeros(*Q.shape[:2], 1)
        first = max(0, rows[0] + offset - left) if left >= 0 else 0
        keys = min(rows[1] + offset + right, n_k) if right >= 0 else n_k
        for column in range(first, keys, BLOCK_K):
            columns = (column, min(column + BLOCK_K, keys))
            K, V = k[:, slice(*columns)], v[:, slice(*columns)]
            size = (heads, Q.shape[1], K.shape[1])
            S = buffer.view(-1)[: math.prod(size)].view(size)
            # S = scale Q K^T,  S = c tanh(S / c),  masked
            torch.baddbmm(S, Q, K.mT, beta=0, alpha=tiling.scale / (softcap or 1.0), out=S)
            S = S.tanh_().mul_(softcap) if softcap else S
            _mask(S, rows, columns, offset, tiling.bounds)
            # m_new = max(m, rowmax(S)),  alpha = exp(m - m_new)
            m_new = torch.maximum(m, S.amax(dim=-1, keepdim=True))
            subtracted = m_new.masked_fill(
                m_new == -math.inf, 0
            )  # a row that has seen no key yet keeps P = 0
            alpha = torch.exp(m - subtracted)
            m = m_new
            # P = exp(S - m),  l = alpha l + rowsum(P),  O = alpha O + P V
            P = S.sub_(subtracted).exp_()
            l.mul_(alpha).add_(P.sum(dim=-1, keepdim=True))
            O.mul_(alpha).baddbmm_(P, V)
        # O = O / l,  lse = m + log l
        O.div_(l)
        lse[:, slice(*rows)] = (m + torch.log(l)).squeeze(-1)


def _mask(S: Tensor, rows: tuple[int, int], columns: tuple[int, int], offset: int, bounds: Window) -> None:
    """Puts -inf where a key may not be seen: left of the first key of the last row, right of the last of the first."""
    left, right = bounds
    start, stop = columns
    seen_from = min(rows[1] - 1 + offset - left, stop) if left >= 0 else start
    seen_to = max(rows[0] + offset + right + 1, start) if right >= 0 else stop
    for part in ((start, seen_from), (max(seen_to, seen_from), stop)):
        if part[0] < part[1]:
            hidden = ~visible(rows, part, offset, bounds, S.device)
            S[..., part[0] - start : part[1] - start].masked_fill_(hidden, -math.inf)


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
