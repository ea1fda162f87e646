"""The grid world against the values that books print."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from explainers.grid_world import exact, planners, published
from explainers.grid_world.solve import SolveResult, policy_of
from explainers.grid_world.world_params import PRESETS, WorldParams
from tests.grid_world.fitted import learned, planned, solved
from tests.published import ROWS


def assert_row(name: str, values: np.ndarray) -> None:
    """The values are those of the oracle's row, within its tolerance."""
    row = ROWS[name]
    np.testing.assert_allclose(values, np.array(row["value"], float), rtol=0, atol=row["tolerance"])


@pytest.mark.parametrize(
    ("row", "settings_of_row"),
    [
        ("zhao3.4a", {}),
        ("zhao3.4a_exact", {}),
        ("zhao3.4c", {"gamma": 0.0}),
        ("zhao3.4c_exact", {"gamma": 0.0}),
        ("zhao3.4d", {"r_forbidden": -10}),
    ],
)
def test_optimal_values_are_those_of_the_book(row: str, settings_of_row: dict[str, Any]) -> None:
    assert_row(row, solved(**settings_of_row).values)


@pytest.mark.parametrize(
    ("row", "settings_of_row"),
    [("zhao3.4a_optactions", {}), ("zhao3.4c_optactions", {"gamma": 0.0})],
)
def test_optimal_actions_are_the_whole_tie_set(row: str, settings_of_row: dict[str, Any]) -> None:
    assert [list(actions) for actions in solved(**settings_of_row).optimal_actions] == ROWS[row]["value"]


def test_rewards_scaled_and_shifted_scale_and_shift_the_values() -> None:
    """Zhao, theorem 3.6: alpha r + beta gives alpha v + beta / (1 - gamma), and the same best actions."""
    value = ROWS["zhao_affine"]["value"]
    alpha, beta, tolerance = value["alpha"], value["beta"], ROWS["zhao_affine"]["tolerance"]
    before = solved()
    rewards = {
        name: alpha * getattr(before.params, name) + beta
        for name in ("r_target", "r_forbidden", "r_boundary")
    }
    after = solved(**rewards, r_step=beta)
    np.testing.assert_allclose(after.values, alpha * before.values + value["shift"], atol=tolerance)
    assert after.optimal_actions == before.optimal_actions


def test_where_episodes_end_a_shift_of_the_rewards_changes_the_policy() -> None:
    ending = {"preset": "zhao_5x5", "target": "end"}
    before = solved(**ending)
    shifted = {
        name: getattr(before.params, name) + 3 for name in ("r_target", "r_forbidden", "r_boundary", "r_step")
    }
    assert solved(**ending, **shifted).optimal_actions != before.optimal_actions


def test_value_iteration_of_the_2_by_2_world() -> None:
    moves = WorldParams(preset="zhao_2x2").grid.moves
    v = np.zeros(4)
    for k in range(2):
        assert_row(f"zhao4.2_q{k}", moves.backup(v))
        v = moves.backup(v).max(axis=1)
        np.testing.assert_allclose(v, ROWS["zhao4.2_v"]["value"][f"v{k + 1}"], atol=1e-9)
    np.testing.assert_allclose(
        solved(preset="zhao_2x2").values.ravel(), ROWS["zhao4.2_v"]["value"]["vinf"], atol=1e-9
    )


def test_policy_iteration_of_the_two_cells() -> None:
    value, moves = ROWS["zhao4.3"]["value"], WorldParams(preset="zhao_two_cells").grid.moves
    order = [1, 2, 0]  # the book's columns are left, stay, right; ours right, left, stay
    left = np.eye(3)[[1, 1]]
    v = np.zeros(2)
    for iterate in value["iterates"]:
        v = moves.backup(v)[:, 1]
        np.testing.assert_allclose(v, iterate, atol=1e-9)
    v = exact.value_of(moves, left)
    np.testing.assert_allclose(v, value["v"], atol=1e-9)
    q = moves.backup(v)
    np.testing.assert_allclose(q[:, order], value["q"], atol=1e-9)
    names = WorldParams(preset="zhao_two_cells").grid.action_names
    assert [names[a] for a in q.argmax(axis=1)] == value["pi1"]


def test_policy_iteration_from_staying_everywhere() -> None:
    world = WorldParams(r_forbidden=-10).grid
    v = exact.value_of(world.moves, policy_of(world, "stay"))
    np.testing.assert_allclose(v.reshape(5, 5), ROWS["zhao4.4"]["value"]["v0"], atol=0.05)
    better = planners.greedy(world.moves.backup(v), np.full(25, 4))
    v = exact.value_of(world.moves, np.eye(5)[better])
    np.testing.assert_allclose(v.reshape(5, 5), ROWS["zhao4.4"]["value"]["v1"], atol=0.05)


