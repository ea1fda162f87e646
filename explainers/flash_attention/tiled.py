"""Tiled attention: the output of standard attention, one tile of scores at a time.

The loops are in FlashAttention-2's order: each query tile stays in fast memory while the key tiles pass through.
Source: FlashAttention-2 (Dao 2023), Algorithm 1. The running state of a row: the maximum m, the denominator l
and the accumulator O, which is divided by l only at the end.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from explainers.flash_attention.mask import UNLIMITED, Window, bounds_of, key_tiles_visited, visible

SENTINEL = -1e6


@dataclass(frozen=True)
class Tiling:
    """How attention is computed by tiles. block_q, block_k: rows and columns of a tile; the last may be partial.

    scale: what multiplies Q K^T. window: (left, right), the keys that a query sees on either side of its own position,
    -1 for all. softcap: c, where a score S becomes c tanh(S / c); 0 for none. break_it: the part that is removed, one
    of the experiment's BREAKS, or "none".
    """

    block_q: int
    block_k: int
    causal: bool
    scale: float
    break_it: str = "none"
    window: Window = UNLIMITED
    softcap: float = 0.0

    @property
    def bounds(self) -> Window:
        """(left, right) of the window, which a causal mask ends at the query's own position."""
        return bounds_of(self.causal, self.window)


@dataclass(frozen=True, eq=False)
class TileStep:
    """The contents of fast memory after one operation of tiled attention.

    phase: "scores" (S computed and masked), "maximum" (m and alpha known), "weights" (P and l known),
        "rescale" (O times alpha), "accumulate" (P V added), and once a query tile "finish" (O / l, lse written).
    query_tile, key_tile: the tile's place in the grid; rows, columns: its (start, stop) in Q and in K.
        At "finish" the tile is the whole row of tiles: key_tile is -1, columns (0, 0), scores (bq, 0).
    scores: S (bq, bk), -inf where masked. m_before, l_before: (bq,) before this tile; m, l, alpha: (bq,) now.
    accumulator: O (bq, Dv), not yet divided by l; at "finish" the output itself.
    bytes_read, bytes_written: from and to slow memory, since the start.
    """

    phase: str
    query_tile: int
    key_tile: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    scores: Tensor
    m_before: Tensor
    l_before: Tensor
    m: Tensor
    l: Tensor
    alpha: Tensor
    accumulator: Tensor
    bytes_read: int
    bytes_written: int

    @property
    def weights(self) -> Tensor:
        """P (bq, bk), the scores' exponentials under the current maximum; 0 where masked."""
        return _weights(self.scores, self.m)

    @property
    def lse(self) -> Tensor:
        """The log-sum-exp (bq,) of the scores seen so far; -inf where there were none."""
        return self.m + torch.log(self.l)


class SlowMemory:
    """Counts the bytes that the loops load from and store to slow memory (a GPU's HBM)."""

    def __init__(self) -> None:
        self.bytes_read = 0
        self.bytes_written = 0

    def load(self, tile: Tensor) -> Tensor:
        self.bytes_read += tile.numel() * tile.element_size()
        return tile

    def store(self, matrix: Tensor, rows: tuple[int, int], tile: Tensor) -> None:
        matrix[slice(*rows)] = tile
        self.bytes_written += tile.numel() * matrix.element_size()


def tile_ranges(length: int, block: int) -> list[tuple[int, int]]:
    """The (start, stop) of each tile of `block` in `length`; the last may be shorter."""
    return [(start, min(start + block, length)) for start in range(0, length, block)]


