"""What textbooks print of their worlds: values, best actions and shortest ways, compared with what we compute.

Books count rewards differently, so that their values of a cell follow from ours:

- `as here`: the reward belongs to the cell that a move enters.
- `own cell`: it belongs to the cell itself, so that the values of cells that do not end the episode are r_step more
  (Russell and Norvig, 3rd edition).
- `exit`: leaving is one more action, after which the reward comes, so that values are gamma times ours (CS188).

Sources: Zhao 2025, figure 3.4; Sutton and Barto 2018, figures 3.2, 3.5, 4.1, examples 6.5 and 8.1; Russell and Norvig,
Artificial Intelligence: A Modern Approach, 3rd edition, 2010, figures 17.2 and 17.3; Berkeley's CS188, project
"Reinforcement Learning", whose autograder prints the values of value iteration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from explainers.contract.messages import Message
from explainers.contract.result import Check
from explainers.grid_world.world import World
from explainers.grid_world.world_params import CONVENTIONS, PRESETS, WorldParams

ROUNDING = 1e-9  # added to half a unit of the last printed digit
ARROWS = {"^": "up", ">": "right", "v": "down", "<": "left"}
MOST_STEPS = 1000


@dataclass(frozen=True)
class Printed:
    """What a source prints of a world.

    preset, policy: of what. settings: where they differ from the preset's. where: in the source. values: row by row,
    None where a cell has none; of `digits` decimals. counts: how the source counts rewards. arrows: the printed
    actions, row by row, "." where there is none; they hold for each r_step within `living` that bumps cost as well.
    steps: of the shortest way from the start.
    """

    preset: str
    where: str
    policy: str = "optimal"
    settings: Mapping[str, Any] = field(default_factory=dict)
    values: tuple[tuple[float | None, ...], ...] = ()
    digits: int = 0
    counts: Literal["as here", "own cell", "exit"] = "as here"
    arrows: str = ""
    living: tuple[float, float] | None = None
    steps: int | None = None


_ZHAO = Message("Zhao, figure 3.4(a)")
_SUTTON_RANDOM = Message("Sutton and Barto, figure 3.2")
_SUTTON_BEST = Message("Sutton and Barto, figure 3.5")
_SUTTON_SMALL = Message("Sutton and Barto, figure 4.1")
_AIMA_VALUES = Message("Russell and Norvig, 3rd edition, figure 17.3")
_AIMA_ACTIONS = Message("Russell and Norvig, 3rd edition, figure 17.2")
_BERKELEY = Message("Berkeley CS188, project 3, question 1")
_BERKELEY_BOOK = Message("Berkeley CS188, project 3, picture of the book grid")

PRINTED = (
    Printed(
        "zhao_5x5",
        _ZHAO,
        digits=1,
        values=(
            (5.8, 5.6, 6.2, 6.5, 5.8),
            (6.5, 7.2, 8.0, 7.2, 6.5),
            (7.2, 8.0, 10.0, 8.0, 7.2),
            (8.0, 10.0, 10.0, 10.0, 8.0),
            (7.2, 9.0, 10.0, 9.0, 8.1),
        ),
    ),
    Printed(
        "sutton_5x5",
        _SUTTON_RANDOM,
        "uniform",
        digits=1,
        values=(
            (3.3, 8.8, 4.4, 5.3, 1.5),
            (1.5, 3.0, 2.3, 1.9, 0.5),
            (0.1, 0.7, 0.7, 0.4, -0.4),
            (-1.0, -0.4, -0.4, -0.6, -1.2),
            (-1.9, -1.3, -1.2, -1.4, -2.0),
        ),
    ),
    Printed(
        "sutton_5x5",
        _SUTTON_BEST,
        digits=1,
        values=(
            (22.0, 24.4, 22.0, 19.4, 17.5),
            (19.8, 22.0, 19.8, 17.8, 16.0),
            (17.8, 19.8, 17.8, 16.0, 14.4),
            (16.0, 17.8, 16.0, 14.4, 13.0),
            (14.4, 16.0, 14.4, 13.0, 11.7),
        ),
    ),
    Printed(
        "sutton_4x4",
        _SUTTON_SMALL,
        "uniform",
        values=((None, -14, -20, -22), (-14, -18, -20, -20), (-20, -20, -18, -14), (-22, -20, -14, None)),
    ),
    Printed("windy", Message("Sutton and Barto, example 6.5"), steps=15),
    Printed("dyna_maze", Message("Sutton and Barto, example 8.1"), steps=14),
    Printed(
        "aima_4x3",
        _AIMA_VALUES,
        digits=3,
        counts="own cell",
        values=(
            (0.812, 0.868, 0.918, None),
            (0.762, None, 0.660, None),
            (0.705, 0.655, 0.611, 0.388),
        ),
    ),
    Printed("aima_4x3", _AIMA_ACTIONS, arrows=">>>./^.^./^<<<"),
    # the book's limit is -1.6284, but these actions are best only below -1.6497
    Printed("aima_4x3", _AIMA_ACTIONS, arrows=">>>./^.>./>>>^", living=(-1e6, -1.6498)),
    Printed("aima_4x3", _AIMA_ACTIONS, arrows=">>>./^.^./^>^<", living=(-0.4278, -0.0850)),
    Printed("aima_4x3", _AIMA_ACTIONS, arrows=">>>./^.<./^<<v", living=(-0.0221, -1e-6)),
    Printed(
        "aima_4x3",
        _BERKELEY_BOOK,
        settings={"gamma": 0.9, "r_step": 0.0, "r_boundary": 0.0},
        digits=2,
        counts="exit",
        values=((0.64, 0.74, 0.85, None), (0.57, None, 0.57, None), (0.49, 0.43, 0.48, 0.28)),
    ),
    Printed(
        "cs188_bridge",
        Message("Berkeley CS188, project 3, question 2: the bridge is not crossed"),
        arrows="......./.<...../.......",
    ),
    Printed(
        "cs188_bridge",
        _BERKELEY,
        settings={"gamma": 0.85, "slip": 0.1},
        digits=4,
        counts="exit",
        values=(
            (None,) * 7,
            (None, -7.7350, -14.4173, -15.4999, -9.1502, -0.8500, None),
            (None,) * 7,
        ),
    ),
    Printed(
        "cs188_discount",
        _BERKELEY,
        digits=4,
        counts="exit",
        values=(
            (4.4765, 5.1665, 5.8841, 6.6836, 7.5087),
            (3.9306, None, 6.0258, 7.5087, 8.6547),
            (3.4513, None, None, None, None),
            (2.9289, 2.0045, 3.3074, 5.7186, 8.4777),
            (None,) * 5,
        ),
    ),
)


def printed_of(params: WorldParams, policy: str) -> tuple[Printed, ...]:
    """What is printed of exactly these settings."""
    return tuple(each for each in PRINTED if each.policy == policy and _is_of(each, params))


def _is_of(printed: Printed, params: WorldParams) -> bool:
    settings = dict(printed.settings)
    if printed.living is not None:
        least, most = printed.living
        if not least < params.r_step < most:
            return False
        settings |= {"r_step": params.r_step, "r_boundary": params.r_step}
    source = WorldParams.model_validate(PRESETS[printed.preset] | settings)
    names = ("world", *CONVENTIONS)
    return all(getattr(params, name) == getattr(source, name) for name in names)


def checks_against_print(
    params: WorldParams, policy: str, values: np.ndarray, best: np.ndarray
) -> Iterator[Check]:
    """A check for each printed table. values: (states,) of the policy. best: (states, actions) bool."""
    world = params.grid
    for each in printed_of(params, policy):
        if each.values:
            yield _values_check(each, params, values)
        if each.arrows:
            wrong = sum(not best[s, a] for s, a in _actions(each, world))
            yield Check("the published actions are among the best", wrong, 0, each.where)
        if each.steps is not None:
            error = abs(shortest_way(world, best) - each.steps)
            what = Message("the way from the start has the published {steps} steps", steps=each.steps)
            yield Check(what, error, 0, each.where)


def _values_check(printed: Printed, params: WorldParams, values: np.ndarray) -> Check:
    """The printed values against ours, counted as the source counts them."""
    theirs = np.array([[np.nan if v is None else v for v in row] for row in printed.values]).ravel()
    ours = {
        "as here": values,
        "own cell": values + params.r_step,
        "exit": params.gamma * values,
    }[printed.counts]
    what = {
        "as here": Message("the values are the published ones"),
        "own cell": Message("the values, with the reward of the cell itself, are the published ones"),
        "exit": Message("γ times the values, as leaving is one more action there, are the published ones"),
    }[printed.counts]
    tolerance = 0.5 * 10.0**-printed.digits + ROUNDING
    return Check(what, float(np.nanmax(np.abs(ours - theirs))), tolerance, printed.where)


def _actions(printed: Printed, world: World) -> Iterator[tuple[int, int]]:
    """The cell and the action of each printed arrow."""
    for s, arrow in enumerate(printed.arrows.replace("/", "")):
        if arrow in ARROWS:
            yield s, world.action_names.index(ARROWS[arrow])


def shortest_way(world: World, best: np.ndarray) -> int:
    """Steps of the best policy from the start to an end, where moves do not slip; MOST_STEPS if it never ends."""
    s = world.start
    for step in range(1, MOST_STEPS):
        move = int(best[s].argmax())
        if world.moves.ends[s, move]:
            return step
        s = int(world.moves.to[s, move])
    return MOST_STEPS
