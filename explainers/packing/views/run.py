"""The picture of a run three ways: where the tokens lie, who leaks into whom, what it costs."""

from __future__ import annotations

import inspect
import itertools

import numpy as np

from explainers.packing.decoder_three_ways import unpadded
from explainers.packing.run import WAYS, RunResult
from explainers.scene import (
    Axis,
    Band,
    Code,
    Column,
    Hue,
    Layer,
    Marks,
    Matrix,
    Panel,
    Row,
    Scene,
    Strip,
    Tiles,
    Track,
    Words,
)

PADDED, NAIVE, UNPADDED, COMPARED, COST, LEAKS = range(
    6
)  # the steps; from LEAKS on one a document with tokens
NAMES = {"padded": "padded", "packed_naive": "packed, naive", "unpadded": "unpadded"}
HUES: dict[str, Hue] = {"padded": "muted", "packed_naive": "bad", "unpadded": "output"}


def run_scene(result: RunResult) -> Scene:
    """The three ways in turn, what they say and cost, then the leak of one document after another."""
    changed = [document for document, length in enumerate(result.params.document_lengths) if length]
    steps = LEAKS + len(changed)
    return Scene(
        name="packing.run",
        title="The same documents three ways: padded, packed without a document mask, unpadded",
        steps=steps,
        columns=(
            Column(1.5, (*_strips(result, changed, steps), _leaks(result, changed, steps))),
            Column(1, (_losses(result, steps), _costs(result, steps))),
        ),
        words=_words(result, changed),
        stops=(PADDED, COMPARED, LEAKS),
        start=LEAKS if result.passed else COMPARED,
        reopens=True,
        rate=0.7,
        below=(Column(1, (_code(),)),),
    )


# ------------------------------------------------------------------------------------------------ the panels


def _strips(result: RunResult, changed: list[int], steps: int) -> tuple[Panel, ...]:
    lengths = result.params.document_lengths
    starts = np.cumsum([0, *lengths])
    ruler = tuple((int(at), str(int(at))) for at in dict.fromkeys(result.cu_seqlens.tolist()))
    rows = tuple((document, 0, length, document) for document, length in enumerate(lengths) if length)
    rows += tuple((document, length, max(lengths) - length, -1) for document, length in enumerate(lengths))
    one_row = tuple((0, int(starts[document]), lengths[document], document) for document in changed)
    lost = result.tokens_lost
    kept = tuple(
        (0, start, end - start, document) for document, start, end in _sequences(result) if end > start
    )
    return (
        _strip("padded", f"{result.places_padded} places for {result.tokens} tokens; hatched: padding", rows,
               len(lengths), max(lengths), PADDED, steps),
        _strip("packed_naive", "one long row, causal only; outlined: the token that was changed", one_row, 1,
               result.tokens, NAIVE, steps, [(int(starts[document]), document) for document in changed]),
        _strip("unpadded", "ticks: cu_seqlens" + (f"; {lost} real tokens lost" if lost else ""), kept, 1,
               max(result.tokens - lost, 1), UNPADDED, steps, ruler=ruler),
    )  # fmt: skip


def _sequences(result: RunResult) -> list[tuple[int, int, int]]:
    """The sequences that the unpadded run really attends within: number, first token, end."""
    bounds = result.cu_seqlens.tolist()
    return [(number, *ends) for number, ends in enumerate(itertools.pairwise(bounds))]


def _strip(
    way: str,
    subtitle: str,
    runs: tuple[tuple[int, int, int, int], ...],
    rows: int,
    capacity: int,
    appears: int,
    steps: int,
    changes: list[tuple[int, int]] | None = None,
    ruler: tuple[tuple[int, str], ...] = (),
) -> Strip:
    """Runs (row, start, length, hue) from step `appears`; changes: (start, document) of each leak's changed token."""
    runs = tuple(one for one in runs if one[2])
    marks = changes or []
    table = np.array([*runs, *((0, start, 1, document) for start, document in marks)], np.int32).reshape(
        -1, 4
    )
    at = np.arange(len(marks))
    return Strip(
        name=way,
        title=NAMES[way].capitalize(),
        subtitle=subtitle,
        rows=rows,
        capacity=capacity,
        row=table[:, 0],
        start=table[:, 1],
        length=table[:, 2],
        hue=table[:, 3],
        appears=np.concatenate([np.full(len(runs), appears), LEAKS + at]),
        leaves=np.concatenate([np.full(len(runs), steps), LEAKS + 1 + at]),
        texts=tuple(str(hue + 1) if hue >= 0 else "" for *_, hue in runs) + ("",) * len(marks),
        notes=tuple(
            f"document {hue + 1}: {length} tokens" if hue >= 0 else f"padding: {length} places"
            for _, _, length, hue in runs
        )
        + tuple(f"the first token of document {document + 1}, changed" for _, document in marks),
        ruler=ruler,
    )


