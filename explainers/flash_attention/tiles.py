"""Tiled attention: the output of standard attention, one tile of scores at a time.

The loops stand in FlashAttention-2's order: each query tile stays in fast memory while the key tiles pass by.
Source: FlashAttention-2 (Dao 2023), Algorithm 1. Its running state a row: the maximum m, the denominator l
and the accumulator O, which is divided by l only at the end.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from explainers.experiment import Adjustment, Check, Params, choice, experiment, number, switch, watch
from explainers.flash_attention.standard import masked_scores, standard_attention, visible
from explainers.flash_attention.traffic import standard_traffic

if TYPE_CHECKING:
    from kernels.flash_attention import TileTrace

SENTINEL = -1e6
BreakIt = Literal["none", "no_rescale", "no_max", "finite_sentinel", "top_left", "fp16_accumulator"]

# For each break, the settings under which it bites.
BITES: dict[str, dict[str, Any]] = {
    "no_rescale": {"seq_len": 64, "kv_len": 0, "block_k": 16},
    "no_max": {"seq_len": 64, "kv_len": 0, "outlier": 100.0},
    "finite_sentinel": {"seq_len": 64, "kv_len": 32, "causal": True},
    "top_left": {"seq_len": 64, "kv_len": 96, "causal": True},
    "fp16_accumulator": {"seq_len": 64, "kv_len": 0},
}

# For each break, what is lost without the part that it removes.
LOST: dict[str, str] = {
    "no_rescale": "What was summed under an old maximum was never brought to the new one, so early keys weigh "
    "too much, and O is no longer the mean that softmax would give.",
    "no_max": "Without subtracting the running maximum, exp of a score above 88.7 overflows fp32: "
    "inf divided by inf is NaN, and the whole row is lost.",
    "finite_sentinel": "A row that may see no key should give 0; with -1e6 in place of -inf all its masked keys "
    "tie for the maximum, and it silently becomes a plain mean of V.",
    "top_left": "The mask is aligned to the first key in place of the last: the queries, which are the newest "
    "tokens, no longer see exactly the keys up to their own position.",
    "fp16_accumulator": "fp16 keeps 11 significant bits, so every update of O and l is rounded to about 1 part in "
    "2000, and the error stays far above what fp32 reaches.",
}


# --------------------------------------------------------------------------------------------- the algorithm


@dataclass(frozen=True, eq=False)
class TileStep:
    """What fast memory holds at one moment of tiled attention.

    phase: "scores" (S computed and masked), "maximum" (m and alpha known), "weights" (P and l known),
        "rescale" (O times alpha), "accumulate" (P V added), and once a query tile "finish" (O / l, lse written).
    query_tile, key_tile: the tile's place in the grid; rows, columns: its (start, stop) in Q and in K.
        At "finish" the tile is the whole row of tiles: key_tile is -1, columns (0, 0), scores (bq, 0).
    scores: S (bq, bk), -inf where masked. m_before, l_before: (bq,) before this tile; m, l, alpha: (bq,) now.
    accumulator: O (bq, D), not yet divided by l; at "finish" the output itself.
    bytes_read, bytes_written: from and to slow memory, since the start.
    """

    phase: str
    query_tile: int
    key_tile: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    scores: Tensor
    m_before: Tensor
    l_before: Tensor
    m: Tensor
    l: Tensor
    alpha: Tensor
    accumulator: Tensor
    bytes_read: int
    bytes_written: int

    @property
    def weights(self) -> Tensor:
        """P (bq, bk), the scores' exponentials under the current maximum; 0 where masked."""
        return _weights(self.scores, self.m)

    @property
    def lse(self) -> Tensor:
        """The log-sum-exp (bq,) of the scores seen so far; -inf where there were none."""
        return self.m + torch.log(self.l)


