"""The picture of padding removal: packs, padded rows, the flat tokens with cu_seqlens, and the tiles of attention."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from explainers.contract.messages import Message, joined, plural
from explainers.drawing.panels import Axis, Code, Layer, Marks, Strip
from explainers.drawing.scene import Column, Scene, Track
from explainers.drawing.source_code import code_panel
from explainers.packing import mrope
from explainers.packing.unpad import IGNORED, UnpadResult, remove_padding, tiles_of
from explainers.packing.views.unpad_words import tokens_of, words

PADDING, LOST_TOKEN = -1, -3  # hues of a strip
STRIPS_HEIGHT = 182  # px for the rows of the three strips, so that they end above the player's bar
ATTENTION_HEIGHT, SHAPES_HEIGHT = 230, 285  # px
ROW_HEIGHTS = 14, 20  # px, the least and the most; below the least a cell has no room for its text

# The mark of each token that is not text, short enough for narrow cells; and the legend, by a token of each.
TOKEN_MARKS: Mapping[int, str] = {
    mrope.PAD: Message("pad"),
    mrope.END: "e",
    mrope.VISION_START: "[",
    mrope.VISION: "v",
    mrope.VISION_END: "]",
    mrope.TIMESTAMP: "t",
}
LEGEND: Mapping[int, str] = {
    mrope.END: Message("e: end of text"),
    mrope.VISION: Message("[ v ]: picture"),
    mrope.TIMESTAMP: Message("t: timestamp"),
}
SYMBOLS: Mapping[str, str] = {
    "T": Message("T: real tokens of the batch"),
    "R": Message("R: documents with tokens"),
    "B": Message("B: documents, one padded row each"),
    "L": Message("L: tokens of the longest document"),
    "D": Message("D: length of one head's vectors"),
    "c": Message("c: cu_seqlens, the place in the flat row where a document begins"),
    "d": Message("d: number of a document"),
    "i": Message("i: place of a token in the flat row"),
    "p": Message("p: position of a token in its document"),
    "n": Message("n: tokens of a document"),
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
        title=plural(
            "Padding removal: {tokens} of {count} place",
            "Padding removal: {tokens} of {count} places",
            count=result.batch.mask.size,
            tokens=tokens_of(result.tokens),
        ),
        steps=steps,
        columns=(
            Column(1.35, (packs_panel(result), rows_panel(result), flat_panel(result))),
            Column(0.6, (attention_panel(result),)),
            Column(1.25, (shapes_panel(result),)),
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
    """One run of a strip: where it is, its colour and words, and the steps [appears, leaves) in which it is shown."""

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
    return {
        **arrays,
        "texts": tuple(cell.text for cell in cells),
        "notes": tuple(cell.note for cell in cells),
    }


def _height(result: UnpadResult, rows: int, more: int = 4) -> int:
    """The height in px of a strip of `rows` rows, which share one height with those of the other strips."""
    every = len(result.batch.packs) + len(result.lengths) + len(_axes(result)) + 2
    least, most = ROW_HEIGHTS
    return rows * max(least, min(most, STRIPS_HEIGHT // every)) + more


def _axes(result: UnpadResult) -> tuple[str, ...]:
    if result.position_ids.ndim == 1:
        return (Message("position"),)
    return Message("time"), Message("height"), Message("width")


def packs_panel(result: UnpadResult) -> Strip:
    """The packs as they are given: a document is one run."""
    packs, lengths = result.batch.packs, result.lengths
    cells = []
    for row, pack in enumerate(packs):
        ends = np.cumsum([0, *lengths[list(pack)]])
        for d, start in zip(pack, ends[:-1].tolist(), strict=True):
            tokens = int(lengths[d])
            note = Message("document {document}: {tokens}", document=d, tokens=tokens_of(tokens))
            cells.append(Cell(row, start, tokens, d, str(d), note, 0, len(result.stages)))
    return Strip(
        "packs",
        title="Packs: every run is a document",
        height=_height(result, len(packs)),
        rows=len(packs),
        capacity=max(int(lengths[list(pack)].sum()) for pack in packs) or 1,
        row_names=tuple(Message("pack {pack}", pack=row) for row in range(len(packs))),
        **_runs(cells),  # type: ignore[arg-type]
    )


def rows_panel(result: UnpadResult) -> Strip:
    """The padded rows (B, L): ids, then the mask, then the indices, and at the end what was padded again."""
    batch, mask = result.batch, result.made["attention_mask"]
    B, L = batch.mask.shape
    steps = len(result.stages)
    turns = [_step(result, stage) for stage in ("rows", "mask", "indices", "pad_again")] + [steps]
    cells = []
    for stage, (appears, leaves) in enumerate(itertools.pairwise(turns)):
        for d, j in np.argwhere(batch.mask).tolist() if appears < leaves else ():
            lost = appears >= turns[1] and not mask[d, j]
            text, says = _place(result, stage, d, j)
            kind = Message("a real token, dropped") if lost else Message("document {document}", document=d)
            note = Message(
                "row {row}, place {place}: {kind}",
                row=d,
                place=j,
                kind=joined([kind, says]) if text else kind,
            )
            cells.append(Cell(d, j, 1, LOST_TOKEN if lost else d, text, note, appears, leaves))
    # most places of a long batch are padding: one run a row
    for d, length in enumerate(result.lengths.tolist()):
        if length < L:
            note = Message(
                "row {row}, places {first} to {last}: padding, token {token}, mask 0",
                row=d,
                first=length,
                last=L - 1,
                token=_mark(batch.ids[d, -1]),
            )
            cells.append(Cell(d, length, L - length, PADDING, "", note, turns[0], steps))
    return Strip(
        "rows",
        title=Message(
            "Padded rows (B, L) = ({rows}, {longest}): {padding:.0f}% padding",
            rows=B,
            longest=L,
            padding=result.padding_percent,
        ),
        subtitle="tokens, then the mask, then indices (places), at last outputs",
        height=_height(result, B),
        rows=B,
        capacity=L,
        row_names=tuple(Message("document {document}", document=d) for d in range(B)),
        **_runs(cells),  # type: ignore[arg-type]
    )


def _place(result: UnpadResult, stage: int, d: int, j: int) -> tuple[str, Message]:
    """What a place of the padded rows shows from a stage on, and the same in words; stage: the number of the turn."""
    if stage == 0:
        text = _mark(result.batch.ids[d, j])
        return text, Message("token {token}", token=text)
    kept = bool(result.made["attention_mask"][d, j])
    if stage == 1:
        return str(int(kept)), Message("mask {mask}", mask=int(kept))
    if stage == 2:
        index = d * result.batch.mask.shape[1] + j
        return str(index) if kept else "", Message("index {index}", index=index)
    first = result.made["padded_again"][d, j, 0]
    return f"{first:.1f}", Message("first of the H outputs: {output:.1f}", output=first)


def flat_panel(result: UnpadResult) -> Strip:
    """The flat row: tokens, positions along one axis or three, and labels; cu_seqlens is the ruler."""
    made, steps = result.made, len(result.stages)
    document = result.indices // result.batch.mask.shape[1]
    names = (Message("token"), *_axes(result), Message("label"))
    cells = []
    for i, d in enumerate(document.tolist()):
        label = int(result.labels[i])
        texts = (_mark(made["flat_ids"][i]), *map(str, made["position_ids"][:, i]))
        for row, text in enumerate(texts):
            note = Message(
                "flat place {place}, document {document}: {name} {value}",
                place=i,
                document=d,
                name=names[row],
                value=text,
            )
            cells.append(Cell(row, i, 1, d, text, note, _step(result, "positions" if row else "flat"), steps))
        turns = [_step(result, "labels"), _step(result, "loss"), steps]
        if label == IGNORED:
            note = Message(
                "flat place {place}, document {document}: label {label}, no loss",
                place=i,
                document=d,
                label=IGNORED,
            )
            cells.append(Cell(len(texts), i, 1, LOST_TOKEN, str(IGNORED), note, turns[0], steps))
            continue
        note = Message(
            "flat place {place}, document {document}: predicts {token}",
            place=i,
            document=d,
            token=_mark(label),
        )
        for appears, leaves in itertools.pairwise(turns):
            cells.append(Cell(len(texts), i, 1, d, _mark(label), note, appears, leaves))
    return Strip(
        "flat",
        title=Message("Flat tokens (T) = ({tokens}), ticks: cu_seqlens", tokens=result.tokens),
        subtitle=_legend(result),
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


def _legend(result: UnpadResult) -> Message:
    """What the letters of the tokens that occur mean, and the dashes."""
    letters = [meaning for token, meaning in LEGEND.items() if token in result.batch.ids]
    return joined([*letters, Message("dashed: no loss")], "; ")


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
        Message("token {token:.0f} attends to {first:.0f} .. {token:.0f}, ", token=token, first=first)
        for token, first in zip(i, start, strict=True)
    )
    visited = tuple(
        Message("tile of queries from {query:.0f} and keys from {key:.0f}, ", query=tile[0], key=tile[1])
        for tile in tiles
    )
    most = float(max(result.tokens, 1))
    return Marks(
        "attention",
        title="Attention (T, T)",
        subtitle=plural(
            "{count:,} tile of {block_q} x {block_k}; padded: {padded:,}",
            "{count:,} tiles of {block_q} x {block_k}; padded: {padded:,}",
            count=result.tiles_visited,
            block_q=params.block_q,
            block_k=params.block_k,
            padded=result.tiles_padded,
        ),
        height=ATTENTION_HEIGHT,
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
    packs = Message("list of {count}", count=len(result.batch.packs))
    lines, first_lines = [f"{'packs':<15}{packs}"], [1]
    for stage in result.stages[1:]:
        first_lines.append(len(lines) + 1)
        for name, axes in SHAPES[stage]:
            axes = "T" if name == "position_ids" and result.position_ids.ndim == 1 else axes
            shape = ", ".join(map(str, result.shapes[name])) or Message("a number")
            lines.append(f"{name:<15}{f'({axes})' if axes else '':<12} {shape}")
    return Code(
        "shapes",
        title="Tensors and their shapes",
        height=SHAPES_HEIGHT,
        source="\n".join(lines),
        line=Track(np.array(first_lines)[:, None]),
    )
