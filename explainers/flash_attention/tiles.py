"""The experiment `flash_attention.tiles`: tiled attention, watched, and compared with float64 and the kernel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from explainers.contract.breaks import Break, break_field
from explainers.contract.experiment import experiment, watch
from explainers.contract.messages import Message, joined
from explainers.contract.params import Adjustment, Params, choice, number, switch
from explainers.contract.result import Check, Checked
from explainers.flash_attention import blocks
from explainers.flash_attention.kernel_trace import compare_traces, run_kernel
from explainers.flash_attention.moves import standard_traffic
from explainers.flash_attention.standard import masked_scores, standard_attention
from explainers.flash_attention.tiled import TileStep, Tiling, tiled_attention

MOST_TILES = 1024  # about a second of readable torch
BreakIt = Literal["none", "no_rescale", "no_max", "finite_sentinel", "top_left", "fp16_accumulator"]

BREAKS = (
    Break(
        name="no_rescale",
        label="skip the rescale",
        consequence=(
            "What was summed under an old maximum was never brought to the new one, so early keys weigh too "
            "much, and O is no longer the mean that softmax would give."
        ),
        settings={"seq_len": 64, "kv_len": 0, "block_k": 16},
    ),
    Break(
        name="no_max",
        label="skip the maximum",
        consequence=(
            "Without subtracting the running maximum, exp of a score above 88.7 overflows fp32: inf divided by "
            "inf is NaN, and the whole row is lost."
        ),
        settings={"seq_len": 64, "kv_len": 0, "outlier": 100.0},
    ),
    Break(
        name="finite_sentinel",
        label="-1e6 in place of -inf",
        consequence=(
            "A row that may see no key should give 0; with -1e6 in place of -inf all its masked keys tie for "
            "the maximum, and it silently becomes a plain mean of V."
        ),
        settings={"seq_len": 64, "kv_len": 32, "causal": True},
    ),
    Break(
        name="top_left",
        label="align the mask top-left",
        consequence=(
            "The mask is aligned to the first key in place of the last: the queries, which are the newest "
            "tokens, no longer see exactly the keys up to their own position."
        ),
        settings={"seq_len": 64, "kv_len": 96, "causal": True},
    ),
    Break(
        name="fp16_accumulator",
        label="accumulate in fp16",
        consequence=(
            "fp16 keeps 11 significant bits, so every update of O and l is rounded to about 1 part in 2000, and"
            " the error stays far above what fp32 reaches."
        ),
        settings={"seq_len": 64, "kv_len": 0},
    ),
)


class TilesParams(Params):
    seq_len: int = number(
        64,
        "Sequence length",
        "Number of queries, in tokens",
        least=8,
        most=256,
        comfort=(16, 128),
        step=8,
        unit="tokens",
    )
    kv_len: int = number(
        0,
        "Keys",
        "Number of keys, in tokens; 0: as many as queries",
        least=0,
        most=256,
        comfort=(0, 128),
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
    causal: bool = switch(
        True, "Causal", "A query sees keys up to its own position only, aligned to the last key"
    )
    score_scale: float = number(
        1.0,
        "Score scale",
        "Multiplies 1/sqrt(d); larger makes the softmax sharper",
        least=0.1,
        most=8,
        comfort=(0.5, 4),
        step=0.5,
    )
    outlier: float = number(
        0.0,
        "Outlier",
        "Added to every score of one key, three quarters along",
        least=0,
        most=200,
        comfort=(0, 120),
        step=5,
    )
    seed: int = number(0, "Seed", "Draws Q, K and V", least=0, most=2**31 - 1, comfort=(0, 99), step=1)
    row: int = number(
        55,
        "Followed row",
        "The query whose numbers are shown step by step",
        least=0,
        most=255,
        comfort=(0, 127),
        step=1,
    )
    backend: Literal["torch", "triton"] = choice(
        "torch",
        "Computed by",
        "torch: the readable loop; triton: the kernel",
        {"torch": "PyTorch", "triton": "Triton kernel"},
    )
    break_it: BreakIt = break_field(BREAKS)

    @property
    def keys(self) -> int:
        """The number of keys, with 0 resolved."""
        return self.kv_len or self.seq_len

    @property
    def followed_row(self) -> int:
        """The row whose numbers are shown; the last row where the sequence is shorter."""
        return min(self.row, self.seq_len - 1)

    @property
    def scale(self) -> float:
        """What multiplies Q K^T."""
        return self.score_scale / math.sqrt(self.head_dim)

    @property
    def needs_button(self) -> bool:
        """Whether it takes too long to start without a button: the interpreted kernel beyond 128 tokens."""
        return self.backend == "triton" and max(self.seq_len, self.keys) > 128

    @property
    def why_button(self) -> str:
        return Message(
            "The Triton kernel is interpreted; beyond 128 tokens that takes seconds, so it starts by a button."
        )

    @property
    def kernel_can_follow(self) -> bool:
        """Whether the kernel, interpreted, can compute the same tiles at once, for comparison."""
        asked = self.model_copy(update={"backend": "triton"})
        return next(asked.adjustments(), None) is None and not asked.needs_button

    def adjustments(self) -> Iterator[Adjustment]:
        yield from blocks.at_most(MOST_TILES, self, self.seq_len, self.keys)
        if self.backend == "triton":
            yield from self._kernel_rules()
        else:
            yield from blocks.within_sequence(self, self.seq_len, self.keys)

    def _kernel_rules(self) -> Iterator[Adjustment]:
        if self.head_dim < 16:
            sentence = Message(
                "head_dim = {head_dim} is too small for the Triton kernel; allowed: 16 to 256.",
                head_dim=self.head_dim,
            )
            yield Adjustment("head_dim", 16, sentence)
        for name, block, length in (
            ("block_q", self.block_q, self.seq_len),
            ("block_k", self.block_k, self.keys),
        ):
            # tl.dot needs 16; a block may extend beyond a shorter sequence
            most = _power_of_two_up_to(min(128, max(16, length)))
            if block not in (16, 32, 64, 128) or block > most:
                sentence = Message(
                    "{name} = {block} does not fit the Triton kernel; allowed: {sizes}.",
                    name=name,
                    block=block,
                    sizes=joined([str(size) for size in (16, 32, 64, 128) if size <= most]),
                )
                yield Adjustment(name, max(16, _power_of_two_up_to(min(block, most))), sentence)


def _power_of_two_up_to(number: int) -> int:
    return 1 << (number.bit_length() - 1)


@dataclass(frozen=True, eq=False)
class TilesResult(Checked):
    """Tiled attention, compared with float64. Sizes in bytes; output (Nq, D), lse (Nq,).

    row_tiles: key tiles that the followed row visits; row_rescales: how many of them, the first not counted, raise
    its maximum, so that its sums are rescaled.
    """

    backend: str
    tiles_total: int
    tiles_visited: int
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
    compute = _run_kernel if params.backend == "triton" else _run_torch
    steps, output, lse = compute(params, q, k, v)
    in_double = [part.double() for part in (q, k, v)]
    exact, _ = standard_attention(*in_double, causal=params.causal, scale=params.scale)
    scores = masked_scores(in_double[0], in_double[1], causal=params.causal, scale=params.scale)
    error = (output - exact).abs().max().item()
    tolerance = tolerance_for(params, q, k, v)
    visited = _visited(params, steps)
    standard = standard_traffic(params.seq_len, params.keys, params.head_dim)
    factors = _factors_of_row(params.followed_row, steps)
    return TilesResult(
        backend=params.backend,
        tiles_total=visited.numel(),
        tiles_visited=int(visited.sum()),
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
    from kernels.flash_attention import flash_attention_trace

    q, k, v = draw_qkv(params)
    steps, _, _ = _run_torch(params, q, k, v)
    return (compare_traces(steps, flash_attention_trace(q, k, v, **_tiling(params)), params.break_it),)


def _run_torch(
    params: TilesParams, q: Tensor, k: Tensor, v: Tensor
) -> tuple[list[tuple[int, TileStep]], Tensor, Tensor]:
    steps, (output, lse) = watch(tiled_attention(q, k, v, Tiling(**_tiling(params))))
    return steps, output, lse


def _run_kernel(
    params: TilesParams, q: Tensor, k: Tensor, v: Tensor
) -> tuple[list[tuple[int, TileStep]], Tensor, Tensor]:
    return run_kernel(q, k, v, **_tiling(params))


def _tiling(params: TilesParams) -> dict[str, Any]:
    return params.model_dump(include={"block_q", "block_k", "causal", "break_it"}) | {"scale": params.scale}


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
