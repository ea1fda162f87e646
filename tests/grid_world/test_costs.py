"""What exploring, short episodes and sweeps of evaluation cost, compared with published values and our planners."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from explainers.contract.params import fit
from explainers.grid_world import exact, planners
from explainers.grid_world.costs import LOOK_AT, NEAR, CostsParams, CostsResult, costs
from explainers.grid_world.plan import PlanParams, plan
from explainers.grid_world.views.costs import scene as costs_scene
from explainers.grid_world.views.plan import scene as plan_scene
from tests.published import ROWS


def studied(**values: Any) -> CostsResult:
    return costs(fit(CostsParams(**values))[0])


@pytest.mark.parametrize("epsilon", [0.1, 0.2])
def test_the_cost_of_exploring_is_the_one_in_the_book(epsilon: float) -> None:
    """Zhao, figure 5.7: the best policies that explore; figure 5.6 has the optimal policy made to explore."""
    found = studied(study="epsilon", r_forbidden=-10, bump="both")
    row = ROWS[f"zhao5.7_eps{epsilon}_exact"]
    at = int(np.flatnonzero(np.isclose(found.at, epsilon))[0])
    np.testing.assert_allclose(found.values[at], row["value"], atol=row["tolerance"])
    assert found.measured["best_soft"][at] == pytest.approx(np.mean(row["value"]), abs=row["tolerance"])
    assert found.passed


def test_without_exploring_both_policies_are_the_best() -> None:
    found = studied(study="epsilon", preset="cliff", gamma=0.99)
    acting = found.params.grid.acting
    expected = found.best.values[acting].mean()
    assert [curve[0] for curve in found.measured.values()] == pytest.approx([expected, expected])
    assert found.wrong[0] == 0
    assert (np.diff(found.measured["best_soft"]) < 0).all()


@pytest.mark.parametrize("length", [1, 2, 4, 15])
def test_short_episodes_return_what_the_book_prints(length: int) -> None:
    """Zhao, figure 5.4: MC Basic, whose episodes the plan samples and this study computes."""
    found = studied(study="length", r_forbidden=-10)
    row = ROWS[f"zhao5.4_L{length}_exact"]
    np.testing.assert_allclose(found.values[length - 1], row["value"], atol=row["tolerance"])
    sampled = plan(PlanParams(algorithm="mc_basic", episode_length=length, r_forbidden=-10))
    np.testing.assert_allclose(found.values[length - 1], sampled.values, atol=1e-12)


def test_returns_of_policies_that_never_settle_still_check() -> None:
    """On the ice the best first action depends on the remaining steps, and MC Basic cycles between policies."""
    assert studied(study="length", preset="frozen_lake_8x8", gamma=0.99, longest=60).passed


@pytest.mark.parametrize("study", ["epsilon", "length"])
def test_tolerances_grow_with_the_rewards(study: str) -> None:
    assert studied(study=study, r_target=1e6).passed


def test_sweeps_and_improvements_are_counted() -> None:
    found = studied(study="sweeps", r_forbidden=-10)
    world = found.params.grid
    for k, j in enumerate(found.at):
        stages = list(planners.truncated_policy_iteration(world.moves.backup, np.zeros(25), 3000, 0, int(j)))
        near = [np.abs(stage.values - found.best.values).max() <= NEAR for stage in stages].index(True)
        kinds = [stage.what for stage in stages[: near + 1]]
        sweeps, improvements = kinds.count("sweep"), kinds.count("improved")
        measured = [found.measured[name][k] for name in ("sweeps", "improvements", "backups")]
        assert measured == [sweeps, improvements, sweeps + 5 * improvements]
    assert (
        0 < found.measured["backups"].argmin() < len(found.at) - 1
    )  # the cheapest lies between the extremes


def test_the_picture_shows_the_world_after_the_same_number_of_sweeps_for_every_j() -> None:
    found = studied(study="sweeps")
    v = np.zeros(25)
    for _ in range(LOOK_AT):
        v = found.params.grid.moves.backup(v).max(axis=1)
    np.testing.assert_allclose(found.values[0].ravel(), v, atol=1e-12)


def test_a_length_without_discount_turns_the_check_red() -> None:
    assert studied(study="length").passed
    assert not studied(study="length", break_it="forget_discount").passed


@pytest.mark.parametrize(
    ("values", "beginning"),
    [
        ({"gamma": 1}, "gamma = 1 "),
        ({"study": "epsilon", "break_it": "forget_discount"}, "break_it = forget_discount "),
    ],
)
def test_settings_without_a_cost_are_adjusted(values: dict[str, Any], beginning: str) -> None:
    params, adjusted = fit(CostsParams(**values))
    assert any(each.sentence.startswith(beginning) and "allowed" in each.sentence for each in adjusted)
    assert not fit(params)[1]


@pytest.mark.parametrize("study", ["epsilon", "length", "sweeps"])
def test_every_study_has_a_picture(study: str) -> None:
    found = studied(study=study, longest=8)
    scene = costs_scene(found)
    assert scene.steps == len(found.at) == len(found.wrong)
    np.testing.assert_array_equal(scene.words.column("setting"), found.at)


# --------------------------------------------------------------------------------------------------- the zigzag


def test_policy_iteration_closes_its_two_gaps_in_turn() -> None:
    """Sutton and Barto, section 4.6: an evaluation makes v = v_pi, an improvement makes pi greedy for v."""
    found = plan(PlanParams(algorithm="policy_iteration", r_forbidden=-10))
    for stage, (evaluation, improvement) in zip(found.stages, found.gaps, strict=True):
        closed = evaluation if stage.what == "evaluated" else improvement
        assert closed == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(found.gaps[-1], 0, atol=1e-12)
    assert found.gaps[:-2].sum(axis=1).min() > 0.1


def test_truncated_evaluation_leaves_its_gap_open() -> None:
    """j sweeps from v leave gamma^j of the distance to v_pi, at most."""
    found = plan(PlanParams(algorithm="truncated_policy_iteration", j=3))
    kinds = [stage.what for stage in found.stages]
    begin = kinds.index("improved")
    assert kinds[begin + 1 : begin + 4] == ["sweep"] * 3
    gaps = found.gaps[begin : begin + 4, 0]
    assert gaps[3] > 0
    assert (gaps[1:] <= 0.9 * gaps[:-1] + 1e-12).all()


@pytest.mark.parametrize(
    ("algorithm", "panels"), [("policy_iteration", 3), ("value_iteration", 2), ("mc_basic", 2)]
)
def test_only_policy_iteration_has_a_zigzag(algorithm: str, panels: int) -> None:
    scene = plan_scene(plan(PlanParams.model_validate({"algorithm": algorithm})))
    assert len(scene.columns[1].panels) == panels


def test_a_horizon_of_one_step_is_the_first_reward() -> None:
    moves = CostsParams().grid.moves
    np.testing.assert_allclose(
        exact.within(moves, np.eye(5)[np.zeros(25, int)], 1), moves.backup(np.zeros(25))
    )
