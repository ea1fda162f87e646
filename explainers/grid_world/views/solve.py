"""The picture of the exact solution: a step for each cell, with its Bellman equation in numbers."""

from __future__ import annotations

import numpy as np

from explainers.contract.messages import LiveMessage, Message
from explainers.drawing.axes import rounded_off
from explainers.drawing.formula import formula
from explainers.drawing.panels import Cells
from explainers.drawing.scene import Column, Scene, Track, Words
from explainers.grid_world.solve import SolveResult, moves_ahead
from explainers.grid_world.views.ground import (
    SYMBOLS,
    backup_columns,
    backup_formula,
    backup_numbers,
    card_cells,
    ground,
    limit,
    side_by_side,
    terms_of,
)
from explainers.grid_world.world import World

ROUNDING = 1e-12  # relative to the largest value: smaller values are shown as 0


def scene(result: SolveResult) -> Scene:
    """Values and action values of all cells; a step for each cell in which the agent acts."""
    world = result.params.grid
    cells = np.flatnonzero(world.acting)
    described = Track(cells[:, None])
    q, values = result.q.ravel(), result.values.ravel()
    return Scene(
        name="grid_world.solve",
        title=Message("The exact values of the best policy")
        if result.params.policy == "optimal"
        else Message("The exact values of the policy “{policy}”", policy=result.params.policy),
        steps=len(cells),
        columns=side_by_side(
            world,
            Cells(
                name="q",
                title="What each action is worth: q(s, a)",
                subtitle="the triangle towards where it leads, the disc to stay; bold: the best",
                height=500,
                told=described,
                q=q,
                limit=limit(q),
                decimals=1 if "stay" in world.action_names and limit(q) > 2 else 2,
                **ground(world),
            ),
            Cells(
                name="v",
                title="What each cell is worth: v(s)",
                subtitle="arrows: the policy; their length: the probability",
                height=500,
                told=described,
                values=values,
                limit=limit(values),
                policy=result.policy.ravel(),
                decimals=2,
                **ground(world),
            ),
            under=320,
        ),
        words=_words(result, world, cells),
        start=int(np.flatnonzero(cells == world.start)[0]),
        reopens=True,
        symbols=SYMBOLS,
        step_name=Message("cell"),
    )


def card(result: SolveResult) -> Scene:
    """The solved world, small, with an agent that walks to the target: the picture of this topic on the home page."""
    world = result.params.grid
    path = _walk(world, np.nan_to_num(result.q, nan=-np.inf).argmax(axis=1))
    cells = card_cells(world, result.values.ravel(), result.policy.ravel())
    agent = Track(np.stack([path, np.full(len(path), -1), np.full(len(path), -1)], axis=1))
    return Scene(
        name="grid_world.card",
        title="An agent in a world whose every value is known",
        steps=len(path),
        columns=(Column(1, (Cells(**(vars(cells) | {"agent": agent, "trail": 12})),)),),
        words=Words(
            sentences=(LiveMessage("cell {cell:d}"),),
            which=np.zeros(len(path), int),
            values=path[:, None].astype(float),
            columns=("cell",),
        ),
        start=len(path) // 2,
        rate=3.0,
    )


def _walk(world: World, chosen: np.ndarray) -> np.ndarray:
    """The cells from the start on, by the likeliest move of each action, until one would repeat."""
    path = [world.start]
    while True:
        s = path[-1]
        after = int(world.moves.to[s, world.moves.mix[chosen[s]].argmax()])
        if after in path:
            return np.array(path)
        path.append(after)


def _words(result: SolveResult, world: World, cells: np.ndarray) -> Words:
    """A cell's value, then the backup of its first best action, or the actions of a given policy.

    cells: (steps,) the cell of each step.
    """
    optimal = result.params.policy == "optimal"
    values = np.nan_to_num(result.values.ravel())
    values = rounded_off(values, ROUNDING * limit(values))
    moves = moves_ahead(result.params)
    names = world.action_names
    which, rows, sentences, formulas = [], [], [], []
    place: dict[tuple[int, int], int] = {}
    for s in cells:
        a, best = int(np.nanargmax(result.q[s])), len(result.optimal_actions[s])
        taken = np.flatnonzero(result.policy[s])
        kind = (a, best) if optimal else (len(taken), 0)
        if kind not in place:
            place[kind] = len(sentences)
            sentences.append(_sentence(names[a], best if optimal else 0))
            formulas.append(backup_formula(terms_of(world, a)) if optimal else _mean(len(taken)))
        which.append(place[kind])
        of_policy = np.stack([result.policy[s], result.q[s]], axis=1)[taken].ravel()
        numbers = backup_numbers(moves, values, s, a) if optimal else of_policy
        rows.append([s // world.columns + 1, s % world.columns + 1, values[s], *numbers])
    width = max(map(len, rows))
    padded = np.array([row + [0.0] * (width - len(row)) for row in rows], float)
    numbered = backup_columns((width - 5) // 3) if optimal else _mean_columns((width - 3) // 2)
    return Words(
        sentences=tuple(sentences),
        which=np.array(which),
        values=padded,
        formulas=tuple(formulas),
        columns=("row", "column", "value", *numbered),
    )


def _mean(actions: int) -> str:
    """MathML of the mean over this many actions."""
    terms = " + ".join(
        rf"\slot{{pi_{term}:.3g}} \cdot \slot{{q_{term}:(.4g}}" for term in range(1, actions + 1)
    )
    return formula(" = ".join((r"v(s)", r"\sum_a \pi(a \mid s) \, q(s, a)", terms)))


def _mean_columns(actions: int) -> tuple[str, ...]:
    """The slots of `_mean`: the probability and the value of each action."""
    return tuple(f"{name}_{term}" for term in range(1, actions + 1) for name in ("pi", "q"))


def _sentence(action: str, best: int) -> Message:
    """best: how many actions are optimal; 0 for a given policy."""
    if best == 0:
        return LiveMessage(
            "Row {row:d}, column {column:d} is worth **{value:.3f}**. That is the mean over the policy's actions:"
        )
    if best == 1:
        return LiveMessage(
            "Row {row:d}, column {column:d} is worth **{value:.3f}**. The best action is **{action}**; in numbers:",
            action=action,
        )
    return LiveMessage(
        "Row {row:d}, column {column:d} is worth **{value:.3f}**. {best} actions are equally good, one of them "
        "**{action}**; in numbers:",
        best=best,
        action=action,
    )
