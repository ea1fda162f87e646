"""Stochastic approximation: step sizes, the root of a noisy function, means, and what is forgotten."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explainers.contract.experiment import find
from explainers.contract.params import fit
from explainers.stochastic_approximation import (
    dvoretzky,
    laws,
    mean,
    roots,
)
from explainers.stochastic_approximation.dvoretzky import DvoretzkyParams
from explainers.stochastic_approximation.expression import parse
from explainers.stochastic_approximation.mean import MeanParams
from explainers.stochastic_approximation.noise import BLOCK, draws
from explainers.stochastic_approximation.robbins_monro_params import RobbinsMonroParams
from explainers.stochastic_approximation.steps import Rule
from tests.published import ROWS
from tests.stochastic_approximation.runs import searched

RULES = st.builds(
    Rule,
    st.sampled_from(["c/k^p", "c/(k+b)", "constant", "1/(k+1)^2"]),
    st.floats(0.05, 1.9),
    st.floats(0, 2),
    st.integers(0, 10).map(float),
)


def averaged(**values: Any) -> mean.MeanResult:
    return mean.mean(fit(MeanParams.model_validate(values))[0])


def forgotten(**values: Any) -> dvoretzky.DvoretzkyResult:
    return dvoretzky.dvoretzky(fit(DvoretzkyParams.model_validate(values))[0])


# ------------------------------------------------------------------------------------------------- published


def test_the_book_s_iterates_without_noise() -> None:
    row = ROWS["zhao6.4_tanh"]
    (w,) = searched(function="tanh", noise="none", seeds=1, steps=60).iterates
    np.testing.assert_allclose(w[:6], row["value"]["first"], atol=row["tolerance"])
    assert w[10] == pytest.approx(row["value"]["w11"], abs=row["tolerance"])
    assert w[50] == pytest.approx(row["value"]["w51"], abs=row["tolerance"])


@pytest.mark.parametrize(("b", "steps"), [(0, "1/k"), (1, "1/(k+1)"), (2, "1/(k+2)")])
def test_the_book_s_cubic_diverges_as_printed(b: int, steps: str) -> None:
    row = ROWS["zhao6.3_cubic"]
    found = searched(function="cubic", step_rule="c/(k+b)", b=b, steps=50, seeds=100_000)
    assert found.root == pytest.approx(5 ** (1 / 3))
    assert found.converged_fraction == pytest.approx(row["value"][steps], abs=0.005)
    assert found.converged_fraction + found.diverged_fraction == pytest.approx(1, abs=1e-3)


def test_a_hundred_thousand_seeds_of_200_steps() -> None:
    """The benchmark has the time it takes."""
    found = searched(function="cubic", steps=200, seeds=100_000)
    assert found.diverged_fraction == pytest.approx(0.995, abs=0.001)


def test_sums_of_the_harmonic_steps() -> None:
    squares, euler = ROWS["rm_sums"]["value"]
    rule = Rule("c/k^p")
    assert rule.sum_of_powers(2) == pytest.approx(squares, abs=1e-9)
    assert math.isinf(rule.sum_of_powers(1))
    n = 1_000_000
    assert rule.at(np.arange(1, n + 1)).sum() - math.log(n) - 1 / (2 * n) == pytest.approx(euler, abs=1e-9)


def test_steps_that_are_too_small_stop_half_way() -> None:
    row = ROWS["rm_finite_sum"]
    found = forgotten(step_rule="1/(k+1)^2", w1=20, steps=1000, seeds=5000)
    assert found.final_mean == pytest.approx(row["value"], abs=row["tolerance"])
    assert found.limit == pytest.approx(0.5, abs=1e-12)
    assert found.passed


def test_one_over_k_is_the_running_mean() -> None:
    found = averaged(steps=500)
    tolerance = ROWS["one_over_k"]["tolerance"]
    for iterates in found.iterates:
        assert iterates[1] != found.params.w1
    np.testing.assert_allclose(found.iterates[0, 1:], found.batch_mean, atol=tolerance)
    np.testing.assert_allclose(
        averaged(steps=500, w1=9).iterates[:, 1:], found.iterates[:, 1:], atol=tolerance
    )


# -------------------------------------------------------------------------------------------------- the steps


@given(RULES)
@settings(max_examples=60, deadline=None)
def test_what_the_sums_do_is_what_adding_up_shows(rule: Rule) -> None:
    """A convergent series comes near its limit from below; a divergent one grows by as much again."""
    for power in (1, 2):
        limit = rule.sum_of_powers(power)
        parts = [float((rule.at(np.arange(1, n + 1)) ** power).sum()) for n in (100, 10_000)]
        if math.isfinite(limit):
            assert parts[0] < parts[1] <= limit * (1 + 1e-12)
            # the rest lies between two integrals
            k, exponent = (
                10_001,
                (rule.p if rule.kind == "c/k^p" else 2 if rule.kind == "1/(k+1)^2" else 1) * power,
            )
            first = float(rule.at(np.array(k))) ** power * (k + (rule.b if rule.kind == "c/(k+b)" else 1))
            assert limit - parts[1] <= 1.01 * first / (exponent - 1) + float(rule.at(np.array(k))) ** power
        else:
            assert parts[1] > 1.2 * parts[0]


@given(RULES)
@settings(max_examples=60, deadline=None)
def test_products_come_to_their_limit(rule: Rule) -> None:
    product, limit = laws.product(rule, 3000), rule.product_limit
    sign, logarithm = rule.product(3000)
    assert product[-1] == pytest.approx(sign * math.exp(logarithm), rel=1e-8, abs=1e-300)
    if (known := dvoretzky.closed_form(rule, 3000)) is not None:
        assert logarithm == pytest.approx(known, rel=1e-9, abs=1e-9)
    if limit:  # log(1 - a) = -a - a^2 / 2 - ...: what the factors after the first 3000 do
        a = rule.at(np.arange(1, 3001))
        rest = sum((rule.sum_of_powers(power) - (a**power).sum()) / power for power in (1, 2))
        assert limit == pytest.approx(product[-1] * math.exp(-rest), rel=1e-5, abs=1e-14)
    elif rule.kind != "1/(k+1)^2":
        assert abs(product[-1]) <= abs(product[30]) + 1e-12


@given(RULES, st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_shares_are_those_of_the_update(rule: Rule, steps: int) -> None:
    """Unit vectors for samples: the estimate is then its own list of shares, and they add up to 1."""
    samples = np.eye(steps + 1)
    w = samples[0]
    variance = 0.0
    for k, a in enumerate(rule.at(np.arange(1, steps + 1)), 1):
        w = w + a * (samples[k] - w)
        variance = (w[1:] ** 2).sum()
    np.testing.assert_allclose(laws.weights(rule, steps), w, atol=1e-9)
    assert w.sum() == pytest.approx(1)
    assert laws.product(rule, steps)[-1] == pytest.approx(w[0], abs=1e-9)
    assert laws.variance(rule, 2.0, steps)[-1] == pytest.approx(4 * variance, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("alpha", [0.05, 0.5, 1.5])
def test_a_constant_step_has_a_noise_floor(alpha: float) -> None:
    found = averaged(alpha=alpha, steps=400, seeds=4000, sigma=3)
    assert found.steady_variance_law == pytest.approx(9 * alpha / (2 - alpha))
    assert found.steady_variance == pytest.approx(found.steady_variance_law, rel=0.04)
    assert found.passed
    assert math.isnan(averaged().steady_variance_law)


# --------------------------------------------------------------------------------------------------- the noise


@pytest.mark.parametrize("kind", ["normal", "uniform", "heavy_tailed"])
def test_a_seed_meets_the_same_noise_in_any_company(kind: Any) -> None:
    many = np.array(list(draws(kind, range(3 * BLOCK), 1200, 7)))
    np.testing.assert_array_equal(np.array(list(draws(kind, range(1), 300, 7)))[:, 0], many[:300, 0])
    np.testing.assert_array_equal(
        np.array(list(draws(kind, range(BLOCK, BLOCK + 5), 1200, 7))), many[:, BLOCK : BLOCK + 5]
    )
    if kind != "heavy_tailed":
        assert many.mean() == pytest.approx(0, abs=5 / math.sqrt(many.size))
        assert many.std() == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize("noise", ["normal", "uniform", "heavy_tailed", "state_dependent", "none"])
@pytest.mark.parametrize("function", ["tanh", "cubic", "linear", "sine", "flat"])
def test_every_choice_is_sound(noise: str, function: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = searched(noise=noise, function=function)
        find("stochastic_approximation.robbins_monro").scene(found).to_bytes()
        find("stochastic_approximation.robbins_monro").card(found).to_bytes()
    assert found.passed
    assert found.iterates.shape == (10, 51)


@given(
    RULES, st.sampled_from(["tanh(w - 1)", "w - 2", "w + 0.5*sin(w)", "exp(w/4) - 1"]),
    st.sampled_from(["normal", "uniform", "state_dependent", "none"]), st.floats(-3, 3), st.integers(0, 1000),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_the_bound_of_the_proof_holds(rule: Rule, g: str, noise: str, w1: float, seed: int) -> None:
    found = searched(
        step_rule=rule.kind,
        c=rule.c,
        p=rule.p,
        b=rule.b,
        g=g,
        noise=noise,
        w1=w1,
        seed=seed,
        seeds=400,
        sigma=0.5,
    )
    bound = next((one for one in found.checks if "bound" in one.what), None)
    assert bound is None or bound.passed


# ---------------------------------------------------------------------------------------------- the conditions


@pytest.mark.parametrize(
    ("values", "holds"),
    [
        ({}, [True, True, True, True, True]),
        ({"p": 0.5}, [True, True, False, True, True]),
        ({"p": 0.51}, [True, True, True, True, True]),
        ({"p": 1.01}, [True, False, True, True, True]),
        ({"step_rule": "constant", "c": 0.01}, [True, True, False, True, True]),
        ({"step_rule": "1/(k+1)^2"}, [True, False, True, True, True]),
        ({"function": "cubic"}, [False, True, True, True, True]),
        ({"function": "flat"}, [False, True, True, True, True]),
        ({"g": "log(w)", "w1": 1}, [False, True, True, True, True]),
        ({"noise": "heavy_tailed"}, [True, True, True, True, False]),
        ({"break_it": "biased_noise"}, [True, True, True, False, True]),
    ],
)
def test_conditions_are_decided_for_the_choice(values: dict[str, Any], holds: list[bool]) -> None:
    found = searched(**values)
    assert [one.holds for one in found.conditions] == holds
    assert ("promises convergence" in found.verdict) == all(holds)


@pytest.mark.parametrize(
    ("g", "expected"),
    [
        ("w - 1", [(1, 1, True)]),
        ("1 - w", [(1, 1, False)]),
        ("sin(w)", [(-math.pi, -math.pi, False), (0, 0, True), (math.pi, math.pi, False)]),
        ("w + (abs(w - 1) - abs(w + 1))/2", [(-1, 1, True)]),
        ("1/w", []),
        ("exp(w)", []),
        ("log(w)", [(1, 1, True)]),
    ],
)
def test_roots_and_which_way_they_pull(g: str, expected: list[tuple[float, float, bool]]) -> None:
    found = roots.roots_of(parse(g), -5, 5)
    assert [one.attracts for one in found] == [pull for *_, pull in expected]
    for one, (low, high, _) in zip(found, expected, strict=True):
        assert (one.low, one.high) == pytest.approx((low, high), abs=3e-3 if low < high else 1e-9)


@pytest.mark.parametrize(
    ("g", "w1", "expected"),
    [
        ("1000000000*(w - 1.234)", 3, [(1.234, True)]),
        ("exp(w) - 1e9", 20, [(math.log(1e9), True)]),
        ("w^9", 3, [(0, True)]),
        ("w^2", 3, [(0, False)]),
        ("w - 1/w", 7, [(-1, True), (1, True)]),
        ("sin(w)", 3, [(k * math.pi, k % 2 == 0) for k in range(-4, 5)]),
    ],
)
def test_roots_of_what_readers_type(g: str, w1: float, expected: list[tuple[float, bool]]) -> None:
    params = RobbinsMonroParams(g=g, w1=w1)
    assert [one.attracts for one in params.roots] == [pull for _, pull in expected]
    assert [one.low for one in params.roots] == pytest.approx([at for at, _ in expected], abs=0.02)
    assert all(one.low == one.high for one in params.roots)


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"function": "linear"}, "and for all w: the theorem promises convergence, with probability one."),
        ({}, "though not for all w: the theorem promises convergence as long as the iterates stay there, as they did."),
        ({"g": "exp(w) - 3"}, "only while the iterates stay there, and these went from −16"),
        ({"function": "cubic", "low": 1, "high": 3, "w1": 2}, "only while the iterates stay there"),
        ({"g": "w - 1/w", "w1": 7}, "promises nothing, as not all its conditions hold (0 < c₁ ≤ g′(w) ≤ c₂)"),
        ({"g": "log(w)", "w1": 1}, "promises nothing"),
    ],
)  # fmt: skip
def test_the_theorem_promises_no_more_than_it_does(values: dict[str, Any], part: str) -> None:
    assert part in searched(**values).verdict


def test_where_there_is_no_noise_it_has_no_variance() -> None:
    found = searched(noise="none", g="w - 2", w1=5, p=0.5)
    np.testing.assert_allclose(found.bound, found.rms, atol=1e-12)
    assert "no noise" in found.conditions[4].why
    assert searched(noise="heavy_tailed", sigma=0).conditions[4].holds


def test_the_bound_of_a_line_is_the_law() -> None:
    """With a slope of 1 everywhere the step of the proof loses nothing."""
    found = searched(g="w - 2", w1=5, p=0.7, sigma=2, steps=40)
    rule = found.params.rule
    expected = laws.variance(rule, 2.0, 40) + (laws.product(rule, 40) * 3) ** 2
    np.testing.assert_allclose(found.bound**2, expected, rtol=1e-9)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
@settings(max_examples=40, deadline=None)
def test_any_interval_can_be_mended(low: float, high: float, w1: float) -> None:
    params, _ = fit(RobbinsMonroParams(low=low, high=high, w1=w1))
    assert params.low < params.high


# ---------------------------------------------------------------------------------------- notes and verdicts


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({}, "at k = 1"),
        ({"step_rule": "constant", "c": 0.9, "steps": 400}, "goes to 0"),
        ({"step_rule": "constant", "c": 0.5, "steps": 2000}, "goes to 0"),
        ({"step_rule": "constant", "c": 3}, "no limit"),
        ({"step_rule": "1/(k+1)^2"}, "stops at 0.5:"),
        ({"c": 0.5, "p": 1.05, "steps": 100}, "stops at 2.588e-05:"),
        ({"break_it": "too_small_steps"}, "stops at 0.5:"),
        ({"c": 16, "p": 2, "steps": 3}, "A later factor"),
    ],
)
def test_what_the_product_decides(values: dict[str, Any], part: str) -> None:
    assert part in forgotten(**values).verdict


@pytest.mark.parametrize("g", ["w - cos(w)", "w + sin(w)", "w - cos(w) + 0.3", "w^3 - 5"])
def test_a_slope_that_touches_zero_between_two_places_is_found(g: str) -> None:
    """g' = 1 + sin w is 0 at -pi/2, which no evenly spread place hits."""
    found = searched(g=g)
    assert not found.conditions[0].holds
    assert "promises nothing" in found.verdict
    assert roots.slopes(parse(g), -5, 5)[0] == 0
    assert roots.slopes_everywhere(parse(g))[0] == 0


