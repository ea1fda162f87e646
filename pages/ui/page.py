"""The frame of a page: section, title, claim, cards, and the one style sheet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import streamlit as st

from pages.ui import navigation

_STYLE = Path(__file__).with_name("style.css")


def frame(section: str, title: str, claim: str) -> None:
    """The top of a page: the section it belongs to, its title, and its claim in one sentence."""
    navigation.own()
    with st.container(key="page-head", gap=None):
        st.caption(section)
        st.title(title, anchor=False)
        st.markdown(claim)


def style() -> None:
    """Puts the style sheet into the page; app.py calls it once a run."""
    st.html(_STYLE)


@contextmanager
def card(key: str, title: str = "", note: str = "") -> Iterator[None]:
    """A bordered box with a heading; note: a few muted words beside the heading."""
    with st.container(border=True, key=f"card-{key}"):
        if title:
            st.markdown(f"##### {title} :gray[{note}]" if note else f"##### {title}")
        yield


def sources(words: str) -> None:
    """The papers and books behind the page."""
    with card("sources", "Sources"):
        st.markdown(words)
