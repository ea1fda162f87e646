"""A browser's side of Streamlit's protocol: what a page sends, remembered, and messages of any kind to the server."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState

from tests.browser.site import Site

ClientT = TypeVar("ClientT", bound="Client")
PATIENCE = 60.0  # seconds after which a rerun counts as lost


@dataclass
class Client:
    """One connection. page: its address.

    widgets: by id, what the server said of each control, and the fragment that it runs. sentences: the plain texts on
    the page, each with the fragment that drew it. errors: every exception that a run has shown. received: bytes.
    """

    socket: websockets.ClientConnection
    page: str
    widgets: dict[str, tuple[Any, str]] = field(default_factory=dict)
    sentences: list[tuple[str, str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    page_hash: str = ""
    received: int = 0

    def message(self, states: Iterable[WidgetState] = (), fragment: str = "", query: str = "") -> BackMsg:
        """The message that runs the page, or a fragment of it, with these states of controls."""
        message = BackMsg()
        rerun = message.rerun_script
        rerun.page_script_hash, rerun.fragment_id, rerun.query_string = self.page_hash, fragment, query
        if not self.page_hash:
            rerun.page_name = self.page
        rerun.widget_states.widgets.extend(states)
        return message

    async def send(self, message: BackMsg) -> None:
        await self.socket.send(message.SerializeToString())

    async def run(self, states: Iterable[WidgetState] = (), fragment: str = "", query: str = "") -> float:
        """Runs the page; the seconds until the script has finished."""
        started = time.perf_counter()
        await self.send(self.message(states, fragment, query))
        await asyncio.wait_for(self.until_finished(), PATIENCE)
        return time.perf_counter() - started

    async def until_finished(self) -> None:
        """Notices what the server sends until a run of the script ends that no other one follows."""
        while True:
            message = await self.receive()
            ended = message.WhichOneof("type") == "script_finished"
            if ended and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                return

    async def receive(self) -> ForwardMsg:
        """The next message of the server, noticed."""
        data = await self.socket.recv()
        self.received += len(data)
        message = ForwardMsg.FromString(data if isinstance(data, bytes) else data.encode())
        match message.WhichOneof("type"):
            case "new_session":
                self.page_hash = message.new_session.page_script_hash
                self._start(set(message.metadata.run.fragment_ids))
            case "navigation":
                self.page_hash = message.navigation.page_script_hash
            case "delta":
                self.notice(message)
            case "session_event" if (
                message.session_event.WhichOneof("type") == "script_compilation_exception"
            ):
                self.errors.append(message.session_event.script_compilation_exception.message)
        return message

    def _start(self, drawn_again: set[str]) -> None:
        """Forgets what a run draws again. drawn_again: fragments; empty for the whole page."""
        if not drawn_again:
            self.widgets.clear()
        self.sentences = [
            (text, fragment)
            for text, fragment in self.sentences
            if drawn_again and fragment not in drawn_again
        ]

    def notice(self, message: ForwardMsg) -> None:
        """Remembers an element of the page."""
        element, fragment = message.delta.new_element, message.delta.fragment_id
        kind = element.WhichOneof("type")
        if kind is None:
            return
        drawn = getattr(element, kind)
        if kind == "exception":
            self.errors.append(f"{drawn.type}: {drawn.message[:200]}")
        elif kind == "text":
            self.sentences.append((drawn.body, fragment))
        elif getattr(drawn, "id", "").startswith("$$"):
            self.widgets[drawn.id] = (drawn, fragment)


@contextlib.asynccontextmanager
async def connected(site: Site, page: str, kind: type[ClientT] = Client) -> AsyncIterator[ClientT]:
    """A connection to the server, before the page is opened. kind: what notices more than a Client does."""
    url = f"ws://{urlsplit(site.url).netloc}/_stcore/stream"
    assert urlsplit(url).hostname == "127.0.0.1"
    subprotocols = [websockets.Subprotocol("streamlit")]
    async with websockets.connect(url, subprotocols=subprotocols, max_size=None) as socket:
        yield kind(socket, page)
