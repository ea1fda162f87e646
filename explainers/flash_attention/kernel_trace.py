"""The Triton kernel's trace, as the steps of the readable loop, and its comparison with them tile by tile."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from explainers.contract.messages import plural
from explainers.contract.result import Check
from explainers.flash_attention.mask import visible
from explainers.flash_attention.tiled import SENTINEL, SlowMemory, TileStep, Tiling, moment, tile_ranges

if TYPE_CHECKING:
    from kernels.flash_attention import TileTrace


def trace_of(q: Tensor, k: Tensor, v: Tensor, tiling: Tiling) -> TileTrace:
    """The kernel's trace of attention by these tiles. q (Nq, D), k (Nk, D), v (Nk, Dv).

    Raises RuntimeError when Triton is not installed.
    """
    from kernels.flash_attention import flash_attention_trace

    return flash_attention_trace(q, k, v, **asdict(tiling))


def run_kernel(
    q: Tensor, k: Tensor, v: Tensor, tiling: Tiling
) -> tuple[list[tuple[int, TileStep]], Tensor, Tensor]:
    """Runs the kernel and returns what `watch(tiled_attention(...))` would: steps with their lines, O and lse.

    q (Nq, D), k (Nk, D), v (Nk, Dv). Raises RuntimeError when Triton is not installed.
    """
    from kernels.flash_attention import step_lines

    trace = trace_of(q, k, v, tiling)
    steps = _steps(trace, step_lines(), (q, k, v), _scores(q, k, tiling), tiling)
    return list(steps), trace.output, trace.lse


def _steps(
    trace: TileTrace,
    lines: dict[str, int],
    qkv: tuple[Tensor, Tensor, Tensor],
    S: Tensor,
    tiling: Tiling,
) -> Iterator[tuple[int, TileStep]]:
    """The kernel's trace as the steps of the readable loop, each with its line in the kernel's source.

    m, l, alpha and the accumulator were written by the kernel. It keeps no scores: S is computed here again.
    """
    q, k, v = qkv
    hbm, output, logsumexp = SlowMemory(), q.new_empty(len(q), v.shape[1]), q.new_empty(len(q))
    start = SENTINEL if (S == SENTINEL).any() else -math.inf  # finite_sentinel starts its maximum there
    key_tiles = tile_ranges(len(k), tiling.block_k)
    for i, rows in enumerate(tile_ranges(len(q), tiling.block_q)):
        size = rows[1] - rows[0]
        hbm.load(q[slice(*rows)])
        m, l, alpha = q.new_full((size,), start), q.new_zeros(size), q.new_ones(size)
        O = q.new_zeros(size, v.shape[1])
        for j in trace.visited[i].nonzero().flatten().tolist():
            columns = key_tiles[j]
            hbm.load(k[slice(*columns)])
            hbm.load(v[slice(*columns)])
            tile, S_tile, before = (i, j, rows, columns), S[slice(*rows), slice(*columns)], (m, l)
            yield lines["scores"], moment("scores", tile, S_tile, before, (m, l, alpha, O), hbm)
            m, alpha = trace.m[i, j, :size], trace.alpha[i, j, :size]
            yield lines["maximum"], moment("maximum", tile, S_tile, before, (m, l, alpha, O), hbm)
            l = trace.l[i, j, :size]
            yield lines["weights"], moment("weights", tile, S_tile, before, (m, l, alpha, O), hbm)
            O = alpha[:, None] * O
            yield lines["rescale"], moment("rescale", tile, S_tile, before, (m, l, alpha, O), hbm)
            O = trace.accumulator[i, j, :size]
            yield lines["accumulate"], moment("accumulate", tile, S_tile, before, (m, l, alpha, O), hbm)
        O = trace.output[slice(*rows)]
        hbm.store(output, rows, O)
        hbm.store(logsumexp, rows, trace.lse[slice(*rows)])
        tile, no_scores = (i, -1, rows, (0, 0)), q.new_empty(size, 0)
        yield lines["finish"], moment("finish", tile, no_scores, (m, l), (m, l, alpha, O), hbm)


def _scores(q: Tensor, k: Tensor, tiling: Tiling) -> Tensor:
    """S (Nq, Nk) as the kernel caps and masks it under break_it."""
    S = tiling.scale * q @ k.T
    if tiling.softcap:
        S = tiling.softcap * torch.tanh(S / tiling.softcap)
    if tiling.break_it == "whole_tiles":
        return S
    offset = 0 if tiling.break_it == "top_left" else len(k) - len(q)
    masked = SENTINEL if tiling.break_it == "finite_sentinel" else -math.inf
    return S.masked_fill(~visible((0, len(q)), (0, len(k)), offset, tiling.bounds), masked)


def compare_traces(
    torch_steps: list[tuple[int, TileStep]], trace: TileTrace, break_it: str = "none"
) -> Check:
    """Compares m, l, alpha and the accumulator of every tile of the readable loop with the kernel's.

    The error is the largest difference, relative where a value exceeds 1; infinite where one of them visited a
    tile that the other did not. Values that overflowed on both sides (no_max) count as agreement.
    Tolerance: 1e-5, times the largest |score| where that exceeds 1, since the two sum a score in different
    orders and exp passes its error on; under fp16_accumulator one fp16 rounding a key tile.
    """
    after_tile = [step for _, step in torch_steps if step.phase == "accumulate"]
    error = 0.0 if len(after_tile) == int(trace.visited.sum()) else math.inf
    largest_score = 1.0
    for step in after_tile:
        tile, size = (step.query_tile, step.key_tile), len(step.m)
        if not trace.visited[tile]:
            error = math.inf
        pairs = (
            (step.m, trace.m),
            (step.l, trace.l),
            (step.alpha, trace.alpha),
            (step.accumulator, trace.accumulator),
        )
        error = max(error, *(_difference(ours, theirs[tile][:size]) for ours, theirs in pairs))
        seen = step.scores[step.scores > SENTINEL]
        largest_score = max(largest_score, seen.abs().max().item() if seen.numel() else 0.0)
    tolerance = 1e-5 * largest_score
    if break_it == "fp16_accumulator":
        tolerance = trace.visited.shape[1] * 2**-10
    reference = plural(
        "{count} tile: m, l, alpha, O of each", "{count} tiles: m, l, alpha, O of each", count=len(after_tile)
    )
    return Check("Triton and PyTorch agree", error, tolerance, reference)


def _difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest |ours - theirs|, relative above 1; 0 for values that overflowed on both sides."""
    gap = (ours - theirs).abs() / ours.abs().clamp(min=1)
    same = (ours == theirs) | ~(ours.isfinite() | theirs.isfinite())
    return gap.masked_fill(same, 0).nan_to_num(math.inf).max().item()
