"""The controls of a page: one declaration (`Params`) is the control, the address parameter and the validation.

    settings = controls.settings(TilesParams, traffic=TrafficParams)  # reads the address, says what it ignored
    params = settings.panel("seq_len", "head_dim", "block_q", "causal")  # draws the controls
    traffic = settings.panel("seq_len", "sram_bytes", prefix="traffic")

The main experiment of a page has bare names, others are prefixed (`traffic.seq_len`). Keys of the session state are
the names in the address. Everything is settled before the first control exists: what the controls of the last run
say, what a button asks for, the rules across fields, and the address.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Mapping
from typing import Any

import streamlit as st

from explainers.contract.params import (
    Params,
    as_text,
    bounds_of,
    choices_of,
    control_of,
    longest_of,
    several_of,
)
from pages.ui.settings.changes import change_sentence, changed_fields, readable
from pages.ui.settings.link import STEP, key_of
from pages.ui.settings.session import Session, control_value
from pages.ui.settings.widgets import draw_choice, draw_number, draw_several, labels_of, switch_labels

SENTENCES_UP_TO = 6
COMPARED = 3  # settings that may change at once for two results to be compared
UNIT_UP_TO = 3  # characters of a unit that fit beside a label; the help of the control names longer ones


def settings(main: type[Params] | None = None, /, **others: type[Params]) -> Settings:
    """The settings of this page: its main experiment's, and of each other experiment by its prefix.

    Reads the address or the controls, and writes the address. The panels report what was ignored or adjusted.
    """
    types = ({"": main} if main else {}) | others
    made = Settings(types)
    made.settle()
    return made


class Settings(Session):
    """All settings of a page. `panel` draws controls, `params` gives values, `apply` changes them from a button."""

    # ------------------------------------------------------------------------------------------- for a page

    def params(self, prefix: str = "") -> Any:
        """The Params now in force."""
        return self.shown.params[prefix]

    def panel(self, *names: str, prefix: str = "") -> Any:
        """Draws the controls of the named fields, one below the other, and returns the Params."""
        self.settle()  # a fragment runs without the rest of its page
        with st.container(gap=None, key=f"controls-{prefix}-{names[0] if names else ''}"):
            if values := {name: value for name in names if (value := self._shown_value(prefix, name))}:
                st.html(_value_style(prefix, values))
            for name in names:
                self._draw(prefix, name)
        return self.shown.params[prefix]

    def reset_button(self, prefix: str = "") -> None:
        """A small button that puts every setting of one experiment back to its default."""
        defaults = defaults_of(self.types[prefix])
        st.button(
            "Reset",
            key=f"reset-{prefix}",
            type="tertiary",
            help="Put every setting back to its default",
            disabled=self.shown.params[prefix] == defaults,
            on_click=self.open,
            args=(defaults.model_dump(), prefix),
        )

    def apply(self, changes: Mapping[str, Any], prefix: str = "") -> None:
        """Sets several fields at once: the callback of an event in the player, which stays at its step."""
        self.shown.pending_click.setdefault(prefix, {}).update(changes)

    def put(self, changes: Mapping[str, Any], prefix: str = "") -> None:
        """As `apply`, but sets the settings with which a live run began, not a change during the run."""
        self.shown.pending_button.setdefault(prefix, {}).update(changes)

    def open(self, changes: Mapping[str, Any], prefix: str = "") -> None:
        """As `apply`, for a button that shows something else: the player goes to where that is best seen.

        Of two such buttons that the browser sends at once, one counts, whole: their settings never mix.
        """
        self.shown.pending_button[prefix] = dict(changes)
        self.shown.openings[prefix] = self.opening(prefix) + 1

    def opening(self, prefix: str = "") -> int:
        """How often a button has opened something in this player."""
        return self.shown.openings.get(prefix, 0)

    def try_this(self, cases: Iterable[tuple[str, Mapping[str, Any]]], prefix: str = "") -> None:
        """One-click settings: label, and what differs from the defaults."""
        with st.container(horizontal=True, gap=None, key=f"try-{prefix}"):
            for number, (label, changes) in enumerate(cases):
                st.button(
                    label,
                    key=f"try-button-{prefix}-{number}",
                    type="primary" if self.is_tried(changes, prefix) else "secondary",
                    on_click=self._try,
                    args=(changes, prefix),
                )

    def is_tried(self, changes: Mapping[str, Any], prefix: str = "") -> bool:
        """Whether these settings are in force, and all others at their defaults."""
        return self.shown.params[prefix] == self.types[prefix](**changes)

    def _try(self, changes: Mapping[str, Any], prefix: str) -> None:
        self.open(self.types[prefix](**changes).model_dump(), prefix)

    def step(self, steps: int | None = None, prefix: str = "") -> int | None:
        """The step that the link asks for; None without one, and once a setting has changed.

        steps: how many there are; a step beyond the last becomes the last, and the page says so.
        """
        step = self.shown.steps.get(prefix)
        if step is not None and steps is not None and step >= steps:
            self.unfit.append(f"{key_of(prefix, STEP)} = {step} does not exist; showing the last step.")
            return steps - 1
        return step

    def changed(
        self, numbers: Mapping[str, Any], prefix: str = "", sound: Mapping[str, Any] | None = None
    ) -> None:
        """One line that says what the last change did to the result: each of `numbers`, before and after.

        Where more than COMPARED settings changed, it is another experiment, and nothing is compared.

        numbers: label -> a number, or text that is already as it should be read. sound: of a broken run, the same
        without the break. A new break is compared with that, as it may have come with other settings; without it, with
        nothing.
        """
        now = {label: readable(number) for label, number in numbers.items()}
        params = self.shown.params[prefix]
        before, then = self.shown.numbers.get(prefix, (params, now))
        broken = getattr(params, "break_it", "none")
        if broken not in ("none", getattr(before, "break_it", "none")):
            before = params.model_copy(update={"break_it": "none"}) if sound is not None else params
            then = {label: readable(number) for label, number in (sound or {}).items()}
            self.shown.changes.pop(prefix, None)
        if before != params and len(changed_fields(before, params)) > COMPARED:
            self.shown.changes.pop(prefix, None)
        elif before != params:
            self.shown.changes[prefix] = change_sentence(before, params, then, now)
        self.shown.numbers[prefix] = (params, now)
        if sentence := self.shown.changes.get(prefix):
            with st.container(key=f"changed-{prefix}"):
                st.text(sentence)

    def report(self, prefix: str) -> None:
        """Says in one sentence each what was ignored, adjusted or left out: of the address, of this experiment."""
        sentences = list(self.shown.problems.values())
        own = {key_of(prefix, name) for name in self.types[prefix].model_fields}
        sentences += [words for key, words in self.shown.refused.items() if key in own]
        sentences += self.shown.notes.get(prefix, [])
        sentences += self.unfit
        self.unfit = []
        place = st.empty()  # always there, so that what follows keeps its place, an open popover too
        if not sentences:
            return
        with place.container(key=f"notes-{prefix}", gap=None):
            for sentence in sentences[:SENTENCES_UP_TO]:
                st.text(sentence)
            if (more := len(sentences) - SENTENCES_UP_TO) > 0:
                st.text(f"And {more} more of the same kind.")

    # ------------------------------------------------------------------------------------------- drawing

    def _shown_value(self, prefix: str, name: str) -> str:
        """The number beside a slider's label, with its unit where that is short; empty for other controls."""
        value = getattr(self.shown.params[prefix].now, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return ""
        shown = f"{value:,}" if isinstance(value, int) else as_text(value)
        unit = control_of(self.types[prefix], name).unit
        return f"{shown} {unit}".strip() if len(unit) <= UNIT_UP_TO else shown

    def _draw(self, prefix: str, name: str) -> None:
        """Draws one control, of the kind that its declaration asks for.

        It starts with its value, so that nothing jumps; not if the value was just set, as Streamlit warns of both.
        """
        params_type = self.types[prefix]
        key = key_of(prefix, name)
        value = control_value(params_type, name, getattr(self.shown.params[prefix].now, name))
        start = {} if key in self.set_now or key in self.shown.refused else {"value": value}
        if key in self.set_now:
            # A second time: Streamlit does not send the browser what was set while the control was not drawn
            # (docs/decisions/012-a-control-is-set-twice.md).
            st.session_state[key] = value
            self.set_now.discard(key)
            if key in self.shown.set_from:  # the browser learns of it when this run ends
                self.shown.set_from[key] = (self.shown.set_from[key][0], time.monotonic())
        described = params_type.model_fields[name]
        control = control_of(params_type, name)
        common = {"label": described.title or described.description, "key": key}
        common |= {"help": described.description} if described.title else {"label_visibility": "collapsed"}
        if described.annotation is bool:
            draw_choice(common, [True, False], {True: "on", False: "off"} | switch_labels(control), start)
        elif choices := choices_of(params_type, name):
            draw_choice(
                common, list(choices), labels_of(choices, control), start, in_a_row=not described.title
            )
        elif choices := several_of(params_type, name):
            draw_several(
                common, list(choices), labels_of(choices, control), longest_of(params_type, name), start
            )
        elif described.annotation in (int, float):
            bounds = bounds_of(params_type, name)
            draw_number(common | start, control, described.annotation, bounds, value)
        elif control.long_text:
            st.text_area(**common, **start, height=110)
        else:
            st.text_input(**common, **start)


@functools.cache
def defaults_of(params_type: type[Params]) -> Params:
    """The params with nothing given; made once."""
    return params_type()


def _value_style(prefix: str, values: Mapping[str, str]) -> str:
    """Each number for style.css, which sets it beside its slider's label; the label's own text stays plain."""
    keys = {key_of(prefix, name).replace(".", "-"): value for name, value in values.items()}
    rules = [f'.st-key-{key} {{ --number: "{value}"; }}' for key, value in keys.items()]
    return f"<style>{' '.join(rules)}</style>"
