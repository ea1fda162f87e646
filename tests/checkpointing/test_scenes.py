"""The pictures of schedules, of the law and of the optimum: what they show, and how fast they are made."""

from __future__ import annotations

import time

import numpy as np
import pytest

from explainers.checkpointing import pareto, rotor
from explainers.checkpointing.law import LawParams, law
from explainers.checkpointing.optimal import OptimalParams, optimal
from explainers.checkpointing.schedule import schedule
from explainers.checkpointing.schedule_params import BREAKS, ScheduleParams
from explainers.checkpointing.views.law import scene as law_scene
from explainers.checkpointing.views.optimal import scene as optimal_scene
from explainers.checkpointing.views.playing import ONE_BY_ONE
from explainers.checkpointing.views.schedule import card as schedule_card
from explainers.checkpointing.views.schedule import scene as schedule_scene
from explainers.drawing.panels import Bands, Marks
from explainers.drawing.scene import Scene
from tests.breaks import settings_of
from tests.checkpointing.chains import STRATEGIES, fitted


def checked(scene: Scene) -> Scene:
    assert scene.to_bytes()[:4] == b"LNTN"
    assert 0 <= scene.start < scene.steps
    assert all(0 <= stop < scene.steps for stop in scene.stops)
    return scene


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("layers", [1, 4, 24, 128])
def test_every_strategy_has_its_scene(strategy: str, layers: int) -> None:
    result = schedule(fitted(layers=layers, strategy=strategy, kept=(2, 9), internal=3))
    scene = checked(schedule_scene(result))
    checked(schedule_card(result))
    bands = next(panel for panel in scene.panels() if isinstance(panel, Bands))
    assert bands.values.sum(0).max() == result.peak_units
    assert scene.words.column("memory").max() == result.peak_units
    assert scene.words.column("forwards")[-1] == result.forward_runs
    assert len(result.moments) <= ONE_BY_ONE or scene.steps < len(result.moments)
    assert scene.start == int(bands.values.sum(0).argmax())


def test_a_click_on_the_chain_names_the_layer() -> None:
    for layers in (24, 128):
        scene = schedule_scene(schedule(fitted(layers=layers)))
        chain = next(panel for panel in scene.panels() if isinstance(panel, Marks) and panel.action)
        assert (chain.name, chain.row_name, getattr(chain.action, "name", "")) == ("chain", "", "keep")
        for layer in chain.layers:
            numbers = layer.x.values if not isinstance(layer.x, np.ndarray) else layer.x
            clickable = layer.style != "faint"
            assert not clickable or numbers.shape[-1] == layers + 1  # mark l belongs to layer l
        still = [layer.x for layer in chain.layers if isinstance(layer.x, np.ndarray) and len(layer.x) > 1]
        assert all(np.isnan(x[0]) and (np.round(x[1:] + 0.01).astype(int) >= 1).all() for x in still)


def test_a_broken_scene_says_what_happened() -> None:
    for name, visible in settings_of(BREAKS).items():
        scene = checked(schedule_scene(schedule(ScheduleParams(**visible, break_it=name))))  # type: ignore[arg-type]
        assert "not the" in scene.words.sentences[-1]
    assert checked(law_scene(law(LawParams(layers=20)))).steps == 20
    assert checked(law_scene(law(LawParams(layers=1, ratio=0.25, break_it="forget_boundaries")))).steps == 1


def test_the_optimum_has_its_scene_even_where_all_schedules_have_the_same_peak() -> None:
    for params in (OptimalParams(), OptimalParams(times=(1,), boundaries=(2,), internals=(3,))):
        result = optimal(params)
        assert checked(optimal_scene(result)).steps == len(result.schedule)


def test_the_words_of_the_law_have_its_numbers() -> None:
    result = law(LawParams(layers=20, ratio=2.0))
    words = law_scene(result).words
    assert (words.column("k") == result.k).all()
    assert (words.column("peak") == words.column("boundaries") + words.column("internals")).all()
    assert (words.column("over") == 0).nonzero()[0][0] == result.best_k - 1


def test_one_hundred_and_twenty_eight_layers_with_every_strategy_take_less_than_a_second() -> None:
    for strategy in STRATEGIES:
        pareto.front.cache_clear()
        rotor.equal_layers.cache_clear()
        params = fitted(layers=128, strategy=strategy, internal=17, budget=300, snapshots=1)
        start = time.perf_counter()
        schedule_scene(schedule(params)).to_bytes()
        assert time.perf_counter() - start < 1
