"""The picture of a run three ways: where the tokens lie, who leaks into whom, what it costs."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from explainers.contract.messages import Message, plural
from explainers.drawing.panels import Axis, Band, Code, Layer, Marks, Matrix, Strip, Tiles
from explainers.drawing.scene import Column, Hue, Panel, Row, Scene, Track
from explainers.drawing.source_code import code_panel
from explainers.packing.decoder_three_ways import unpadded
from explainers.packing.run import WAYS, RunResult
from explainers.packing.views.run_words import (
    COMPARED,
    COST,
    LEAKS,
    NAIVE,
    PADDED,
    UNPADDED,
    opens_at,
    words,
)

NAMES: Mapping[str, str] = {
    "padded": Message("padded"),
    "packed_naive": Message("packed, naive"),
    "unpadded": Message("unpadded"),
}
# The same as titles.
TITLES: Mapping[str, str] = {
    "padded": Message("Padded"),
    "packed_naive": Message("Packed, naive"),
    "unpadded": Message("Unpadded"),
}
HUES: dict[str, Hue] = {"padded": "muted", "packed_naive": "bad", "unpadded": "output"}
STRIP_ROW, LEAST_STRIP_ROW, STRIP_ROWS_HEIGHT, RULER_HEIGHT = 20, 5, 70, 22  # px
LOST_TOKENS = -3  # the hue of a strip's run that is ignored or lost


def scene(result: RunResult) -> Scene:
    """The three ways in turn, what they say and cost, then the leak of one document after another."""
    changed = [document for document, length in enumerate(result.params.document_lengths) if length]
    steps = LEAKS + len(changed) + 1
    return Scene(
        name="packing.run",
        title="The same documents three ways: padded, packed without a document mask, unpadded",
        steps=steps,
        columns=(
            Column(1.15, _strips(result, changed, steps)),
            Column(1.25, (_leaks(result, changed, steps),)),
            Column(1, (_losses(result, steps), _costs(result, steps))),
        ),
        words=words(result, changed, steps),
        stops=(PADDED, COMPARED, LEAKS),
        start=opens_at(result, steps),
        reopens=True,
        rate=0.7,
        below=(Column(1, (_code(),)),),
    )


# ------------------------------------------------------------------------------------------------ the panels


def _strips(result: RunResult, changed: list[int], steps: int) -> tuple[Panel, ...]:
    lengths = result.params.document_lengths
    starts = np.cumsum([0, *lengths])
    boundaries = Counter(result.cu_seqlens.tolist())  # an empty document has the same boundary twice
    ruler = tuple((at, ", ".join([str(at)] * times)) for at, times in boundaries.items())
    rows = tuple((document, 0, length, document) for document, length in enumerate(lengths) if length)
    rows += tuple((document, length, max(lengths) - length, -1) for document, length in enumerate(lengths))
    one_row = tuple((0, int(starts[document]), lengths[document], document) for document in changed)
    lost = result.tokens_lost
    kept = tuple((0, start, end - start, document) for document, start, end in _sequences(result))
    kept += ((0, result.tokens - lost, lost, LOST_TOKENS),)
    padded = Runs(
        way="padded",
        subtitle=Message(
            "{places} places for {tokens} tokens; hatched: padding",
            places=result.places_padded,
            tokens=result.tokens,
        ),
        runs=rows,
        rows=len(lengths),
        capacity=max(lengths),
        appears=PADDED,
    )
    naive = Runs(
        way="packed_naive",
        subtitle="one long row, causal only; outlined: a changed token",
        runs=one_row,
        rows=1,
        capacity=result.tokens,
        appears=NAIVE,
        changes=tuple((int(starts[document]), document) for document in changed),
    )
    varlen = Runs(
        way="unpadded",
        subtitle=Message("ticks: cu_seqlens; empty at the end: {lost} lost", lost=lost)
        if lost
        else Message("ticks: cu_seqlens"),
        runs=kept,
        rows=1,
        capacity=result.tokens,
        appears=UNPADDED,
        ruler=ruler,
    )
    return tuple(_strip(each, steps) for each in (padded, naive, varlen))


def _sequences(result: RunResult) -> list[tuple[int, int, int]]:
    """The sequences that the unpadded run really attends within: number, first token, end."""
    bounds = result.cu_seqlens.tolist()
    return [(number, *ends) for number, ends in enumerate(itertools.pairwise(bounds))]


@dataclass(frozen=True)
class Runs:
    """The runs (row, start, length, hue) of one way, which appear at a step.

    changes: (start, document) of each leak's changed token.
    """

    way: str
    subtitle: str
    runs: tuple[tuple[int, int, int, int], ...]
    rows: int
    capacity: int
    appears: int
    changes: tuple[tuple[int, int], ...] = ()
    ruler: tuple[tuple[int, str], ...] = ()


def _strip(way: Runs, steps: int) -> Strip:
    runs = tuple(run for run in way.runs if run[2])
    marks = tuple((0, start, 1, document) for start, document in way.changes)
    table = np.array([*runs, *marks], np.int32).reshape(-1, 4)
    at = np.arange(len(marks))
    tall = min(STRIP_ROW * way.rows, max(STRIP_ROWS_HEIGHT, LEAST_STRIP_ROW * way.rows))
    return Strip(
        name=way.way,
        title=TITLES[way.way],
        subtitle=way.subtitle,
        height=4 + tall + (RULER_HEIGHT if way.ruler else 0),
        rows=way.rows,
        row_names=tuple(map(str, range(way.rows))) if way.rows > 1 else (),
        capacity=way.capacity,
        row=table[:, 0],
        start=table[:, 1],
        length=table[:, 2],
        hue=table[:, 3],
        appears=np.concatenate([np.full(len(runs), way.appears), LEAKS + at]),
        leaves=np.concatenate([np.full(len(runs), steps), LEAKS + 1 + at]),
        texts=tuple(str(hue) if hue >= 0 else "" for *_, hue in runs) + ("",) * len(marks),
        notes=tuple(_note(length, hue) for _, _, length, hue in runs)
        + tuple(
            Message("the first token of document {document}, changed", document=document)
            for _, document in way.changes
        ),
        ruler=way.ruler,
    )


def _note(length: int, hue: int) -> Message:
    """What the hover says of a run of a strip."""
    if hue == LOST_TOKENS:
        return plural("lost: {count} real token", "lost: {count} real tokens", count=length)
    if hue >= 0:
        return plural(
            "document {document}: {count} token",
            "document {document}: {count} tokens",
            count=length,
            document=hue,
        )
    return plural("padding: {count} place", "padding: {count} places", count=length)


def _leaks(result: RunResult, changed: list[int], steps: int) -> Row:
    """Whose logits move (columns) when the first token of a document (rows) is changed."""
    largest = max(float(moved.max(initial=0.0)) for moved in result.leak_by_document.values()) or 1.0
    documents = len(result.params.document_lengths)
    rows = np.array([(0, 0)] * LEAKS + [(document, document + 1) for document in changed] + [(0, 0)])
    visited = np.full(
        (documents, documents), -1
    )  # an empty document has nothing to change and nothing to move
    visited[np.ix_(changed, changed)] = LEAKS + np.arange(len(changed))[:, None]
    current = np.full((steps, 2), -1)
    current[LEAKS:-1, 0] = changed

    def panel(way: str, most: float) -> Matrix:
        return Matrix(
            name=f"leak-{way}",
            title=TITLES[way],
            subtitle=Message("to others: at most {most:.3g}", most=most),
            height=190,
            shape=(documents, documents),
            values=result.leak_by_document[way].astype(np.float32),
            low=0.0,
            high=largest,
            tiles=Tiles((1, 1), visited, current),
            bands=(Band("left", "", "muted"), Band("top", "", "muted")),
            reveal=True,
            rows=Track(rows),
            row_name="changed document",
            column_name="observed document",
            cell="square",
        )

    return Row(
        (panel("packed_naive", result.leak_naive), panel("unpadded", result.leak_unpadded)),
        title="Whose logits move",
        subtitle="row: the document whose first token changes, column: the one observed; the diagonal is its own",
    )


def _losses(result: RunResult, steps: int) -> Marks:
    """The mean loss of each document: a ring where it is padded, the other two ways as points on stems from there."""
    documents = np.arange(len(result.params.document_lengths), dtype=float)
    padded, naive, ours = (result.document_losses[way] for way in WAYS)
    x = _axis_around(np.concatenate([padded, naive, ours]))

    def layer(mark: Literal["point", "segment"], way: str, values: np.ndarray, size: float) -> Layer:
        """The losses of one way, on stems from the padded ones where `mark` is a segment."""
        shown = _from(PADDED if way == "padded" else COMPARED, values, steps)
        stem = mark == "segment"
        return Layer(
            mark,
            x=_from(COMPARED, padded, steps) if stem else shown,
            y=documents,
            x2=shown if stem else None,
            y2=documents if stem else None,
            hue=HUES[way],
            style="hollow" if way == "padded" else "solid",
            size=size,
            names=tuple(NAMES[way] for _ in documents),
            numbers=values,
            format=".4f",
        )

    return Marks(
        name="losses",
        title="Loss of each document, in nats",
        subtitle="ring: padded; red: packed, naive; teal: unpadded",
        height=24 + min(16 * len(documents), 130),
        x=x,
        y=Axis(
            -0.6,
            len(documents) - 0.4,
            flip=True,
            ticks=tuple(documents[:: 1 + len(documents) // 10].tolist()),
            format="d",
        ),
        layers=(
            layer("segment", "packed_naive", naive, 3),
            layer("segment", "unpadded", ours, 6),
            layer("point", "padded", padded, 4.5),
            layer("point", "packed_naive", naive, 4),
            layer("point", "unpadded", ours, 2.5),
        ),
        row_name="document",
    )


def _axis_around(values: np.ndarray) -> Axis:
    """An axis a little wider than the values, NaN apart, with numbers at round places."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    edge = max(0.06 * (high - low), 0.02)
    low, high = low - edge, high + edge
    power = 10.0 ** math.floor(math.log10((high - low) / 6))
    width = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= (high - low) / 6)
    first, last = math.ceil(low / width), math.floor(high / width)
    ticks = tuple(round(width * place, 6) for place in range(first, last + 1))
    return Axis(low, high, ticks=ticks, format=".2f" if width < 0.1 else ".1f")


