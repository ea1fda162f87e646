"""What the arcs of checkpointing and packing share: settings at random, and what a chapter asks under them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from explainers.contract.experiment import find
from explainers.contract.params import Params, bounds_of, choices_of, control_of, fit
from pages.ui.cards.tables import plain
from pages.ui.chapter import Chapter
from pages.ui.prose import prose
from tests.pages.chapters import chapter_of

MOST = {"claim": 105, "predict": 170, "surprise": 140, "check": 200}  # characters of a section
LONGEST_FILLED = 320  # of a question with its values

Draw = Callable[[random.Random], Any]


def offered(chapter: Chapter) -> Iterator[Params]:
    """The defaults of a chapter, its breaks and its tries."""
    chosen = [{}, *(each.changes for each in chapter.tries)]
    chosen += [{**each.settings, "break_it": each.name} for each in find(chapter.experiment).breaks]
    for changes in chosen:
        yield fit(chapter.params.model_validate(changes))[0]


def drawn(chapter: Chapter, count: int, texts: Mapping[str, Draw], **fixed: Any) -> Iterator[Params]:
    """Settings at random, within what the controls offer. texts: how the fields are drawn that are no number."""
    chance = random.Random(f"{chapter.experiment}")
    for _ in range(count):
        values = {name: _drawn(chapter.params, name, chance) for name in chapter.params.model_fields}
        values = {name: value for name, value in values.items() if value is not None}
        values |= {name: draw(chance) for name, draw in texts.items()} | fixed
        yield fit(chapter.params.model_validate(values))[0]


def _drawn(params: type[Params], name: str, chance: random.Random) -> Any:
    described, control = params.model_fields[name], control_of(params, name)
    if choices := choices_of(params, name):
        sound = name == "break_it" and chance.random() < 0.6
        return "none" if sound else chance.choice(choices)
    if described.annotation is bool:
        return chance.random() < 0.5
    if described.annotation in (int, float):
        if control.options:
            return chance.choice(control.options)
        least, most = control.comfort or bounds_of(params, name)
        draw = chance.randint if described.annotation is int else chance.uniform
        return draw(least, most)  # type: ignore[arg-type]
    return None


def asked(
    topic: str, key: str, params: Params, facts: Mapping[str, Any]
) -> list[tuple[Mapping[str, Any], str]]:
    """What a chapter asks before and after its picture, each with its two texts filled in; checked on the way."""
    chapter, words = chapter_of(topic, key), prose(topic)
    found = []
    for name, before, after in (("question", "predict", "reveal"), ("check_yourself", "check", "answer")):
        asks = getattr(chapter, name)
        assert asks is not None, f"{key} has no {name}"
        if (each := asks(params, facts)) is None:
            continue
        answers = list(each["answers"])
        assert each["right"] in answers, (params, each)
        assert 2 <= len(answers) <= 5, (params, answers)
        assert len(set(answers)) == len(answers), (params, answers)
        assert all(isinstance(answer, str) and 0 < len(answer) <= 15 for answer in answers), answers
        values = {place: plain(value) if isinstance(value, str) else value for place, value in each.items()}
        filled = words.filled(f"{key}.{before}", values)
        assert len(filled) <= LONGEST_FILLED, filled
        found.append((each, f"{filled} {words.filled(f'{key}.{after}', values)}"))
    return found


def badly_long(topic: str, key: str) -> list[str]:
    """The sections of a chapter that are missing or longer than their place on the page."""
    words = prose(topic)
    names = (*MOST, "reveal", "answer")
    missing = [f"{key}.{name} is missing" for name in names if f"{key}.{name}" not in words]
    long = [
        f"{key}.{name} has {len(words[f'{key}.{name}'])} characters, at most {most} are allowed"
        for name, most in MOST.items()
        if f"{key}.{name}" in words and len(words[f"{key}.{name}"]) > most
    ]
    return missing + long
