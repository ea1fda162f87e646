"""The way from page to page: links in the sidebar that lead back to what each page showed last."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from pages.ui.settings import address
from pages.ui.streamlit_internals import use_own_navigation


def draw(home: Any, sections: Mapping[str, Sequence[Any]], chosen: Any) -> None:
    """Draws the sidebar. A link carries the settings with which its page was left (`st.navigation`'s own do not).

    The page on the screen is no link: its settings are in the address already.
    """
    with st.sidebar, st.container(key="navigation", gap=None):
        with st.container(key="navigation-home"):
            st.page_link(home)
        for section, pages in sections.items():
            st.caption(section)
            for page in pages:
                here = page is chosen
                st.page_link(
                    page, disabled=here, query_params=None if here else address.written(page.url_path)
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
