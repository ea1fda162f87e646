"""The scene of the backward pass: P recomputed in both passes, and the gradient tiles with their owners."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from explainers.contract.messages import LiveMessage, Message
from explainers.drawing.formula import formula
from explainers.drawing.panels import Band, Matrix, Tiles
from explainers.drawing.scene import Column, Panel, Row, Scene, Track, Words, patches
from explainers.drawing.source_code import code_panel
from explainers.flash_attention.backward import BackwardResult, BackwardStep, tiled_backward

HEIGHT = 330

SYMBOLS = {
    "P": Message("P: the attention weights, computed again from S and the log-sum-exp, never stored"),
    "D": Message("D: one number a row, the sum of dO times O; the pull of the row's weights on each other"),
    "dS": Message("dS: gradient of the scores"),
    "dQ": Message("dQ: gradient of Q, owned by a query tile"),
    "dK": Message("dK: gradient of K, owned by a key tile"),
    "dV": Message("dV: gradient of V, owned by a key tile"),
    "dO": Message("dO: gradient of the output, given"),
}

# One step's numbers: the tile's place, the largest error of all gradients, and the bytes kept for the backward pass.
COLUMNS = ("query_tile", "key_tile", "error", "kept", "standard_kept")

MOMENTS: dict[tuple[str, str], tuple[LiveMessage, str]] = {
    ("", "delta"): (
        LiveMessage(
            "From the forward pass only O and one log-sum-exp a row were kept, {kept:bytes}; P would take "
            "{standard_kept:bytes}. First, **D**, one number a row."
        ),
        r"D_i = \sum_j dO_{ij} O_{ij}",
    ),
    ("key", "recompute"): (
        LiveMessage(
            "Key tile {key_tile:d} is the owner of dK{key_tile:d} and dV{key_tile:d}; query tile "
            "{query_tile:d} arrives. **P is computed again** from its scores and log-sum-exps."
        ),
        r"P = e^{S - \mathrm{lse}}",
    ),
    ("key", "dV"): (
        LiveMessage("Key tile {key_tile:d} adds what query tile {query_tile:d} gives to **dV{key_tile:d}**."),
        r"dV \leftarrow dV + P^T dO",
    ),
    ("key", "dS"): (
        LiveMessage("The gradient goes through the softmax: dP − D, weighted by P, is **dS**."),
        r"dS = P \circ (dO\, V^T - D)",
    ),
    ("key", "dK"): (
        LiveMessage("Key tile {key_tile:d} adds what query tile {query_tile:d} gives to **dK{key_tile:d}**."),
        r"dK \leftarrow dK + \mathrm{scale} \cdot dS^T Q",
    ),
    ("key", "write"): (
        LiveMessage(
            "**dK{key_tile:d} and dV{key_tile:d} are written, once.** No other tile ever adds to them."
        ),
        "",
    ),
    ("query", "recompute"): (
        LiveMessage(
            "Second pass: query tile {query_tile:d} is the owner of dQ{query_tile:d}; key tile {key_tile:d} "
            "arrives. **P is computed a second time**: arithmetic is cheaper than memory."
        ),
        r"P = e^{S - \mathrm{lse}}",
    ),
    ("query", "dS"): (LiveMessage("Again through the softmax: **dS**."), r"dS = P \circ (dO\, V^T - D)"),
    ("query", "dQ"): (
        LiveMessage(
            "Query tile {query_tile:d} adds what key tile {key_tile:d} gives to **dQ{query_tile:d}**."
        ),
        r"dQ \leftarrow dQ + \mathrm{scale} \cdot dS\, K",
    ),
    ("query", "write"): (
        LiveMessage(
            "**dQ{query_tile:d} is written, once.** Largest error of all three gradients in the end: "
            "{error:.1e}."
        ),
        "",
    ),
}
NAMES = tuple(MOMENTS)

# The words of a step that a break changes.
_NO_LSE = (
    LiveMessage(
        "**P is computed again, but from the row's maximum** in place of its log-sum-exp: its rows no "
        "longer sum to 1."
    ),
    r"P = e^{S - m} \neq e^{S - \mathrm{lse}}",
)
_NO_DELTA = (LiveMessage("The gradient goes through the softmax **without D**."), r"dS = P \circ dO\, V^T")
BROKEN = {
    "none": {},
    "no_lse": {("key", "recompute"): _NO_LSE, ("query", "recompute"): _NO_LSE},
    "no_delta": {("key", "dS"): _NO_DELTA, ("query", "dS"): _NO_DELTA},
}


def scene(result: BackwardResult) -> Scene:
    """The scene of both passes."""
    steps = [step for _, step in result.steps]
    lines = np.array([line for line, _ in result.steps])
    return Scene(
        name="flash_attention.backward",
        title="Flash attention, backward",
        steps=len(steps),
        columns=(
            Column(2.1, (Row((_grid(result, steps, "key"), _grid(result, steps, "query"))),)),
            Column(
                1,
                (
                    Row(
                        _gradients(result, steps),
                        title="Gradients, as their owners write them",
                        subtitle="rows: tokens, columns: dimensions",
                    ),
                ),
            ),
        ),
        words=_words(result, steps),
        stops=tuple(number for number, step in enumerate(steps) if step.phase == "write"),
        start=_start(steps),
        symbols=SYMBOLS,
        below=(Column(1, (code_panel(tiled_backward, lines),)),),
    )


def _start(steps: list[BackwardStep]) -> int:
    """The first step to show: halfway through the second pass, where a tile of P is computed a second time."""
    again = [
        number for number, step in enumerate(steps) if (step.owner, step.phase) == ("query", "recompute")
    ]
    return again[len(again) // 2]


def _grid(result: BackwardResult, steps: list[BackwardStep], owner: str) -> Panel:
    """One pass over the tiles of P, as recomputed in that pass."""
    n, block_q, block_k = result.params.seq_len, result.params.block_q, result.params.block_k
    P = np.full((n, n), np.nan, np.float32)
    visited_at = np.full((-(-n // block_q), -(-n // block_k)), -1)
    current = np.full((len(steps), 2), -1)
    for number, step in enumerate(steps):
        if step.owner != owner:
            continue
        current[number] = step.query_tile, step.key_tile
        if step.phase == "recompute" and step.P is not None:
            visited_at[step.query_tile, step.key_tile] = number
            P[slice(*step.rows), slice(*step.columns)] = np.where(step.P == 0, np.nan, step.P)
    titles = {
        "key": (Message("P, first pass: key tiles own dK, dV"), Message("down a column, one owner")),
        "query": (Message("P, second pass: query tiles own dQ"), Message("along a row, one owner")),
    }
    return Matrix(
        name=f"pass_{owner}",
        title=titles[owner][0],
        subtitle=titles[owner][1],
        height=HEIGHT,
        shape=(n, n),
        values=P,
        low=0.0,
        high=float(np.nanquantile(P, 0.99)),
        tiles=Tiles((block_q, block_k), visited_at, current),
        bands=(Band("left", "Q", "query"), Band("top", "K", "key")),
        reveal=True,
        row_name="query",
        column_name="key",
    )


def _gradients(result: BackwardResult, steps: list[BackwardStep]) -> tuple[Panel, ...]:
    return tuple(_gradient(result, steps, name) for name in ("dK", "dV", "dQ"))


def _gradient(result: BackwardResult, steps: list[BackwardStep], name: str) -> Panel:
    """One gradient (N, d) in slow memory, and the tile that its owner is still adding to."""
    shape = (result.params.seq_len, result.params.head_dim)
    state = np.full(shape, np.nan, np.float32)
    states, gathering = [], np.zeros((len(steps), 2))
    last: Tensor | None = None
    for number, step in enumerate(steps):
        tile: Tensor | None = getattr(step, name)
        place = step.rows if name == "dQ" else step.columns
        if tile is not None and tile is not last:
            state = state.copy()
            state[slice(*place)] = tile.numpy()
            last = tile
        if tile is not None:
            gathering[number] = place
        states.append(state)
    largest = float(np.nanmax(np.abs(states[-1]))) or 1.0
    return Matrix(
        name=name,
        title=name,
        height=HEIGHT - 20,
        shape=shape,
        values=patches(states),
        scale="diverging",
        low=-largest,
        high=largest,
        hue="output",
        rows=Track(gathering),
        row_name="token",
        column_name="dimension",
    )


def _words(result: BackwardResult, steps: list[BackwardStep]) -> Words:
    error = max(result.max_abs_error_dq, result.max_abs_error_dk, result.max_abs_error_dv)
    kept = (result.saved_bytes, result.standard_saved_bytes)
    values = np.array([(step.query_tile, step.key_tile, error, *kept) for step in steps])
    which = np.array([NAMES.index((step.owner, step.phase)) for step in steps])
    moments = MOMENTS | BROKEN[result.params.break_it]
    formulas = tuple(formula(moments[name][1]) if moments[name][1] else "" for name in NAMES)
    return Words(tuple(moments[name][0] for name in NAMES), which, values, formulas, columns=COLUMNS)