@pytest.mark.parametrize("length", [1, 2, 4, 15, 100])
def test_mc_basic_sees_as_far_as_its_episodes_are_long(length: int) -> None:
    found = planned(algorithm="mc_basic", episode_length=length, r_forbidden=-10)
    assert_row(f"zhao5.4_L{length}", found.values)
    assert_row(f"zhao5.4_L{length}_exact", found.values)
    assert found.passed


def test_the_first_step_of_mc_basic() -> None:
    value = ROWS["zhao5.3"]["value"]
    world = WorldParams(preset="zhao_3x3").grid
    # the book's first policy: up in the first cell, else on to the target by the middle column
    chosen = np.array([0, 2, 2, 1, 2, 2, 1, 1, 4])
    q = world.moves.backup(exact.value_of(world.moves, np.eye(5)[chosen]))[0]
    assert q == pytest.approx([value[f"a{number}"] for number in range(1, 6)], abs=1e-9)


@pytest.mark.parametrize("epsilon", [0.1, 0.2])
def test_the_best_soft_policies(epsilon: float) -> None:
    world = WorldParams(r_forbidden=-10, bump="both").grid
    values = exact.optimal_soft(world, epsilon)[1].reshape(5, 5)
    assert_row(f"zhao5.7_eps{epsilon}", values)
    assert_row(f"zhao5.7_eps{epsilon}_exact", values)


def test_the_plain_rule_for_bumps_misses_the_figure() -> None:
    """Figure 5.7 needs the rule "both": print and our other convention differ by more than rounding."""
    plain = exact.optimal_soft(WorldParams(r_forbidden=-10).grid, 0.1)[1].reshape(5, 5)
    assert np.abs(plain - np.array(ROWS["zhao5.7_eps0.1"]["value"])).max() > 0.2


def test_the_greedy_policy_made_soft() -> None:
    world = WorldParams(r_forbidden=-10, bump="both").grid
    best = exact.optimal(world).best
    chosen = np.where(best[:, 1], 1, best.argmax(axis=1))  # of equal actions the figure takes right
    one_hot = np.eye(5, dtype=bool)[chosen]
    assert_row(
        "zhao5.6_eps0.1", exact.value_of(world.moves, exact.epsilon_greedy(one_hot, 0.1)).reshape(5, 5)
    )


def test_a_uniform_policy_of_the_5_by_5_world() -> None:
    assert_row("zhao8_uniform", solved(policy="uniform").values)


def test_sutton_and_bartos_teleports() -> None:
    assert_row("sb3.2", solved(preset="sutton_5x5", policy="uniform").values)


def test_iterative_evaluation_of_the_4_by_4_world() -> None:
    world, row = WorldParams(preset="sutton_4x4").grid, ROWS["sb4.1"]
    v = np.zeros(16)
    for k in range(1, 11):
        v = world.moves.backup(v).mean(axis=1)
        if str(k) in row["value"]:
            np.testing.assert_allclose(v[:4], row["value"][str(k)], atol=row["tolerance"])
    found = solved(preset="sutton_4x4", policy="uniform").values
    np.testing.assert_allclose(found[0], row["value"]["inf"], atol=1e-9)


@pytest.mark.parametrize(
    ("actions", "steps"), [*zip(("four", "eight", "nine"), ROWS["windy"]["value"], strict=True)]
)
def test_steps_through_the_wind(actions: str, steps: int) -> None:
    world = WorldParams(preset="windy", actions=actions).grid  # type: ignore[arg-type]
    assert exact.optimal(world).values[world.start] == -steps


def test_the_frozen_lake() -> None:
    *discounted, capped = ROWS["frozen4"]["value"]
    for gamma, value in zip((0.9, 0.95, 0.99, 1.0), discounted, strict=True):
        assert solved(preset="frozen_lake_4x4", gamma=gamma).values[0, 0] == pytest.approx(value, abs=1e-5)
    hundred = planned(preset="frozen_lake_4x4", gamma=1.0, sweeps=100, tolerance=0.0)
    assert hundred.values[0, 0] == pytest.approx(capped, abs=1e-5)


def test_value_iteration_touches_its_bound() -> None:
    """The worst cell is the target: the error is gamma^k times the first, not only below it."""
    value, found = ROWS["vi_contraction"]["value"], planned(tolerance=0.0, sweeps=100)
    for k in (0, 1, 5, 50):
        assert found.errors[k] == pytest.approx(value[f"k{k}"], abs=1e-4)
    assert found.errors[:60] == pytest.approx(10 * 0.9 ** np.arange(60), rel=1e-9)
    assert found.policy_optimal_at == 6
    assert planned(r_forbidden=-10).policy_optimal_at == 8
    assert int(np.argmax(found.errors <= 1e-3)) == 88


def test_utilities_of_the_4_by_3_world_count_the_cell_itself() -> None:
    found = solved(preset="aima_4x3")
    printed = np.array(ROWS["aima17.3"]["value"], float)
    known = ~np.isnan(printed)
    np.testing.assert_allclose(
        (found.values - 0.04)[known], printed[known], rtol=0, atol=ROWS["aima17.3"]["tolerance"]
    )


