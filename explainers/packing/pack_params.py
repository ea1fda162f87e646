"""The settings of `packing.pack`: a stream of documents, a capacity, and up to two strategies."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np

from explainers.contract.breaks import Break, break_field
from explainers.contract.messages import Message
from explainers.contract.params import Adjustment, choice, number
from explainers.packing.lengths import MOST_DOCUMENTS, LengthsParams, stream
from explainers.packing.strategies import Strategy

MOST_PIECES = 2 * MOST_DOCUMENTS
MOST_NNLS_LENGTHS = 128  # different ones, up to which least squares takes a fraction of a second

Overlong = Literal["drop", "cut", "truncate", "alone"]

LABELS: dict[str, str] = {
    "pad_to_longest": Message("pad to longest"),
    "next_fit": Message("next-fit"),
    "first_fit": Message("first-fit"),
    "best_fit": Message("best-fit"),
    "first_fit_decreasing": Message("first-fit-decreasing"),
    "best_fit_decreasing": Message("best-fit-decreasing"),
    "k_buckets": Message("K open buckets"),
    "balanced": Message("balanced buckets"),
    "window": Message("windows"),
    "lpfhp": Message("longest-pack-first (LPFHP)"),
    "spfhp": Message("shortest-pack-first (SPFHP)"),
    "nnlshp": Message("least squares (NNLSHP)"),
    "lp": Message("linear program"),
    "wrap": Message("wrap"),
}
# The same where they begin a sentence.
HEADINGS: dict[str, str] = {
    "pad_to_longest": Message("Pad to longest"),
    "next_fit": Message("Next-fit"),
    "first_fit": Message("First-fit"),
    "best_fit": Message("Best-fit"),
    "first_fit_decreasing": Message("First-fit-decreasing"),
    "best_fit_decreasing": Message("Best-fit-decreasing"),
    "k_buckets": Message("K open buckets"),
    "balanced": Message("Balanced buckets"),
    "window": Message("Windows"),
    "lpfhp": Message("Longest-pack-first (LPFHP)"),
    "spfhp": Message("Shortest-pack-first (SPFHP)"),
    "nnlshp": Message("Least squares (NNLSHP)"),
    "lp": Message("Linear program"),
    "wrap": Message("Wrap"),
}


BREAKS = (
    Break(
        name="over_capacity",
        label="forget to check the space",
        consequence=(
            "Whether a pack still has room was asked before the document was added, and not whether the "
            "document fits into that room. So the last one runs over the end, and memory with it."
        ),
        settings={
            "lengths": "",
            "source": "lognormal",
            "strategy": "next_fit",
            "versus": "none",
            "capacity": 1024,
        },
    ),
    Break(
        name="lose_last_pack",
        label="forget to flush the open pack",
        consequence=(
            "A pack is handed on when the next document no longer fits. When the stream ends there is no next "
            "document, and without a flush what lies in the open buffer is never trained on."
        ),
        settings={
            "lengths": "",
            "source": "lognormal",
            "strategy": "next_fit",
            "versus": "none",
            "capacity": 1024,
        },
    ),
)


class PackParams(LengthsParams):
    capacity: int = number(
        1024,
        "Capacity",
        "Length of a pack",
        least=1,
        most=1_048_576,
        comfort=(128, 8192),
        step=128,
        unit="tokens",
    )
    strategy: Strategy = choice("first_fit", "Strategy", "Which pack a document goes to", LABELS)
    versus: Literal["none", Strategy] = choice(
        "next_fit", "Beside it", "A second strategy on the same stream", {"none": "none", **LABELS}
    )
    overlong: Overlong = choice(
        "cut",
        "Over-long documents",
        "What happens to a document longer than the capacity",
        {
            "drop": "dropped",
            "cut": "cut into pieces",
            "truncate": "cut off, the rest lost",
            "alone": "alone in a longer pack",
        },
    )
    buckets: int = number(
        4, "Buckets K", "Packs open at a time (K open buckets)", least=1, most=1024, comfort=(1, 32), step=1
    )
    threshold: float = number(
        0.9,
        "Fill threshold",
        "A bucket this full is closed (K open buckets), as a share of the capacity",
        least=0.05,
        most=1,
        comfort=(0.5, 1),
        step=0.05,
    )
    batch: int = number(
        8,
        "Batch",
        "Documents padded to the longest of them (pad to longest)",
        least=1,
        most=1024,
        comfort=(1, 64),
        step=1,
        unit="documents",
    )
    window: int = number(
        100,
        "Window",
        "Documents looked at together (windows)",
        least=1,
        most=MOST_DOCUMENTS,
        comfort=(5, 200),
        step=5,
        unit="documents",
    )
    depth: int = number(
        3,
        "Depth",
        "Most documents in a pack (histogram packing); 0 for no limit",
        least=0,
        most=1024,
        comfort=(0, 16),
        step=1,
    )
    ranks: int = number(
        4, "Ranks", "Devices that take the packs in turn", least=1, most=1024, comfort=(1, 16), step=1
    )
    break_it: Literal["none", "over_capacity", "lose_last_pack"] = break_field(BREAKS)

    @property
    def needs_button(self) -> bool:
        """Least squares over all ways to fill a pack takes many seconds where there are many different lengths."""
        return "nnlshp" in (self.strategy, self.versus) and len(np.unique(stream(self))) > MOST_NNLS_LENGTHS

    @property
    def why_button(self) -> str:
        lengths = len(np.unique(stream(self)))
        return Message(
            "Least squares weighs all ways to fill a pack from {lengths} different lengths against one another. With "
            "more than {most} lengths that takes seconds, so it starts by a button.",
            lengths=lengths,
            most=MOST_NNLS_LENGTHS,
        )

    def adjustments(self) -> Iterator[Adjustment]:
        yield from super().adjustments()
        if self.versus == self.strategy:
            sentence = Message(
                "versus = {versus} is the strategy itself; allowed: another one or none.", versus=self.versus
            )
            yield Adjustment("versus", "none", sentence)
        lengths = stream(self)
        tokens, documents = int(lengths.sum()), len(lengths)
        least = math.ceil(tokens / (MOST_PIECES - documents))
        if self.capacity < least and (self.overlong == "cut" or "wrap" in (self.strategy, self.versus)):
            sentence = Message(
                "capacity = {capacity} would cut {tokens:,} tokens into more than {most:,} pieces; allowed: {least} "
                "or more.",
                capacity=self.capacity,
                tokens=tokens,
                most=MOST_PIECES,
                least=least,
            )
            yield Adjustment("capacity", least, sentence)
        if self.overlong == "drop" and lengths.min() > self.capacity:
            sentence = Message(
                "overlong = drop leaves nothing to pack, as every document is longer than {capacity} tokens; allowed: "
                "cut, truncate or alone.",
                capacity=self.capacity,
            )
            yield Adjustment("overlong", "cut", sentence)
