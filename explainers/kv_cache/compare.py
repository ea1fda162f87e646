"""Up to four models side by side, as their context grows: what one token leaves, and what all of them add up to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from explainers.contract.experiment import experiment
from explainers.contract.messages import Message
from explainers.contract.params import Adjustment, several
from explainers.contract.result import Check, Checked
from explainers.kv_cache.catalogue import LABELS, ModelName, find_model
from explainers.kv_cache.config import read_model
from explainers.kv_cache.layers import ELEMENT_TYPES, Model
from explainers.kv_cache.size import BREAKS as SIZE_BREAKS
from explainers.kv_cache.size import CacheParams, SizeResult, size_of

STEPS = 64  # lengths at which the caches are counted, from none to the length asked for
RANKS = 32  # on which the reader is asked what an engine reserves
FOR_A_QUESTION = ("llama-3.1-70b", "deepseek-v3")

# The settings that make each break of kv_cache.size visible side by side.
_BREAK_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "head_dim_from_hidden": {"models": ("qwen3-30b-a3b", "gemma-3-27b")},
    "mla_as_mha": {"models": FOR_A_QUESTION},
    "ignore_window": {"models": ("gpt-oss-20b", "gemma-3-27b"), "seq_len": 131_072},
}
BREAKS = tuple(replace(each, settings=_BREAK_SETTINGS[each.name]) for each in SIZE_BREAKS)


class CompareParams(CacheParams):
    models: tuple[ModelName, ...] = several(
        FOR_A_QUESTION, "Models", "Up to four models of the catalogue", most=4, labels=LABELS
    )

    def adjustments(self) -> Iterator[Adjustment]:
        if not self.models and not self.config:
            yield Adjustment(
                "models",
                FOR_A_QUESTION,
                Message("models is empty; allowed: at least one, or a config."),
            )
        if len(set(self.models)) < len(self.models):
            once = tuple(dict.fromkeys(self.models))
            yield Adjustment("models", once, Message("models names one twice; allowed: each once."))


@dataclass(frozen=True)
class Growth:
    """Bytes of one model's cache at each of `lengths`, (steps,). parts: the windowed bytes by what they hold."""

    logical: tuple[int, ...]
    windowed: tuple[int, ...]
    reserved: tuple[int, ...]
    parts: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class OnRanks:
    """What an engine reserves for one model on RANKS ranks. factor: how many times the bytes of a single GPU."""

    title: str
    ranks: int
    factor: int


@dataclass(frozen=True)
class CompareResult(Checked):
    """sizes: each model at the length asked for. ratio: the largest windowed cache against the smallest.

    largest_bytes, smallest_bytes: those two in words. on_ranks: of the last model. lengths: (steps,) tokens.
    growth: each model's bytes at those lengths. right: their windowed bytes without what `break_it` does, the same
    where nothing is broken. warnings: why bytes may be wrong. models: what was counted.
    """

    sizes: tuple[SizeResult, ...]
    largest: str
    smallest: str
    largest_bytes: str
    smallest_bytes: str
    ratio: float
    on_ranks: OnRanks
    lengths: tuple[int, ...]
    growth: tuple[Growth, ...]
    right: tuple[tuple[int, ...], ...]
    warnings: tuple[str, ...]
    checks: tuple[Check, ...]
    models: tuple[Model, ...] = field(metadata={"shell": False})
    setting: CompareParams = field(metadata={"shell": False})


@experiment("kv_cache.compare", breaks=BREAKS)
def compare(params: CompareParams) -> CompareResult:
    """The KV caches of up to four models side by side, as the context grows to the length asked for."""
    models = compared_models(params)
    sizes = tuple(size_of(model, params) for model in models)
    lengths = tuple(sorted({params.seq_len * step // STEPS for step in range(STEPS + 1)}))
    growth = tuple(_growth(model, params, lengths) for model in models)
    by_bytes = sorted(sizes, key=lambda size: size.windowed_bytes)
    return CompareResult(
        sizes=sizes,
        largest=by_bytes[-1].title,
        smallest=by_bytes[0].title,
        largest_bytes=by_bytes[-1].in_words["windowed_bytes"],
        smallest_bytes=by_bytes[0].in_words["windowed_bytes"],
        ratio=by_bytes[-1].windowed_bytes / max(1, by_bytes[0].windowed_bytes),
        on_ranks=_on_ranks(models[-1], params),
        lengths=lengths,
        growth=growth,
        right=tuple(
            each.windowed for each in (growth if params.break_it == "none" else _unbroken(params, lengths))
        ),
        warnings=tuple(
            Message("{model}: {warning}", model=size.title, warning=warning)
            for size in sizes
            for warning in size.warnings
        ),
        checks=tuple(check for size in sizes for check in size.checks),
        models=models,
        setting=params,
    )


def _on_ranks(model: Model, params: CompareParams) -> OnRanks:
    """Reserved bytes on RANKS ranks over those on one: a whole number wherever the ranks share the heads evenly."""
    setting = (ELEMENT_TYPES[params.dtype], params.seq_len, params.batch)
    one_rank, all_ranks = (model.reserved_bytes(*setting, ranks, params.block_tokens) for ranks in (1, RANKS))
    return OnRanks(model.title, RANKS, round(all_ranks / one_rank))


def compared_models(params: CompareParams) -> tuple[Model, ...]:
    """The models of the catalogue and, last, the one whose config was pasted."""
    named = [find_model(name, params.break_it) for name in params.models]
    pasted = [read_model(params.config, params.break_it)] if params.config else []
    return (*named, *pasted)


def _unbroken(params: CompareParams, lengths: tuple[int, ...]) -> tuple[Growth, ...]:
    """The growth of the same models, rightly counted."""
    whole = params.model_copy(update={"break_it": "none"})
    return tuple(_growth(model, whole, lengths) for model in compared_models(whole))


def _growth(model: Model, params: CompareParams, lengths: tuple[int, ...]) -> Growth:
    dtype, batch = ELEMENT_TYPES[params.dtype], params.batch
    ranks, block = params.tensor_parallel, params.block_tokens
    held = [model.vector_bytes(dtype, length, batch) for length in lengths]
    return Growth(
        logical=tuple(model.logical_bytes(dtype, length, batch) for length in lengths),
        windowed=tuple(model.windowed_bytes(dtype, length, batch) for length in lengths),
        reserved=tuple(model.reserved_bytes(dtype, length, batch, ranks, block) for length in lengths),
        parts={name: tuple(now[name] for now in held) for name in held[0]},
    )
