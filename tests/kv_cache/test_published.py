"""Printed figures of KV caches, and the comparison of models."""

from __future__ import annotations

import json
import time
from fractions import Fraction

import pytest

from explainers.contract.breaks import Break
from explainers.contract.experiment import find
from explainers.contract.result import as_json
from explainers.kv_cache.catalogue import CATALOGUE
from explainers.kv_cache.compare import BREAKS, CompareParams, compare
from explainers.kv_cache.config import model_of
from explainers.kv_cache.published import PublishedParams, PublishedResult, Row, published
from explainers.kv_cache.views.compare import card as compare_card
from explainers.kv_cache.views.compare import scene as compare_scene
from tests.kv_cache.models import ORACLES

PRINTED = json.loads((ORACLES / "memory.json").read_text(encoding="utf-8"))


# ------------------------------------------------------------------------------------------- in print


@pytest.fixture(scope="module")
def in_print() -> PublishedResult:
    return published(PublishedParams())


def rows(result: PublishedResult, words: str) -> list[Row]:
    found = [row for row in result.rows if words in f"{row.source}: {row.what}"]
    assert found, words
    return found


def test_the_tables_of_deepseek_v2(in_print: PublishedResult) -> None:
    sizes = PRINTED["deepseek_v2_table7_elements_per_token"]
    for pair in ("small", "large"):
        for kind, printed in zip(("MHA", "MLA"), sizes[f"{pair}_moe"]["printed"], strict=True):
            (row,) = rows(in_print, f"{pair} MoE with {kind}")
            computed = Fraction(row.computed.removesuffix("K numbers a token"))
            assert row.printed == f"{printed} numbers a token"
            assert 1000 * computed == sizes[f"{pair}_moe"][kind]
            assert row.agrees
    formulas = rows(in_print, "Table 1: M") + rows(in_print, "Table 1: GQA")
    assert all(row.agrees and row.printed == row.computed for row in formulas)
    assert len(formulas) == 5


def test_the_saving_of_deepseek_v2_needs_its_six_bits(in_print: PublishedResult) -> None:
    saved = PRINTED["deepseek_v2_93_3pct"]
    wanted = (("itself in 6 bits", "value", True), ("both in bf16", "bf16_vs_bf16", False))
    for words, name, agrees in wanted:
        row = rows(in_print, words)[0]
        assert row.agrees is agrees
        assert row.computed == f"{100 * saved[name]:.3f}%"


def test_the_table_of_isca_2025(in_print: PublishedResult) -> None:
    table = PRINTED["isca25_table1_bytes_per_token"]
    for title in ("DeepSeek-V3", "Qwen2.5-72B", "Llama-3.1-405B"):
        row = rows(in_print, f"Table 1: {title} a token")[0]
        assert row.agrees
        assert 1000 * Fraction(row.computed.removesuffix(" kB")) == table[title]
    times = [row for row in in_print.rows if row.what.endswith("times DeepSeek-V3")]
    assert [Fraction(row.printed.removesuffix(" ×")) for row in times] == [
        Fraction(str(one)) for one in table["printed_multipliers"]
    ]
    assert [(row.computed, row.agrees) for row in times] == [
        ("1 ×", True),
        ("4.663 ×", True),
        ("7.3443 ×", False),
    ]


def test_the_cache_of_all_heads(in_print: PublishedResult) -> None:
    (row,) = rows(in_print, "keys and values of all heads")
    assert row.computed == row.printed == f"{PRINTED['hf_naive_mla_cache_bytes_per_token_v3']['value']:,} B"


def test_the_llama_table_is_right_but_for_its_last_row(in_print: PublishedResult) -> None:
    table = PRINTED["llama31_blog_gib"]
    for title in ("Llama-3.1-8B", "Llama-3.1-70B", "Llama-3.1-405B"):
        cells = [row for row in rows(in_print, "Hugging Face blog") if row.what.startswith(f"{title} at")]
        assert [row.printed.removesuffix(" GiB") for row in cells] == table[title]
        assert {row.agrees for row in cells} == {title != "Llama-3.1-405B"}
        if title == "Llama-3.1-405B":  # what 16 KV heads would take is what was printed
            taken = [float(row.reason.split("take ")[1].split(" GiB")[0]) for row in cells]
            assert taken == pytest.approx([float(cell) for cell in table[title]], abs=0.006)


