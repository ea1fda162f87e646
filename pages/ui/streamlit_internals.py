"""Every private or young part of Streamlit that the site uses, in one place.

`tests/pages/test_streamlit_internals.py` says in words what an upgrade broke. One part stands elsewhere, because
Streamlit looks for it in the text of the script that it serves: `st.App` in `pages/ui/serve.py`.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Collection
from typing import Any

import streamlit as st
from streamlit import logger
from streamlit.components.v2 import component as component
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState, WidgetStates
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.pages_manager import PagesManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_requests import _coalesce_widget_states
from streamlit.runtime.state.common import (
    GENERATED_ELEMENT_ID_PREFIX,
    WidgetMetadata,
    unpack_widget_state_value,
    user_key_from_element_id,
)
from streamlit.runtime.state.session_state import (
    STREAMLIT_INTERNAL_KEY_PREFIX,
    Serialized,
    SessionState,
)

from pages.ui.slow_lane import SlowLane

# What a page of ours sends: it runs again or stops, says that it is open, or asks for a file to download.
OUR_MESSAGES = frozenset({"rerun_script", "stop_script", "app_heartbeat", "backend_operation_request"})
MOST_VALUES = 1_000  # controls in a message; a page has about fifty
LONGEST_VALUE = (
    8_000_000  # bytes of one control's value; a pasted text that is too long gets the sentence of its field
)
LONGEST_JSON = 20_000  # bytes of what the player or a card sends: a step, a click, an address
DEEPEST_JSON = 8  # lists and objects within each other, of what the player and the cards send
NUMBERS = frozenset(
    {"int_value", "double_value"}
)  # a field for whole numbers is declared as one for decimals
_DROPPED = "_dropped_values"
_log = logger.get_logger(__name__)


def walked_through_history() -> bool:
    """Whether the browser's back or forward made this run. False outside of a run."""
    context = get_script_run_ctx()
    return context is not None and context.is_history_navigation


def this_run() -> object:
    """A mark of the run of the page or fragment that is going on, another one in each run. None outside of a run."""
    context = get_script_run_ctx()
    return None if context is None else context.cursors


def use_own_navigation() -> bool:
    """Keeps Streamlit from taking the folder named pages for its older kind of navigation.

    That one would run a page's script without app.py, until the first `st.navigation` of a process. Returns whether it
    was about to.
    """
    was_about_to = bool(PagesManager.uses_pages_directory)
    PagesManager.uses_pages_directory = False
    return was_about_to


def requested_page() -> str:
    """The name of the page in the address, "" for the default page or for one that is on the screen already."""
    context = get_script_run_ctx()
    if context is None or context.pages_manager.intended_page_script_hash:
        return ""
    return (context.pages_manager.intended_page_name or "").strip("/")


def show_default_page_unless(known: Collection[str]) -> str:
    """Leads an address without a page of ours to the default page, in place of Streamlit's dialog.

    known: the addresses of the pages. Returns the name that was asked for in vain, "" where there was none. Call it
    before `st.navigation`.
    """
    context, asked = get_script_run_ctx(), requested_page()
    if context is None or not asked:
        return ""
    context.pages_manager.set_script_intent("", asked if asked in known else "")
    return "" if asked in known else asked


# ------------------------------------------------------------------------------------------- what a browser sends


def check_messages() -> None:
    """From now on, drops of each message what the site's own pages never send, before a page or a callback sees it.

    Streamlit takes a value as it comes: one of the wrong kind raises in the widget that draws it, and ends the page.
    Here such a value counts as not sent, so that its control keeps what it had. The other kinds of messages would clear
    every reader's cache, or look for a git repository while all readers wait. Who sends such things gets a slower lane.
    """
    if getattr(AppSession.handle_backmsg, "checks", False):
        return
    handle, take = AppSession.handle_backmsg, SessionState.set_widgets_from_proto
    register = SessionState.register_widget
    lane = SlowLane(_merged)

    def handle_ours(session: AppSession, message: Any) -> None:
        kind = message.WhichOneof("type")
        if kind == "rerun_script":
            known = session.session_state._new_widget_state.widget_metadata
            if not all(_is_of_kind(sent, known) for sent in message.rerun_script.widget_states.widgets):
                lane.enter(session.id)
            lane.handle(session.id, message, functools.partial(handle, session))
        elif kind in OUR_MESSAGES:
            handle(session, message)
        else:
            lane.enter(session.id)
            _log.warning("ignored a message that no page sends")

    def take_fitting(state: SessionState, sent: WidgetStates) -> None:
        state._new_session_state[_DROPPED] = _drop(sent, state._new_widget_state.widget_metadata)
        take(state, sent)

    def register_fitting(state: SessionState, metadata: WidgetMetadata[Any], user_key: str | None) -> Any:
        """For a control that was not drawn before; what is known of it is known only now."""
        sent = state._new_widget_state.states.get(metadata.id)
        if isinstance(sent, Serialized) and not _fits(sent.value, {metadata.id: metadata}):
            del state._new_widget_state[metadata.id]
        return register(state, metadata, user_key)

    handle_ours.checks = True  # type: ignore[attr-defined]
    AppSession.handle_backmsg = handle_ours  # type: ignore[method-assign]
    SessionState.set_widgets_from_proto = take_fitting  # type: ignore[method-assign]
    SessionState.register_widget = register_fitting  # type: ignore[method-assign]


