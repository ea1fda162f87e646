"""The picture of packing: document after document lies down in a pack, packs open and close, padding appears."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from explainers.contract.messages import Message, plural
from explainers.drawing.panels import Axis, Code, Line, Lines, Strip
from explainers.drawing.scene import Column, Hue, Panel, Scene, Track
from explainers.drawing.source_code import code_panel, line_with, source_of
from explainers.packing.pack import Outcome, PackResult
from explainers.packing.pack_params import HEADINGS
from explainers.packing.strategies import code_of, place
from explainers.packing.views.pack_steps import Playing, grouping, playing_of, stops
from explainers.packing.views.pack_words import words

MOST_IN_STREAM = 400  # documents; of more, the stream is not drawn
MOST_NUMBERED = 2000  # runs that carry their document's number
PADDING, LOST_RUN = -1, -3  # hues of a Strip

SYMBOLS = {
    "ℓ": Message("ℓ: tokens of the documents placed so far"),
    "w": Message("w: tokens that the packs opened so far are wide, padding included"),
}


def scene(result: PackResult) -> Scene:
    """Every document's placement, ready to be played; two strategies side by side on the same steps."""
    outcomes = [result] if result.other is None else [result, result.other]
    together, steps = grouping(outcomes)
    plays = [playing_of(outcome, result.capacity, together, steps) for outcome in outcomes]
    columns = [
        Column(1.3, _panels(result, outcome, play, plays, name))
        for outcome, play, name in zip(outcomes, plays, ("packs", "packs_beside"), strict=False)
    ]
    return Scene(
        name="packing.pack",
        title=plural(
            "{count} document in packs of {capacity:,} tokens",
            "{count:,} documents in packs of {capacity:,} tokens",
            count=len(result.documents),
            capacity=result.capacity,
        ),
        steps=steps,
        columns=(*columns, Column(0.8 if len(plays) > 1 else 0.7, (_padding_lines(result, plays),))),
        words=words(result, outcomes, plays),
        stops=stops(plays[0]),
        start=steps - 1,  # before that, two strategies have placed different documents
        reopens=True,
        rate=max(3.0, steps / 30),
        symbols=SYMBOLS,
        below=(Column(1, (_code(result, plays[0]),)),),
    )


def card(result: PackResult) -> Scene:
    """The packs alone, small: the picture of this topic on the home page."""
    together, steps = grouping([result])
    play = playing_of(result, result.capacity, together, steps)
    strip = _strip(result, result, play, [play], "packs")
    return Scene(
        name="packing.card",
        title="Documents packed into sequences",
        steps=steps,
        columns=(Column(1, (replace(strip, title="", subtitle="", height=150, row_names=(), ruler=()),)),),
        words=words(result, [result], [play]),
        start=steps - 1,
        rate=6.0,
    )


# ------------------------------------------------------------------------------------------------ the panels


def _panels(
    result: PackResult, outcome: Outcome, play: Playing, plays: Sequence[Playing], name: str
) -> tuple[Panel, ...]:
    strip = _strip(result, outcome, play, plays, name)
    if len(result.documents) > MOST_IN_STREAM:
        return (strip,)
    return strip, _stream(result, play, f"{name}_stream")


def _strip(result: PackResult, outcome: Outcome, play: Playing, plays: Sequence[Playing], name: str) -> Strip:
    """A row for each pack, as high and as wide as in the panel beside it."""
    rows = max(other.packs for other in plays)
    widest = int(max(result.capacity, *(_reach(other) for other in plays)))
    last = len(play.tokens) - 1
    fill = np.bincount(play.pack, play.length, play.packs).astype(np.int64)
    padded = np.flatnonzero((play.widths > fill) & (play.closes >= 0))
    lost = np.flatnonzero(play.closes[play.pack] < 0)
    placed_until = np.full(len(play.pack), last + 1)
    placed_until[lost] = last
    numbers = tuple(str(document) for document in play.document)
    texts = (*numbers, *[""] * len(padded), *[numbers[k] for k in lost])
    return Strip(
        name=name,
        title=HEADINGS[outcome.strategy],
        subtitle=plural(
            "{count} pack in the end, {padding:.1f}% padding (hatched)",
            "{count:,} packs in the end, {padding:.1f}% padding (hatched)",
            count=outcome.n_packs,
            padding=outcome.padding_percent,
        ),
        height=26 + min(312, max(72, 24 * rows)),
        rows=rows,
        capacity=widest,
        row=np.concatenate([play.pack, padded, play.pack[lost]]),
        start=np.concatenate([play.position, fill[padded], play.position[lost]]),
        length=np.concatenate([play.length, (play.widths - fill)[padded], play.length[lost]]),
        hue=np.concatenate([play.document, np.full(len(padded), PADDING), np.full(len(lost), LOST_RUN)]),
        appears=np.concatenate([play.step, play.closes[padded], np.full(len(lost), last)]),
        leaves=np.concatenate([placed_until, np.full(len(padded) + len(lost), last + 1)]),
        texts=texts if len(texts) <= MOST_NUMBERED else (),
        row_names=tuple(Message("pack {pack}", pack=pack) for pack in range(rows)),
        closes=np.pad(play.closes, (0, rows - play.packs), constant_values=-1),
        limit=result.capacity if widest > result.capacity else 0,
        ruler=_ruler(result.capacity, widest),
    )