def test_a_small_slope_is_not_zero() -> None:
    least, most = roots.slopes(parse("tanh(w - 1)"), -5, 5)
    assert least == pytest.approx(1 / np.cosh(6) ** 2)
    assert most == 1


def test_limits_of_products_by_the_gamma_function() -> None:
    """prod (1 - (x/k)^2) = sin(pi x)/(pi x), for steps c/k^2 with c = x^2."""
    for x in (0.5, 1.5, 2.5, 9.5):
        expected = math.sin(math.pi * x) / (math.pi * x)
        assert Rule("c/k^p", x * x, 2).product_limit == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({}, "the same numbers"),
        ({"step_rule": "1/(k+1)^2"}, "50.5% of the last estimate"),
        ({"step_rule": "1/(k+1)^2", "break_it": "constant_step"}, None),
        ({"break_it": "too_small_steps"}, "50.5% of the last estimate"),
        ({"p": 0, "c": 3}, "overshoots"),
    ],
)
def test_what_a_mean_notes(values: dict[str, Any], part: str | None) -> None:
    notes = averaged(**values).notes
    assert (not notes) if part is None else (part in notes[0])


@pytest.mark.parametrize("sigma", [0, 1e-3, 5])
@given(RULES, st.sampled_from([-3.0, 9.5, 1e6]), st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_no_sound_mean_is_red(sigma: float, rule: Rule, w1: float, seed: int) -> None:
    values = {"step_rule": rule.kind, "c": rule.c, "p": rule.p, "b": rule.b}
    found = averaged(**values, sigma=sigma, w1=w1, seed=seed, steps=30, seeds=100)
    assert [check for check in found.checks if not check.passed] == []


@pytest.mark.parametrize("name", ["mean", "dvoretzky"])
def test_a_long_run_fits_into_a_picture(name: str) -> None:
    known = find(f"stochastic_approximation.{name}")
    found = known(known.params.model_validate({"steps": 5000, "seeds": 20}))
    scene = known.scene(found)
    assert scene.steps == 5000
    assert len(scene.to_bytes()) < 8_000_000
