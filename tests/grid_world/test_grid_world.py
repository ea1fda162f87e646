"""The grid world: worlds as text, the exact answers, and every plan, against published values and slow definitions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings

from explainers.contract.params import fit
from explainers.grid_world import exact, planners
from explainers.grid_world.plan import PlanParams, PlanResult, plan
from explainers.grid_world.reach import cells_that_reach_an_end
from explainers.grid_world.solve import SolveParams, SolveResult, policy_of, solve
from explainers.grid_world.views.plan import scene as plan_scene
from explainers.grid_world.views.solve import scene as solve_scene
from explainers.grid_world.world import DIRECTIONS, FORBIDDEN, TARGET, WALL, World
from explainers.grid_world.world_params import PRESETS, WorldParams
from tests.grid_world.worlds import worlds
from tests.published import ROWS

ROOT = Path(__file__).parents[2]


def solved(**values: Any) -> SolveResult:
    return solve(fit(SolveParams(**values))[0])


def planned(**values: Any) -> PlanResult:
    return plan(fit(PlanParams(**values))[0])


def assert_row(name: str, values: np.ndarray) -> None:
    """The values are those of the oracle's row, within its tolerance."""
    row = ROWS[name]
    np.testing.assert_allclose(values, np.array(row["value"], float), rtol=0, atol=row["tolerance"])


# ------------------------------------------------------------------------------------------- published values


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


# ------------------------------------------------------------------------------------------- against definitions


def step_by_hand(world: World, s: int, direction: int) -> tuple[int, float]:
    """Where one move leads, cell by cell, as the rules are written."""
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


@given(worlds())
@settings(max_examples=60, deadline=None)
def test_the_table_of_moves_is_the_rules_cell_by_cell(params: WorldParams) -> None:
    world = params.grid
    moves = world.moves
    assert moves.mix.sum(axis=1) == pytest.approx(1)
    for s in np.flatnonzero(world.lived_in):
        for m, direction in enumerate(moves.directions):
            expected = step_by_hand(world, int(s), direction)
            assert (int(moves.to[s, m]), float(moves.reward[s, m])) == expected
            assert bool(moves.ends[s, m]) == bool(world.terminal[moves.to[s, m]])


@given(worlds())
@settings(max_examples=40, deadline=None)
def test_the_exact_answer_solves_the_bellman_equation_and_every_planner_finds_it(params: WorldParams) -> None:
    found = exact.optimal(params.grid)
    residual = np.abs(params.grid.moves.backup(found.values).max(axis=1) - found.values)
    assert residual[params.grid.lived_in].max(initial=0) < 1e-9
    size = 1 + np.abs(found.values).max()
    for made in _plans(params):
        assert made.errors[-1] <= 1e-6 * size
        assert made.passed


def _plans(params: WorldParams) -> Iterator[PlanResult]:
    given_values = params.model_dump()
    for algorithm in ("value_iteration", "policy_iteration", "truncated_policy_iteration"):
        for in_place in (False, True):
            yield planned(
                **given_values, algorithm=algorithm, sweeps=5000, tolerance=1e-11, in_place=in_place, j=3
            )


@given(worlds())
@settings(max_examples=40, deadline=None)
def test_value_iteration_never_errs_above_the_contraction(params: WorldParams) -> None:
    found = planned(**params.model_dump(), sweeps=60, tolerance=0.0)
    bound = params.gamma ** np.arange(len(found.errors)) * found.errors[0]
    assert (found.errors <= bound + 1e-9 * (1 + found.errors[0])).all()


@given(worlds())
@settings(max_examples=40, deadline=None)
def test_no_policy_is_worth_more_than_the_best(params: WorldParams) -> None:
    best = exact.optimal(params.grid).values
    for name in ("uniform", *params.grid.action_names[:2]):
        v = exact.value_of(params.grid.moves, policy_of(params.grid, name))
        assert (v <= best + 1e-9 * (1 + np.abs(best).max())).all()


