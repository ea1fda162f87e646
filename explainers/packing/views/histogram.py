"""The picture of histogram packing: what is left to pack, the free space in the packs, and the packs as they fill.

Longest- and shortest-pack-first are played length by length, as they work. A plan has all its packs at once: it is
played composition by composition, the most used first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from explainers.contract.messages import LiveMessage, Message, joined, plural
from explainers.drawing.formula import formula
from explainers.drawing.panels import Axis, Code, Layer, Line, Lines, Marks, Strip
from explainers.drawing.scene import Column, Hue, Scene, Track, Words
from explainers.drawing.source_code import code_panel, line_with
from explainers.packing.histogram import GREEDY, HistogramResult
from explainers.packing.histogram_packing import least_squares_plan, linear_plan
from explainers.packing.views.histogram_steps import Playing, played

ROWS = 14  # compositions drawn as packs

SYMBOLS: Mapping[str, str] = {
    "E": Message("E: efficiency so far, the share of the packs that tokens fill"),
    "T": Message("T: tokens packed so far"),
    "P": Message("P: packs so far"),
    "C": Message("C: capacity, the tokens of a pack"),
}


def scene(result: HistogramResult) -> Scene:
    """The packing from the first length or composition to the last."""
    playing = played(result)
    return Scene(
        name="packing.histogram",
        title=Message(
            "Packing {sequences:,} sequences by their lengths: {strategy}",
            sequences=result.sequences,
            strategy=result.label,
        ),
        steps=playing.steps,
        columns=(
            Column(1.5, (_left(result, playing), _free(result, playing))),
            Column(1, (_packs(result, playing), _efficiency(result, playing))),
        ),
        words=_words(result, playing),
        start=playing.steps - 1,
        reopens=True,
        rate=12.0,
        symbols=SYMBOLS,
        step_name=Message("length") if result.strategy in GREEDY else Message("composition"),
        below=(Column(1, (_code(result, playing),)),),
    )


# ------------------------------------------------------------------------------------------------- the panels


@dataclass(frozen=True, eq=False)
class Bars:
    """What bars over ranges of lengths show. counts: what a bar counts, by its first and last length. values: (steps,
    bars). behind: (bars,) faint bars behind them, None for none."""

    name: str
    title: str
    subtitle: str
    counts: Callable[[int, int], Message]
    values: np.ndarray
    behind: np.ndarray | None
    hue: Hue
    style: Any


def _left(result: HistogramResult, playing: Playing) -> Marks:
    """Bars of the sequences not yet packed, over faint ones of all there were."""
    bars = Bars(
        name="left",
        title="Sequences still to pack, by length in tokens",
        subtitle="solid: still to pack · faint: packed",
        counts=_sequences_of,
        values=playing.left,
        behind=playing.left[0] if playing.steps else playing.left,
        hue="activation",
        style="solid",
    )
    return _bars_panel(bars, playing.width, result.capacity)


def _free(result: HistogramResult, playing: Playing) -> Marks:
    """Bars of the free tokens in the packs; those left at the end are padding."""
    bars = Bars(
        name="free",
        title="Free tokens in the packs so far, by the free space of their pack",
        subtitle="what is left at the last step is padding",
        counts=_free_tokens_of,
        values=playing.free,
        behind=None,
        hue="bad",
        style="hatched",
    )
    return _bars_panel(bars, playing.width, result.capacity)


def _sequences_of(first: int, last: int) -> Message:
    if first == last:
        return Message("sequences of {length} tokens", length=first)
    return Message("sequences of {first} to {last} tokens", first=first, last=last)


def _free_tokens_of(first: int, last: int) -> Message:
    if first == last:
        return Message("free tokens in packs with room for {length} tokens", length=first)
    return Message("free tokens in packs with room for {first} to {last} tokens", first=first, last=last)


def _bars_panel(bars: Bars, width: int, capacity: int) -> Marks:
    """A bar for each range of `width` lengths; bars that tower over all others are cut."""
    heights = np.sort(bars.values.max(0) if bars.behind is None else bars.behind)
    highest = float(heights[-1])
    cut = float(heights[-2]) * 1.15 if len(heights) > 1 and 0 < 2 * heights[-2] < highest else highest
    cut = cut or 1.0
    first = np.arange(bars.values.shape[1]) * width + 1
    last = np.minimum(first + width - 1, capacity)
    x, x2 = first - 0.5 + 0.1 * width, last + 0.5 - 0.1 * width
    zero = np.zeros(len(first))
    tops = Track(np.where(bars.values > 0, np.minimum(bars.values, cut), np.nan))
    layers = [
        Layer(
            "rect",
            x=x,
            y=zero,
            x2=x2,
            y2=tops,
            hue=bars.hue,
            style=bars.style,
            numbers=Track(bars.values),
            format="d",
            names=tuple(map(bars.counts, first.tolist(), last.tolist())),
        )
    ]
    if bars.behind is not None:
        behind = np.minimum(bars.behind, cut)
        layers.insert(0, Layer("rect", x=x, y=zero, x2=x2, y2=behind, hue=bars.hue, style="faint"))
    subtitle: list[str] = [Message("{width} lengths a bar", width=width)] if width > 1 else []
    subtitle.append(bars.subtitle)
    if cut < highest:
        subtitle.append(Message("cut at {cut:,.0f} of {highest:,.0f}", cut=cut, highest=highest))
    return Marks(
        name=bars.name,
        title=bars.title,
        subtitle=joined(subtitle, " · "),
        height=130,
        x=Axis(0.5, capacity + 0.5, ticks=_quarters(capacity), format="d"),
        y=Axis(0, 1.05 * cut, ticks=(0.0, cut / 2, cut), format=".2g"),
        layers=tuple(layers),
    )


def _packs(result: HistogramResult, playing: Playing) -> Strip:
    """The most used compositions, one pack of each, filling as the steps go."""
    kinds = result.kinds
    most_used = sorted(range(len(kinds)), key=lambda index: (-kinds[index][1], index))[:ROWS]
    if result.strategy in GREEDY:
        most_used.sort()
    runs = [run for row, index in enumerate(most_used) for run in _runs(result, playing, row, index)]
    columns = np.array([run[:5] for run in runs], np.int32).reshape(-1, 5)
    return Strip(
        name="packs",
        title="The most used packs",
        subtitle="left: how many there are of each · hatched: padding",
        rows=max(len(most_used), 1),
        capacity=max([result.capacity, *(sum(kinds[index][0]) for index in most_used)]),
        row=columns[:, 0],
        start=columns[:, 1],
        length=columns[:, 2],
        hue=columns[:, 3],
        appears=columns[:, 4],
        leaves=np.full(len(runs), playing.steps, np.int32),
        texts=tuple(run[5] for run in runs),
        notes=tuple(run[6] for run in runs),
        row_names=tuple(f"{kinds[index][1]:,}" for index in most_used) or ("",),
        closes=np.array([playing.placed_at[index][-1] for index in most_used] or [0], np.int32),
        limit=result.capacity if result.params.break_it == "capacity_off_by_one" else 0,
    )


Run = tuple[int, int, int, int, int, str, Message]  # row, start, length, hue, appears, text, note


def _runs(result: HistogramResult, playing: Playing, row: int, index: int) -> Iterator[Run]:
    """The sequences and the padding of one pack of a kind. index: of the kind."""
    pack, count = result.kinds[index]
    packs = plural("{count:,} pack", "{count:,} packs", count=count)
    at, position = playing.placed_at[index], 0
    for place, (length, step) in enumerate(zip(pack, at, strict=True)):
        note = Message("a sequence of {length:,} tokens, in each of {packs}", length=length, packs=packs)
        yield row, position, length, place, int(step), f"{length}", note
        position += length
    if (padding := result.capacity - position) > 0:
        closed = int(at[-1]) if result.strategy not in GREEDY else playing.steps - 1
        note = Message("padding: {padding:,} tokens, in each of {packs}", padding=padding, packs=packs)
        yield row, position, padding, -1, closed, f"{padding}", note


def _efficiency(result: HistogramResult, playing: Playing) -> Lines:
    """How full the packs are so far, between one sequence a pack and the bound."""
    bound = max(result.lower_bound, result.proven_bound or 0)
    best = min(100 * result.tokens / (bound * result.capacity), 100.0)
    alone = 100 - result.unpacked_padding_percent
    steps = np.arange(playing.steps, dtype=float)
    ends = np.array([0.0, max(playing.steps - 1.0, 1.0)])
    curve = 100 * playing.efficiency
    lowest = 10 * np.floor(np.nanmin([alone, *curve, 90.0]) / 10)
    return Lines(
        name="efficiency",
        title="How full the packs so far are, in %",
        subtitle=Message("dashed: what no packing of this depth exceeds; one sequence a pack")
        if result.params.depth
        else Message("dashed: what no packing exceeds; one sequence a pack"),
        height=150,
        x=Axis(0, ends[1], label="step", format="d"),
        y=Axis(lowest, 101, ticks=tuple(np.linspace(lowest, 100, 3)), format=".3g"),
        lines=(
            Line(ends, np.full(2, best), "good", dashed=True),
            Line(ends, np.full(2, alone), "muted", dashed=True),
            Line(steps, curve, "output"),
        ),
        shown=Track(steps[:, None] + 1),
    )


def _code(result: HistogramResult, playing: Playing) -> Code:
    """The packer's source. A step of a greedy one is a pass of its loop; a plan is made at once, before the steps."""
    ran: dict[str, Callable[..., Any]] = {**GREEDY, "nnlshp": least_squares_plan, "lp": linear_plan}
    packer = ran[result.strategy]
    lines, note = None, Message("the whole plan at once; the steps show its packs, the most used first")
    if result.strategy in GREEDY:
        loop = line_with("in longest_first(counts)", packer)
        lines = np.array([line_with("def ", packer)] + [loop] * (playing.steps - 1))
        if (playing.shortest == playing.longest)[1:].all():
            note = Message("a step is one pass of the marked loop")
        else:
            note = Message("a step is several passes of the marked loop")
    return code_panel(packer, lines, note=note)


