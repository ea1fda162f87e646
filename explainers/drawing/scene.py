"""A scene as plain data: steps, panels (kinds: explainers/drawing/panels.py) and words. No code here knows a screen.

A view turns a Result into a Scene; `Scene.to_bytes` packs it into one blob (a JSON header, then aligned arrays),
which the player in the browser reads. Everything that changes from step to step is one of

- `Track`: rows of numbers, and for each step the row to show (small state);
- `Patches`: a large array that changes a little at a step, with a whole copy every 64 steps (any jump is quick).
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from explainers.contract.messages import PLACE, render
from explainers.contract.numbers import ENGLISH

MAGIC = b"LNTN"
VERSION = 1
KEYFRAME_EVERY = 64

# The meaning of a colour, the same on every page (DESIGN: visual grammar); the player knows the colour itself.
Hue = Literal[
    "query", "key", "value", "score", "output", "parameter", "gradient", "optimizer", "activation", "current", "muted",
    "good", "bad",
]  # fmt: skip


# Fields whose text no reader sees: names by which parts know one another, and choices.
UNSPOKEN = {
    "name", "kind", "hue", "style", "mark", "scale", "side", "cell", "anchor", "format", "readout_format", "source",
}  # fmt: skip


@dataclass(frozen=True)
class Track:
    """Rows of numbers and the row that each step shows.

    values: (rows, ...). at: (steps,) whole numbers, the row of each step; None when row s belongs to step s.
    """

    values: np.ndarray
    at: np.ndarray | None = None


@dataclass(frozen=True)
class Patches:
    """A large flat array that changes a little at each step.

    keyframes: (ceil(steps / 64), size), the whole state at steps 0, 64, 128, ...
    starts: (steps + 1,), the changes of step s are those from starts[s] to starts[s + 1].
    positions, values: (changes,), what is written where.
    """

    keyframes: np.ndarray
    starts: np.ndarray
    positions: np.ndarray
    values: np.ndarray


def patches(states: Sequence[np.ndarray]) -> Patches:
    """Patches of a sequence of states of one shape; a state that is the very same object costs nothing to compare."""
    flat = [np.ascontiguousarray(state, np.float32).reshape(-1) for state in states]
    changed = [np.empty(0, np.int64)]
    for step in range(1, len(flat)):
        before, after = flat[step - 1], flat[step]
        same = states[step] is states[step - 1]
        differs = [] if same else ~((before == after) | (np.isnan(before) & np.isnan(after)))
        changed.append(np.flatnonzero(differs))
    starts = np.concatenate([[0], np.cumsum([len(where) for where in changed])]).astype(np.int32)
    values = np.concatenate([state[where] for state, where in zip(flat, changed, strict=True)])
    return Patches(np.stack(flat[::KEYFRAME_EVERY]), starts, np.concatenate(changed).astype(np.int32), values)


@dataclass(frozen=True)
class Words:
    """One sentence a step, with the live numbers in it.

    sentences: templates such as "row {row:d} rises to **{maximum:.2f}**" (LiveMessage):
        {column:format} is replaced by the step's number (d whole, .2f decimals, .2e scientific, bytes in GB, ibytes in
        GiB, allbytes in both; "(" before it brackets a negative number). **...** is set in the accent colour.
    which: (steps,) the template of each step. values: (steps, columns). columns: the name of each column.
    formulas: MathML templates with the same placeholders, one for each sentence ("" for none).
    """

    sentences: tuple[str, ...]
    which: np.ndarray
    values: np.ndarray
    formulas: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    def column(self, name: str) -> np.ndarray:
        """(steps,) the numbers of one column."""
        return self.values[:, self.columns.index(name)]

    def numbered(self, template: str) -> str:
        """The template as the player reads it: with the number of each column in place of its name.

        Raises ValueError for a name that is no column.
        """
        if not self.columns:
            return template

        def number(place: re.Match[str]) -> str:
            name, form = place.groups()
            if name not in self.columns:
                raise ValueError(f"{name!r} in {template!r} is none of the columns {', '.join(self.columns)}")
            return f"{{{self.columns.index(name)}:{form}}}"

        return PLACE.sub(number, template)


@dataclass(frozen=True)
class Action:
    """What a click on a panel asks of the page: an event (panel, index, action)."""

    name: str
    hint: str


@dataclass(frozen=True)
class Panel:
    """What every panel has. name: unique in the scene, part of its events. height: in px; 0: the kind decides."""

    kind: ClassVar[str]
    name: str
    title: str = ""
    subtitle: str = ""
    height: int = 0
    action: Action | None = None


@dataclass(frozen=True)
class Row:
    """Panels side by side under one title. weights: their shares of the width, equal when left out."""

    panels: tuple[Panel, ...]
    weights: tuple[float, ...] = ()
    title: str = ""
    subtitle: str = ""


@dataclass(frozen=True)
class Column:
    """Panels and rows of panels from top to bottom. weight: the column's share of the width."""

    weight: float
    panels: tuple[Panel | Row, ...]


