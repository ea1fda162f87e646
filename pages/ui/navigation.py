"""The way from page to page: links in the top bar that lead back to what each page showed last."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import streamlit as st

from pages.ui.settings import address
from pages.ui.streamlit_internals import use_own_navigation
from pages.ui.topics import SECTIONS, TOPICS


def draw(here: str, title: str) -> None:
    """The link home, and the menu of topics. A link carries the settings with which its page was left.

    here: the page on the screen, which is no link: its settings are in the address already. title: of the menu.
    """
    with st.container(key="_bar-home"):
        st.page_link("pages/home.py", label="Lantern")
    with st.popover(title, type="tertiary", key="_topics"), st.container(key="_navigation", gap=None):
        for section in SECTIONS:
            st.caption(section)
            for topic in (each for each in TOPICS if each.section == section):
                query = None if topic.name == here else address.written(topic.name)
                st.page_link(
                    f"pages/{topic.name}.py",
                    label=topic.title,
                    disabled=topic.name == here,
                    query_params=query,
                )


def own() -> None:
    """Makes sure that app.py decides what a page looks like."""
    if use_own_navigation():
        st.rerun()


def report_unknown(asked: str, titles: Mapping[str, str]) -> None:
    """Says that there is no page under an address, and names the nearest. titles: by address."""
    if not asked:
        return
    nearest = difflib.get_close_matches(asked, [*titles], n=1, cutoff=0.6)
    hint = f" Did you mean {titles[nearest[0]]} (/{nearest[0]})?" if nearest else ""
    with st.container(key="notes-page"):
        st.text(f"There is no page /{asked[:60]}; this is the home page.{hint}")
