"""A world as a short string, which fits in a link: rows of cells, then wind, jumps and rewards of single cells.

    S..../.xx../..x../.xTx./.x...;wind=0,0,1,2;jump=1>21:10;reward=7:-5

Cells: . floor, # wall, x forbidden, T target, S start (a floor cell). A number before a cell repeats it (25.). Cells
are numbered row by row from 0. wind= has a number for each column, jump= lists from>to:reward, reward= cell:reward.
"""

from __future__ import annotations

import re

import numpy as np

from explainers.contract.messages import Message, plural
from explainers.grid_world.world import FLOOR, FORBIDDEN, TARGET, WALL, Jump, World

MOST_SIDE = 1000  # cells
LONGEST_TEXT = 100_000
MOST_WIND = 9
MOST_REWARD = 1e6
LETTERS = {".": FLOOR, "#": WALL, "x": FORBIDDEN, "T": TARGET, "S": FLOOR}
EXPECTED = Message("rows of the cells . # x T S with / between them, all of one length")

_REPEATED = re.compile(r"(\d{0,4})([.#xTS])")
_JUMP = re.compile(r"(\d{1,7})>(\d{1,7}):(-?\d+(?:\.\d+)?)")
_REWARD = re.compile(r"(\d{1,7}):(-?\d+(?:\.\d+)?)")


def parse(text: str) -> World:
    """The world that `text` describes, with the rewards and conventions of World's defaults.

    Raises ValueError with a Message that completes the sentence "allowed: ...".
    """
    if len(text) > LONGEST_TEXT:
        raise ValueError(
            Message("at most {most:,} characters; here {given:,}", most=LONGEST_TEXT, given=len(text))
        )
    layout, *options = text.strip().split(";")
    letters = _rows(layout)
    starts = np.flatnonzero(letters.ravel() == "S")
    if len(starts) != 1:
        raise ValueError(Message("exactly one start S; here {given}", given=len(starts)))
    cells = np.vectorize(LETTERS.__getitem__, otypes=[np.uint8])(letters)
    found = {"wind": (), "jump": (), "reward": ()} | dict(
        _option(option, cells) for option in options if option
    )
    if not (cells == TARGET).any() and not found["jump"]:
        raise ValueError(Message("at least one target T, or a jump with a reward"))
    return World(cells, int(starts[0]), found["wind"], found["jump"], found["reward"])


def write(world: World) -> str:
    """The string of a world's cells, wind, jumps and rewards of single cells; `parse` reads it back."""
    letters = np.array(list(".#xT"))[world.cells].ravel()
    letters[world.start] = "S"
    rows = ["".join(row) for row in letters.reshape(world.cells.shape)]
    parts = ["/".join(_squeezed(row) for row in rows)]
    if any(world.wind):
        parts.append("wind=" + ",".join(map(str, world.wind)))
    if world.jumps:
        parts.append(
            "jump=" + ",".join(f"{jump.cell}>{jump.to}:{_plain(jump.reward)}" for jump in world.jumps)
        )
    if world.rewards:
        parts.append("reward=" + ",".join(f"{cell}:{_plain(reward)}" for cell, reward in world.rewards))
    return ";".join(parts)


def _plain(number: float) -> str:
    """Up to twelve digits, without an exponent: `parse` reads none."""
    return np.format_float_positional(float(f"{number:.12g}"), trim="-")


def _squeezed(row: str) -> str:
    return re.sub(r"(.)\1{3,}", lambda found: f"{len(found[0])}{found[1]}", row)


def _rows(layout: str) -> np.ndarray:
    """(rows, columns) letters. Raises ValueError."""
    rows = []
    for number, row in enumerate(layout.split("/"), 1):
        if not row or _REPEATED.sub("", row):
            raise ValueError(Message("{expected}; row {row} is not", expected=EXPECTED, row=number))
        repeated = [(int(count or 1), letter) for count, letter in _REPEATED.findall(row)]
        if sum(count for count, _ in repeated) > MOST_SIDE:
            raise ValueError(
                Message("at most {most:,} columns; row {row} has more", most=MOST_SIDE, row=number)
            )
        rows.append("".join(count * letter for count, letter in repeated))
    if len(rows) > MOST_SIDE:
        raise ValueError(Message("at most {most:,} rows; here {given:,}", most=MOST_SIDE, given=len(rows)))
    if len({len(row) for row in rows}) != 1:
        raise ValueError(
            Message("{expected}; here {length} and other lengths", expected=EXPECTED, length=len(rows[0]))
        )
    return np.array([list(row) for row in rows])


def _option(text: str, cells: np.ndarray) -> tuple[str, tuple]:
    name, _, value = text.partition("=")
    if name == "wind":
        return name, _wind(value, cells.shape[1])
    if name == "jump":
        return name, tuple(_jump(part, cells) for part in value.split(","))
    if name == "reward":
        return name, tuple(_reward(part, cells) for part in value.split(","))
    raise ValueError(
        Message("after the rows only wind=, jump= and reward=; here {given}", given=repr(name[:20]))
    )


def _wind(value: str, columns: int) -> tuple[int, ...]:
    strengths = value.split(",")
    if len(strengths) != columns or any(
        not re.fullmatch(rf"[0-{MOST_WIND}]", strength) for strength in strengths
    ):
        raise ValueError(
            plural(
                "wind= with a whole number from 0 to {most} for each of {count} column",
                "wind= with a whole number from 0 to {most} for each of {count} columns",
                count=columns,
                most=MOST_WIND,
            )
        )
    return tuple(map(int, strengths))


def _jump(part: str, cells: np.ndarray) -> Jump:
    found = _JUMP.fullmatch(part)
    if not found:
        raise ValueError(Message("jump= with cell>cell:reward; here {given}", given=repr(part[:30])))
    return Jump(_cell(found[1], cells), _cell(found[2], cells), _amount(found[3]))


def _reward(part: str, cells: np.ndarray) -> tuple[int, float]:
    found = _REWARD.fullmatch(part)
    if not found:
        raise ValueError(Message("reward= with cell:reward; here {given}", given=repr(part[:30])))
    return _cell(found[1], cells), _amount(found[2])


def _cell(text: str, cells: np.ndarray) -> int:
    if int(text) >= cells.size or cells.ravel()[int(text)] == WALL:
        raise ValueError(
            Message("cells from 0 to {last} that are no walls; here {given}", last=cells.size - 1, given=text)
        )
    return int(text)


def _amount(text: str) -> float:
    if abs(float(text)) > MOST_REWARD:
        raise ValueError(
            Message("rewards up to {most:,.0f} in size; here {given}", most=MOST_REWARD, given=text[:30])
        )
    return float(text)
