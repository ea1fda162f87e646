"""Flash attention: every module against published values, float64, or an independent count."""

from __future__ import annotations

import inspect
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from explainers.contract.experiment import watch
from explainers.contract.params import choices_of, fit, read
from explainers.contract.result import as_json
from explainers.flash_attention import backward as backward_module
from explainers.flash_attention import (
    kernel_trace,
    moves,
    online_softmax,
    tiled,
    tiles,
)
from explainers.flash_attention.backward import BackwardParams
from explainers.flash_attention.mask import CAUSAL, key_tiles_visited
from explainers.flash_attention.online_softmax import OnlineSoftmaxParams
from explainers.flash_attention.standard import masked_scores, standard_attention
from explainers.flash_attention.tiled import Tiling, tiled_attention
from explainers.flash_attention.tiles import TilesParams
from tests.breaks import consequences_of, settings_of
from tests.flash_attention.runs import ORACLE, random_qkv, sizes

PHASES = ["scores", "maximum", "weights", "rescale", "accumulate"]


def in_double(*parts: torch.Tensor) -> list[torch.Tensor]:
    return [part.double() for part in parts]


# ---------------------------------------------------------------------------------------- standard attention


@pytest.mark.parametrize(("n_q", "n_k"), [(2, 5), (5, 2)])
def test_the_mask_is_aligned_bottom_right(n_q: int, n_k: int) -> None:
    scores = masked_scores(torch.ones(n_q, 4), torch.ones(n_k, 4), causal=True, scale=1.0)
    seen = ["".join("1" if score > -math.inf else "0" for score in row) for row in scores.tolist()]
    assert seen == ORACLE["bottom_right_alignment"][f"Nq{n_q}_Nk{n_k}"]


def test_a_row_without_keys_gives_zero_and_a_finite_gradient() -> None:
    q, k, v = (part.requires_grad_() for part in random_qkv(5, 2, 4))
    output, lse = standard_attention(q, k, v, causal=True, scale=0.5)
    assert (output[:3] == 0).all()
    assert (lse[:3] == -math.inf).all()
    assert output[3:].abs().min() > 0
    gradients = torch.autograd.grad(output.sum(), [q, k, v])
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("causal", [False, True])
def test_standard_attention_equals_sdpa_in_float64(causal: bool) -> None:
    q, k, v = in_double(*random_qkv(33, 33, 16))
    output, lse = standard_attention(q, k, v, causal=causal, scale=0.25)
    theirs = scaled_dot_product_attention(q[None], k[None], v[None], is_causal=causal, scale=0.25)[0]
    assert (output - theirs).abs().max() < 1e-14
    assert lse[-1].item() == pytest.approx(math.log(sum(math.exp(0.25 * (q[-1] @ key).item()) for key in k)))


# ------------------------------------------------------------------------------------------------ the tiles


@given(sizes)
@settings(max_examples=30)
def test_tiled_attention_is_exact(size: dict[str, Any]) -> None:
    q, k, v = random_qkv(size["n_q"], size["n_k"], size["d"], size["seed"])
    options = {"causal": size["causal"], "scale": size["d"] ** -0.5}
    steps, (output, lse) = watch(
        tiled_attention(q, k, v, Tiling(block_q=size["block_q"], block_k=size["block_k"], **options))
    )
    exact, exact_lse = standard_attention(*in_double(q, k, v), **options)
    assert (output - exact).abs().max() <= 2e-6
    assert torch.allclose(lse.double(), exact_lse, atol=1e-5)
    assert [step.phase for _, step in steps].count("finish") == math.ceil(size["n_q"] / size["block_q"])