@dataclass(frozen=True)
class Live:
    """Makes a scene one chunk of a run that goes on: the player joins it to the chunks that it holds.

    lineage: names the run without its changes. changes: (step, what changed) in their order. first: the step of the
    whole run with which this chunk begins, a multiple of 64, as its length is. A chunk takes the place of those from
    `first` on, and of all that do not belong to its lineage or saw other changes. ahead: with fewer steps than that
    before it, the player asks for more (event: panel "player", action "more", index [the step it lacks]). kept: how
    many steps the player keeps to go back to. last: this chunk is the last one.
    """

    lineage: str
    changes: tuple[tuple[int, str], ...]
    first: int
    ahead: int = 2048
    kept: int = 102_400
    last: bool = False


@dataclass(frozen=True)
class Scene:
    """A whole run, ready to be played.

    name: the experiment. steps: how many. stops: steps with a tick on the scrub bar (Up and Down go there).
    start: the step that a fresh reader sees. reopens: a changed setting leads there too, where another start follows
    from it; else the reader's step stays. rate: steps a second at speed 1. symbols: what a symbol of the formulas
    means, shown on hover. step_name: what the counter calls a step. below: columns under the controls (code).
    """

    name: str
    title: str
    steps: int
    columns: tuple[Column, ...]
    words: Words
    stops: tuple[int, ...] = ()
    start: int = 0
    reopens: bool = False
    rate: float = 2.0
    symbols: Mapping[str, str] = field(default_factory=dict)
    step_name: str = "step"
    below: tuple[Column, ...] = ()
    live: Live | None = None

    def __post_init__(self) -> None:
        """Raises ValueError where the parts do not fit together, so that the player never has to guess."""
        if (
            self.words.values.ndim != 2
            or len({self.steps, len(self.words.which), len(self.words.values)}) != 1
        ):
            raise ValueError(
                f"{self.name}: words must have one row of numbers for each of {self.steps} steps"
            )
        names = [panel.name for panel in self.panels()]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{self.name}: panels of the same name: {', '.join(sorted(twice))}")
        for panel in self.panels():
            for track in _tracks(panel):
                if len(track.values if track.at is None else track.at) != self.steps:
                    raise ValueError(
                        f"{self.name}: a Track of panel {panel.name} does not have {self.steps} steps"
                    )

    def panels(self) -> Iterator[Panel]:
        """All panels, those of rows among them."""
        for column in self.columns + self.below:
            for item in column.panels:
                yield from item.panels if isinstance(item, Row) else (item,)

    def to_bytes(self, language: str = ENGLISH) -> bytes:
        """One blob: magic, version, header length, JSON header, then the arrays, each at a multiple of 8 bytes.

        Its words are those of the language.
        """
        arrays: list[np.ndarray] = []
        scene = _plain(self, arrays, language)
        table, offset = [], 0
        for array in arrays:
            table.append({"type": array.dtype.name, "shape": array.shape, "offset": offset})
            offset += _padded(array.nbytes)
        header = json.dumps({"scene": scene, "arrays": table}, separators=(",", ":")).encode()
        header += b" " * (_padded(len(header) + 12) - len(header) - 12)
        data = b"".join(array.tobytes().ljust(_padded(array.nbytes), b"\0") for array in arrays)
        return MAGIC + struct.pack("<II", VERSION, len(header)) + header + data


def _tracks(value: Any) -> Iterator[Track]:
    """All Tracks in a panel."""
    if isinstance(value, Track):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _tracks(item)
    elif is_dataclass(value):
        for item in fields(value):
            yield from _tracks(getattr(value, item.name))


def _padded(size: int) -> int:
    return -(-size // 8) * 8


def _plain(value: Any, arrays: list[np.ndarray], language: str) -> Any:
    """`value` as JSON, with each array moved to `arrays` and replaced by its place there; words in the language."""
    if isinstance(value, np.ndarray):
        arrays.append(np.ascontiguousarray(value, _sent_type(value)))
        return {"array": len(arrays) - 1}
    if isinstance(value, Words):
        return _plain_words(value, arrays, language)
    if is_dataclass(value):
        named = {
            item.name: _plain(
                getattr(value, item.name), arrays, ENGLISH if item.name in UNSPOKEN else language
            )
            for item in fields(value)
        }
        return named | ({"kind": value.kind} if isinstance(value, Panel) else {})
    if isinstance(value, Mapping):
        return {key: _plain(item, arrays, language) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item, arrays, language) for item in value]
    if isinstance(value, str):
        return render(value, language)
    return value.item() if isinstance(value, np.generic) else value


def _plain_words(words: Words, arrays: list[np.ndarray], language: str) -> dict[str, Any]:
    return {
        "sentences": [words.numbered(render(sentence, language)) for sentence in words.sentences],
        "which": _plain(words.which, arrays, language),
        "values": _plain(words.values, arrays, language),
        "formulas": [words.numbered(formula) for formula in words.formulas],
    }


def _sent_type(array: np.ndarray) -> type:
    """Whole numbers travel as int32, all others as float32; bytes stay bytes."""
    if array.dtype == np.uint8:
        return np.uint8
    return np.int32 if array.dtype.kind in "iub" else np.float32