def _merged(earlier: BackMsg, later: BackMsg) -> BackMsg:
    """One message for two: the later values, the buttons of both; the whole page if they are for different parts."""
    asked, before = later.rerun_script, earlier.rerun_script
    if states := _coalesce_widget_states(before.widget_states, asked.widget_states):
        asked.widget_states.CopyFrom(states)
    if before.fragment_id != asked.fragment_id:
        asked.fragment_id = ""
    asked.is_history_navigation |= before.is_history_navigation
    return later


def dropped_values() -> list[str]:
    """The keys of the controls for which the last message had something that they cannot take; each time, once."""
    return st.session_state.pop(_DROPPED, [])


def _drop(sent: WidgetStates, known: dict[str, WidgetMetadata[Any]]) -> list[str]:
    """Removes the values that do not fit their controls from a message. Returns the keys of those controls.

    known: the controls that were drawn before, by id.
    """
    fit = [_fits(state, known) for state in sent.widgets[:MOST_VALUES]]
    kept = [state for state, fits in zip(sent.widgets, fit, strict=False) if fits]
    wrong = [state.id for state, fits in zip(sent.widgets, fit, strict=False) if not fits]
    dropped = [user_key_from_element_id(name) or "" for name in wrong if name in known]
    if len(kept) < len(sent.widgets):
        sent.CopyFrom(WidgetStates(widgets=kept))
    if dropped:
        _log.warning("ignored a value of the wrong kind for %s", ", ".join(dropped))
    return dropped


def _is_of_kind(sent: WidgetState, known: dict[str, WidgetMetadata[Any]]) -> bool:
    """Whether a value is of the kind that its control takes, and not too long.

    A control that is not known yet may be of a page that is to be drawn; but a name that Streamlit gives to none would
    stop the run.
    """
    kind, metadata = sent.WhichOneof("value"), known.get(sent.id)
    if kind is None or sent.ByteSize() > (LONGEST_JSON if kind.startswith("json") else LONGEST_VALUE):
        return False
    if metadata is None:
        return sent.id.startswith((GENERATED_ELEMENT_ID_PREFIX, STREAMLIT_INTERNAL_KEY_PREFIX))
    return kind == metadata.value_type or NUMBERS.issuperset((kind, metadata.value_type))


def _fits(sent: WidgetState, known: dict[str, WidgetMetadata[Any]]) -> bool:
    """Whether a control can take a value: of its kind, not too long, and readable."""
    kind, metadata = sent.WhichOneof("value"), known.get(sent.id)
    if kind is None or not _is_of_kind(sent, known):
        return False
    if metadata is None:
        return True
    try:
        value = unpack_widget_state_value(sent)
        if kind.startswith("json"):
            _check_json(json.loads(value) if isinstance(value, str) else value)
        metadata.deserializer(value)
    except (ValueError, TypeError, ArithmeticError, LookupError, RecursionError):
        return False
    most = metadata.max_array_length
    return kind != "string_array_value" or most is None or len(value) <= most


def _check_json(value: Any, depth: int = 0) -> None:
    """Raises ValueError for what would stop a page later: too deep, not finite, or text that is not Unicode."""
    if isinstance(value, (dict, list)) and depth == DEEPEST_JSON:
        raise ValueError("lists within lists")
    parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    for part in parts:
        _check_json(part, depth + 1)
    if not parts:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


# ------------------------------------------------------------------------------------------- the log


def filter_log(entries: logging.Filter) -> None:
    """Lets Streamlit and its server log only what the filter lets pass, in the loggers that it makes later, too."""
    set_up: Callable[[logging.Logger], None] = logger.setup_formatter

    def set_up_filtered(made: logging.Logger) -> None:
        set_up(made)
        made.addFilter(entries)

    logger.setup_formatter = set_up_filtered
    for made in logger._loggers.values():
        made.addFilter(entries)
