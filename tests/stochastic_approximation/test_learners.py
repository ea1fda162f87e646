"""SGD in the plane, and the bridge from SGD to TD(0) and Q-learning."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from explainers.contract.params import fit
from explainers.stochastic_approximation import bridge, sgd
from explainers.stochastic_approximation.bridge import BridgeParams, BridgeResult
from explainers.stochastic_approximation.sgd import SgdParams, SgdResult, law, problem_of
from explainers.stochastic_approximation.views.bridge import scene as bridge_scene
from explainers.stochastic_approximation.views.sgd import scene as sgd_scene
from tests.breaks import settings_of
from tests.published import ROWS


def descended(**values: Any) -> SgdResult:
    return sgd.sgd(fit(SgdParams.model_validate(values))[0])


def bridged(**values: Any) -> BridgeResult:
    return bridge.bridge(fit(BridgeParams.model_validate(values))[0])


# --------------------------------------------------------------------------------------------------------- SGD


def test_the_book_s_batches() -> None:
    """Zhao, figure 6.5: ten percent, as the points are a sample, too."""
    row = ROWS["zhao6.5"]
    found = descended(seeds=1000, steps=30)
    for size, expected in row["value"].items():
        assert found.rms[size] == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("size", ["1", "5", "50"])
def test_the_law_of_a_mean_is_its_variance_over_k_m(size: str) -> None:
    params = SgdParams(steps=40)
    squares = problem_of(params)
    scatter = ((squares.points - squares.points.mean(axis=0)) ** 2).sum(axis=1).mean()
    k = np.arange(1, 41)
    np.testing.assert_allclose(law(params, squares, size)[1:], scatter / (k * int(size)), rtol=1e-9)  # type: ignore[arg-type]


def test_the_exact_gradient_lands_on_a_mean_at_once() -> None:
    found = descended(batch_sizes=("all", "1"))
    np.testing.assert_allclose(found.descents["all"].path[1], found.solution, atol=1e-12)
    assert found.rms["all"] < 1e-12 < found.rms["1"]


def test_the_solution_of_a_line_is_that_of_least_squares() -> None:
    params = SgdParams(problem="regression")
    squares = problem_of(params)
    x, y = squares.points.T
    slope, intercept = np.polyfit(x, y, 1)
    np.testing.assert_allclose(squares.solution, [intercept, slope], rtol=1e-9)


def test_gradients_are_those_of_the_squared_error() -> None:
    squares = problem_of(SgdParams(problem="regression"))
    w, h = np.array([1.5, -2.0]), 1e-6
    (x, y), A, b = squares.points[3], squares.A[3], squares.b[3]

    def f(w: np.ndarray) -> float:
        return (w[0] + w[1] * x - y) ** 2 / 2

    slopes = [(f(w + step) - f(w - step)) / (2 * h) for step in h * np.eye(2)]
    np.testing.assert_allclose(A @ w - b, slopes, rtol=1e-6)


@pytest.mark.parametrize("problem", ["mean", "regression"])
@pytest.mark.parametrize(
    "rule", [{}, {"step_rule": "constant", "c": 0.3}, {"step_rule": "c/(k+b)", "b": 5, "c": 2}]
)
def test_the_law_is_what_many_seeds_do(problem: str, rule: dict[str, Any]) -> None:
    found = descended(problem=problem, seeds=8000, batch_sizes=("1", "5", "all"), **rule)
    assert found.passed
    for size, measured in found.rms_by_step.items():
        np.testing.assert_allclose(measured, found.law_by_step[size], rtol=0.06, atol=1e-9)


@pytest.mark.parametrize(
    "rule",
    [{}, {"step_rule": "constant", "c": 0.6}, {"step_rule": "constant", "c": 0.8, "steps": 60}, {"c": 2}],
)
@pytest.mark.parametrize("problem", ["mean", "regression"])
def test_no_sound_descent_is_red(problem: str, rule: dict[str, Any]) -> None:
    for seed in range(12):
        found = descended(problem=problem, seeds=20, seed=seed, **rule)
        assert [check for check in found.checks if not check.passed] == []


def test_many_updates_fit_into_a_picture() -> None:
    found = descended(steps=2000, batch_sizes=("1", "2", "5", "all"), seeds=20)
    assert len(sgd_scene(found).to_bytes()) < 8_000_000


def test_a_size_draws_the_same_in_any_company() -> None:
    alone, together = descended(batch_sizes=("5",)), descended(batch_sizes=("1", "5"))
    np.testing.assert_array_equal(alone.rms_by_step["5"], together.rms_by_step["5"])


@pytest.mark.parametrize("name", list(settings_of(sgd.BREAKS)))
def test_a_break_of_sgd_turns_red(name: str) -> None:
    assert descended(**settings_of(sgd.BREAKS)[name]).passed
    assert not descended(**settings_of(sgd.BREAKS)[name], break_it=name).passed


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"batch_sizes": ()}, "batch_sizes = none"),
        ({"batch_sizes": ("1", "1")}, "batch_sizes = one of them twice"),
        ({"batch_sizes": ("50",), "seeds": 20_000, "steps": 2000}, "steps = 2000 "),
    ],
)
def test_what_cannot_run_is_adjusted(values: dict[str, Any], told: str) -> None:
    params, adjusted = fit(SgdParams.model_validate(values))
    assert adjusted[0].sentence.startswith(told)
    assert "allowed: " in adjusted[0].sentence
    assert not fit(params)[1]


@pytest.mark.parametrize("c", [0.01, 3.0])
def test_pictures_of_paths_that_stay_or_diverge(c: float) -> None:
    scene = sgd_scene(descended(step_rule="constant", c=c, steps=200))
    assert scene.steps == 200
    assert np.isfinite(scene.words.values).all()
    scene.to_bytes()


# -------------------------------------------------------------------------------------------------- the bridge


def test_the_truth_solves_the_bellman_equations() -> None:
    right = bridge.truth()
    v = np.concatenate([[0], right["td"], [0]])
    np.testing.assert_allclose(right["td"], (v[:-2] + v[2:] + np.eye(5)[-1]) / 2)
    q = right["q_learning"].reshape(5, 2)
    best = np.concatenate([[0], q.max(axis=1), [0]])
    up = np.eye(5)[-1] + 0.9 * best[2:]
    np.testing.assert_allclose(q[:, 1], 0.8 * up + 0.2 * 0.9 * best[:-2], atol=1e-12)
    assert (q[:, 1] > q[:, 0]).all()


def test_the_update_is_plain_sgd_td_and_q_learning() -> None:
    """The first seed, once more, with a dictionary and the textbook's lines."""
    found = bridged(updates=300, seeds=3)
    x, s, r, s_next, at, action, reward, at_next = found.moves.T
    w = 0.0
    v, q = dict.fromkeys(range(-1, 6), 0.0), {(state, a): 0.0 for state in range(-1, 6) for a in (0, 1)}
    visits: dict[Any, int] = {}

    def step(key: Any) -> float:
        visits[key] = visits.get(key, 0) + 1
        return 1 / visits[key]

    for t in range(300):
        w += (x[t] - w) / (t + 1)
        v[s[t]] += step(s[t]) * (r[t] + v[s_next[t]] - v[s[t]])
        best = max(q[at_next[t], 0], q[at_next[t], 1])
        pair = (at[t], action[t])
        q[pair] += step(pair) * (reward[t] + 0.9 * best - q[pair])
    assert found.first["sgd"][-1, 0] == pytest.approx(w)
    np.testing.assert_allclose(found.first["td"][-1], [v[state] for state in range(5)])
    np.testing.assert_allclose(
        found.first["q_learning"][-1], [q[state, a] for state in range(5) for a in (0, 1)]
    )


