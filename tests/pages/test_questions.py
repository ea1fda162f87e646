"""The questions of the chapters: what is asked, the answers to choose from, and that the right one is computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explainers.grid_world.live import live
from explainers.grid_world.live_params import LiveParams
from explainers.packing.strategies import Strategy
from explainers.stochastic_approximation import bridge
from explainers.stochastic_approximation.dvoretzky import DvoretzkyParams
from explainers.stochastic_approximation.mean import MeanParams
from explainers.stochastic_approximation.robbins_monro_params import RobbinsMonroParams
from explainers.stochastic_approximation.sgd import SgdParams
from pages.parts import packing
from pages.parts import stochastic_approximation as stochastic
from pages.parts.grid_world.chapters import estimates_of_first_reward
from pages.ui.jobs.prepared_run import facts
from tests.packing.test_packing import STRATEGIES, packed
from tests.stochastic_approximation.test_learners import bridged, descended


def is_asked(strategy: Strategy) -> bool:
    result = packed(strategy=strategy, versus="none")
    return packing.packs_twice_as_long(result.params, facts(result)) is not None


def test_only_what_the_capacity_changes_at_once_is_asked() -> None:
    asked = {one for one in STRATEGIES if is_asked(one)}
    assert set(STRATEGIES) - asked == {"nnlshp", "lp", "pad_to_longest"}


@pytest.mark.parametrize("strategy", [one for one in STRATEGIES if one not in packing.UNASKED])
def test_the_question_is_about_what_the_page_does_not_show(strategy: Strategy) -> None:
    result = packed(strategy=strategy, versus="none")
    asked = packing.packs_twice_as_long(result.params, facts(result))
    assert asked is not None
    doubled = packed(strategy=strategy, versus="none", capacity=2048)
    assert asked["right"] == f"{round(doubled.attention_waste_percent)}%"
    assert asked["packs"] == f"{doubled.n_packs} packs"
    assert asked["right"] in asked["answers"]
    assert len(asked["answers"]) >= 2
    assert asked["right"] != f"{round(result.attention_waste_percent)}%"


@settings(max_examples=40, deadline=None)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6), capacity=st.integers(1, 12))
def test_the_question_always_has_a_wrong_answer(lengths: list[int], capacity: int) -> None:
    result = packed(lengths, capacity=capacity)
    asked = packing.packs_twice_as_long(result.params, facts(result))
    assert asked is not None
    numbers = [int(answer.removesuffix("%")) for answer in asked["answers"]]
    assert len(numbers) >= 2
    assert numbers == sorted(set(numbers))
    assert min(numbers) >= 0
    assert max(numbers) <= 100


@pytest.mark.parametrize(
    ("values", "right"),
    [
        ({}, "all samples the same"),
        ({"alpha": 0.1}, "the last sample"),
        ({"p": 0.5}, "the last sample"),
        ({"step_rule": "1/(k+1)^2"}, "the start"),
        ({"step_rule": "c/k^p", "p": 2}, "the first sample"),
        ({"break_it": "too_small_steps"}, "the start"),
    ],
)
def test_what_counts_most(values: dict[str, Any], right: str) -> None:
    asked = stochastic.counts_most(MeanParams.model_validate(values), {})
    assert asked is not None
    assert asked["right"] == right
    assert right in asked["answers"]


@pytest.mark.parametrize(
    ("values", "right", "end"),
    [
        ({}, "nothing", "in the end nothing is left"),
        ({"step_rule": "1/(k+1)^2"}, "more than 30%", "in the end it is 50.00%"),
        ({"step_rule": "constant", "c": 0.1, "steps": 200}, "less than 1%", "in the end nothing is left"),
        ({"c": 0.5}, "1% to 30%", "in the end nothing is left"),
        ({"step_rule": "constant", "c": 3}, "more than 30%", "it has no limit"),
    ],
)
def test_how_much_of_the_start_is_left(values: dict[str, Any], right: str, end: str) -> None:
    asked = stochastic.left_of_the_start(DvoretzkyParams.model_validate(values), {})
    assert asked is not None
    assert (asked["right"], asked["end"]) == (right, end)


@pytest.mark.parametrize(("fraction", "right"), [(0.0, 0), (0.3, 1), (0.7, 2), (0.99, 3)])
def test_how_many_seeds_end_near_the_root(fraction: float, right: int) -> None:
    asked = stochastic.seeds_near_the_root(
        RobbinsMonroParams(), {"converged_fraction": fraction, "verdict": ""}
    )
    assert asked is not None
    assert asked["right"] == stochastic.SHARES_OF_SEEDS[right]


def test_batches_are_compared_after_equal_samples() -> None:
    """With 1/k on a mean the sizes are alike; with a constant step the largest batch has the lowest floor."""
    asked = stochastic.nearest_batch_size(SgdParams(), facts(descended(seeds=2000)))
    assert asked is not None
    assert (asked["samples"], asked["right"]) == (30, stochastic.ALIKE)
    floors = {"step_rule": "constant", "c": 0.2, "steps": 100}
    params = SgdParams.model_validate(floors)
    asked = stochastic.nearest_batch_size(params, facts(descended(**floors)))
    assert asked is not None
    assert (asked["samples"], asked["right"]) == (100, "m = 5")
    assert stochastic.nearest_batch_size(SgdParams(batch_sizes=("all", "50")), {"rms_by_step": {}}) is None


def test_the_bridge_asks_whose_error_shrinks() -> None:
    found = bridged()
    asked = stochastic.shrinks_most(found.params, facts(found))
    assert asked is not None
    assert asked["right"] == "SGD"
    assert set(asked["answers"]) == set(bridge.LABELS.values())
    diverged = bridged(step_rule="constant", c=100, updates=1000)
    assert stochastic.shrinks_most(diverged.params, facts(diverged)) is None


def test_the_question_is_about_the_run_on_the_page() -> None:
    asked = estimates_of_first_reward(LiveParams(), {})
    assert asked is not None
    chunk = live(LiveParams()).chunk
    first = int(np.flatnonzero(chunk.reward > 0)[0])
    assert asked["transition"] == first + 1
    assert asked["right"] == "one"
    traces = estimates_of_first_reward(LiveParams(preset="frozen_lake_4x4", algorithm="sarsa_lambda"), {})
    assert traces is not None
    assert traces["positive"] > 1
    assert estimates_of_first_reward(LiveParams(preset="windy"), {}) is None
