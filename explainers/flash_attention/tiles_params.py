"""The settings of `flash_attention.tiles`, and what it can do without."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

from explainers.contract.breaks import Break, break_field
from explainers.contract.messages import Message, joined
from explainers.contract.params import Adjustment, Params, choice, number, switch
from explainers.flash_attention import blocks
from explainers.flash_attention.tiled import Tiling

MOST_TILES = 1024  # about a second of readable torch
LEAST_SOFTCAP = 0.01
BreakIt = Literal[
    "none", "no_rescale", "no_max", "finite_sentinel", "top_left", "whole_tiles", "fp16_accumulator"
]

BREAKS = (
    Break(
        name="no_rescale",
        label="skip the rescale",
        consequence=(
            "What was summed under an old maximum was never brought to the new one, so early keys weigh too "
            "much, and O is no longer the mean that softmax would give."
        ),
        settings={"seq_len": 64, "kv_len": 0, "block_k": 16},
    ),
    Break(
        name="no_max",
        label="skip the maximum",
        consequence=(
            "Without subtracting the running maximum, exp of a score above 88.7 overflows fp32: inf divided by "
            "inf is NaN, and the whole row is lost."
        ),
        settings={"seq_len": 64, "kv_len": 0, "outlier": 100.0},
    ),
    Break(
        name="finite_sentinel",
        label="-1e6, not -inf",
        consequence=(
            "A row that may see no key should give 0; with -1e6 in place of -inf all its masked keys tie for "
            "the maximum, and it silently becomes a plain mean of V."
        ),
        settings={"seq_len": 64, "kv_len": 32, "causal": True},
    ),
    Break(
        name="top_left",
        label="top-left mask",
        consequence=(
            "The mask is aligned to the first key in place of the last: the queries, which are the newest "
            "tokens, no longer see exactly the keys up to their own position."
        ),
        settings={"seq_len": 64, "kv_len": 96, "causal": True},
    ),
    Break(
        name="whole_tiles",
        label="mask no tile",
        consequence=(
            "Skipping hides keys a whole tile at a time. In the tiles that the edge of the mask crosses, queries "
            "now see keys outside their window, and later tokens."
        ),
        settings={"seq_len": 64, "kv_len": 0, "causal": True, "window": 24},
    ),
    Break(
        name="fp16_accumulator",
        label="fp16 sums",
        consequence=(
            "fp16 keeps 11 significant bits, so every update of O and l is rounded to about 1 part in 2000, and"
            " the error stays far above what fp32 reaches."
        ),
        settings={"seq_len": 64, "kv_len": 0},
    ),
)


class TilesParams(Params):
    seq_len: int = number(
        64,
        "Sequence length",
        "Number of queries, in tokens",
        least=8,
        most=256,
        comfort=(16, 128),
        step=8,
        unit="tokens",
    )
    kv_len: int = number(
        0,
        "Keys",
        "Number of keys, in tokens; 0: as many as queries",
        least=0,
        most=256,
        comfort=(0, 128),
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
    causal: bool = switch(
        True, "Causal", "A query sees keys up to its own position only, aligned to the last key"
    )
    window: int = number(
        -1,
        "Window",
        "Keys that a query sees to the left of its own position; -1: all",
        least=-1,
        most=256,
        options=(-1, 0, 8, 16, 24, 32, 48),
        unit="keys",
    )
    softcap: float = number(
        0.0,
        "Soft cap",
        "c: a score S becomes c tanh(S / c), which stays between -c and c; 0: no cap",
        least=0,
        most=100,
        options=(0, 1, 2, 5, 10, 20, 50),
    )
    score_scale: float = number(
        1.0,
        "Score scale",
        "Multiplies 1/sqrt(d); larger makes the softmax sharper",
        least=0.1,
        most=8,
        comfort=(0.5, 4),
        step=0.5,
    )
    outlier: float = number(
        0.0,
        "Outlier",
        "Added to every score of one key, three quarters along",
        least=0,
        most=200,
        comfort=(0, 120),
        step=5,
    )
    seed: int = number(0, "Seed", "Draws Q, K and V", least=0, most=2**31 - 1, comfort=(0, 99), step=1)
    row: int = number(
        55,
        "Followed row",
        "The query whose numbers are shown step by step",
        least=0,
        most=255,
        comfort=(0, 127),
        step=1,
    )
    backend: Literal["torch", "triton"] = choice(
        "torch",
        "Computed by",
        "torch: the readable loop; triton: the kernel",
        {"torch": "PyTorch", "triton": "Triton kernel"},
    )
    break_it: BreakIt = break_field(BREAKS)

    @property
    def keys(self) -> int:
        """The number of keys, with 0 resolved."""
        return self.kv_len or self.seq_len

    @property
    def followed_row(self) -> int:
        """The row whose numbers are shown; the last row where the sequence is shorter."""
        return min(self.row, self.seq_len - 1)

    @property
    def scale(self) -> float:
        """What multiplies Q K^T."""
        return self.score_scale / math.sqrt(self.head_dim)

    @property
    def tiling(self) -> Tiling:
        """The tiles, the mask, the scale and the cap, as the loop and the kernel take them."""
        return Tiling(
            self.block_q,
            self.block_k,
            causal=self.causal,
            scale=self.scale,
            break_it=self.break_it,
            window=(self.window, -1),
            softcap=self.softcap,
        )

    @property
    def needs_button(self) -> bool:
        """Whether it takes too long to start without a button: the interpreted kernel beyond 128 tokens."""
        return self.backend == "triton" and max(self.seq_len, self.keys) > 128

    @property
    def why_button(self) -> str:
        return Message(
            "The Triton kernel is interpreted; beyond 128 tokens that takes seconds, so it starts by a button."
        )

    @property
    def kernel_can_follow(self) -> bool:
        """Whether the kernel, interpreted, can compute the same tiles at once, for comparison."""
        asked = self.model_copy(update={"backend": "triton"})
        return next(asked.adjustments(), None) is None and not asked.needs_button

    def adjustments(self) -> Iterator[Adjustment]:
        yield from blocks.at_most(MOST_TILES, self, self.seq_len, self.keys)
        if 0 < self.softcap < LEAST_SOFTCAP:
            sentence = Message(
                "softcap = {softcap} is too small; allowed: 0 (no cap), or {least} to {most}.",
                softcap=f"{self.softcap:g}",
                least=LEAST_SOFTCAP,
                most=100,
            )
            yield Adjustment("softcap", LEAST_SOFTCAP, sentence)
        if self.backend == "triton":
            yield from self._kernel_rules()
        else:
            yield from blocks.within_sequence(self, self.seq_len, self.keys)

    def _kernel_rules(self) -> Iterator[Adjustment]:
        if self.head_dim < 16:
            sentence = Message(
                "head_dim = {head_dim} is too small for the Triton kernel; allowed: 16 to 256.",
                head_dim=self.head_dim,
            )
            yield Adjustment("head_dim", 16, sentence)
        for name, block, length in (
            ("block_q", self.block_q, self.seq_len),
            ("block_k", self.block_k, self.keys),
        ):
            # tl.dot needs 16; a block may extend beyond a shorter sequence
            most = _power_of_two_up_to(min(128, max(16, length)))
            if block not in (16, 32, 64, 128) or block > most:
                sentence = Message(
                    "{name} = {block} does not fit the Triton kernel; allowed: {sizes}.",
                    name=name,
                    block=block,
                    sizes=joined([str(size) for size in (16, 32, 64, 128) if size <= most]),
                )
                yield Adjustment(name, max(16, _power_of_two_up_to(min(block, most))), sentence)


def _power_of_two_up_to(number: int) -> int:
    return 1 << (number.bit_length() - 1)
