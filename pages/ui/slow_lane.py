"""A lane for readers whose browser sends nonsense: their pages run one after another, so that nobody else waits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

MessageT = TypeVar("MessageT")

FORGIVEN_AFTER = 10.0  # seconds without nonsense after which a reader leaves the lane
MOST_A_SECOND = 15  # messages of one reader; no hand is that quick
GAP = 0.5  # seconds between two runs in the lane, which all in it share
REMEMBERED = 1_000  # readers; the oldest are forgotten


class SlowLane(Generic[MessageT]):
    """Holds back what some readers send, one message of each; a later one is merged into it, so that nothing is lost.

    handle: runs a message. merge: of an earlier and a later message of one reader, what both ask for.
    """

    def __init__(self, merge: Callable[[MessageT, MessageT], MessageT]) -> None:
        self._merge = merge
        self._lock = threading.Lock()  # of _until
        self._until: dict[str, float] = {}  # reader -> when the lane is left
        self._second: dict[str, tuple[int, int]] = {}  # reader -> a second, and the messages in it
        self._waiting: dict[str, tuple[MessageT, Callable[[MessageT], None]]] = {}
        self._is_open = True

    def enter(self, reader: str) -> None:
        """Puts a reader into the lane. May be called from any thread."""
        with self._lock:
            self._until.pop(reader, None)
            self._until[reader] = time.monotonic() + FORGIVEN_AFTER
            if len(self._until) > REMEMBERED:
                del self._until[next(iter(self._until))]

    def handle(self, reader: str, message: MessageT, handle: Callable[[MessageT], None]) -> None:
        """Handles a message, at once or in its turn. Called from the thread of the server's event loop."""
        self._count(reader)
        if reader in self._waiting:
            before, _ = self._waiting[reader]
            self._waiting[reader] = (self._merge(before, message), handle)
        elif self._until.get(reader, 0.0) < time.monotonic():
            handle(message)
        else:
            self._waiting[reader] = (message, handle)
            if self._is_open:
                self._next()

    def _count(self, reader: str) -> None:
        now = int(time.monotonic())
        second, sent = self._second.pop(reader, (now, 0))
        self._second[reader] = (now, sent + 1 if second == now else 1)
        if self._second[reader][1] > MOST_A_SECOND:
            self.enter(reader)
        if len(self._second) > REMEMBERED:
            del self._second[next(iter(self._second))]

    def _next(self) -> None:
        """Handles what has waited longest, and closes the lane for the gap after it."""
        self._is_open = not self._waiting
        if self._waiting:
            reader = next(iter(self._waiting))
            message, handle = self._waiting.pop(reader)
            asyncio.get_running_loop().call_later(GAP, self._next)
            handle(message)
