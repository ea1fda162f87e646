"""The grid world: the table of moves, the exact answers and every plan, against slow definitions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings

from explainers.grid_world import exact
from explainers.grid_world.plan import PlanResult
from explainers.grid_world.reach import cells_that_reach_an_end
from explainers.grid_world.solve import policy_of
from explainers.grid_world.views.plan import scene as plan_scene
from explainers.grid_world.views.solve import scene as solve_scene
from explainers.grid_world.world import World
from explainers.grid_world.world_params import PRESETS, WorldParams
from tests.grid_world.by_hand import step_by_hand
from tests.grid_world.fitted import planned, solved
from tests.grid_world.worlds import worlds


@given(worlds())
@settings(max_examples=60, deadline=None)
def test_the_table_of_moves_is_the_rules_cell_by_cell(params: WorldParams) -> None:
    world = params.grid
    moves = world.moves
    assert moves.mix.sum(axis=1) == pytest.approx(1)
    for s in np.flatnonzero(world.acting):
        for m, direction in enumerate(moves.directions):
            expected = step_by_hand(world, int(s), direction)
            assert (int(moves.to[s, m]), float(moves.reward[s, m])) == expected
            assert bool(moves.ends[s, m]) == bool(world.terminal[moves.to[s, m]])


@given(worlds())
@settings(max_examples=40, deadline=None)
def test_the_exact_solution_solves_the_bellman_equation_and_every_planner_finds_it(
    params: WorldParams,
) -> None:
    found = exact.optimal(params.grid)
    residual = np.abs(params.grid.moves.backup(found.values).max(axis=1) - found.values)
    assert residual[params.grid.acting].max(initial=0) < 1e-9
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
    assume(cells_that_reach_an_end(world)[world.acting].all())
    values = exact.optimal(world).values[world.acting]
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


def test_a_check_of_v_star_needs_converged_policy_iteration() -> None:
    assert planned(algorithm="policy_iteration", sweeps=1).passed


def test_a_linear_program_finds_the_same_values_without_a_discount() -> None:
    found = solved(preset="windy")
    assert {check.reference for check in found.checks} >= {"a linear program"}
    assert found.passed


@pytest.mark.parametrize("gamma", [0.9995, 0.9999])
def test_the_second_method_converges_with_a_discount_close_to_1(gamma: float) -> None:
    assert solved(gamma=gamma).passed


@pytest.mark.parametrize("reward", [1e3, 1e6])
def test_large_rewards_converge_and_scale_the_tolerances(reward: float) -> None:
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
    acting = world.acting
    np.testing.assert_allclose(values[acting], exploring_values(world, epsilon)[acting], rtol=1e-7, atol=1e-7)


def test_a_formula_shows_the_numbers_of_the_break() -> None:
    """The break removes the discount from the numbers in the formula, too."""
    words = solve_scene(solved(break_it="forget_discount")).words
    gamma, q, p, r, ahead = (words.column(name)[0] for name in ("gamma", "q", "p_1", "r_1", "ahead_1"))
    assert (gamma, p) == (1, 1)
    assert q == pytest.approx(r + ahead)
    words = plan_scene(planned(break_it="forget_discount", sweeps=20)).words
    assert (words.column("gamma") == 1).all()


def test_policy_iteration_says_that_it_has_settled() -> None:
    words = plan_scene(planned(algorithm="policy_iteration")).words
    assert "stays as it is" in words.sentences[words.which[-1]]
