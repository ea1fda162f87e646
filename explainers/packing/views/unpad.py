"""The picture of padding removal: packs, padded rows, the flat tokens with cu_seqlens, and the tiles of attention."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from explainers.drawing.panels import Axis, Code, Layer, Marks, Strip
from explainers.drawing.scene import Column, Scene, Track
from explainers.drawing.source_code import code_panel
from explainers.packing import mrope
from explainers.packing.unpad import IGNORED, UnpadResult, remove_padding, tiles_of
from explainers.packing.views.unpad_words import count, words

PADDING, LOST_TOKEN = -1, -3  # hues of a strip
STRIPS_HEIGHT = 182  # px for the rows of the three strips, so that they end above the player's bar
ATTENTION_HEIGHT, SHAPES_HEIGHT = 230, 285  # px
ROW_HEIGHTS = 14, 20  # px, the least and the most; below the least a cell has no room for its text

# The mark of each token that is not text, one letter so that narrow cells hold it; and the legend, by a token of each.
TOKEN_MARKS: Mapping[int, str] = {
    mrope.PAD: "pad",
    mrope.END: "e",
    mrope.VISION_START: "[",
    mrope.VISION: "v",
    mrope.VISION_END: "]",
    mrope.TIMESTAMP: "t",
}
LEGEND: Mapping[int, str] = {
    mrope.END: "e: end of text",
    mrope.VISION: "[ v ]: picture",
    mrope.TIMESTAMP: "t: timestamp",
}
SYMBOLS: Mapping[str, str] = {
    "T": "T: real tokens of the batch",
    "R": "R: documents with tokens",
    "B": "B: documents, one padded row each",
    "L": "L: tokens of the longest document",
    "D": "D: length of one head's vectors",
    "c": "c: cu_seqlens, the place in the flat row where a document begins",
    "d": "d: number of a document",
    "i": "i: place of a token in the flat row",
    "p": "p: position of a token in its document",
    "n": "n: tokens of a document",
}

# Each stage with the tensors that it makes: name, axes.
SHAPES: dict[str, tuple[tuple[str, str], ...]] = {
    "rows": (("input_ids", "B, L"),),
    "mask": (("attention_mask", "B, L"),),
    "indices": (("indices", "T"),),
    "cu_seqlens": (("cu_seqlens", "B + 1"), ("max_seqlen", "")),
    "flat": (("flat_ids", "T"), ("hidden", "T, H")),
    "positions": (("position_ids", "3, T"),),
    "projections": (("q", "T, Hq, D"), ("k", "T, Hkv, D"), ("v", "T, Hkv, D")),
    "attention": (("attention", "T, Hq, D"), ("output", "T, H")),
    "labels": (("labels", "T"),),
    "loss": (("loss_positions", "T - R"), ("loss", "")),
    "pad_again": (("padded_again", "B, L, H"),),
}


def scene(result: UnpadResult) -> Scene:
    """Every stage of padding removal as one step."""
    steps = len(result.stages)
    return Scene(
        name="packing.unpad",
        title=f"Padding removal: {count(result.tokens, 'token')} of {result.batch.mask.size} places",
        steps=steps,
        columns=(
            Column(1.55, (packs_panel(result), rows_panel(result), flat_panel(result))),
            Column(0.65, (attention_panel(result),)),
            Column(1, (shapes_panel(result),)),
        ),
        words=words(result),
        start=_step(result, "attention"),
        rate=0.5,
        symbols=SYMBOLS,
        below=(Column(1, (code_panel(remove_padding, np.array(result.lines)),)),),
    )


def _step(result: UnpadResult, stage: str) -> int:
    """The step of a stage; a stage that is left out comes after the last step."""
    return result.stages.index(stage) if stage in result.stages else len(result.stages)


# ---------------------------------------------------------------------------------------------- the strips


@dataclass(frozen=True)
class Cell:
    """One run of a strip: where, what colour, what it says, and the steps [appears, leaves) in which it is there."""

    row: int
    start: int
    length: int
    hue: int
    text: str
    note: str
    appears: int
    leaves: int


def _runs(cells: list[Cell]) -> dict[str, np.ndarray | tuple[str, ...]]:
    """The cells as the arrays of a Strip."""
    names = ("row", "start", "length", "hue", "appears", "leaves")
    arrays = {name: np.array([getattr(cell, name) for cell in cells], np.int32) for name in names}
    return {**arrays, "texts": tuple(c.text for c in cells), "notes": tuple(c.note for c in cells)}


def _height(result: UnpadResult, rows: int, more: int = 4) -> int:
    """The height in px of a strip of `rows` rows, which share one height with those of the other strips."""
    every = len(result.batch.packs) + len(result.lengths) + len(_axes(result)) + 2
    least, most = ROW_HEIGHTS
    return rows * max(least, min(most, STRIPS_HEIGHT // every)) + more


def _axes(result: UnpadResult) -> tuple[str, ...]:
    return ("position",) if result.position_ids.ndim == 1 else ("time", "height", "width")


def packs_panel(result: UnpadResult) -> Strip:
    """The packs as they are given: a document is one run."""
    packs, lengths = result.batch.packs, result.lengths
    cells = []
    for row, pack in enumerate(packs):
        ends = np.cumsum([0, *lengths[list(pack)]])
        for d, start in zip(pack, ends[:-1].tolist(), strict=True):
            tokens = int(lengths[d])
            note = f"document {d}: {count(tokens, 'token')}"
            cells.append(Cell(row, start, tokens, d, str(d), note, 0, len(result.stages)))
    return Strip(
        "packs",
        "Packs: every run is a document",
        height=_height(result, len(packs)),
        rows=len(packs),
        capacity=max(int(lengths[list(pack)].sum()) for pack in packs) or 1,
        row_names=tuple(f"pack {row}" for row in range(len(packs))),
        **_runs(cells),  # type: ignore[arg-type]
    )


def rows_panel(result: UnpadResult) -> Strip:
    """The padded rows (B, L): ids, then the mask, then the indices, and at the end what was padded again."""
    batch, made = result.batch, result.made
    B, L = batch.mask.shape
    steps = len(result.stages)
    place = np.arange(B * L).reshape(B, L)
    mask = made["attention_mask"]
    again = made["padded_again"][:, :, 0] if "padded_again" in made else np.zeros((B, L))
    turns = [_step(result, stage) for stage in ("rows", "mask", "indices", "pad_again")] + [steps]
    says: tuple[tuple[Callable[[int, int], str], str], ...] = (
        (lambda d, j: _mark(batch.ids[d, j]), "token {}"),
        (lambda d, j: str(int(mask[d, j])), "mask {}"),
        (lambda d, j: str(place[d, j]) if mask[d, j] else "", "index {}"),
        (lambda d, j: f"{again[d, j]:.1f}", "first of the H outputs: {}"),
    )
    cells = []
    for (text_of, what), appears, leaves in zip(says, turns[:-1], turns[1:], strict=True):
        for d, j in np.argwhere(batch.mask).tolist() if appears < leaves else ():
            lost = appears >= turns[1] and not mask[d, j]
            text, kind = text_of(d, j), "a real token, dropped" if lost else f"document {d}"
            note = f"row {d}, place {j}: {kind}" + (f", {what.format(text)}" if text else "")
            cells.append(Cell(d, j, 1, LOST_TOKEN if lost else d, text, note, appears, leaves))
    for d, length in enumerate(
        result.lengths.tolist()
    ):  # of a long batch most places are padding: one run a row
        if length < L:
            note = f"row {d}, places {length} to {L - 1}: padding, token {_mark(batch.ids[d, -1])}, mask 0"
            cells.append(Cell(d, length, L - length, PADDING, "", note, turns[0], steps))
    return Strip(
        "rows",
        f"Padded rows (B, L) = ({B}, {L}): {result.padding_percent:.0f}% padding",
        "tokens, then the mask, then indices (places), at last outputs",
        height=_height(result, B),
        rows=B,
        capacity=L,
        row_names=tuple(f"document {d}" for d in range(B)),
        **_runs(cells),  # type: ignore[arg-type]
    )


def flat_panel(result: UnpadResult) -> Strip:
    """The flat row: tokens, positions along one axis or three, and labels; cu_seqlens is the ruler."""
    made, steps = result.made, len(result.stages)
    document = result.indices // result.batch.mask.shape[1]
    names = ("token", *_axes(result), "label")
    cells = []
    for i, d in enumerate(document.tolist()):
        label = int(result.labels[i])
        texts = (_mark(made["flat_ids"][i]), *map(str, made["position_ids"][:, i]))
        for row, text in enumerate(texts):
            note = f"flat place {i}, document {d}: {names[row]} {text}"
            cells.append(Cell(row, i, 1, d, text, note, _step(result, "positions" if row else "flat"), steps))
        turns = [_step(result, "labels"), _step(result, "loss"), steps]
        if label == IGNORED:
            note = f"flat place {i}, document {d}: label {IGNORED}, no loss"
            cells.append(Cell(len(texts), i, 1, LOST_TOKEN, str(IGNORED), note, turns[0], steps))
            continue
        note = f"flat place {i}, document {d}: predicts {_mark(label)}"
        for appears, leaves in itertools.pairwise(turns):
            cells.append(Cell(len(texts), i, 1, d, _mark(label), note, appears, leaves))
    return Strip(
        "flat",
        f"Flat tokens (T) = ({result.tokens}), ticks: cu_seqlens",
        f"{_legend(result)}; dashed: no loss",
        height=_height(result, len(names), more=26),
        rows=len(names),
        capacity=max(result.tokens, 1),
        row_names=names,
        ruler=_ruler(result.cu_seqlens),
        **_runs(cells),  # type: ignore[arg-type]
    )


def _ruler(cu_seqlens: np.ndarray) -> tuple[tuple[int, str], ...]:
    """A tick at every entry; an entry that comes more than once says how often."""
    places, counts = np.unique(cu_seqlens, return_counts=True)
    return tuple(
        (int(place), f"{place}" + (f" × {count}" if count > 1 else ""))
        for place, count in zip(places, counts, strict=True)
    )


def _mark(token: int) -> str:
    """What a cell says of a token: the id of a text token, or a letter."""
    return TOKEN_MARKS.get(int(token), str(token))


def _legend(result: UnpadResult) -> str:
    """What the letters of the tokens that occur stand for."""
    return "; ".join(meaning for token, meaning in LEGEND.items() if token in result.batch.ids)


# ------------------------------------------------------------------------------------------ the other panels


def attention_panel(result: UnpadResult) -> Marks:
    """The block-diagonal mask, a bar a query row, and the tiles that the varlen kernel visits."""
    cu, params = result.cu_seqlens, result.params
    i = np.arange(result.tokens, dtype=float)
    start = cu[np.searchsorted(cu, i, side="right") - 1].astype(float)
    tiles = tiles_of(cu, params.block_q, params.block_k).astype(float)
    shown_from = _step(result, "attention")

    def shown(values: np.ndarray) -> Track:
        rows = np.stack([np.full(len(values), np.nan), values])
        return Track(rows, (np.arange(len(result.stages)) >= shown_from).astype(int))

    seen = tuple(
        f"token {row:.0f} attends to {first:.0f} .. {row:.0f}, " for row, first in zip(i, start, strict=True)
    )
    visited = tuple(f"tile of queries from {tile[0]:.0f} and keys from {tile[1]:.0f}, " for tile in tiles)
    most = float(max(result.tokens, 1))
    tiles_of_kernel = f"{count(result.tiles_visited, 'tile')} of {params.block_q} x {params.block_k}"
    return Marks(
        "attention",
        "Attention (T, T)",
        f"{tiles_of_kernel}; padded: {result.tiles_padded:,}",
        ATTENTION_HEIGHT,
        x=Axis(0, most),
        y=Axis(0, most, flip=True),
        layers=(
            Layer(
                "rect",
                x=shown(start),
                y=shown(i),
                x2=shown(i + 1),
                y2=shown(i + 1),
                hue="score",
                style="faint",
                names=seen,
            ),
            Layer(
                "rect",
                *(shown(tiles[:, k]) for k in (1, 0, 3, 2)),
                hue="score",
                style="hollow",
                names=visited,
            ),
        ),
        row_name="query",
    )


def shapes_panel(result: UnpadResult) -> Code:
    """Every tensor with its axes and its shape; the line of the current stage is lit."""
    count = len(result.batch.packs)
    lines, first_lines = [f"{'packs':<15}list of {count}"], [1]
    for stage in result.stages[1:]:
        first_lines.append(len(lines) + 1)
        for name, axes in SHAPES[stage]:
            axes = "T" if name == "position_ids" and result.position_ids.ndim == 1 else axes
            shape = ", ".join(map(str, result.shapes[name])) or "a number"
            lines.append(f"{name:<15}{f'({axes})' if axes else '':<12} {shape}")
    return Code(
        "shapes",
        "Tensors and their shapes",
        height=SHAPES_HEIGHT,
        source="\n".join(lines),
        line=Track(np.array(first_lines)[:, None]),
    )
