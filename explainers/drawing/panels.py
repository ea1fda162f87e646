"""The kinds of panel of a scene: matrix, marks, lines, bands, strip, cells, code and text, as plain data.

Each is a frozen dataclass with a class variable `kind`, drawn by `explainers/player/panels/<kind>.js`; a new kind is
one more of both. What changes from step to step in it is a `Track` or `Patches` (explainers/drawing/scene.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from explainers.drawing.scene import Hue, Panel, Patches, Track, Words


@dataclass(frozen=True)
class Band:
    """A row of labelled tiles along a side of a matrix (Q0, Q1, ... on the left), lit where the current tile is."""

    side: Literal["left", "top"]
    label: str
    hue: Hue


@dataclass(frozen=True)
class Tiles:
    """The tiling of a matrix.

    block: rows and columns of a tile. visited_at: (tile rows, tile columns), the step at which a tile becomes
    current, -1 for a tile that is skipped. current: (steps, 2) row and column of the current tile, -1 for none.
    """

    block: tuple[int, int]
    visited_at: np.ndarray
    current: np.ndarray


@dataclass(frozen=True)
class Matrix(Panel):
    """A matrix of values as coloured cells, with tiles on it.

    shape: rows, columns. values: an array of that shape, or a Track or Patches of it; NaN cells stay blank,
    infinite ones (what overflowed) are painted in the colour of an error.
    scale: "sequential" from low to high in one hue, "diverging" around zero. limits: a Track of (low, high), where
    the range changes with the steps. reveal: cells of tiles not yet
    visited stay hidden. pinned: a Track of one row index, marked by a dashed line. rows: a Track of (first, last + 1),
    the rows outlined. row_name, column_name: what the hover calls the indices. cell: "stretch" fills the width,
    "square" keeps cells square.
    """

    kind: ClassVar[str] = "matrix"
    shape: tuple[int, int] = (0, 0)
    values: np.ndarray | Track | Patches = field(default_factory=lambda: np.zeros(0, np.float32))
    scale: Literal["sequential", "diverging"] = "sequential"
    low: float = 0.0
    high: float = 1.0
    limits: Track | None = None
    hue: Hue = "score"
    tiles: Tiles | None = None
    bands: tuple[Band, ...] = ()
    reveal: bool = False
    pinned: Track | None = None
    pinned_label: str = ""
    rows: Track | None = None
    row_name: str = "row"
    column_name: str = "column"
    cell: Literal["stretch", "square"] = "stretch"


@dataclass(frozen=True)
class Layer:
    """Marks of one kind in data coordinates; NaN hides a mark.

    x, y: where (rect and segment: to x2, y2; arrow: towards x2, y2). numbers: what a label shows by `format`
    right after its name, and the hover. names: what labels and the hover call each mark. style of a label:
    "hollow" is written in black or white, whichever is easier to read on what lies under it. shown: a Track of one
    number, how many of the marks there are so far.
    """

    mark: Literal["point", "segment", "rect", "arrow", "label"]
    x: np.ndarray | Track
    y: np.ndarray | Track
    x2: np.ndarray | Track | None = None
    y2: np.ndarray | Track | None = None
    hue: Hue = "score"
    style: Literal["solid", "hollow", "hatched", "faint"] = "solid"
    size: float = 4.0
    numbers: np.ndarray | Track | None = None
    format: str = ".2f"
    names: tuple[str, ...] = ()
    anchor: Literal["left", "middle", "right"] = "left"
    shown: Track | None = None


@dataclass(frozen=True)
class Axis:
    """The data range of one direction. flip: the first value at the top, as in a matrix. ticks: values to label."""

    low: float
    high: float
    log: bool = False
    flip: bool = False
    label: str = ""
    ticks: tuple[float, ...] = ()
    format: str = ".3g"


@dataclass(frozen=True)
class Marks(Panel):
    """Points, segments, rectangles, arrows and labels in data coordinates: dumbbells, wiring, bars, memory maps.

    highlight: a Track of one y value, whose row is shaded. readout: a Track of one number, printed under the panel.
    frame: the drawing has a tinted ground. row_name: an event and the hover give the nearest whole y by this name.
    """

    kind: ClassVar[str] = "marks"
    x: Axis = Axis(0, 1)
    y: Axis = Axis(0, 1)
    layers: tuple[Layer, ...] = ()
    highlight: Track | None = None
    readout: Track | None = None
    readout_format: str = ".2f"
    frame: bool = True
    row_name: str = ""


@dataclass(frozen=True)
class Line:
    """One curve: x, y (points,); NaN breaks it. label: at its end and in the hover."""

    x: np.ndarray
    y: np.ndarray
    hue: Hue = "output"
    label: str = ""
    dashed: bool = False


@dataclass(frozen=True)
class Area:
    """What lies between two curves (quantiles): x, low, high (points,); from the first NaN on it is left out."""

    x: np.ndarray
    low: np.ndarray
    high: np.ndarray
    hue: Hue = "output"


@dataclass(frozen=True)
class Lines(Panel):
    """Curves that grow with the steps. shown: a Track of one number, how many points of each curve are drawn so far.

    areas: drawn under the curves, and over one another. ahead: what lies after the current step is drawn faint. marks:
    x from which on something else holds, as dashed uprights.
    """

    kind: ClassVar[str] = "lines"
    x: Axis = Axis(0, 1)
    y: Axis = Axis(0, 1)
    lines: tuple[Line, ...] = ()
    areas: tuple[Area, ...] = ()
    shown: Track | None = None
    ahead: bool = False
    marks: tuple[float, ...] = ()


@dataclass(frozen=True)
class Bands(Panel):
    """Quantities stacked over the steps: memory by what it holds. What lies after the current step is drawn faint.

    values: (bands, steps), none below zero, the first band at the bottom. names, hues, styles: one a band (styles
    may be left out: all solid). lines: curves over the same steps, drawn over the bands (what was predicted). marked:
    a step whose sum is labelled (the peak), -1 for none. format: of the sums and of the hover. highest: the top of the
    axis; 0: a little above the highest sum.
    """

    kind: ClassVar[str] = "bands"
    values: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    names: tuple[str, ...] = ()
    hues: tuple[Hue, ...] = ()
    styles: tuple[Literal["solid", "hatched", "hollow"], ...] = ()
    lines: tuple[Line, ...] = ()
    marked: int = -1
    highest: float = 0.0
    format: str = "bytes"
    step_label: str = ""


@dataclass(frozen=True)
class Strip(Panel):
    """Packs as rows of coloured runs of tokens. Rows that do not fit scroll, so that the current one is in sight.

    rows: how many. capacity: tokens across. row, start, length: (runs,) where a run lies, in tokens. hue: (runs,) a
    document's number (a cycle of eight colours), -1 padding (hatched), -2 neutral, -3 ignored or lost (outlined).
    appears, leaves: (runs,) a run is there in the steps [appears, leaves). texts: drawn in the runs where they fit;
    notes: what the hover says; row_names: at the left of the rows (each one a run or row, or none at all). closes:
    (rows,) the step from which a row is closed. limit: a dashed line after this number of tokens; 0 for none. ruler:
    (position, text) ticks under the rows (cu_seqlens).
    """

    kind: ClassVar[str] = "strip"
    rows: int = 1
    capacity: int = 1
    row: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    start: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    length: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    hue: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    appears: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    leaves: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    texts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    row_names: tuple[str, ...] = ()
    closes: np.ndarray | None = None
    limit: int = 0
    ruler: tuple[tuple[int, str], ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError where the runs and the rows do not fit together, so that the player never has to guess."""
        runs = len(self.row)
        wanted = dict.fromkeys(("start", "length", "hue", "appears", "leaves"), runs)
        wanted |= {name: runs for name in ("texts", "notes") if getattr(self, name)}
        wanted |= {"row_names": self.rows} if self.row_names else {}
        wanted |= {} if self.closes is None else {"closes": self.rows}
        for name, count in wanted.items():
            if len(getattr(self, name)) != count:
                raise ValueError(f"strip {self.name}: {len(getattr(self, name))} {name}, not {count}")
        ends = self.start + self.length
        if runs and not (self.row.min() >= 0 and self.row.max() < self.rows):
            raise ValueError(f"strip {self.name}: a run lies outside its {self.rows} rows")
        if runs and not (self.start.min() >= 0 and ends.max() <= self.capacity):
            raise ValueError(f"strip {self.name}: a run lies outside its {self.capacity} tokens")


