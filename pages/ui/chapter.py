"""A chapter as data: an experiment with its controls, a question, settings to try, and what is said of its result.

    Chapter(
        "sharing", "Share heads", "kv_cache.decode", DecodeParams,
        heading="Who shares what", fields=("kind", "groups"), behind={MORE: ("heads", "seed")},
    )

Its words are sections of `pages/prose/en/<topic>.md` under its key, an arc: `sharing.claim` over the picture,
`sharing.predict` and `sharing.reveal` around it, `sharing.surprise` in one sentence, `sharing` the explanation,
`sharing.check` and `sharing.answer` to check oneself, `sharing.try.<name>` what to look for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from explainers.contract.params import Params
from explainers.contract.result import Check
from pages.ui.player.mount import Click
from pages.ui.prose import Prose
from pages.ui.settings.controls import Settings

MORE = "More settings"

# The names of fields, or a function that chooses them by the params.
Fields = Sequence[str] | Callable[[Any], Sequence[str]]
# What a question names: the answers, the right one, and the numbers in its words; None where nothing is asked.
Asked = Mapping[str, Any] | None


@dataclass(frozen=True)
class Try:
    """One-click settings. name: of the words that say what to look for. changes: what differs from the defaults."""

    name: str
    label: str
    changes: Mapping[str, Any]


@dataclass(frozen=True)
class Shown:
    """A run on the screen: its chapter, the page's settings and words, the params, and the facts of the result.

    facts: the Result's fields as JSON types, without arrays (pages/ui/jobs/prepared_run.py). scene: the player's blob.
    changed: the place for what the last change did; None: where it is drawn.
    """

    chapter: Chapter
    settings: Settings
    words: Prose
    params: Any
    facts: Mapping[str, Any]
    checks: Sequence[Check]
    scene: bytes | None = None
    changed: Any = None

    def compare(self, numbers: Mapping[str, Any], sound: Mapping[str, Any] | None = None) -> None:
        """One line that says what the last change of a setting did to these numbers."""
        with self.changed or st.container():
            self.settings.changed(numbers, self.chapter.prefix, sound)

    def said(self, name: str) -> str:
        """The words of this chapter under a name."""
        return self.words[f"{self.chapter.key}.{name}"]


@dataclass(frozen=True)
class Chapter:
    """A chapter of a page.

    key: in the address, in the prose and before its settings (`sharing.heads`). title: on its tab. experiment, params:
    what runs, and its settings. main: its settings have bare names in the address; one chapter of a page. heading: over
    its picture; the page's title where it is left out. fields: the controls. behind: further controls, each group
    behind a button of that label. tools: draws more such buttons. question: what is asked before the answer is shown,
    from params and facts. check_yourself: what is asked in the end, alike. tries: settings to try. below: draws what
    is under the stage. on_click: answers a click on the picture. verify: draws one more check, which may take a moment.
    above: draws what is over the controls. show: draws the whole chapter, where it is not a picture in the player.
    further: the settings of other experiments that `show` draws, by their prefix.
    """

    key: str
    title: str
    experiment: str
    params: type[Params]
    main: bool = False
    heading: str = ""
    fields: Fields = ()
    behind: Mapping[str, Fields] = field(default_factory=dict)
    tools: Callable[[Settings], None] | None = None
    question: Callable[[Any, Mapping[str, Any]], Asked] | None = None
    check_yourself: Callable[[Any, Mapping[str, Any]], Asked] | None = None
    tries: Sequence[Try] = ()
    below: Callable[[Shown], None] | None = None
    on_click: Callable[[Settings, Click], None] | None = None
    verify: Callable[[Shown], None] | None = None
    above: Callable[[Chapter, Settings, Prose], None] | None = None
    show: Callable[[Chapter, Settings, Prose], None] | None = None
    further: Mapping[str, type[Params]] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """Under which its settings are kept."""
        return "" if self.main else self.key

    def chosen(self, fields: Fields, settings: Settings) -> Sequence[str]:
        """The names of these fields under the settings in force."""
        return fields(settings.params(self.prefix)) if callable(fields) else fields
