"""When episodes are cut: the hitting time against walks by hand, the default limit, and what is said."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from explainers.contract.params import fit, read
from explainers.grid_world.episode_limit import LEAST, MOST, limit_of
from explainers.grid_world.learn import LearnParams
from explainers.grid_world.learn_params import OneAgentParams
from explainers.grid_world.live import live
from explainers.grid_world.live_params import LiveParams
from explainers.grid_world.race import RaceParams, race
from explainers.grid_world.reach import hitting_time
from explainers.grid_world.world import ACTIONS, DIRECTIONS, TARGET, World
from explainers.grid_world.world_params import WorldParams
from pages.ui.cards.commands import command
from pages.ui.settings.link import query_of
from tests.grid_world.by_hand import step_by_hand
from tests.grid_world.fitted import learned

pytestmark = pytest.mark.usefixtures("compiled_agents")

WALKS = 400
LABYRINTH = "S5./5#./6./.5#/5.T"  # a random walk needs hundreds of steps
TOO_SHORT = {"world": LABYRINTH, "target": "end", "episode_length": 60}
NEVER = "No episode has reached the target within 60 steps"


def walked_by_hand(world: World, random: np.random.Generator) -> int:
    """The steps of one random walk from the start until it enters a target or a jump, or ends."""
    kinds = world.cells.ravel()
    jumps = {jump.cell for jump in world.jumps}
    s, steps = world.start, 0
    while not (steps and (kinds[s] == TARGET or s in jumps or world.terminal[s])):
        direction = int(random.choice(ACTIONS[world.actions]))
        down, right = DIRECTIONS[direction]
        if (down or right) and random.random() < world.slip:
            side = 1 if random.random() < 0.5 else -1
            direction = DIRECTIONS.index((side * right, -side * down))
        s, _ = step_by_hand(world, s, direction)
        steps += 1
    return steps


@pytest.mark.parametrize(
    "values",
    [
        {"preset": "zhao_5x5"},
        {"preset": "frozen_lake_4x4"},
        {"preset": "sutton_5x5"},
        {"preset": "random_walk"},
        {"world": LABYRINTH, "target": "end", "actions": "four"},
        {"world": "S.x/.../..T", "forbidden": "restart", "slip": 0.3, "actions": "nine"},
        {"world": "S.x/.#./..T", "forbidden": "bounce", "slip": 1, "actions": "five"},
        {"world": "..../S..T/....;wind=0,1,1,0", "actions": "eight"},
    ],
)
def test_the_hitting_time_is_the_mean_of_walks_by_hand(values: dict[str, Any]) -> None:
    world, random = WorldParams(**values).grid, np.random.default_rng(1)
    steps = [walked_by_hand(world, random) for _ in range(WALKS)]
    error = float(np.std(steps)) / math.sqrt(WALKS)
    assert hitting_time(world) == pytest.approx(np.mean(steps), abs=4 * error)


def test_the_hitting_time_of_a_line_is_known() -> None:
    """From one end of a path with m steps to the other, a walk that stays where it bumps takes m (m + 1) steps."""
    for m in (1, 5, 40):
        world = WorldParams(world=f"S{(m - 1) * '.'}T", actions="two").grid
        assert hitting_time(world) == pytest.approx(m * (m + 1))


@pytest.mark.parametrize(
    ("world", "more"),
    [
        ("S.#T", {}),
        ("S..T/###./..../....;wind=0,0,0,0;jump=1>8:1", {}),
        ("S..T/...#/#.##/....", {"slip": 1, "actions": "two"}),
        ("S.T/...", {"slip": 1e-292, "actions": "two"}),  # possible, but not in float64
    ],
)
def test_where_a_walk_cannot_arrive_there_is_no_limit(world: str, more: dict[str, Any]) -> None:
    grid = WorldParams(world=world, **more).grid
    arrives = "jump" in world
    assert math.isinf(hitting_time(grid)) is not arrives
    assert (limit_of(grid) is None) is not arrives


@pytest.mark.parametrize(
    ("m", "limit"), [(1, LEAST), (7, LEAST), (8, 200), (11, 200), (12, 500), (18, 1000), (200, 100_000)]
)
def test_the_limit_is_a_readable_number_above_the_hitting_time(m: int, limit: int) -> None:
    world = WorldParams(world=f"S{(m - 1) * '.'}T", actions="two").grid
    assert limit_of(world) == limit
    assert limit >= 1.5 * m * (m + 1)


def test_the_limit_stays_within_what_the_field_accepts() -> None:
    world = f"S{899 * '.'}T"
    assert 1.5 * hitting_time(WorldParams(world=world, actions="two").grid) > MOST
    assert OneAgentParams(world=world, actions="two").episode_length == MOST


def test_a_pasted_world_has_its_own_limit_and_an_explicit_one_wins() -> None:
    assert LearnParams().episode_length == 100
    assert LearnParams(world=LABYRINTH).episode_length == 2000
    assert LearnParams(preset="frozen_lake_8x8").episode_length == 200
    assert LearnParams(preset="frozen_lake_8x8", world=LABYRINTH, slip=0).episode_length == 2000
    assert LearnParams(world=LABYRINTH, episode_length=100).episode_length == 100
    params, problems = read(LearnParams, {"world": LABYRINTH, "episode_length": "70"})
    assert (params.episode_length, problems) == (70, [])
    assert RaceParams(preset="zhao_5x5", world=LABYRINTH).episode_length == 2000


def test_a_world_that_cannot_be_read_is_a_problem_of_its_field_alone() -> None:
    params, problems = read(LearnParams, {"world": "S..", "alpha": "0.3"})
    assert [problem.field for problem in problems] == ["world"]
    assert (params.episode_length, params.alpha) == (100, 0.3)


def test_a_link_and_a_command_leave_out_the_limit_of_the_world() -> None:
    own, explicit = (LearnParams(world=LABYRINTH, **more) for more in ({}, {"episode_length": 100}))
    assert query_of({"": own})[0] == {"world": LABYRINTH}
    assert query_of({"": explicit})[0] == {"world": LABYRINTH, "episode_length": "100"}
    assert "episode_length" not in command("grid_world.learn", own)
    assert "--episode_length 100" in command("grid_world.learn", explicit)


def test_the_limit_follows_when_another_world_is_fitted() -> None:
    fitted, made = fit(LearnParams(world="S....#T"))
    assert [each.field for each in made] == ["world"]
    assert fitted == LearnParams()


def test_a_derived_default_is_told_from_what_was_given() -> None:
    assert "episode_length" not in LearnParams(world=LABYRINTH).without_derived()
    assert LearnParams(world=LABYRINTH, episode_length=70).without_derived()["episode_length"] == 70


@pytest.mark.parametrize("algorithm", ["q_learning", "mc_epsilon_greedy"])
def test_it_is_said_that_no_episode_arrived(algorithm: str) -> None:
    short = {**TOO_SHORT, "algorithm": algorithm}
    assert any(NEVER in note for note in learned(**short, episodes=20).notes)
    assert any(NEVER in note for note in live(LiveParams.model_validate(short)).notes)
    enough = {**short, "episode_length": 5000}
    assert not any("No episode" in note for note in learned(**enough, episodes=20).notes)
    assert not any("No episode" in note for note in learned(**short, steps=59).notes)  # none was cut yet


def test_a_race_says_which_agents_never_arrived() -> None:
    found = race(RaceParams(**TOO_SHORT, preset="zhao_5x5", seeds=3, episodes=5))
    said = [note for note in found.notes if "no episode of any seed" in note]
    assert len(said) == 2
    assert "within 60 steps" in said[0]


def test_an_episode_that_falls_into_a_hole_was_not_cut() -> None:
    found = learned(preset="frozen_lake_4x4", episodes=3, seed=1)
    assert (found.returns == 0).all()
    assert not any("No episode" in note for note in found.notes)


def test_a_broken_agent_is_not_told_to_be_patient() -> None:
    broken = {"preset": "frozen_lake_4x4", "epsilon": 0, "break_it": "first_index_ties"}
    assert not any("No episode" in note for note in learned(**broken).notes)


def test_a_race_whose_episodes_are_long_waits_for_a_button() -> None:
    """Where the target goes on, every episode lasts as long as the limit that the world asks for."""
    labyrinth = "/".join(["S8.", *(["8#.", "9.", ".8#", "9."] * 3), "8.T"])
    long = RaceParams(preset="zhao_5x5", world=labyrinth)
    assert long.episode_length >= 10_000
    assert long.needs_button
    assert not long.model_copy(update={"target": "end"}).needs_button
    assert not RaceParams(preset="zhao_5x5").needs_button
