"""The backward pass of tiled attention: only O and the log-sum-exp were kept, P is computed again tile by tile.

Source: FlashAttention-2 (Dao 2023), Algorithm 2 and section 3.1, in two separate passes, as in the Triton kernel:
first each key tile adds up its own dK and dV, then each query tile its own dQ. So every gradient tile has one
owner, and no two workers ever add to the same memory.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Literal, Unpack

import torch
from torch import Tensor

from explainers.contract.breaks import Break, break_field
from explainers.contract.experiment import experiment, watch
from explainers.contract.messages import Message
from explainers.contract.params import Adjustment, Params, number, switch
from explainers.contract.result import Check, Checked
from explainers.flash_attention import blocks
from explainers.flash_attention.mask import key_tiles_visited, query_tiles_visited, visible
from explainers.flash_attention.standard import Definition, masked_scores, standard_attention
from explainers.flash_attention.tiled import Tiling, tile_ranges

TOLERANCE = 1e-5
MOST_TILES = 256  # each is computed twice and shown in seven steps, with three gradients

BREAKS = (
    Break(
        name="no_lse",
        label="keep the maximum in place of the log-sum-exp",
        consequence=(
            "With the row's maximum in place of its log-sum-exp the recomputed P is never divided by the "
            "denominator: each row sums to l in place of 1, and all three gradients are too large."
        ),
        settings={"seq_len": 64},
    ),
    Break(
        name="no_delta",
        label="forget D",
        consequence=(
            "A softmax row sums to 1, so raising one weight lowers the others. D is that pull; without it dS, "
            "and with it dQ and dK, are those of independent weights."
        ),
        settings={"seq_len": 64},
    ),
)


# --------------------------------------------------------------------------------------------- the algorithm


@dataclass(frozen=True, eq=False)
class BackwardStep:
    """The contents of fast memory after one operation of the backward pass.

    phase: "delta" (D of all rows); in the pass of dK and dV, which a key tile owns: "recompute" (P again), "dV", "dS",
        "dK", and "write" once a key tile; in the pass of dQ, which a query tile owns: "recompute", "dS", "dQ", "write".
    owner: "query" or "key", the tile that adds up its gradients; "" at "delta".
    query_tile, key_tile: -1 where there is none.
    rows, columns: (start, stop) of the tile. P, dS: (bq, bk). dQ: (bq, D); dK, dV: (bk, D), running sums of the owner.
        None: not known yet, or not part of this pass.
    """

    phase: str
    owner: str
    query_tile: int
    key_tile: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    P: Tensor | None = None
    dS: Tensor | None = None
    dQ: Tensor | None = None
    dK: Tensor | None = None
    dV: Tensor | None = None


def tiled_backward(
    q: Tensor, k: Tensor, v: Tensor, output: Tensor, lse: Tensor, d_output: Tensor, tiling: Tiling
) -> Generator[BackwardStep, None, tuple[Tensor, Tensor, Tensor]]:
    """Gradients of attention by tiles, watched. Returns dQ (Nq, D), dK (Nk, D) and dV (Nk, Dv).

    q (Nq, D), k (Nk, D), v (Nk, Dv), output and d_output (Nq, Dv), lse (Nq,): -inf for a row without keys.
    Yields a BackwardStep after every operation, whose values are never overwritten later.
    """
    bounds, scale, offset = tiling.bounds, tiling.scale, len(k) - len(q)
    query_tiles, key_tiles = tile_ranges(len(q), tiling.block_q), tile_ranges(len(k), tiling.block_k)
    d_q, d_k, d_v = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)

    # D = rowsum(dO o O)
    delta = torch.zeros_like(lse) if tiling.break_it == "no_delta" else (d_output * output).sum(dim=1)
    yield BackwardStep("delta", "", -1, -1, (0, len(q)), (0, 0))

    for j, columns in enumerate(key_tiles):
        K, V = k[slice(*columns)], v[slice(*columns)]
        dK, dV = torch.zeros_like(K), torch.zeros_like(V)
        for i in query_tiles_visited(columns, len(q), tiling.block_q, offset, bounds):
            rows, tile = query_tiles[i], ("key", i, j, query_tiles[i], columns)
            Q, dO = q[slice(*rows)], d_output[slice(*rows)]
            # P = exp(scale Q K^T - lse)
            P, slope = _probabilities(Q, K, lse, rows, columns, offset, tiling)
            yield BackwardStep("recompute", *tile, P, None, None, dK, dV)

            # dV = dV + P^T dO
            dV = dV + P.T @ dO
            yield BackwardStep("dV", *tile, P, None, None, dK, dV)

            # dP = dO V^T,  dS = P o (dP - D), times the slope of a cap
            dS = slope * P * (dO @ V.T - delta[slice(*rows), None])
            yield BackwardStep("dS", *tile, P, dS, None, dK, dV)

            # dK = dK + scale dS^T Q
            dK = dK + scale * dS.T @ Q
            yield BackwardStep("dK", *tile, P, dS, None, dK, dV)
        d_k[slice(*columns)], d_v[slice(*columns)] = dK, dV
        yield BackwardStep("write", "key", -1, j, (0, 0), columns, dK=dK, dV=dV)

    for i, rows in enumerate(query_tiles):
        Q, dO = q[slice(*rows)], d_output[slice(*rows)]
        dQ = torch.zeros_like(Q)
        for j in key_tiles_visited(rows, len(k), tiling.block_k, offset, bounds):
            columns, tile = key_tiles[j], ("query", i, j, rows, key_tiles[j])
            K, V = k[slice(*columns)], v[slice(*columns)]
            # P = exp(scale Q K^T - lse), a second time
            P, slope = _probabilities(Q, K, lse, rows, columns, offset, tiling)
            yield BackwardStep("recompute", *tile, P, None, dQ)

            # dP = dO V^T,  dS = P o (dP - D), times the slope of a cap
            dS = slope * P * (dO @ V.T - delta[slice(*rows), None])
            yield BackwardStep("dS", *tile, P, dS, dQ)

            # dQ = dQ + scale dS K
            dQ = dQ + scale * dS @ K
            yield BackwardStep("dQ", *tile, P, dS, dQ)
        d_q[slice(*rows)] = dQ
        yield BackwardStep("write", "query", i, -1, rows, (0, 0), dQ=dQ)
    return d_q, d_k, d_v


def _probabilities(
    Q: Tensor,
    K: Tensor,
    lse: Tensor,
    rows: tuple[int, int],
    columns: tuple[int, int],
    offset: int,
    tiling: Tiling,
) -> tuple[Tensor, Tensor | float]:
    """P (bq, bk) = exp(S - lse), 0 where masked, and the slope of the cap at each score, 1 without a cap.

    lse: of all rows. S = scale Q K^T or, capped, c tanh(scale Q K^T / c), whose slope is 1 - tanh^2.
    """
    S, slope = tiling.scale * Q @ K.T, 1.0
    if tiling.softcap:
        capped = torch.tanh(S / tiling.softcap)
        S, slope = tiling.softcap * capped, 1 - capped**2
    P = torch.exp(S - lse[slice(*rows), None])
    return P.masked_fill(~visible(rows, columns, offset, tiling.bounds), 0), slope


# -------------------------------------------------------------------------------------------- the experiment


class BackwardParams(Params):
    seq_len: int = number(
        64,
        "Sequence length",
        "Queries and keys, in tokens",
        least=8,
        most=256,
        comfort=(16, 128),
        step=8,
        unit="tokens",
    )
    head_dim: int = number(
        32,
        "Head dimension",
        "Numbers in one query, key or value",
        least=8,
        most=256,
        options=(16, 32, 64, 128),
    )
    block_q: int = number(
        16, "Query block", "Rows of a tile", least=4, most=256, options=(8, 16, 32, 64), unit="rows"
    )
    block_k: int = number(
        16, "Key block", "Columns of a tile", least=4, most=256, options=(8, 16, 32, 64), unit="columns"
    )
    causal: bool = switch(True, "Causal", "A query sees keys up to its own position only")
    seed: int = number(0, "Seed", "Draws Q, K, V and dO", least=0, most=2**31 - 1, comfort=(0, 99), step=1)
    break_it: Literal["none", "no_lse", "no_delta"] = break_field(BREAKS)

    @property
    def scale(self) -> float:
        """What multiplies Q K^T."""
        return 1 / math.sqrt(self.head_dim)

    def adjustments(self) -> Iterator[Adjustment]:
        yield from blocks.at_most(MOST_TILES, self, self.seq_len, self.seq_len)
        yield from blocks.within_sequence(self, self.seq_len, self.seq_len)


@dataclass(frozen=True, eq=False)
class BackwardResult(Checked):
    """Tiled gradients, compared with autograd in float64.

    saved_bytes: O and the log-sum-exp, kept between forward and backward; standard_saved_bytes: P, which autograd
    keeps in their place. Both keep Q, K and V besides.
    """

    max_abs_error_dq: float
    max_abs_error_dk: float
    max_abs_error_dv: float
    tolerance: float
    saved_bytes: int
    standard_saved_bytes: int
    tiles_total: int
    tiles_recomputed: int
    checks: tuple[Check, ...]
    params: BackwardParams = field(metadata={"shell": False})
    steps: list[tuple[int, BackwardStep]] = field(metadata={"shell": False})  # (source line, step)


@experiment("flash_attention.backward", breaks=BREAKS)
def backward(params: BackwardParams) -> BackwardResult:
    """Gradients of attention from O and the log-sum-exp alone, every tile watched, compared with autograd."""
    generator = torch.Generator().manual_seed(params.seed)
    size = (4, params.seq_len, params.head_dim)
    q, k, v, d_output = torch.randn(size, generator=generator).unbind()
    definition: Definition = {"causal": params.causal, "scale": params.scale}
    output, lse = standard_attention(q, k, v, **definition)
    if params.break_it == "no_lse":
        lse = masked_scores(q, k, **definition).amax(dim=1)
    tiling = Tiling(params.block_q, params.block_k, **definition, break_it=params.break_it)
    steps, gradients = watch(tiled_backward(q, k, v, output, lse, d_output, tiling))
    exact = exact_gradients(q, k, v, d_output, **definition)
    errors = [(tiled - right).abs().max().item() for tiled, right in zip(gradients, exact, strict=True)]
    reference = Message("autograd of standard attention in float64")
    return BackwardResult(
        max_abs_error_dq=errors[0],
        max_abs_error_dk=errors[1],
        max_abs_error_dv=errors[2],
        tolerance=TOLERANCE,
        saved_bytes=(output.numel() + lse.numel()) * q.element_size(),
        standard_saved_bytes=params.seq_len**2 * q.element_size(),
        tiles_total=math.ceil(params.seq_len / params.block_q) * math.ceil(params.seq_len / params.block_k),
        tiles_recomputed=sum(step.phase == "recompute" for _, step in steps),
        checks=tuple(
            Check(Message("{name} equals the exact gradient", name=name), error, TOLERANCE, reference)
            for name, error in zip(("dQ", "dK", "dV"), errors, strict=True)
        ),
        params=params,
        steps=steps,
    )


def exact_gradients(
    q: Tensor, k: Tensor, v: Tensor, d_output: Tensor, **definition: Unpack[Definition]
) -> tuple[Tensor, Tensor, Tensor]:
    """dQ, dK and dV in float64: autograd through the definition."""
    leaves = [part.double().requires_grad_() for part in (q, k, v)]
    output, _ = standard_attention(*leaves, **definition)
    return torch.autograd.grad(output, leaves, d_output.double())  # type: ignore[return-value]
