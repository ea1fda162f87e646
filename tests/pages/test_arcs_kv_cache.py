"""The arc of each chapter of the KV cache: its words and its questions."""

from __future__ import annotations

from typing import Any

import pytest

from explainers.contract.params import fit
from explainers.hardware.gpus import GPUS
from explainers.kv_cache.decode import decode
from explainers.kv_cache.decode_params import DecodeParams
from explainers.kv_cache.roofline import RooflineParams
from tests.pages import attention_arcs as arcs
from tests.pages.chapters import chapter_of, chapters_of

TOPIC = "kv_cache"
CHAPTERS = pytest.mark.parametrize("key", [chapter.key for chapter in chapters_of(TOPIC)])

# Llama 3.1 70B: 80 layers, 8 KV heads of 128, in bf16.
LLAMA = {"parameters": 70_553_706_496, "layers": 80, "head": 2 * 128 * 2, "heads": 8}
H100 = GPUS["h100-80gb"]


@CHAPTERS
@pytest.mark.usefixtures("one_thread")
def test_every_question_can_be_answered(key: str) -> None:
    chapter = chapter_of(TOPIC, key)
    found = [
        problem for params in arcs.settings_of(chapter) for problem in arcs.problems(TOPIC, chapter, params)
    ]
    assert not found


@CHAPTERS
def test_every_chapter_asks_at_its_defaults_and_its_words_fit(key: str) -> None:
    chapter = chapter_of(TOPIC, key)
    assert not [field for field, *_ in arcs.QUESTIONS if arcs.never_asked(chapter, field)]
    assert not arcs.too_long(TOPIC, chapter)


# ------------------------------------------------------------------------------- the right answers, computed anew


@pytest.mark.parametrize(
    ("model", "dtype", "bytes_of_a_token"),
    [
        ("llama-3.1-70b", "bf16", 80 * 8 * (128 + 128) * 2),
        ("deepseek-v3", "bf16", 61 * (512 + 64) * 2),
        ("llama-3.1-70b", "q4_0", 80 * 8 * 2 * 4 * 18),  # 128 numbers are four blocks of 18 B
    ],
)
def test_tokens_in_a_gigabyte(model: str, dtype: str, bytes_of_a_token: int) -> None:
    right = arcs.right(chapter_of(TOPIC, "compare"), models=(model,), dtype=dtype, batch=4)
    tokens = int(right.replace(",", ""))
    assert tokens * bytes_of_a_token <= 10**9 < (tokens + 1) * bytes_of_a_token


@pytest.mark.parametrize("values", [{}, {"kind": "mla", "tokens": 3}, {"kind": "mha", "dtype": "bfloat16"}])
def test_bytes_after_twice_the_tokens(values: dict[str, Any]) -> None:
    params = DecodeParams.model_validate(values)
    longer = DecodeParams.model_validate({**values, "tokens": 2 * params.tokens})
    held = decode(longer).cache_bytes_measured
    assert arcs.right(chapter_of(TOPIC, "sharing"), **values) == f"{held:,} B"


@pytest.mark.parametrize(("values", "gpus"), [({}, 8), ({"tensor_parallel": 8}, 16), ({"batch": 1}, 8)])
def test_sequences_on_twice_the_gpus(values: dict[str, Any], gpus: int) -> None:
    heads = max(1, LLAMA["heads"] // gpus)  # on each GPU; a head is never cut
    sequence = LLAMA["layers"] * 32_768 * heads * LLAMA["head"]
    free = H100.memory_bytes * 9 // 10 - -(-2 * LLAMA["parameters"] // gpus)
    fitting = 0
    while (fitting + 1) * sequence <= free:
        fitting += 1
    assert arcs.right(chapter_of(TOPIC, "fit"), model="llama-3.1-70b", **values) == f"{fitting:,}"


@pytest.mark.parametrize("batch", [1, 8, 64])
def test_the_rate_at_twice_the_batch(batch: int) -> None:
    embedding, sequences = 128_256 * 8192, 2 * batch
    weights = 2 * (LLAMA["parameters"] - embedding + sequences * 8192)
    cache = sequences * 32_768 * LLAMA["layers"] * LLAMA["heads"] * LLAMA["head"]
    seconds = (weights + cache) / (4 * H100.bandwidth)
    shown = arcs.right(chapter_of(TOPIC, "roofline"), model="llama-3.1-70b", batch=batch)
    assert float(shown.replace(",", "")) == pytest.approx(sequences / seconds, rel=0.005)


def test_how_many_times_the_latents() -> None:
    layer = (128 * (192 + 128), 512 + 64)
    assert arcs.right(chapter_of(TOPIC, "published")) == f"{layer[0] / layer[1]:.0f}×"


@pytest.mark.parametrize(
    ("values", "limit"),
    [
        ({"batch": 1}, "the weights"),
        ({"batch": 128, "seq_len": 131_072}, "the caches"),
        ({"batch": 4096, "seq_len": 1}, "the arithmetic"),
    ],
)
def test_what_limits_a_step(values: dict[str, Any], limit: str) -> None:
    params, _ = fit(RooflineParams.model_validate(values))
    found = arcs.asked(chapter_of(TOPIC, "roofline"), "question", params)
    assert found is not None
    assert found["right"] == limit


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, "each new one brings its own cache"),
        ({"model": "deepseek-v3", "batch": 1, "seq_len": 1024}, "more experts"),
        ({"batch": 512, "seq_len": 1024}, "arithmetic"),
    ],
)
def test_why_twice_the_batch_is_not_twice_the_rate(values: dict[str, Any], told: str) -> None:
    found = arcs.asked(
        chapter_of(TOPIC, "roofline"), "check_yourself", fit(RooflineParams.model_validate(values))[0]
    )
    assert found is not None
    assert told in found["why"]


def test_gigabytes_are_written_without_an_exponent() -> None:
    params, _ = fit(
        RooflineParams.model_validate({"model": "deepseek-v3", "batch": 512, "seq_len": 1_048_576})
    )
    for field in ("question", "check_yourself"):
        found = arcs.asked(chapter_of(TOPIC, "roofline"), field, params)
        assert found is not None
        assert float(found["weights"].replace(",", "")) > 1000
        assert "e" not in found["weights"] + found["cache"]
