"""The contract with Streamlit: what an upgrade broke, in words."""

from __future__ import annotations

import ast
import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit import logger
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.fragment import MemoryFragmentStorage
from streamlit.runtime.pages_manager import PagesManager
from streamlit.runtime.scriptrunner_utils import script_requests
from streamlit.runtime.scriptrunner_utils.script_run_context import ScriptRunContext
from streamlit.runtime.state.common import WidgetMetadata
from streamlit.runtime.state.session_state import SessionState, WStates
from streamlit.testing.v1 import AppTest

from pages.ui import streamlit_internals
from tests.pages.without_browser import open_page, sentences

ROOT = Path(__file__).parents[2]
INTERNAL = (
    "streamlit.runtime",
    "streamlit.components.v2",
    "streamlit.proto",
    "streamlit.web",
    "streamlit.elements",
)


def test_streamlit_is_as_we_know_it() -> None:
    broken = [
        words
        for holds, words in (
            (
                "is_history_navigation" in ScriptRunContext.__annotations__,
                "a run no longer says whether the browser's back made it: settings/address.py cannot follow it",
            ),
            (
                hasattr(PagesManager, "uses_pages_directory"),
                "the navigation by a folder named pages cannot be switched off: a page may run without app.py",
            ),
            (
                all(hasattr(PagesManager, name) for name in ("intended_page_name", "set_script_intent")),
                "the page that the address asks for cannot be read: unknown addresses get Streamlit's own dialog",
            ),
            (
                {"js", "css", "html"} <= set(inspect.signature(streamlit_internals.component).parameters),
                "components.v2 takes no js, css and html: neither the player nor 'Take it along' can be mounted",
            ),
            (hasattr(st, "App"), "st.App is gone: pages/ui/serve.py cannot warm up before the first reader"),
            (
                callable(getattr(MemoryFragmentStorage, "register", None)),
                "fragments are stored otherwise: the test of fragments in fragments sees none",
            ),
            (
                hasattr(AppTest, "switch_page") and "to_dict" in dir(type(st.session_state)),
                "a session cannot be read whole: settings/session.py compares what all controls say at once",
            ),
            (
                all(hasattr(SessionState, name) for name in ("set_widgets_from_proto", "register_widget"))
                and {"states", "widget_metadata"} <= {field.name for field in fields(WStates)}
                and {"value_type", "max_array_length"} <= {field.name for field in fields(WidgetMetadata)},
                "what a browser sends is not checked: a value of the wrong kind ends its page",
            ),
            (
                callable(getattr(AppSession, "handle_backmsg", None))
                and {field.name for field in BackMsg.DESCRIPTOR.fields} >= streamlit_internals.OUR_MESSAGES,
                "messages cannot be told apart: any reader can clear the cache of all",
            ),
            (
                callable(getattr(script_requests, "_coalesce_widget_states", None)),
                "two messages cannot be made one: a reader in the slow lane loses clicks",
            ),
            (
                callable(getattr(logger, "setup_formatter", None)) and isinstance(logger._loggers, dict),
                "Streamlit's loggers cannot be found: a flood of messages floods the log",
            ),
        )
        if not holds
    ]
    assert not broken


def test_each_run_has_its_own_mark() -> None:
    def script() -> None:
        import streamlit as st

        from pages.ui.streamlit_internals import this_run

        assert this_run() is this_run()
        st.session_state.setdefault("marks", []).append(this_run())

    [first, second] = AppTest.from_function(script).run().run().session_state["marks"]
    assert first is not second, "runs cannot be told apart: settings/session.py settles too seldom"


def imported(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
    return names


def test_private_parts_are_used_from_one_file_only() -> None:
    files = [ROOT / "app.py", *(ROOT / "pages").rglob("*.py")]
    users = {path.name for path in files if any(name.startswith(INTERNAL) for name in imported(path))}
    assert users == {"streamlit_internals.py"}


@pytest.mark.parametrize("name", ["nonsense", "kv_cach", "flash_attention/x"])
def test_outside_of_a_run_nothing_is_asked_for(name: str) -> None:
    assert streamlit_internals.requested_page() == ""
    assert streamlit_internals.show_default_page_unless({name}) == ""
    assert not streamlit_internals.walked_through_history()


def test_a_page_that_is_known_has_no_such_sentence() -> None:
    assert not [line for line in sentences(open_page("pages/home.py")) if "There is no page" in line]


def test_controls_say_what_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """A control whose declared kind is not what its browser side sends would never be heard."""

    def script() -> None:
        import streamlit as st

        st.number_input("a", 0, 9, key="whole")
        st.number_input("a", 0.0, 9.0, key="decimal")
        st.slider("a", 0, 9, key="slider")
        st.select_slider("a", [1, 2], key="stepped")
        st.text_input("a", key="text")
        st.segmented_control("a", ["x"], key="choice")
        st.selectbox("a", ["x"], key="list")
        st.multiselect("a", ["x"], key="several")
        st.button("a", key="button")

    kinds = {}
    register = SessionState.register_widget

    def noted(state: SessionState, metadata: WidgetMetadata[Any], key: str | None) -> Any:
        kinds[key] = metadata.value_type
        return register(state, metadata, key)

    monkeypatch.setattr(SessionState, "register_widget", noted)
    AppTest.from_function(script).run()
    assert kinds == {
        "whole": "double_value",
        "decimal": "double_value",
        "slider": "double_array_value",
        "stepped": "string_array_value",
        "text": "string_value",
        "choice": "string_array_value",
        "list": "string_value",
        "several": "string_array_value",
        "button": "trigger_value",
    }
