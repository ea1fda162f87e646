"""Break it: switches that remove one necessary part each, so that a check turns red and the reader sees why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import streamlit as st

from explainers.contract.breaks import Break
from explainers.contract.params import Params, choices_of, control_of
from explainers.contract.result import Check
from pages.ui.settings.address import visit
from pages.ui.settings.changes import named
from pages.ui.settings.controls import Settings


def switches(settings: Settings, breaks: Sequence[Break], prefix: str = "") -> None:
    """A list of switches for the field break_it.

    Choosing a break applies the settings that make it visible; the next choice first restores the
    reader's settings, except those changed since.
    """
    params = settings.params(prefix)
    labels = control_of(type(params), "break_it").labels or {}
    given = _given_back(params, breaks, prefix)
    needed = {each.name: each.settings for each in breaks}

    def switch(name: str) -> None:
        st.button(
            labels.get(name, name),
            key=f"break-{prefix}-{name}",
            type="primary" if params.break_it == name else "secondary",
            width="content" if name == "none" else "stretch",
            on_click=_choose,
            args=(settings, given, needed.get(name, {}), name, prefix),
        )

    with st.container(gap=None, key=f"breaks-{prefix}"):
        with st.container(horizontal=True, vertical_alignment="center", key=f"breaks-none-{prefix}"):
            st.markdown("Break it")
            switch("none")
        for name in choices_of(type(params), "break_it"):
            if name != "none":
                switch(name)


def _choose(
    settings: Settings, given: Mapping[str, Any], needed: Mapping[str, Any], name: str, prefix: str
) -> None:
    """Applies what a break needs to what the reader had; a preset among it fills its own fields."""
    if name == "none":
        _held().pop(prefix, None)
    else:
        _held()[prefix] = (dict(given), None)
    params_type = settings.types[prefix]
    fills = params_type.fills
    filled = {
        field for chooser in fills.keys() & needed for preset in fills[chooser].values() for field in preset
    }
    kept = {field: value for field, value in given.items() if field not in filled}
    settings.open(params_type(**{**kept, **needed, "break_it": name}).model_dump(), prefix)


def _given_back(params: Params, breaks: Sequence[Break], prefix: str) -> dict[str, Any]:
    """The settings without the current break: those before it, except what was changed since.

    If the break came with the link, there are none before it: the settings of all breaks get their defaults.
    """
    now = params.model_dump()
    if now["break_it"] == "none":
        _held().pop(prefix, None)
        return now
    if prefix not in _held():
        defaults = type(params)().model_dump(include={name for each in breaks for name in each.settings})
        return defaults | {"break_it": "none"}
    before, broken = _held()[prefix]
    if broken is None:  # the first run with the break
        broken = now
        _held()[prefix] = (before, broken)
    return before | {name: value for name, value in now.items() if value != broken[name]}


def _held() -> dict[str, tuple[dict[str, Any], dict[str, Any] | None]]:
    """By page and prefix: the settings before a break, and as the break made them; None until it ran."""
    return st.session_state.setdefault("_before_break", {}).setdefault(visit().page, {})


def loss(settings: Settings, breaks: Sequence[Break], prefix: str = "") -> str:
    """What the chosen break loses, as Markdown; "" while nothing is broken."""
    chosen = _chosen(settings.params(prefix), breaks)
    return f":red[**What is lost.**] {chosen.consequence}" if chosen else ""


def set_for_it(settings: Settings, breaks: Sequence[Break], prefix: str = "") -> None:
    """What was set to make the chosen break visible; nothing while nothing is broken."""
    params = settings.params(prefix)
    chosen = _chosen(params, breaks)
    if chosen is None or not (needed := set_for(chosen, params)):
        return
    back = " Choose “nothing” to restore your settings." if prefix in _held() else ""
    st.caption(f"Set for the break: {needed}.{back}")


def _chosen(params: Params, breaks: Sequence[Break]) -> Break | None:
    return next((each for each in breaks if each.name == getattr(params, "break_it", "none")), None)


def set_for(chosen: Break, params: Params) -> str:
    """The settings that a break needed and that differ from their defaults; what a reader changed since is left out."""
    defaults, titles = type(params)(), type(params).model_fields
    needed = {
        name: value
        for name, value in chosen.settings.items()
        if value == getattr(params, name) != getattr(defaults, name)
    }
    return ", ".join(
        f"{titles[name].title} {named(control_of(type(params), name), value)}"
        for name, value in needed.items()
    )


def harmless(params: Params, found: Iterable[Check]) -> None:
    """Says so if the chosen break changes nothing at the other settings."""
    checks = list(found)
    if getattr(params, "break_it", "none") != "none" and checks and all(check.passed for check in checks):
        st.caption("At these settings the break changes nothing. Reset to see its effect.")