def test_a_step_pauses_on_its_own_line_in_the_order_of_the_paper() -> None:
    result = tiles.tiles(TilesParams(seq_len=24, block_q=8, block_k=8))
    code, first = inspect.getsourcelines(tiled_attention)
    for line, step in result.steps:
        assert f'yield moment("{step.phase}"' in code[line - first]
    phases = [step.phase for _, step in result.steps]
    assert phases == [*PHASES * 1, "finish", *PHASES * 2, "finish", *PHASES * 3, "finish"]
    assert [(step.query_tile, step.key_tile) for _, step in result.steps if step.phase == "scores"] == [
        (0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2),
    ]  # fmt: skip


def test_the_running_state_is_that_of_the_keys_seen_so_far() -> None:
    result = tiles.tiles(TilesParams(seq_len=40, block_q=16, block_k=12, seed=3))
    for _, step in result.steps:
        if step.phase != "accumulate":
            continue
        seen = result.scores[slice(*step.rows), : step.columns[1]]
        P = torch.exp(seen - step.m.double()[:, None])
        assert torch.allclose(step.m.double(), seen.amax(1), atol=1e-5)
        assert torch.allclose(step.l.double(), P.sum(1), atol=1e-5)
        assert torch.allclose(step.accumulator.double(), P @ result.v[: step.columns[1]].double(), atol=1e-5)
        assert torch.allclose(step.lse.double(), seen.logsumexp(1), atol=1e-5)
        assert torch.allclose(step.weights.double(), P[:, step.columns[0] :], atol=1e-5)


def test_alpha_is_zero_at_first_sight_and_one_while_nothing_is_seen() -> None:
    q, k, v = random_qkv(6, 4, 8)
    steps, _ = watch(tiled_attention(q, k, v, Tiling(block_q=6, block_k=2, causal=True, scale=1.0)))
    first, second = (step for _, step in steps if step.phase == "accumulate")
    assert first.alpha.tolist() == [1, 1, 0, 0, 0, 0]  # rows 0 and 1 see no key at all
    assert first.m[:2].tolist() == [-math.inf] * 2
    assert first.l[:2].tolist() == [0, 0]
    assert (first.accumulator[:2] == 0).all()
    assert second.alpha[:4].tolist() == [1, 1, 1, 1]  # rows 2 and 3 see no key of the second tile
    assert ((second.alpha[4:] > 0) & (second.alpha[4:] <= 1)).all()


def test_a_step_keeps_its_values_while_later_steps_are_computed() -> None:
    q, k, v = random_qkv(16, 16, 8)
    steps = tiled_attention(q, k, v, Tiling(block_q=8, block_k=4, causal=False, scale=1.0))
    kept = [(step, step.accumulator.clone(), step.m.clone(), step.l.clone()) for step in steps]
    assert all(torch.equal(step.accumulator, O) and torch.equal(step.l, l) for step, O, _, l in kept)
    assert all(torch.equal(step.m, m) for step, _, m, _ in kept)


@pytest.mark.parametrize("case", ORACLE["causal_tiles_visited"])
def test_causal_tiles_visited_equal_the_oracle(case: dict[str, int]) -> None:
    n, block = case["N"], case["block"]
    rows = tiled.tile_ranges(n, block)
    visited = sum(len(key_tiles_visited(tile_rows, n, block, 0, CAUSAL)) for tile_rows in rows)
    assert (visited, len(rows) ** 2) == (case["visited"], case["total"])


def test_bytes_are_those_of_the_listed_moves() -> None:
    result = tiles.tiles(TilesParams(seq_len=50, head_dim=8, block_q=16, block_k=12, causal=False))
    moved = moves.total(moves.flash_attention_2_moves(50, 8, 16, 12))
    assert (result.bytes_read, result.bytes_written) == (4 * moved.reads, 4 * moved.writes)
    assert result.standard_bytes == 4 * moves.total(moves.standard_moves(50, 8)).total