class SlowMemory:
    """Counts the bytes that the loops load from and store to slow memory (a GPU's HBM)."""

    def __init__(self) -> None:
        self.bytes_read = 0
        self.bytes_written = 0

    def load(self, tile: Tensor) -> Tensor:
        self.bytes_read += tile.numel() * tile.element_size()
        return tile

    def store(self, matrix: Tensor, rows: tuple[int, int], tile: Tensor) -> None:
        matrix[slice(*rows)] = tile
        self.bytes_written += tile.numel() * matrix.element_size()


def tile_ranges(length: int, block: int) -> list[tuple[int, int]]:
    """The (start, stop) of each tile of `block` in `length`; the last may be shorter."""
    return [(start, min(start + block, length)) for start in range(0, length, block)]


def key_tiles_visited(rows: tuple[int, int], n_k: int, block_k: int, *, causal: bool, offset: int) -> int:
    """How many key tiles a query tile of these rows must visit: up to the last key that its last row sees."""
    last_row = rows[1] - 1
    keys = min(max(last_row + 1 + offset, 0), n_k) if causal else n_k
    return math.ceil(keys / block_k)


def tiled_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    block_q: int,
    block_k: int,
    causal: bool,
    scale: float,
    break_it: str = "none",
) -> Generator[TileStep, None, tuple[Tensor, Tensor]]:
    """Exact attention by tiles, watched. q (Nq, D), k and v (Nk, D); the last tile of each may be partial.

    Yields a TileStep at every moment worth looking at and returns O (Nq, D) and lse (Nq,). The values of a
    step are never overwritten later. Causal masks align bottom-right. A row that has seen no key yet
    has m = -inf, l = 0, alpha = 1; at its first key alpha = 0. break_it removes one part (see LOST).
    """
    n_q, n_k = len(q), len(k)
    offset = 0 if break_it == "top_left" else n_k - n_q
    masked = SENTINEL if break_it == "finite_sentinel" else -math.inf
    kept = torch.float16 if break_it == "fp16_accumulator" else q.dtype
    hbm, output, logsumexp = SlowMemory(), torch.empty_like(q), q.new_empty(n_q)
    key_tiles = tile_ranges(n_k, block_k)

    for i, rows in enumerate(tile_ranges(n_q, block_q)):
        Q = hbm.load(q[slice(*rows)])
        # m = -inf, l = 0, O = 0
        m = Q.new_full((len(Q),), masked)
        l, O, alpha = Q.new_zeros(len(Q)), torch.zeros_like(Q), Q.new_ones(len(Q))

        visited = key_tiles_visited(rows, n_k, block_k, causal=causal, offset=offset)
        for j, columns in enumerate(key_tiles[: max(visited, break_it == "finite_sentinel")]):
            K, V = hbm.load(k[slice(*columns)]), hbm.load(v[slice(*columns)])
            tile, before = (i, j, rows, columns), (m, l)

            # S = scale Q K^T, masked
            S = scale * Q @ K.T
            S = S.masked_fill(~visible(rows, columns, offset), masked) if causal else S
            yield _step("scores", tile, S, before, (m, l, alpha, O), hbm)

            # m_new = max(m, rowmax(S)),  alpha = exp(m - m_new)
            m_new = torch.zeros_like(m) if break_it == "no_max" else torch.maximum(m, S.amax(dim=1))
            alpha = _rescale_factor(m, m if break_it == "no_rescale" else m_new)
            m = m_new
            yield _step("maximum", tile, S, before, (m, l, alpha, O), hbm)

            # P = exp(S - m),  l = alpha l + rowsum(P)
            P = _weights(S, m)
            l = (alpha * l + P.sum(dim=1)).to(kept)
            yield _step("weights", tile, S, before, (m, l, alpha, O), hbm)

            # O = alpha O
            O = (alpha[:, None] * O).to(kept)
            yield _step("rescale", tile, S, before, (m, l, alpha, O), hbm)

            # O = O + P V
            O = (O + P @ V).to(kept)
            yield _step("accumulate", tile, S, before, (m, l, alpha, O), hbm)

        # O = O / l,  lse = m + log l;  a row that saw nothing has l = 0 and stays 0
        O = O.to(q.dtype) / l.to(q.dtype).masked_fill(l == 0, 1)[:, None]
        hbm.store(output, rows, O)
        hbm.store(logsumexp, rows, m + torch.log(l.to(q.dtype)))
        yield _step("finish", (i, -1, rows, (0, 0)), Q.new_empty(len(Q), 0), (m, l), (m, l, alpha, O), hbm)

    return output, logsumexp


