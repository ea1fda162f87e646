"""A grid world and its table of moves, on which every experiment of this topic computes.

A state s = row * columns + column is the agent's cell. A move goes one cell in a direction, or stays. An action a is a
distribution over moves, so that slipping is one small matrix:

    q(s, a) = sum_m mix[a, m] (reward[s, m] + gamma (1 - ends[s, m]) v(to[s, m]))

The cell that a move enters decides its reward; staying enters the agent's own cell. A move into a wall or the boundary
leaves the agent where it is and costs r_boundary.

Sources: Zhao, Mathematical Foundations of Reinforcement Learning, 2025, section 1 (rewards, forbidden cells that can be
entered); Sutton and Barto, Reinforcement Learning, 2nd edition, examples 3.5, 4.1, 6.5, 6.6; Gymnasium's FrozenLake.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from explainers.contract.messages import Message

FLOOR, WALL, FORBIDDEN, TARGET = range(4)  # kinds of cells

Actions = Literal["two", "three", "four", "five", "eight", "nine"]
Forbidden = Literal["enter", "bounce", "restart", "end"]
Target = Literal["continue", "end"]
Bump = Literal["plain", "both"]

# Directions as (rows down, columns right), in the order in which actions are numbered from 1.
UP, RIGHT, DOWN, LEFT, STAY, UP_RIGHT, DOWN_RIGHT, DOWN_LEFT, UP_LEFT = range(9)
DIRECTIONS = ((-1, 0), (0, 1), (1, 0), (0, -1), (0, 0), (-1, 1), (1, 1), (1, -1), (-1, -1))
DIRECTION_NAMES = (
    Message("up"), Message("right"), Message("down"), Message("left"), Message("stay"),
    Message("up right"), Message("down right"), Message("down left"), Message("up left"),
)  # fmt: skip
ACTIONS: dict[Actions, tuple[int, ...]] = {
    "two": (RIGHT, LEFT),
    "three": (RIGHT, LEFT, STAY),
    "four": (UP, RIGHT, DOWN, LEFT),
    "five": (UP, RIGHT, DOWN, LEFT, STAY),
    "eight": (UP, RIGHT, DOWN, LEFT, UP_RIGHT, DOWN_RIGHT, DOWN_LEFT, UP_LEFT),
    "nine": (UP, RIGHT, DOWN, LEFT, STAY, UP_RIGHT, DOWN_RIGHT, DOWN_LEFT, UP_LEFT),
}


@dataclass(frozen=True)
class Jump:
    """Every move from `cell` leads to `to`, with this reward (Sutton and Barto, example 3.5)."""

    cell: int
    to: int
    reward: float


@dataclass(frozen=True, eq=False)
class World:
    """A grid of cells and its conventions.

    cells: (rows, columns) uint8 of FLOOR, WALL, FORBIDDEN, TARGET. start: a state. wind: (columns,) how many cells the
    wind of a column blows a move that leaves it up. rewards: of single cells, instead of the reward of their kind.
    forbidden: whether a forbidden cell can be entered, bounces the agent back, sends it to the start, or ends the
    episode; each costs r_forbidden. target: whether the episode continues or ends there. bump: whether a bump inside a
    forbidden cell costs r_boundary, or r_forbidden as well (as Zhao's figures 5.6 and 5.7 do). slip: the probability of
    going sideways, half of it to each side.
    """

    cells: np.ndarray
    start: int
    wind: tuple[int, ...] = ()
    jumps: tuple[Jump, ...] = ()
    rewards: tuple[tuple[int, float], ...] = ()
    actions: Actions = "five"
    forbidden: Forbidden = "enter"
    target: Target = "continue"
    bump: Bump = "plain"
    r_target: float = 1.0
    r_forbidden: float = -1.0
    r_boundary: float = -1.0
    r_step: float = 0.0
    slip: float = 0.0
    gamma: float = 0.9

    @property
    def rows(self) -> int:
        return self.cells.shape[0]

    @property
    def columns(self) -> int:
        return self.cells.shape[1]

    @property
    def states(self) -> int:
        return self.cells.size

    @property
    def action_names(self) -> tuple[str, ...]:
        return tuple(DIRECTION_NAMES[direction] for direction in ACTIONS[self.actions])

    @cached_property
    def terminal(self) -> np.ndarray:
        """(states,) bool: the cells in which an episode is over."""
        ends = np.zeros(self.states, bool)
        if self.target == "end":
            ends |= self.cells.ravel() == TARGET
        if self.forbidden == "end":
            ends |= self.cells.ravel() == FORBIDDEN
        return ends

    @cached_property
    def acting(self) -> np.ndarray:
        """(states,) bool: the cells in which an agent acts, which are neither walls nor terminal and can be entered."""
        kept_out = () if self.forbidden in ("enter", "end") else (FORBIDDEN,)
        return ~np.isin(self.cells.ravel(), (WALL, *kept_out)) & ~self.terminal

    @cached_property
    def moves(self) -> Moves:
        """The table of moves."""
        return table_of_moves(self)


@dataclass(frozen=True, eq=False)
class Moves:
    """Where each move leads, and the probabilities of the moves under each action.

    to: (states, moves) int32. reward: (states, moves) float64. ends: (states, moves) bool, whether the move ends the
    episode. mix: (actions, moves) float64, rows sum to 1. directions: (moves,); those of the actions come first.
    """

    to: np.ndarray
    reward: np.ndarray
    ends: np.ndarray
    mix: np.ndarray
    directions: tuple[int, ...]
    gamma: float

    def backup(self, values: np.ndarray, states: slice = slice(None)) -> np.ndarray:
        """q(s, a), one step ahead of v (states,), for all states or a slice of them: (states, actions)."""
        to, reward, goes_on = self.to[states], self.reward[states], ~self.ends[states]
        # q(s, a) = sum_m mix[a, m] (r(s, m) + gamma (1 - ends(s, m)) v(s'))
        return (reward + self.gamma * goes_on * values[to]) @ self.mix.T


def table_of_moves(world: World) -> Moves:
    """The moves of a world. In cells where no agent acts, such as walls and ends, every move stays, without reward."""
    directions = _directions(world)
    shape = (world.states, len(directions))
    to, reward = np.empty(shape, np.int32), np.empty(shape)
    for move, direction in enumerate(directions):
        to[:, move], reward[:, move] = _one_move(world, *DIRECTIONS[direction])
    for jump in world.jumps:
        to[jump.cell], reward[jump.cell] = jump.to, jump.reward
    idle = ~world.acting
    to[idle], reward[idle] = np.flatnonzero(idle)[:, None], 0.0
    ends = world.terminal[to] | idle[:, None]
    return Moves(to, reward, ends, _mix(world, directions), directions, world.gamma)


def _directions(world: World) -> tuple[int, ...]:
    """The directions of all moves: those of the actions, then those that only occur by slipping."""
    chosen = ACTIONS[world.actions]
    sideways = [side for direction in chosen for side in _sideways(direction)] if world.slip else []
    return tuple(dict.fromkeys([*chosen, *sideways]))


def _sideways(direction: int) -> tuple[int, ...]:
    """The two directions at right angles to this one; none for staying."""
    down, right = DIRECTIONS[direction]
    return () if direction == STAY else (DIRECTIONS.index((-right, down)), DIRECTIONS.index((right, -down)))


def _mix(world: World, directions: tuple[int, ...]) -> np.ndarray:
    mix = np.zeros((len(ACTIONS[world.actions]), len(directions)))
    for action, direction in enumerate(ACTIONS[world.actions]):
        sides = _sideways(direction) if world.slip else ()
        mix[action, directions.index(direction)] = 1 - world.slip if sides else 1.0
        for side in sides:
            mix[action, directions.index(side)] += world.slip / 2
    return mix


def _one_move(world: World, down: int, right: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the move leads from every state, and its reward: (states,) each."""
    states = np.arange(world.states)
    kind = world.cells.ravel()
    entered, stopped = _shifted(world, states, down, right)
    if world.wind:
        entered = _blown(world, states, entered)
    gained = np.choose(kind[entered], [world.r_step, 0.0, world.r_forbidden, world.r_target])
    for cell, reward in world.rewards:
        gained[entered == cell] = reward
    # a bump costs r_boundary; under the rule "both" it costs r_forbidden as well, inside a forbidden cell
    inside = (kind == FORBIDDEN) & (world.bump == "both")
    gained = np.where(stopped, world.r_boundary + inside * world.r_forbidden, gained)
    caught = (kind[entered] == FORBIDDEN) & ~stopped
    if world.forbidden == "restart":
        entered = np.where(caught, world.start, entered)
    if world.forbidden == "bounce":
        entered = np.where(caught, states, entered)
    return entered, gained


def _shifted(world: World, states: np.ndarray, down: int, right: int) -> tuple[np.ndarray, np.ndarray]:
    """The cell after the move, the same where a wall or the boundary stops it; and a bool, whether it was stopped."""
    rows, columns = states // world.columns + down, states % world.columns + right
    outside = (rows < 0) | (rows >= world.rows) | (columns < 0) | (columns >= world.columns)
    there = np.where(outside, states, rows * world.columns + columns)
    stopped = outside | (world.cells.ravel()[there] == WALL)
    return np.where(stopped, states, there), stopped


def _blown(world: World, states: np.ndarray, entered: np.ndarray) -> np.ndarray:
    """The entered cells after the wind of the column that each state leaves has blown them up."""
    strength = np.asarray(world.wind)[states % world.columns]
    for gust in range(max(world.wind)):
        further, _ = _shifted(world, entered, -1, 0)
        entered = np.where(strength > gust, further, entered)
    return entered
