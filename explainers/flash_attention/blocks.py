"""The limits of block sizes: no block longer than its sequence, and no more tiles than an experiment can afford."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from explainers.contract.messages import Message
from explainers.contract.params import Adjustment

LEAST_BLOCK = 4


def within_sequence(params: Any, n_q: int, n_k: int) -> Iterator[Adjustment]:
    """A block is no longer than its sequence. params has block_q for n_q queries and block_k for n_k keys."""
    for name, length in (("block_q", n_q), ("block_k", n_k)):
        most, block = max(length, LEAST_BLOCK), getattr(params, name)
        if block > most:
            sentence = Message(
                "{name} = {block} is longer than the sequence; allowed: {least} to {most}.",
                name=name,
                block=block,
                least=LEAST_BLOCK,
                most=most,
            )
            yield Adjustment(name, most, sentence)


def at_most(tiles: int, params: Any, n_q: int, n_k: int) -> Iterator[Adjustment]:
    """There are at most `tiles` tiles: otherwise the smaller block doubles. params as above."""
    if math.ceil(n_q / params.block_q) * math.ceil(n_k / params.block_k) > tiles:
        name = "block_q" if params.block_q <= params.block_k else "block_k"
        block = getattr(params, name)
        sentence = Message(
            "{name} = {block} makes too many tiles; allowed: blocks that make at most {tiles:,} of them.",
            name=name,
            block=block,
            tiles=tiles,
        )
        yield Adjustment(name, 2 * block, sentence)
