"""What a control cannot take is dropped before a page sees it, and what it can take is not."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState, WidgetStates
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.state.common import WidgetMetadata
from streamlit.runtime.state.session_state import SessionState

from pages.ui import streamlit_internals

NAME = "$$ID-0123-size"
DEEP = "[" * 200 + "]" * 200


@pytest.fixture(autouse=True)
def checked() -> None:
    streamlit_internals.check_messages()


def control(kind: Any, most: int | None = None) -> WidgetMetadata[Any]:
    """A control that holds "default" until it is sent something."""
    return WidgetMetadata(
        NAME,
        deserializer=lambda value: "default" if value is None else value,
        serializer=lambda value: value,
        value_type=kind,
        max_array_length=most,
    )


def message(**value: Any) -> WidgetStates:
    return WidgetStates(widgets=[WidgetState(id=NAME, **value)])


def texts(*listed: str) -> WidgetStates:
    states = WidgetStates(widgets=[WidgetState(id=NAME)])
    states.widgets[0].string_array_value.data.extend(listed)
    return states


GOOD = [
    ("string_value", message(string_value="abc"), "abc"),
    ("double_value", message(double_value=0.5), 0.5),
    ("double_value", message(int_value=5), 5),  # the browser tells whole numbers so
    ("bool_value", message(bool_value=False), False),
    ("trigger_value", message(trigger_value=True), True),
    ("string_array_value", texts("a", "b"), ["a", "b"]),
    ("json_value", message(json_value='{"step": 3}'), {"step": 3}),
]
BAD = [
    ("string_value", message(int_value=5)),
    ("string_value", message()),
    ("string_value", message(string_value="x" * 9_000_000)),
    ("double_value", message(string_value="5")),
    ("bool_value", message(trigger_value=True)),
    ("string_array_value", message(string_value="abc")),
    ("string_array_value", texts("a", "b", "c")),
    ("double_array_value", texts("a")),
    ("json_value", message(json_value="{")),
    ("json_value", message(json_value=DEEP)),
    ("json_value", message(json_value='{"step": NaN}')),
    ("json_value", message(json_value='{"step": "\\ud800"}')),
    ("json_trigger_value", message(json_trigger_value='[{"value": ' + DEEP + "}]")),
    ("json_trigger_value", message(json_value="[]")),
]


@pytest.mark.parametrize(("kind", "sent", "held"), GOOD)
def test_what_fits_arrives(kind: str, sent: WidgetStates, held: Any) -> None:
    state = SessionState()
    state.register_widget(control(kind, most=2), "size")
    state.set_widgets_from_proto(WidgetStates.FromString(sent.SerializeToString()))
    got = state["size"]
    assert (list(got) if isinstance(held, list) else got) == held
    assert state["_dropped_values"] == []


@pytest.mark.parametrize(("kind", "sent"), BAD)
def test_what_does_not_fit_counts_as_not_sent(kind: str, sent: WidgetStates) -> None:
    state = SessionState()
    state.register_widget(control(kind, most=2), "size")
    state.set_widgets_from_proto(WidgetStates.FromString(sent.SerializeToString()))
    assert state["size"] == "default"
    assert state["_dropped_values"] == ["size"]


@pytest.mark.parametrize(("kind", "sent"), BAD)
def test_a_control_that_is_drawn_later_is_safe_too(kind: str, sent: WidgetStates) -> None:
    state = SessionState()
    state.set_widgets_from_proto(WidgetStates.FromString(sent.SerializeToString()))
    assert state.register_widget(control(kind, most=2), "size").value == "default"


def test_a_returning_browser_tells_what_controls_held_before_they_are_drawn() -> None:
    state = SessionState()
    state.set_widgets_from_proto(message(string_value="abc"))
    assert state.register_widget(control("string_value"), "size").value == "abc"


@pytest.mark.parametrize("name", ["", "size", "_shown", "x" * 1_000])
def test_a_name_that_no_control_has_does_not_stop_the_page(name: str) -> None:
    state = SessionState()
    state.set_widgets_from_proto(WidgetStates(widgets=[WidgetState(id=name, string_value="x")]))
    assert state.filtered_state == {"_dropped_values": []}


@pytest.mark.parametrize("kind", ["clear_cache", "load_git_info", "set_run_on_save"])
def test_no_reader_clears_the_cache_of_all(kind: str) -> None:
    session, message = mock.Mock(spec=AppSession, id="a session"), BackMsg()
    setattr(message, kind, True)
    AppSession.handle_backmsg(session, message)
    assert not session.method_calls


def test_what_pages_send_is_handled() -> None:
    session = mock.Mock(spec=AppSession, id="a session")
    AppSession.handle_backmsg(session, BackMsg(app_heartbeat=True))
    assert session.method_calls == [mock.call._handle_app_heartbeat_request()]


def test_a_message_with_a_crowd_of_values_costs_no_more_than_a_page() -> None:
    crowd = WidgetStates(
        widgets=[WidgetState(id=f"$$ID-{number}-x", int_value=1) for number in range(50_000)]
    )
    state = SessionState()
    state.set_widgets_from_proto(crowd)
    assert len(state._new_widget_state) <= streamlit_internals.MOST_VALUES


def test_two_messages_in_the_slow_lane_keep_both_clicks_and_the_later_value() -> None:
    earlier, later = BackMsg(), BackMsg()
    for message, button, size in ((earlier, "a", 1), (later, "b", 2)):
        states = message.rerun_script.widget_states.widgets
        states.extend([WidgetState(id=button, trigger_value=True), WidgetState(id=NAME, int_value=size)])
        message.rerun_script.fragment_id = "f"
    earlier.rerun_script.is_history_navigation = True
    merged = streamlit_internals._merged(earlier, later).rerun_script
    held = {state.id: state for state in merged.widget_states.widgets}
    assert held["a"].trigger_value
    assert held["b"].trigger_value
    assert held[NAME].int_value == 2
    assert merged.fragment_id == "f"
    assert merged.is_history_navigation


def test_two_messages_for_different_parts_run_the_whole_page() -> None:
    earlier, later = BackMsg(), BackMsg()
    earlier.rerun_script.fragment_id, later.rerun_script.fragment_id = "f", "g"
    assert streamlit_internals._merged(earlier, later).rerun_script.fragment_id == ""
