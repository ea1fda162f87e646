"""Break it: switches that remove one necessary part each, so that a check turns red and the reader sees why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import streamlit as st

from explainers.experiment import Check, Params, choices_of, control_of
from pages.ui.controls import Settings, named


def switches(settings: Settings, bites: Mapping[str, Mapping[str, Any]], prefix: str = "") -> None:
    """A row of switches for the field break_it.

    bites: for each break the other settings under which it bites. Choosing a break applies them, and puts what only
    the others need back to its default.
    """
    params = settings.params(prefix)
    labels = control_of(type(params), "break_it").labels or {}
    defaults = type(params)().model_dump(include={name for needed in bites.values() for name in needed})
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", key=f"breaks-{prefix}"):
        st.markdown("Break it")
        for name in choices_of(type(params), "break_it"):
            st.button(
                labels.get(name, name),
                key=f"break-{prefix}-{name}",
                type="primary" if params.break_it == name else "secondary",
                on_click=settings.open,
                args=(defaults | dict(bites.get(name, {})) | {"break_it": name}, prefix),
            )


def loss(
    settings: Settings, bites: Mapping[str, Mapping[str, Any]], lost: Mapping[str, str], prefix: str = ""
) -> None:
    """What the chosen break loses, and what was set so that it bites; nothing while nothing is broken."""
    params = settings.params(prefix)
    if (sentence := lost.get(params.break_it)) is None:
        return
    defaults, titles = type(params)(), type(params).model_fields
    needed = {
        name: value for name, value in bites[params.break_it].items() if value != getattr(defaults, name)
    }
    set_for_it = ", ".join(
        f"{titles[name].title} {named(control_of(type(params), name), value)}"
        for name, value in needed.items()
    )
    st.markdown(
        f":red[**What is lost.**] {sentence}" + (f" :gray[Set for it: {set_for_it}.]" if needed else "")
    )


def harmless(params: Params, found: Iterable[Check]) -> None:
    """Says so where the chosen break does no harm with the other settings."""
    if getattr(params, "break_it", "none") != "none" and all(check.passed for check in found):
        st.caption("With these settings the break does no harm. After a Reset it does.")