@dataclass(frozen=True)
class Arrow:
    """A labelled arrow from one cell of a grid world to another (a jump)."""

    cell: int
    to: int
    label: str = ""


@dataclass(frozen=True)
class Cells(Panel):
    """A grid world seen from above, its cells numbered row by row.

    shape: rows, columns. kinds: (cells,) 0 floor, 1 wall, 2 forbidden (dashed outline), 3 target (solid outline).
    start: a cell, -1 for none; a Track of it, where it moves. directions: (rows down, columns right) of each action;
    (0, 0) is to stay. values: (cells,), the colour of whole cells, diverging around zero and saturated at `limit`; NaN:
    none. q: (cells * actions,), the value of each action as a triangle towards where it leads, staying as a disc; takes
    the place of `values`. policy: (cells * actions,), probabilities, drawn as arrows as long as they are probable,
    staying as a ring. epsilon: a Track of one number, for a policy that follows from q: with probability epsilon any
    action, else one of the best; first_best: of equal ones only the first, instead of all. agent: a Track of (cell,
    action intended, action executed; -1 for none). flash: a Track of numbers written beside the agent, by flash_names
    and format (its reward, its TD error). trail: how many past cells of the agent are drawn. wind: (columns,) strength,
    written under the columns. arrows: jumps. decimals: of the numbers in the cells, which are drawn where they fit.
    paint: a drag sends the cells it crossed with the click's event, as row * columns + column, while the page says that
    it paints. told: a Track of the cell that a step's words speak of: a click goes to the last such step, or else to
    the next.
    """

    kind: ClassVar[str] = "cells"
    shape: tuple[int, int] = (1, 1)
    kinds: np.ndarray | Track = field(default_factory=lambda: np.zeros(1, np.uint8))
    start: int | Track = -1
    directions: tuple[tuple[int, int], ...] = ()
    values: np.ndarray | Track | Patches | None = None
    q: np.ndarray | Track | Patches | None = None
    limit: float | Track = 1.0
    policy: np.ndarray | Track | Patches | None = None
    epsilon: Track | None = None
    first_best: bool = False
    agent: Track | None = None
    flash: Track | None = None
    flash_names: tuple[str, ...] = ()
    format: str = ".2f"
    trail: int = 10
    wind: tuple[int, ...] = ()
    arrows: tuple[Arrow, ...] = ()
    decimals: int = 1
    paint: bool = False
    told: Track | None = None


@dataclass(frozen=True)
class Code(Panel):
    """Source code with the line on which the algorithm paused.

    source: the text. first_line: its line number in the file. line: a Track of one line number in the file.
    """

    kind: ClassVar[str] = "code"
    source: str = ""
    first_line: int = 1
    line: Track | None = None


@dataclass(frozen=True)
class Text(Panel):
    """Words beside the picture: as `Words`, in a panel of their own."""

    kind: ClassVar[str] = "text"
    words: Words = field(kw_only=True)
