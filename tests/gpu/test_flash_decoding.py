"""Decoding with a split cache on a GPU: GQA and MLA in every type, with every candidate, tuned and captured."""

import math

import pytest
import torch

from kernels.flash_decoding import flash_decoding, flash_decoding_latent
from tests.gpu.decoding_reference import Cache, Latents, assert_decodes

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
SPLITS = (1, 2, 7, None)


@pytest.fixture(autouse=True)
def _first_candidate():
    """Timing candidates for every case would take an hour; the tuned launch has a separate test."""
    from kernels import tuning

    with tuning.untuned():
        yield


def int32(*lengths: int) -> torch.Tensor:
    return torch.tensor(lengths, dtype=torch.int32, device="cuda")


# Each case is compiled for each type: every tile of heads, odd dimensions, the widest, and those of known models.
GQA = [
    (4, 4, 64, 64),
    (32, 8, 128, 128),
    (64, 8, 128, 128),
    (20, 1, 40, 96),
    (71, 1, 192, 128),
    (6, 2, 256, 256),
]
MLA = [(128, 512, 64), (3, 512, 64), (20, 100, 40), (40, 256, 32), (128, 512, 256)]
FILLED = ((1, (0, 1, 1)), (257, (257, 0, 256)), (3001, (3001, 777, 1)))  # rows of the cache, of each sequence


@pytest.mark.parametrize("splits", SPLITS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("query_heads", "key_heads", "head_dim", "value_dim"), GQA)
def test_gqa_follows_the_rule(query_heads, key_heads, head_dim, value_dim, dtype, splits):
    for n_k, filled in FILLED:
        lengths = int32(*filled)
        inputs = Cache(n_k, query_heads, key_heads, head_dim, value_dim).random(dtype, "cuda")
        ours = flash_decoding(*inputs, lengths=lengths, splits=splits, return_lse=True)
        assert_decodes(ours, inputs, lengths=lengths, scale=1 / math.sqrt(head_dim))


@pytest.mark.parametrize("splits", SPLITS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("heads", "latent_dim", "rope_dim"), MLA)
def test_mla_follows_the_rule(heads, latent_dim, rope_dim, dtype, splits):
    scale = 1 / math.sqrt(latent_dim + rope_dim)
    for n_k, filled in FILLED:
        lengths = int32(*filled)
        inputs = Latents(n_k, heads, latent_dim, rope_dim).random(dtype, "cuda")
        ours = flash_decoding_latent(*inputs, scale=scale, lengths=lengths, splits=splits, return_lse=True)
        assert_decodes(ours, inputs, lengths=lengths, scale=scale)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_every_candidate_gives_the_same(dtype, monkeypatch):
    from kernels import tuning

    lengths = int32(1000, 333)
    for row, tilings in tuning.DECODING_CANDIDATES.items():
        rows, element_size, width = row
        for tiling in tilings if element_size == dtype.itemsize else []:
            monkeypatch.setitem(tuning.DECODING_CANDIDATES, row, [tiling])
            if width <= 256:
                inputs = Cache(1000, rows, 1, width, width, batch=2).random(dtype, "cuda")
                ours = flash_decoding(*inputs, lengths=lengths, scale=0.05, splits=3, return_lse=True)
            else:
                inputs = Latents(1000, rows, width, 64, batch=2).random(dtype, "cuda")
                ours = flash_decoding_latent(*inputs, scale=0.05, lengths=lengths, splits=3, return_lse=True)
            assert_decodes(ours, inputs, lengths=lengths, scale=0.05)


def test_a_tuned_launch_is_right(monkeypatch):
    from kernels import tuning

    monkeypatch.setattr(tuning, "_tuning_enabled", True)
    inputs = Cache(5000, 32, 8, 128, 128).random(torch.bfloat16, "cuda")
    assert_decodes(flash_decoding(*inputs, return_lse=True), inputs, lengths=None, scale=1 / math.sqrt(128))
    latents = Latents(5000, 128, 512, 64).random(torch.bfloat16, "cuda")
    ours = flash_decoding_latent(*latents, scale=0.05, return_lse=True)
    assert_decodes(ours, latents, lengths=None, scale=0.05)


def test_a_cache_as_models_keep_it():
    """Latent and RoPE key in one row; keys and values with the tokens before the heads."""
    rows = torch.randn(3, 1000, 576, device="cuda", dtype=torch.float16)
    queries = torch.randn(3, 128, 576, device="cuda", dtype=torch.float16)
    latents = (queries[..., :512], queries[..., 512:], rows[..., :512], rows[..., 512:])
    ours = flash_decoding_latent(*latents, scale=0.05, return_lse=True)
    assert_decodes(ours, latents, lengths=None, scale=0.05)
    q = torch.randn(3, 8, 64, device="cuda", dtype=torch.float16)
    k, v = (tensor.transpose(1, 2) for tensor in torch.randn(2, 3, 1000, 2, 64, device="cuda").half())
    ours = flash_decoding(q, k, v, return_lse=True)
    assert_decodes(ours, (q, k, v), lengths=None, scale=0.125)


def test_lengths_outside_the_cache_count_as_the_nearest_bound():
    inputs = Cache(300, 8, 2, 64, 64).random(torch.float32, "cuda")
    ours = flash_decoding(*inputs, lengths=int32(-5, 301, 10**9), splits=3, return_lse=True)
    assert_decodes(ours, inputs, lengths=int32(0, 300, 300), scale=0.125)


def test_a_step_can_be_captured_and_replayed_as_the_cache_grows():
    """Nothing in a step waits for the GPU, so a CUDA graph holds it; only the lengths change."""
    inputs = Cache(4000, 32, 8, 128, 128).random(torch.float16, "cuda")
    lengths = int32(10, 20, 30)
    flash_decoding(*inputs, lengths=lengths)  # compiled before it is captured
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        ours = flash_decoding(*inputs, lengths=lengths, return_lse=True)
    for filled in ((10, 20, 30), (11, 2001, 4000)):
        lengths.copy_(int32(*filled))
        graph.replay()
        assert_decodes(ours, inputs, lengths=lengths, scale=1 / math.sqrt(128))
