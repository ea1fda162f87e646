"""The arcs of stochastic approximation: questions at every kind of setting, and each right answer found another way."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from explainers.contract.experiment import find
from explainers.stochastic_approximation.bridge import BridgeParams
from explainers.stochastic_approximation.dvoretzky import DvoretzkyParams
from explainers.stochastic_approximation.mean import MeanParams
from explainers.stochastic_approximation.robbins_monro_params import RobbinsMonroParams
from explainers.stochastic_approximation.sgd import SgdParams
from pages.parts import stochastic_approximation as parts
from pages.ui.chapter import Asked, Chapter
from pages.ui.jobs.prepared_run import facts
from pages.ui.prose import prose
from tests.pages.chapters import chapters_of
from tests.pages.settings_to_ask import problem_with, settings_of, too_long

TOPIC = "stochastic_approximation"
CHAPTERS = chapters_of(TOPIC)
SMALL = {"steps": 40, "seeds": 20, "updates": 60}
WORDS = prose(TOPIC)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=[chapter.key for chapter in CHAPTERS])
def test_a_chapter_asks_well_at_every_kind_of_setting(chapter: Chapter) -> None:
    experiment, problems = find(chapter.experiment), []
    for params in settings_of(chapter, SMALL):
        if problem := problem_with(chapter, params, facts(experiment(params)), WORDS):
            problems.append(f"{params!r}: {problem}")
    assert not problems


@pytest.mark.parametrize("chapter", CHAPTERS, ids=[chapter.key for chapter in CHAPTERS])
def test_the_sentences_of_an_arc_fit_their_place(chapter: Chapter) -> None:
    assert not too_long(chapter, WORDS)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=[chapter.key for chapter in CHAPTERS])
def test_a_picture_opens_where_something_has_happened(chapter: Chapter) -> None:
    experiment = find(chapter.experiment)
    for params in [chapter.params(), *(chapter.params(**offered.changes) for offered in chapter.tries)]:
        scene = experiment.scene(experiment(params))
        diverges = chapter.key == "search" and params.model_dump()["function"] == "cubic"
        assert (0 if diverges else 8) < scene.start < scene.steps - 1


def right_of(asked: Asked) -> float:
    assert asked is not None
    return float(asked["right"].replace("−", "-"))


@pytest.mark.parametrize(
    "values", [{}, {"step_rule": "constant", "c": 0.1, "sigma": 3}, {"p": 0.5, "steps": 30}, {"alpha": 0.5}]
)
def test_the_spread_of_the_estimate_is_that_of_many_runs(values: dict[str, Any]) -> None:
    params = MeanParams(**values)
    random, w = np.random.default_rng(7), np.zeros(40_000)
    for k in range(1, params.steps + 1):
        a = params.alpha or (params.c if params.step_rule == "constant" else params.c / k**params.p)
        w += a * (params.sigma * random.standard_normal(len(w)) - w)
    # four standard errors of a standard deviation, and the rounding of the answer
    assert right_of(parts.spread_of_the_estimate(params, {})) == pytest.approx(w.std(), rel=0.02)


@pytest.mark.parametrize(
    ("values", "right"),
    [
        ({"function": "linear", "w1": 6, "noise": "none"}, 5),  # 6 - (6 - 2) / 4
        ({"function": "cubic", "w1": 2, "step_rule": "constant", "c": 0.5, "sigma": 2}, 0),  # 2 - (3 + 1) / 2
        ({"function": "linear", "w1": 0, "noise": "none", "step_rule": "c/(k+b)", "c": 2, "b": 4}, 0.5),
    ],
)
def test_one_step_leads_where_the_arithmetic_says(values: dict[str, Any], right: float) -> None:
    assert right_of(parts.one_step_down(RobbinsMonroParams(**values), {})) == right


@pytest.mark.parametrize(
    ("values", "factors"),
    [
        ({}, [0, Fraction(1, 2), Fraction(2, 3)]),
        ({"step_rule": "1/(k+1)^2", "mu": 4}, [Fraction(3, 4), Fraction(8, 9), Fraction(15, 16)]),
        ({"step_rule": "constant", "c": 3, "w1": -2}, [-2, -2, -2]),
    ],
)
def test_where_the_seeds_are_expected(values: dict[str, Any], factors: list[Fraction]) -> None:
    params = DvoretzkyParams(**values)
    w = Fraction(params.w1)
    for factor in factors:
        w = factor * w + (1 - factor) * Fraction(params.mu)
    assert right_of(parts.expected_after_three(params, {})) == pytest.approx(float(w), rel=0.005)


@pytest.mark.parametrize("sizes", [("1", "5"), ("2", "50", "1"), ("10",)])
def test_a_batch_is_off_by_what_draws_say(sizes: tuple[Any, ...]) -> None:
    random, m = np.random.default_rng(3), max(map(int, sizes))
    points = random.standard_normal(100)
    points *= 10 / points.std()
    means = points[random.integers(0, 100, (20_000, m))].mean(axis=1)
    off = math.sqrt(((means - points.mean()) ** 2).mean())
    assert right_of(parts.error_of_a_batch(SgdParams(batch_sizes=sizes), {})) == pytest.approx(off, rel=0.03)


def test_all_points_are_not_off_at_all_and_one_is_not_asked_about() -> None:
    assert right_of(parts.error_of_a_batch(SgdParams(batch_sizes=("1", "all")), {})) == 0
    assert parts.error_of_a_batch(SgdParams(batch_sizes=("1",)), {}) is None
    assert parts.error_of_a_batch(SgdParams(break_it="biased_noise"), {}) is None


@pytest.mark.parametrize(
    ("values", "right"),
    [({}, 0.575), ({"step_rule": "constant", "c": 2}, 1.1), ({"step_rule": "1/(k+1)^2"}, 0.512)],
)
def test_one_update_of_td(values: dict[str, Any], right: float) -> None:
    """0.3 is between the value and its target: a quarter of it, twice it, a twenty-fifth of it."""
    assert right_of(parts.one_td_update(BridgeParams(**values), {})) == right
