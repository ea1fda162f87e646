"""The settings under which the questions of a chapter are asked, and what must be true of each."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

from explainers.contract.experiment import find
from explainers.contract.params import Params, bounds_of, choices_of, control_of, fit, several_of
from pages.ui.cards import tables
from pages.ui.chapter import Chapter
from pages.ui.jobs.prepared_run import facts
from pages.ui.prose import prose

RANDOM = 30  # settings of each chapter
LONGEST = {"claim": 105, "predict": 170, "surprise": 140, "check": 200}
WITHOUT_RUN = ("flash_attention.race", "flash_attention.traffic")  # their questions know the settings only
SLOW = ("flash_attention.tiles", "flash_attention.backward", "kv_cache.decode")  # within their sliders
QUESTIONS = (("question", "predict", "reveal"), ("check_yourself", "check", "answer"))


def settings_of(chapter: Chapter) -> Iterator[Params]:
    """The defaults, the breaks, the settings to try, and random ones."""
    yield chapter.params()
    given = [dict(each.changes) for each in chapter.tries]
    given += [{**each.settings, "break_it": each.name} for each in find(chapter.experiment).breaks]
    dice = random.Random(chapter.key)
    given += [drawn(chapter, dice) for _ in range(RANDOM if chapter.params.model_fields else 0)]
    for values in given:
        yield fit(chapter.params.model_validate(values))[0]


def drawn(chapter: Chapter, dice: random.Random) -> dict[str, Any]:
    """A value for each field; of the fields for text, the default."""
    kind = chapter.params
    values: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        if name == "backend":
            continue
        if name == "break_it":
            values[name] = "none"
        elif choices := choices_of(kind, name):
            values[name] = dice.choice(choices)
        elif several := several_of(kind, name):
            values[name] = tuple(dice.sample(several, dice.randint(1, 3)))
        elif field.annotation is bool:
            values[name] = dice.random() < 0.5
        elif field.annotation in (int, float):
            values[name] = number(kind, name, dice, chapter.experiment in SLOW)
    return values


def number(kind: type[Params], name: str, dice: random.Random, on_slider: bool) -> float:
    """A value of the slider or, alike in size, one of those that a link may hold."""
    control, (least, most) = control_of(kind, name), bounds_of(kind, name)
    if control.options and (on_slider or dice.random() < 0.5):
        return dice.choice(control.options)
    if on_slider and control.comfort:
        least, most = control.comfort
    shifted = 1 - least
    value = math.exp(dice.uniform(0, math.log(most + shifted))) - shifted
    return min(most, max(least, round(value) if kind.model_fields[name].annotation is int else value))


def facts_of(name: str, params: Any) -> Mapping[str, Any]:
    """What a page receives of a run."""
    return _facts_of(name, params)


@functools.cache
def _facts_of(name: str, params: Any) -> Mapping[str, Any]:
    return {} if name in WITHOUT_RUN else facts(find(name)(params))


def asked(chapter: Chapter, field: str, params: Params) -> Mapping[str, Any] | None:
    """What one of the two functions of a chapter asks."""
    return getattr(chapter, field)(params, facts_of(chapter.experiment, params))


def right(chapter: Chapter, **values: Any) -> str:
    """The right answer of `check_yourself`."""
    found = asked(chapter, "check_yourself", fit(chapter.params.model_validate(values))[0])
    assert found is not None
    return found["right"]


def problems(topic: str, chapter: Chapter, params: Params) -> Iterator[str]:
    """What is wrong with the questions of a chapter under some settings."""
    words = prose(topic)
    for field, before, after in QUESTIONS:
        found = asked(chapter, field, params)
        if found is None:
            continue
        answers = list(found["answers"])
        if found["right"] not in answers or not 2 <= len(set(answers)) == len(answers) <= 5:
            yield f"{field}: {found['right']} of {answers} under {params}"
        if longest := [answer for answer in answers if len(answer) > 16]:
            yield f"{field}: too long for a button: {longest} under {params}"
        plain = {
            name: tables.plain(value) if isinstance(value, str) else value for name, value in found.items()
        }
        question = words.filled(f"{chapter.key}.{before}", plain)
        if len(question) > LONGEST[before]:
            yield f"{field}: {len(question)} characters under {params}: {question}"
        if "{" in question + words.filled(f"{chapter.key}.{after}", plain):
            yield f"{field}: an unfilled place under {params}"


def never_asked(chapter: Chapter, field: str) -> bool:
    """Whether a function asks nothing at the defaults."""
    return asked(chapter, field, fit(chapter.params())[0]) is None


def too_long(topic: str, chapter: Chapter) -> list[str]:
    """The sections of a chapter that do not fit into their place."""
    words = prose(topic)
    return [
        name
        for part, most in LONGEST.items()
        if not 0 < len(words[name := f"{chapter.key}.{part}"]) <= most or "\n" in words[name]
    ]
