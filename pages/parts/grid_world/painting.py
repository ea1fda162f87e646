"""Painting the cells of a grid world: a row of brushes, what a drag over the picture does, and undo."""

from __future__ import annotations

import streamlit as st

from explainers.grid_world import changes, paint
from pages.ui.player.mount import Click, tell
from pages.ui.settings.controls import Settings

BRUSH = "_brush"
LOOK = "look"  # no brush: a click on a cell shows its arithmetic
PAINTED = "_painted"  # the worlds that were painted over, with those that came of it


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
    painted_over = st.session_state.get(PAINTED)
    there = bool(painted_over) and painted_over[-1][1] == settings.params().now.world
    hint = "Take the last painting back, and what was learned since"
    st.button(
        "Undo", key="undo", type="tertiary", help=hint, disabled=not there, on_click=undo, args=(settings,)
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
    st.session_state.setdefault(PAINTED, []).append((params.now.world, world))
    settings.apply({"world": world})


def undo(settings: Settings) -> None:
    """Takes the last painting out of the changes of the run, or puts the world of its start back as it was."""
    before, after = st.session_state[PAINTED].pop()
    made = changes.parse(settings.params().changes)
    ours = [one for one in made if (one.field, one.value) == ("world", after)]
    if ours:
        settings.put({"changes": changes.write(tuple(one for one in made if one is not ours[-1]))})
    else:
        settings.put({"world": before, "changes": ""})
