"""What is said to a reader: templates with named places and their values, which can be said in another language.

    Message("{rescales:,} of {tiles:,} tiles raise the maximum", rescales=3, tiles=1024)

A Message is its English sentence, so that Results, logs and the command line need no rendering. What reaches a screen
in another language passes through `render`, which finds the translation of the template (the msgid, in gettext's terms)
and fills in the same values. A place holds a name and a form (explainers/contract/numbers.py): {tiles:,} {share:.1%}
{size:bytes}. A value may be a Message itself. `plural` chooses between two templates by a count, as gettext does.

A plain literal without places, such as a title, needs no Message: `render` finds its translation by its text.
`explainers/contract/extraction.py` says which literals Babel extracts.
"""

from __future__ import annotations

import functools
import gettext
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from explainers.contract.numbers import ENGLISH, formatted

LOCALES = Path(__file__).parents[1] / "locales"  # <language>/LC_MESSAGES/lantern.mo
DOMAIN = "lantern"
PLACE = re.compile(r"\{(\w+)(?::([^{}]*))?\}")

Fill = Callable[[re.Match[str]], str]


class Message(str):
    """An English sentence that remembers its template and values. Raises ValueError for a place without a value."""

    template: str
    values: Mapping[str, Any]
    many: str  # the template for other counts than 1; empty for a sentence without plural

    def __new__(cls, template: str, /, **values: Any) -> Self:
        return cls._make(template, "", values)

    @classmethod
    def _make(cls, template: str, many: str, values: Mapping[str, Any]) -> Self:
        chosen = many if many and values["count"] != 1 else template
        made = super().__new__(cls, cls._filled(chosen, values, ENGLISH))
        made.template, made.many, made.values = template, many, values
        return made

    @classmethod
    def _filled(cls, template: str, values: Mapping[str, Any], language: str) -> str:
        return PLACE.sub(lambda place: cls._fill(place, values, language), template)

    @classmethod
    def _fill(cls, place: re.Match[str], values: Mapping[str, Any], language: str) -> str:
        name, form = place.groups()
        if name not in values:
            raise ValueError(f"no value for {{{name}}} in {place.string!r}")
        value = values[name]
        return render(value, language) if isinstance(value, str) else formatted(value, form or "", language)

    def in_language(self, language: str) -> str:
        """The sentence in another language; in English where that has no translation."""
        words = catalog(language)
        if self.many:
            chosen = words.ngettext(self.template, self.many, self.values["count"])
        else:
            chosen = words.gettext(self.template)
        return self._filled(chosen, self.values, language)

    def __reduce__(self) -> tuple[Any, ...]:
        return _remake, (type(self), self.template, self.many, dict(self.values))


class LiveMessage(Message):
    """A sentence of `Words`: places without a value here are filled by the player, with the numbers of a step."""

    @classmethod
    def _fill(cls, place: re.Match[str], values: Mapping[str, Any], language: str) -> str:
        return super()._fill(place, values, language) if place.group(1) in values else place.group()


def plural(one: str, many: str, *, count: float, **values: Any) -> Message:
    """The template for a count of one, or the one for all others; {count} is among its places."""
    return Message._make(one, many, {"count": count, **values})


def _remake(kind: type[Message], template: str, many: str, values: Mapping[str, Any]) -> Message:
    return kind._make(template, many, values)


def joined(parts: list[str] | tuple[str, ...], separator: str = ", ") -> Message:
    """Messages one after another, as one Message: a list in a sentence, or sentences in a paragraph."""
    places = separator.join(f"{{part_{number}}}" for number in range(len(parts)))
    return Message(places, **{f"part_{number}": part for number, part in enumerate(parts)})


def render(text: str, language: str = ENGLISH) -> str:
    """A Message, or a literal that was extracted, in this language; other text as it is."""
    if language == ENGLISH or not text:
        return text
    if isinstance(text, Message):
        return text.in_language(language)
    return catalog(language).gettext(text)


@functools.cache
def catalog(language: str) -> gettext.NullTranslations:
    """The translations of one language; of a language without any, English."""
    return gettext.translation(DOMAIN, LOCALES, [language], fallback=True)