def arrows_of(found: SolveResult) -> str:
    """The best action of each cell, row by row, as the oracle writes it; "." where no agent acts."""
    letters = ["".join("^>v<"[number - 1] for number in best) or "." for best in found.optimal_actions]
    return "/".join("".join(letters[row : row + 4]) for row in (0, 4, 8))


def test_policies_of_the_4_by_3_world_at_other_living_rewards() -> None:
    for rewards, arrows in ROWS["aima17.2"]["value"].items():
        for reward in map(float, rewards.split(",")):
            found = solved(preset="aima_4x3", r_step=reward, r_boundary=reward)
            assert arrows_of(found) == arrows
            assert any("published actions" in check.what for check in found.checks)
    between = solved(preset="aima_4x3", r_step=-0.6, r_boundary=-0.6)
    assert arrows_of(between) not in ROWS["aima17.2"]["value"].values()
    assert not between.published


def test_berkeleys_grids_where_leaving_is_one_more_action() -> None:
    for name, rows, settings in (
        ("cs188_discount", slice(None), {}),
        ("cs188_bridge", (1, slice(1, 6)), {"gamma": 0.85, "slip": 0.1}),
    ):
        found, printed = solved(preset=name, **settings), np.array(ROWS[name]["value"], float)
        theirs = (found.params.gamma * found.values)[rows]
        known = ~np.isnan(printed)
        np.testing.assert_allclose(theirs[known], printed[known], rtol=0, atol=ROWS[name]["tolerance"])


def test_the_bridge_is_crossed_only_where_moves_hardly_slip() -> None:
    """CS188, question 2: at gamma 0.9 and noise 0.2 the agent does not cross; a change of the noise lets it."""
    start = 8
    assert solved(preset="cs188_bridge").optimal_actions[start] == (4,)
    assert solved(preset="cs188_bridge", slip=0.01).optimal_actions[start] == (2,)


def test_dyna_plans_its_way_through_the_maze() -> None:
    row = ROWS["dyna_maze"]
    for planning, episodes in row["value"].items():
        runs = [
            learned(
                preset="dyna_maze",
                algorithm="dyna_q",
                planning_steps=int(planning),
                episodes=50,
                episode_length=1_000_000,
                seed=seed,
            )
            for seed in range(30)
        ]
        lengths = np.mean([found.lengths for found in runs], axis=0)
        near = 1 + int(np.argmax(lengths < 1.25 * lengths[-10:].mean()))
        assert near == pytest.approx(episodes, abs=row["tolerance"][planning])


@pytest.mark.parametrize("number", range(len(published.PRINTED)))
def test_every_printed_table_belongs_to_a_preset_and_can_fail(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every table is checked and green; with its values, actions or steps changed, the check is red."""
    printed = published.PRINTED[number]
    reward = {} if printed.living is None else {"r_step": sum(printed.living) / 2}
    settings = {**PRESETS[printed.preset], **printed.settings, **reward}
    if reward:
        settings["r_boundary"] = settings["r_step"]
    found = solved(preset=printed.preset, policy=printed.policy, **settings)
    assert printed in found.published
    assert found.passed
    worse = {
        "values": tuple(tuple(v if v is None else v + 1 for v in row) for row in printed.values),
        "arrows": printed.arrows.translate(str.maketrans("^>v<", "<^>v")),
        "steps": None if printed.steps is None else printed.steps + 1,
    }
    monkeypatch.setattr(published, "PRINTED", (replace(printed, **worse),))
    assert not solved(preset=printed.preset, policy=printed.policy, **settings).passed


def test_a_small_model_that_is_no_grid() -> None:
    """pymdptoolbox's example: the planners need a backup and nothing else."""
    value = ROWS["mdp_small"]["value"]
    P, R = (
        np.array([[[0.5, 0.5], [0.8, 0.2]], [[0.0, 1.0], [0.1, 0.9]]]),
        np.array([[5.0, 10.0], [-1.0, 2.0]]),
    )

    def backup(v: np.ndarray, states: slice = slice(None)) -> np.ndarray:
        return (R + 0.9 * np.einsum("ast,t->sa", P, v))[states]

    def evaluate(chosen: np.ndarray) -> np.ndarray:
        rows = np.arange(2)
        return np.linalg.solve(np.eye(2) - 0.9 * P[chosen, rows], R[rows, chosen])

    v0 = np.zeros(2)
    plans = (
        planners.value_iteration(backup, v0, 2000, 1e-13),
        planners.value_iteration(backup, v0, 2000, 1e-13, in_place=True),
        planners.truncated_policy_iteration(backup, v0, 2000, 1e-13, 7),
        planners.policy_iteration(backup, v0, 50, evaluate),
    )
    for made in plans:
        *_, last = made
        np.testing.assert_allclose(last.values, value["exact"], atol=1e-9)
    swept = list(planners.value_iteration(backup, v0, value["iter"], 0.0))
    np.testing.assert_allclose(swept[-1].values, value["vi"], atol=1e-9)  # where pymdptoolbox stops
