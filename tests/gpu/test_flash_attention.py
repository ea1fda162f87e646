"""The whole grid of the flash-attention test-suite on a GPU: every shape, head dimension and type."""

import pytest
import torch

from kernels.flash_attention import flash_attention, flash_attention_trace, flash_attention_varlen
from tests.gpu.attention_reference import (
    HEAD_DIMS,
    SHAPES,
    Shape,
    assert_follows_the_rule,
    gradients,
    plain_attention,
    random_inputs,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@pytest.fixture(autouse=True)
def _first_candidate():
    """Timing candidates for every case would take an hour; the tuned launch has a separate test."""
    from kernels import tuning

    with tuning.untuned():
        yield


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("head_dim", HEAD_DIMS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_shape_follows_the_rule(shape, head_dim, dtype, causal):
    n_q, n_k = shape
    sizes = Shape(n_q, n_k, head_dim, batch=2, query_heads=4, key_heads=2)
    inputs, grad_output = random_inputs(sizes, dtype, device="cuda")
    output = flash_attention(*inputs, causal=causal)
    assert_follows_the_rule(
        output, gradients(output, inputs, grad_output), inputs, grad_output, causal=causal
    )


VARIANTS = [
    {"window": (100, 37)},
    {"window": (3, 2), "scale": -0.1},
    {"window": (-1, 50), "softcap": 5.0},
    {"causal": True, "window": (63, -1), "softcap": 50.0},
    {"causal": True, "scale": 0.0},
]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("head_dim", "value_dim"), [(64, 64), (40, 96), (192, 128)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_variant_follows_the_rule(shape, head_dim, value_dim, dtype, options):
    n_q, n_k = shape
    sizes = Shape(n_q, n_k, head_dim, batch=2, query_heads=4, key_heads=2, value_dim=value_dim)
    inputs, grad_output = random_inputs(sizes, dtype, device="cuda")
    output = flash_attention(*inputs, **options)
    ours = gradients(output, inputs, grad_output)
    assert_follows_the_rule(output, ours, inputs, grad_output, **options)


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_the_log_sum_exp_has_a_gradient(options):
    sizes = Shape(300, 200, 64, query_heads=4, key_heads=2, value_dim=32)
    inputs, _ = random_inputs(sizes, torch.float32, device="cuda")
    _, lse = flash_attention(*inputs, **options, return_lse=True)
    in_double = tuple(tensor.detach().double().requires_grad_() for tensor in inputs)
    _, exact = plain_attention(*in_double, **options)
    torch.testing.assert_close(lse.double(), exact, atol=1e-5, rtol=1e-6)
    grad_lse = torch.randn_like(lse)
    ours = torch.autograd.grad(lse, inputs[:2], grad_lse)
    true = torch.autograd.grad(exact, in_double[:2], grad_lse.double())
    for mine, right in zip(ours, true, strict=True):
        torch.testing.assert_close(mine.double(), right, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("causal", [False, True])
def test_every_candidate_gives_the_same(causal, dtype, monkeypatch):
    from kernels import tuning

    for row, tilings in tuning.CANDIDATES.items():
        inputs, grad_output = random_inputs(Shape(300, 333, row[2], query_heads=2), dtype, device="cuda")
        for tiling in tilings if row[1] == inputs[0].element_size() else []:
            monkeypatch.setitem(tuning.CANDIDATES, row, [tiling])
            output = flash_attention(*inputs, causal=causal)
            assert_follows_the_rule(
                output, gradients(output, inputs, grad_output), inputs, grad_output, causal=causal
            )


def test_a_tuned_launch_is_right(monkeypatch):
    from kernels import tuning

    monkeypatch.setattr(tuning, "_tuning_enabled", True)
    shape = Shape(1024, 1024, 64, query_heads=4, key_heads=2)
    inputs, grad_output = random_inputs(shape, torch.float16, device="cuda")
    output = flash_attention(*inputs, causal=True)
    assert_follows_the_rule(output, gradients(output, inputs, grad_output), inputs, grad_output, causal=True)


@pytest.mark.parametrize("options", [{}, {"causal": True}, *VARIANTS], ids=str)
def test_varlen_equals_each_sequence_alone(options):
    lengths_q, lengths_k = [0, 37, 300, 1, 128], [5, 64, 0, 77, 128]
    packs = [torch.randn(sum(lengths), 4, 64, device="cuda", dtype=torch.float16, requires_grad=True)
             for lengths in (lengths_q, lengths_k, lengths_k)]  # fmt: skip
    starts = [torch.tensor([0, *torch.tensor(lengths).cumsum(0)], dtype=torch.int32, device="cuda")
              for lengths in (lengths_q, lengths_k)]  # fmt: skip
    output = flash_attention_varlen(packs[0], packs[1], packs[2], starts[0], starts[1], 300, 128, **options)
    grad_output = torch.randn_like(output)
    ours = gradients(output, tuple(packs), grad_output)
    expected = []
    split = [pack.double().split(lengths)
             for pack, lengths in zip(packs, (lengths_q, lengths_k, lengths_k), strict=True)]  # fmt: skip
    for q, k, v in zip(*split, strict=True):
        attended, _ = plain_attention(*(part.transpose(0, 1)[None] for part in (q, k, v)), **options)
        expected.append(attended[0].transpose(0, 1))
    exact = torch.cat(expected)
    torch.testing.assert_close(output.double(), exact, atol=2e-3, rtol=0)
    for mine, true in zip(ours, gradients(exact, tuple(packs), grad_output), strict=True):
        torch.testing.assert_close(mine.double(), true.double(), atol=6e-3, rtol=1e-2)


@pytest.mark.parametrize("options", [{"causal": True}, *VARIANTS], ids=str)
def test_the_trace_ends_in_the_output(options):
    q, k, v = torch.randn(3, 100, 64, device="cuda")
    trace = flash_attention_trace(q, k, v, block_q=32, block_k=16, **options)
    exact, lse = plain_attention(*(tensor.double()[None, None] for tensor in (q, k, v)), **options)
    torch.testing.assert_close(trace.output.double(), exact[0, 0], atol=2e-6, rtol=0)
    torch.testing.assert_close(trace.lse.double(), lse[0, 0], atol=2e-6, rtol=0)
