"""Painting cells of a world with a brush."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from explainers.contract.messages import Message
from explainers.grid_world import world_text
from explainers.grid_world.world import FLOOR, FORBIDDEN, TARGET, WALL

BRUSHES: dict[str, int] = {
    "wall": WALL,
    "floor": FLOOR,
    "forbidden": FORBIDDEN,
    "target": TARGET,
    "start": FLOOR,
}


def painted(text: str, cells: Sequence[int], brush: str) -> str:
    """The world string `text` with these cells painted; the brush "start" moves the start to the last of them.

    Raises ValueError with a Message: for a brush or cell that does not exist, for painting over the start, and where no
    target is left.
    """
    world = world_text.parse(text)
    if brush not in BRUSHES or not all(0 <= cell < world.states for cell in cells) or not cells:
        raise ValueError(Message("a brush paints cells from 0 to {last}", last=world.states - 1))
    if brush != "start" and world.start in cells:
        raise ValueError(Message("the start stays free: first paint another start"))
    kinds = world.cells.copy()
    kinds.flat[[cells[-1]] if brush == "start" else list(cells)] = BRUSHES[brush]
    start = cells[-1] if brush == "start" else world.start
    after = world_text.write(replace(world, cells=kinds, start=start))
    try:
        world_text.parse(after)
    except ValueError as error:
        raise ValueError(Message("a world needs {what}", what=error.args[0])) from error
    return after
