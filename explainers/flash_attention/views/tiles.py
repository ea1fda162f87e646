"""The scene of tiled attention: the grid of tiles, each row's running state, the accumulator, the bytes moved."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from explainers.contract.messages import Message
from explainers.drawing.panels import Axis, Band, Code, Line, Lines, Matrix, Text, Tiles
from explainers.drawing.scene import Action, Column, Panel, Row, Scene, Track, patches
from explainers.drawing.source_code import source_of
from explainers.flash_attention.tiled import SENTINEL, TileStep, tiled_attention
from explainers.flash_attention.tiles import TilesResult
from explainers.flash_attention.views.parts import bars, dumbbells
from explainers.flash_attention.views.tile_memory import sram_panel, traffic_panel
from explainers.flash_attention.views.tile_words import SYMBOLS, tile_words

HEIGHT = 384
NAN = float("nan")


def scene(result: TilesResult) -> Scene:
    """The scene of the readable loop's steps, or of the kernel's."""
    steps = [step for _, step in result.steps]
    sentences, numbers = tile_words(result)
    return Scene(
        name="flash_attention.tiles",
        title="Flash attention, one tile at a time",
        steps=len(steps),
        columns=(
            Column(1.7, (Row((_score_grid(result, steps), _written_output(result, steps)), (4.6, 1)),)),
            Column(1.3, (_row_memory(result, steps),)),
            Column(1, (_accumulator(result, steps), sram_panel(result, steps), traffic_panel(result, steps))),
        ),
        words=sentences,
        stops=tuple(number for number, step in enumerate(steps) if step.phase == "finish"),
        start=_start(result, steps),
        rate=1.0,
        symbols=SYMBOLS,
        below=(
            Column(1.5, (_code(result),)),
            Column(1, (Text("numbers", "The followed row in numbers", words=numbers), _error(result, steps))),
        ),
    )


def _start(result: TilesResult, steps: list[TileStep]) -> int:
    """The first step to show: a wrong tile if a check failed, else where the followed row is rescaled most.

    Not in the first quarter of the steps, where the grid is nearly empty, unless only a tile there is wrong. A row that
    is not rescaled later: the last step, with the whole grid filled.
    """
    filled = len(steps) // 4
    if not result.passed and result.params.break_it != "no_rescale":
        return _wrong_tile(result, steps, filled)
    best, best_rise = len(steps) - 1, 0.0
    for number, step in enumerate(steps[filled:], filled):
        place = result.params.followed_row - step.rows[0]
        if step.phase != "maximum" or not 0 <= place < len(step.m):
            continue
        before, now = step.m_before[place].item(), step.m[place].item()
        rise = now - before if np.isfinite([before, now]).all() else 0.0
        if rise > best_rise:
            best, best_rise = number, rise
    return best


def _wrong_tile(result: TilesResult, steps: list[TileStep], filled: int) -> int:
    """The step that finishes the worst query tile from the step `filled` on, or of all if those are far more exact."""
    done = [number for number, step in enumerate(steps) if step.phase == "finish"]
    errors = {number: np.nan_to_num(result.error_so_far[number], nan=np.inf) for number in done}
    worst = max(done, key=errors.__getitem__)
    later = max((number for number in done if number >= filled), key=errors.__getitem__)
    return later if errors[later] >= errors[worst] / 10 else worst


# ------------------------------------------------------------------------------------------ the grid of tiles


def _score_grid(result: TilesResult, steps: list[TileStep]) -> Panel:
    scores = _computed_scores(result, steps)
    shape = tuple(result.visited.shape)
    visited_at = np.full(shape, -1)
    current = np.array([(step.query_tile, step.key_tile) for step in steps])
    for number, step in enumerate(steps):
        if step.phase == "scores":
            visited_at[step.query_tile, step.key_tile] = number
    shown = scores[np.isfinite(scores)]
    return Matrix(
        name="scores",
        title=_score_title(result.params.softcap),
        subtitle=Message(
            "darker: larger score · {skipped:,} of {total:,} tiles skipped",
            skipped=result.tiles_skipped,
            total=result.tiles_total,
        ),
        height=HEIGHT,
        shape=scores.shape,
        values=scores,
        low=float(np.quantile(shown, 0.02)) if shown.size else 0.0,
        high=float(np.quantile(shown, 0.98)) if shown.size else 1.0,
        hue="score",
        tiles=Tiles((result.params.block_q, result.params.block_k), visited_at, current),
        bands=(Band("left", "Q", "query"), Band("top", "K", "key"), Band("top", "V", "value")),
        reveal=True,
        pinned=_followed(result, steps),
        pinned_label="followed: row",
        row_name="query",
        column_name="key",
        action=Action("follow_row", "Click to follow this query"),
    )


def _score_title(softcap: float) -> str:
    if softcap:
        return Message("Scores S = {c}·tanh(QKᵀ·scale/{c})", c=f"{softcap:g}")
    return Message("Scores S = QKᵀ·scale, tile by tile")


def _written_output(result: TilesResult, steps: list[TileStep]) -> Panel:
    """O in slow memory, as the finished query tiles arrive there; its rows line up with those of S."""
    state = np.full(tuple(result.output.shape), np.nan, np.float32)
    states = []
    for step in steps:
        if step.phase == "finish":
            state = state.copy()
            state[slice(*step.rows)] = _nan_as_inf(step.accumulator)
        states.append(state)
    largest = _largest(result.output)
    return Matrix(
        name="output",
        title="O",
        subtitle="written",
        height=HEIGHT,
        shape=(len(result.output), result.params.head_dim),
        values=patches(states),
        scale="diverging",
        low=-largest,
        high=largest,
        hue="output",
        bands=(Band("top", "", "muted"), Band("top", "", "muted")),
        pinned=_followed(result, steps),
        pinned_label=" ",
        row_name="query",
        column_name="dimension",
    )


# --------------------------------------------------------------------------------------- what a row remembers


def _row_memory(result: TilesResult, steps: list[TileStep]) -> Row:
    size = result.params.block_q
    before = {name: _rows(steps, f"{name}_before", size) for name in ("m", "l")}
    now = {name: _rows(steps, name, size) for name in ("m", "l", "alpha")}
    now["alpha"][np.isneginf(before["m"])] = np.nan  # nothing gathered yet, so nothing to rescale
    followed = np.array([_place(result, step) for step in steps])
    follow = Action("follow_row_of_tile", "Click to follow this row")
    panel_options = {"height": HEIGHT - 22, "row_name": "row", "action": follow}
    panels = [
        dumbbells("m", "m  maximum", before["m"], now["m"], followed, **panel_options),
        dumbbells("l", "ℓ  denominator", before["l"], now["l"], followed, **panel_options),
        bars("alpha", "α  rescale", now["alpha"], followed, **panel_options),
    ]
    return Row(
        tuple(panels), title="What each row remembers", subtitle="hollow: before this tile · solid: now"
    )


# ------------------------------------------------------------------------------------- accumulator and error


def _accumulator(result: TilesResult, steps: list[TileStep]) -> Panel:
    size, width = result.params.block_q, result.params.head_dim
    at, states = [], []
    last: Tensor | None = None
    for step in steps:
        if step.accumulator is not last:
            states.append(_padded(step.accumulator, size))
            last = step.accumulator
        at.append(len(states) - 1)
    # One colour range for a whole query tile, so that a rescale visibly shrinks it; another when O / l is written.
    ranges = {}
    for step in steps:
        key = (step.query_tile, step.phase == "finish")
        ranges[key] = max(ranges.get(key, 0.0), _largest(step.accumulator))
    limits = np.array([ranges[step.query_tile, step.phase == "finish"] or 1.0 for step in steps])
    places = np.array([_place(result, step) for step in steps])
    return Matrix(
        name="accumulator",
        title="Accumulator O of the tile",
        subtitle=Message("{rows} rows × {width} · orange −, teal +", rows=size, width=width),
        height=112,
        shape=(size, width),
        values=Track(np.stack(states), np.array(at)),
        scale="diverging",
        limits=Track(np.stack([-limits, limits], axis=1)),
        hue="output",
        rows=Track(np.stack([places, places + 1], axis=1)),
        row_name="row of the tile",
        column_name="dimension",
    )


def _error(result: TilesResult, steps: list[TileStep]) -> Panel:
    """max |O/l - exact| of the current query tile after each key tile; a new query tile starts a new curve."""
    x, y, shown = [], [], []
    tiles = 0
    for step, error in zip(steps, result.error_so_far, strict=True):
        if step.phase == "accumulate":
            tiles += 1
            x.append(tiles)
            y.append(error)
        if step.phase == "finish":
            x.append(tiles)
            y.append(NAN)
        shown.append(len(x))
    finite = [value for value in y if np.isfinite(value) and value > 0]
    low = min(1e-8, *finite) if finite else 1e-8
    high = max(3.0, *finite) if finite else 3.0
    ends = np.array([0.0, max(1.0, float(tiles))])
    return Lines(
        name="error",
        title="How far O/ℓ is from exact",
        subtitle="largest error in the current query tile, after each key tile; dashed: tolerance",
        height=200,
        x=Axis(0, max(1, tiles), label="key tiles visited"),
        y=Axis(low, high, log=True, ticks=(1.0, 1e-3, 1e-6), format=".0e"),
        lines=(
            Line(ends, np.full(2, result.tolerance), "muted", dashed=True),
            Line(np.array(x, float), np.array(y), "output"),
        ),
        shown=Track(np.array(shown, float)),
    )


# -------------------------------------------------------------------------------------------------- the code


def _code(result: TilesResult) -> Panel:
    source, first_line, path = algorithm_source(result.backend)
    lines = np.array([line for line, _ in result.steps])
    return Code(
        "code",
        title="The code that just ran",
        subtitle=path,
        height=330,
        source=source,
        first_line=first_line,
        line=Track(lines),
    )


def algorithm_source(backend: str) -> tuple[str, int, str]:
    """The source that made the steps, the number of its first line, and its path in the project."""
    if backend == "triton":
        from kernels.flash_attention import kernel_source

        source, first_line = kernel_source()
        return source, first_line, "kernels/flash_attention_forward.py"
    return *source_of(tiled_attention), "explainers/flash_attention/tiled.py"


# --------------------------------------------------------------------------------------------------- helpers


def _followed(result: TilesResult, steps: list[TileStep]) -> Track:
    """The followed row at each step."""
    return Track(np.array([step.rows[0] + _place(result, step) for step in steps], float)[:, None])


def _place(result: TilesResult, step: TileStep) -> int:
    """The row of this tile at the followed row's place in its own tile."""
    return min(result.params.followed_row % result.params.block_q, step.rows[1] - step.rows[0] - 1)


