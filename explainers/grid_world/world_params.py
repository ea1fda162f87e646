"""The settings of a world: a preset or given cells, rewards, conventions and the discount."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import field_validator

from explainers.contract.messages import Message, joined, plural
from explainers.contract.params import Adjustment, Params, choice, number, text
from explainers.grid_world import world_text
from explainers.grid_world.reach import cells_that_reach_an_end
from explainers.grid_world.world import FORBIDDEN, TARGET, Actions, Bump, Forbidden, Target, World

Preset = Literal[
    "zhao_5x5", "zhao_2x2", "zhao_3x3", "zhao_two_cells", "sutton_5x5", "sutton_4x4", "windy", "cliff", "random_walk",
    "frozen_lake_4x4", "frozen_lake_8x8", "aima_4x3", "cs188_bridge", "cs188_discount", "cs188_maze", "dyna_maze",
    "blocking_maze",
]  # fmt: skip

# The fields that complete the cells of a world.
CONVENTIONS = (
    "actions", "forbidden", "target", "bump", "r_target", "r_forbidden", "r_boundary", "r_step", "slip", "gamma",
)  # fmt: skip
WORLDS_KEPT = 64

# Every step costs 1, including the last one and bumps (Sutton and Barto).
_TO_THE_GOAL = {"r_target": -1.0, "r_boundary": -1.0, "r_step": -1.0, "target": "end", "gamma": 1.0}
# Gymnasium: the goal is worth 1, everything else 0; a move slips to each side with probability 1/3.
_FROZEN = {
    "r_forbidden": 0.0, "r_boundary": 0.0, "actions": "four", "forbidden": "end", "target": "end", "slip": 2 / 3,
    "gamma": 0.99,
}  # fmt: skip
# Russell and Norvig: of ten moves one goes to the left of its direction, one to the right.
_SLIPPERY = {"actions": "four", "forbidden": "end", "target": "end", "slip": 0.2}
# Berkeley's CS188, whose "noise" is our slip, at the defaults of the project's gridworld.py.
_BERKELEY = _SLIPPERY | {"r_target": 10.0, "r_boundary": 0.0, "gamma": 0.9}
# Sutton and Barto, section 8.2: the goal is worth 1, everything else 0.
_MAZE = {"actions": "four", "target": "end", "r_boundary": 0.0, "gamma": 0.95}

# Other fields keep their defaults, which are those of Zhao's 5 x 5 world.
PRESETS: dict[str, dict[str, Any]] = {
    "zhao_5x5": {},
    "zhao_2x2": {"world": "Sx/.T"},
    "zhao_3x3": {"world": "S../.../..T"},
    "zhao_two_cells": {"world": "ST", "actions": "three"},
    "sutton_5x5": {"world": "S..../5./5./5./5.;jump=1>21:10,3>13:5", "actions": "four"},
    "sutton_4x4": {"world": "T..S/4./4./...T", "actions": "four"} | _TO_THE_GOAL,
    "windy": {"world": "10./10./10./S6.T../10./10./10.;wind=0,0,0,1,1,1,2,2,1,0", "actions": "four"}
    | _TO_THE_GOAL,
    "cliff": {"world": "12./12./12./S10xT", "actions": "four", "forbidden": "restart", "r_forbidden": -100.0}
    | _TO_THE_GOAL,
    "random_walk": {"world": "x9.S9.T", "actions": "two", "forbidden": "end", "target": "end", "gamma": 1.0},
    "frozen_lake_4x4": {"world": "S.../.x.x/...x/x..T"} | _FROZEN,
    "frozen_lake_8x8": {
        "world": "S7./8./...x4./5.x../...x4./.xx...x./.x..x.x./...x...T",
    }
    | _FROZEN,
    "aima_4x3": {"world": "...T/.#.x/S...", "r_boundary": -0.04, "r_step": -0.04, "gamma": 1.0} | _SLIPPERY,
    "cs188_bridge": {"world": "#5x#/TS4.T/#5x#;reward=7:1", "r_forbidden": -100.0} | _BERKELEY,
    "cs188_discount": {"world": "5./.#3./.#T#T/S4./5x;reward=12:1", "r_forbidden": -10.0} | _BERKELEY,
    "cs188_maze": {"world": "...T/##.#/.#../.##./S..."} | _BERKELEY | {"r_target": 1.0},
    "dyna_maze": {"world": "7.#T/..#4.#./S.#4.#./..#6./5.#3./9."} | _MAZE,
    "blocking_maze": {"world": "8.T/9./9./8#./9./...S5."} | _MAZE,
}
# The wall of the blocking maze moves one cell to the right, at transition 1,000 (Sutton and Barto, example 8.2).
BLOCKED = "1000:world=8.T/9./9./.8#/9./...S5."


PRESET_LABELS: dict[str, str] = {
    "zhao_5x5": "Zhao 5×5",
    "zhao_2x2": "Zhao 2×2",
    "zhao_3x3": "Zhao 3×3",
    "zhao_two_cells": Message("two cells"),
    "sutton_5x5": "Sutton 5×5",
    "sutton_4x4": "Sutton 4×4",
    "windy": Message("windy"),
    "cliff": Message("cliff"),
    "random_walk": Message("random walk"),
    "frozen_lake_4x4": Message("frozen lake 4×4"),
    "frozen_lake_8x8": Message("frozen lake 8×8"),
    "aima_4x3": "AIMA 4×3",
    "cs188_bridge": Message("CS188 bridge"),
    "cs188_discount": Message("CS188 discount"),
    "cs188_maze": Message("CS188 maze"),
    "dyna_maze": Message("Dyna maze"),
    "blocking_maze": Message("blocking maze"),
}


TARGETS: Mapping[str, str] = {"continue": Message("goes on"), "end": Message("ends the episode")}


@functools.lru_cache(WORLDS_KEPT)
def _world(cells: str, conventions: tuple[tuple[str, Any], ...]) -> World:
    return replace(world_text.parse(cells), **dict(conventions))


class WorldParams(Params):
    """A world. The preset fills the fields that are not given."""

    fills: ClassVar[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {"preset": PRESETS}

    preset: Preset = choice(
        "zhao_5x5",
        "World",
        "A world of a textbook; it fills the settings that are not given",
        PRESET_LABELS,
    )
    world: str = text(
        "S..../.xx../..x../.xTx./.x...",
        "Cells",
        "rows of cells with / between them: . floor, # wall, x forbidden, T target, S start; 25. repeats a cell; then "
        ";wind=0,1,... ;jump=1>21:10 ;reward=7:-5",
        longest=world_text.LONGEST_TEXT,
    )
    gamma: float = number(
        0.9, "Discount γ", "What a reward one step later is worth", least=0, most=1, comfort=(0, 1), step=0.01
    )
    r_target: float = number(
        1, "Target", "Reward for entering the target", least=-1e6, most=1e6, comfort=(-10, 10), step=1
    )
    r_forbidden: float = number(
        -1,
        "Forbidden",
        "Reward for entering a forbidden cell",
        least=-1e6,
        most=1e6,
        comfort=(-100, 10),
        step=1,
    )
    r_boundary: float = number(
        -1,
        "Boundary",
        "Reward for bumping into the boundary or a wall",
        least=-1e6,
        most=1e6,
        comfort=(-10, 10),
        step=1,
    )
    r_step: float = number(
        0,
        "Each step",
        "Reward for entering any other cell",
        least=-1e6,
        most=1e6,
        comfort=(-10, 10),
        step=0.5,
    )
    slip: float = number(
        0,
        "Slip",
        "Probability of going sideways, half to each side",
        least=0,
        most=1,
        comfort=(0, 1),
        step=0.05,
    )
    actions: Actions = choice(
        "five",
        "Actions",
        "The moves that the agent can choose",
        {
            "two": "left and right",
            "three": "left, right, stay",
            "four": "four",
            "five": "four and stay",
            "eight": "king's moves",
            "nine": "king's and stay",
        },
    )
    forbidden: Forbidden = choice(
        "enter",
        "Forbidden cells",
        "What a forbidden cell does, besides its reward",
        {
            "enter": "can be entered",
            "bounce": "throw back",
            "restart": "send to the start",
            "end": "end the episode",
        },
    )
    target: Target = choice(
        "continue",
        "The target",
        "Whether an episode is over in the target",
        TARGETS,
    )
    bump: Bump = choice(
        "plain",
        "A bump inside a forbidden cell",
        "What it costs: the boundary's reward, or the forbidden cell's as well",
        {"plain": "boundary", "both": "boundary and forbidden"},
    )

    @field_validator("world")
    @classmethod
    def _can_be_read(cls, given: str) -> str:
        world_text.parse(given)
        return given

    @property
    def grid(self) -> World:
        """The world that the settings describe; the same object for the same settings."""
        return _world(self.world, tuple((name, getattr(self, name)) for name in CONVENTIONS))

    @property
    def rules(self) -> str:
        """The rewards, the discount and what the target does, in one line."""
        cells = self.grid.cells
        has_target = bool((cells == TARGET).any())
        earned = [
            Message("target {reward}", reward=signed(self.r_target)) if has_target else None,
            Message("forbidden cell {reward}", reward=signed(self.r_forbidden))
            if (cells == FORBIDDEN).any()
            else None,
            Message("bump into boundary or wall {reward}", reward=signed(self.r_boundary)),
            Message("any other move {reward}", reward=signed(self.r_step)),
        ]
        said = {"rewards": joined([each for each in earned if each]), "gamma": self.gamma}
        if not has_target:
            return Message("Rewards: {rewards}; discount {gamma:g} a step.", **said)
        if self.target == "end":
            return Message(
                "Rewards: {rewards}; discount {gamma:g} a step. The target ends the episode.", **said
            )
        return Message("Rewards: {rewards}; discount {gamma:g} a step. The target goes on.", **said)

    def adjustments(self) -> Iterator[Adjustment]:
        if self.gamma < 1:
            return
        grid = self.grid
        stuck = int((grid.acting & ~cells_that_reach_an_end(grid)).sum())
        gains = _pays_on_the_way(grid)
        if stuck or gains:
            why = (
                plural("{count} cell never reaches an end", "{count} cells never reach an end", count=stuck)
                if stuck
                else Message("a reward can be collected forever")
            )
            sentence = Message(
                "gamma = 1 has no finite values here, because {why}; allowed: less than 1, or a world whose "
                "episodes end.",
                why=why,
            )
            yield Adjustment("gamma", 0.99, sentence)


def signed(number: float) -> Message:
    """A number with its sign: +1, −1 (with a true minus sign), 0."""
    if number < 0:
        return Message("−{size:g}", size=-number)
    return Message("+{size:g}", size=number) if number else Message("0")


def _pays_on_the_way(grid: World) -> bool:
    """Whether a move that does not end the episode has a reward above zero."""
    moves = grid.moves
    return bool(np.any((moves.reward > 0) & ~moves.ends & grid.acting[:, None]))