def _costs(result: RunResult, steps: int) -> Marks:
    """FLOPs, activation bytes and seconds as shares of the padded run, with the numbers."""
    forward = (result.flops_padded, result.flops_packed_naive, result.flops_unpadded)
    names = (Message("FLOPs"), Message("activations"), Message("time"))
    values = np.array(
        [forward, *([part[way] for way in WAYS] for part in (result.activation_bytes, result.seconds))]
    )
    texts = [
        (
            Message("{flops:,.1f} million", flops=flops / 1e6),
            Message("{size:,.0f} kB", size=size / 1e3),
            Message("{time:,.1f} ms", time=1e3 * seconds),
        )
        for flops, size, seconds in values.T.tolist()
    ]  # of each way
    shares = values / values[:, :1]  # (kinds, ways)
    most = shares.max()
    tops = (len(WAYS) + 0.6) * np.arange(len(names))  # the row at which a kind begins
    layers = [Layer("label", np.full(3, -0.5 * most), tops + 1.4, hue="muted", style="faint", names=names)]
    for place, way in enumerate(WAYS):
        share, rows = shares[:, place], tops + place
        hover = tuple(
            Message("{name}, {way}: {number}; share", name=name, way=NAMES[way], number=number)
            for name, number in zip(names, texts[place], strict=True)
        )
        beside = _from(COST, share + 0.03 * most, steps)
        layers += [
            Layer("rect", x=np.zeros(3), y=rows, x2=_from(COST, share, steps), y2=rows + 0.8, hue=HUES[way],
                  names=hover, numbers=share),
            Layer("label", beside, rows + 0.4, hue="muted", style="faint", size=3, names=texts[place]),
        ]  # fmt: skip
    return Marks(
        name="costs",
        title="What it costs",
        subtitle="of the padded run; so small, time is overhead",
        height=132,
        x=Axis(-0.5 * most, 1.5 * most),
        y=Axis(-0.1, tops[-1] + len(WAYS) + 0.1, flip=True),
        layers=tuple(layers),
        frame=False,
    )


def _from(step: int, values: np.ndarray, steps: int) -> Track:
    """`values` from a step on, nothing before it."""
    rows = np.stack([np.full(len(values), np.nan), values])
    return Track(rows, (np.arange(steps) >= step).astype(np.int32))


def _code() -> Code:
    return code_panel(unpadded, title="Removing the padding", height=0)
