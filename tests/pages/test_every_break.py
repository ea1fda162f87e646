"""Every break of every experiment under every other choice: it runs, has its picture, its question and its sentence."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from typing import Any

import pytest

from explainers.contract.breaks import Break
from explainers.contract.experiment import Experiment, experiments, find
from explainers.contract.params import Params, choices_of, fit, several_of
from pages.ui.chapter import Chapter
from pages.ui.jobs.prepared_run import facts, prepare
from pages.ui.settings.breaks import set_for
from tests.pages.chapters import TOPICS, chapters_of

SAMPLED = 2  # options of each break that the fast tests try
SMALL: dict[str, dict[str, Any]] = {  # sizes at which a run is fast and still has everything
    "grid_world.race": {"seeds": 2, "episodes": 20},
    "grid_world.learn": {"episodes": 20},
    "kv_cache.decode": {"prefill": 4, "tokens": 4},
}

pytestmark = pytest.mark.usefixtures("compiled_agents")

BROKEN = [(known.name, each.name) for known in experiments() for each in known.breaks]


@functools.cache
def chapters_with(experiment: str) -> tuple[Chapter, ...]:
    """The chapters of all pages that show an experiment."""
    return tuple(
        chapter
        for topic in TOPICS
        if topic != "home"
        for chapter in chapters_of(topic)
        if chapter.experiment == experiment
    )


def options_of(params_type: type[Params]) -> Iterator[tuple[str, Any]]:
    """Each option of each field to choose from or to switch, except of the break."""
    for name, described in params_type.model_fields.items():
        if name == "break_it":
            continue
        if described.annotation is bool:
            yield from ((name, value) for value in (True, False))
        yield from ((name, value) for value in choices_of(params_type, name))
        yield from ((name, (value,)) for value in several_of(params_type, name))


def problem_under(known: Experiment, chosen: Break, name: str, value: Any) -> str:
    """What goes wrong with a break under one option of another field; empty if nothing does."""
    given = {**SMALL.get(known.name, {}), **chosen.settings, name: value, "break_it": chosen.name}
    try:
        params, _ = fit(known.params.model_validate(given))
        result = known(params)
        if known.has_scene:
            prepare(known.name, result)
        set_for(chosen, params)
        for chapter in chapters_with(known.name):
            if chapter.question and (asked := chapter.question(params, facts(result))) is not None:
                assert asked["right"] in asked["answers"]
    except Exception as problem:  # any of them would end the page
        return f"{name} = {value}: {type(problem).__name__}: {problem}"
    return ""


def problems_of(name: str, break_it: str, sampled: int | None) -> list[str]:
    """What goes wrong with a break under all options, or a sample of them by a fixed seed."""
    known = find(name)
    chosen = next(each for each in known.breaks if each.name == break_it)
    options = list(options_of(known.params))
    if sampled is not None:
        options = random.Random(f"{name} {break_it}").sample(options, min(sampled, len(options)))
    return [problem for option in options if (problem := problem_under(known, chosen, *option))]


@pytest.mark.parametrize(("name", "break_it"), BROKEN)
def test_a_break_runs_under_a_sample_of_the_other_choices(name: str, break_it: str) -> None:
    assert not problems_of(name, break_it, SAMPLED)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "break_it"), BROKEN)
def test_a_break_runs_under_every_other_choice(name: str, break_it: str) -> None:
    assert not problems_of(name, break_it, None)
