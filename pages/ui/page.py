"""The frame of a page: the top bar, the places of a chapter, cards, and the one style sheet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from pages.ui import navigation

_STYLE = Path(__file__).with_name("style.css")


@dataclass(frozen=True)
class Places:
    """The places of a chapter: containers, in the order in which the keyboard reaches them; style.css lays them out.

    actions: at the right end of the top bar. rail: at the left, the question and the controls. stage: the rest of the
    window, the picture. below: under the stage, what explains and checks it.
    """

    actions: Any
    rail: Any
    stage: Any
    below: Any


def places() -> Places:
    """Makes the places of a chapter."""
    return Places(*(st.container(key=f"_{key}") for key in ("actions", "rail", "stage", "below")))


@contextmanager
def bar(topic: str, title: str) -> Iterator[None]:
    """The top bar: the way home, the menu of topics, and what the page puts beside them.

    topic: the page that is open, "" for home. title: on the menu.
    """
    navigation.own()
    with st.container(horizontal=True, vertical_alignment="center", gap=None, key="_bar"):
        navigation.draw(topic, title)
        yield


def style() -> None:
    """Puts the style sheet into the page; app.py calls it once a run."""
    st.html(_STYLE)


@contextmanager
def card(key: str, title: str = "", note: str = "") -> Iterator[None]:
    """A bordered box with a heading; note: a few muted words beside the heading."""
    with st.container(border=True, key=f"card-{key}"):
        if title:
            st.markdown(f"## {title} :gray[{note}]" if note else f"## {title}")
        yield


def sources(words: str) -> None:
    """The papers and books behind the page."""
    with st.container(key="_sources"), card("sources", "Sources"):
        st.markdown(words)
