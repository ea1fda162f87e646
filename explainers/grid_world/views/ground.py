"""What the pictures of grid worlds share: the ground, the limit of the colours, and a Bellman backup in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from explainers.contract.messages import Message
from explainers.drawing.formula import formula
from explainers.drawing.panels import Arrow, Cells
from explainers.drawing.scene import Column, Panel, Row
from explainers.grid_world.world import ACTIONS, DIRECTIONS, Moves, World

UNDER_WIDE = 150  # px, the height of the panels below a wide world
SYMBOLS: Mapping[str, str] = {
    "s": Message("s: the state, the cell in which the agent is"),
    "a": Message("a: the action that it chooses"),
    "r": Message("r: the reward of the move"),
    "v": Message("v: the value of a cell, the discounted rewards to come"),
    "q": Message("q: the value of an action in a cell"),
    "γ": Message("gamma: the discount, what a reward one step later is worth"),
    "π": Message("pi: the policy, the action of each cell"),
    "k": Message("k: the number of the sweep"),
}


def ground(world: World) -> dict[str, Any]:
    """The fields of Cells that describe the world."""
    return {
        "shape": world.cells.shape,
        "kinds": world.cells.ravel(),
        "start": world.start,
        "directions": directions(world),
        "wind": world.wind,
        "arrows": tuple(Arrow(jump.cell, jump.to, label=f"{jump.reward:+g}") for jump in world.jumps),
    }


def is_wide(world: World) -> bool:
    """Whether a world needs the whole width of a picture for cells that are large enough for their numbers."""
    return world.columns > 1.3 * world.rows


def side_by_side(world: World, picture: Cells, *others: Panel, under: int = UNDER_WIDE) -> tuple[Column, ...]:
    """The picture of a world with other panels beside it, or, if it is wide, below it and `under` px high."""
    if not is_wide(world):
        return (Column(1, (picture,)), Column(1, others))
    return (Column(1, (picture, Row(tuple(replace(panel, height=under) for panel in others)))),)


def directions(world: World) -> tuple[tuple[int, int], ...]:
    """(rows down, columns right) of each action."""
    return tuple(DIRECTIONS[direction] for direction in ACTIONS[world.actions])


def limit(values: np.ndarray) -> float:
    """The value at which the colours saturate: the largest magnitude, or 1 if all values are 0."""
    return float(np.nanmax(np.abs(values), initial=0.0)) or 1.0


def card_cells(world: World, values: np.ndarray, policy: np.ndarray) -> Cells:
    """A small world for the home page: values as colours, the policy as arrows."""
    return Cells("world", height=170, values=values, limit=limit(values), policy=policy, **ground(world))


def true_minus(number: float, form: str) -> Message:
    """A number in this form, with a true minus sign instead of a hyphen."""
    return Message(f"{'−' if number < 0 else ''}{{size:{form}}}", size=abs(number))


# ---------------------------------------------------------------------------------- a backup with the numbers put in


def backup_formula(terms: int) -> str:
    """MathML of v = max q = p (r + gamma v') + .. with `terms` moves, whose slots are the columns `backup_columns`.

    v' is 0 where the move ends the episode.
    """
    sums = []
    for term in range(1, terms + 1):
        inside = rf"\slot{{r_{term}:(.3g}} + \slot{{gamma:.3g}} \cdot \slot{{ahead_{term}:(.3g}}"
        sums.append(inside if terms == 1 else rf"\slot{{p_{term}:.2f}} ({inside})")
    return formula(rf"v(s) = \max_a q(s, a) = {' + '.join(sums)} = \slot{{q:.4g}}")


def backup_columns(terms: int) -> tuple[str, ...]:
    """The names of `backup_numbers`: gamma, q, then p, r and v' of each move."""
    moves = (f"{name}_{term}" for term in range(1, terms + 1) for name in ("p", "r", "ahead"))
    return ("gamma", "q", *moves)


def backup_numbers(moves: Moves, values: np.ndarray, s: int, a: int) -> list[float]:
    """The numbers of `backup_columns`, for one state and action and the values (states,) of the states ahead."""
    numbers = [moves.gamma, float(moves.backup(values, slice(s, s + 1))[0, a])]
    for m in np.flatnonzero(moves.mix[a]):
        ahead = 0.0 if moves.ends[s, m] else float(values[moves.to[s, m]])
        numbers += [float(moves.mix[a, m]), float(moves.reward[s, m]), ahead]
    return numbers


def terms_of(world: World, a: int) -> int:
    """The number of moves that an action may result in."""
    return int(np.count_nonzero(world.moves.mix[a]))
