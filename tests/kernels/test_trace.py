"""The trace of the Triton kernel: every tile against the same recurrence in torch, and which tiles it visits."""

import math

import pytest
import torch

from kernels import interpreter as interpreting
from kernels.flash_attention import BREAKS, flash_attention_trace, kernel_source, step_lines, visited_tiles
from tests.gpu.attention_reference import ORACLE, plain_attention, visible
from tests.kernels.runs import ROOT, assert_close

pytestmark = pytest.mark.skipif(not interpreting.triton_available(), reason="Triton exists for Linux only")


@pytest.mark.parametrize("case", ORACLE["causal_tiles_visited"], ids=lambda case: str(case["N"]))
def test_visited_tiles_equal_the_oracle(case):
    n, block = case["N"], case["block"]
    assert visited_tiles(n, n, block, block, causal=True) == case["visited"]
    assert visited_tiles(n, n, block, block) == case["total"]


def dense_trace(qkv, blocks, break_it, *, causal=False, window=(-1, -1), softcap=0.0, scale=1.0):
    """The same recurrence in torch: (m, l, alpha, accumulator) of each tile that has a key to see."""
    q, k, v = qkv
    n_q, n_k, tiles = len(q), len(k), {}
    sentinel = break_it == "finite_sentinel"
    hidden = -1e6 if sentinel else -math.inf
    # a square has its diagonal from the top left corner
    rows_of_mask, columns_of_mask = (max(n_q, n_k),) * 2 if break_it == "top_left" else (n_q, n_k)
    seen = visible(rows_of_mask, columns_of_mask, causal, window)[:n_q, :n_k]
    for i, rows in enumerate(torch.arange(n_q).split(blocks[0])):
        m, l = torch.full((len(rows),), hidden), torch.zeros(len(rows))
        acc = torch.zeros(len(rows), v.shape[1])
        useful = [bool(seen[rows][:, columns].any()) for columns in torch.arange(n_k).split(blocks[1])]
        if sentinel and not any(useful):
            useful[0] = True
        for j, columns in enumerate(torch.arange(n_k).split(blocks[1])):
            if not useful[j]:
                continue
            scores = q[rows] @ k[columns].T * scale
            if softcap:
                scores = softcap * torch.tanh(scores / softcap)
            if break_it != "whole_tiles":
                scores = scores.masked_fill(~seen[rows][:, columns], hidden)
            m_new = torch.zeros_like(m) if break_it == "no_max" else torch.maximum(m, scores.amax(1))
            nothing_yet = m_new == -math.inf
            weights = torch.where(nothing_yet[:, None], 0.0, torch.exp(scores - m_new[:, None]))
            alpha = torch.where(nothing_yet, 1.0, torch.exp(m - m_new))
            if break_it == "no_rescale":
                alpha = torch.ones_like(alpha)
            m, l = m_new, alpha * l + weights.sum(1)
            acc = alpha[:, None] * acc + weights @ v[columns]
            if break_it == "fp16_accumulator":
                l, acc = l.half().float(), acc.half().float()
            tiles[i, j] = m, l, alpha, acc
    return tiles


CASES = [
    (40, 56, {}),
    (40, 72, {"causal": True}),
    (70, 41, {"causal": True}),
    (64, 64, {"causal": True, "softcap": 1.5}),
    (64, 80, {"window": (9, 2)}),
    (90, 60, {"window": (20, -1), "causal": True, "scale": -0.4}),
]