def tiled_attention(
    q: Tensor, k: Tensor, v: Tensor, tiling: Tiling
) -> Generator[TileStep, None, tuple[Tensor, Tensor]]:
    """Exact attention by tiles, watched. q (Nq, D), k (Nk, D), v (Nk, Dv).

    Yields a TileStep after every operation and returns O (Nq, Dv) and lse (Nq,). The values of a step are never
    overwritten later. A row that has seen no key yet has m = -inf, l = 0, alpha = 1; at its first key alpha = 0.
    """
    bounds, scale, softcap, break_it = tiling.bounds, tiling.scale, tiling.softcap, tiling.break_it
    n_q, n_k = len(q), len(k)
    offset = 0 if break_it == "top_left" else n_k - n_q
    masked = SENTINEL if break_it == "finite_sentinel" else -math.inf
    kept = torch.float16 if break_it == "fp16_accumulator" else q.dtype
    hbm, output, logsumexp = SlowMemory(), q.new_empty(n_q, v.shape[1]), q.new_empty(n_q)
    key_tiles = tile_ranges(n_k, tiling.block_k)

    for i, rows in enumerate(tile_ranges(n_q, tiling.block_q)):
        Q = hbm.load(q[slice(*rows)])
        # m = -inf, l = 0, O = 0
        m = Q.new_full((len(Q),), masked)
        l, O, alpha = Q.new_zeros(len(Q)), Q.new_zeros(len(Q), v.shape[1]), Q.new_ones(len(Q))

        visited = key_tiles_visited(rows, n_k, tiling.block_k, offset, bounds)
        for j in visited or range(break_it == "finite_sentinel"):
            columns, tile, before = key_tiles[j], (i, j, rows, key_tiles[j]), (m, l)
            K, V = hbm.load(k[slice(*columns)]), hbm.load(v[slice(*columns)])

            # S = scale Q K^T,  S = c tanh(S / c),  masked
            S = scale * Q @ K.T
            S = softcap * torch.tanh(S / softcap) if softcap else S
            if break_it != "whole_tiles":
                S = S.masked_fill(~visible(rows, columns, offset, bounds), masked)
            yield moment("scores", tile, S, before, (m, l, alpha, O), hbm)

            # m_new = max(m, rowmax(S)),  alpha = exp(m - m_new)
            m_new = torch.zeros_like(m) if break_it == "no_max" else torch.maximum(m, S.amax(dim=1))
            alpha = _rescale_factor(m, m if break_it == "no_rescale" else m_new)
            m = m_new
            yield moment("maximum", tile, S, before, (m, l, alpha, O), hbm)

            # P = exp(S - m),  l = alpha l + rowsum(P)
            P = _weights(S, m)
            l = (alpha * l + P.sum(dim=1)).to(kept)
            yield moment("weights", tile, S, before, (m, l, alpha, O), hbm)

            # O = alpha O
            O = (alpha[:, None] * O).to(kept)
            yield moment("rescale", tile, S, before, (m, l, alpha, O), hbm)

            # O = O + P V
            O = (O + P @ V).to(kept)
            yield moment("accumulate", tile, S, before, (m, l, alpha, O), hbm)

        # O = O / l,  lse = m + log l;  a row that saw nothing has l = 0 and stays 0
        O = O.to(q.dtype) / l.to(q.dtype).masked_fill(l == 0, 1)[:, None]
        hbm.store(output, rows, O)
        hbm.store(logsumexp, rows, m + torch.log(l.to(q.dtype)))
        yield moment("finish", (i, -1, rows, (0, 0)), Q.new_empty(len(Q), 0), (m, l), (m, l, alpha, O), hbm)

    return output, logsumexp


def _rescale_factor(m: Tensor, m_new: Tensor) -> Tensor:
    """alpha = exp(m - m_new), which is 1 where the maximum stayed, also where it stayed at -inf."""
    return torch.where(m == m_new, 1.0, torch.exp(m - m_new))


def _weights(S: Tensor, m: Tensor) -> Tensor:
    """P = exp(S - m), and 0 where S is -inf, also in a row whose maximum is still -inf."""
    return torch.exp(S - m[:, None]).masked_fill(S.isneginf(), 0)


Tile = tuple[int, int, tuple[int, int], tuple[int, int]]


def moment(
    phase: str,
    tile: Tile,
    S: Tensor,
    before: tuple[Tensor, Tensor],
    state: tuple[Tensor, ...],
    hbm: SlowMemory,
) -> TileStep:
    """The state as a TileStep. The loop makes new tensors and overwrites none, so nothing needs copying."""
    m_before, l_before, m, l, alpha, O = (part.to(S.dtype) for part in (*before, *state))
    return TileStep(phase, *tile, S, m_before, l_before, m, l, alpha, O, hbm.bytes_read, hbm.bytes_written)
