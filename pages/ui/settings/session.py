"""The settings of a page, kept for a reader's session: what controls, buttons, clicks and the address say of them.

Everything is settled before the first control is drawn: `Session.settle` brings params, controls and address into
agreement, once a run of the page or of a fragment. It validates only what changed, and costs next to nothing while no
control says anything new.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from explainers.contract.messages import Message
from explainers.contract.params import Params, allowed, as_text, fit, read, several_of
from pages.ui.player.mount import is_asking, player_key, step_on_screen
from pages.ui.settings import address
from pages.ui.settings.link import key_of, own_fields, query_of, short, take, take_step, titled, unknown
from pages.ui.streamlit_internals import dropped_values, this_run

STALE_FOR = 30.0  # seconds after which we trust that the browser has applied a value that was set


@dataclass
class PageState:
    """What a page shows, kept for the session.

    params: by prefix. heard: what the controls said when they were last settled, by prefix and key. pending_button,
    pending_click: changes that a button or a click on the player requested, not applied yet. problems: what the address
    said and was ignored, refused: what a control says and is not accepted, both by key. notes: what was adjusted or
    left out, by prefix. steps: at which a link wants the players, openings: how often a button opened something there,
    numbers: of the result, with the params they belong to, changes: the line about the last change; all by prefix.
    set_from: what a control said before it was set, and when that was, by key.
    """

    visit: int = -1
    params: dict[str, Params] = field(default_factory=dict)
    heard: dict[str, dict[str, Any]] = field(default_factory=dict)
    pending_button: dict[str, dict[str, Any]] = field(default_factory=dict)
    pending_click: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    openings: dict[str, int] = field(default_factory=dict)
    numbers: dict[str, tuple[Params, dict[str, str]]] = field(default_factory=dict)
    changes: dict[str, str] = field(default_factory=dict)
    set_from: dict[str, tuple[Any, float]] = field(default_factory=dict)


class Session:
    """The settings of a page's experiments, by prefix, for one reader."""

    def __init__(self, types: Mapping[str, type[Params]]) -> None:
        self.types = dict(types)
        self.keys = {
            prefix: {name: key_of(prefix, name) for name in params_type.model_fields}
            for prefix, params_type in self.types.items()
        }
        pages = st.session_state.setdefault("_shown", {})
        self.shown: PageState = pages.setdefault(address.visit().page, PageState())
        self.set_now: set[str] = set()  # controls whose value was set, and that are not drawn since
        self.settled = False  # since the page itself ran, and not a fragment of it
        self.settled_in: object = None  # the run in which it was settled last
        self.unfit: list[str] = []  # a sentence for each value that its control cannot take; shown once

    def title(self, name: str, prefix: str = "") -> str:
        """What the screen calls a field."""
        return self.types[prefix].model_fields[name].title or name

    def query(self) -> dict[str, str]:
        """The settings as the address writes them: defaults, and text that is too long, left out."""
        return query_of(self.shown.params)[0]

    def settle(self) -> None:
        """Brings params, controls and address into agreement; of several calls in a run, the first does it."""
        run = this_run()
        if run is not None and run is self.settled_in and not self._is_pending():
            return
        self.settled_in = run
        self.unfit = self._unfit(dropped_values())
        said = st.session_state.to_dict()
        number = address.visit().number
        if self.shown.visit != number:
            self._arrive()
            self.shown.visit = number
            heard = list(self.types)
        else:
            before = self._of_page()
            heard = [prefix for prefix in self.types if self._has_news(prefix, said)]
            if heard:
                self._listen(heard, said)
            # The browser sends what changes at once as one run: of the fragment, where the player tells its step.
            if self.settled and self._of_page() != before:
                st.rerun()
        self.settled = True
        if heard:
            for prefix in self.types:
                self._set_controls(prefix, said)

    def _unfit(self, dropped: Iterable[str]) -> list[str]:
        """A sentence for each setting that was sent what it cannot take, and one for all other controls."""
        places = {key: (prefix, name) for prefix, keys in self.keys.items() for name, key in keys.items()}
        sentences = []
        for key in sorted(dropped, key=lambda key: key not in places):
            if key not in places:
                words = Message("The browser sent something that no part of this page takes; it was ignored.")
                return [*sentences, words]
            prefix, name = places[key]
            sentences.append(
                Message(
                    "{field} received a value that it cannot take; allowed: {allowed}. The page still uses {used}.",
                    field=self.title(name, prefix),
                    allowed=allowed(self.types[prefix], name),
                    used=short(as_text(getattr(self.shown.params[prefix], name))),
                )
            )
        return sentences

    def _is_pending(self) -> bool:
        """Whether a button or a click requested a change that is not applied yet."""
        return any(self.shown.pending_button.values()) or any(self.shown.pending_click.values())

    def _has_news(self, prefix: str, said: Mapping[str, Any]) -> bool:
        """Whether a control of this experiment says something new, or a button or a click requested a change."""
        if self.shown.pending_button.get(prefix) or self.shown.pending_click.get(prefix):
            return True
        return self._said(prefix, said) != self.shown.heard.get(prefix)

    def _said(self, prefix: str, said: Mapping[str, Any]) -> dict[str, Any]:
        return {key: said[key] for key in self.keys[prefix].values() if key in said}

    def _of_page(self) -> list[Params]:
        """The settings of the page itself, such as its chapter."""
        return [params for prefix, params in self.shown.params.items() if prefix.startswith("_")]

    def _arrive(self) -> None:
        """Takes the settings from the address, field by field; what is not accepted keeps its default."""
        fresh = PageState()
        raw = address.read()
        for prefix, params_type in self.types.items():
            step, ignored_step = take_step(raw, prefix)
            if step is not None:
                fresh.steps[prefix] = step
            params, ignored = take(raw, prefix, params_type, own_fields(self.types, prefix))
            fresh.problems |= ignored_step | ignored
            fresh.params[prefix], adjusted = fit(params)
            fresh.notes[prefix] = [adjustment.sentence for adjustment in adjusted]
        _share(fresh.params, {prefix: params_type() for prefix, params_type in self.types.items()})
        fresh.problems |= unknown(raw, self.types)
        self.shown.__dict__.update(fresh.__dict__)
        address.arrive(query_of(fresh.params)[0])

    def _listen(self, prefixes: list[str], said: Mapping[str, Any]) -> None:
        """Takes the settings of these experiments from what the controls said, and from the buttons."""
        before = dict(self.shown.params)
        notes = dict(self.shown.notes)
        for prefix in prefixes:
            notes[prefix] = self._take_what_controls_say(prefix, said)
        _share(self.shown.params, before)
        if self.shown.params != before:
            self.shown.problems, self.shown.notes, self.shown.steps = {}, notes, {}
            address.write(self.query())
        elif any(notes.values()):
            self.shown.notes = notes

    def _take_what_controls_say(self, prefix: str, said: Mapping[str, Any]) -> list[str]:
        """Puts what the controls of one experiment say into force. Returns what was adjusted or left out."""
        held = self.shown.params[prefix]
        for key in self.keys[prefix].values():
            self.shown.refused.pop(key, None)
        texts = {name: as_text(value) for name, value in self._wanted(prefix, said).items()}
        params, unread = read(self.types[prefix], texts)
        if unread:
            kept = {problem.field: getattr(held, problem.field) for problem in unread}
            for problem in unread:
                sentence = titled(problem, self.title(problem.field, prefix))
                used = short(as_text(kept[problem.field]))
                self.shown.refused[self.keys[prefix][problem.field]] = (
                    f"{sentence} The page still uses {used}."
                )
            params = type(params)(**(params.without_derived() | kept))
        params, adjusted = fit(params)
        self.shown.params[prefix] = params
        notes = query_of({prefix: params})[1]
        for adjustment in adjusted:
            key = self.keys[prefix][adjustment.field]
            sentence = titled(adjustment, self.title(adjustment.field, prefix))
            is_text = self.types[prefix].model_fields[adjustment.field].annotation is str
            if is_text and said.get(key) == texts.get(adjustment.field):
                # what was typed stays, to be mended
                used = short(getattr(params, adjustment.field))
                self.shown.refused.setdefault(key, f"{sentence} The page uses {used}.")
            else:
                notes.append(sentence)
        return notes

    def _wanted(self, prefix: str, said: Mapping[str, Any]) -> dict[str, Any]:
        """The values that the controls show, or a button asked for; of fields without a control, those in force."""
        params = self.shown.params[prefix]
        held, now = params.without_derived(), params.now.model_dump()
        is_stale = self._is_stale if is_asking(player_key(prefix)) else lambda key, value: False
        drawn = {
            name: _clean(said[key])
            for name, key in self.keys[prefix].items()
            if key in said and not is_stale(key, said[key])
        }
        differs = {
            name: value for name, value in drawn.items() if value is not None and not _same(value, now[name])
        }
        differs |= self.shown.pending_click.pop(prefix, {})
        asked = self.shown.pending_button.pop(prefix, {})
        moved = params.moved(differs, step_on_screen(player_key(prefix))) if differs else {}
        wanted = held | dict(moved) | asked
        for chooser, presets in self.types[prefix].fills.items():
            if wanted[chooser] != held[chooser]:  # another preset: what any of them sets is given no more
                settable = set(params.derived).union(*presets.values()) - asked.keys()
                wanted = {name: value for name, value in wanted.items() if name not in settable}
        return wanted

    def _is_stale(self, key: str, value: Any) -> bool:
        """Whether a control may say what it said before it was set, as the browser had not heard of that yet.

        Only of a run that a player made, which asks for more: a reader who moves a control sees what it shows.
        """
        before, when = self.shown.set_from.get(key, (None, -math.inf))
        return value == before and time.monotonic() - when < STALE_FOR

    def _set_controls(self, prefix: str, said: dict[str, Any]) -> None:
        """Makes controls show the params, before they are drawn; text that was refused stays, to be mended."""
        effective = self.shown.params[prefix].now
        for name, key in self.keys[prefix].items():
            if key not in said or key in self.shown.refused:
                continue
            value = control_value(self.types[prefix], name, getattr(effective, name))
            if said[key] != value:
                self.shown.set_from[key] = (said[key], time.monotonic())
                st.session_state[key] = said[key] = value
                self.set_now.add(key)
        self.shown.heard[prefix] = self._said(prefix, said)


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
            params_of[prefix] = fit(type(params)(**(params.without_derived() | update)))[0]


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


def control_value(params_type: type[Params], name: str, value: Any) -> Any:
    """A value in the form in which its control holds it: several choices as a list, other lists as text.

    A number takes the type of its field, since a default of 1 may belong to a field of decimals.
    """
    if params_type.model_fields[name].annotation is float:
        return float(value)
    if isinstance(value, tuple):
        return list(value) if several_of(params_type, name) else as_text(value)
    return value
