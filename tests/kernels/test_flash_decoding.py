"""Decoding with a split cache in the interpreter worker: against float64, and with bad arguments."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import dispatch
from kernels.flash_decoding import flash_decoding, flash_decoding_latent
from kernels.interpreter import triton_available
from tests.gpu.decoding_reference import Cache, Latents, assert_decodes

pytestmark = pytest.mark.skipif(not triton_available(), reason="Triton exists for Linux only")


def int32(*lengths: int) -> torch.Tensor:
    return torch.tensor(lengths, dtype=torch.int32)


@pytest.mark.parametrize("splits", [1, 2, 7, None])
@pytest.mark.parametrize(("query_heads", "key_heads"), [(2, 2), (4, 1), (8, 1)], ids=["MHA", "GQA4", "GQA8"])
def test_groups_of_heads_and_splits(query_heads, key_heads, splits):
    inputs = Cache(601, query_heads, key_heads, head_dim=40, value_dim=24).random(torch.float32)
    lengths = int32(0, 1, 601)
    ours = flash_decoding(*inputs, lengths=lengths, splits=splits, return_lse=True)
    assert_decodes(ours, inputs, lengths=lengths, scale=1 / math.sqrt(40))
    assert ours[0][0].eq(0).all()
    assert ours[1][0].isneginf().all()


@settings(max_examples=12)
@given(
    n_k=st.integers(0, 700),
    head_dim=st.integers(16, 80),
    value_dim=st.integers(16, 80),
    heads=st.sampled_from([(1, 1), (3, 1), (4, 2), (17, 1)]),
    splits=st.integers(1, 9),
    scale=st.sampled_from([0.3, -0.1, 0.0]),
    data=st.data(),
)
def test_any_shape(n_k, head_dim, value_dim, heads, splits, scale, data):
    inputs = Cache(n_k, heads[0], heads[1], head_dim, value_dim, batch=2).random(torch.float32)
    lengths = int32(*data.draw(st.lists(st.integers(0, n_k), min_size=2, max_size=2)))
    ours = flash_decoding(*inputs, lengths=lengths, scale=scale, splits=splits, return_lse=True)
    assert_decodes(ours, inputs, lengths=lengths, scale=scale)


@pytest.mark.parametrize("splits", [1, 3])
def test_float16_follows_the_rule(splits):
    inputs = Cache(500, 8, 2, head_dim=64, value_dim=64, batch=1).random(torch.float16)
    ours = flash_decoding(*inputs, splits=splits, return_lse=True)
    assert_decodes(ours, inputs, lengths=None, scale=0.125)
    latent_inputs = Latents(500, 4, latent_dim=64, rope_dim=16, batch=1).random(torch.float16)
    ours = flash_decoding_latent(*latent_inputs, scale=0.1, splits=splits, return_lse=True)
    assert_decodes(ours, latent_inputs, lengths=None, scale=0.1)


@pytest.mark.parametrize("splits", [1, 2, 7, None])
@pytest.mark.parametrize(
    ("heads", "latent_dim", "rope_dim"), [(3, 24, 16), (20, 100, 40), (2, 512, 64)], ids=str
)
def test_latents_are_keys_and_values(heads, latent_dim, rope_dim, splits):
    inputs = Latents(333, heads, latent_dim, rope_dim).random(torch.float32)
    lengths, scale = int32(333, 0, 1), 1 / math.sqrt(latent_dim + rope_dim)
    ours = flash_decoding_latent(*inputs, scale=scale, lengths=lengths, splits=splits, return_lse=True)
    assert_decodes(ours, inputs, lengths=lengths, scale=scale)


def test_every_split_keeps_its_own_maximum():
    """Scores from -4000 to 4000, the largest in the last split: e^4000 overflows unless each maximum is subtracted."""
    (q, k, v) = Cache(900, 2, 1, head_dim=16, value_dim=16, batch=1).random(torch.float32)
    k = k * torch.linspace(-1, 1, 900)[:, None]
    k[..., 0] += torch.linspace(-4000, 4000, 900)
    q[..., 0] = 1.0
    for splits in (1, 3, 8):
        ours = flash_decoding(q, k, v, scale=1.0, splits=splits, return_lse=True)
        exact_lse = (q.double() @ k[:, 0].double().transpose(1, 2)).logsumexp(-1)
        torch.testing.assert_close(ours[1].double(), exact_lse, atol=0, rtol=1e-6)
        assert ours[0].isfinite().all()


def test_rows_beyond_the_length_are_not_read():
    q, k, v = Cache(400, 4, 2, head_dim=32, value_dim=32, batch=2).random(torch.float32)
    expected = flash_decoding(q, k, v, lengths=int32(5, 300), splits=3)
    for row, length in enumerate((5, 300)):
        k[row, :, length:] = v[row, :, length:] = math.nan
    assert torch.equal(flash_decoding(q, k, v, lengths=int32(5, 300), splits=3), expected)


def test_any_layout_in_memory():
    q, k, v = Cache(70, 4, 2, head_dim=32, value_dim=24).random(torch.float32)
    expected = flash_decoding(q, k, v, lengths=int32(70, 9, 33))
    tokens_first = k.transpose(1, 2).contiguous().transpose(1, 2)
    columns = v.transpose(2, 3).contiguous().transpose(2, 3)
    heads_first = q.transpose(0, 1).contiguous().transpose(0, 1)
    every_other = torch.stack([int32(70, 9, 33), int32(0, 0, 0)], dim=1)[:, 0]
    ours = flash_decoding(heads_first, tokens_first, columns, lengths=every_other)
    torch.testing.assert_close(ours, expected, atol=0, rtol=0)


def test_no_keys_and_no_sequences():
    output, lse = flash_decoding(*Cache(0, 4, 2, 16, 24).random(torch.float32), splits=2, return_lse=True)
    assert torch.equal(output, torch.zeros(3, 4, 24))
    assert lse.isneginf().all()
    none = Cache(8, 4, 2, 16, 24, batch=0).random(torch.float32)
    assert flash_decoding(*none, splits=2).shape == (0, 4, 24)


def test_there_is_no_gradient():
    q, k, v = Cache(8, 2, 2, 16, 16).random(torch.float32)
    assert not flash_decoding(q.requires_grad_(), k, v).requires_grad


@pytest.mark.parametrize(
    ("multiprocessors_times_two", "programs", "n_k", "splits"),
    [
        (264, 8, 65536, 33),  # Llama 3.1 8B on an H100, one sequence
        (264, 64, 65536, 4),  # eight sequences: 256 programs; 5 splits would leave a second round of 56
        (264, 512, 65536, 1),
        (264, 8, 4096, 16),  # no split under 256 keys
        (264, 8, 4095, 15),
        (264, 8, 100, 1),
        (264, 8, 0, 1),
    ],
)
def test_the_number_of_splits(multiprocessors_times_two, programs, n_k, splits):
    from kernels.flash_decoding_kernel import splits_that_fill

    assert splits_that_fill(multiprocessors_times_two, programs, n_k) == splits


# ---------------------------------------------------------------------------------------------- bad arguments


def cache(**changes: Any) -> list[torch.Tensor]:
    sizes = {"n_k": 8, "query_heads": 4, "key_heads": 2, "head_dim": 16, "value_dim": 16} | changes
    return list(Cache(**sizes).random(torch.float32))


def latents(**changes: Any) -> list[torch.Tensor]:
    sizes = {"n_k": 8, "heads": 4, "latent_dim": 32, "rope_dim": 16} | changes
    return list(Latents(**sizes).random(torch.float32))


@pytest.mark.parametrize(
    ("name", "arguments", "options"),
    [
        ("q", ["text", *cache()[1:]], {}),
        ("q", [torch.zeros(3, 4, 1, 16), *cache()[1:]], {}),
        ("k", [cache()[0], torch.zeros(3, 8, 16), cache()[2]], {}),
        ("q", cache(head_dim=8), {}),
        ("q", cache(head_dim=257), {}),
        ("v", cache(value_dim=8), {}),
        ("q", cache(query_heads=3), {}),
        ("q", [tensor.double() for tensor in cache()], {}),
        ("q", [tensor.bfloat16() for tensor in cache()], {}),
        ("v", [*cache()[:2], cache()[2].half()], {}),
        ("k", [cache()[0], *cache(batch=2)[1:]], {}),
        ("k", [cache()[0], *cache(head_dim=32)[1:]], {}),
        ("v", [*cache()[:2], cache(n_k=9)[2]], {}),
        ("scale", cache(), {"scale": math.inf}),
        ("splits", cache(), {"splits": 0}),
        ("splits", cache(), {"splits": 1025}),
        ("splits", cache(), {"splits": 2.0}),
        ("splits", cache(), {"splits": True}),
        ("lengths", cache(), {"lengths": [8, 8, 8]}),
        ("lengths", cache(), {"lengths": torch.tensor([8, 8, 8])}),
        ("lengths", cache(), {"lengths": int32(8, 8)}),
        ("lengths", cache(), {"lengths": int32(8, 9, 8)}),
        ("lengths", cache(), {"lengths": int32(8, -1, 8)}),
        ("lengths", cache(), {"lengths": int32(8, 8, 8).to("meta")}),
    ],
)
def test_a_bad_argument_is_named(name, arguments, options):
    with pytest.raises(ValueError, match=rf"^{name} must (?!.*\. ).*\.$"):
        flash_decoding(*arguments, **options)


@pytest.mark.parametrize(
    ("name", "arguments", "options"),
    [
        ("q_latent", ["text", *latents()[1:]], {}),
        ("latents", [*latents()[:2], torch.zeros(3, 1, 8, 32), latents()[3]], {}),
        ("q_latent", latents(latent_dim=513), {}),
        ("q_latent", latents(latent_dim=15), {}),
        ("q_rope", latents(rope_dim=8), {}),
        ("q_latent", [tensor.bfloat16() for tensor in latents()], {}),
        ("rope_keys", [*latents()[:3], latents()[3].half()], {}),
        ("q_rope", [latents()[0], latents(heads=5)[1], *latents()[2:]], {}),
        ("latents", [*latents()[:2], *latents(batch=2)[2:]], {}),
        ("latents", [*latents()[:2], latents(latent_dim=33)[2], latents()[3]], {}),
        ("rope_keys", [*latents()[:3], latents(n_k=9)[3]], {}),
        ("rope_keys", [*latents()[:3], latents(rope_dim=17)[3]], {}),
        ("scale", latents(), {"scale": math.nan}),
        ("scale", latents(), {"scale": None}),
        ("splits", latents(), {"splits": -1}),
        ("lengths", latents(), {"lengths": int32(9, 8, 8)}),
    ],
)
def test_a_bad_latent_argument_is_named(name, arguments, options):
    decode: Any = flash_decoding_latent
    with pytest.raises(ValueError, match=rf"^{name} must (?!.*\. ).*\.$"):
        decode(*arguments, **({"scale": 0.1} | options))


def test_where_triton_is_missing_the_sentence_says_so(monkeypatch):
    monkeypatch.setattr(dispatch, "triton_available", lambda: False)
    with pytest.raises(RuntimeError, match=r"^Triton is not installed here"):
        flash_decoding(*cache())
