"""A move of a grid world by its rules, cell by cell, without the table of moves."""

from __future__ import annotations

from explainers.grid_world.world import DIRECTIONS, FORBIDDEN, TARGET, WALL, World


def step_by_hand(world: World, s: int, direction: int) -> tuple[int, float]:
    """Where a move leads and its reward, cell by cell, as the rules say."""
    kinds, columns = world.cells.ravel(), world.columns

    def further(cell: int, down: int, right: int) -> int | None:
        row, column = cell // columns + down, cell % columns + right
        inside = 0 <= row < world.rows and 0 <= column < columns
        return row * columns + column if inside and kinds[row * columns + column] != WALL else None

    there = further(s, *DIRECTIONS[direction])
    at = s if there is None else there
    gusts = world.wind[s % columns] if world.wind else 0
    for _ in range(gusts):
        blown = further(at, -1, 0)
        at = at if blown is None else blown
    if there is None:
        both = world.bump == "both" and kinds[s] == FORBIDDEN
        return at, world.r_boundary + (world.r_forbidden if both else 0)
    reward = {TARGET: world.r_target, FORBIDDEN: world.r_forbidden}.get(int(kinds[at]), world.r_step)
    if kinds[at] == FORBIDDEN and world.forbidden == "restart":
        at = world.start
    elif kinds[at] == FORBIDDEN and world.forbidden == "bounce":
        at = s
    return at, reward
