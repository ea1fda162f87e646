"""The Triton kernels in the interpreter worker: against float64, and with bad arguments."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import dispatch
from kernels import interpreter as interpreting
from kernels.arguments import check_lengths
from kernels.flash_attention import (
    flash_attention,
    flash_attention_trace,
    flash_attention_varlen,
)
from tests.gpu.attention_reference import (
    GRADIENT_FACTOR,
    HEAD_DIMS,
    ORACLE,
    SHAPES,
    Shape,
    assert_follows_the_rule,
    gradients,
    plain_attention,
    random_inputs,
)
from tests.kernels.runs import assert_close, heads

pytestmark = pytest.mark.skipif(not interpreting.triton_available(), reason="Triton exists for Linux only")

# In CI every shape at two head dimensions and every head dimension at two shapes; tests/gpu has the whole grid.
CASES = sorted({(shape, dim) for shape in SHAPES for dim in (64, 111)}
               | {(shape, dim) for shape in [(113, 203), (512, 256)] for dim in HEAD_DIMS})  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize(("shape", "head_dim"), CASES, ids=str)
def test_output_and_gradients_follow_the_rule(shape, head_dim, dtype, causal):
    inputs, grad_output = random_inputs(Shape(shape[0], shape[1], head_dim), dtype)
    output = flash_attention(*inputs, causal=causal)
    ours = gradients(output, inputs, grad_output)
    assert_follows_the_rule(output, ours, inputs, grad_output, causal=causal)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("query_heads", "key_heads"), [(4, 4), (6, 2), (4, 1)], ids=["MHA", "GQA", "MQA"])
def test_groups_of_heads(query_heads, key_heads, causal):
    shape = Shape(70, 300, 40, batch=2, query_heads=query_heads, key_heads=key_heads)
    inputs, grad_output = random_inputs(shape, torch.float32)
    output = flash_attention(*inputs, causal=causal)
    ours = gradients(output, inputs, grad_output)
    assert_follows_the_rule(output, ours, inputs, grad_output, causal=causal)


@settings(max_examples=15)
@given(
    n_q=st.integers(0, 600),
    n_k=st.integers(0, 600),
    head_dim=st.integers(16, 80),
    heads=st.sampled_from([(1, 1), (2, 1), (3, 3)]),
    causal=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_shape(n_q, n_k, head_dim, heads, causal, seed):
    shape = Shape(n_q, n_k, head_dim, query_heads=heads[0], key_heads=heads[1])
    inputs, grad_output = random_inputs(shape, torch.float32, seed=seed)
    output, lse = flash_attention(*inputs, causal=causal, return_lse=True)
    exact_inputs = tuple(tensor.detach().double().requires_grad_() for tensor in inputs)
    exact, exact_lse = plain_attention(*exact_inputs, causal=causal)
    assert_close(output, exact, 1e-5)
    assert_close(lse, exact_lse, 1e-5)
    plain, _ = plain_attention(*inputs, causal=causal)
    true_gradients = gradients(exact, exact_inputs, grad_output)
    rough_gradients = gradients(plain, inputs, grad_output)
    for mine, rough, true in zip(
        gradients(output, inputs, grad_output), rough_gradients, true_gradients, strict=True
    ):
        # With a hundred queries on one key dV is a sum of a hundred rows, and plain fp32 misses 1e-5 as well.
        plain_error = (rough - true).abs().max().item() if true.numel() else 0.0
        assert_close(mine, true, max(1e-5, GRADIENT_FACTOR * plain_error))


@settings(max_examples=10)
@given(
    lengths=st.lists(st.tuples(st.integers(0, 90), st.integers(0, 90)), min_size=0, max_size=5),
    causal=st.booleans(),
)
def test_a_pack_equals_its_sequences(lengths, causal):
    lengths_q, lengths_k = [q for q, _ in lengths], [k for _, k in lengths]
    generator = torch.Generator().manual_seed(1)
    q, k, v = (
        torch.randn(sum(rows), heads, 24, generator=generator, requires_grad=True)
        for rows, heads in ((lengths_q, 4), (lengths_k, 2), (lengths_k, 2))
    )
    starts_q, starts_k = cumulative(lengths_q), cumulative(lengths_k)
    longest = max([*lengths_q, 0]) + 3, max([*lengths_k, 0])
    output = flash_attention_varlen(
        q, k, v, starts_q, starts_k, longest[0], longest[1], causal=causal, scale=0.3
    )
    exact = [torch.zeros(0, 4, 24, dtype=torch.float64)]
    parts = zip(
        q.double().split(lengths_q), k.double().split(lengths_k), v.double().split(lengths_k), strict=True
    )
    for sequence in parts if lengths else []:
        tensors = (part.transpose(0, 1)[None] for part in sequence)
        attended, _ = plain_attention(*tensors, causal=causal, scale=0.3)
        exact.append(attended[0].transpose(0, 1))
    assert_close(output, torch.cat(exact), 1e-5)
    if sum(lengths_q) and sum(lengths_k):
        grad_output = torch.randn(output.shape, generator=generator)
        mine = gradients(output, (q, k, v), grad_output)
        true = gradients(torch.cat(exact), (q, k, v), grad_output)
        torch.testing.assert_close(mine, true, atol=1e-5, rtol=0)


def cumulative(lengths):
    return torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32)


def test_rows_that_see_nothing():
    inputs, grad_output = random_inputs(Shape(300, 20, 32), torch.float32)
    output, lse = flash_attention(*inputs, causal=True, return_lse=True)
    assert torch.equal(output[0, 0, :280], torch.zeros(280, 32))
    assert torch.equal(lse[0, 0, :280], torch.full((280,), -math.inf))
    assert lse[0, 0, 280:].isfinite().all()
    grad_q, grad_k, grad_v = gradients(output, inputs, grad_output)
    assert torch.equal(grad_q[0, 0, :280], torch.zeros(280, 32))
    assert grad_k.isfinite().all()
    assert grad_v.isfinite().all()


def test_gradients_where_every_score_is_far_below_zero():
    """Keys that pad the last tile have score 0: unmasked, e^512 times the weight of the real keys."""
    q = torch.full((1, 1, 5, 32), 4.0, requires_grad=True)
    k = torch.full((1, 1, 20, 32), -4.0, requires_grad=True)
    v = torch.randn(1, 1, 20, 32, generator=torch.Generator().manual_seed(3), requires_grad=True)
    output = flash_attention(q, k, v, scale=1.0)
    exact, _ = plain_attention(q.double(), k.double(), v.double(), causal=False, scale=1.0)
    grad_output = torch.ones_like(output)
    assert_close(output, exact, 1e-5)
    for mine, true in zip(
        gradients(output, (q, k, v), grad_output), gradients(exact, (q, k, v), grad_output), strict=True
    ):
        assert_close(mine, true, 1e-4, rtol=1e-4)


@pytest.mark.parametrize(("n_q", "n_k"), [(2, 5), (5, 2)])
def test_causal_is_aligned_bottom_right(n_q, n_k):
    picture = ORACLE["bottom_right_alignment"][f"Nq{n_q}_Nk{n_k}"]
    v = torch.eye(16)[:n_k]  # row i of the output holds the weight of each key
    output = flash_attention(
        torch.zeros(1, 1, n_q, 16), torch.zeros(1, 1, n_k, 16), v[None, None], causal=True
    )
    drawn = ["".join("1" if weight > 0 else "0" for weight in row[:n_k]) for row in output[0, 0]]
    assert drawn == picture


def test_any_layout_in_memory():
    (q, k, v), _ = random_inputs(Shape(33, 40, 32, batch=2, query_heads=2, key_heads=2), torch.float32)
    expected = flash_attention(q, k, v)
    strided = [tensor.detach().transpose(1, 2).contiguous().transpose(1, 2) for tensor in (q, k)]
    columns = v.detach().transpose(2, 3).contiguous().transpose(2, 3)
    torch.testing.assert_close(flash_attention(strided[0], strided[1], columns), expected, atol=0, rtol=0)
    one_head = k[:, :1]
    torch.testing.assert_close(
        flash_attention(q, one_head.expand(-1, 2, -1, -1), one_head.expand(-1, 2, -1, -1)),
        flash_attention(q, one_head, one_head),
        atol=1e-6,
        rtol=0,
    )


# ---------------------------------------------------------------------------------------------- bad arguments


@pytest.mark.parametrize(
    ("name", "arguments", "options"),
    [
        ("q", [torch.zeros(2, 8, 16), *heads()[1:]], {}),
        ("q", ["text", *heads()[1:]], {}),
        ("q", heads(head_dim=8), {}),
        ("q", heads(head_dim=257), {}),
        ("q", heads(dtype=torch.float64), {}),
        ("q", heads(dtype=torch.bfloat16), {}),
        ("q", heads(query_heads=3), {}),
        ("k", [heads()[0], heads(head_dim=32)[1], heads()[2]], {}),
        ("k", [heads()[0], heads()[1].half(), heads()[2]], {}),
        ("k", [heads()[0], heads()[1].repeat(2, 1, 1, 1), heads()[2].repeat(2, 1, 1, 1)], {}),
        ("q", [tensor.to("meta") for tensor in heads()], {}),
        ("v", [*heads()[:2], heads(n_k=9)[2]], {}),
        ("v", [*heads()[:2], heads(head_dim=257)[2]], {}),
        ("v", [*heads()[:2], heads(head_dim=15)[2]], {}),
        ("scale", heads(), {"scale": math.nan}),
        ("scale", heads(), {"scale": -math.inf}),
        ("scale", heads(), {"scale": "1"}),
        ("softcap", heads(), {"softcap": -1.0}),
        ("softcap", heads(), {"softcap": math.inf}),
        ("softcap", heads(), {"softcap": math.nan}),
        ("window", heads(), {"window": -2}),
        ("window", heads(), {"window": (3,)}),
        ("window", heads(), {"window": (3, 1.5)}),
        ("window", heads(), {"window": (True, 1)}),
        ("window", heads(), {"window": "3, 4"}),
    ],
)
def test_a_bad_argument_is_named(name, arguments, options):
    with pytest.raises(ValueError, match=rf"^{name} must .*\.$"):
        flash_attention(*arguments, **options)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("cu_seqlens_q", {3: torch.tensor([1, 6], dtype=torch.int32)}),
        ("cu_seqlens_q", {3: torch.tensor([0, 4, 2, 6], dtype=torch.int32)}),
        ("cu_seqlens_q", {3: torch.tensor([0, 5], dtype=torch.int32)}),
        ("cu_seqlens_q", {3: torch.tensor([0, 6])}),
        ("cu_seqlens_q", {3: torch.tensor([], dtype=torch.int32)}),
        ("cu_seqlens_k", {4: torch.tensor([0, 3, 6], dtype=torch.int32)}),
        ("max_seqlen_q", {5: 5}),
        ("max_seqlen_k", {6: 2.5}),
        ("k", {1: torch.zeros(6, 2, 20)}),
    ],
)
def test_a_bad_pack_is_named(name, change):
    whole = torch.tensor([0, 6], dtype=torch.int32)
    arguments = [*torch.zeros(3, 6, 2, 16), whole, whole, 6, 6]
    varlen: Any = flash_attention_varlen
    varlen(*arguments)
    for position, value in change.items():
        arguments[position] = value
    with pytest.raises(ValueError, match=rf"^{name} must .*\.$"):
        varlen(*arguments)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("block_q", {"block_q": 8}),
        ("block_k", {"block_k": 48}),
        ("break_it", {"break_it": "everything"}),
        ("q", {"q": torch.zeros(8, 16).half()}),
    ],
)
def test_a_bad_trace_is_named(name, change):
    trace: Any = flash_attention_trace
    arguments = {**dict.fromkeys("qkv", torch.zeros(8, 16)), "block_q": 16, "block_k": 16}
    if "q" in change:
        change = dict.fromkeys("qkv", change["q"])
    with pytest.raises(ValueError, match=rf"^{name} must .*\.$"):
        trace(**(arguments | change))


def test_where_triton_is_missing_the_sentence_says_so(monkeypatch):
    monkeypatch.setattr(dispatch, "triton_available", lambda: False)
    with pytest.raises(RuntimeError, match=r"^Triton is not installed here"):
        flash_attention(*heads())


def test_an_unknown_option_is_refused():
    whole = torch.tensor([0, 6], dtype=torch.int32)
    varlen: Any = flash_attention_varlen
    with pytest.raises(TypeError, match="casual"):
        varlen(*torch.zeros(3, 6, 2, 16), whole, whole, 6, 6, casual=True)


def test_the_lengths_of_a_pack_are_read_again_only_after_a_change(monkeypatch):
    starts = torch.tensor([0, 4, 6], dtype=torch.int32)
    q = torch.randn(6, 1, 16)
    check_lengths("q", starts, 4, q)
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "tolist", lambda _tensor: pytest.fail("the lengths were read again"))
        check_lengths("q", starts, 5, q)
        with pytest.raises(ValueError, match="no smaller than the longest sequence, 4"):
            check_lengths("q", starts, 3, q)
    with pytest.raises(ValueError, match="must end with the 7 tokens"):
        check_lengths("q", starts, 4, torch.randn(7, 1, 16))
    starts[1] = 7
    with pytest.raises(ValueError, match="must not decrease"):
        check_lengths("q", starts, 4, q)