def _rescale_factor(m: Tensor, m_new: Tensor) -> Tensor:
    """alpha = exp(m - m_new), which is 1 where the maximum stayed, also where it stayed at -inf."""
    return torch.where(m == m_new, 1.0, torch.exp(m - m_new))


def _weights(S: Tensor, m: Tensor) -> Tensor:
    """P = exp(S - m), and 0 where S is -inf, also in a row whose maximum is still -inf."""
    return torch.exp(S - m[:, None]).masked_fill(S.isneginf(), 0)


Tile = tuple[int, int, tuple[int, int], tuple[int, int]]


def _step(
    phase: str,
    tile: Tile,
    S: Tensor,
    before: tuple[Tensor, Tensor],
    state: tuple[Tensor, ...],
    hbm: SlowMemory,
) -> TileStep:
    """The moment as data. The loop makes new tensors and overwrites none, so nothing needs copying."""
    m_before, l_before, m, l, alpha, O = (part.to(S.dtype) for part in (*before, *state))
    return TileStep(phase, *tile, S, m_before, l_before, m, l, alpha, O, hbm.bytes_read, hbm.bytes_written)


# -------------------------------------------------------------------------------------------- the experiment


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
        "The query whose numbers are told step by step",
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
    break_it: BreakIt = choice(
        "none",
        "Break it",
        "Removes one necessary part",
        {
            "none": "nothing",
            "no_rescale": "skip the rescale",
            "no_max": "skip the maximum",
            "finite_sentinel": "-1e6 in place of -inf",
            "top_left": "align the mask top-left",
            "fp16_accumulator": "accumulate in fp16",
        },
    )

    @property
    def keys(self) -> int:
        """The number of keys, with 0 resolved."""
        return self.kv_len or self.seq_len

    @property
    def followed_row(self) -> int:
        """The row that is told; the last one where the sequence is shorter."""
        return min(self.row, self.seq_len - 1)

    @property
    def scale(self) -> float:
        """What multiplies Q K^T."""
        return self.score_scale / math.sqrt(self.head_dim)

    @property
    def needs_button(self) -> bool:
        """Whether the run is too long to start by itself: the interpreted kernel beyond 128 tokens."""
        return self.backend == "triton" and max(self.seq_len, self.keys) > 128

    def adjustments(self) -> Iterator[Adjustment]:
        if self.backend == "triton":
            yield from self._kernel_rules()
            return
        if self.block_q > self.seq_len:
            sentence = f"block_q = {self.block_q} is longer than the sequence; allowed: 4 to {self.seq_len}."
            yield Adjustment("block_q", self.seq_len, sentence)
        if self.block_k > max(self.keys, 4):
            sentence = f"block_k = {self.block_k} is longer than the keys; allowed: 4 to {max(self.keys, 4)}."
            yield Adjustment("block_k", max(self.keys, 4), sentence)

    def _kernel_rules(self) -> Iterator[Adjustment]:
        if self.head_dim < 16:
            sentence = f"head_dim = {self.head_dim} is too small for the Triton kernel; allowed: 16 to 256."
            yield Adjustment("head_dim", 16, sentence)
        for name, block, length in (
            ("block_q", self.block_q, self.seq_len),
            ("block_k", self.block_k, self.keys),
        ):
            # tl.dot needs 16; a block may stand out over a shorter sequence
            most = _power_of_two_up_to(min(128, max(16, length)))
            if block not in (16, 32, 64, 128) or block > most:
                sizes = ", ".join(str(size) for size in (16, 32, 64, 128) if size <= most)
                sentence = f"{name} = {block} does not fit the Triton kernel; allowed: {sizes}."
                yield Adjustment(name, max(16, _power_of_two_up_to(min(block, most))), sentence)


