"""The decoding benchmark: its problems counted independently, and its rows on a CPU with a clock that stands still."""

from __future__ import annotations

import json
import math

import pytest
import torch

from explainers.kv_cache.catalogue import find_model
from explainers.kv_cache.layers import ELEMENT_TYPES
from kernels import bench_decoding
from kernels.bench_decoding import Problem
from kernels.interpreter import triton_available

SMALL = [Problem("gqa", 2, 8, 2, 32, 32, 300), Problem("mla", 2, 4, 1, 64 + 16, 64, 300)]


def test_every_problem_that_fits_is_measured():
    found = list(bench_decoding.problems())
    assert len(found) == 27
    assert max(problem.bytes for problem in found) == 2 * 64 * 8 * 65536 * 128 * 2 <= 24e9


@pytest.mark.parametrize(
    ("name", "attention", "query_heads"),
    [("llama-3.1-8b", "gqa", 32), ("llama-3.1-70b", "gqa", 64), ("deepseek-v2", "mla", 128)],
)
def test_a_cache_has_the_bytes_of_a_layer_of_its_model(name, attention, query_heads):
    (kind,) = find_model(name).kinds
    assert kind.query_heads == query_heads
    for problem in bench_decoding.problems():
        if (problem.attention, problem.query_heads) == (attention, query_heads):
            tokens = problem.batch * problem.n_k
            assert problem.bytes == tokens * kind.token_bytes(ELEMENT_TYPES["bf16"])


@pytest.mark.filterwarnings("ignore:Flash attention")
@pytest.mark.skipif(not triton_available(), reason="Triton exists for Linux only")
def test_the_rows(monkeypatch):
    import triton.testing

    steps: list[torch.Tensor] = []

    def two_steps(step, *, rep, return_mode):
        assert (rep, return_mode) == (5, "median")
        steps.extend([step(), step()])
        return 2.0

    monkeypatch.setattr(triton.testing, "do_bench", two_steps)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (1e9, 1e9))
    for name, value in {"DEVICE": "cpu", "DTYPE": torch.float32, "COPIED_BYTES": 1000}.items():
        monkeypatch.setattr(bench_decoding, name, value)
    monkeypatch.setattr(bench_decoding, "problems", lambda: SMALL)
    monkeypatch.setattr(bench_decoding, "CACHES_BEYOND_L2", 400_000)
    rows = [json.loads(json.dumps(row)) for row in bench_decoding.rows(5)]
    assert [(row["attention"], row["method"]) for row in rows] == [
        ("gqa", "ours"), ("gqa", "sdpa"), ("mla", "ours"), ("mla", "sdpa"),
    ]  # fmt: skip
    assert [row["bytes"] for row in rows[::2]] == [4 * 2 * 2 * 2 * 32 * 300, 4 * 2 * (64 + 16) * 300]
    refused = rows.pop()  # on a CPU SDPA's fused backends want values as wide as keys
    assert [refused[key] for key in ("how", "milliseconds", "bytes_per_second", "max_error")] == [None] * 4
    assert all(row["bytes_per_second"] == row["bytes"] / 0.002 for row in rows)
    assert all(row["copy_bytes_per_second"] == 2 * 1000 / 0.002 for row in rows)
    assert [row["splits"] for row in rows] == [1, None, 1]
    assert [row["how"] for row in rows] == ["triton", "flash, enable_gqa", "triton"]
    assert all(row["max_error"] < 1e-5 for row in rows)
    first, second = steps[2:4]  # after two copies
    assert not torch.allclose(first, second)  # another cache


@pytest.mark.parametrize("problem", SMALL, ids=lambda problem: problem.attention)
def test_the_exact_output_is_that_of_the_first_key_head(problem):
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(problem.batch, problem.query_heads, problem.head_dim, generator=generator)
    cache = torch.randn(problem.cache_shape, generator=generator)
    exact = bench_decoding.exact_output(problem, q, cache)
    keys = cache[0, 0, 0] if problem.attention == "gqa" else cache[0]
    values = cache[1, 0, 0] if problem.attention == "gqa" else cache[0, :, :64]
    scale = math.sqrt(32) if problem.attention == "gqa" else math.sqrt(128 + 64)
    for head in range(4):
        weights = [math.exp((q[0, head].double() @ key.double()).item() / scale) for key in keys]
        expected = sum(w * value.double() for w, value in zip(weights, values, strict=True)) / sum(weights)
        torch.testing.assert_close(exact[head], expected)


@pytest.mark.parametrize("how", ["flash, enable_gqa", "flash, heads as rows"])
def test_both_ways_of_sdpa_decode(how):
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(2, 8, 32, generator=generator)
    cache = torch.randn(SMALL[0].cache_shape, generator=generator)
    output = bench_decoding.sdpa_decodings(SMALL[0], q)[how](cache)
    exact = bench_decoding.exact_output(SMALL[0], q, cache)
    torch.testing.assert_close(output[0, :4].double(), exact, atol=1e-5, rtol=0)
