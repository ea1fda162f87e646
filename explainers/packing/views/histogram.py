"""The picture of histogram packing: what is left to pack, the free space in the packs, and the packs as they fill.

Longest- and shortest-pack-first are played length by length, as they work. A plan has all its packs at once: it is
played composition by composition, the most used first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from explainers.drawing.formula import formula
from explainers.drawing.panels import Axis, Code, Layer, Line, Lines, Marks, Strip
from explainers.drawing.scene import Column, Hue, Scene, Track, Words
from explainers.drawing.source_code import code_panel, line_with
from explainers.packing.histogram import GREEDY, HistogramResult
from explainers.packing.histogram_packing import Packs, least_squares_plan, linear_plan

MOST_STEPS = 256  # of lengths or compositions; where there are more, a step shows several
MOST_BARS = 128
ROWS = 14  # compositions drawn as packs

SYMBOLS: Mapping[str, str] = {
    "E": "E: efficiency so far, the share of the packs that tokens fill",
    "T": "T: tokens packed so far",
    "P": "P: packs so far",
    "C": "C: capacity, the tokens of a pack",
}


@dataclass(frozen=True, eq=False)
class Playing:
    """The packing, step by step; step 0 is before it.

    shortest, longest: (steps,) the lengths that a step packs. placed: (steps,) sequences that it packs. formed:
    (steps,) packs that it opens. packs, tokens: (steps,) so far. left: (steps, bars) sequences not yet packed, by
    length. free: (steps, bars) free tokens in the packs so far, by the free space of their pack. width: lengths in a
    bar. placed_at: for each kind of pack, the step of each of its sequences.
    """

    shortest: np.ndarray
    longest: np.ndarray
    placed: np.ndarray
    formed: np.ndarray
    packs: np.ndarray
    tokens: np.ndarray
    left: np.ndarray
    free: np.ndarray
    width: int
    placed_at: list[np.ndarray]

    @property
    def steps(self) -> int:
        return len(self.packs)

    @property
    def efficiency(self) -> np.ndarray:
        """(steps,) as a share of 1, over all free and filled tokens; NaN before there is a pack."""
        whole = self.tokens + self.free.sum(1)
        return np.divide(self.tokens, whole, out=np.full(self.steps, np.nan), where=whole > 0)


def scene(result: HistogramResult) -> Scene:
    """The packing from the first length or composition to the last."""
    playing = played(result)
    return Scene(
        name="packing.histogram",
        title=f"Packing {result.sequences:,} sequences by their lengths: {result.label}",
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
        step_name="length" if result.strategy in GREEDY else "composition",
        below=(Column(1, (_code(result, playing),)),),
    )


# ------------------------------------------------------------------------------------------------- the steps


def played(result: HistogramResult) -> Playing:
    """The steps, worked out from the finished packs: greedily, a pack is filled from its longest sequence on."""
    capacity, kinds = result.histogram.capacity, result.kinds
    by_length = result.strategy in GREEDY
    placed_at, last = _steps_by_length(result) if by_length else _steps_by_use(kinds)
    steps, width = last + 1, -(-capacity // MOST_BARS)
    bars = -(-capacity // width)

    # one entry a sequence of each kind of pack: when it is placed, and the free space of its pack from then on
    length = np.array([one for kind, _ in kinds for one in kind], int)
    count = np.array([count for kind, count in kinds for _ in kind], float)
    opens = np.array([at == 0 for kind, _ in kinds for at in range(len(kind))], bool)
    space = np.array([one for kind, _ in kinds for one in capacity - np.cumsum(kind)], int).clip(0)
    at = np.concatenate([[], *placed_at]).astype(int)
    until = np.concatenate([[], *[np.append(one[1:], steps) for one in placed_at]]).astype(int)

    free = np.zeros((steps + 1, bars))
    np.add.at(free, (at, (space - 1).clip(0) // width), count * space)
    np.add.at(free, (until, (space - 1).clip(0) // width), -count * space)
    packed = np.zeros((steps, bars))
    np.add.at(packed, (at, (length - 1).clip(0, capacity - 1) // width), count)
    whole = np.add.reduceat(result.histogram.counts, np.arange(0, capacity, width))
    shortest, longest = np.full(steps, capacity + 1), np.zeros(steps, int)
    np.minimum.at(shortest, at, length)
    np.maximum.at(longest, at, length)
    formed = np.bincount(at, count * opens, minlength=steps)
    return Playing(
        shortest=shortest,
        longest=longest,
        placed=packed.sum(1),
        formed=formed,
        packs=formed.cumsum(),
        tokens=np.bincount(at, count * length, minlength=steps).cumsum(),
        left=(whole - packed.cumsum(0)).clip(0),
        free=free[:steps].cumsum(0).clip(0),
        width=width,
        placed_at=placed_at,
    )


def _steps_by_length(result: HistogramResult) -> tuple[list[np.ndarray], int]:
    """The step of each sequence of each kind of pack, and the last step: from the longest length down."""
    occurring = np.flatnonzero(result.histogram.counts)[::-1] + 1
    stride = -(-len(occurring) // MOST_STEPS)
    step_of = np.zeros(result.histogram.capacity + 1, int)
    step_of[occurring] = 1 + np.arange(len(occurring)) // stride
    return [step_of[list(kind)] for kind, _ in result.kinds], int(step_of.max())


def _steps_by_use(kinds: Packs) -> tuple[list[np.ndarray], int]:
    """The same for packs that a plan forms whole: the most used composition first."""
    order = np.argsort([-count for _, count in kinds], kind="stable")
    stride = max(-(-len(kinds) // MOST_STEPS), 1)
    step = np.zeros(len(kinds), int)
    step[order] = 1 + np.arange(len(kinds)) // stride
    at = [np.full(len(kind), one) for (kind, _), one in zip(kinds, step, strict=True)]
    return at, int(step.max(initial=0))


# ------------------------------------------------------------------------------------------------- the panels


@dataclass(frozen=True, eq=False)
class Bars:
    """What bars over ranges of lengths show. called: what they count, before the range. values: (steps, bars). behind:
    (bars,) faint bars behind them, None for none."""

    name: str
    title: str
    subtitle: str
    called: str
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
        called="sequences of",
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
        called="free tokens in packs with room for",
        values=playing.free,
        behind=None,
        hue="bad",
        style="hatched",
    )
    return _bars_panel(bars, playing.width, result.capacity)


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
    ranges = [f"{a}" if a == b else f"{a} to {b}" for a, b in zip(first, last, strict=True)]
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
            names=tuple(f"{bars.called} {lengths} tokens" for lengths in ranges),
        )
    ]
    if bars.behind is not None:
        behind = np.minimum(bars.behind, cut)
        layers.insert(0, Layer("rect", x=x, y=zero, x2=x2, y2=behind, hue=bars.hue, style="faint"))
    pooled = f"{width} lengths a bar" if width > 1 else ""
    too_high = f"cut at {cut:,.0f} of {highest:,.0f}" if cut < highest else ""
    return Marks(
        name=bars.name,
        title=bars.title,
        subtitle=" · ".join(part for part in (pooled, bars.subtitle, too_high) if part),
        height=130,
        x=Axis(0.5, capacity + 0.5, ticks=_quarters(capacity), format="d"),
        y=Axis(0, 1.05 * cut, ticks=(0.0, cut / 2, cut), format=".2g"),
        layers=tuple(layers),
    )


def _packs(result: HistogramResult, playing: Playing) -> Strip:
    """The most used compositions, one pack of each, filling as the steps go."""
    kinds = result.kinds
    most_used = sorted(range(len(kinds)), key=lambda one: (-kinds[one][1], one))[:ROWS]
    if result.strategy in GREEDY:
        most_used.sort()
    runs: list[tuple[int, int, int, int, int, str, str]] = []  # row, start, length, hue, appears, text, note
    for row, index in enumerate(most_used):
        pack, count = kinds[index]
        at, position = playing.placed_at[index], 0
        for place, (length, step) in enumerate(zip(pack, at, strict=True)):
            note = f"a sequence of {length:,} tokens, in each of {count:,} packs"
            runs.append((row, position, length, place, int(step), f"{length}", note))
            position += length
        if (padding := result.capacity - position) > 0:
            closed = int(at[-1]) if result.strategy not in GREEDY else playing.steps - 1
            note = f"padding: {padding:,} tokens, in each of {count:,} packs"
            runs.append((row, position, padding, -1, closed, f"{padding}", note))
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


def _efficiency(result: HistogramResult, playing: Playing) -> Lines:
    """How full the packs are so far, between one sequence a pack and the bound."""
    bound = max(result.lower_bound, result.proven_bound or 0)
    best = min(100 * result.tokens / (bound * result.capacity), 100.0)
    alone = 100 - result.unpacked_padding_percent
    steps = np.arange(playing.steps, dtype=float)
    ends = np.array([0.0, max(playing.steps - 1.0, 1.0)])
    curve = 100 * playing.efficiency
    of_depth = " of this depth" if result.params.depth else ""
    lowest = 10 * np.floor(np.nanmin([alone, *curve, 90.0]) / 10)
    return Lines(
        name="efficiency",
        title="How full the packs so far are, in %",
        subtitle=f"dashed: what no packing{of_depth} exceeds; one sequence a pack",
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
    lines, steps = None, "the whole plan at once; the steps show its packs, the most used first"
    if result.strategy in GREEDY:
        loop = line_with("in longest_first(counts)", packer)
        lines = np.array([line_with("def ", packer)] + [loop] * (playing.steps - 1))
        single = bool((playing.shortest == playing.longest)[1:].all())
        steps = f"a step is {'one pass' if single else 'several passes'} of the marked loop"
    return code_panel(packer, lines, note=steps)


def _quarters(capacity: int) -> tuple[float, ...]:
    return tuple(float(max(round(capacity * part / 4), 1)) for part in range(5))


# -------------------------------------------------------------------------------------------------- the words

SO_FAR = " So far **{5:d} packs**, {6:.1f}% full."
WORDS: Mapping[str, tuple[str, str]] = {
    "lpfhp": (
        "The {2:d} sequences of length {0:d} go into the fullest packs that take them, {3:d} into new ones." + SO_FAR,
        "The {2:d} sequences of lengths {1:d} to {0:d} go into the fullest packs that take them; {3:d} new packs."
        + SO_FAR,
    ),
    "spfhp": (
        "The {2:d} sequences of length {0:d} go into the packs with the most space; {3:d} new packs." + SO_FAR,
        "The {2:d} sequences of lengths {1:d} to {0:d} go into the packs with the most space; {3:d} new packs."
        + SO_FAR,
    ),
}  # fmt: skip
FORMED = (
    "{3:d} packs of the next most used composition take {2:d} sequences of {0:d} to {1:d} tokens." + SO_FAR
)


def _words(result: HistogramResult, playing: Playing) -> Words:
    """The columns: 0 shortest, 1 longest length, 2 sequences, 3 packs opened, 4 left, 5 packs, 6 %, 7 tokens so far."""
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
    first = (
        f"Nothing is packed yet: {{4:d}} sequences. With one to a pack, "
        f"**{result.unpacked_padding_percent:.1f}%** of every batch would be padding."
    )
    one, several = WORDS.get(result.strategy, (FORMED, FORMED))
    which = np.where(playing.shortest == playing.longest, 1, 2)
    which[0] = 0
    which[-1] = 3
    numbers = rf"\frac{{\slot{{7:d}}}}{{\slot{{5:d}} \times {result.capacity}}} = \slot{{6:.2f}}\,\%"
    so_far = rf"E = \frac{{T}}{{P \, C}} = {numbers}"
    formulas = ("", *[formula(so_far)] * 3)
    return Words((first, one, several, _end(result)), which, values, formulas)


def _end(result: HistogramResult) -> str:
    words = (
        f"{result.sequences:,} sequences in **{result.packs:,} packs**: {result.efficiency_percent:.2f}% full, "
        f"{result.padding_percent:.2f}% padding."
    )
    if not result.checks[0].passed:
        missing = f"{result.checks[0].error:,.0f}"
        words = f"{result.packs:,} packs, but **{missing} sequences** are in none: what rounding left over is lost."
    if result.proven_bound:
        return words + f" No packing of this depth takes fewer than {result.proven_bound:,}."
    of_depth = " of this depth" if result.params.depth else ""
    return words + f" No packing{of_depth} takes fewer than {result.lower_bound:,}."
