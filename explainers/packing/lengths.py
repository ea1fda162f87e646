"""The lengths of a stream of documents, in tokens: drawn from a distribution, or pasted.

lognormal: most documents short, a few very long, as in web text. uniform: every length alike. bimodal: a chat, many
short turns and some long answers. zipf: p(l) ~ l^-a for l = 1 .. longest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from pydantic import field_validator

from explainers.contract.messages import Message
from explainers.contract.params import Adjustment, Params, choice, number, text

MOST_DOCUMENTS = 20_000
LONGEST_DOCUMENT = 1_048_576
BIMODAL_SPREAD = 0.35  # standard deviation of log(length) around each of a chat's two medians

Source = Literal["lognormal", "uniform", "bimodal", "zipf"]


class LengthsParams(Params):
    """Where the documents of the stream come from."""

    lengths: str = text(
        "",
        "Your own lengths",
        Message(
            "at most {most:,} whole numbers from 1 to {longest:,}, separated by commas or spaces; empty draws them",
            most=MOST_DOCUMENTS,
            longest=LONGEST_DOCUMENT,
        ),
        longest=8 * MOST_DOCUMENTS,
        long_text=True,
    )
    source: Source = choice(
        "lognormal",
        "Lengths",
        "The distribution from which the documents' lengths are drawn",
        {"lognormal": "lognormal", "uniform": "uniform", "bimodal": "bimodal chat", "zipf": "Zipf"},
    )
    count: int = number(
        40,
        "Documents",
        "How many documents are drawn",
        least=1,
        most=MOST_DOCUMENTS,
        comfort=(4, 256),
        step=1,
        unit="documents",
    )
    mu: float = number(
        5.5,
        "μ",
        "Mean of log(length) (lognormal); the median length is e^μ",
        least=0,
        most=12,
        comfort=(2, 8),
        step=0.1,
    )
    sigma: float = number(
        1.0, "σ", "Standard deviation of log(length) (lognormal)", least=0, most=4, comfort=(0, 2), step=0.1
    )
    shortest: int = number(
        32,
        "Shortest",
        "Least length (uniform)",
        least=1,
        most=LONGEST_DOCUMENT,
        comfort=(1, 1024),
        step=1,
        unit="tokens",
    )
    short_median: int = number(
        64,
        "Short turns",
        "Median length of the short documents (bimodal chat)",
        least=1,
        most=LONGEST_DOCUMENT,
        comfort=(8, 512),
        step=8,
        unit="tokens",
    )
    long_median: int = number(
        700,
        "Long answers",
        "Median length of the long documents (bimodal chat)",
        least=1,
        most=LONGEST_DOCUMENT,
        comfort=(64, 4096),
        step=8,
        unit="tokens",
    )
    long_share: float = number(
        0.4,
        "Share of long ones",
        "How many of the documents are long (bimodal chat)",
        least=0,
        most=1,
        step=0.05,
    )
    exponent: float = number(
        1.0, "Exponent a", "p(length) falls as length^-a (Zipf)", least=0, most=5, comfort=(0, 3), step=0.1
    )
    longest: int = number(
        1536,
        "Longest",
        "No drawn document is longer; a longer one is clipped (Zipf and uniform: never drawn)",
        least=1,
        most=LONGEST_DOCUMENT,
        comfort=(16, 4096),
        step=16,
        unit="tokens",
    )
    seed: int = number(0, "Seed", "Draws the lengths", least=0, most=2**31 - 1, comfort=(0, 99), step=1)

    @field_validator("lengths", mode="before")
    @classmethod
    def _only_lengths(cls, typed: Any) -> Any:
        if isinstance(typed, str):
            parse_lengths(typed)
        return typed

    def adjustments(self) -> Iterator[Adjustment]:
        if not self.lengths.strip() and self.source == "uniform" and self.shortest > self.longest:
            sentence = Message(
                "shortest = {shortest} is more than the longest; allowed: 1 to {longest}.",
                shortest=self.shortest,
                longest=self.longest,
            )
            yield Adjustment("shortest", self.longest, sentence)


def parse_lengths(typed: str, shortest: int = 1, longest: int = LONGEST_DOCUMENT) -> tuple[int, ...]:
    """The lengths of a typed list, in its order. Raises ValueError, which says what is allowed and what is wrong."""
    parts = [part for part in re.split(r"[,\s]+", typed) if part]
    if len(parts) > MOST_DOCUMENTS:
        raise ValueError(
            Message(
                "at most {most:,} lengths, and these are {given:,}", most=MOST_DOCUMENTS, given=len(parts)
            )
        )
    return tuple(_parse_length(part, shortest, longest) for part in parts)


def _parse_length(part: str, shortest: int, longest: int) -> int:
    shown = repr(part if len(part) <= 20 else f"{part[:17]}...")
    if not re.fullmatch(r"[+-]?[0-9]+", part):
        raise ValueError(
            Message("whole numbers separated by commas or spaces, and {given} is not one", given=shown)
        )
    if len(part) > 20 or not shortest <= int(part) <= longest:
        raise ValueError(
            Message(
                "lengths from {shortest} to {longest:,} tokens, and {given} is not one",
                shortest=shortest,
                longest=longest,
                given=shown,
            )
        )
    return int(part)


def stream(params: LengthsParams) -> np.ndarray:
    """The documents' lengths (documents,) int64 in the order in which they come, each from 1 up."""
    pasted = parse_lengths(params.lengths)
    if pasted:
        return np.array(pasted, dtype=np.int64)
    return draw(params, np.random.default_rng(params.seed))


def draw(params: LengthsParams, generator: np.random.Generator) -> np.ndarray:
    """Lengths (count,) int64 from the distribution, rounded and clipped to 1 .. longest."""
    n = params.count
    if params.source == "uniform":
        drawn = generator.integers(params.shortest, params.longest, n, endpoint=True)
    elif params.source == "zipf":
        # p(l) = l^-a / sum of k^-a, drawn by inverting its cumulative sum
        weights = np.arange(1, params.longest + 1, dtype=np.float64) ** -params.exponent
        cumulative = weights.cumsum()
        drawn = 1 + np.searchsorted(cumulative, generator.random(n) * cumulative[-1], side="right")
    elif params.source == "bimodal":
        # log l ~ N(log median, spread^2), the median one of two
        long = generator.random(n) < params.long_share
        mu = np.log(np.where(long, params.long_median, params.short_median))
        drawn = generator.lognormal(mu, BIMODAL_SPREAD)
    else:
        # log l ~ N(mu, sigma^2)
        drawn = generator.lognormal(params.mu, params.sigma, n)
    return np.clip(np.rint(drawn), 1, params.longest).astype(np.int64)
