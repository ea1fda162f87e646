"""A section of a page around one experiment: heading, words, controls, switches, player, checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from pages.ui import breaking, checks, run
from pages.ui.controls import Settings
from pages.ui.player.mount import play

Breaks = tuple[Mapping[str, Mapping[str, Any]], Mapping[str, str]]


@st.fragment
def played(
    settings: Settings,
    experiment: str,
    prefix: str,
    *,
    title: str,
    words: str,
    fields: Sequence[str],
    paragraph: str = "",
    breaks: Breaks | None = None,
) -> None:
    """A section that plays an experiment of the page under its prefix; moving its controls runs it alone.

    fields: the controls, in their order. paragraph: a field of long text, under them. breaks: for `break_it`.
    """
    st.header(title, anchor=prefix)
    st.markdown(words)
    params = settings.panel(*fields, prefix=prefix)
    if paragraph:
        settings.panel(paragraph, prefix=prefix, reset=False)
    if breaks:
        bites, lost = breaks
        breaking.switches(settings, bites, prefix)
        breaking.loss(settings, lost, prefix)
    if shown := run.drawn(experiment, params):
        play(shown.scene, key=prefix, address=f"{prefix}.step")
        checks.show(shown.checks)
