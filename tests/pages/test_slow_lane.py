"""The slow lane: who sends nonsense waits, everyone else does not, and nothing that was sent is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from pages.ui import slow_lane
from pages.ui.slow_lane import SlowLane

GAP = 0.05


class Server:
    """A lane for messages that are lists, merged by joining them; and when each was handled."""

    def __init__(self) -> None:
        self.lane: SlowLane[list[int]] = SlowLane(lambda earlier, later: earlier + later)
        self.handled: list[tuple[str, list[int], float]] = []

    def send(self, reader: str, *message: int) -> None:
        def handle(sent: list[int]) -> None:
            self.handled.append((reader, sent, asyncio.get_running_loop().time()))

        self.lane.handle(reader, list(message), handle)

    def of(self, reader: str) -> list[int]:
        return [number for sender, sent, _ in self.handled if sender == reader for number in sent]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_lane, "GAP", GAP)


def serve(script: Callable[[Server], Awaitable[None]]) -> Server:
    async def both() -> Server:
        server = Server()
        await script(server)
        await asyncio.sleep(5 * GAP)
        return server

    return asyncio.run(both())


def test_a_reader_outside_the_lane_waits_for_nobody() -> None:
    async def script(server: Server) -> None:
        server.lane.enter("rude")
        for number in range(5):
            server.send("rude", number)
            server.send("polite", number)
        assert server.of("polite") == list(range(5))

    serve(script)


def test_nothing_is_lost_and_runs_in_the_lane_keep_their_distance() -> None:
    async def script(server: Server) -> None:
        for reader in ("a", "b"):
            server.lane.enter(reader)
        for number in range(10):
            server.send("a", number)
            server.send("b", number)

    server = serve(script)
    assert server.of("a") == server.of("b") == list(range(10))
    assert len(server.handled) == 3  # the first at once, the others merged
    assert all(after[2] - before[2] > 0.9 * GAP for before, after in pairwise(server.handled))


def test_order_is_kept_when_the_lane_is_left_with_a_message_waiting() -> None:
    async def script(server: Server) -> None:
        server.lane.enter("a")
        server.send("a", 0)
        server.send("a", 1)
        server.lane._until.clear()
        server.send("a", 2)

    assert serve(script).of("a") == [0, 1, 2]


def test_a_reader_is_forgiven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_lane, "FORGIVEN_AFTER", 2 * GAP)

    async def script(server: Server) -> None:
        server.lane.enter("a")
        server.send("a", 0)
        await asyncio.sleep(4 * GAP)
        for number in (1, 2, 3):
            server.send("a", number)

    assert len(serve(script).handled) == 4


def test_a_flood_of_proper_messages_is_slowed_too() -> None:
    async def script(server: Server) -> None:
        for number in range(100):
            server.send("a", number)

    server = serve(script)
    assert server.of("a") == list(range(100))
    assert len(server.handled) <= 2 * slow_lane.MOST_A_SECOND + 3


def test_only_so_many_readers_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(server: Server) -> None:
        for number in range(3 * slow_lane.REMEMBERED):
            server.lane.enter(str(number))
            server.send(str(-number), 0)
        assert len(server.lane._until) <= slow_lane.REMEMBERED
        assert len(server.lane._second) <= slow_lane.REMEMBERED

    serve(script)
