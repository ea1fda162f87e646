"""How many elements attention moves between a GPU's large, slow memory (HBM) and its small, fast one (SRAM).

Each algorithm is written out as the loads and stores of its loops. The readable version yields every one of them;
its counting twin sums the inner loop at once, so that 131,072 tokens take milliseconds. A test compares the two.
Sources: FlashAttention (Dao et al. 2022), Algorithms 0, 1, 3, 4, Theorem 2 and Proposition 3;
FlashAttention-2 (Dao 2023), Algorithm 1. One head, no mask.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

# ------------------------------------------------------------------------------- the loops, move by move


@dataclass(frozen=True)
class Move:
    """One load ("read") or store ("write") of a tile, in elements. query_tile, key_tile: -1 for none."""

    kind: Literal["read", "write"]
    matrix: str
    elements: int
    query_tile: int = -1
    key_tile: int = -1


@dataclass(frozen=True)
class Traffic:
    """Elements read from and written to HBM."""

    reads: int
    writes: int

    @property
    def total(self) -> int:
        return self.reads + self.writes

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.reads + other.reads, self.writes + other.writes)


def total(moves: Iterable[Move]) -> Traffic:
    """The sums of a list of moves."""
    moves = list(moves)
    reads, writes = (sum(move.elements for move in moves if move.kind == kind) for kind in ("read", "write"))
    return Traffic(reads, writes)


def tile_lengths(length: int, block: int) -> np.ndarray:
    """How long each tile of `block` is, (tiles,); the last may be shorter."""
    starts = np.arange(0, length, block)
    return np.minimum(block, length - starts)


def standard_moves(n: int, d: int) -> Iterator[Move]:
    """Standard attention (FlashAttention, Algorithm 0), which writes S and P and reads them back."""
    # S = Q K^T
    yield Move("read", "Q", n * d)
    yield Move("read", "K", n * d)
    yield Move("write", "S", n * n)
    # P = softmax(S)
    yield Move("read", "S", n * n)
    yield Move("write", "P", n * n)
    # O = P V
    yield Move("read", "P", n * n)
    yield Move("read", "V", n * d)
    yield Move("write", "O", n * d)


def flash_attention_1_moves(n: int, d: int, block_q: int, block_k: int) -> Iterator[Move]:
    """Tiled attention with key tiles outside (FlashAttention, Algorithm 1): O, l and m travel at every inner step."""
    rows, columns = tile_lengths(n, block_q).tolist(), tile_lengths(n, block_k).tolist()
    # O = 0, l = 0, m = -inf, in HBM
    for i, r in enumerate(rows):
        yield Move("write", "O", r * d, i)
        yield Move("write", "l", r, i)
        yield Move("write", "m", r, i)
    for j, c in enumerate(columns):
        yield Move("read", "K", c * d, -1, j)
        yield Move("read", "V", c * d, -1, j)
        for i, r in enumerate(rows):
            yield Move("read", "Q", r * d, i, j)
            yield Move("read", "O", r * d, i, j)
            yield Move("read", "l", r, i, j)
            yield Move("read", "m", r, i, j)
            yield Move("write", "O", r * d, i, j)
            yield Move("write", "l", r, i, j)
            yield Move("write", "m", r, i, j)


def flash_attention_2_moves(n: int, d: int, block_q: int, block_k: int) -> Iterator[Move]:
    """Tiled attention with query tiles outside (FlashAttention-2, Algorithm 1): O is written once, K and V travel."""
    rows, columns = tile_lengths(n, block_q).tolist(), tile_lengths(n, block_k).tolist()
    for i, r in enumerate(rows):
        yield Move("read", "Q", r * d, i)
        for j, c in enumerate(columns):
            yield Move("read", "K", c * d, i, j)
            yield Move("read", "V", c * d, i, j)
        yield Move("write", "O", r * d, i)
        yield Move("write", "lse", r, i)


# ---------------------------------------------------------------------------------- the counting twins


def standard_traffic(n_q: int, n_k: int, d: int) -> Traffic:
    """What `standard_moves` adds up to, for n_q queries and n_k keys."""
    S = P = n_q * n_k
    Q, K, V, O = n_q * d, n_k * d, n_k * d, n_q * d
    return Traffic(reads=Q + K + S + P + V, writes=S + P + O)


def flash_attention_1_traffic(n: int, d: int, block_q: int, block_k: int) -> Traffic:
    """What `flash_attention_1_moves` adds up to."""
    r, c = tile_lengths(n, block_q), tile_lengths(n, block_k)
    inner_reads, inner_writes = int((2 * r * d + 2 * r).sum()), int((r * d + 2 * r).sum())
    return Traffic(
        reads=int((2 * c * d + inner_reads).sum()),
        writes=int((r * d + 2 * r).sum()) + len(c) * inner_writes,
    )


def flash_attention_2_traffic(n: int, d: int, block_q: int, block_k: int) -> Traffic:
    """What `flash_attention_2_moves` adds up to."""
    r, c = tile_lengths(n, block_q), tile_lengths(n, block_k)
    inner_reads = int((2 * c * d).sum())
    return Traffic(reads=int((r * d + inner_reads).sum()), writes=int((r * d + r).sum()))


def standard_backward_traffic(n: int, d: int) -> Traffic:
    """The backward pass of standard attention (FlashAttention, Algorithm 3)."""
    square, thin = n * n, n * d
    # dV = P^T dO:          read P, dO;   write dV
    # dP = dO V^T:          read dO, V;   write dP
    # dS = P o (dP - D):    read P, dP;   write dS
    # dQ = dS K:            read dS, K;   write dQ
    # dK = dS^T Q:          read dS, Q;   write dK
    return Traffic(reads=5 * square + 5 * thin, writes=2 * square + 3 * thin)


def flash_attention_1_backward_traffic(n: int, d: int, block_q: int, block_k: int) -> Traffic:
    """The tiled backward pass (FlashAttention, Algorithm 4), which recomputes P and writes dQ at every inner step."""
    r, c = tile_lengths(n, block_q), tile_lengths(n, block_k)
    # inner: read Q, O, dO, dQ, l, m; write dQ
    inner_reads, inner_writes = int((4 * r * d + 2 * r).sum()), int((r * d).sum())
    # outer: read K, V; write dK, dV;  before: dQ, dK, dV = 0
    return Traffic(
        reads=int((2 * c * d + inner_reads).sum()),
        writes=3 * n * d + int((2 * c * d + inner_writes).sum()),
    )


def paper_blocks(sram_elements: int, d: int) -> tuple[int, int]:
    """(Br, Bc) of FlashAttention, Algorithm 1: Bc = ceil(M / 4d), Br = min(Bc, d)."""
    block_k = math.ceil(sram_elements / (4 * d))
    return min(block_k, d), block_k
