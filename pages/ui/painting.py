"""Painting the cells of a grid world: a row of brushes, what a drag over the picture does, and undo."""

from __future__ import annotations

from typing import Any

import streamlit as st

from explainers.grid_world import paint
from pages.ui.controls import Settings
from pages.ui.player.mount import Click, tell

BRUSH = "_brush"
LOOK = "look"  # no brush: a click on a cell shows its arithmetic
BEFORE = "_before_painting"  # what the settings were before each painting


def brushes(settings: Settings) -> None:
    """The brushes side by side, and a button to take the last painting back."""
    names = [LOOK, *paint.BRUSHES]
    st.segmented_control(
        "Paint cells as",
        names,
        default=LOOK,
        required=True,
        key=BRUSH,
        label_visibility="collapsed",
    )
    held = st.session_state.setdefault(BEFORE, [])
    hint = "Take the last painting back, and what was learned since"
    st.button(
        "Undo", key="undo", type="tertiary", help=hint, disabled=not held, on_click=undo, args=(settings,)
    )


def brush_taken() -> bool:
    """Whether a drag over the cells paints them."""
    return st.session_state.get(BRUSH, LOOK) != LOOK


def painted(settings: Settings, click: Click) -> None:
    """The cells of a drag become what the brush says; in a run, from the step on the screen on."""
    params = settings.params()
    try:
        world = paint.painted(params.now.world, click.index, st.session_state.get(BRUSH, LOOK))
    except ValueError as error:
        tell(f"{error}.")
        return
    before: dict[str, Any] = params.model_dump(include={"preset", "world", "changes"})
    st.session_state.setdefault(BEFORE, []).append(before)
    settings.apply({"world": world})


def undo(settings: Settings) -> None:
    """Puts the world back as it was before the last painting."""
    settings.put(st.session_state[BEFORE].pop())
