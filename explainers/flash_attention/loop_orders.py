"""The two loop orders of tiled attention side by side: what each reads and writes from tile to tile.

FlashAttention (Dao et al. 2022), Algorithm 1: key tiles outside, so O, l and m travel at every inner step.
FlashAttention-2 (Dao 2023), Algorithm 1: query tiles outside, so O is written once and K and V travel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from explainers.contract.experiment import experiment
from explainers.contract.messages import Message
from explainers.contract.params import Adjustment, Params, number
from explainers.contract.result import Check, Checked
from explainers.flash_attention import blocks
from explainers.flash_attention.moves import (
    Move,
    Traffic,
    flash_attention_1_moves,
    flash_attention_1_traffic,
    flash_attention_2_moves,
    flash_attention_2_traffic,
    total,
)

MOST_TILES = 1024  # more than a reader will step through


class LoopOrdersParams(Params):
    seq_len: int = number(
        64,
        "Sequence length",
        "Queries and keys, in tokens",
        least=8,
        most=256,
        comfort=(16, 128),
        step=8,
        unit="tokens",
    )
    head_dim: int = number(
        32,
        "Head dimension",
        "Numbers in one query, key or value",
        least=8,
        most=256,
        options=(16, 32, 64, 128),
    )
    block_q: int = number(
        16, "Query block", "Rows of a tile", least=4, most=256, options=(8, 16, 32, 64), unit="rows"
    )
    block_k: int = number(
        16, "Key block", "Columns of a tile", least=4, most=256, options=(8, 16, 32, 64), unit="columns"
    )

    def adjustments(self) -> Iterator[Adjustment]:
        yield from blocks.at_most(MOST_TILES, self, self.seq_len, self.seq_len)
        yield from blocks.within_sequence(self, self.seq_len, self.seq_len)


@dataclass(frozen=True, eq=False)
class LoopOrder:
    """One loop order. tiles: (visits, 2) query and key tile, in the order computed.

    reads, writes, output_writes: (visits + 1,) elements moved when each tile begins, and last when all is done;
        output_writes counts O alone.
    """

    name: str
    outer: str
    moves: tuple[Move, ...]
    tiles: np.ndarray
    reads: np.ndarray
    writes: np.ndarray
    output_writes: np.ndarray


@dataclass(frozen=True, eq=False)
class LoopOrdersResult(Checked):
    """Both orders at the same sizes, in elements; each computes every tile once."""

    fa1: LoopOrder
    fa2: LoopOrder
    fa1_accesses: int
    fa2_accesses: int
    fa1_output_writes: int
    fa2_output_writes: int
    checks: tuple[Check, ...]
    params: LoopOrdersParams = field(metadata={"shell": False})


@experiment("flash_attention.loop_orders")
def loop_orders(params: LoopOrdersParams) -> LoopOrdersResult:
    """The loop orders of FlashAttention-1 and -2 side by side, every load and store listed."""
    sizes = (params.seq_len, params.head_dim, params.block_q, params.block_k)
    fa1 = _loop_order("FlashAttention-1", Message("key tiles"), flash_attention_1_moves(*sizes))
    fa2 = _loop_order("FlashAttention-2", Message("query tiles"), flash_attention_2_moves(*sizes))
    return LoopOrdersResult(
        fa1=fa1,
        fa2=fa2,
        fa1_accesses=total(fa1.moves).total,
        fa2_accesses=total(fa2.moves).total,
        fa1_output_writes=int(fa1.output_writes[-1]),
        fa2_output_writes=int(fa2.output_writes[-1]),
        checks=(
            _count_check("FlashAttention-1", fa1, flash_attention_1_traffic(*sizes)),
            _count_check("FlashAttention-2", fa2, flash_attention_2_traffic(*sizes)),
        ),
        params=params,
    )


def _count_check(name: str, order: LoopOrder, counted: Traffic) -> Check:
    error = abs(total(order.moves).total - counted.total)
    return Check(
        Message("{order}: the moves add up to the count", order=name),
        error,
        0,
        reference="the counting twin of traffic.py",
    )


def _loop_order(name: str, outer: str, listed: Iterator[Move]) -> LoopOrder:
    moves = tuple(listed)
    tiles, counts, so_far, current = [], [], np.zeros(3, np.int64), None
    for move in moves:
        tile = (move.query_tile, move.key_tile)
        if (
            -1 not in tile and tile != current
        ):  # the first move of the next tile: the counts before it are final
            counts.append(so_far.copy())
            tiles.append(tile)
            current = tile
        so_far += _columns(move)
    counts.append(so_far)
    reads, writes, output_writes = np.stack(counts).T
    return LoopOrder(name, outer, moves, np.array(tiles), reads, writes, output_writes)


def _columns(move: Move) -> np.ndarray:
    written = move.elements * (move.kind == "write")
    return np.array([move.elements - written, written, written * (move.matrix == "O")])
