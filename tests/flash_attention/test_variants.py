"""Windows, caps, value dimensions and scales of the readable loops and their fast twin, against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from explainers.contract.experiment import watch
from explainers.contract.params import fit
from explainers.contract.result import as_json
from explainers.drawing.panels import Matrix
from explainers.drawing.scene import Row
from explainers.flash_attention import fast, moves, tiles
from explainers.flash_attention.backward import exact_gradients, tiled_backward
from explainers.flash_attention.mask import bounds_of, key_tiles_visited, query_tiles_visited
from explainers.flash_attention.standard import masked_scores, standard_attention
from explainers.flash_attention.tiled import Tiling, tile_ranges, tiled_attention
from explainers.flash_attention.tiles_params import TilesParams
from explainers.flash_attention.views import tiles as tiles_view
from explainers.flash_attention.views.tile_words import tile_words
from tests.gpu.attention_reference import plain_attention, visible
from tests.kernels.runs import assert_close

sides = st.integers(-1, 45)
definitions = st.fixed_dictionaries(
    {
        "causal": st.booleans(),
        "window": st.tuples(sides, sides),
        "softcap": st.sampled_from([0.0, 0.5, 3.0, 50.0]),
        "scale": st.sampled_from([0.0, -0.0, -0.3, 0.25, 0.7]),
    }
)
lengths = st.integers(1, 40)
blocks = st.integers(1, 45)
seeds = st.integers(0, 1000)


def draw(n_q: int, n_k: int, seed: int) -> list[torch.Tensor]:
    """Q (Nq, 12), K (Nk, 12), V (Nk, 7) and dO (Nq, 7)."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, d, generator=generator) for n, d in ((n_q, 12), (n_k, 12), (n_k, 7), (n_q, 7))]


def exactly(*qkv: torch.Tensor, **definition: Any) -> list[torch.Tensor]:
    """O and the log-sum-exp in float64, by a reference that shares no code with the explainers."""
    return [part[0, 0] for part in plain_attention(*(x.double()[None, None] for x in qkv), **definition)]


@given(lengths, lengths, definitions, seeds)
def test_the_standard_algorithm_is_exact(n_q: int, n_k: int, chosen: dict[str, Any], seed: int) -> None:
    q, k, v, _ = (part.double() for part in draw(n_q, n_k, seed))
    for ours, exact in zip(standard_attention(q, k, v, **chosen), exactly(q, k, v, **chosen), strict=True):
        assert_close(ours, exact, 1e-12)


@settings(max_examples=30)
@given(lengths, lengths, blocks, blocks, definitions, seeds)
def test_tiled_attention_is_exact(
    n_q: int, n_k: int, block_q: int, block_k: int, chosen: dict[str, Any], seed: int
) -> None:
    q, k, v, _ = draw(n_q, n_k, seed)
    steps, (output, lse) = watch(tiled_attention(q, k, v, Tiling(block_q, block_k, **chosen)))
    exact, exact_lse = exactly(q, k, v, **chosen)
    assert_close(output, exact, 1e-5)
    assert_close(lse, exact_lse, 1e-5)
    seen = visible(n_q, n_k, chosen["causal"], chosen["window"])
    useful = {
        (i, j)
        for i, rows in enumerate(torch.arange(n_q).split(block_q))
        for j, columns in enumerate(torch.arange(n_k).split(block_k))
        if seen[rows][:, columns].any()
    }
    assert {(step.query_tile, step.key_tile) for _, step in steps if step.phase == "scores"} == useful


@given(lengths, lengths, blocks, blocks, definitions)
def test_exactly_the_tiles_with_a_visible_key_are_visited(
    n_q: int, n_k: int, block_q: int, block_k: int, chosen: dict[str, Any]
) -> None:
    seen, offset = visible(n_q, n_k, chosen["causal"], chosen["window"]), n_k - n_q
    bounds = bounds_of(chosen["causal"], chosen["window"])
    query_tiles, key_tiles = tile_ranges(n_q, block_q), tile_ranges(n_k, block_k)
    for rows in query_tiles:
        useful = [j for j, columns in enumerate(key_tiles) if seen[slice(*rows), slice(*columns)].any()]
        assert useful == list(key_tiles_visited(rows, n_k, block_k, offset, bounds))
    for columns in key_tiles:
        useful = [i for i, rows in enumerate(query_tiles) if seen[slice(*rows), slice(*columns)].any()]
        assert useful == list(query_tiles_visited(columns, n_q, block_q, offset, bounds))


@settings(max_examples=30)
@given(lengths, lengths, blocks, blocks, definitions, seeds)
def test_tiled_gradients_equal_autograd(
    n_q: int, n_k: int, block_q: int, block_k: int, chosen: dict[str, Any], seed: int
) -> None:
    q, k, v, d_output = draw(n_q, n_k, seed)
    output, lse = standard_attention(q, k, v, **chosen)
    _, gradients = watch(tiled_backward(q, k, v, output, lse, d_output, Tiling(block_q, block_k, **chosen)))
    leaves = [part.clone().requires_grad_() for part in (q, k, v)]
    exact = torch.autograd.grad(exactly(*leaves, **chosen)[0], leaves, d_output.double())
    ours = exact_gradients(q, k, v, d_output, **chosen)
    for tiled, reference, true in zip(gradients, ours, exact, strict=True):
        assert_close(tiled, true, 2e-5)
        assert_close(reference, true, 1e-6)  # true was rounded to the type of the leaves


