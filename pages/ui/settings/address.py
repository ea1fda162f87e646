"""The address bar: a link reproduces what is on the screen, and back and forward walk through what was shown.

Streamlit's browser side pushes a history entry for each write of `st.query_params` and, on back or forward, runs the
page again with the address of that entry and marks the run as a history navigation. So the address is read when a
reader arrives (a page opened, a step through the history) and written when a control changes; in between the
controls hold the truth. (`bind="query-params"` would replace the entry instead: back would leave the page.)

The player itself keeps `step` in the address. A write drops it, because other settings are another run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from pages.ui.streamlit_internals import walked_through_history


@dataclass(frozen=True)
class Visit:
    """One arrival at a page. number: counts arrivals, so that each part of the page reads the address once."""

    page: str
    number: int


def enter(page: str) -> None:
    """Called by app.py before a page runs: notes whether the reader has just arrived there."""
    before = visit()
    if walked_through_history() or before.number == 0 or before.page != page:
        st.session_state["_visit"] = Visit(page, before.number + 1)


def visit() -> Visit:
    """The current visit."""
    return st.session_state.get("_visit", Visit("", 0))


def read() -> dict[str, str]:
    """What the address says: name -> text, the last one where a name is repeated."""
    return st.query_params.to_dict()


def arrive(values: Mapping[str, str]) -> None:
    """Notes the settings with which the reader arrived; the address stays as it came."""
    _written()[visit().page] = dict(values)


def write(values: Mapping[str, str]) -> None:
    """Puts `values` into the address as a new entry of the browser's history, if they are new."""
    if written(visit().page) != values:
        _written()[visit().page] = dict(values)
        st.query_params.from_dict(values)


def written(page: str) -> dict[str, str]:
    """The settings that `page` showed last; empty where it showed its defaults or was never seen."""
    return _written().get(page, {})


def _written() -> dict[str, dict[str, str]]:
    return st.session_state.setdefault("_written", {})
