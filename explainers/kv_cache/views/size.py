"""The sizes of caches as tables: rows of words, made of a Result's fields as the shell prints them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from explainers.contract.messages import Message
from explainers.kv_cache.size_formula import both_units

SIZE_NAMES = (
    Message("model"),
    Message("attention"),
    Message("a token"),
    Message("logical"),
    Message("kept (windows honoured)"),
    Message("reserved, all ranks"),
    Message("one rank"),
)
PUBLISHED_NAMES = (
    Message("source"),
    Message("what"),
    Message("printed"),
    Message("counted here"),
    Message("why"),
)
FIT_NAMES = (
    Message("largest batch at this context"),
    Message("longest context at this batch"),
    Message("fewest GPUs"),
    Message("missing on all GPUs"),
)
NUMBER_NAMES: Mapping[str, Message] = {  # what the screen calls the numbers of Model.keys
    "layers": Message("layers"),
    "hidden_size": Message("hidden size"),
    "query_heads": Message("query heads"),
    "latent": Message("latent"),
    "rope_key": Message("rope key"),
    "kv_heads": Message("kv heads"),
    "head_dim": Message("head dim"),
    "window": Message("window"),
    "layer_kinds": Message("layer kinds"),
    "max_position": Message("max position"),
    "vocab_size": Message("vocab size"),
}
KEY_NAMES = (Message("number"), Message("from the config.json"))


def size_rows(sizes: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    """A row a model under SIZE_NAMES."""
    for size in sizes:
        words = size["in_words"]
        yield [
            size["title"],
            size["attention"],
            Message("{size:,} B", size=size["bytes_per_token"]),
            words["logical_bytes"],
            words["windowed_bytes"],
            words["reserved_bytes"],
            words["per_rank_bytes"],
        ]


def both_counts(sizes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Of each model what it keeps and what an engine reserves, by name: what a change of settings changes."""
    kept: dict[str, str] = {size["title"]: size["in_words"]["windowed_bytes"] for size in sizes}
    reserved: dict[str, str] = {
        Message("{model} reserved", model=size["title"]): size["in_words"]["reserved_bytes"] for size in sizes
    }
    return kept | reserved


def fit_row(facts: Mapping[str, Any]) -> list[str]:
    """What fits at most, under FIT_NAMES."""
    fewest = facts["at_least_gpus"]
    return [
        Message("{batch:,} sequences", batch=facts["largest_batch"]),
        Message("{tokens:,} tokens", tokens=facts["longest_context"]),
        Message("more than 64") if fewest is None else Message("{gpus:,}", gpus=fewest),
        in_words(facts["missing_bytes"]),
    ]


def key_rows(size: Mapping[str, Any]) -> Iterator[list[str]]:
    """A row a number of the config under KEY_NAMES."""
    for number, key in size["keys"].items():
        yield [NUMBER_NAMES[number], key]


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


def in_words(nbytes: int) -> Message:
    """Bytes in both units; "nothing" for none."""
    return both_units(nbytes) if nbytes else Message("nothing")