@settings(max_examples=30)
@given(lengths, lengths, blocks, blocks, definitions, seeds)
def test_the_fast_twin_is_exact(
    n_q: int, n_k: int, block_q: int, block_k: int, chosen: dict[str, Any], seed: int
) -> None:
    q, k, v, _ = (part[None] for part in draw(n_q, n_k, seed))
    with pytest.MonkeyPatch.context() as patch:  # small tiles, so that there are many
        patch.setattr(fast, "BLOCK_Q", block_q)
        patch.setattr(fast, "BLOCK_K", block_k)
        output, lse = fast.fast_attention(q, k, v, **chosen)
    exact, exact_lse = exactly(q[0], k[0], v[0], **chosen)
    assert_close(output[0], exact, 1e-5)
    assert_close(lse[0], exact_lse, 1e-5)


# ------------------------------------------------------------------------------------------ the experiment


@settings(max_examples=15)
@given(
    window=st.integers(-1, 80),
    softcap=st.sampled_from([0, 1e-4, 0.3, 2, 100]),
    outlier=st.sampled_from([0, 60]),
    causal=st.booleans(),
    kv_len=st.sampled_from([0, 24, 72]),
    seed=seeds,
)
def test_any_window_and_cap_is_within_the_tolerance(**chosen: Any) -> None:
    params, _ = fit(TilesParams(**chosen, seq_len=48, block_q=12, block_k=20))
    assert tiles.tiles(params).passed


def test_a_window_skips_tiles_and_moves_fewer_bytes() -> None:
    """64 queries in tiles of 16, 16 keys back: a query tile sees its own key tile and the one before."""
    params = TilesParams(window=16, head_dim=16)
    result = tiles.tiles(params)
    assert result.visited.int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    shown = as_json(result)
    assert (shown["tiles_total"], shown["tiles_visited"], shown["tiles_skipped"]) == (16, 7, 9)
    whole = moves.total(moves.flash_attention_2_moves(64, 16, 16, 16))
    skipped = 9 * 2 * 16 * 16  # K and V of a tile
    assert result.bytes_read == 4 * (whole.reads - skipped)
    (row,) = tiles_view.scene(result).columns[0].panels
    grid = row.panels[0] if isinstance(row, Row) else row
    assert isinstance(grid, Matrix)
    assert grid.tiles is not None
    assert ((np.asarray(grid.tiles.visited_at) < 0) == ~result.visited.numpy()).all()
    assert isinstance(grid.values, np.ndarray)
    assert (np.isnan(grid.values) == ~visible(64, 64, True, (16, -1)).numpy()).all()
    assert "9 of 16 tiles skipped" in grid.subtitle


def test_a_cap_bounds_the_scores_and_its_words_say_so() -> None:
    plain, capped = (tiles.tiles(TilesParams(outlier=60, softcap=c)) for c in (0, 5))
    assert plain.scores[-1].max() > 50
    assert 4.9 < capped.scores[-1].max() <= 5
    sentences = [step_words(result) for result in (plain, capped)]
    assert ["{cap:" in words for words in sentences] == [False, True]


def step_words(result: tiles.TilesResult) -> str:
    """The sentence of the first step."""
    words, _ = tile_words(result)
    return words.sentences[words.which[0]]


def test_a_cap_too_small_for_fp32_is_refused_in_one_sentence() -> None:
    params, made = fit(TilesParams(softcap=1e-40))
    assert params.softcap == 0.01
    assert [each.sentence for each in made] == [
        "softcap = 1e-40 is too small; allowed: 0 (no cap), or 0.01 to 100."
    ]


@pytest.mark.parametrize("chosen", [{"window": 20}, {"softcap": 3}, {"window": 9, "causal": False}], ids=str)
@pytest.mark.parametrize("break_it", ["none", "whole_tiles"])
def test_the_kernel_follows_in_every_tile(chosen: dict[str, Any], break_it: str) -> None:
    pytest.importorskip("triton")
    params = TilesParams.model_validate({"seq_len": 48, "kv_len": 64, "break_it": break_it, **chosen})
    (agree,) = tiles.compare_with_kernel(params)
    assert agree.passed
    by_kernel, by_torch = (
        tiles.tiles(params.model_copy(update={"backend": of})) for of in ("triton", "torch")
    )
    assert torch.equal(by_kernel.visited, by_torch.visited)
    assert (by_kernel.tiles_skipped, by_kernel.bytes_moved) == (by_torch.tiles_skipped, by_torch.bytes_moved)
    assert by_kernel.passed == by_torch.passed
    for (_, theirs), (_, ours) in zip(by_kernel.steps, by_torch.steps, strict=True):
        assert torch.allclose(theirs.scores, ours.scores, atol=1e-5)


def test_scores_outside_the_window_are_masked() -> None:
    scores = masked_scores(torch.zeros(9, 4), torch.zeros(12, 4), causal=False, scale=1.0, window=(2, 1))
    assert torch.equal(scores == 0, visible(9, 12, False, (2, 1)))