@given(
    worlds(gamma=1.0, slip=0.0, r_step=-1.0, r_target=-1.0, r_forbidden=-1.0, target="end", forbidden="end")
)
@settings(max_examples=30, deadline=None)
def test_without_a_discount_the_values_are_steps_to_the_end(params: WorldParams) -> None:
    world = params.grid
    assume(cells_that_reach_an_end(world)[world.lived_in].all())
    values = exact.optimal(world).values[world.lived_in]
    assert values == pytest.approx(np.round(values))
    assert (values <= -1).all()


@pytest.mark.parametrize("break_it", ["forget_discount", "stop_when_policy_unchanged"])
def test_a_broken_plan_turns_a_check_red(break_it: str) -> None:
    assert planned().passed
    assert not planned(break_it=break_it).passed


def test_a_broken_solution_turns_a_check_red() -> None:
    assert solved().passed
    assert not solved(break_it="forget_discount").passed


def test_a_policy_that_never_ends_has_no_values_without_a_discount() -> None:
    world = WorldParams(preset="sutton_4x4").grid
    with pytest.raises(ValueError, match="never ends"):
        exact.value_of(world.moves, policy_of(world, "up"))


def test_few_rounds_of_policy_iteration_promise_nothing() -> None:
    assert planned(algorithm="policy_iteration", sweeps=1).passed


def test_a_linear_program_finds_the_same_values_without_a_discount() -> None:
    found = solved(preset="windy")
    assert {check.reference for check in found.checks} >= {"a linear program"}
    assert found.passed


@pytest.mark.parametrize("gamma", [0.9995, 0.9999])
def test_the_other_way_settles_though_the_discount_is_hardly_one(gamma: float) -> None:
    assert solved(gamma=gamma).passed


@pytest.mark.parametrize("reward", [1e3, 1e6])
def test_large_rewards_end_and_are_checked_by_their_size(reward: float) -> None:
    assert solved(preset="windy", gamma=0.99, r_target=reward, r_step=-reward).passed
    assert solved(preset="frozen_lake_8x8", actions="nine", gamma=0.9, r_step=0.3 * reward).passed
    for algorithm in ("value_iteration", "policy_iteration", "truncated_policy_iteration"):
        assert planned(algorithm=algorithm, r_target=reward).passed


def exploring_values(world: World, epsilon: float) -> np.ndarray:
    """v(s) = epsilon mean_a q(s, a) + (1 - epsilon) max_a q(s, a), sweep by sweep from 0."""
    v = np.zeros(world.states)
    for _ in range(20_000):
        q = world.moves.backup(v)
        v = epsilon * q.mean(axis=1) + (1 - epsilon) * q.max(axis=1)
    return v


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("epsilon", [1e-4, 0.01, 0.05, 0.5])
def test_every_world_of_a_book_has_a_best_policy_that_explores(preset: Any, epsilon: float) -> None:
    """On the windy world without a discount the first greedy policy never ended, and there was no answer."""
    world = WorldParams(preset=preset).grid
    policy, values = exact.optimal_soft(world, epsilon)
    np.testing.assert_allclose(policy.sum(axis=1), 1)
    acting = world.lived_in
    np.testing.assert_allclose(values[acting], exploring_values(world, epsilon)[acting], rtol=1e-7, atol=1e-7)


def test_a_formula_has_the_numbers_of_its_own_break() -> None:
    """Without the discount the numbers put in are those of the discount that was left out."""
    words = solve_scene(solved(break_it="forget_discount")).words
    gamma, q, p, r, ahead = (words.column(name)[0] for name in ("gamma", "q", "p_1", "r_1", "ahead_1"))
    assert (gamma, p) == (1, 1)
    assert q == pytest.approx(r + ahead)
    words = plan_scene(planned(break_it="forget_discount", sweeps=20)).words
    assert (words.column("gamma") == 1).all()


def test_policy_iteration_says_that_it_has_settled() -> None:
    words = plan_scene(planned(algorithm="policy_iteration")).words
    assert "stays as it is" in words.sentences[words.which[-1]]
