"""Worlds as text and painted: parse reads what write wrote, and an invalid world gives one sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explainers.contract.params import fit, read
from explainers.grid_world import paint, world_text
from explainers.grid_world.solve import SolveParams, solve
from explainers.grid_world.world_params import PRESETS, WorldParams
from tests.grid_world.worlds import worlds


@given(worlds())
@settings(max_examples=60, deadline=None)
def test_a_world_written_and_read_is_the_same(params: WorldParams) -> None:
    world = world_text.parse(params.world)
    again = world_text.parse(world_text.write(world))
    assert (again.cells == world.cells).all()
    assert (again.start, again.jumps, again.rewards) == (world.start, world.jumps, world.rewards)
    assert again.wind == (world.wind if any(world.wind) else ())


@pytest.mark.parametrize("reward", [0.00001, -0.1, 1e6, -999_999.5, 1 / 3])
def test_jumps_and_rewards_are_written_as_they_are_read(reward: float) -> None:
    number = np.format_float_positional(reward, trim="-")
    world = world_text.parse(f"S..T;jump=1>2:{number};reward=2:{number}")
    again = world_text.parse(world_text.write(world))
    assert (again.jumps, again.rewards) == (world.jumps, world.rewards) or reward == 1 / 3
    assert again.jumps[0].reward == pytest.approx(reward, rel=1e-11)
    assert again.rewards[0][1] == pytest.approx(reward, rel=1e-11)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_every_preset_is_a_valid_world(preset: str) -> None:
    params = SolveParams(preset=preset)  # type: ignore[arg-type]
    assert not list(params.adjustments())
    assert solve(params).passed


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "row 1 is not"),
        ("hello", "row 1 is not"),
        ("..../..../...T", "exactly one start"),
        ("S.S/..T", "here 2"),
        ("S../...", "at least one target"),
        ("S./..T", "of one length"),
        ("S.T;storm=1", "only wind="),
        ("S.T;wind=1", "for each of 3 columns"),
        ("S.T;wind=1,x,0", "whole number from 0 to 9"),
        ("S.T;jump=9>1:3", "cells from 0 to 2"),
        ("S.T;reward=1:99999999", "rewards up to"),
        ("1001.ST", "is not"),
        ("x" * 10_000_000, "characters"),
        ("/".join(["S" + 1001 * "T"]), "columns"),
    ],
)
def test_an_invalid_world_gives_one_sentence(text: str, part: str) -> None:
    params, problems = read(WorldParams, {"world": text})
    assert params.world == WorldParams().world
    assert len(problems) == 1
    assert part in problems[0].sentence
    assert len(problems[0].sentence) < 700


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"gamma": 1.0}, "gamma"),
        ({"gamma": 1.0, "world": "S#T", "target": "end", "r_step": -1.0}, "gamma"),
        ({"preset": "sutton_4x4", "policy": "up"}, "policy"),
        ({"preset": "windy", "policy": "stay"}, "policy"),
    ],
)
def test_settings_without_finite_values_are_adjusted(values: dict[str, Any], field: str) -> None:
    params, made = fit(SolveParams(**values))
    assert [each.field for each in made] == [field]
    assert "allowed: " in made[0].sentence
    assert solve(params).passed


@given(worlds(), st.lists(st.integers(0, 15), min_size=1, max_size=8), st.sampled_from(list(paint.BRUSHES)))
@settings(max_examples=60, deadline=None)
def test_painting_changes_these_cells_and_no_others(
    params: WorldParams, cells: list[int], brush: str
) -> None:
    before = world_text.parse(params.world)
    try:
        painted = paint.painted(world_text.write(before), cells, brush)
    except ValueError:  # no start or target would be left, or a cell lies outside
        covered = set(np.flatnonzero(before.cells == 3)) <= set(cells) and brush != "target"
        assert max(cells) >= before.states or covered or before.start in cells
        return
    after = world_text.parse(painted)
    changed = set(np.flatnonzero(before.cells != after.cells))
    assert changed <= set(cells)
    assert after.start == (cells[-1] if brush == "start" else before.start)
    if brush != "start":
        assert (after.cells.ravel()[cells] == paint.BRUSHES[brush]).all()


def test_painting_refuses_invalid_worlds() -> None:
    for cells, brush in (([0], "wall"), ([25], "wall"), ([], "wall"), ([17], "floor"), ([1], "gold")):
        with pytest.raises(ValueError, match=r"start|brush|target"):
            paint.painted(WorldParams().world, cells, brush)


def test_a_changed_world_has_a_new_table() -> None:
    world = WorldParams().grid
    assert replace(world, gamma=0.5).moves.gamma == 0.5
