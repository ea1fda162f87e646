"""How many elements attention moves between a GPU's large, slow memory (HBM) and its small, fast one (SRAM).

Each algorithm is written out as the loads and stores of its loops. The readable version yields every one of them;
its counting twin sums the inner loop at once, so that 131,072 tokens take milliseconds. A test compares the two.
Sources: FlashAttention (Dao et al. 2022), Algorithms 0, 1, 3, 4, Theorem 2 and Proposition 3;
FlashAttention-2 (Dao 2023), Algorithm 1. One head, no mask.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from explainers.contract.experiment import experiment
from explainers.contract.messages import Message
from explainers.contract.params import Adjustment, Params, number
from explainers.contract.result import Check, Checked
from explainers.flash_attention.machines import GPUS, LegalBlock, Roofline, legal_blocks, roofline

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


# -------------------------------------------------------------------------------------------- the experiment

_SRAM_SIZES = tuple(2**power for power in range(12, 27))


class TrafficParams(Params):
    seq_len: int = number(
        4096,
        "Sequence length",
        "Queries and keys, in tokens",
        least=128,
        most=131_072,
        options=tuple(2**power for power in range(7, 18)),
        unit="tokens",
    )
    head_dim: int = number(
        64,
        "Head dimension",
        "Numbers in one query, key or value",
        least=8,
        most=256,
        options=(16, 32, 64, 128, 256),
    )
    sram_bytes: int = number(
        131_072,
        "SRAM",
        "Fast memory for the tiles, in bytes",
        least=1024,
        most=64 * 2**20,
        options=_SRAM_SIZES,
        unit="B",
    )
    bytes_per_element: int = number(
        2,
        "Bytes an element",
        "fp16 and bf16: 2, fp32: 4, fp8: 1",
        least=1,
        most=4,
        options=(1, 2, 4),
        unit="bytes",
    )

    @property
    def sram_elements(self) -> int:
        """M, the elements that fit in SRAM."""
        return self.sram_bytes // self.bytes_per_element

    def adjustments(self) -> Iterator[Adjustment]:
        least = 4 * self.head_dim * self.bytes_per_element
        if self.sram_bytes < least:
            sentence = Message(
                "sram_bytes = {sram_bytes} holds less than one row of Q, K, V and O; "
                "allowed: from {least} (4 d = {elements} elements).",
                sram_bytes=self.sram_bytes,
                least=least,
                elements=4 * self.head_dim,
            )
            yield Adjustment("sram_bytes", least, sentence)


@dataclass(frozen=True, eq=False)
class Curves:
    """HBM accesses in elements along one axis, each (points,). x: tokens, or bytes of SRAM."""

    x: np.ndarray
    standard: np.ndarray
    tiled: np.ndarray
    tiled_fa2: np.ndarray
    theorem: np.ndarray
    lower_bound: np.ndarray


@dataclass(frozen=True)
class TableRow:
    """One algorithm of the FlashAttention paper's Figure 2 (left), as printed and as counted here."""

    algorithm: str
    printed_gflops: float
    counted_gflops: float
    printed_hbm_gb: float
    counted_hbm_gb: float
    printed_ms: float


PAPER_SETTING = {
    "seq_len": 1024,
    "head_dim": 64,
    "heads": 16,
    "batch": 64,
    "bytes_per_element": 2,
    "sram_bytes": 192 * 1024,
}
PAPER_SOURCE = Message(
    "FlashAttention (Dao et al. 2022), Figure 2 (left): forward and backward, GPT-2 medium, A100"
)
PAPER_DIFFERENCE = Message(
    "The printed FLOPs cannot be the whole configuration: 64 x 16 heads of N = 1024, d = 64 take 824.6 GFLOP in "
    "matrix products alone, 962.1 with the recomputed scores. The bytes agree for the tiled algorithm. For the "
    "standard one we count Algorithms 0 and 3 and nothing else: the printed run was an implementation, and every "
    "further pass over N x N (a mask, dropout, a cast), read or written, adds 2.1 GB."
)


@dataclass(frozen=True, eq=False)
class TrafficResult(Checked):
    """HBM accesses of one head, in elements, and what follows from them.

    tiled_accesses: FlashAttention-1 order; tiled_accesses_fa2: FlashAttention-2 order, both with the paper's blocks.
    theorem_accesses: N^2 d^2 / M with constant 1 (Theorem 2 gives the growth, for d <= M <= N d).
    lower_bound_accesses: Q, K and V read once and O written once, which no algorithm can avoid; Proposition 3 says
        more: none needs asymptotically fewer than N^2 d^2 / M for every M from d to N d.
    *_intensity: FLOP a byte, 4 N^2 d FLOP in all. *_when_sram_doubles: accesses with 2 M over accesses with M.
    fa2_saturates_at_bytes: the SRAM from which the query block holds d rows; beyond it the FlashAttention-2
        count stays at 2 N d ceil(N / d) + 2 N d + N, since K and V travel once a query tile and Br = min(Bc, d).
    sram_budget: bytes of each tile that the paper's blocks put into SRAM (S besides, in registers today).
    """

    standard_accesses: int
    tiled_accesses: int
    tiled_accesses_fa2: int
    theorem_accesses: float
    lower_bound_accesses: int
    block_q: int
    block_k: int
    standard_intensity: float
    tiled_intensity: float
    tiled_fa2_intensity: float
    tiled_when_sram_doubles: float
    tiled_fa2_when_sram_doubles: float
    fa2_saturates_at_bytes: int
    sram_budget: dict[str, int]
    rooflines: tuple[Roofline, ...]
    legal_blocks: tuple[LegalBlock, ...]
    paper_table: tuple[TableRow, ...]
    paper_difference: str
    over_seq_len: Curves
    over_sram: Curves
    checks: tuple[Check, ...]
    params: TrafficParams = field(metadata={"shell": False})


