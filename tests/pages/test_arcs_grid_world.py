"""The arcs of the grid world: questions at every kind of setting, and each right answer found another way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from explainers.contract.experiment import find
from explainers.grid_world.costs import CostsParams, costs
from explainers.grid_world.learn import LearnParams, learn
from explainers.grid_world.live import live
from explainers.grid_world.live_params import LiveParams, opening_step
from explainers.grid_world.plan import PlanParams, plan
from explainers.grid_world.race import RaceParams, race
from explainers.grid_world.solve import SolveParams, solve
from pages.parts.grid_world import questions
from pages.ui.chapter import Asked, Chapter
from pages.ui.jobs.prepared_run import facts
from pages.ui.prose import prose
from tests.pages.chapters import chapters_of
from tests.pages.settings_to_ask import fitted, problem_with, settings_of, too_long

TOPIC = "grid_world"
CHAPTERS = chapters_of(TOPIC)
SMALL = {"sweeps": 60, "episode_length": 40, "episodes": 6, "longest": 20, "seeds": 3, "chunk": 0}
WORDS = prose(TOPIC)
EACH = pytest.mark.parametrize("chapter", CHAPTERS, ids=[chapter.key for chapter in CHAPTERS])

pytestmark = pytest.mark.usefixtures("compiled_agents")


@EACH
def test_a_chapter_asks_well_at_every_kind_of_setting(chapter: Chapter) -> None:
    experiment, problems, unsolved = find(chapter.experiment), [], 0
    for params in settings_of(chapter, SMALL):
        if chapter.key == "race":  # the tries are races of many agents
            params = fitted(type(params), {**params.model_dump(), "seeds": 2, "episodes": 6})
        try:
            result = experiment(params)
        except ValueError as why:  # without a discount, steps that cost 100,000 times as much as bumps
            if "did not converge" not in str(why):
                raise
            unsolved += 1
            continue
        if problem := problem_with(chapter, params, facts(result), WORDS):
            problems.append(f"{params!r}: {problem}")
    assert not problems
    assert unsolved <= 1


@EACH
def test_the_sentences_of_an_arc_fit_their_place(chapter: Chapter) -> None:
    assert not too_long(chapter, WORDS)


def right_of(asked: Asked) -> float:
    assert asked is not None
    number = asked["right"].replace("−", "-").replace(",", "")
    return float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)


# ------------------------------------------------------------------------------------------------ watch it learn


@pytest.mark.parametrize(
    ("values", "right"),
    [
        ({}, 1.18),  # 1 + 0.1 (1 + 0.9 * 2 - 1)
        ({"alpha_schedule": "one_over_n", "gamma": 0.5, "r_target": 4}, 3),  # half of the way from 1 to 5
        ({"algorithm": "mc_epsilon_greedy", "alpha": 0.5, "gamma": 0.5, "r_target": -2}, 0),  # from 1 to -1
        ({"changes": "100:alpha=0.5|200:gamma=0.5"}, 1.5),
        ({"break_it": "forget_discount", "alpha": 0.5}, 2),
    ],
)
def test_an_update_goes_where_the_arithmetic_says(values: dict[str, Any], right: float) -> None:
    assert right_of(questions.one_update(LiveParams(**values), {})) == pytest.approx(right)


@pytest.mark.parametrize("schedule", ["constant", "one_over_n", "polynomial"])
def test_the_step_size_is_that_of_the_agent(schedule: Any) -> None:
    """The second update of a pair in a run, whose error and change say how far it went."""
    params = LiveParams(alpha_schedule=schedule, alpha=0.3)
    chunk = live(params).chunk
    pairs = chunk.state * len(params.grid.moves.mix) + chunk.action
    second = next(t for t in range(len(pairs)) if (pairs[:t] == pairs[t]).sum() == 1 and chunk.error[t])
    [value], before = chunk.values[chunk.starts[second] : chunk.starts[second + 1]], 0.0
    for t in range(second):
        if pairs[t] == pairs[second]:
            before = chunk.values[chunk.starts[t]]
    asked = questions.one_update(params, {})
    assert asked is not None
    assert asked["alpha"] == pytest.approx((value - before) / chunk.error[second])


@pytest.mark.parametrize("algorithm", ["q_learning", "mc_epsilon_greedy", "td0", "dyna_q"])
@pytest.mark.parametrize("preset", ["zhao_5x5", "cliff", "frozen_lake_4x4", "frozen_lake_8x8", "dyna_maze"])
def test_a_run_opens_where_something_is_learned(preset: Any, algorithm: Any) -> None:
    result = live(LiveParams(preset=preset, algorithm=algorithm))
    start = find("grid_world.live").scene(result).start
    assert start == opening_step(result.params)
    values, chunk = result.keyframes, result.chunk
    if chunk.values.any():
        assert len(set(chunk.positions[: chunk.starts[start + 1]].tolist())) >= 4
    else:
        assert (values == 0).all()
        assert start > 1000


def test_a_run_opens_before_the_reward_that_the_reader_is_asked_about() -> None:
    result = live(LiveParams())
    start = find("grid_world.live").scene(result).start
    assert not (result.chunk.reward[: start + 1] > 0).any()
    assert result.chunk.reward[start + 1] > 0
    assert find("grid_world.live").scene(live(LiveParams(chunk=1))).start == 0


def test_a_control_moved_where_a_run_opens_begins_a_run() -> None:
    params = LiveParams()
    assert params.moved({"alpha": 0.2}, opening_step(params)) == {"alpha": 0.2}
    later = opening_step(params) + 1
    assert params.moved({"alpha": 0.2}, later) == {"changes": f"{later + 1}:alpha=0.2"}


def test_a_control_can_be_moved_where_no_run_can_be_computed() -> None:
    far = {"preset": "sutton_4x4", "r_step": -723_520, "policy": "optimal", "algorithm": "td0"}
    params = LiveParams.model_validate(far)
    with pytest.raises(ValueError, match="did not converge"):
        live(params)
    assert params.moved({"alpha": 0.2}, 500) == {"changes": "501:alpha=0.2"}


@pytest.mark.parametrize("study", ["epsilon", "length", "sweeps"])
def test_the_costs_open_where_the_policy_has_changed(study: Any) -> None:
    result = costs(CostsParams(study=study))
    start = find("grid_world.costs").scene(result).start
    assert start > 0
    assert result.wrong[start] != result.wrong[0]


# ----------------------------------------------------------------------------------------------- the exact answer


@pytest.mark.parametrize(
    ("world", "several"),
    [
        ("S../.../..T", 4),  # of nine cells the four above and left of the target have two ways; it goes on
        ("S.T", 0),
    ],
)
def test_cells_with_two_best_actions_are_counted(world: str, several: int) -> None:
    params = SolveParams(world=world, actions="four", target="end")
    asked = questions.cells_with_a_choice(params, facts(solve(params)))
    assert asked is not None
    assert asked["several"] == several


@pytest.mark.parametrize(("gamma", "reward"), [(0.9, 1), (0.5, 16), (0.99, -3)])
def test_a_reward_ahead_is_worth_what_a_corridor_says(gamma: float, reward: float) -> None:
    corridor = SolveParams(
        world="S...T", actions="two", target="end", gamma=gamma, r_target=reward, r_boundary=-100
    )
    v = np.zeros(5)
    for _ in range(200):  # always to the right
        v[:4] = [gamma * v[s + 1] + (reward if s == 3 else 0) for s in range(4)]
    assert right_of(questions.reward_ahead(corridor, {})) == pytest.approx(v[0], rel=0.005)


# ------------------------------------------------------------------------------------------------------- plan


@pytest.mark.parametrize("algorithm", ["value_iteration", "policy_iteration", "truncated_policy_iteration"])
@pytest.mark.parametrize("values", [{"r_forbidden": -10}, {"preset": "dyna_maze"}, {"preset": "cliff"}])
def test_when_the_policy_is_optimal_is_counted_stage_by_stage(algorithm: Any, values: Any) -> None:
    params = fitted(PlanParams, {"algorithm": algorithm, **values})
    result = plan(params)
    asked = questions.when_the_policy_is_optimal(params, facts(result))
    counted = "improved" if params.algorithm == "policy_iteration" else "sweep"
    acting, done, total = np.flatnonzero(params.grid.acting), None, 0
    for stage in result.stages:
        total += stage.what == counted
        if done is None and result.best.best[acting, stage.chosen[acting]].all():
            done = total
    assert asked is not None
    assert done is not None
    expected = "up to 10%" if done <= total / 10 else "10% to 50%" if done <= total / 2 else "over 50%"
    assert asked["right"] == expected
    assert str(done) in asked["when"]


@pytest.mark.parametrize("gamma", [0.9, 0.5, 0.1, 0.99])
def test_sweeps_to_a_hundredth_are_counted(gamma: float) -> None:
    left, k = 1.0, 0
    while left > 0.01 * (1 + 1e-12):
        left, k = left * gamma, k + 1
    assert right_of(questions.sweeps_to_a_hundredth(PlanParams(gamma=gamma), {})) == k


@pytest.mark.parametrize("preset", ["zhao_5x5", "cliff", "frozen_lake_4x4"])
def test_planning_opens_in_the_middle(preset: Any) -> None:
    params = fitted(PlanParams, {"preset": preset})
    result = plan(params)
    start = find("grid_world.plan").scene(result).start
    assert 1 < start < len(result.stages) - 2
    assert np.count_nonzero(result.stages[start].values) >= 4


# --------------------------------------------------------------------------------------------------- what it costs


@pytest.mark.parametrize("actions", ["two", "four", "nine"])
def test_how_often_the_best_action_is_taken(actions: Any) -> None:
    count = {"two": 2, "four": 4, "nine": 9}[actions]
    random = np.random.default_rng(1)
    taken = np.where(random.random(400_000) < 0.2, random.integers(0, count, 400_000), 0)
    right = right_of(questions.cost_by_hand(CostsParams(actions=actions), {}))
    assert right == pytest.approx((taken == 0).mean(), abs=0.003)


@pytest.mark.parametrize("gamma", [0.9, 0.5, 0.99])
def test_what_an_episode_sees_is_added_up(gamma: float) -> None:
    rewards = gamma ** np.arange(20_000)
    asked = questions.cost_by_hand(CostsParams(study="length", gamma=gamma), {})
    assert right_of(asked) == pytest.approx(rewards[:10].sum() / rewards.sum(), abs=0.0006)


@pytest.mark.parametrize(("actions", "right"), [("two", 6), ("five", 9), ("eight", 12)])
def test_the_backups_of_a_round_are_counted(actions: Any, right: int) -> None:
    assert right_of(questions.cost_by_hand(CostsParams(study="sweeps", actions=actions), {})) == right


@pytest.mark.parametrize("values", [{}, {"preset": "cliff", "gamma": 0.99}])
def test_the_measured_costs_are_those_of_the_study(values: dict[str, Any]) -> None:
    exploring = costs(CostsParams(**values))
    mean = exploring.values[exploring.at.tolist().index(0.5)].ravel()[exploring.params.grid.acting].mean()
    asked = questions.what_it_costs(exploring.params, facts(exploring))
    assert right_of(asked) == pytest.approx(mean, rel=0.005)
    short = costs(CostsParams(study="length", longest=21, **values))
    off = np.abs(short.values[10].ravel() - short.best.values)[short.params.grid.acting].max()
    asked = questions.what_it_costs(short.params, facts(short))
    assert right_of(asked) == pytest.approx(off, rel=0.005)
    sweeping = costs(CostsParams(study="sweeps", **values))
    asked = questions.what_it_costs(sweeping.params, facts(sweeping))
    assert asked is not None
    j, backups = (1, 2, 3, 5, 8, 13, 20, 40, 80), sweeping.measured["backups"]
    assert int(asked["right"]) == j[int(np.nanargmin(backups))]


# ------------------------------------------------------------------------------------------------------------ race


def test_who_earns_most_is_read_from_all_returns() -> None:
    params = RaceParams(seeds=20, episodes=200)
    result = race(params)
    asked = questions.earns_most(params, facts(result))
    assert asked is not None
    assert asked["right"] == "Sarsa"
    alone = {
        name: np.median(
            [
                learn(LearnParams(preset="cliff", algorithm=name, episodes=200, seed=seed))
                .returns[-100:]
                .mean()
                for seed in range(20)
            ]
        )
        for name in ("sarsa", "q_learning")
    }
    assert alone["sarsa"] > 1.02 * alone["q_learning"]
    assert facts(result)["earned"] == pytest.approx(alone)
    assert questions.earns_most(params, {"earned": {"sarsa": -17.0}}) is None
    alike = questions.earns_most(params, {"earned": {"sarsa": -17.0, "q_learning": -17.1}})
    assert alike is not None
    assert alike["right"] == "about the same"


@pytest.mark.parametrize("epsilon", [0.1, 0.02, 0.5])
def test_steps_without_exploring_are_counted(epsilon: float) -> None:
    explores = np.random.default_rng(5).random((200_000, 10)) < epsilon
    right = right_of(questions.steps_without_exploring(RaceParams(epsilon=epsilon), {}))
    assert right == pytest.approx((~explores.any(axis=1)).mean(), abs=0.005)
