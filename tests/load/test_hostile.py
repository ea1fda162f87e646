"""One reader sends nonsense and another reads on: nobody else waits, no page breaks, and the log stays short."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import statistics
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from streamlit.proto.WidgetStates_pb2 import WidgetState

from pages.ui.slow_lane import GAP
from pages.ui.topics import TOPICS
from tests.browser.site import Site, serve
from tests.load import hostile
from tests.load.client import connected
from tests.load.lecture import Session, shown

PAGES = sorted(topic.name for topic in TOPICS)
READ = "flash_attention"  # by the reader who is to notice nothing
PACE = 0.5  # seconds between two moves of that reader
MOVES = 10  # of that reader, twice without the attacker and twice with it, by turns
PER_SECOND = 20  # hostile messages
UNNOTICED = 0.15  # seconds that a move may always take: a shared machine is that uneven
WARMING = 8.0  # seconds in which torch and the kernel's worker load
LINES = 6  # of the log, for all that time


@dataclass
class Seen:
    """What happened. alone, attacked: seconds of each move, without and during the attack. sent: hostile messages.

    wrong: what the attacker's pages did after it that they should not.
    """

    alone: list[float] = field(default_factory=list)
    attacked: list[float] = field(default_factory=list)
    sent: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        alone, attacked = (
            f"p50 {statistics.median(times) * 1e3:.0f} ms, p95 {p95(times) * 1e3:.0f} ms"
            for times in (self.alone, self.attacked)
        )
        return f"alone {alone}; during {self.sent} hostile messages {attacked}"


def p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


async def moves(reader: Session) -> list[float]:
    """The seconds that each of MOVES moves of a slider takes, between four places whose pictures are cached."""
    taken = []
    slider, fragment = next(iter(reader.sliders.values()))
    for number in range(-4, MOVES):
        started = time.perf_counter()
        reader.put(slider, number % 4)
        seconds = await reader.run_as_it_is(fragment)
        if number >= 0:
            taken.append(seconds)
            await asyncio.sleep(max(0.0, started + PACE - time.perf_counter()))
    return taken


async def listen(session: Session) -> None:
    while True:
        await session.receive()


async def attack(sessions: list[Session], seen: Seen) -> None:
    """Sends PER_SECOND hostile messages a second, from each page in turn, without waiting for an answer."""
    pages = [hostile.messages(session, seen.sent // len(sessions)) for session in sessions]
    started = time.perf_counter()
    for number in itertools.count():
        page = number % len(sessions)
        await sessions[page].send(next(pages[page]))
        seen.sent += 1
        await asyncio.sleep(max(0.0, started + number / PER_SECOND - time.perf_counter()))


@contextlib.asynccontextmanager
async def running(*tasks: asyncio.Task[None]) -> AsyncIterator[None]:
    """Ends the tasks at the end. Raises what one of them raised."""
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(ended, asyncio.CancelledError):
                raise ended or RuntimeError("a task ended by itself")


async def use(session: Session) -> list[str]:
    """What is wrong with a page that is sent two proper moves of its first slider, and a value of the wrong kind."""
    name, (slider, fragment) = next(iter(session.sliders.items()))
    wrong = []
    for place in (1, 0):
        session.put(slider, place)
        await session.run_as_it_is(fragment)
        if (held := shown(session.sliders[name][0])) != session.values[name]:
            wrong.append(f"{slider.label} was moved to {session.values[name]} and shows {held}")
    await session.run([WidgetState(id=name, string_value="5")])
    told = [text for text, _ in session.sentences if "received a value" in text]
    if len(told) != 1 or not told[0].startswith(
        f"{slider.label} received a value that it cannot take; allowed: "
    ):
        wrong.append(f"of {slider.label} = '5' it says {told}")
    return [f"{session.page}: {words}" for words in [*wrong, *session.errors]]


async def watch(site: Site) -> Seen:
    """Measures a reader's moves without and during an attack, and uses the attacker's pages after it."""
    seen = Seen()
    async with contextlib.AsyncExitStack() as stack:
        sessions = [
            await stack.enter_async_context(connected(site, page, Session)) for page in (READ, *PAGES)
        ]
        for session in sessions:
            await session.run_as_it_is()
        reader, *attackers = sessions
        async with running(*(asyncio.create_task(listen(session)) for session in attackers)):
            for _ in range(2):
                seen.alone += await moves(reader)
                async with running(asyncio.create_task(attack(attackers, seen))):
                    seen.attacked += await moves(reader)
                await asyncio.sleep(GAP * len(attackers) + 1)  # until what waits in the slow lane has run
        for session in sessions:
            seen.wrong += await use(session)
    return seen


@pytest.mark.slow
def test_nonsense_from_one_reader_harms_nobody(tmp_path: Path) -> None:
    with serve(tmp_path / "server.log") as site:
        time.sleep(WARMING)
        before = len(site.printed().splitlines())
        seen = asyncio.run(watch(site))
        lines = site.printed().splitlines()[before:]
    print(seen)
    assert seen.sent > 0.8 * PER_SECOND * 2 * MOVES * PACE
    assert p95(seen.attacked) <= max(2 * p95(seen.alone), UNNOTICED), str(seen)
    assert not seen.wrong
    assert 0 < len(lines) <= LINES, lines


async def every_value(site: Site, page: str) -> list[str]:
    """What is wrong with a page after each of its controls was sent each hostile value, a run for each round."""
    async with connected(site, page, Session) as session:
        await session.run_as_it_is()
        for turn in range(hostile.ROUNDS):
            await session.run(hostile.round_of(session, turn))
        return await use(session)


@pytest.mark.exhaustive
@pytest.mark.parametrize("page", PAGES)
def test_every_control_takes_every_hostile_value(page: str, tmp_path: Path) -> None:
    with serve(tmp_path / "server.log") as site:
        time.sleep(WARMING)
        assert not asyncio.run(every_value(site, page))
        assert "Traceback" not in site.printed()