def _reach(play: Playing) -> int:
    """Where the longest pack ends."""
    return int(max(play.widths.max(), (play.position + play.length).max()))


def _ruler(capacity: int, widest: int) -> tuple[tuple[int, str], ...]:
    ticks = (
        (0, "0"),
        (capacity // 2, Message("{tokens:,}", tokens=capacity // 2)),
        (capacity, plural("{count:,} token", "{count:,} tokens", count=capacity)),
    )
    return ticks if widest == capacity else (*ticks, (widest, Message("{tokens:,}", tokens=widest)))


def _stream(result: PackResult, play: Playing, name: str) -> Strip:
    """The documents that are still to be placed; those that never are stay, outlined."""
    lengths = np.asarray(result.documents)
    documents, last = len(lengths), len(play.tokens) - 1
    placed = np.full(documents, last + 1)
    placed[play.document] = play.step
    left = np.flatnonzero(placed > last)
    placed[left] = last
    starts = lengths.cumsum() - lengths
    return Strip(
        name=name,
        title="The stream: documents still to come",
        subtitle="in the order in which they came",
        height=28,
        capacity=int(lengths.sum()),
        row=np.zeros(documents + len(left), np.int64),
        start=np.concatenate([starts, starts[left]]),
        length=np.concatenate([lengths, lengths[left]]),
        hue=np.concatenate([np.arange(documents), np.full(len(left), LOST_RUN)]),
        appears=np.concatenate([np.zeros(documents, np.int64), np.full(len(left), last)]),
        leaves=np.concatenate([placed, np.full(len(left), last + 1)]),
        texts=(*(str(document) for document in range(documents)), *(str(document) for document in left)),
        notes=(
            *(_note(document, length) for document, length in enumerate(lengths.tolist())),
            *(Message("document {document}: left out", document=document) for document in left),
        ),
    )


def _note(document: int, length: int) -> Message:
    return plural(
        "document {document}: {count} token",
        "document {document}: {count:,} tokens",
        count=length,
        document=document,
    )


def _padding_lines(result: PackResult, plays: Sequence[Playing]) -> Lines:
    """Padding in % of the packs opened so far, over the tokens placed: at a step the strategies differ in those."""
    total, outcomes = int(plays[0].placed[-1]), (result, result.other)
    hues: tuple[Hue, Hue] = ("output", "score")
    lines = [
        Line(play.placed.astype(float), play.padding_percent, hue, play.label)
        for play, hue in zip(plays, hues, strict=False)
    ]
    if all((play.widths == result.capacity).all() and (play.closes >= 0).all() for play in plays):
        for bound in sorted({outcome.proven_bound for outcome in outcomes if outcome}):
            # 1 - tokens / (fewest packs × capacity)
            least = 100 * (1 - total / (bound * result.capacity))
            label = plural("least in the end: {count} pack", "least in the end: {count:,} packs", count=bound)
            lines.append(Line(np.array([0.0, total]), np.full(2, least), "muted", label, dashed=True))
    highest = max(5.0, *(float(np.nanmax(play.padding_percent)) for play in plays))
    lowest = min(0.0, *(float(np.nanmin(play.padding_percent)) for play in plays))
    return Lines(
        name="padding",
        title="Padding so far, in %",
        subtitle="of the places in the packs opened",
        height=230,
        x=Axis(0, total, label=Message("0 to {total:,} tokens placed", total=total)),
        y=Axis(1.05 * lowest, 1.05 * highest, ticks=_percents(highest), format="d"),
        lines=tuple(lines),
        shown=Track(np.arange(len(plays[0].tokens))[:, None] + 1.0),
    )


def _percents(highest: float) -> tuple[float, ...]:
    """Round numbers from 0 up, at most six."""
    step = next(step for step in (1, 2, 5, 10, 20) if highest / step <= 5)
    return tuple(float(at) for at in range(0, int(highest) + 1, step))


def _code(result: PackResult, play: Playing) -> Code:
    """The strategy's source, with the line on which its generator paused, or the one to which it had handed over."""
    functions = code_of(result.params.strategy)
    paused = (function for function in functions if result.lines[-1] in _lines_of(function))
    function = next(paused, functions[0])
    lines = np.array(result.lines)[np.maximum(play.latest, 0)]
    lines[play.latest < 0] = line_with("def ", function)
    title = Message("The code that just ran: {strategy}", strategy=result.label)
    return code_panel(function, lines, title=title, height=230)


def _lines_of(function: Callable[..., Any]) -> range:
    """The function's lines in the strategies' file; none for a function of another file."""
    if function.__module__ != place.__module__:
        return range(0)
    code, first_line = source_of(function)
    return range(first_line, first_line + len(code.splitlines()))
