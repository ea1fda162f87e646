"""The widgets of single controls: which one a field gets, by what it declares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import streamlit as st

from explainers.contract.params import Control, as_text

RAIL = 234  # px: what stands in one row of the rail
LETTER, SEGMENT = 7.4, 20  # px of a letter, and of a choice around its letters
SLIDER_POSITIONS_UP_TO = 2000  # more make a slider too coarse for a finger, so the number is typed


def switch_labels(control: Control) -> dict[bool, str]:
    labels = control.labels or {}
    return {value: labels[as_text(value)] for value in (True, False) if as_text(value) in labels}


def draw_choice(
    common: dict[str, Any],
    choices: list[Any],
    labels: Mapping[Any, str],
    start: Mapping[str, Any],
    in_a_row: bool = False,
) -> None:
    """Choices side by side where the rail has room for that, more as a list. in_a_row: never as a list."""
    if in_a_row or sum(SEGMENT + LETTER * len(label) for label in labels.values()) <= RAIL:
        chosen = {"default": start["value"]} if start else {}
        st.segmented_control(
            options=choices, required=True, format_func=labels.__getitem__, **chosen, **common
        )
    else:
        chosen = {"index": choices.index(start["value"])} if start else {}
        st.selectbox(options=choices, format_func=labels.__getitem__, **chosen, **common)


def draw_several(
    common: dict[str, Any], choices: list[str], labels: Mapping[str, str], most: int, start: Mapping[str, Any]
) -> None:
    """A list to choose several from, which can be searched by typing."""
    chosen = {"default": start["value"]} if start else {}
    st.multiselect(options=choices, format_func=labels.__getitem__, max_selections=most, **chosen, **common)


def labels_of(choices: Iterable[str], control: Control) -> dict[str, str]:
    return {choice: choice.replace("_", " ") for choice in choices} | dict(control.labels or {})


def draw_number(
    common: dict[str, Any], control: Control, kind: type, bounds: tuple[float, float], value: float
) -> None:
    """A slider over what is comfortable, stretched to a value beyond it; a number to type where that is too fine."""
    least, most = (kind(bound) for bound in control.comfort or bounds)
    step = kind(control.step) if control.step else (1 if kind is int else (most - least) / 100)
    if control.options:
        options = sorted({*control.options, value})
        st.select_slider(options=options, format_func=as_text, **common)
    elif (most - least) / step > SLIDER_POSITIONS_UP_TO:
        low, high = (kind(bound) for bound in bounds)
        st.number_input(min_value=low, max_value=high, step=step, **common)
    else:
        st.slider(min_value=min(least, value), max_value=max(most, value), step=step, **common)
