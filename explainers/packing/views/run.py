"""The picture of a run three ways: where the tokens lie, who leaks into whom, what it costs."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np

from explainers.drawing.panels import Axis, Band, Code, Layer, Marks, Matrix, Strip, Tiles
from explainers.drawing.scene import Column, Hue, Panel, Row, Scene, Track, Words
from explainers.drawing.source_code import code_panel
from explainers.packing.decoder_three_ways import unpadded
from explainers.packing.run import WAYS, RunResult
from explainers.packing.run_params import RunParams

# The steps; from LEAKS on one for each document that has tokens, and a last one for all of them.
PADDED, NAIVE, UNPADDED, COMPARED, COST, LEAKS = range(6)
NAMES = {"padded": "padded", "packed_naive": "packed, naive", "unpadded": "unpadded"}
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
        words=_words(result, changed, steps),
        stops=(PADDED, COMPARED, LEAKS),
        start=_opens(result, steps),
        reopens=True,
        rate=0.7,
        below=(Column(1, (_code(),)),),
    )


def _opens(result: RunResult, steps: int) -> int:
    """The last step, with everything in sight; for a break the step at which it is seen."""
    seen = {"seam_labels": COMPARED, "pad_is_eos": UNPADDED, "positions_not_reset": COMPARED}
    if result.params.break_it == "positions_not_reset" and result.params.positions == "rope":
        return UNPADDED  # the ids are wrong and nothing else is
    return seen.get(result.params.break_it, steps - 1)


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
        subtitle=f"{result.places_padded} places for {result.tokens} tokens; hatched: padding",
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
        subtitle="ticks: cu_seqlens" + (f"; empty at the end: {lost} lost" if lost else ""),
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
        title=NAMES[way.way].capitalize(),
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
        + tuple(f"the first token of document {document}, changed" for _, document in way.changes),
        ruler=way.ruler,
    )


def _note(length: int, hue: int) -> str:
    """What the hover says of a run of a strip."""
    if hue == LOST_TOKENS:
        return f"lost: {length} real tokens"
    return f"document {hue}: {length} tokens" if hue >= 0 else f"padding: {length} places"


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
            name=f"leak {way}",
            title=NAMES[way].capitalize(),
            subtitle=f"to others: at most {most:.3g}",
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
    flops = (result.flops_padded, result.flops_packed_naive, result.flops_unpadded)
    names = ("FLOPs", "activations", "time")
    values = np.array(
        [flops, *([part[way] for way in WAYS] for part in (result.activation_bytes, result.seconds))]
    )
    texts = [
        (f"{of_flops / 1e6:,.1f} million", f"{of_bytes / 1e3:,.0f} kB", f"{1e3 * seconds:,.1f} ms")
        for of_flops, of_bytes, seconds in values.T
    ]  # of each way
    shares = values / values[:, :1]  # (kinds, ways)
    most = shares.max()
    tops = (len(WAYS) + 0.6) * np.arange(len(names))  # the row at which a kind begins
    layers = [Layer("label", np.full(3, -0.5 * most), tops + 1.4, hue="muted", style="faint", names=names)]
    for place, way in enumerate(WAYS):
        share, rows = shares[:, place], tops + place
        called = tuple(
            f"{name}, {NAMES[way]}: {text}; share" for name, text in zip(names, texts[place], strict=True)
        )
        beside = _from(COST, share + 0.03 * most, steps)
        layers += [
            Layer("rect", x=np.zeros(3), y=rows, x2=_from(COST, share, steps), y2=rows + 0.8, hue=HUES[way],
                  names=called, numbers=share),
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


# ------------------------------------------------------------------------------------------------- the words

SENTENCES = (
    "Padded: **{0:d} places for {1:d} tokens**, a row for each document; the mask hides the padding, loss {3:.6f}.",
    "Packed without a document mask: {1:d} tokens and no padding, but every document sees those before it: "
    "**loss {4:.6f}**, {6:.2e} off.",
    "Unpadded: {1:d} tokens, {9:d} of them lost, held apart by cu_seqlens: **loss {5:.6f}**.",
    "Against the padded rows, unpadded logits differ by {2:.2e} at most and the loss by **{7:.2e}**.",
    "Forward, unpadded takes **{8:.2f} of the FLOPs** of the padded rows; the time of so small a model says little.",
    "Document {10:d} changes its first token: naively packed, logits of others move by up to **{11:.3g}**; "
    "unpadded by **{12:.3g}**.",
    "Whichever document changes, logits of others move by up to **{11:.3g}** where it is packed naively, and by "
    "**{12:.3g}** where it is unpadded.",
)

# For each break, what is said at the step at which it is seen.
SEEN = {
    "cu_seqlens_off_by_one": "cu_seqlens one too late: unpadded, logits move by up to **{12:.3g}** when the document "
    "before changes; right is 0.",
    "seam_labels": "Labels across the seams: logits differ by {2:.2e} at most, which is right; "
    "**the loss is off by {7:.2e}**.",
    "pad_is_eos": "**{9:d} of {1:d} real tokens are lost**: each document's end-of-text went with the padding, and "
    "the unpadded row ends early.",
    "positions_not_reset": "Positions run on to {13:d}, no document has more than {14:d} tokens: "
    "**logits off by {2:.3g}, the loss by {7:.3g}**.",
}
SEEN_WITH_ROPE = (
    "**Positions run on to {13:d}**, no document has more than {14:d} tokens; RoPE sees only differences, "
    "which stay right."
)


def _seen(params: RunParams) -> tuple[str, ...]:
    """The sentence of the chosen break; none where nothing is broken."""
    if params.break_it == "positions_not_reset" and params.positions == "rope":
        return (SEEN_WITH_ROPE,)
    return (SEEN[params.break_it],) if params.break_it in SEEN else ()


def _words(result: RunResult, changed: list[int], steps: int) -> Words:
    """A sentence a step; a break has its own at the step at which it is seen."""
    facts = [
        result.places_padded,
        result.tokens,
        result.max_abs_logit_error,
        result.loss_padded,
        result.loss_packed_naive,
        result.loss_unpadded,
        abs(result.loss_packed_naive - result.loss_padded),
        abs(result.loss_unpadded - result.loss_padded),
        result.flops_unpadded / result.flops_padded,
        result.tokens_lost,
    ]
    positions = [int(result.position_ids.max()), max(result.params.document_lengths)]
    overall = [0, result.leak_naive, result.leak_unpadded]
    moved = [[document, *_moved_by(result, document)] for document in changed]
    rows = [[*facts, *leak, *positions] for leak in (*[overall] * LEAKS, *moved, overall)]
    which = np.array([*range(LEAKS), *[LEAKS] * len(changed), LEAKS + 1])
    seen = _seen(result.params)
    if seen:
        which[_opens(result, steps)] = len(SENTENCES)
    return Words((*SENTENCES, *seen), which, np.array(rows, float))


def _moved_by(result: RunResult, document: int) -> list[float]:
    """The most that a logit of another document moves when this one changes: packed naively, unpadded."""
    others = np.arange(len(result.params.document_lengths)) != document
    return [float(result.leak_by_document[way][document, others].max(initial=0.0)) for way in WAYS[1:]]
