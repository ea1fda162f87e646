"""The settings of packing.histogram, and the histogram that its text holds."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import field_validator

from explainers.contract.breaks import Break, break_field
from explainers.contract.messages import Message, joined
from explainers.contract.params import Params, choice, number, text

LONGEST_TEXT = 1_000_000
MOST_LENGTH = 65_536
MOST_SEQUENCES = 10**12
SECONDS_ON_A_CLICK = 0.3  # of an estimated run: longer ones start by a button
MOST_SLOTS = 512  # lengths that a plan distinguishes; where more occur, neighbours share a slot
PLANNED_DEPTH = 3  # sequences in a pack of a plan: beyond, there are too many packs to list

Strategy = Literal["lpfhp", "spfhp", "nnlshp", "lp"]
BreakIt = Literal["none", "forget_remainder", "ignore_depth", "capacity_off_by_one"]

LABELS: dict[str, str] = {
    "lpfhp": Message("longest pack first"),
    "spfhp": Message("shortest pack first"),
    "nnlshp": Message("non-negative least squares"),
    "lp": Message("linear program"),
}

BREAKS = (
    Break(
        name="forget_remainder",
        label="forget what rounding leaves over",
        consequence=(
            "A plan in fractions of packs is rounded down to whole ones. The sequences that then have no pack "
            "must still be packed, however few they are; forgotten, they are never trained on."
        ),
        settings={"strategy": "lp", "depth": 3},
    ),
    Break(
        name="ignore_depth",
        label="ignore the depth",
        consequence=(
            "A model with room for only so many sequences in a pack (their masks, their first tokens) cannot "
            "read packs that hold more, however full they are."
        ),
        settings={"strategy": "lpfhp", "depth": 3},
    ),
    Break(
        name="capacity_off_by_one",
        label="a capacity one too large",
        consequence=(
            "A pack planned one token too long does not fit into the model's sequence; its last token is cut "
            "off."
        ),
        settings={"strategy": "lpfhp", "depth": 3},
    ),
)


class HistogramParams(Params):
    histogram: str = text(
        "",
        "Length histogram",
        "A JSON object with max_length, the capacity in tokens, and count_by_length_from_1, how many sequences there "
        "are of length 1, 2, ...; empty for 100,000 sequences of lognormal length",
        longest=LONGEST_TEXT,
        long_text=True,
    )
    strategy: Strategy = choice(
        "lpfhp",
        "Strategy",
        "How the packs are found",
        LABELS,
    )
    depth: int = number(
        3,
        "Depth",
        "Most sequences in a pack; 0 for no limit",
        least=0,
        most=MOST_LENGTH,
        comfort=(0, 16),
        step=1,
        unit="sequences",
    )
    break_it: BreakIt = break_field(BREAKS)

    @field_validator("histogram")
    @classmethod
    def _can_be_packed(cls, given: str) -> str:
        if not given.strip():
            return ""
        try:
            read_histogram(given)
        except ValueError as error:
            raise ValueError(
                Message(
                    "the text of a JSON object with max_length and count_by_length_from_1, or nothing; here {problem}",
                    problem=error.args[0],
                )
            ) from None
        return given

    @property
    def lengths(self) -> Histogram:
        """The histogram that is packed."""
        return read_histogram(self.histogram) if self.histogram else built_in()

    @property
    def needs_button(self) -> bool:
        return self.estimated_seconds > SECONDS_ON_A_CLICK

    @property
    def estimated_seconds(self) -> float:
        """About how long a plan takes on one core; 0 without a plan.

        Packs of one or two sequences are so few that their plan takes milliseconds.
        """
        if self.strategy not in ("nnlshp", "lp") or self.depth in (1, 2):
            return 0.0
        return seconds_of_plan(self.strategy, self.planned_lengths)

    @property
    def planned_lengths(self) -> int:
        """How many lengths a plan distinguishes."""
        occurring = int(np.count_nonzero(self.lengths.counts))
        return -(-occurring // -(-occurring // MOST_SLOTS))

    @property
    def why_button(self) -> str:
        """Why the plan starts by a button, and about how long it takes."""
        here, longest = _about(self.estimated_seconds), _about(seconds_of_plan(self.strategy, MOST_SLOTS))
        if self.strategy == "nnlshp":
            work = Message(
                "Least squares weighs all ways to fill a pack from {lengths} lengths against one another.",
                lengths=self.planned_lengths,
            )
        else:
            work = Message(
                "The linear program weighs all ways to fill a pack from {lengths} lengths against one another.",
                lengths=self.planned_lengths,
            )
        if here == longest:
            time = Message("That takes about {here}, so it starts by a button.", here=here)
        else:
            time = Message(
                "That takes about {here} (for {most} lengths, about {longest}), so it starts by a button.",
                here=here,
                most=MOST_SLOTS,
                longest=longest,
            )
        return joined([work, time], " ")


def seconds_of_plan(strategy: Strategy, lengths: int) -> float:
    """About how long a plan for packs of three takes on one core, fitted to what runs of 64 to 512 lengths took."""
    share = lengths / MOST_SLOTS
    return 20 * share**5 if strategy == "nnlshp" else 1.4 * share**3


def _about(seconds: float) -> Message:
    """With one significant digit."""
    return Message("{seconds:g} s", seconds=float(f"{seconds:.1g}"))


# ---------------------------------------------------------------------------------------------- the histogram


@dataclass(frozen=True, eq=False)
class Histogram:
    """How many sequences there are of each length.

    counts: (capacity,) whole numbers, entry i for length i + 1. capacity: tokens of a pack. name: of the corpus, may be
    empty.
    """

    counts: np.ndarray
    capacity: int
    name: str = ""

    @property
    def sequences(self) -> int:
        return int(self.counts.sum())

    @property
    def tokens(self) -> int:
        return int(self.counts @ np.arange(1, self.capacity + 1))


def built_in(capacity: int = 256, sequences: int = 100_000) -> Histogram:
    """Lognormal lengths, median 90 and sigma 0.7, cut at the capacity: the longer ones count as `capacity` long."""
    edges = [0.0] + [_lognormal_below(length + 0.5, 90, 0.7) for length in range(1, capacity)] + [1.0]
    counts = np.diff(np.round(sequences * np.array(edges))).astype(np.int64)
    return Histogram(counts, capacity, Message("lognormal lengths"))


def _lognormal_below(x: float, median: float, sigma: float) -> float:
    """The share of a lognormal distribution below x."""
    # Φ((ln x - ln median) / σ)
    return 0.5 * (1 + math.erf((math.log(x) - math.log(median)) / (sigma * math.sqrt(2))))


def read_histogram(given: str) -> Histogram:
    """The histogram in a text. Raises ValueError with one sentence, which names the key, for anything else."""
    try:
        found = json.loads(given.removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        raise ValueError(
            Message(
                "the text is not JSON: line {line}, column {column}", line=error.lineno, column=error.colno
            )
        ) from None
    except (RecursionError, ValueError):
        raise ValueError(Message("the text nests too deeply, or has a number of too many digits")) from None
    if not isinstance(found, dict):
        raise ValueError(Message("the text is {kind}, not an object between braces", kind=_kind(found)))
    for key in ("max_length", "count_by_length_from_1"):
        if key not in found:
            raise ValueError(Message("the key {key} is missing", key=key))
    capacity, given_counts = found["max_length"], found["count_by_length_from_1"]
    if not _whole(capacity) or not 1 <= capacity <= MOST_LENGTH:
        raise ValueError(
            Message(
                "max_length is {kind}; it must be a whole number from 1 to {most:,}",
                kind=_kind(capacity),
                most=MOST_LENGTH,
            )
        )
    name = found.get("name", "")
    name = re.sub(r"[^A-Za-z0-9 _.,:+-]", "?", name)[:60] if isinstance(name, str) else ""
    return Histogram(_read_counts(given_counts, capacity), capacity, name)


def _read_counts(given: Any, capacity: int) -> np.ndarray:
    """(capacity,) the counts, zeros for the lengths after the last that is given."""
    key = "count_by_length_from_1"
    if not isinstance(given, list):
        raise ValueError(
            Message("{key} is {kind}; it must be a list of whole numbers", key=key, kind=_kind(given))
        )
    if len(given) > capacity:
        raise ValueError(
            Message(
                "{key} has {counts:,} counts; max_length = {capacity:,} allows at most that many",
                key=key,
                counts=len(given),
                capacity=capacity,
            )
        )
    for length, count in enumerate(given, 1):
        if not _whole(count) or not 0 <= count <= MOST_SEQUENCES:
            raise ValueError(
                Message(
                    "{key} has {kind} for length {length:,}; a count is a whole number from 0 to 10^12",
                    key=key,
                    kind=_kind(count),
                    length=length,
                )
            )
    if not 0 < sum(given) <= MOST_SEQUENCES:
        raise ValueError(
            Message(
                "{key} counts {sequences:,} sequences; there must be at least one and at most 10^12",
                key=key,
                sequences=sum(given),
            )
        )
    counts = np.zeros(capacity, np.int64)
    counts[: len(given)] = given
    return counts


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    """A JSON value as a sentence shows it: a number itself, anything else by its kind."""
    names = {
        dict: Message("an object"),
        list: Message("a list"),
        str: Message("a text"),
        bool: Message("true or false"),
        type(None): Message("null"),
    }
    if type(value) in names:
        return names[type(value)]
    shown = repr(value)
    return shown if len(shown) <= 24 else f"{shown[:21]}..."