@experiment("flash_attention.traffic")
def traffic(params: TrafficParams) -> TrafficResult:
    """HBM accesses of standard and tiled attention, counted from the loops, against theorem and lower bound."""
    n, d, sram = params.seq_len, params.head_dim, params.sram_elements
    block_q, block_k = paper_blocks(sram, d)
    standard, tiled, fa2 = _accesses(n, d, sram)
    twice = _accesses(n, d, 2 * sram)
    intensities = [
        4 * n * n * d / (accesses * params.bytes_per_element) for accesses in (standard, tiled, fa2)
    ]
    return TrafficResult(
        standard_accesses=standard,
        tiled_accesses=tiled,
        tiled_accesses_fa2=fa2,
        theorem_accesses=n * n * d * d / sram,
        lower_bound_accesses=4 * n * d,
        block_q=block_q,
        block_k=block_k,
        standard_intensity=intensities[0],
        tiled_intensity=intensities[1],
        tiled_fa2_intensity=intensities[2],
        tiled_when_sram_doubles=twice[1] / tiled,
        tiled_fa2_when_sram_doubles=twice[2] / fa2,
        fa2_saturates_at_bytes=(4 * d * (d - 1) + 1) * params.bytes_per_element,
        sram_budget=_sram_budget(block_q, block_k, d, params.bytes_per_element),
        rooflines=tuple(roofline(gpu, intensities) for gpu in GPUS),
        legal_blocks=tuple(legal_blocks(d, params.bytes_per_element)),
        paper_table=paper_table(),
        paper_difference=PAPER_DIFFERENCE,
        over_seq_len=_curves([(2**power, sram) for power in range(7, 18)], d, axis=0),
        over_sram=_over_sram(params),
        checks=(_twin_check(params),),
        params=params,
    )


def _accesses(n: int, d: int, sram: int) -> tuple[int, int, int]:
    """Elements moved by standard attention and by both tiled loop orders, with the paper's blocks for M = sram."""
    blocks = paper_blocks(sram, d)
    tiled, fa2 = flash_attention_1_traffic(n, d, *blocks), flash_attention_2_traffic(n, d, *blocks)
    return standard_traffic(n, n, d).total, tiled.total, fa2.total


def _curves(settings: list[tuple[int, int]], d: int, *, axis: int) -> Curves:
    """Curves over settings of (tokens, SRAM elements); axis says which of the two is x."""
    counted = np.array([_accesses(n, d, sram) for n, sram in settings], dtype=np.float64)
    n, sram = np.array(settings, dtype=np.float64).T
    return Curves((n, sram)[axis], *counted.T, theorem=n * n * d * d / sram, lower_bound=4 * n * d)


def _over_sram(params: TrafficParams) -> Curves:
    """Curves over SRAM, x in bytes, half a power of two apart, from one row of each tile to 64 MiB."""
    least, size = 4 * params.head_dim * params.bytes_per_element, params.bytes_per_element
    in_bytes = [round(2 ** (half / 2)) for half in range(2 * math.ceil(math.log2(least)), 2 * 26 + 1)]
    curves = _curves([(params.seq_len, sram // size) for sram in in_bytes], params.head_dim, axis=1)
    return replace(curves, x=np.array(in_bytes, dtype=np.float64))


def _sram_budget(block_q: int, block_k: int, d: int, size: int) -> dict[str, int]:
    return {
        "Q": block_q * d * size,
        "K": block_k * d * size,
        "V": block_k * d * size,
        "O": block_q * d * size,
    }


def paper_table() -> tuple[TableRow, ...]:
    """The paper's printed table and our counts for the same setting, forward and backward together."""
    n, d, size = PAPER_SETTING["seq_len"], PAPER_SETTING["head_dim"], PAPER_SETTING["bytes_per_element"]
    heads = PAPER_SETTING["heads"] * PAPER_SETTING["batch"]
    blocks = paper_blocks(PAPER_SETTING["sram_bytes"] // size, d)
    standard = standard_traffic(n, n, d) + standard_backward_traffic(n, d)
    tiled = flash_attention_1_traffic(n, d, *blocks) + flash_attention_1_backward_traffic(n, d, *blocks)
    gigabytes = [moved.total * size * heads / 1e9 for moved in (standard, tiled)]
    # matrix products of 2 N^2 d FLOP: 2 forward, 4 backward, 1 more where S is recomputed
    gflops = [products * 2 * n * n * d * heads / 1e9 for products in (6, 7)]
    return (
        TableRow("standard", 66.6, gflops[0], 40.3, gigabytes[0], 41.7),
        TableRow("FlashAttention", 75.2, gflops[1], 4.4, gigabytes[1], 7.3),
    )


def _twin_check(params: TrafficParams) -> Check:
    """Compares the counting twins with the loops, move by move, at a size of at most nine tiles a side."""
    blocks = paper_blocks(params.sram_elements, params.head_dim)
    n, d = min(params.seq_len, 8 * min(blocks) + 3), params.head_dim
    pairs = (
        (flash_attention_1_moves(n, d, *blocks), flash_attention_1_traffic(n, d, *blocks)),
        (flash_attention_2_moves(n, d, *blocks), flash_attention_2_traffic(n, d, *blocks)),
        (standard_moves(n, d), standard_traffic(n, n, d)),
    )
    error = max(abs(total(moves).total - counted.total) for moves, counted in pairs)
    return Check(
        what="the count equals the loops, move by move",
        error=error,
        tolerance=0,
        reference=Message("every load and store, listed at N = {n}", n=n),
    )