def test_totals_that_hold_more_than_parameters(in_print: PublishedResult) -> None:
    more = {"Llama-2-7B": 2048, "Llama-2-70B": 5120, "Falcon-7B": 295_469_056, "DeepSeek-V3": 14_848}
    for title, count in more.items():
        (row,) = rows(in_print, f"than parameters: {title}:")
        assert row.agrees
        assert f"+{count:,}" in row.reason


def test_every_row_is_as_it_says(in_print: PublishedResult) -> None:
    assert in_print.passed
    assert len(in_print.checks) == len({row.source for row in in_print.rows})
    assert all(row.reason for row in in_print.rows)


# ------------------------------------------------------------------------------------ the comparison


@pytest.mark.parametrize("each", BREAKS, ids=lambda each: each.name)
def test_every_break_of_the_comparison_shows_under_its_settings(each: Break) -> None:
    assert not compare(CompareParams(**each.settings, break_it=each.name)).passed  # type: ignore[arg-type]
    assert compare(CompareParams(**each.settings)).passed


def test_the_comparison_grows_to_the_length_asked_for() -> None:
    result = compare(CompareParams(models=("gemma-3-27b", "deepseek-v3"), seq_len=100_003, tensor_parallel=4))
    assert (result.lengths[0], result.lengths[-1]) == (0, 100_003)
    for size_at_end, growth in zip(result.sizes, result.growth, strict=True):
        assert growth.logical[-1] == size_at_end.logical_bytes
        assert (
            growth.windowed[-1]
            == size_at_end.windowed_bytes
            == sum(part[-1] for part in growth.parts.values())
        )
        assert growth.reserved[-1] == size_at_end.reserved_bytes
        assert growth.logical[0] == growth.windowed[0] == growth.reserved[0] == 0


@pytest.mark.parametrize(
    ("model", "factor"),
    [("llama-65b", 1), ("gemma-3-27b", 2), ("llama-3.1-70b", 4), ("falcon-7b", 32), ("deepseek-v3", 32)],
)
def test_what_query_heads_share_stands_on_every_rank(model: str, factor: int) -> None:
    result = compare(CompareParams(models=(model,)))
    assert (result.on_ranks.ranks, result.on_ranks.factor) == (32, factor)


def test_the_picture_of_the_comparison() -> None:
    for models in (("llama-3.1-70b",), ("llama-65b", "falcon-7b", "gemma-3-27b", "deepseek-v2-lite")):
        result = compare(CompareParams(models=models))  # type: ignore[arg-type]
        scene = compare_scene(result)
        assert scene.steps == len(result.lengths)
        assert scene.start == scene.steps - 1
        assert scene.to_bytes()
        assert compare_card(result).to_bytes()
        last = scene.words.sentences[scene.words.which[-1]]
        assert all(
            size.title in last for size in result.sizes if size.title in (result.largest, result.smallest)
        )


LAYOUTS_NOT_READ = {
    "attn_layer_stride": 8,
    "mixer_pattern": "M-M*",
    "num_local_kv_heads": 4,
    "use_cla": True,
    "cache_groups": {"heads": 2},
}


@pytest.mark.parametrize("key", LAYOUTS_NOT_READ)
def test_a_layout_that_is_not_read_is_named(key: str) -> None:
    config = {**CATALOGUE["llama-3.1-8b"].config, "model_type": "some_new_model", key: LAYOUTS_NOT_READ[key]}
    warnings = model_of(config).warnings
    assert any(warning.startswith(key) for warning in warnings), warnings
    assert any("may be wrong" in warning for warning in warnings)


@pytest.mark.parametrize(
    "config",
    [
        {"num_hidden_layers": 10_000, "num_attention_heads": 100_000, "hidden_size": 100_000},
        {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 4, "kv_lora_rank": 1,
         "qk_rope_head_dim": 2, "qk_nope_head_dim": 1, "v_head_dim": 1, "intermediate_size": 4},
    ],
)  # fmt: skip
def test_every_experiment_counts_an_extreme_config_at_once(config: dict[str, int]) -> None:
    text = json.dumps({"model_type": "new", "vocab_size": 10, "intermediate_size": 8, **config})
    started = time.perf_counter()
    for name in ("size", "compare", "fit", "roofline"):
        known = find(f"kv_cache.{name}")
        weighed = {"weights_gb": 1} if "weights_gb" in known.params.model_fields else {}
        result = known(known.params(config=text, **weighed))  # type: ignore[call-arg]
        assert as_json(result)
        if known.has_scene:
            assert known.scene(result).to_bytes()
    assert time.perf_counter() - started < 5