def _rows(steps: list[TileStep], name: str, size: int) -> np.ndarray:
    """One number a row of the tile, (steps, size); NaN below the last row of a partial tile."""
    values = np.full((len(steps), size), np.nan, np.float32)
    for number, step in enumerate(steps):
        column = getattr(step, name)
        values[number, : len(column)] = column.numpy()
    return values


def _padded(tile: Tensor, rows: int) -> np.ndarray:
    padded = np.full((rows, tile.shape[1]), np.nan, np.float32)
    padded[: len(tile)] = _nan_as_inf(tile)
    return padded


def _computed_scores(result: TilesResult, steps: list[TileStep]) -> np.ndarray:
    """S (Nq, Nk) as it was computed and masked, tile by tile; NaN where masked or never computed."""
    scores = np.full((result.params.seq_len, result.params.keys), np.nan, np.float32)
    for step in steps:
        if step.phase == "scores":
            tile = step.scores.numpy()
            scores[slice(*step.rows), slice(*step.columns)] = np.where(tile > SENTINEL / 10, tile, np.nan)
    return scores


def _nan_as_inf(values: Tensor) -> np.ndarray:
    """Infinity in place of NaN: the player paints infinity in the colour of an error, and leaves NaN empty."""
    array = values.numpy()
    return np.where(np.isnan(array), np.inf, array)


def _largest(values: Tensor) -> float:
    array = values.abs().numpy()
    return float(array[np.isfinite(array)].max(initial=0.0)) or 1.0
