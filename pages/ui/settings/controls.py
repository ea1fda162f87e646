"""The controls of a page: one declaration (`Params`) is the control, the address parameter and the validation.

    settings = controls.settings(TilesParams, traffic=TrafficParams)  # reads the address, says what it ignored
    params = settings.panel("seq_len", "head_dim", "block_q", "causal")  # draws the controls
    traffic = settings.panel("seq_len", "sram_bytes", prefix="traffic")

The main experiment of a page has bare names, others are prefixed (`traffic.seq_len`). Keys of the session state are
the names in the address. Everything is settled before the first control exists: what the controls of the last run
say, what a button asks for, the rules across fields, and the address.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from explainers.contract.params import (
    Params,
    as_text,
    bounds_of,
    choices_of,
    control_of,
    fit,
    longest_of,
    read,
    several_of,
)
from pages.ui.player.mount import is_asking, player_key, step_on_screen
from pages.ui.settings import address
from pages.ui.settings.changes import change_sentence, changed_fields, readable
from pages.ui.settings.link import STEP, key_of, own_fields, query_of, short, take, take_step, titled, unknown
from pages.ui.settings.widgets import draw_choice, draw_number, draw_several, labels_of, switch_labels

SENTENCES_UP_TO = 6
STALE_FOR = 30.0  # seconds after which the browser has heard that a control was set
COMPARED = 3  # settings that may change at once for two results to be compared
UNIT_UP_TO = 3  # characters of a unit that fit beside a label; the help of the control names longer ones


@dataclass
class _Shown:
    """What a page shows, kept for the session.

    params: by prefix. asked: changes that a button asked for, applied: that a click on the player did, neither made
    yet. problems: what the address said and was ignored, refused: what a control says and is not accepted, both by key.
    notes: what was adjusted or left out, by prefix. steps: at which a link wants the players, openings: how often a
    button opened something there, numbers: of the result, with the params they belong to, changes: the line about the
    last change; all by prefix. set_from: what a control said before it was set, and when that was, by key.
    """

    visit: int = -1
    params: dict[str, Params] = field(default_factory=dict)
    asked: dict[str, dict[str, Any]] = field(default_factory=dict)
    applied: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    openings: dict[str, int] = field(default_factory=dict)
    numbers: dict[str, tuple[Params, dict[str, str]]] = field(default_factory=dict)
    changes: dict[str, str] = field(default_factory=dict)
    set_from: dict[str, tuple[Any, float]] = field(default_factory=dict)


def settings(main: type[Params] | None = None, /, **others: type[Params]) -> Settings:
    """The settings of this page: its main experiment's, and of each other experiment by its prefix.

    Reads the address or the controls, and writes the address. What was ignored or adjusted, the panels say.
    """
    types = ({"": main} if main else {}) | others
    made = Settings(types)
    made.settle()
    return made


class Settings:
    """All settings of a page. `panel` draws controls, `params` gives values, `apply` changes them from a button."""

    def __init__(self, types: Mapping[str, type[Params]]) -> None:
        self.types = dict(types)
        pages = st.session_state.setdefault("_shown", {})
        self.shown: _Shown = pages.setdefault(address.visit().page, _Shown())
        self.set_now: set[str] = set()  # controls whose value was set, and that are not drawn since
        self.teller: str | None = None  # the experiment whose panel tells what of the address was ignored
        self.settled = False  # since the page itself ran, and not a fragment of it

    # ------------------------------------------------------------------------------------------- for a page

    def params(self, prefix: str = "") -> Any:
        """The Params now in force."""
        return self.shown.params[prefix]

    def panel(self, *names: str, prefix: str = "", reset: bool = True) -> Any:
        """Draws the controls of the named fields in one compact row that wraps, and returns the Params.

        reset: the first row of an experiment, which ends with a button to reset and tells what was ignored or
        adjusted; the first such row on the page also tells what of the address was ignored.
        """
        self.settle()  # a fragment runs without the rest of its page
        with st.container(
            horizontal=True, vertical_alignment="bottom", gap="medium", key=f"controls-{prefix}-{names[0]}"
        ):
            if values := {name: value for name in names if (value := self._shown_value(prefix, name))}:
                st.html(_value_style(prefix, values))
            for name in names:
                self._draw(prefix, name)
            if reset:
                self.reset_button(prefix)
        if reset:
            self.teller = prefix if self.teller is None else self.teller
            self._tell(prefix)
        return self.shown.params[prefix]

    def title(self, name: str, prefix: str = "") -> str:
        """What the screen calls a field."""
        return self.types[prefix].model_fields[name].title or name

    def reset_button(self, prefix: str = "") -> None:
        """A small button that puts every setting of one experiment back to its default."""
        defaults = self.types[prefix]()
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
        self.shown.applied.setdefault(prefix, {}).update(changes)

    def put(self, changes: Mapping[str, Any], prefix: str = "") -> None:
        """As `apply`, of a run whose settings change on the way: the settings themselves, not a change on the way."""
        self.shown.asked.setdefault(prefix, {}).update(changes)

    def open(self, changes: Mapping[str, Any], prefix: str = "") -> None:
        """As `apply`, for a button that shows something else: the player goes to where that is best seen.

        Of two such buttons that the browser sends at once, one counts, whole: their settings never mix.
        """
        self.shown.asked[prefix] = dict(changes)
        self.shown.openings[prefix] = self.opening(prefix) + 1

    def opening(self, prefix: str = "") -> int:
        """How often a button has opened something in this player."""
        return self.shown.openings.get(prefix, 0)

    def try_this(self, cases: Iterable[tuple[str, Mapping[str, Any], str]], prefix: str = "") -> None:
        """One-click settings: label, what differs from the defaults, and the sentence of what to look for."""
        for number, (label, changes, sentence) in enumerate(cases):
            whole = self.types[prefix](**changes).model_dump()
            with st.container(
                horizontal=True, wrap=False, vertical_alignment="center", key=f"try-{prefix}-{number}"
            ):
                st.button(
                    label, key=f"try-button-{prefix}-{number}", on_click=self.open, args=(whole, prefix)
                )
                st.markdown(sentence)

    def step(self, steps: int | None = None, prefix: str = "") -> int | None:
        """The step that the link asks for; None without one, and once a setting has changed.

        steps: how many there are; a step beyond the last becomes the last, and the page says so.
        """
        step = self.shown.steps.get(prefix)
        if step is not None and steps is not None and step >= steps:
            with st.container(key=f"notes-step-{prefix}"):
                st.text(f"{key_of(prefix, STEP)} = {step} lies beyond the last step, which is shown instead.")
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

    def query(self) -> dict[str, str]:
        """The settings as the address writes them: defaults, and text that is too long, left out."""
        return query_of(self.shown.params)[0]

    # ------------------------------------------------------------------------------------------- settling

    def settle(self) -> None:
        """Brings params, controls and address into agreement. Costs nothing when nothing has changed."""
        number = address.visit().number
        if self.shown.visit != number:
            self._arrive()
            self.shown.visit = number
        else:
            before = self._of_page()
            self._listen()
            # The browser sends what changes at once as one run: of the fragment, where the player tells its step.
            if self.settled and self._of_page() != before:
                st.rerun()
        self.settled = True
        for prefix in self.types:
            self._set_controls(prefix)

    def _of_page(self) -> list[Params]:
        """The settings of the page itself, such as its chapter."""
        return [params for prefix, params in self.shown.params.items() if prefix.startswith("_")]

    def _arrive(self) -> None:
        """Takes the settings from the address, field by field; what is not accepted keeps its default."""
        fresh = _Shown()
        raw = address.read()
        for prefix, params_type in self.types.items():
            step, ignored_step = take_step(raw, prefix)
            if step is not None:
                fresh.steps[prefix] = step
            params, ignored = take(raw, prefix, params_type, own_fields(self.types, prefix))
            fresh.problems |= ignored_step | ignored
            fresh.params[prefix], adjusted = fit(params)
            fresh.notes[prefix] = [one.sentence for one in adjusted]
        _share(fresh.params, {prefix: params_type() for prefix, params_type in self.types.items()})
        fresh.problems |= unknown(raw, self.types)
        self.shown.__dict__.update(fresh.__dict__)
        address.arrive(query_of(fresh.params)[0])

    def _listen(self) -> None:
        """Takes the settings from the controls and buttons."""
        before = dict(self.shown.params)
        notes: dict[str, list[str]] = {}
        self.shown.refused = {}
        for prefix in self.types:
            texts = {name: as_text(value) for name, value in self._wanted(prefix).items()}
            params, unread = read(self.types[prefix], texts)
            kept = {one.field: getattr(before[prefix], one.field) for one in unread}
            for one in unread:
                told, used = titled(one, self.title(one.field, prefix)), short(as_text(kept[one.field]))
                self.shown.refused[key_of(prefix, one.field)] = f"{told} The page still uses {used}."
            params, adjusted = fit(type(params)(**(params.model_dump() | kept)))
            self.shown.params[prefix] = params
            notes[prefix] = query_of({prefix: params})[1]
            for one in adjusted:
                key, told = key_of(prefix, one.field), titled(one, self.title(one.field, prefix))
                is_text = self.types[prefix].model_fields[one.field].annotation is str
                if is_text and st.session_state.get(key) == texts.get(one.field):
                    # what was typed stays, to be mended
                    used = short(getattr(params, one.field))
                    self.shown.refused.setdefault(key, f"{told} The page uses {used}.")
                else:
                    notes[prefix].append(told)
        _share(self.shown.params, before)
        if self.shown.params != before:
            self.shown.problems, self.shown.notes, self.shown.steps = {}, notes, {}
            address.write(self.query())
        elif any(notes.values()):
            self.shown.notes = notes

    def _wanted(self, prefix: str) -> dict[str, Any]:
        """The values that the controls show, or a button asked for; of fields without a control, those in force."""
        params = self.shown.params[prefix]
        held, now = params.model_dump(), params.now.model_dump()
        keys = {name: key_of(prefix, name) for name in held}
        drawn = {
            name: _clean(st.session_state[key]) for name, key in keys.items() if self._speaks(prefix, key)
        }
        differs = {name: one for name, one in drawn.items() if one is not None and not _same(one, now[name])}
        differs |= self.shown.applied.pop(prefix, {})
        asked = self.shown.asked.pop(prefix, {})
        moved = params.moved(differs, step_on_screen(player_key(prefix))) if differs else {}
        wanted = held | dict(moved) | asked
        for chooser, presets in self.types[prefix].fills.items():
            if wanted[chooser] != held[chooser]:  # another preset: what any of them sets is given no more
                settable = set().union(*presets.values()) - asked.keys()
                wanted = {name: value for name, value in wanted.items() if name not in settable}
        return wanted

    def _speaks(self, prefix: str, key: str) -> bool:
        """Whether a control says what the reader wants.

        A player that asks for more may send what the controls said before the browser heard that they were set.
        """
        if key not in st.session_state or not is_asking(player_key(prefix)):
            return key in st.session_state
        before, when = self.shown.set_from.get(key, (None, -math.inf))
        return time.monotonic() - when >= STALE_FOR or st.session_state[key] != before

    def _set_controls(self, prefix: str) -> None:
        """Makes controls show the params, before they are drawn; text that was refused stays, to be mended."""
        params = self.shown.params[prefix]
        for name in type(params).model_fields:
            key = key_of(prefix, name)
            value = _control_value(type(params), name, getattr(params.now, name))
            if key in st.session_state and key not in self.shown.refused and st.session_state[key] != value:
                self.shown.set_from[key] = (st.session_state[key], time.monotonic())
                st.session_state[key] = value
                self.set_now.add(key)

    def _tell(self, prefix: str) -> None:
        """Says in one sentence each what was ignored, adjusted or left out: of the address, of this experiment."""
        sentences = list(self.shown.problems.values()) if prefix == self.teller else []
        own = {key_of(prefix, name) for name in self.types[prefix].model_fields}
        sentences += [words for key, words in self.shown.refused.items() if key in own]
        sentences += self.shown.notes.get(prefix, [])
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
        """One control, of the kind that its declaration calls for.

        It starts with its value, so that nothing jumps; unless that was just set, which Streamlit wants done once.
        """
        params_type = self.types[prefix]
        key = key_of(prefix, name)
        value = _control_value(params_type, name, getattr(self.shown.params[prefix].now, name))
        start = {} if key in self.set_now or key in self.shown.refused else {"value": value}
        if key in self.set_now:
            # Once more: what was set while the control was away, Streamlit keeps to itself.
            st.session_state[key] = value
            self.set_now.discard(key)
            if key in self.shown.set_from:  # the browser hears of it when this run ends
                self.shown.set_from[key] = (self.shown.set_from[key][0], time.monotonic())
        described = params_type.model_fields[name]
        control = control_of(params_type, name)
        common = {"label": described.title or described.description, "key": key}
        common |= {"help": described.description} if described.title else {"label_visibility": "collapsed"}
        if described.annotation is bool:
            draw_choice(common, [True, False], {True: "on", False: "off"} | switch_labels(control), start)
        elif choices := choices_of(params_type, name):
            draw_choice(common, list(choices), labels_of(choices, control), start)
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


def _value_style(prefix: str, values: Mapping[str, str]) -> str:
    """A style sheet that sets each number beside its slider's label, so that the label's own text stays plain."""
    keys = {key_of(prefix, name).replace(".", "-"): value for name, value in values.items()}
    rules = [
        f'.st-key-{key} .stSlider > label::after {{ content: "{value}"; }}' for key, value in keys.items()
    ]
    return f"<style>{' '.join(rules)}</style>"


# ----------------------------------------------------------------------------------------------- pure helpers


def _share(params_of: dict[str, Params], before: Mapping[str, Params]) -> None:
    """Gives a shared field that one experiment has changed to all that share it."""
    changed = {
        name: getattr(params, name)
        for prefix, params in params_of.items()
        for name in params.shared
        if getattr(params, name) != getattr(before[prefix], name)
    }
    for prefix, params in params_of.items():
        update = {name: changed[name] for name in params.shared if name in changed}
        if any(getattr(params, name) != value for name, value in update.items()):
            params_of[prefix] = fit(type(params)(**(params.model_dump() | update)))[0]


def _same(drawn: Any, held: Any) -> bool:
    """Whether a control shows what is held; a slider rounds a third to ten digits."""
    if isinstance(drawn, float) and isinstance(held, float):
        return math.isclose(drawn, held, rel_tol=1e-9, abs_tol=1e-12)
    return as_text(drawn) == as_text(held)


def _clean(value: Any) -> Any:
    """What a control says: lists as tuples, and no tail of digits that a slider's steps leave (0.30000000000000004)."""
    if isinstance(value, list):
        return tuple(value)
    return float(f"{value:.10g}") if isinstance(value, float) else value


def _control_value(params_type: type[Params], name: str, value: Any) -> Any:
    """A value in the form in which its control holds it: several choices as a list, other lists as text."""
    if isinstance(value, tuple):
        return list(value) if several_of(params_type, name) else as_text(value)
    return value
