"""Small random grid worlds, for property tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from explainers.grid_world.world import ACTIONS
from explainers.grid_world.world_params import WorldParams

letters = st.sampled_from("....#xxT")


@st.composite
def worlds(draw: st.DrawFn, **fixed: Any) -> WorldParams:
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(2, 4))
    cells = [draw(letters) for _ in range(rows * columns)]
    start, target = draw(st.permutations(range(rows * columns)))[:2]
    cells[start], cells[target] = "S", "T"
    text = "/".join("".join(cells[row * columns : (row + 1) * columns]) for row in range(rows))
    if draw(st.booleans()):
        text += ";wind=" + ",".join(str(draw(st.integers(0, 2))) for _ in range(columns))
    given_values = {
        "world": text,
        "actions": draw(st.sampled_from(list(ACTIONS))),
        "forbidden": draw(st.sampled_from(["enter", "bounce", "restart", "end"])),
        "target": draw(st.sampled_from(["continue", "end"])),
        "bump": draw(st.sampled_from(["plain", "both"])),
        "slip": draw(st.sampled_from([0.0, 0.3, 1.0])),
        "gamma": draw(st.sampled_from([0.0, 0.5, 0.9, 0.99])),
        "r_step": draw(st.sampled_from([0.0, -1.0])),
    }
    return WorldParams(**(given_values | fixed))