def _quarters(capacity: int) -> tuple[float, ...]:
    return tuple(float(max(round(capacity * part / 4), 1)) for part in range(5))


# -------------------------------------------------------------------------------------------------- the words

COLUMNS = ("shortest", "longest", "placed", "formed", "left", "packs", "full", "tokens")

SO_FAR = LiveMessage("So far **{packs:d} packs**, {full:.1f}% full.")
# Strategy -> the sentence of a step of one length, and of one of several.
SENTENCES: Mapping[str, tuple[Message, Message]] = {
    "lpfhp": (
        LiveMessage(
            "The {placed:d} sequences of length {shortest:d} go into the fullest packs that take them, {formed:d} into "
            "new ones."
        ),
        LiveMessage(
            "The {placed:d} sequences of lengths {longest:d} to {shortest:d} go into the fullest packs that take them; "
            "{formed:d} new packs."
        ),
    ),
    "spfhp": (
        LiveMessage(
            "The {placed:d} sequences of length {shortest:d} go into the packs with the most space; {formed:d} new "
            "packs."
        ),
        LiveMessage(
            "The {placed:d} sequences of lengths {longest:d} to {shortest:d} go into the packs with the most space; "
            "{formed:d} new packs."
        ),
    ),
}
OF_A_PLAN = LiveMessage(
    "{formed:d} packs of the next most used composition take {placed:d} sequences of {shortest:d} to {longest:d} "
    "tokens."
)


