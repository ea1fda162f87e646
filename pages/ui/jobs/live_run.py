"""A live run on a page: which chunk of it to send, as the player asks for more and the reader changes its settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from pages.ui.player.mount import Click, is_on_screen, player_key, queue_toast, step_on_screen
from pages.ui.settings import address
from pages.ui.settings.controls import Settings


@dataclass
class _Asked:
    """Kept for the session.

    of: the visit and the settings to which the chunk belongs. step: the last one that the player reported.
    """

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
        if reported := step_on_screen(player_key(prefix)):
            self.asked.step = reported

    def resumes(self) -> int | None:
        """The step at which a returning reader left the run; None if the run is on the screen."""
        return self.asked.step if self.returns else None

    def chunk(self, params: Any) -> Any:
        """The settings with the chunk to draw: that of a link's step, of a change, or the one asked for."""
        now = (address.visit().number, params)
        if self.asked.of != now:
            self.asked.chunk = self._number_at(self._first_new_step(params))
            self.asked.of = now
            self.asked.step, self.returns = 0, False
        elif self.returns:
            self.asked.chunk = self._number_at(self.asked.step)
        return params.model_copy(update={"chunk": self.asked.chunk})

    def more(self, click: Click) -> None:
        """Answers the player's event "more", which asks for a further chunk."""
        self.asked.chunk = self._number_at(click.index[0])

    def _number_at(self, step: int) -> int:
        return max(0, min(step // self.transitions, self.chunks - 1))

    def _first_new_step(self, params: Any) -> int:
        """The step in the link; after a change, the first step at which the run differs from before."""
        if self.asked.of is None or self.asked.of[0] != address.visit().number:
            return self.settings.step(prefix=self.prefix) or 0
        before = self.asked.of[1]
        if before.model_copy(update={"changes": ""}) != params.model_copy(update={"changes": ""}):
            queue_toast("This is a new run: the agent begins again, with nothing learned.")
            return 0
        old, new = ([first for first, _ in each.phases] for each in (before, params))
        pairs = zip(before.phases, params.phases, strict=False)
        same = next((k for k, (phase, other) in enumerate(pairs) if phase != other), min(len(old), len(new)))
        if discarded := [first for first in old[same:] if new[same:] and first > new[-1]]:
            queue_toast(f"Changes after transition {discarded[0]:,} were discarded because you stepped back.")
        return min([*old[same:], *new[same:]], default=0)
