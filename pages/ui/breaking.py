"""Break it: switches that remove one necessary part each, so that a check turns red and the reader sees why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from explainers.experiment import choices_of, control_of
from pages.ui.controls import Settings


def break_it(
    settings: Settings, bites: Mapping[str, Mapping[str, Any]], lost: Mapping[str, str], prefix: str = ""
) -> None:
    """A row of switches for the field break_it, and under it what the chosen one loses.

    bites: for each break the other settings under which it bites, which choosing it applies. lost: one sentence each.
    """
    params = settings.params(prefix)
    labels = control_of(type(params), "break_it").labels or {}
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", key=f"breaks-{prefix}"):
        st.markdown("Break it")
        for name in choices_of(type(params), "break_it"):
            st.button(
                labels.get(name, name),
                key=f"break-{prefix}-{name}",
                type="primary" if params.break_it == name else "secondary",
                on_click=settings.apply,
                args=({**bites.get(name, {}), "break_it": name}, prefix),
            )
    if params.break_it in lost:
        st.markdown(f":red[**What is lost.**] {lost[params.break_it]}")
