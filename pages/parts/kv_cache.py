"""What the page of the KV cache adds to its chapters: tables of sizes, where numbers come from, figures in print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from explainers.kv_cache import published
from explainers.kv_cache.views import size as size_tables
from pages.ui import lesson, page
from pages.ui.cards import tables
from pages.ui.chapter import Chapter, Shown
from pages.ui.prose import Prose
from pages.ui.settings.controls import Settings


def sizes(shown: Shown) -> None:
    """The three counts of each model, what a change did to them, and where every number comes from."""
    counted = shown.facts["sizes"]
    tables.show(size_tables.SIZE_NAMES, size_tables.size_rows(counted), numbers=range(2, 7))
    tables.lines(f"{each['title']}: {note}" for each in counted for note in each["notes"])
    shown.compare(size_tables.both_counts(counted))
    with page.card("where", "Where the numbers come from"):
        st.markdown(shown.said("where"))
        where(counted)


def where(counted: Sequence[Mapping[str, Any]]) -> None:
    """Each model's formula with its numbers, and the config keys behind them, side by side."""
    for column, each in zip(st.columns(len(counted)), counted, strict=True):
        with column:
            st.markdown(f"**{tables.plain(each['title'])}**")
            st.caption(tables.plain(each["config_from"]))
            st.text(size_tables.formula_words(each))
            tables.show(size_tables.KEY_NAMES, size_tables.key_rows(each))


def what_fits(shown: Shown) -> None:
    """What fits at most, the sum with its numbers, and what was assumed."""
    tables.show(size_tables.FIT_NAMES, [size_tables.fit_row(shown.facts)])
    sum_and_notes(shown)


def sum_and_notes(shown: Shown) -> None:
    """The formula with its numbers, and a line for each thing that was assumed or left out."""
    st.text(size_tables.formula_words(shown.facts))
    tables.lines(shown.facts["notes"])


@st.fragment
def show_published(chapter: Chapter, settings: Settings, words: Prose) -> None:
    """Figures in print, beside the same figures counted here."""
    settings.settle()
    result = published.published(published.PublishedParams())

    def draw() -> published.PublishedResult:
        for agree, name in ((False, "differ"), (True, "agree")):
            rows = [row for row in result.rows if row.agrees == agree]
            with page.card(name, f"{len(rows)} figures that {name}"):
                tables.show(size_tables.PUBLISHED_NAMES, size_tables.published_rows(rows), numbers=(2, 3))
        return result

    lesson.charted(chapter, settings, words, draw)
