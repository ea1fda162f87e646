"""The arcs of the KV cache: questions at every kind of setting, and each right answer found another way."""

from __future__ import annotations

from typing import Any

import pytest

from explainers.contract.experiment import find
from explainers.kv_cache.compare import CompareParams
from explainers.kv_cache.decode_params import DecodeParams
from explainers.kv_cache.fit import FitParams
from explainers.kv_cache.published import PublishedParams
from explainers.kv_cache.roofline import RooflineParams
from pages.parts import kv_cache_questions as asks
from pages.parts.mistakes import short_bytes
from pages.ui.chapter import Chapter
from pages.ui.jobs.prepared_run import facts
from pages.ui.prose import prose
from tests.pages.chapters import chapters_of
from tests.pages.settings_to_ask import problem_with, settings_of, too_long

CHAPTERS = chapters_of("kv_cache")
SMALL = {"tokens": 12, "prefill": 8}
WORDS = prose("kv_cache")


def shown(name: str, params: Any) -> dict[str, Any]:
    return facts(find(f"kv_cache.{name}")(params))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=[chapter.key for chapter in CHAPTERS])
def test_a_chapter_asks_well_at_every_kind_of_setting(chapter: Chapter) -> None:
    problems = []
    for params in settings_of(chapter, SMALL if chapter.key == "sharing" else {}):
        found = facts(find(chapter.experiment)(params))
        if problem := problem_with(chapter, params, found, WORDS):
            problems.append(f"{params!r}: {problem}")
    assert not problems


@pytest.mark.parametrize("chapter", CHAPTERS, ids=[chapter.key for chapter in CHAPTERS])
def test_the_sentences_of_an_arc_fit_their_place(chapter: Chapter) -> None:
    assert not too_long(chapter, WORDS)


@pytest.mark.parametrize("values", [{}, {"batch": 7, "models": ("gemma-3-27b",)}])
def test_one_more_reader_is_counted_by_the_experiment(values: dict[str, Any]) -> None:
    params = CompareParams(**values)
    asked = asks.one_more_reader(params, shown("compare", params))
    more = shown("compare", params.model_copy(update={"batch": params.batch + 1}))
    assert asked
    assert asked["right"] == short_bytes(more["sizes"][-1]["windowed_bytes"])


@pytest.mark.parametrize("kind", ["mha", "gqa", "mqa", "mla"])
def test_one_more_token_is_measured(kind: str) -> None:
    params = DecodeParams(kind=kind)
    asked = asks.one_more_token(params, shown("decode", params))
    longer = shown("decode", params.model_copy(update={"tokens": params.tokens + 1}))
    now = shown("decode", params)
    assert asked
    assert asked["right"] == f"{longer['cache_bytes_measured'] - now['cache_bytes_measured']:,} B"


@pytest.mark.parametrize("values", [{}, {"gpu": "a100-80gb", "tensor_parallel": 8, "seq_len": 8192}])
def test_the_sequences_that_fit_are_tried_out(values: dict[str, Any]) -> None:
    params = FitParams(**values)
    asked = asks.sequences_that_fit(params, shown("fit", params))
    assert asked
    most = int(asked["right"].replace(",", ""))
    assert shown("fit", params.model_copy(update={"batch": most}))["fits"]
    assert not shown("fit", params.model_copy(update={"batch": most + 1}))["fits"]


@pytest.mark.parametrize("values", [{}, {"batch": 2}])
def test_the_context_that_fits_is_tried_out(values: dict[str, Any]) -> None:
    params = FitParams(**values)
    asked = asks.context_that_fits(params, shown("fit", params))
    assert asked
    most = int(asked["right"].replace(",", ""))
    assert shown("fit", params.model_copy(update={"seq_len": most}))["fits"]
    assert not shown("fit", params.model_copy(update={"seq_len": most + params.block_tokens}))["fits"]


@pytest.mark.parametrize("values", [{}, {"batch": 2, "seq_len": 4096}])
def test_the_rate_of_twice_the_batch_is_that_of_the_experiment(values: dict[str, Any]) -> None:
    params = RooflineParams(**values)
    asked = asks.rate_of_twice_the_batch(params, shown("roofline", params))
    doubled = shown("roofline", params.model_copy(update={"batch": 2 * params.batch}))
    assert asked
    assert int(asked["right"].removesuffix(" /s").replace(",", "")) == pytest.approx(
        doubled["own"]["tokens_per_second"], rel=1e-3, abs=1
    )


def test_a_token_of_the_large_model_is_what_its_config_gives() -> None:
    asked = asks.bytes_of_a_large_model(PublishedParams(), {})
    counted = shown("size", find("kv_cache.size").params(model="llama-3.1-405b"))
    assert asked
    assert asked["right"] == f"{counted['bytes_per_token']:,} B"