def test_all_three_find_the_truth() -> None:
    found = bridged(updates=20_000, seeds=20, p=0.7)
    assert found.passed
    for name, error in found.rmse.items():
        assert error[-1] < 0.06, name
        assert error[-1] < 0.5 * error[200]


def test_another_update_than_the_textbook_s_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    real = bridge.Learner.move

    def backwards(self: bridge.Learner, at: np.ndarray, target: np.ndarray, if_right: np.ndarray) -> None:
        real(self, at, 2 * self.w[self.rows, at] - target, if_right)

    monkeypatch.setattr(bridge.Learner, "move", backwards)
    checks = bridged(updates=50).checks
    assert [check.passed for check in checks if "estimates" in check.what] == [False] * 3


@pytest.mark.parametrize("updates", [1, 5, 20])
def test_few_targets_say_nothing_of_their_mean(updates: int) -> None:
    for seed in range(30):
        assert bridged(updates=updates, seeds=1, seed=seed).passed


def test_a_bias_turns_all_three_red() -> None:
    checks = bridged(break_it="biased_noise").checks
    assert [check.passed for check in checks if "targets" in check.what] == [False] * 3
    assert bridged(**settings_of(bridge.BREAKS)["biased_noise"]).passed


@pytest.mark.parametrize(
    "values", [{}, {"updates": 1, "seeds": 1}, {"step_rule": "constant", "c": 3, "updates": 1000}]
)
def test_the_bridge_has_a_picture(values: dict[str, Any]) -> None:
    found = bridged(**values)
    scene = bridge_scene(found)
    assert scene.steps == found.params.updates
    assert math.isclose(scene.words.values[0, 0], 1)
    scene.to_bytes()
