"""A live run on a page: which chunk of it to send, as the player asks for more and the reader changes its settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from pages.ui.player.mount import Click, is_on_screen, player_key, step_on_screen, tell
from pages.ui.settings import address
from pages.ui.settings.controls import Settings


@dataclass
class _Asked:
    """Kept for the session. of: the settings and the visit that the chunk belongs to. step: the last one told."""

    of: Any = None
    chunk: int = 0
    step: int = 0


class LiveRun:
    """The live run of the experiment under `prefix`, whose Params have the fields `changes` and `chunk`.

    transitions: of a chunk. chunks: most of a run.
    """

    def __init__(self, settings: Settings, prefix: str, transitions: int, chunks: int) -> None:
        self.settings, self.prefix, self.transitions, self.chunks = settings, prefix, transitions, chunks
        self.asked: _Asked = st.session_state.setdefault(f"_live_run-{prefix}", _Asked())
        self.returns = not is_on_screen(player_key(prefix))
        if told := step_on_screen(player_key(prefix)):
            self.asked.step = told

    def resumes(self) -> int | None:
        """The step to which a reader comes back from something else; None in a run that is on the screen."""
        return self.asked.step if self.returns else None

    def chunk(self, params: Any) -> Any:
        """The settings with the chunk to draw: of a link its step's, after a change the change's, else as asked."""
        now = (address.visit().number, params)
        if self.asked.of != now:
            self.asked.chunk = self._number_at(self._first_new_step(params))
            self.asked.of = now
            self.asked.step, self.returns = 0, False
        elif self.returns:
            self.asked.chunk = self._number_at(self.asked.step)
        return params.model_copy(update={"chunk": self.asked.chunk})

    def more(self, click: Click) -> None:
        """Answers the player's event "more"."""
        self.asked.chunk = self._number_at(click.index[0])

    def _number_at(self, step: int) -> int:
        return max(0, min(step // self.transitions, self.chunks - 1))

    def _first_new_step(self, params: Any) -> int:
        """The step that the link wants; after a change of a run, from where it runs otherwise than before."""
        if self.asked.of is None or self.asked.of[0] != address.visit().number:
            return self.settings.step(prefix=self.prefix) or 0
        before = self.asked.of[1]
        if before.model_copy(update={"changes": ""}) != params.model_copy(update={"changes": ""}):
            tell("This is a new run: the agent begins again, with nothing learned.")
            return 0
        old, new = ([first for first, _ in one.phases] for one in (before, params))
        held = zip(before.phases, params.phases, strict=False)
        same = next((k for k, (one, other) in enumerate(held) if one != other), min(len(old), len(new)))
        if forgotten := [first for first in old[same:] if new[same:] and first > new[-1]]:
            tell(
                f"What was changed from transition {forgotten[0]:,} on is forgotten: you went back to before it."
            )
        return min([*old[same:], *new[same:]], default=0)
