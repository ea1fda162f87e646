"""The settings of packing.run, and what follows from sizes alone.

They are apart from the run, so that a page can show their controls without loading torch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import field_validator

from explainers.contract.breaks import Break, break_field
from explainers.contract.messages import Message
from explainers.contract.params import Adjustment, Params, choice, number, text
from explainers.models.head_counts import whole_groups
from explainers.packing.lengths import parse_lengths

MOST_DOCUMENTS = 16
LONGEST_DOCUMENT = 128
MOST_TOKENS = 512
MOST_PLACES = 1024  # of the padded rows, whose scores take the most memory
MOST_KERNEL_TOKENS, MOST_KERNEL_LAYERS = 128, 4  # interpreted, a launch takes a tenth of a second and more
LEAST_KERNEL_HEAD_DIM = 16  # what a matrix product of the Triton kernel needs
SECONDS_ON_A_CLICK = 0.8  # more than this starts by a button

Positions = Literal["rope", "learned"]
BreakIt = Literal["none", "cu_seqlens_off_by_one", "seam_labels", "pad_is_eos", "positions_not_reset"]

BREAKS = (
    Break(
        name="cu_seqlens_off_by_one",
        label="cu_seqlens off by one",
        consequence=(
            "Every boundary is one token too late, so the first token of each document is read as the last of the "
            "document before it: it sees a stranger's text, and its own document no longer sees it."
        ),
        settings={"lengths": "12,5,18,3,9,7"},
    ),
    Break(
        name="seam_labels",
        label="labels across the seams",
        consequence=(
            "A shift over the whole row asks the last token of each document to predict the first of the next. "
            "The logits are right, the loss and the gradients are not."
        ),
        settings={"lengths": "12,5,18,3,9,7"},
    ),
    Break(
        name="pad_is_eos",
        label="end-of-text taken for padding",
        consequence=(
            "The end-of-text token serves as padding, and the mask is rebuilt from the ids: the real end of "
            "every document is thrown out with the padding, and the model is never taught to stop."
        ),
        settings={"lengths": "12,5,18,3,9,7"},
    ),
    Break(
        name="positions_not_reset",
        label="positions not reset",
        consequence=(
            "Position ids run on through the row. Learned positions then give a document another meaning "
            "wherever it lies. RoPE only sees differences, and within a document those are the same: there the "
            "ids are wrong and the logits stay right."
        ),
        settings={"lengths": "12,5,18,3,9,7", "positions": "learned"},
    ),
)


@dataclass(frozen=True)
class Sizes:
    """The sizes of the decoder, and the arithmetic that follows from them."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    positions: Positions

    @property
    def intermediate(self) -> int:
        """The width inside the MLP: with three matrices in place of two, two thirds of four times the hidden size."""
        return -(-8 * self.hidden // 3)

    def flops(self, places: int, pairs: int) -> int:
        """FLOPs of the matrix products of one forward pass; a multiplication and an addition are two.

        places: tokens and padding that pass through the layers. pairs: of a query and a key whose score is computed,
        the masked half of a square among them.
        """
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        weights = 2 * self.hidden * queries + 2 * self.hidden * keys + 3 * self.hidden * self.intermediate
        layer = 2 * places * weights + 4 * queries * pairs  # 4: Q K^T and P V, two each
        return self.layers * layer + 2 * places * self.hidden * self.vocab


class RunParams(Params):
    lengths: str = text(
        "12,5,18,3,9,7",
        "Document lengths",
        "Tokens of each document, with its end-of-text token, separated by commas or spaces; 0: an empty document",
        longest=200,
    )
    layers: int = number(2, "Layers", "Blocks", least=1, most=6, comfort=(1, 4), step=1, unit="layers")
    hidden: int = number(
        64, "Hidden size", "Numbers in the hidden state of a token", least=8, most=256, options=(32, 64, 128)
    )
    heads: int = number(4, "Query heads", "Heads that ask", least=1, most=8, options=(2, 4, 8), unit="heads")
    kv_heads: int = number(
        2,
        "Key/value heads",
        "Heads that answer, each for a group of query heads",
        least=1,
        most=8,
        options=(1, 2, 4),
        unit="heads",
    )
    head_dim: int = number(
        16,
        "Head dimension",
        "Numbers in one query, key or value; even, because RoPE turns pairs",
        least=2,
        most=64,
        options=(8, 16, 32),
    )
    vocab: int = number(
        256, "Vocabulary", "Tokens that there are", least=8, most=1024, options=(64, 256, 1024)
    )
    positions: Positions = choice(
        "rope",
        "Positions",
        "How a token knows where it is",
        {"rope": "RoPE: turns queries and keys", "learned": "learned: added to the embedding"},
    )
    backend: Literal["torch", "triton"] = choice(
        "torch",
        "Computed by",
        "The varlen attention of the unpadded run",
        {"torch": "PyTorch, document by document", "triton": "Triton kernel"},
    )
    seed: int = number(
        0, "Seed", "Draws weights and tokens", least=0, most=2**31 - 1, comfort=(0, 99), step=1
    )
    break_it: BreakIt = break_field(BREAKS, "Removes one necessary part of the unpadded run")

    @field_validator("lengths")
    @classmethod
    def _readable(cls, lengths: str) -> str:
        """Refuses what is no list of document lengths, with what is allowed."""
        documents = parse_lengths(lengths, 0, LONGEST_DOCUMENT)
        if not 1 <= len(documents) <= MOST_DOCUMENTS:
            raise ValueError(
                Message(
                    "1 to {most} documents, and these are {given}", most=MOST_DOCUMENTS, given=len(documents)
                )
            )
        if (total := sum(documents)) > MOST_TOKENS:
            raise ValueError(
                Message(
                    "at most {most} tokens together, and these are {given}", most=MOST_TOKENS, given=total
                )
            )
        if max(documents) < 2:
            raise ValueError(
                Message("at least one document of 2 or more tokens, so that there is a next token to predict")
            )
        if (places := len(documents) * max(documents)) > MOST_PLACES:
            raise ValueError(
                Message(
                    "at most {most} places as padded rows, and these would be {given}",
                    most=MOST_PLACES,
                    given=places,
                )
            )
        return ",".join(map(str, documents))

    @property
    def document_lengths(self) -> tuple[int, ...]:
        """Tokens of each document, in order."""
        return tuple(int(part) for part in self.lengths.split(","))

    @property
    def sizes(self) -> Sizes:
        return Sizes(
            self.layers, self.hidden, self.heads, self.kv_heads, self.head_dim, self.vocab, self.positions
        )

    @property
    def flops(self) -> dict[str, int]:
        """FLOPs of one forward pass each way, from the lengths and sizes alone."""
        lengths, pairs = self.document_lengths, self.pairs
        places = dict.fromkeys(pairs, sum(lengths)) | {"padded": len(lengths) * max(lengths)}
        return {way: self.sizes.flops(places[way], pairs[way]) for way in pairs}

    @property
    def pairs(self) -> dict[str, int]:
        """Pairs of a query and a key whose score is computed each way, the masked ones among them."""
        lengths = self.document_lengths
        return {
            "padded": len(lengths) * max(lengths) ** 2,
            "packed_naive": sum(lengths) ** 2,
            "unpadded": squares(lengths),
        }

    @property
    def needs_button(self) -> bool:
        return self.backend == "triton" or self._estimated_seconds > SECONDS_ON_A_CLICK

    @property
    def why_button(self) -> str:
        if self.backend == "triton":
            return Message("The Triton kernel is interpreted, which takes seconds, so it starts by a button.")
        return Message(
            "All three ways, forward and backward, take about {seconds} s at this size, so they start by a button.",
            seconds=math.ceil(self._estimated_seconds),
        )

    @property
    def _estimated_seconds(self) -> float:
        """About how long a run takes on one thread; the constants are fitted to what runs took.

        A backward pass counts as two forward ones. Every way has four of both and one more to count FLOPs; those that
        may leak have one before any change and one for each document.
        """
        documents = len(self.document_lengths)
        passes = {"padded": 13, "packed_naive": 14 + documents, "unpadded": 14 + documents}
        flops = sum(passes[way] * self.flops[way] for way in passes)
        scores = self.layers * self.heads * sum(passes[way] * self.pairs[way] for way in passes)
        calls = self.layers * (sum(passes.values()) * 550e-6 + passes["unpadded"] * documents * 120e-6)
        return flops / 60e9 + scores * 4e-9 + calls

    def adjustments(self) -> Iterator[Adjustment]:
        if self.head_dim % 2:
            yield Adjustment(
                "head_dim",
                self.head_dim - 1,
                Message(
                    "head_dim = {size} is odd; allowed: even numbers, because RoPE turns pairs.",
                    size=self.head_dim,
                ),
            )
        if self.backend == "triton" and self.head_dim < LEAST_KERNEL_HEAD_DIM:
            yield Adjustment(
                "head_dim",
                LEAST_KERNEL_HEAD_DIM,
                Message(
                    "head_dim = {size} is too small for the Triton kernel; allowed: {least} to 64, or backend = "
                    "torch.",
                    size=self.head_dim,
                    least=LEAST_KERNEL_HEAD_DIM,
                ),
            )
        if self.backend == "triton":
            yield from self._small_enough_for_the_interpreter()
        yield from whole_groups("kv_heads", self.kv_heads, self.heads)
        yield from self._seam_for_the_break()

    def _small_enough_for_the_interpreter(self) -> Iterator[Adjustment]:
        if self.layers > MOST_KERNEL_LAYERS:
            yield Adjustment(
                "layers",
                MOST_KERNEL_LAYERS,
                Message(
                    "layers = {layers} is too slow for the interpreted Triton kernel; allowed: at most {most}, or "
                    "backend = torch.",
                    layers=self.layers,
                    most=MOST_KERNEL_LAYERS,
                ),
            )
        if (tokens := sum(self.document_lengths)) > MOST_KERNEL_TOKENS:
            yield Adjustment(
                "lengths",
                cut(self.document_lengths, MOST_KERNEL_TOKENS),
                Message(
                    "lengths = {tokens} tokens together, too slow for the interpreted Triton kernel; allowed: at most "
                    "{most}, or backend = torch.",
                    tokens=tokens,
                    most=MOST_KERNEL_TOKENS,
                ),
            )

    def _seam_for_the_break(self) -> Iterator[Adjustment]:
        needs_seam = self.break_it not in ("none", "pad_is_eos")
        if needs_seam and sum(length > 0 for length in self.document_lengths) < 2:
            yield Adjustment(
                "break_it",
                "none",
                Message(
                    "break_it = {part} needs a seam; allowed: none or pad_is_eos, unless two documents of lengths "
                    "have tokens.",
                    part=self.break_it,
                ),
            )


def squares(lengths: Sequence[int]) -> int:
    """Pairs of a query and a key within the same document."""
    return sum(length**2 for length in lengths)


def cut(lengths: Sequence[int], most: int) -> str:
    """The first documents, up to `most` tokens together, the last of them cut: as text, separated by commas."""
    ends = [min(end, most) for end in itertools.accumulate(lengths, initial=0)]
    kept = [end - start for start, end in itertools.pairwise(ends)]
    return ",".join(str(length) for length, start in zip(kept, ends, strict=False) if start < most)
