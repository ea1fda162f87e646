"""The backward pass of tiled attention, its fast twin, and the race."""

from __future__ import annotations

import inspect
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from explainers.contract.experiment import watch
from explainers.contract.result import as_json
from explainers.flash_attention import backward as backward_module
from explainers.flash_attention import (
    fast,
    race,
)
from explainers.flash_attention.backward import BackwardParams, backward, exact_gradients, tiled_backward
from explainers.flash_attention.standard import standard_attention
from explainers.flash_attention.tiled import Tiling, tiled_attention
from tests.breaks import settings_of
from tests.flash_attention.runs import random_qkv, sizes

# ------------------------------------------------------------------------------------------------- backward


@given(sizes)
@settings(max_examples=20)
def test_tiled_gradients_equal_autograd(size: dict[str, Any]) -> None:
    q, k, v = random_qkv(size["n_q"], size["n_k"], size["d"], size["seed"])
    d_output = torch.randn(q.shape, generator=torch.Generator().manual_seed(1))
    options = {"causal": size["causal"], "scale": size["d"] ** -0.5}
    output, lse = standard_attention(q, k, v, **options)
    blocks = {"block_q": size["block_q"], "block_k": size["block_k"]}
    steps, gradients = watch(tiled_backward(q, k, v, output, lse, d_output, Tiling(**blocks, **options)))
    for ours, exact in zip(gradients, exact_gradients(q, k, v, d_output, **options), strict=True):
        assert (ours - exact).abs().max() <= 1e-5
    # each gradient tile is written once, by its owner
    key_owners = [step.key_tile for _, step in steps if (step.owner, step.phase) == ("key", "write")]
    query_owners = [step.query_tile for _, step in steps if (step.owner, step.phase) == ("query", "write")]
    assert key_owners == list(range(math.ceil(size["n_k"] / size["block_k"])))
    assert query_owners == list(range(math.ceil(size["n_q"] / size["block_q"])))


def test_the_backward_experiment_keeps_o_and_lse_only() -> None:
    result = backward(BackwardParams(seq_len=48, head_dim=16))
    assert result.passed
    assert len(result.checks) == 3
    assert result.saved_bytes == 4 * (48 * 16 + 48)
    assert result.standard_saved_bytes == 4 * 48 * 48
    assert (result.tiles_total, result.tiles_recomputed) == (9, 2 * 6)  # each visited tile in both passes
    code, first = inspect.getsourcelines(tiled_backward)
    assert all(f'yield BackwardStep("{step.phase}"' in code[line - first] for line, step in result.steps)
    assert {"max_abs_error_dq", "max_abs_error_dk", "max_abs_error_dv", "passed"} <= set(as_json(result))


@pytest.mark.parametrize(("break_it", "wrong"), [("no_lse", "qkv"), ("no_delta", "qk")])
def test_each_break_of_the_backward_pass(break_it: str, wrong: str) -> None:
    visible = settings_of(backward_module.BREAKS)[break_it]
    broken = backward(BackwardParams(**{**visible, "break_it": break_it}))
    assert [check.passed for check in broken.checks] == [letter not in wrong for letter in "qkv"]
    assert not broken.passed
    assert backward(BackwardParams(**visible)).passed


# ----------------------------------------------------------------------------------- the fast twin, the race


@given(sizes, st.integers(1, 3))
@settings(max_examples=20)
def test_the_fast_twin_equals_the_generator(size: dict[str, Any], heads: int) -> None:
    qkv_of_heads = [
        random_qkv(size["n_q"], size["n_k"], size["d"], size["seed"] + head) for head in range(heads)
    ]
    q, k, v = (torch.stack(parts) for parts in zip(*qkv_of_heads, strict=True))
    with pytest.MonkeyPatch.context() as patch:  # small tiles, so that there are many
        patch.setattr(fast, "BLOCK_Q", size["block_q"])
        patch.setattr(fast, "BLOCK_K", size["block_k"])
        output, lse = fast.fast_attention(q, k, v, causal=size["causal"])
    options = {"block_q": 7, "block_k": 5, "causal": size["causal"], "scale": size["d"] ** -0.5}
    for head in range(heads):
        _, (exact, exact_lse) = watch(tiled_attention(q[head], k[head], v[head], Tiling(**options)))
        assert torch.allclose(output[head], exact, atol=2e-6)
        assert torch.allclose(lse[head], exact_lse, atol=1e-5)


def test_the_fast_twin_takes_batches_and_its_own_blocks() -> None:
    q, k, v = torch.randn(3, 2, 2, 300, 16, generator=torch.Generator().manual_seed(0)).unbind()
    output, lse = fast.fast_attention(q, k, v, causal=True, scale=0.3)
    theirs = scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3)
    assert output.shape == q.shape
    assert lse.shape == q.shape[:-1]
    assert (output - theirs).abs().max() < 2e-6


def test_the_fast_twin_shares_out_heads_and_leaves_the_number_of_threads_alone() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        q, k, v = torch.randn(3, 7, 40, 16).unbind()  # 3 + 3 + 1 heads
        output, _ = fast.fast_attention(q, k, v, causal=False)
        assert (output - scaled_dot_product_attention(q, k, v)).abs().max() < 2e-6
        assert torch.get_num_threads() == 3
        with ThreadPoolExecutor(1) as new_thread:
            assert new_thread.submit(torch.get_num_threads).result() == 3
        assert set(fast._workers(3).map(lambda _: torch.get_num_threads(), range(6))) == {1}
    finally:
        torch.set_num_threads(before)


def test_memory_is_measured_and_the_tiles_need_little() -> None:
    assert race.peak_extra_bytes(lambda: torch.zeros(1000, 1000).sum()) == pytest.approx(4_000_000, rel=0.01)
    q, k, v = torch.randn(3, 2, 2048, 16).unbind()
    naive = race.peak_extra_bytes(lambda: race.naive_attention(q, k, v, causal=True))
    ours = race.peak_extra_bytes(lambda: fast.fast_attention(q, k, v, causal=True))
    assert naive == pytest.approx(race.naive_bytes(2, 2048, 4), rel=0.1)
    assert ours < 0.05 * naive


def test_the_race_gives_a_row_after_each_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "LARGEST_NAIVE_BYTES", race.naive_bytes(1, 300, 4))
    params = race.RaceParams(longest=512, heads=1, head_dim=16)
    measured = race.run_race(params)
    first = next(measured)
    assert (first.method, first.seq_len) == ("naive", 256)
    assert first.seconds is not None
    assert first.seconds > 0
    rows = [first, *measured]
    assert len(rows) == race.measurements(params)
    skipped = next(row for row in rows if (row.method, row.seq_len) == ("naive", 512))
    assert skipped.seconds is None
    assert "GB" in skipped.note
    assert all(row.max_abs_error < 5e-6 for row in rows if row.max_abs_error is not None)


def test_a_wrong_competitor_is_caught() -> None:
    q, k, v = torch.randn(3, 1, 300, 16).unbind()
    right = race.naive_attention(q, k, v, causal=True)
    assert race.max_abs_error(right, q, k, v, causal=True) < 5e-6
    wrong = right.clone()
    wrong[0, 299, 3] += 1e-3
    assert race.max_abs_error(wrong, q, k, v, causal=True) > 9e-4
    wrong[0, 0, 0] = math.nan
    assert race.max_abs_error(wrong, q, k, v, causal=True) == math.inf