def _power_of_two_up_to(number: int) -> int:
    return 1 << (number.bit_length() - 1)


@dataclass(frozen=True, eq=False)
class TilesResult:
    """Tiled attention held against float64. Sizes in bytes; output (Nq, D), lse (Nq,).

    row_tiles: key tiles that the followed row meets; row_rescales: how many of them, the first not counted, raise
    its maximum, so that what it gathered is shrunk.
    """

    backend: str
    tiles_total: int
    tiles_visited: int
    max_abs_error: float
    tolerance: float
    bytes_read: int
    bytes_written: int
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
    error_so_far: list[float] = field(
        metadata={"shell": False}
    )  # a step: the largest error in its query tile
    visited: Tensor = field(metadata={"shell": False})  # (query tiles, key tiles) of bool

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


@experiment("flash_attention.tiles", view="explainers.flash_attention.views.tiles:tiles_scene")
def tiles(params: TilesParams) -> TilesResult:
    """Attention computed tile by tile, every tile watched and the output held against float64.

    Raises RuntimeError when the backend is triton and Triton is not installed.
    """
    q, k, v = draw(params)
    run = _run_triton if params.backend == "triton" else _run_torch
    steps, output, lse = run(params, q, k, v)
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
        standard_bytes=standard.total * q.element_size(),
        row_tiles=len(factors),
        row_rescales=sum(factor < 1 for factor in factors[1:]),
        checks=(Check("equals exact attention", error, tolerance, "standard attention in float64"),),
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


