"""The way from page to page: links in the sidebar that lead back to what each page showed last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

from pages.ui.settings import address


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
    """Makes sure that app.py decides what a page looks like.

    Before the first `st.navigation` of a process, Streamlit takes a folder named pages for its older kind of
    navigation and runs a page's script without app.py.
    """
    if PagesManager.uses_pages_directory:
        PagesManager.uses_pages_directory = False
        st.rerun()
