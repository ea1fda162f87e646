"""Settings under which the questions of a chapter are asked: its defaults, breaks and tries, and random ones."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

from explainers.contract.experiment import find
from explainers.contract.params import Params, ParamsT, bounds_of, choices_of, control_of, fit, several_of
from pages.ui.chapter import Asked, Chapter
from pages.ui.prose import Prose

RANDOM = 30  # settings of a chapter
ASKS = (("question", "predict", "reveal"), ("check_yourself", "check", "answer"))


def settings_of(chapter: Chapter, small: Mapping[str, Any]) -> Iterator[Params]:
    """Valid settings of a chapter. small: the most that random ones may have of a field, which they all set."""
    yield chapter.params()
    for each in find(chapter.experiment).breaks:
        yield fitted(chapter.params, {**each.settings, "break_it": each.name})
    for offered in chapter.tries:
        yield fitted(chapter.params, offered.changes)
    chance = random.Random(chapter.experiment)
    for number in range(RANDOM):
        yield fitted(chapter.params, drawn(chapter.params, chance, small, within_comfort=number % 3 > 0))


def fitted(params: type[ParamsT], values: Mapping[str, Any]) -> ParamsT:
    """Params of these values, after the rules across fields."""
    return fit(params.model_validate(dict(values)))[0]


def drawn(
    params: type[Params], chance: random.Random, small: Mapping[str, Any], within_comfort: bool
) -> dict[str, Any]:
    """A random value for half of the fields."""
    values: dict[str, Any] = {}
    for name, described in params.model_fields.items():
        if chance.random() < 0.5 and name not in small:
            continue
        if several := several_of(params, name):
            values[name] = tuple(chance.sample(several, chance.randint(1, 3)))
        elif choices := choices_of(params, name):
            values[name] = chance.choice(choices)
        elif described.annotation is bool:
            values[name] = chance.random() < 0.5
        elif described.annotation in (int, float):
            comfort = control_of(params, name).comfort
            least, most = comfort if within_comfort and comfort else bounds_of(params, name)
            most = min(most, small.get(name, most))
            least = min(least, most)
            values[name] = (
                chance.randint(int(least), int(most))
                if described.annotation is int
                else chance.uniform(least, most)
            )
    return values


def problem_with(chapter: Chapter, params: Params, facts: Mapping[str, Any], words: Prose) -> str:
    """What is wrong with a question of a chapter under these settings; empty if nothing is."""
    for name, before, after in ASKS:
        asks = getattr(chapter, name)
        assert asks is not None, f"{chapter.key} has no {name}"
        asked: Asked = asks(params, facts)
        if asked is None:
            continue
        said = [words.filled(f"{chapter.key}.{part}", asked) for part in (before, after)]
        answers = list(asked["answers"])
        if asked["right"] not in answers or len(set(answers)) < len(answers) or not 2 <= len(answers) <= 5:
            return f"{name}: {answers}, right: {asked['right']}"
        if any("nan" in text or "inf" in text.replace("infinite", "") for text in (*answers, *said)):
            return f"{name}: {said}, {answers}"
    return ""


def too_long(chapter: Chapter, words: Prose) -> list[str]:
    """The sentences of a chapter's arc that are longer than their place on the screen."""
    most = {"claim": 105, "predict": 170, "surprise": 140, "check": 200}
    return [part for part, length in most.items() if len(words[f"{chapter.key}.{part}"]) > length]