def test_the_result_in_json() -> None:
    shown = as_json(tiles.tiles(TilesParams(seq_len=8, block_q=4, block_k=4, kv_len=4)))
    wanted = (
        "backend tiles_total tiles_visited max_abs_error tolerance passed bytes_read bytes_written output"
    )
    assert set(wanted.split()) <= set(shown)
    assert "steps" not in shown
    assert np.shape(shown["output"]) == (8, 32)
    assert shown["lse"][0] is None  # a row without keys: -inf has no place in JSON
    assert (shown["tiles_total"], shown["tiles_visited"], shown["passed"]) == (2, 1, True)


def test_the_error_falls_to_nothing_as_tiles_pass() -> None:
    result = tiles.tiles(TilesParams(causal=False))
    last_tile = [
        error
        for (_, step), error in zip(result.steps, result.error_so_far, strict=True)
        if step.query_tile == 3
    ]
    assert last_tile[0] == pytest.approx(result.exact[48:].abs().max().item())
    assert last_tile[-1] < 1e-6 < 0.01 < last_tile[-7]  # before and after the last key tile


def test_the_outlier_raises_one_key_by_exactly_itself() -> None:
    plain, raised = (
        tiles.tiles(TilesParams(causal=False, outlier=outlier, score_scale=2)) for outlier in (0, 30)
    )
    difference = raised.scores - plain.scores
    assert torch.allclose(difference[:, 48], torch.full((64,), 30.0, dtype=torch.float64), atol=1e-4)
    assert difference[:, :48].abs().max() == 0


@pytest.mark.parametrize("break_it", sorted(settings_of(tiles.BREAKS)))
def test_each_break_turns_the_check_red_and_only_the_break(break_it: str) -> None:
    visible = settings_of(tiles.BREAKS)[break_it]
    broken, sound = (tiles.tiles(TilesParams(**{**visible, "break_it": part})) for part in (break_it, "none"))
    assert not broken.passed
    assert sound.passed
    assert consequences_of(tiles.BREAKS)[break_it]


def test_every_break_has_its_settings_and_its_sentence() -> None:
    for module, params in (
        (tiles, TilesParams),
        (online_softmax, OnlineSoftmaxParams),
        (backward_module, BackwardParams),
    ):
        breaks = set(choices_of(params, "break_it")) - {"none"}
        assert breaks == set(settings_of(module.BREAKS)) == set(consequences_of(module.BREAKS))


def test_what_each_break_does() -> None:
    overflow = tiles.tiles(TilesParams(**settings_of(tiles.BREAKS)["no_max"], break_it="no_max"))
    assert math.isnan(overflow.max_abs_error)
    sentinel = tiles.tiles(
        TilesParams(**settings_of(tiles.BREAKS)["finite_sentinel"], break_it="finite_sentinel")
    )
    assert torch.allclose(
        sentinel.output[0], sentinel.v[:16].mean(0), atol=1e-5
    )  # the mean of what was loaded
    fp16 = tiles.tiles(TilesParams(break_it="fp16_accumulator"))
    assert 1e-4 < fp16.max_abs_error < 1e-2
    assert tiles.tiles(TilesParams(break_it="no_max")).passed  # small scores do not need the maximum


@given(
    score_scale=st.sampled_from([0.1, 1, 3, 8]),
    outlier=st.sampled_from([0, 5, 60, 200]),
    head_dim=st.sampled_from([8, 64, 256]),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=15)
def test_the_tolerance_holds_at_the_corners(**chosen: Any) -> None:
    assert tiles.tiles(TilesParams(**chosen, seq_len=96, block_q=32, block_k=32)).passed


def test_the_tolerance_is_the_published_gate_at_the_defaults() -> None:
    assert tiles.tiles(TilesParams()).tolerance == ORACLE["test_rule"]["fp32_gate"]
    assert tiles.tiles(TilesParams(head_dim=160)).tolerance == 5e-6


