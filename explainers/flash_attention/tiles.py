"""The experiment `flash_attention.tiles`: tiled attention, watched, and compared with float64 and the kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from explainers.contract.experiment import experiment, watch
from explainers.contract.result import Check, Checked
from explainers.flash_attention.kernel_trace import compare_traces, run_kernel, trace_of
from explainers.flash_attention.moves import standard_traffic
from explainers.flash_attention.standard import Definition, masked_scores, standard_attention
from explainers.flash_attention.tiled import TileStep, tiled_attention
from explainers.flash_attention.tiles_params import BREAKS, TilesParams


@dataclass(frozen=True, eq=False)
class TilesResult(Checked):
    """Tiled attention, compared with float64. Sizes in bytes; output (Nq, D), lse (Nq,).

    tiles_skipped: those that the mask hides wholly, so that they are neither loaded nor computed.
    row_tiles: key tiles that the followed row visits; row_rescales: how many of them, the first not counted, raise
    its maximum, so that its sums are rescaled.
    """

    backend: str
    tiles_total: int
    tiles_visited: int
    tiles_skipped: int
    max_abs_error: float
    tolerance: float
    bytes_read: int
    bytes_written: int
    bytes_moved: int  # both together
    standard_bytes: int
    row_tiles: int
    row_rescales: int
    checks: tuple[Check, ...]
    output: Tensor
    lse: Tensor
    params: TilesParams = field(metadata={"shell": False})
    q: Tensor = field(metadata={"shell": False})
    k: Tensor = field(metadata={"shell": False})
    v: Tensor = field(metadata={"shell": False})
    scores: Tensor = field(metadata={"shell": False})  # S (Nq, Nk) in float64, -inf where masked
    exact: Tensor = field(metadata={"shell": False})  # O (Nq, D) in float64
    steps: list[tuple[int, TileStep]] = field(metadata={"shell": False})  # (source line, step)
    # for each step the largest error in its query tile
    error_so_far: list[float] = field(metadata={"shell": False})
    visited: Tensor = field(metadata={"shell": False})  # (query tiles, key tiles) of bool


@experiment("flash_attention.tiles", breaks=BREAKS)
def tiles(params: TilesParams) -> TilesResult:
    """Attention computed tile by tile, every tile watched and the output compared with float64.

    Raises RuntimeError when the backend is triton and Triton is not installed.
    """
    q, k, v = draw_qkv(params)
    if params.backend == "triton":
        steps, output, lse = run_kernel(q, k, v, params.tiling)
    else:
        steps, (output, lse) = watch(tiled_attention(q, k, v, params.tiling))
    in_double = [part.double() for part in (q, k, v)]
    definition: Definition = {
        "causal": params.causal,
        "scale": params.scale,
        "window": (params.window, -1),
        "softcap": params.softcap,
    }
    exact, _ = standard_attention(*in_double, **definition)
    scores = masked_scores(in_double[0], in_double[1], **definition)
    error = (output - exact).abs().max().item()
    tolerance = tolerance_for(params, q, k, v)
    visited = _visited(params, steps)
    standard = standard_traffic(params.seq_len, params.keys, params.head_dim)
    factors = _factors_of_row(params.followed_row, steps)
    return TilesResult(
        backend=params.backend,
        tiles_total=visited.numel(),
        tiles_visited=int(visited.sum()),
        tiles_skipped=int((~visited).sum()),
        max_abs_error=error,
        tolerance=tolerance,
        bytes_read=steps[-1][1].bytes_read,
        bytes_written=steps[-1][1].bytes_written,
        bytes_moved=steps[-1][1].bytes_read + steps[-1][1].bytes_written,
        standard_bytes=standard.total * q.element_size(),
        row_tiles=len(factors),
        row_rescales=sum(factor < 1 for factor in factors[1:]),
        checks=(
            Check("equals exact attention", error, tolerance, reference="standard attention in float64"),
        ),
        output=output,
        lse=lse,
        params=params,
        q=q,
        k=k,
        v=v,
        scores=scores,
        exact=exact,
        steps=steps,
        error_so_far=_errors(steps, exact),
        visited=visited,
    )


def draw_qkv(params: TilesParams) -> tuple[Tensor, Tensor, Tensor]:
    """Q (Nq, D), K and V (Nk, D), standard normal in fp32, with the outlier put in.

    Each query's last coordinate is 1, so that raising the last coordinate of one key by outlier / scale
    raises every score of that key by exactly the outlier.
    """
    generator = torch.Generator().manual_seed(params.seed)
    q = torch.randn(params.seq_len, params.head_dim, generator=generator)
    k = torch.randn(params.keys, params.head_dim, generator=generator)
    v = torch.randn(params.keys, params.head_dim, generator=generator)
    q[:, -1] = 1
    k[3 * params.keys // 4, -1] += params.outlier / params.scale
    return q, k, v


def tolerance_for(params: TilesParams, q: Tensor, k: Tensor, v: Tensor) -> float:
    """How far fp32 may be from float64: 2e-6 (5e-6 above d = 128), more only where scores were made large.

    A score summed in fp32 is off by about delta = 2^-24 scale |q| |k|, and O = sum_j P_j V_j then moves by at
    most delta sum_j P_j |V_j - O| <= 2 delta max|V|. With a score scale up to 1 many keys share the weight and
    these errors average out; a sharper softmax or an outlier puts the weight on few keys, so there the bound
    itself is allowed. The rule depends on the data alone, never on the output.
    """
    gate = 2e-6 if params.head_dim <= 128 else 5e-6
    if params.score_scale <= 1 and params.outlier == 0:
        return gate
    delta = 2**-24 * params.scale * (q.abs() @ k.abs().T).max().item()
    return max(gate, 2 * delta * v.abs().max().item())


def compare_with_kernel(params: TilesParams) -> tuple[Check, ...]:
    """Runs the Triton kernel on the same Q, K and V and compares every tile of its trace with the readable loop."""
    q, k, v = draw_qkv(params)
    steps, _ = watch(tiled_attention(q, k, v, params.tiling))
    return (compare_traces(steps, trace_of(q, k, v, params.tiling), params.break_it),)


def _visited(params: TilesParams, steps: list[tuple[int, TileStep]]) -> Tensor:
    grid = math.ceil(params.seq_len / params.block_q), math.ceil(params.keys / params.block_k)
    visited = torch.zeros(grid, dtype=torch.bool)
    for _, step in steps:
        if step.phase == "scores":
            visited[step.query_tile, step.key_tile] = True
    return visited


def _factors_of_row(row: int, steps: list[tuple[int, TileStep]]) -> list[float]:
    """alpha of this row in each key tile that it sees."""
    met = [step for _, step in steps if step.phase == "maximum" and step.rows[0] <= row < step.rows[1]]
    return [step.alpha[row - step.rows[0]].item() for step in met]


def _errors(steps: list[tuple[int, TileStep]], exact: Tensor) -> list[float]:
    """For each step max |O / l - exact| over its query tile, after the last tile that was added."""
    errors: list[float] = []
    current, error = -1, 0.0
    for _, step in steps:
        target = exact[slice(*step.rows)]
        if step.query_tile != current:
            current = step.query_tile
            error = target.abs().max().item()
        if step.phase == "accumulate":
            error = (
                (step.accumulator / step.l.masked_fill(step.l == 0, 1)[:, None] - target).abs().max().item()
            )
        if step.phase == "finish":
            error = (step.accumulator - target).abs().max().item()
        errors.append(error)
    return errors
