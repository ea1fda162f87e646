"""The roofline of decoding, and models of experts."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explainers.hardware.gpus import GPUS
from explainers.kv_cache import fit as fit_module
from explainers.kv_cache.catalogue import CATALOGUE, find_model
from explainers.kv_cache.layers import ELEMENT_TYPES, Parameters
from explainers.kv_cache.roofline import (
    RooflineParams,
    attention_flops,
    expected_experts,
    expected_intensity,
    ladder,
    parameters_read,
    roofline,
    weight_flops,
)
from explainers.kv_cache.views.roofline import scene as roofline_scene
from tests.kv_cache.kinds import BF16, PARAMETERS_70B, check_scene, heads_kind, model_of

# ------------------------------------------------------------------------------------------------- the roofline


@pytest.mark.parametrize("model", ["llama-3.1-70b", "llama-7b", "qwen2.5-7b", "falcon-7b", "gpt-oss-20b"])
def test_intensity_is_the_query_heads_that_share_a_kv_head(model: str) -> None:
    result = roofline(RooflineParams(model=model))
    heads = find_model(model).kinds[0].query_heads
    for variant in result.variants:
        if variant.kv_heads is not None:
            assert variant.intensity == pytest.approx(heads / variant.kv_heads, rel=1e-12)
    assert result.variants[0].intensity == 1.0
    assert result.variants[-2].intensity == heads
    # MLA by Table 1 of DeepSeek-V2: 2 n_h (2 d_c + d_R) FLOP on 2 (d_c + d_R) bytes, with d_c = 8 d_R
    assert result.variants[-1].intensity == pytest.approx(heads * 17 / 9, rel=1e-12)
    assert result.passed


def test_deepseek_v3_stands_at_the_end_of_its_ladder() -> None:
    result = roofline(RooflineParams(model="deepseek-v3"))
    assert result.own is result.variants[-1]
    assert result.own.cache_bytes_per_token == 70_272
    assert result.own.intensity == pytest.approx(2 * 128 * (2 * 512 + 64) / (2 * 576))
    # What 4.5 d_h l is to 2 n_h d_h l numbers: Table 1
    assert result.variants[0].cache_bytes_per_token == 2 * 128 * 128 * 61 * 2
    assert Fraction(result.own.cache_bytes_per_token, result.variants[-2].cache_bytes_per_token) == Fraction(
        9, 4
    )


def test_the_own_attention_is_in_its_place() -> None:
    names = [variant.name for variant in roofline(RooflineParams()).variants]
    assert names == ["MHA", "GQA-32", "GQA-16", "GQA-8", "GQA-4", "GQA-2", "MQA", "MLA"]
    assert roofline(RooflineParams()).own.name == "GQA-8"
    odd = roofline(RooflineParams(model="qwen2.5-7b"))  # 28 query heads, 4 KV heads
    assert [variant.name for variant in odd.variants] == ["MHA", "GQA-14", "GQA-7", "GQA-4", "MQA", "MLA"]
    assert odd.own.name == "GQA-4"


@pytest.mark.parametrize("name", CATALOGUE)
def test_one_rung_of_the_ladder_is_the_model_itself(name: str) -> None:
    model = find_model(name)
    rungs, at = ladder(model)
    assert rungs[at][1] is model
    assert rungs[at][0].split("-")[0] == model.attention
    caches = [rung.bytes_per_token(BF16) for name, rung in rungs if name != "MLA"]
    assert caches == sorted(caches, reverse=True)
    assert all(rung.parameters == model.parameters for _, rung in rungs)
    assert all(
        [(kind.layers, kind.window) for kind in rung.kinds]
        == [(kind.layers, kind.window) for kind in model.kinds]
        for _, rung in rungs
    )


def test_llama_70b_decodes_by_hand() -> None:
    own = roofline(RooflineParams(tensor_parallel=4)).own
    weights = 2 * (PARAMETERS_70B - 128_256 * 8192 + 8 * 8192)  # 8 rows of the embedding
    cache = 8 * 32_768 * 327_680
    assert (own.weight_bytes, own.cache_bytes, own.bytes_read) == (weights, cache, weights + cache)
    assert own.attention_flops == 8 * 80 * 4 * 64 * 128 * 32_768
    assert own.weight_flops == 2 * 8 * (PARAMETERS_70B - 128_256 * 8192)
    assert own.seconds == pytest.approx((weights + cache) / (4 * 3350e9))
    assert own.tokens_per_second == pytest.approx(476.645, abs=1e-3)
    assert own.tokens_per_second_per_user == pytest.approx(own.tokens_per_second / 8)
    assert (own.limited_by, own.copied_bytes) == ("memory", 0)


def test_ranks_that_share_heads_read_them_again() -> None:
    variants = {variant.name: variant for variant in roofline(RooflineParams(tensor_parallel=4)).variants}
    assert variants["GQA-4"].copied_bytes == 0
    assert variants["MQA"].copied_bytes == 3 * variants["MQA"].cache_bytes
    mla = variants["MLA"]
    assert mla.bytes_read == mla.weight_bytes + 4 * mla.cache_bytes
    assert mla.tokens_per_second == pytest.approx(
        454.926, abs=1e-3
    )  # below GQA-8, which reads every head once
    assert mla.rate_without_copies == pytest.approx(657.002, abs=1e-3)
    assert variants["MHA"].rate_without_copies == variants["MHA"].tokens_per_second


def test_a_large_batch_of_short_sequences_is_limited_by_arithmetic() -> None:
    result = roofline(RooflineParams(batch=4096, seq_len=64))
    own = result.own
    assert own.limited_by == "compute"
    assert own.tokens_per_second == pytest.approx(4096 * 4 * 989.4e12 / own.flops)
    assert "TFLOP/s" in result.formula
    assert roofline(RooflineParams(weight_dtype="fp8")).peak == GPUS["h100-80gb"].fp8_flops
    assert roofline(RooflineParams(weight_dtype="fp8", gpu="a100-80gb")).peak == 312e12


@given(
    st.sampled_from(sorted(CATALOGUE)),
    st.sampled_from(sorted(GPUS)),
    st.sampled_from(fit_module.GPU_COUNTS),
    st.sampled_from(sorted(ELEMENT_TYPES)),
    st.integers(1, 1_000_000),
    st.integers(1, 65_536),
)
@settings(max_examples=40, deadline=None)
def test_the_roofline_of_anything_is_checked_and_drawn(
    model: str, gpu: Any, ranks: int, dtype: Any, seq_len: int, batch: int
) -> None:
    params = RooflineParams(
        model=model, gpu=gpu, tensor_parallel=ranks, dtype=dtype, seq_len=seq_len, batch=batch
    )
    result = roofline(params)
    assert result.passed
    peak, bandwidth = result.peak * ranks, result.gpu.bandwidth * ranks
    for variant in result.variants:
        assert variant.tokens_per_second <= batch * bandwidth / variant.bytes_read * (1 + 1e-12)
        assert variant.tokens_per_second <= batch * peak / variant.flops * (1 + 1e-12)
        assert variant.rate_without_copies >= variant.tokens_per_second
    check_scene(roofline_scene(result))


def test_windows_bound_what_is_read_and_multiplied() -> None:
    sliding = model_of(heads_kind(2, 2, 4, window=100), heads_kind(1, 2, 4))
    longer = attention_flops(sliding, 1000, 1) - attention_flops(sliding, 900, 1)
    assert longer == 100 * 8 * 4 * 4  # the one full layer: 100 tokens x 8 heads x 4 d
    assert expected_intensity(sliding.kinds[0], BF16) == 4


# ------------------------------------------------------------------------------------------------------- experts


@pytest.mark.parametrize(("experts", "of_a_token", "batch"), [(8, 2, 1), (8, 2, 3), (32, 4, 8), (256, 8, 16)])
def test_expected_experts_by_simulation(experts: int, of_a_token: int, batch: int) -> None:
    parameters = Parameters(total=0, expert=1, experts=experts, experts_per_token=of_a_token, expert_layers=1)
    draw = np.random.default_rng(7)
    trials = 3000
    order = draw.random((trials, batch, experts)).argsort(axis=2)[:, :, :of_a_token]
    met = np.zeros((trials, experts), bool)
    np.put_along_axis(met, order.reshape(trials, -1), True, axis=1)
    distinct = met.sum(axis=1)
    error = 5 * distinct.std() / trials**0.5
    assert expected_experts(parameters, batch) == pytest.approx(distinct.mean(), abs=max(error, 1e-9))


def test_one_token_reads_what_is_active() -> None:
    model = find_model("deepseek-v3")
    parameters = model.known_parameters
    assert expected_experts(parameters, 1) == pytest.approx(8)
    assert parameters_read(model, 1) == parameters.active - parameters.embedding + model.hidden_size
    assert weight_flops(model, 1) == 2 * (parameters.active - parameters.embedding)
    many = parameters_read(model, 10_000)
    assert many == parameters.total - parameters.embedding + 10_000 * model.hidden_size
    assert expected_experts(find_model("llama-7b").known_parameters, 5) == 0


def test_a_tied_embedding_is_read_whole() -> None:
    model = find_model("llama-3.2-1b")
    assert parameters_read(model, 4) == model.known_parameters.total