@pytest.mark.parametrize("break_it", BREAKS)
@pytest.mark.parametrize(("n_q", "n_k", "options"), CASES, ids=str)
def test_the_trace_equals_the_recurrence_tile_by_tile(n_q, n_k, options, break_it):
    generator = torch.Generator().manual_seed(n_q)
    q, k, v = (torch.randn(n, d, generator=generator) for n, d in ((n_q, 24), (n_k, 24), (n_k, 40)))
    options = {"scale": 0.4} | options
    trace = flash_attention_trace(q, k, v, block_q=16, block_k=32, break_it=break_it, **options)
    expected = dense_trace((q, k, v), (16, 32), break_it, **options)
    assert trace.visited.shape == (-(-n_q // 16), -(-n_k // 32))
    assert {tuple(tile) for tile in trace.visited.nonzero().tolist()} == set(expected)
    if break_it not in ("finite_sentinel", "top_left"):
        assert int(trace.visited.sum()) == visited_tiles(n_q, n_k, 16, 32, **options)
    # A value that float16 rounds the other way stays off by one part in a thousand; without the maximum, numbers
    # are large.
    loose = {"fp16_accumulator": (1e-2, 2e-3), "no_max": (1e-3, 1e-4)}
    atol, rtol = loose.get(break_it, (2e-5, 1e-5))
    for (i, j), (m, l, alpha, accumulator) in expected.items():
        count = len(m)
        assert_close(trace.m[i, j, :count], m, atol, rtol)
        assert_close(trace.l[i, j, :count], l, atol, rtol)
        assert_close(trace.alpha[i, j, :count], alpha, atol, rtol)
        assert_close(trace.accumulator[i, j, :count], accumulator, atol, rtol)
        assert not trace.accumulator[i, j, count:].any()
    assert not trace.l[~trace.visited].any()


def traced(n_q, n_k, causal, break_it, scale=None):
    q, k, v = (torch.randn(n, 32, generator=torch.Generator().manual_seed(7 + n)) for n in (n_q, n_k, n_k))
    trace = flash_attention_trace(
        q, k, v, block_q=16, block_k=16, break_it=break_it, causal=causal, scale=scale
    )
    exact, lse = plain_attention(
        *(tensor.double()[None, None] for tensor in (q, k, v)), causal=causal, scale=scale
    )
    return trace, exact[0, 0], lse[0, 0], v


def test_the_trace_ends_in_the_output():
    trace, exact, lse, _ = traced(64, 64, True, "none")
    assert_close(trace.output, exact, 2e-6)
    assert_close(trace.lse, lse, 2e-6)
    torch.testing.assert_close(trace.m[-1, -1] + trace.l[-1, -1].log(), trace.lse[-16:])


@pytest.mark.parametrize(
    ("break_it", "n_q", "n_k", "causal", "scale"),
    [("no_rescale", 32, 64, False, 1.0), ("fp16_accumulator", 32, 64, False, None), ("top_left", 32, 64, True, None)],
)  # fmt: skip
def test_each_broken_part_shows_in_the_output(break_it, n_q, n_k, causal, scale):
    broken, exact, _, _ = traced(n_q, n_k, causal, break_it, scale)
    whole, *_ = traced(n_q, n_k, causal, "none", scale)
    assert (whole.output - exact).abs().max() < 5e-6
    assert (broken.output - exact).abs().max() > 5e-5


def test_without_the_maximum_a_large_score_overflows():
    assert not traced(32, 32, False, "no_max", 40.0)[0].output.isfinite().all()
    assert traced(32, 32, False, "none", 40.0)[0].output.isfinite().all()


def test_a_finite_sentinel_averages_v_where_nothing_is_seen():
    broken, exact, _, v = traced(48, 16, True, "finite_sentinel")
    torch.testing.assert_close(broken.output[:32], v.mean(0).expand(32, -1), atol=1e-5, rtol=0)
    assert not exact[:32].any()


def test_every_step_is_marked_in_the_source():
    text, first_line = kernel_source()
    assert list(step_lines()) == ["scores", "maximum", "weights", "rescale", "accumulate", "finish"]
    file = ROOT / "kernels" / "flash_attention_forward.py"
    lines = file.read_text(encoding="utf-8").splitlines()
    assert lines[first_line - 1].startswith("@triton.jit")
    assert "\n".join(lines[first_line - 1 :]).startswith(text.rstrip("\n"))
    expected = {"scores": "tl.dot(q", "maximum": "m_new = ", "weights": "tl.exp2(scores", "rescale": "* alpha",
                "accumulate": "tl.dot(weights", "finish": "acc / "}  # fmt: skip
    assert all(expected[step] in lines[line - 1] for step, line in step_lines().items())