def draw(params: TilesParams) -> tuple[Tensor, Tensor, Tensor]:
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
    itself is allowed. The rule looks at the data alone, never at the run.
    """
    gate = 2e-6 if params.head_dim <= 128 else 5e-6
    if params.score_scale <= 1 and params.outlier == 0:
        return gate
    delta = 2**-24 * params.scale * (q.abs() @ k.abs().T).max().item()
    return max(gate, 2 * delta * v.abs().max().item())


def _run_torch(
    params: TilesParams, q: Tensor, k: Tensor, v: Tensor
) -> tuple[list[tuple[int, TileStep]], Tensor, Tensor]:
    steps, (output, lse) = watch(tiled_attention(q, k, v, **_how(params)))
    return steps, output, lse


def _how(params: TilesParams) -> dict[str, Any]:
    return params.model_dump(include={"block_q", "block_k", "causal", "break_it"}) | {"scale": params.scale}


def _visited(params: TilesParams, steps: list[tuple[int, TileStep]]) -> Tensor:
    grid = math.ceil(params.seq_len / params.block_q), math.ceil(params.keys / params.block_k)
    visited = torch.zeros(grid, dtype=torch.bool)
    for _, step in steps:
        if step.phase == "scores":
            visited[step.query_tile, step.key_tile] = True
    return visited


def _factors_of_row(row: int, steps: list[tuple[int, TileStep]]) -> list[float]:
    """alpha of this row in each key tile that it meets."""
    met = [step for _, step in steps if step.phase == "maximum" and step.rows[0] <= row < step.rows[1]]
    return [step.alpha[row - step.rows[0]].item() for step in met]


def _errors(steps: list[tuple[int, TileStep]], exact: Tensor) -> list[float]:
    """A step: max |O / l - exact| over its query tile, after the last tile that was added."""
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


# ----------------------------------------------------------------------------------------- the kernel's trace


def _run_triton(
    params: TilesParams, q: Tensor, k: Tensor, v: Tensor
) -> tuple[list[tuple[int, TileStep]], Tensor, Tensor]:
    from kernels.flash_attention import flash_attention_trace, step_lines

    trace = flash_attention_trace(q, k, v, **_how(params))
    return list(_trace_steps(params, trace, step_lines(), q, k, v)), trace.output, trace.lse


def _trace_steps(
    params: TilesParams, trace: TileTrace, lines: dict[str, int], q: Tensor, k: Tensor, v: Tensor
) -> Iterator[tuple[int, TileStep]]:
    """The kernel's trace as the steps of the readable loop, each with its line in the kernel's source.

    m, l, alpha and the accumulator were written by the kernel. It keeps no scores: S is computed here again.
    """
    hbm, output, logsumexp = SlowMemory(), torch.empty_like(q), q.new_empty(len(q))
    S, start = _trace_scores(params, q, k)
    key_tiles = tile_ranges(len(k), params.block_k)
    for i, rows in enumerate(tile_ranges(len(q), params.block_q)):
        size = rows[1] - rows[0]
        hbm.load(q[slice(*rows)])
        m, l, alpha = q.new_full((size,), start), q.new_zeros(size), q.new_ones(size)
        O = q.new_zeros(size, q.shape[1])
        for j in trace.visited[i].nonzero().flatten().tolist():
            columns = key_tiles[j]
            hbm.load(k[slice(*columns)])
            hbm.load(v[slice(*columns)])
            tile, S_tile, before = (i, j, rows, columns), S[slice(*rows), slice(*columns)], (m, l)
            yield lines["scores"], _step("scores", tile, S_tile, before, (m, l, alpha, O), hbm)
            m, alpha = trace.m[i, j, :size], trace.alpha[i, j, :size]
            yield lines["maximum"], _step("maximum", tile, S_tile, before, (m, l, alpha, O), hbm)
            l = trace.l[i, j, :size]
            yield lines["weights"], _step("weights", tile, S_tile, before, (m, l, alpha, O), hbm)
            O = alpha[:, None] * O
            yield lines["rescale"], _step("rescale", tile, S_tile, before, (m, l, alpha, O), hbm)
            O = trace.accumulator[i, j, :size]
            yield lines["accumulate"], _step("accumulate", tile, S_tile, before, (m, l, alpha, O), hbm)
        O = trace.output[slice(*rows)]
        hbm.store(output, rows, O)
        hbm.store(logsumexp, rows, trace.lse[slice(*rows)])
        tile, no_scores = (i, -1, rows, (0, 0)), q.new_empty(size, 0)
        yield lines["finish"], _step("finish", tile, no_scores, (m, l), (m, l, alpha, O), hbm)


def _trace_scores(params: TilesParams, q: Tensor, k: Tensor) -> tuple[Tensor, float]:
    """S (Nq, Nk) as the kernel masks it under break_it, and the value its maximum starts from."""
    masked = SENTINEL if params.break_it == "finite_sentinel" else -math.inf
    offset = 0 if params.break_it == "top_left" else len(k) - len(q)
    S = params.scale * q @ k.T
    if params.causal:
        S = S.masked_fill(~visible((0, len(q)), (0, len(k)), offset), masked)
    return S, masked


def compare_traces(
    torch_steps: list[tuple[int, TileStep]], trace: TileTrace, break_it: str = "none"
) -> Check:
    """Holds m, l, alpha and the accumulator of every tile of the readable loop against the kernel's.

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
    return Check(
        "Triton and PyTorch agree", error, tolerance, f"{len(after_tile)} tiles: m, l, alpha, O of each"
    )


def _difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest |ours - theirs|, relative above 1; 0 for values that overflowed on both sides."""
    gap = (ours - theirs).abs() / ours.abs().clamp(min=1)
    same = (ours == theirs) | ~(ours.isfinite() | theirs.isfinite())
    return gap.masked_fill(same, 0).nan_to_num(math.inf).max().item()