def _words(result: HistogramResult, playing: Playing) -> Words:
    """Numbers of a step: lengths; sequences placed and packs opened by it; then of all so far, `full` in %."""
    values = np.stack(
        [
            playing.shortest,
            playing.longest,
            playing.placed,
            playing.formed,
            playing.left.sum(1),
            playing.packs,
            100 * np.nan_to_num(playing.efficiency),
            playing.tokens,
        ],
        axis=1,
    ).astype(float)
    first = LiveMessage(
        "Nothing is packed yet: {left:d} sequences. With one to a pack, **{padding:.1f}%** of every batch would be "
        "padding.",
        padding=result.unpacked_padding_percent,
    )
    of_one, of_several = (
        joined([sentence, SO_FAR], " ") for sentence in SENTENCES.get(result.strategy, (OF_A_PLAN, OF_A_PLAN))
    )
    which = np.where(playing.shortest == playing.longest, 1, 2)
    which[0] = 0
    which[-1] = 3
    numbers = (
        rf"\frac{{\slot{{tokens:d}}}}{{\slot{{packs:d}} \times {result.capacity}}} = \slot{{full:.2f}}\,\%"
    )
    so_far = rf"E = \frac{{T}}{{P \, C}} = {numbers}"
    return Words(
        sentences=(first, of_one, of_several, joined([_end(result), _fewest(result)], " ")),
        which=which,
        values=values,
        formulas=("", *[formula(so_far)] * 3),
        columns=COLUMNS,
    )


def _end(result: HistogramResult) -> Message:
    """How many packs there are in the end, or what is in none."""
    if not result.checks[0].passed:
        return Message(
            "{packs:,} packs, but **{missing:,.0f} sequences** are in none: what rounding left over is lost.",
            packs=result.packs,
            missing=result.checks[0].error,
        )
    return Message(
        "{sequences:,} sequences in **{packs:,} packs**: {full:.2f}% full, {padding:.2f}% padding.",
        sequences=result.sequences,
        packs=result.packs,
        full=result.efficiency_percent,
        padding=result.padding_percent,
    )


def _fewest(result: HistogramResult) -> Message:
    """The best bound on the packs."""
    bound = result.proven_bound or result.lower_bound
    if result.proven_bound or result.params.depth:
        return Message("No packing of this depth takes fewer than {bound:,}.", bound=bound)
    return Message("No packing takes fewer than {bound:,}.", bound=bound)
