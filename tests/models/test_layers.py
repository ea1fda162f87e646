"""The layers that decoders share, against PyTorch, transformers and complex rotation."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from explainers.models.layers import (
    Pairing,
    RMSNorm,
    Rope,
    RotatedAttention,
    attention_core,
    rms_norm,
    rope,
    written_attention,
)

PAIRINGS: tuple[Pairing, ...] = ("halves", "interleaved")

pytestmark = pytest.mark.usefixtures("one_thread")

pairings = st.sampled_from(PAIRINGS)
even = st.integers(1, 9).map(lambda pairs: 2 * pairs)
bases = st.sampled_from([10_000.0, 500_000.0])


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def as_complex(x: Tensor, pairing: Pairing) -> Tensor:
    """The pairs of x (..., d) as complex numbers (..., d / 2)."""
    real, imaginary = x.chunk(2, -1) if pairing == "halves" else (x[..., 0::2], x[..., 1::2])
    return torch.complex(real.contiguous(), imaginary.contiguous())


# -------------------------------------------------------------------------------------------------- RMSNorm


@pytest.mark.parametrize("epsilon", [1e-5, 1e-6, 0.5])
def test_rms_norm_equals_that_of_pytorch(epsilon: float) -> None:
    x, gain = normal(5, 7), normal(7, seed=2)
    theirs = torch.nn.functional.rms_norm(x, (7,), gain, eps=epsilon)
    assert (rms_norm(x, gain, epsilon) - theirs).abs().max() <= 1e-14


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_module_applies_the_function_with_the_epsilon_of_llama(dtype: torch.dtype) -> None:
    # x is small, so that epsilon counts
    x, module = 1e-3 * normal(2, 3, 8, dtype=dtype), RMSNorm(8, dtype)
    assert torch.equal(module.gain, torch.ones(8, dtype=dtype))
    with torch.no_grad():
        module.gain.copy_(normal(8, seed=2))
    assert torch.equal(module(x), rms_norm(x, module.gain, 1e-5))


def test_a_zero_vector_stays_zero() -> None:
    assert torch.equal(rms_norm(torch.zeros(3, 4), torch.ones(4), 1e-6), torch.zeros(3, 4))


# ----------------------------------------------------------------------------------------------------- RoPE


@given(st.integers(1, 12), even, st.integers(0, 20), pairings, bases)
@settings(max_examples=40, deadline=None)
def test_rope_equals_complex_rotation_from_any_position(
    tokens: int, d: int, start: int, pairing: Pairing, base: float
) -> None:
    x, positions = normal(3, tokens, d, seed=d), torch.arange(start, start + tokens)
    angles = torch.outer(positions.double(), base ** (-torch.arange(d // 2).double() * 2 / d))
    expected = as_complex(x, pairing) * torch.polar(torch.ones_like(angles), angles)
    ours = as_complex(rope(x, positions, pairing=pairing, base=base), pairing)
    assert (ours - expected).abs().max() <= 1e-13


@given(even, st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 10_000), pairings, bases)
@settings(max_examples=60, deadline=None)
def test_a_score_depends_on_the_difference_of_the_positions_only(
    d: int, of_query: int, of_key: int, shift: int, pairing: Pairing, base: float
) -> None:
    q, k = normal(2, d, seed=d)

    def score(moved: int) -> Tensor:
        at = torch.tensor([of_query, of_key]) + moved
        return rope(q, at[0], pairing=pairing, base=base) @ rope(k, at[1], pairing=pairing, base=base)

    # an angle of up to 20,000 has an error of 2e-12 in float64
    assert (score(shift) - score(0)).abs() <= 1e-10 * (q.norm() * k.norm() + 1)


@given(even, st.integers(0, 10_000), pairings)
@settings(max_examples=30, deadline=None)
def test_a_rotation_keeps_lengths_and_leaves_position_0(d: int, position: int, pairing: Pairing) -> None:
    x = normal(4, d, seed=d)
    turned = rope(x, torch.tensor(position), pairing=pairing, base=10_000.0)
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1), rtol=1e-13, atol=0)
    assert torch.equal(rope(x, torch.zeros(4), pairing=pairing, base=10_000.0), x)


@given(even, bases)
@settings(max_examples=20, deadline=None)
def test_the_two_pairings_differ_by_a_permutation(d: int, base: float) -> None:
    x, positions = normal(2, 6, d, seed=d), torch.arange(6)
    apart = torch.cat([torch.arange(0, d, 2), torch.arange(1, d, 2)])  # 0, 2, 4, ..., 1, 3, 5, ...
    interleaved = rope(x, positions, pairing="interleaved", base=base)
    halves = rope(x[..., apart], positions, pairing="halves", base=base)
    assert torch.equal(halves, interleaved[..., apart])


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_positions_may_differ_by_row_and_hold_for_all_heads(pairing: Pairing) -> None:
    x, positions = normal(2, 3, 4, 6), torch.tensor([[0, 1, 2], [5, 0, 9]])  # (b, s, heads, d), (b, s)
    together = rope(x, positions[..., None], pairing=pairing, base=10_000.0)
    for row, at in enumerate(positions):
        each = [rope(x[row, :, head], at, pairing=pairing, base=10_000.0) for head in range(4)]
        assert torch.equal(together[row], torch.stack(each, 1))


@pytest.mark.parametrize("pairing", PAIRINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rope_is_computed_in_float64_and_rounded_once(pairing: Pairing, dtype: torch.dtype) -> None:
    x, positions = normal(5, 8, dtype=dtype), torch.arange(1000, 1005)
    exact = rope(x.double(), positions, pairing=pairing, base=10_000.0)
    assert torch.equal(rope(x, positions, pairing=pairing, base=10_000.0), exact.to(dtype))


@pytest.mark.parametrize("base", [10_000.0, 500_000.0])
def test_the_tables_of_the_module_give_the_same_rotation(base: float) -> None:
    x, positions = normal(2, 9, 3, 8, dtype=torch.float32), torch.arange(9)
    module = Rope(9, 8, torch.float32, base=base)
    exact = rope(x, positions[:, None], pairing="halves", base=base)
    assert (module(x) - exact).abs().max() <= 2e-6
    assert torch.equal(module(x), module(x, positions.expand(2, -1)))
    permuted = torch.tensor([[3, 1, 8, 0, 2, 4, 7, 5, 6], [0, 0, 0, 1, 1, 1, 2, 2, 2]])
    exact = rope(x, permuted[..., None], pairing="halves", base=base)
    assert (module(x, permuted) - exact).abs().max() <= 2e-6


@pytest.mark.parametrize("base", [10_000.0, 500_000.0])
def test_halves_equal_llama_of_transformers(base: float) -> None:
    modeling = pytest.importorskip("transformers.models.llama.modeling_llama")
    configuration = pytest.importorskip("transformers.models.llama.configuration_llama")
    config = configuration.LlamaConfig(
        hidden_size=32,
        num_attention_heads=4,
        head_dim=8,
        rope_parameters={"rope_type": "default", "rope_theta": base},
    )
    q, k = normal(2, 3, 4, 50, 8, dtype=torch.float32)  # (b, heads, s, d) each
    positions = torch.arange(50)
    cos, sin = modeling.LlamaRotaryEmbedding(config)(q, positions[None])
    theirs = modeling.apply_rotary_pos_emb(q, k, cos, sin)
    for x, expected in zip((q, k), theirs, strict=True):
        ours = Rope(50, 8, torch.float32, base=base)(x.transpose(1, 2)).transpose(1, 2)
        assert (ours - expected).abs().max() <= 1e-6  # both turn by tables in float32
        ours = rope(x, positions, pairing="halves", base=base)
        assert (ours - expected).abs().max() <= 2e-5  # an angle of 50 has an error of 4e-6 in float32


def test_interleaved_equals_gpt_j_of_transformers() -> None:
    modeling = pytest.importorskip("transformers.models.gptj.modeling_gptj")
    x = normal(3, 50, 4, 8, dtype=torch.float32)  # (b, s, heads, d)
    sin, cos = modeling.create_sinusoidal_positions(50, 8).chunk(2, dim=-1)
    expected = modeling.apply_rotary_pos_emb(x, sin[None], cos[None])
    ours = rope(x, torch.arange(50)[:, None], pairing="interleaved", base=10_000.0)
    assert (ours - expected).abs().max() <= 2e-5


# ------------------------------------------------------------------------------------------------ attention


@pytest.mark.parametrize(("heads", "groups"), [(1, 1), (4, 4), (4, 2), (6, 1)])
def test_written_attention_equals_the_fused_kernel_forward_and_backward(heads: int, groups: int) -> None:
    q = normal(2, 7, heads, 4).requires_grad_()
    k, v = (normal(2, 7, groups, 4, seed=seed).requires_grad_() for seed in (1, 2))
    weights = normal(2, 7, heads * 4, seed=3)
    outputs = [RotatedAttention(Rope(7, 4, torch.float64), attention_core("written", 7))(q, k, v)]
    outputs.append(RotatedAttention(Rope(7, 4, torch.float64), attention_core("flash", 7))(q, k, v))
    assert (outputs[0] - outputs[1]).abs().max() <= 1e-13
    ours, theirs = (torch.autograd.grad((output * weights).sum(), (q, k, v)) for output in outputs)
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine - other).abs().max() <= 1e-12


def test_a_hidden_key_has_no_weight() -> None:
    q, k, v = normal(3, 1, 4, 2, 4)
    hidden = torch.ones(4, 4, dtype=torch.bool).triu(1)
    changed = v.clone()
    changed[:, 2:] += 1
    outputs = [written_attention(q, k, value, hidden) for value in (v, changed)]
    assert torch.equal(outputs[0][:, :2], outputs[1][:, :2])
    assert (outputs[0][:, 2:] - outputs[1][:, 2:]).abs().max() > 0.1
