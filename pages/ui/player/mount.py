"""The player on a Streamlit page."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from explainers.player.source import Options, blob, javascript, stylesheet
from pages.ui.streamlit_internals import component

_TOASTS = "_toasts"  # sentences that wait for the next run
_component = component("lantern_player", js=javascript("streamlit.js"), css=stylesheet())


class Click(BaseModel):
    """A click or drag on the picture: the panel's name, the action that it offers (scene.Action), and where."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    panel: str
    action: str
    index: list[int] = Field(min_length=1, max_length=256)


def play(
    scene: bytes, options: Options, *, key: str, on_click: Callable[[Click], None] | None = None
) -> None:
    """Shows a packed scene (Scene.to_bytes) in the player of this key.

    on_click: called before the page runs again, for a click on a panel with an action and when a live scene asks for
    more.
    """

    def forward() -> None:
        if on_click is None:
            return
        try:
            on_click(Click.model_validate(st.session_state[key]["click"]))
        except ValidationError:
            queue_toast("The picture sent something that is not a click on it; it was ignored.")

    for sentence in st.session_state.pop(_TOASTS, ()):
        st.toast(sentence)
    _component(
        data=blob(scene, options),
        key=key,
        on_click_change=forward,
        on_step_change=lambda: None,  # makes it a value that the session keeps
    )


def queue_toast(sentence: str) -> None:
    """Queues a toast for the next run of the page: a callback must not draw elements."""
    st.session_state.setdefault(_TOASTS, []).append(sentence)


def player_key(prefix: str) -> str:
    """The key of the player of the experiment under this prefix."""
    return f"player-{prefix}"


def is_on_screen(key: str) -> bool:
    """Whether the last run of the page drew this player."""
    return key in st.session_state


def is_asking(key: str) -> bool:
    """Whether an event of this player made the page run, not a control."""
    return (st.session_state.get(key) or {}).get("click") is not None


def step_on_screen(key: str) -> int:
    """The step that a player of a live run showed when a control of the page was last touched."""
    step = (st.session_state.get(key) or {}).get("step")
    return step if isinstance(step, int) and step >= 0 else 0
