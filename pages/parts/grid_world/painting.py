"""Painting the cells of a grid world: a row of brushes, dragging over the picture, and undo."""

from __future__ import annotations

import streamlit as st

from explainers.contract.messages import Message
from explainers.grid_world import changes, paint
from pages.ui.player.mount import Click, queue_toast
from pages.ui.settings.controls import Settings

BRUSH = "_brush"
LOOK = "look"  # no brush: a click on a cell shows its last update
PAINTED = "_painted"  # (world before, world after) of each painting


def brushes() -> None:
    """A row of brushes."""
    names = [LOOK, *paint.BRUSHES]
    st.segmented_control(
        "Paint cells as",
        names,
        default=LOOK,
        required=True,
        key=BRUSH,
        label_visibility="collapsed",
    )


def undo_button(settings: Settings) -> None:
    """A button that undoes the last painting."""
    painted_over = st.session_state.get(PAINTED)
    can_undo = bool(painted_over) and painted_over[-1][1] == settings.params().now.world
    hint = "Undo the last painting, and what the agent has learned since"
    st.button(
        "Undo", key="undo", type="tertiary", help=hint, disabled=not can_undo, on_click=undo, args=(settings,)
    )


def brush_taken() -> bool:
    """Whether a drag over the cells paints them."""
    return st.session_state.get(BRUSH, LOOK) != LOOK


def painted(settings: Settings, click: Click) -> None:
    """Paints the cells of a drag; in a run, from the step on the screen on."""
    params = settings.params()
    try:
        world = paint.painted(params.now.world, click.index, st.session_state.get(BRUSH, LOOK))
    except ValueError as error:
        queue_toast(Message("{problem}.", problem=error.args[0]))
        return
    st.session_state.setdefault(PAINTED, []).append((params.now.world, world))
    settings.apply({"world": world})


def undo(settings: Settings) -> None:
    """Removes the last painting from the changes of the run, or restores the world with which the run began."""
    before, after = st.session_state[PAINTED].pop()
    made = changes.parse(settings.params().changes)
    paintings = [change for change in made if (change.field, change.value) == ("world", after)]
    if paintings:
        kept = tuple(change for change in made if change is not paintings[-1])
        settings.put({"changes": changes.write(kept)})
    else:
        settings.put({"world": before, "changes": ""})