@pytest.mark.parametrize(
    ("given_values", "field", "value"),
    [
        ({"seq_len": 8, "block_q": 16, "block_k": 8}, "block_q", 8),
        ({"kv_len": 8}, "block_k", 8),
        ({"kv_len": 2}, "block_k", 4),
        ({"backend": "triton", "block_q": 24}, "block_q", 16),
        ({"backend": "triton", "seq_len": 200, "block_q": 256}, "block_q", 128),
        ({"backend": "triton", "block_k": 4}, "block_k", 16),
        ({"backend": "triton", "head_dim": 8}, "head_dim", 16),
    ],
)
def test_blocks_are_made_to_fit(given_values: dict[str, Any], field: str, value: int) -> None:
    params, made = fit(TilesParams(**given_values))
    assert [(adjustment.field, adjustment.value) for adjustment in made] == [(field, value)]
    assert getattr(params, field) == value
    assert made[0].sentence.startswith(f"{field} = ")
    assert "allowed" in made[0].sentence


def test_long_interpreted_runs_wait_for_a_button() -> None:
    assert not TilesParams(seq_len=128, backend="triton").needs_button
    assert TilesParams(seq_len=129, backend="triton").needs_button
    assert TilesParams(seq_len=64, kv_len=136, backend="triton").needs_button
    assert not TilesParams(seq_len=256).needs_button


# --------------------------------------------------------------------------------------- the kernel's trace


@pytest.fixture(scope="module")
def traced() -> tuple[Any, Any, Any]:
    """The same tiles by the kernel and by the readable loop, and the kernel's trace."""
    pytest.importorskip("triton")
    from kernels.flash_attention import flash_attention_trace

    params = TilesParams(seq_len=36, kv_len=28, head_dim=16, outlier=4, backend="triton")
    by_kernel, by_torch = tiles.tiles(params), tiles.tiles(params.model_copy(update={"backend": "torch"}))
    options = {"block_q": 16, "block_k": 16, "causal": True, "scale": params.scale}
    return by_kernel, by_torch, flash_attention_trace(by_torch.q, by_torch.k, by_torch.v, **options)


@pytest.mark.slow
def test_the_kernel_is_told_in_the_same_steps(traced: tuple[Any, Any, Any]) -> None:
    by_kernel, by_torch, _ = traced
    assert by_kernel.passed
    assert any(((step.alpha > 0) & (step.alpha < 0.9)).any() for _, step in by_torch.steps)  # it does rescale
    for (_, theirs), (_, ours) in zip(by_kernel.steps, by_torch.steps, strict=True):
        names = ("phase", "query_tile", "key_tile", "rows", "columns", "bytes_read", "bytes_written")
        assert all(getattr(theirs, name) == getattr(ours, name) for name in names)
        for name in ("scores", "m_before", "l_before", "m", "l", "alpha", "accumulator"):
            assert torch.allclose(getattr(theirs, name), getattr(ours, name), atol=1e-5), name
    source = Path(inspect.getfile(tiles)).parents[2] / "kernels" / "flash_attention_forward.py"
    lines = source.read_text(encoding="utf-8").splitlines()
    assert all(f"# step: {step.phase}" in lines[line - 1] for line, step in by_kernel.steps)


@pytest.mark.slow
def test_traces_agree_and_a_changed_one_does_not(traced: tuple[Any, Any, Any]) -> None:
    _, by_torch, trace = traced
    assert kernel_trace.compare_traces(by_torch.steps, trace).passed
    i, j = trace.visited.nonzero()[-1].tolist()
    for name in ("m", "l", "alpha", "accumulator"):
        changed = getattr(trace, name).clone()
        changed[i, j, 1] += 0.01
        assert not kernel_trace.compare_traces(by_torch.steps, replace(trace, **{name: changed})).passed
    more, other = (
        torch.ones_like(trace.visited),
        trace.visited.flip(0),
    )  # too many tiles; as many, but not these
    assert more.sum() > other.sum() == trace.visited.sum()
    for visited in (more, other):
        assert not kernel_trace.compare_traces(by_torch.steps, replace(trace, visited=visited)).passed


# ------------------------------------------------------------------------------------------- online softmax


