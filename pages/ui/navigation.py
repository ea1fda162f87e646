"""The way from page to page: links in the sidebar that lead back to what each page showed last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from pages.ui import address


def draw(home: Any, sections: Mapping[str, Sequence[Any]]) -> None:
    """Draws the sidebar. A link carries the settings with which its page was left (`st.navigation`'s own would not)."""
    with st.sidebar, st.container(key="navigation", gap=None):
        with st.container(key="navigation-home"):
            st.page_link(home)
        for section, pages in sections.items():
            st.caption(section)
            for page in pages:
                st.page_link(page, query_params=address.written(page.url_path))
