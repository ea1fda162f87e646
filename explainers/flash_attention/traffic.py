"""The experiment `flash_attention.traffic`: HBM accesses of one head, standard and tiled, over tokens and over SRAM.

Sources: FlashAttention (Dao et al. 2022), Theorem 2, Proposition 3 and Figure 2; the counts are those of moves.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from explainers.contract.experiment import experiment
from explainers.contract.messages import Message
from explainers.contract.params import Adjustment, Params, number
from explainers.contract.result import Check, Checked
from explainers.flash_attention.machines import GPUS, LegalBlock, Roofline, legal_blocks, roofline
from explainers.flash_attention.moves import (
    flash_attention_1_backward_traffic,
    flash_attention_1_moves,
    flash_attention_1_traffic,
    flash_attention_2_moves,
    flash_attention_2_traffic,
    paper_blocks,
    standard_backward_traffic,
    standard_moves,
    standard_traffic,
    total,
)

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
