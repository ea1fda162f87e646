"""The kernel's window, cap, scale, value dimension and log-sum-exp, in small tiles, against float64."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from kernels import dispatch
from kernels import interpreter as interpreting
from kernels.flash_attention import flash_attention, flash_attention_varlen
from tests.gpu.attention_reference import (
    Shape,
    assert_follows_the_rule,
    gradients,
    plain_attention,
    random_inputs,
)
from tests.kernels.runs import ROOT, assert_close

pytestmark = pytest.mark.skipif(not interpreting.triton_available(), reason="Triton exists for Linux only")

sides = st.integers(-1, 50)
options = st.fixed_dictionaries(
    {
        "causal": st.booleans(),
        "window": st.tuples(sides, sides),
        "softcap": st.sampled_from([0.0, 0.5, 3.0, 50.0, 1e30]),
        "scale": st.sampled_from([None, 0.0, -0.0, -0.3, 0.7, 1e-45, -1e-45]),
    }
)
shapes = st.builds(
    Shape,
    n_q=st.integers(0, 60),
    n_k=st.integers(0, 60),
    head_dim=st.sampled_from([16, 20, 32]),
    value_dim=st.sampled_from([16, 24, 40]),
    key_heads=st.just(2),
    query_heads=st.sampled_from([2, 4]),
)


@pytest.fixture(scope="module", params=[(16, 32), (32, 16)], ids=str)
def small_tiles(request: pytest.FixtureRequest) -> Any:
    """A worker whose tiles have so many rows and columns: small inputs have many of them."""
    block_q, block_k = request.param
    program = (
        "from kernels import tuning, worker\n"
        f"tuning.interpreted_blocks = lambda n_q, n_k: dict(BLOCK_Q={block_q}, BLOCK_K={block_k})\n"
        "worker.main()"
    )

    def start_worker() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=os.environ | {"TRITON_INTERPRET": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpreting, "_start_worker", start_worker)
        patch.setattr(dispatch, "interpreter", interpreting.Interpreter())
        yield
        dispatch.interpreter.shut_down()


def assert_exact(shape: Shape, seed: int, **chosen: Any) -> None:
    """Output, log-sum-exp and the gradients of both equal those of attention without tiles, in float64."""
    inputs, grad_output = random_inputs(shape, torch.float32, seed=seed)
    found = flash_attention(*inputs, **chosen, return_lse=True)
    in_double = tuple(tensor.detach().double().requires_grad_() for tensor in inputs)
    exact = plain_attention(*in_double, **chosen)
    assert torch.equal(found[1].isneginf(), exact[1].isneginf())
    grad_lse = torch.randn(found[1].shape, generator=torch.Generator().manual_seed(seed))
    ours = torch.autograd.grad(found, inputs, (grad_output, grad_lse), create_graph=True)
    true = torch.autograd.grad(exact, in_double, (grad_output.double(), grad_lse.double()))
    for mine, right in zip((*found, *ours), (*exact, *true), strict=True):
        assert_close(mine, right, 1e-5, rtol=1e-5)


@settings(max_examples=12)
@given(shape=shapes, chosen=options, seed=st.integers(0, 99))
def test_any_variant_is_exact(small_tiles: None, shape: Shape, chosen: dict[str, Any], seed: int) -> None:
    assert_exact(shape, seed, **chosen)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "chosen",
    [
        {"window": (9, 20)},
        {"window": (0, 0), "softcap": 2.0},
        {"causal": True, "window": (21, -1), "scale": -0.5},
        {"window": (-1, 3), "scale": 0.0},
    ],
    ids=str,
)
def test_the_corners_are_exact(small_tiles: None, chosen: dict[str, Any], seed: int) -> None:
    assert_exact(Shape(90, 75, 24, query_heads=2, key_heads=1, value_dim=40), seed, **chosen)


@pytest.mark.parametrize("seed", range(2))
def test_the_heads_of_mla(small_tiles: None, seed: int) -> None:
    """DeepSeek-V2: 192 numbers of a query and a key, 128 of a value."""
    assert_exact(Shape(40, 40, 192, query_heads=2, key_heads=2, value_dim=128), seed, causal=True)


@settings(max_examples=6)
@given(
    lengths=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=3),
    chosen=options,
    seed=st.integers(0, 99),
)
def test_a_pack_has_the_variants_in_each_sequence(
    small_tiles: None, lengths: list[tuple[int, int]], chosen: dict[str, Any], seed: int
) -> None:
    lengths_q, lengths_k = zip(*lengths, strict=True)
    shape = Shape(sum(lengths_q), sum(lengths_k), 16, query_heads=4, key_heads=2, value_dim=24)
    inputs, grad_output = random_inputs(shape, torch.float32, seed=seed)
    q, k, v = (tensor[0].transpose(0, 1) for tensor in inputs)
    starts = [
        torch.tensor([0, *np.cumsum(rows)], dtype=torch.int32).contiguous() for rows in (lengths_q, lengths_k)
    ]
    output = flash_attention_varlen(q, k, v, starts[0], starts[1], max(lengths_q), max(lengths_k), **chosen)
    in_double = tuple(tensor.detach().double().requires_grad_() for tensor in inputs)
    parts = zip(
        *(x.split(rows, 2) for x, rows in zip(in_double, (lengths_q, lengths_k, lengths_k), strict=True)),
        strict=True,
    )
    exact = torch.cat([plain_attention(*sequence, **chosen)[0] for sequence in parts], 2)
    found = output.transpose(0, 1)[None]
    assert_close(found, exact, 1e-5)
    ours, true = gradients(found, inputs, grad_output), gradients(exact, in_double, grad_output)
    for mine, right in zip(ours, true, strict=True):
        assert_close(mine, right, 1e-5, rtol=1e-5)


@pytest.mark.parametrize("softcap", [0.0, 5.0])
def test_half_precision_follows_the_rule(small_tiles: None, softcap: float) -> None:
    chosen: dict[str, Any] = {"window": (30, 4), "softcap": softcap}
    inputs, grad_output = random_inputs(Shape(70, 81, 32, value_dim=48), torch.float16)
    output = flash_attention(*inputs, **chosen)
    ours = gradients(output, inputs, grad_output)
    assert_follows_the_rule(output, ours, inputs, grad_output, **chosen)


@pytest.mark.parametrize("scale", [0.0, -0.0, -0.25, 3.0])
def test_any_scale_is_that_of_sdpa(scale: float) -> None:
    (q, k, v), _ = random_inputs(Shape(20, 20, 16, value_dim=32), torch.float32)
    theirs = scaled_dot_product_attention(q.double(), k.double(), v.double(), is_causal=True, scale=scale)
    assert_close(flash_attention(q, k, v, causal=True, scale=scale), theirs, 3e-6)


def test_one_number_is_a_window_to_the_left_and_causal_ends_it_at_the_diagonal() -> None:
    """The weights of rows of equal scores: with v = 1 in one place each, the output is the mask, divided."""
    q, v = torch.zeros(1, 1, 16, 16), torch.eye(16)[None, None]
    seen = {
        "left": flash_attention(q, q, v, window=3) > 0,
        "pair": flash_attention(q, q, v, window=(3, -1)) > 0,
        "mistral": flash_attention(q, q, v, window=3, causal=True) > 0,
        "right is 0": flash_attention(q, q, v, window=(3, 9), causal=True) > 0,
    }
    assert torch.equal(seen["left"], seen["pair"])
    assert torch.equal(seen["mistral"], seen["right is 0"])
    assert torch.equal(seen["left"][0, 0], torch.ones(16, 16).triu(-3) > 0)
    assert torch.equal(seen["mistral"][0, 0], torch.ones(16, 16).triu(-3).tril() > 0)


def test_rows_that_see_nothing_are_zero_whatever_their_gradient(small_tiles: None) -> None:
    """60 queries, 30 keys: rows 0 to 27 lie before the window of the first key. A merge of two log-sum-exps of -inf
    sends NaN back."""
    inputs, grad_output = random_inputs(Shape(60, 30, 16, value_dim=24), torch.float32)
    output, lse = flash_attention(*inputs, window=(7, 2), return_lse=True)
    blind = torch.arange(60) < 28
    assert torch.equal(lse[0, 0].isneginf(), blind)
    assert torch.equal(output[0, 0, blind], torch.zeros(28, 24))
    assert (output[0, 0, ~blind].abs().sum(-1) > 0).all()
    grad_lse = torch.where(blind, math.nan, 0.5)[None, None]
    grad_q, grad_k, grad_v = torch.autograd.grad((output, lse), inputs, (grad_output, grad_lse))
    assert torch.equal(grad_q[0, 0, blind], torch.zeros(28, 16))
    assert all(gradient.isfinite().all() for gradient in (grad_q, grad_k, grad_v))


def test_attention_over_two_halves_is_merged_by_their_log_sum_exps() -> None:
    """As ring attention does: O = sum_i exp(L_i - L) O_i, L = log sum_i exp(L_i), with the gradients through L_i."""
    inputs, grad_output = random_inputs(Shape(24, 40, 16, value_dim=32), torch.float32)
    q, k, v = inputs
    halves = [
        flash_attention(q, k[:, :, keys], v[:, :, keys], return_lse=True)
        for keys in (slice(0, 15), slice(15, 40))
    ]
    whole = torch.logaddexp(halves[0][1], halves[1][1])
    merged = sum(torch.exp(lse - whole)[..., None] * output for output, lse in halves)
    assert isinstance(merged, torch.Tensor)
    exact, exact_lse = plain_attention(*inputs)
    assert_close(merged, exact, 1e-5)
    assert_close(whole, exact_lse, 1e-5)
    for mine, true in zip(
        gradients(merged, inputs, grad_output), gradients(exact, inputs, grad_output), strict=True
    ):
        assert_close(mine, true, 1e-5)


# ---------------------------------------------------------------------------------------- what is refused


def scalar(q: torch.Tensor) -> torch.Tensor:
    return flash_attention(q, q, q).square().sum()


def test_a_second_derivative_is_refused_in_one_sentence() -> None:
    q = torch.randn(1, 1, 16, 16, requires_grad=True)
    (grad,) = torch.autograd.grad(scalar(q), q, create_graph=True)
    with pytest.raises(RuntimeError, match=r"^flash_attention has no second derivative: [^.]*\.$"):
        torch.autograd.grad(grad.sum(), q)


def test_vmap_and_forward_mode_are_refused_in_one_sentence() -> None:
    q = torch.randn(3, 1, 1, 16, 16)
    with pytest.raises(RuntimeError, match=r"^flash_attention cannot run under torch.vmap: [^.]*\.$"):
        torch.vmap(lambda part: flash_attention(part, part, part))(q)
    with pytest.raises(RuntimeError, match=r"^flash_attention cannot run under torch.vmap: [^.]*\.$"):
        torch.vmap(torch.func.grad(scalar))(q)
    with pytest.raises(RuntimeError, match=r"^flash_attention has no forward-mode derivative: .*\.$"):
        torch.func.jvp(scalar, (q[0],), (q[0],))


def test_torch_func_grad_is_that_of_autograd() -> None:
    q = torch.randn(1, 1, 16, 16, requires_grad=True)
    (expected,) = torch.autograd.grad(scalar(q), q)
    torch.testing.assert_close(torch.func.grad(scalar)(q.detach()), expected)
