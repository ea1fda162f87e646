"""Messages that no browser sends: values of the wrong kind, of no control, beyond every bound, and enormous."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState

from tests.load.client import Client

HUGE = 100_000  # characters; more of them would keep the test's own process busy
SURROGATE = (
    '{"click": {"panel": "\\ud800", "action": "cell", "index": [0]}, "step": "\\ud800", "code": "\\ud800"}'
)
JSONS = (
    "[" * 100_000,
    '{"click": ' + '{"a": ' * 400 + "1" + "}" * 401,
    '{"click": null, "step": NaN, "code": 5}',
    '{"click": {"panel": 1, "action": [], "index": [1e999]}, "step": -7, "code": ["x"]}',
    '{"step": "x", "code": {"a": "b"}}',
    SURROGATE,
    '{"code": "' + "🦊" * 1_900 + '"}',
    '[{"event": "code", "value": "' + "🦊" * 1_900 + '"}]',
    "null",
    "7",
    "",
    "x" * HUGE,
    '[{"event": "click", "value": 5}, {"event": "code", "value": 5}]',
    '[{"event": "click"}, {"event": "code", "value": {}}, {"event": 1}, 5]',
)


def values() -> Iterator[WidgetState]:
    """A state for each hostile value, without an id."""
    for number in (0, -1, 10**18, -(2**63)):
        yield WidgetState(int_value=number)
    for number in (0.5, math.nan, math.inf, -1e308, 1e308):
        yield WidgetState(double_value=number)
        yield _listed("double_array_value", [number])
        yield _listed("double_array_value", [number, number])
    for text in ("", "no such option", "NaN", "🦊" * 50, "[" * 50_000, "{" * 50, "9" * 5_000, "x" * HUGE):
        yield WidgetState(string_value=text)
        yield _listed("string_array_value", [text])
    for many in ([], ["x"] * 50_000, ["none", "none", "none"]):
        yield _listed("string_array_value", many)
    yield _listed("double_array_value", [])
    yield _listed("double_array_value", [1.0] * 50_000)
    yield _listed("int_array_value", [2**62])
    yield WidgetState(bool_value=True)
    yield WidgetState(bytes_value=b"\xff" * 1_000)
    yield WidgetState()
    for text in JSONS:
        yield WidgetState(json_value=text)
        yield WidgetState(json_trigger_value=text)
    for field in ("file_uploader_state_value", "arrow_value", "string_trigger_value", "chat_input_value"):
        state = WidgetState()
        getattr(state, field).SetInParent()
        yield state


def _listed(field: str, listed: list) -> WidgetState:
    state = WidgetState()
    getattr(state, field).data.extend(listed)
    return state


def ids(client: Client) -> list[str]:
    """The ids of the page's controls, of the events of its components, and some of no control."""
    own = list(client.widgets)
    events = [f"$$STREAMLIT_INTERNAL_KEY_{name}__events" for name in own]
    return [*own, *events, "", "$$ID-", "$$ID-0-None", "seq_len", "_shown", "x" * 1_000]


VALUES = tuple(values())
ROUNDS = len(VALUES)


def messages(client: Client, first: int = 0) -> Iterator[BackMsg]:
    """Hostile messages for the page on the screen, without end.

    Each has a hostile value for each control of the page, so that after ROUNDS of them each control was sent each
    value; every eighth one names only what does not exist. first: the turn to begin with.
    """
    for turn in itertools.count(first):
        yield client.message(round_of(client, turn), fragment_of(client, turn))
        if turn % 7 == 6:
            yield _of_nothing(client, turn // 7)


def round_of(client: Client, turn: int) -> list[WidgetState]:
    """A hostile value for each id: that of this turn, shifted by one from id to id."""
    states = []
    for place, name in enumerate(ids(client)):
        state = WidgetState()
        state.CopyFrom(VALUES[(turn + place) % ROUNDS])
        state.id = name
        states.append(state)
    return states


def fragment_of(client: Client, turn: int) -> str:
    """By turns the whole page and the fragment of its last control."""
    return list(client.widgets.values())[-1][1] if client.widgets and turn % 2 else ""


def _of_nothing(client: Client, turn: int) -> BackMsg:
    message = BackMsg()
    match turn % 7:
        case 0:
            message.clear_cache = True
        case 1:
            message.load_git_info = True
        case 2:
            message.set_run_on_save = True
        case 3:
            message.file_urls_request.request_id = "x"
            message.file_urls_request.file_names.extend(["x"] * 1_000)
        case 4:
            message.backend_operation_request.request_id = "x" * 10_000
        case 5:
            huge = [WidgetState(id=name, string_value="x" * 2_000_000) for name in ids(client)[:1]]
            message = client.message(huge)
        case _:
            message = client.message(fragment="x" * 10_000)
            message.rerun_script.page_script_hash = "no such page"
    return message