def _leaks(result: RunResult, changed: list[int], steps: int) -> Row:
    """Whose logits move (columns) when the first token of a document (rows) is changed."""
    largest = max(float(moved.max(initial=0.0)) for moved in result.leak_by_document.values()) or 1.0
    documents = len(result.params.document_lengths)
    rows = np.array([(0, 0)] * LEAKS + [(document, document + 1) for document in changed])
    visited = np.full((documents, documents), LEAKS)
    current = np.full((steps, 2), -1)
    current[LEAKS:, 0] = changed

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
    """Bars of the mean loss of each document, the three ways next to each other."""
    documents = len(result.params.document_lengths)
    values = np.stack([result.document_losses[way] for way in WAYS])
    most = float(np.nanmax(values)) * 1.05
    return Marks(
        name="losses",
        title="Loss of each document",
        subtitle="grey padded, red packed without a document mask, teal unpadded; none: no label",
        height=40 + 34 * documents,
        x=Axis(0, most, label="nats"),
        y=Axis(0.5, documents + 0.6, flip=True, ticks=tuple(map(float, range(1, documents + 1))), format="d"),
        layers=tuple(
            Layer(
                "rect",
                np.zeros(documents),
                np.arange(documents) + 0.62 + 0.26 * place,
                _from(COMPARED if way != "padded" else PADDED, values[place], steps, blank=np.nan),
                np.arange(documents) + 0.86 + 0.26 * place,
                hue=HUES[way],
                names=tuple(f"document {document + 1}, {NAMES[way]}" for document in range(documents)),
                numbers=values[place],
                format=".4f",
            )
            for place, way in enumerate(WAYS)
        ),
        row_name="document",
    )


def _costs(result: RunResult, steps: int) -> Marks:
    """FLOPs, activation bytes and seconds as shares of the padded run, with the numbers."""
    flops = (result.flops_padded, result.flops_packed_naive, result.flops_unpadded)
    rows: list[tuple[str, float, Hue]] = [
        (f"{kind}, {NAMES[way]}: {shown}", value / whole, HUES[way])
        for way, flop in zip(WAYS, flops, strict=True)
        for kind, value, whole, shown in (
            ("FLOPs", flop, result.flops_padded, f"{flop / 1e6:,.1f} million"),
            ("activations", result.activation_bytes[way], result.activation_bytes["padded"],
             f"{result.activation_bytes[way] / 1e3:,.0f} kB"),
            ("time", result.seconds[way], result.seconds["padded"], f"{1e3 * result.seconds[way]:,.1f} ms"),
        )
    ]  # fmt: skip
    rows.sort(key=lambda row: ("FLOPs", "activations", "time").index(row[0].split(",")[0]))
    most = max(share for _, share, _ in rows)
    bars = tuple(
        Layer(
            "rect",
            np.zeros(1),
            np.array([place + 0.1]),
            _from(COST, np.array([share]), steps, blank=np.nan),
            np.array([place + 0.42]),
            hue=hue,
            names=(text,),
        )
        for place, (text, share, hue) in enumerate(rows)
    )
    places = np.arange(len(rows), dtype=float)
    labels = Layer(
        "label",
        _from(COST, np.zeros(len(rows)), steps, blank=np.nan),
        places - 0.16,
        hue="muted",
        names=tuple(text for text, *_ in rows),
        style="faint",
    )
    return Marks(
        name="costs",
        title="What it costs",
        subtitle="bars: shares of the padded run; FLOPs forward, time forward and backward",
        height=300,
        x=Axis(0, most),
        y=Axis(-0.5, len(rows) - 0.4, flip=True),
        layers=(*bars, labels),
        frame=False,
    )


def _from(step: int, values: np.ndarray, steps: int, *, blank: float) -> Track:
    """`values` from a step on, `blank` before it."""
    rows = np.stack([np.full(len(values), blank), values])
    return Track(rows, (np.arange(steps) >= step).astype(np.int32))


def _code() -> Code:
    lines, first = inspect.getsourcelines(unpadded)
    return Code(
        name="code",
        title="Removing the padding",
        subtitle="explainers/packing/decoder_three_ways.py",
        source="".join(lines),
        first_line=first,
    )


# ------------------------------------------------------------------------------------------------- the words

SENTENCES = (
    "Padded: **{0:d} places for {1:d} tokens**, a row for each document; the mask hides the padding, loss {3:.6f}.",
    "Packed without a document mask: {1:d} tokens and no padding, but every document sees those before it: "
    "**loss {4:.6f}**, {6:.2e} off.",
    "Unpadded: {1:d} tokens, {9:d} of them lost, held apart by cu_seqlens: **loss {5:.6f}**.",
    "Against the padded rows, unpadded logits differ by {2:.2e} at most and the loss by **{7:.2e}**.",
    "Forward, unpadded takes **{8:.2f} of the FLOPs** of the padded rows.",
    "Document {10:d} changes its first token: naively packed, logits of others move by up to **{11:.3g}**; "
    "unpadded by **{12:.3g}**.",
)


def _words(result: RunResult, changed: list[int]) -> Words:
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
    rows = [[*facts, 0, 0, 0]] * LEAKS
    for document in changed:
        others = np.arange(len(result.params.document_lengths)) != document
        moved = [float(result.leak_by_document[way][document, others].max(initial=0.0)) for way in WAYS[1:]]
        rows.append([*facts, document + 1, *moved])
    which = np.array([*range(LEAKS), *[LEAKS] * len(changed)])
    return Words(SENTENCES, which, np.array(rows, float))
