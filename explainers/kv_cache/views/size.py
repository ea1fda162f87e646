"""The sizes of caches as tables: rows of words, made of a Result's fields as the shell prints them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from explainers.kv_cache.size_formula import both_units

SIZE_NAMES = (
    "model",
    "attention",
    "a token",
    "logical",
    "kept (windows honoured)",
    "reserved, all ranks",
    "one rank",
)
PUBLISHED_NAMES = ("source", "what", "printed", "counted here", "why")
FIT_NAMES = (
    "largest batch at this context",
    "longest context at this batch",
    "fewest GPUs",
    "missing on all GPUs",
)
KEY_NAMES = ("number", "from the config.json")


def size_rows(sizes: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    """A row a model under SIZE_NAMES."""
    for size in sizes:
        words = size["in_words"]
        yield [
            size["title"],
            size["attention"],
            f"{size['bytes_per_token']:,} B",
            words["logical_bytes"],
            words["windowed_bytes"],
            words["reserved_bytes"],
            words["per_rank_bytes"],
        ]


def both_counts(sizes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Of each model what it keeps and what an engine reserves, by name: what a change of settings changes."""
    kept = {size["title"]: size["in_words"]["windowed_bytes"] for size in sizes}
    reserved = {f"{size['title']} reserved": size["in_words"]["reserved_bytes"] for size in sizes}
    return kept | reserved


def fit_row(facts: Mapping[str, Any]) -> list[str]:
    """What fits at most, under FIT_NAMES."""
    fewest = facts["at_least_gpus"]
    return [
        f"{facts['largest_batch']:,} sequences",
        f"{facts['longest_context']:,} tokens",
        "more than 64" if fewest is None else f"{fewest:,}",
        in_words(facts["missing_bytes"]),
    ]


def key_rows(size: Mapping[str, Any]) -> Iterator[list[str]]:
    """A row a number of the config under KEY_NAMES."""
    for number, key in size["keys"].items():
        yield [number.replace("_", " "), key]


def formula_words(size: Mapping[str, Any]) -> str:
    """The formula with its numbers, as the screen writes it."""
    return size["formula"].replace(" x ", " × ").replace("<=", "≤")


def published_rows(rows: Sequence[Any]) -> Iterator[list[str]]:
    """A row a printed figure under PUBLISHED_NAMES; a source is named where it begins."""
    source = ""
    for row in rows:
        yield [
            "" if row.source == source else row.source,
            row.what,
            row.printed,
            row.computed,
            row.reason,
        ]
        source = row.source


def in_words(nbytes: int) -> str:
    """Bytes in both units; "nothing" for none."""
    return both_units(nbytes) if nbytes else "nothing"