@given(
    row=st.lists(st.floats(-300, 300, width=32), min_size=1, max_size=30),
    block=st.integers(1, 31),
)
def test_online_softmax_is_exact(row: list[float], block: int) -> None:
    scores = np.array(row, dtype=np.float32)
    steps, (weights, log_sum_exp) = watch(online_softmax.softmax_in_blocks(scores, block))
    exact = np.exp(scores.astype(np.float64) - max(row)) / np.exp(scores.astype(np.float64) - max(row)).sum()
    assert np.abs(weights - exact).max() <= online_softmax.TOLERANCE
    assert log_sum_exp == pytest.approx(
        max(row) + math.log(np.exp(scores.astype(np.float64) - max(row)).sum()), abs=1e-5
    )
    assert len(steps) == 4 * math.ceil(len(row) / block) + 1


def test_online_softmax_step_by_step() -> None:
    result = online_softmax.online_softmax(OnlineSoftmaxParams(scores="0, 1  3,2", block=2))
    e = math.exp
    assert result.m.tolist() == [1, 3]
    assert result.m_before.tolist() == [-math.inf, 1]
    assert result.alpha.tolist() == pytest.approx([0, e(-2)])
    assert result.l.tolist() == pytest.approx([e(-1) + 1, e(-2) * (e(-1) + 1) + 1 + e(-1)])
    assert result.partial_weights[0].tolist() == pytest.approx([e(-1), 1, 0, 0])
    assert result.partial_weights[1].tolist() == pytest.approx([e(-3), e(-2), 1, e(-1)])
    code, first = inspect.getsourcelines(online_softmax.softmax_in_blocks)
    assert all(f'SoftmaxStep("{step.phase}"' in code[line - first] for line, step in result.steps)


@pytest.mark.parametrize("break_it", sorted(settings_of(online_softmax.BREAKS)))
def test_each_break_of_online_softmax(break_it: str) -> None:
    visible = settings_of(online_softmax.BREAKS)[break_it]
    assert not online_softmax.online_softmax(OnlineSoftmaxParams(**{**visible, "break_it": break_it})).passed
    assert online_softmax.online_softmax(OnlineSoftmaxParams(**visible)).passed


def test_without_the_maximum_very_small_scores_vanish_without_an_exception() -> None:
    assert not online_softmax.online_softmax(
        OnlineSoftmaxParams(scores="-500 -600", block=1, break_it="no_max")
    ).passed


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("1, two, 3", "'two' is not a number"),
        ("1 nan", "finite numbers"),
        ("inf", "finite numbers"),
        ("1e400", "finite numbers"),
        ("20000", "from -10,000 to 10,000"),
        ("1 " * 10_000, "at most 256 numbers, and these are 10,000"),
        ("x" * 100_000, "is not a number"),
    ],
)
def test_a_typed_row_is_refused_in_one_sentence(typed: str, says: str) -> None:
    params, problems = read(OnlineSoftmaxParams, {"scores": typed, "length": "9"})
    assert params == OnlineSoftmaxParams(length=9)
    assert len(problems) == 1
    assert says in problems[0].sentence
    assert problems[0].sentence.startswith("scores = ")
    assert len(problems[0].sentence) < 200


def test_a_row_is_typed_with_commas_spaces_and_lines() -> None:
    assert online_softmax.parse_scores(" 1,2 3\n-4.5e0,\t5,, ") == [1, 2, 3, -4.5, 5]
    params, made = fit(OnlineSoftmaxParams(scores="1 2 3", block=6))
    assert (params.block, made[0].field) == (3, "block")


def test_the_outlier_is_added_at_its_place() -> None:
    plain, raised = (
        online_softmax.draw_row(OnlineSoftmaxParams(outlier=outlier, outlier_at=1.0)) for outlier in (0, 50)
    )
    assert (raised - plain).tolist() == pytest.approx([0.0] * 23 + [50.0], abs=1e-5)
