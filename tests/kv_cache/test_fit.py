"""What fits on which GPUs and how fast it decodes at most: by hand, by brute force, by simulation."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explainers.contract.params import choices_of
from explainers.drawing.panels import Marks
from explainers.drawing.scene import Scene
from explainers.hardware import gpus
from explainers.hardware.gpus import GPUS
from explainers.kv_cache import fit as fit_module
from explainers.kv_cache.catalogue import CATALOGUE, find_model
from explainers.kv_cache.fit import Demand, FitParams, FitResult, added_bytes, fit, usable_bytes
from explainers.kv_cache.layers import ELEMENT_TYPES
from explainers.kv_cache.roofline import (
    RooflineParams,
    RooflineResult,
    roofline,
)
from explainers.kv_cache.views.fit import _spread, batches_shown, round_ticks
from explainers.kv_cache.views.fit import scene as fit_scene
from explainers.kv_cache.views.roofline import rate_in_words
from explainers.kv_cache.views.roofline import scene as roofline_scene
from tests.kv_cache.kinds import BF16, PARAMETERS_70B, check_scene, heads_kind, kinds, model_of

# ---------------------------------------------------------------------------------------------------- the cards


def test_every_card_has_a_name_and_a_label() -> None:
    assert tuple(GPUS) == choices_of(FitParams, "gpu") == tuple(gpus.LABELS)
    assert len(set(gpus.LABELS.values())) == len(GPUS)


@pytest.mark.parametrize("name", GPUS)
def test_what_fits_by_the_data_sheet_fits_on_the_card(name: str) -> None:
    gpu = GPUS[name]  # type: ignore[index]
    assert gpu.name.endswith(f" {gpu.memory_bytes / 1e9:g} GB")
    assert gpu.reported_mib is None or 1 <= gpu.reported_mib * 2**20 / gpu.memory_bytes < 1.08
    assert gpu.fp8_flops is None or gpu.fp8_flops == pytest.approx(2 * gpu.bf16_flops, rel=0.02)
    assert 50 < gpu.ridge < 500


def test_flash_attention_takes_its_cards_from_here() -> None:
    from explainers.flash_attention import machines

    a100, h100 = machines.GPUS
    assert (a100.bf16_flops, a100.bandwidth, a100.shared_bytes) == (312e12, 2039e9, 163 * 1024)
    assert (h100.bf16_flops, h100.bandwidth, h100.shared_bytes) == (989.4e12, 3350e9, 227 * 1024)


@pytest.mark.parametrize(("share", "usable"), [(0.9, 72 * 10**9), (0.7, 56 * 10**9), (1.0, 80 * 10**9)])
def test_the_share_is_the_decimal_that_was_written(share: float, usable: int) -> None:
    assert usable_bytes(GPUS["h100-80gb"], share) == usable


# ------------------------------------------------------------------------------------------------- fit, by hand


def test_llama_70b_on_two_h100_by_hand() -> None:
    result = fit(FitParams(tensor_parallel=2))
    weights = 2 * PARAMETERS_70B
    cache = 8 * 32_768 * 2 * 8 * 128 * 2 * 80  # batch, tokens, K and V, KV heads, numbers, bytes, layers
    assert result.weight_bytes == weights == 141_107_412_992
    assert result.kv_bytes == cache == 85_899_345_920
    assert (result.gpu_usable, result.gpu_weights, result.gpu_kv) == (72 * 10**9, weights // 2, cache // 2)
    assert not result.fits
    assert result.missing_bytes == weights + cache - 144 * 10**9
    assert 2 * result.gpu_missing == result.missing_bytes
    assert result.gpu_free == 0
    assert result.largest_batch == (144 * 10**9 - weights) // (cache // 8) == 0
    assert result.longest_context == (144 * 10**9 - weights) // (8 * 327_680) // 16 * 16 == 1_088
    assert result.at_least_gpus == 4
    assert result.passed
    assert "141,107,412,992 B / 2" in result.formula
    assert " > 72,000,000,000 B = 0.9 x 80,000,000,000 B" in result.formula


def test_llama_70b_on_four_h100_fits() -> None:
    result = fit(FitParams())
    assert result.fits
    assert result.gpu_missing == result.missing_bytes == 0
    assert result.gpu_free == 72 * 10**9 - result.gpu_weights - result.gpu_kv
    assert (result.largest_batch, result.longest_context) == (13, 56_032)


def test_where_the_weights_alone_do_not_fit_nothing_does() -> None:
    result = fit(FitParams(model="deepseek-v3", tensor_parallel=4, batch=1, seq_len=1))
    assert (result.largest_batch, result.longest_context, result.fits) == (0, 0, False)
    assert result.passed
    assert fit(FitParams(model="kimi-k2-instruct", gpu="l4-24gb", weight_dtype="fp32")).at_least_gpus is None


def test_heads_and_latents_are_held_by_several_ranks() -> None:
    eight, sixteen = (fit(FitParams(tensor_parallel=ranks)) for ranks in (8, 16))
    assert sixteen.gpu_kv == eight.gpu_kv  # 8 KV heads: no rank holds half a head
    assert sixteen.kv_bytes == 2 * eight.kv_bytes
    assert any("16 ranks share 8 KV heads" in note for note in sixteen.notes)
    one, eight = (fit(FitParams(model="deepseek-v3", tensor_parallel=ranks)) for ranks in (1, 8))
    assert one.gpu_kv == eight.gpu_kv == 8 * 32_768 * 70_272
    assert any("each of the 8 ranks" in note for note in eight.notes)


def test_the_longest_context_is_looked_for_up_to_ten_million() -> None:
    result = fit(FitParams(model="mistral-7b-v0.1", gpu="h200-141gb", tensor_parallel=1, batch=1))
    assert result.longest_context == fit_module.LONGEST_CONTEXT  # every layer slides
    assert any("10,000,000" in note for note in result.notes)
    assert result.passed


# --------------------------------------------------------------------------------------------- fit, by brute force


demands = st.builds(
    Demand,
    st.builds(lambda some, size: model_of(*some, parameters=size), st.lists(kinds, min_size=1, max_size=3),
              st.integers(0, 500)),
    st.sampled_from([BF16, ELEMENT_TYPES["fp8"]]),
    st.sampled_from([BF16, ELEMENT_TYPES["q8_0"]]),
    st.sampled_from([1, 2, 3, 8, 16]),
    st.sampled_from([1, 2, 5, 16]),
)  # fmt: skip


@given(demands, st.integers(1, 120), st.integers(0, 40_000))
@settings(max_examples=150, deadline=None)
def test_the_largest_batch_is_what_adding_one_by_one_gives(demand: Demand, seq_len: int, usable: int) -> None:
    batch = 0
    while added_bytes(demand, seq_len, batch + 1) <= usable:
        batch += 1
    assert demand.largest_batch(seq_len, usable) == batch


@given(demands, st.integers(1, 3), st.integers(0, 20_000))
@settings(max_examples=150, deadline=None)
def test_the_longest_context_ends_before_the_first_that_does_not_fit(
    demand: Demand, batch: int, usable: int
) -> None:
    look_up_to = 400
    fails = next((n for n in range(1, look_up_to) if added_bytes(demand, n, batch) > usable), None)
    longest = demand.longest_context(batch, usable)
    assert longest >= look_up_to - 1 if fails is None else longest == fails - 1


@given(demands, st.integers(1, 200), st.integers(1, 5))
@settings(max_examples=100, deadline=None)
def test_plain_addition_gives_the_same_bytes(demand: Demand, seq_len: int, batch: int) -> None:
    assert added_bytes(demand, seq_len, batch) == demand.rank_bytes(seq_len, batch)
    assert demand.rank_cache_filled(seq_len, batch) <= demand.rank_cache(seq_len, batch)


@given(
    st.sampled_from(sorted(CATALOGUE)),
    st.sampled_from(sorted(GPUS)),
    st.sampled_from(fit_module.GPU_COUNTS),
    st.integers(1, 10_000_000),
    st.integers(1, 65_536),
    st.floats(0.1, 1.0),
)
@settings(max_examples=80, deadline=None)
def test_whatever_is_asked_the_answers_agree(
    model: str, gpu: Any, ranks: int, seq_len: int, batch: int, share: float
) -> None:
    params = FitParams(
        model=model, gpu=gpu, tensor_parallel=ranks, seq_len=seq_len, batch=batch, memory_share=share
    )
    result = fit(params)
    assert result.passed
    assert result.fits == (batch <= result.largest_batch) == (result.missing_bytes == 0)
    # Sliding windows may let go of a block again, so a context can fit beyond one that does not; never the reverse.
    assert result.longest_context < seq_len or result.fits
    assert result.gpu_free == 0 or result.gpu_missing == 0
    divides = find_model(model).kinds[0].query_heads % ranks == 0
    assert not (result.fits and divides) or (result.at_least_gpus or 0) in range(1, ranks + 1)
    scene = fit_scene(result)
    assert scene.steps <= 48
    check_scene(scene)


def test_more_memory_never_fits_less() -> None:
    by_share = [fit(FitParams(memory_share=share)) for share in (0.5, 0.6, 0.75, 0.9, 1.0)]
    assert [one.largest_batch for one in by_share] == sorted(one.largest_batch for one in by_share)
    assert [one.longest_context for one in by_share] == sorted(one.longest_context for one in by_share)
    by_length = [fit(FitParams(seq_len=2**power)).largest_batch for power in range(8, 18)]
    assert by_length == sorted(by_length, reverse=True)
    by_batch = [fit(FitParams(batch=2**power)).longest_context for power in range(9)]
    assert by_batch == sorted(by_batch, reverse=True)


# -------------------------------------------------------------------------------------------------- the pictures


def labels(scene: Scene) -> list[str]:
    return [
        name
        for panel in scene.panels()
        if isinstance(panel, Marks)
        for layer in panel.layers
        if layer.mark == "label"
        for name in layer.names
    ]


def test_the_scene_of_the_fit_opens_at_the_batch_asked_for() -> None:
    scene = fit_scene(fit(FitParams()))
    assert (scene.steps, scene.start, scene.stops) == (16, 7, (12,))
    assert {"weights ", "KV cache ", "free ", "missing ", "card ", "fits", "does not fit"} <= set(
        labels(scene)
    )
    said = [scene.words.sentences[which] for which in scene.words.which]
    assert "largest that fits" in said[12]
    assert all("more on each GPU" in sentence for sentence in said[13:])
    assert scene.words.column("missing")[13] == pytest.approx(14 * 2_684_354_560 + 35_276_853_248 - 72e9)


@pytest.mark.parametrize(
    ("largest", "asked"), [(0, 1), (13, 8), (13, 5000), (10_000, 3), (47, 47), (65_536, 1)]
)
def test_the_steps_hold_the_batches_that_matter(largest: int, asked: int) -> None:
    batches = batches_shown(largest, asked)
    assert len(batches) <= 48
    assert batches[0] == 1
    assert (np.diff(batches) > 0).all()
    assert {asked, max(1, largest), largest + 1} <= set(batches.tolist())


def test_names_beside_the_bar_keep_spread() -> None:
    placed = _spread(np.array([1.0, 2.0, 9.9, 10.0, 9.8]), 1.5, 10.0)
    order = np.sort(placed)
    assert (np.diff(order) >= 1.5 - 1e-9).all()
    assert order[-1] <= 10
    assert np.argsort(placed).tolist() == np.argsort([1.0, 2.0, 9.9, 10.0, 9.8]).tolist()


@pytest.mark.parametrize("top", [1.0, 7e3, 9.99e9, 3.1e10, 8.48e10, 1.3e12, 8.26e11])
def test_ticks_are_few_and_reach_far(top: float) -> None:
    ticks = round_ticks(top)
    assert 4 <= len(ticks) <= 8
    assert 0.6 * top < ticks[-1] < top


@pytest.mark.parametrize(
    ("rate", "words"), [(6703.8, "6,704"), (476.6, "477"), (1.2345, "1.23"), (0.0858, "0.0858")]
)
def test_rates_in_words(rate: float, words: str) -> None:
    assert rate_in_words(rate) == words


def test_the_scene_of_the_roofline_opens_at_the_models_own_attention() -> None:
    scene = roofline_scene(roofline(RooflineParams()))
    assert (scene.steps, scene.start) == (8, 3)
    assert "GQA-8 (this model): at most 477 tokens/s" in labels(scene)
    assert "ridge 295 FLOP/byte" in labels(scene)
    assert "as Llama-3.1-70B has it" in scene.words.sentences[3]
    assert all("times MHA's" in sentence for sentence in scene.words.sentences[1:])


@pytest.mark.parametrize("experiment", [fit, roofline])
@pytest.mark.parametrize("break_it", ["head_dim_from_hidden", "mla_as_mha", "ignore_window"])
def test_a_broken_count_turns_a_check_red(experiment: Any, break_it: Any) -> None:
    model = {
        "head_dim_from_hidden": "gemma-3-27b",
        "mla_as_mha": "deepseek-v3",
        "ignore_window": "gpt-oss-20b",
    }
    params_type = FitParams if experiment is fit else RooflineParams
    result: FitResult | RooflineResult = experiment(params_type(model=model[break_it], break_it=break_it))
    assert not result.passed


def test_a_pasted_config_is_taken_instead_of_the_model() -> None:
    config = {
        "model_type": "llama", "num_hidden_layers": 4, "hidden_size": 64, "intermediate_size": 128,
        "vocab_size": 100, "num_attention_heads": 8, "num_key_value_heads": 2,
    }  # fmt: skip
    result = fit(FitParams(config=json.dumps(config), gpu="l4-24gb", tensor_parallel=1))
    assert result.kv_bytes == 8 * 32_768 * 4 * 2 * 2 * 8 * 2
    assert roofline(RooflineParams(config=json.dumps(config))).own.name == "GQA-2"


@pytest.mark.parametrize(
    ("name", "flags", "key", "value"),
    [
        ("kv_cache.fit", ["--tensor_parallel", "2"], "missing_bytes", 83_006_758_912),
        ("kv_cache.roofline", ["--batch", "1", "--gpu", "b200-180gb"], "gpus", 4),
    ],
)
def test_the_shell_prints_one_object(name: str, flags: list[str], key: str, value: int) -> None:
    command = [sys.executable, "-m", "explainers", name, *flags, "--json"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    result = json.loads(printed)
    assert result[key] == value
    assert result["passed"] is True


def test_neither_needs_torch() -> None:
    views = "explainers.kv_cache.views.fit, explainers.kv_cache.views.roofline"
    code = f"import sys, {views}; print('torch' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "False"


def test_all_layers_of_a_demand_are_asked() -> None:
    demand = Demand(model_of(heads_kind(3, 2, 4), parameters=10), BF16, BF16, gpus=1, block_tokens=4)
    twice = replace(demand, model=model_of(heads_kind(6, 2, 4), parameters=10))
    assert twice.rank_cache(9, 2) == 2 * demand.rank_cache(9, 2) == 2 * (2 * 3 * 12 * 2 * 2 * 4 * 2)
