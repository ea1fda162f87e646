"""One reader sends nonsense and another reads on: nobody else waits, no page breaks, and the log stays short."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from pages.ui.topics import TOPICS
from tests.browser.site import Site, serve
from tests.load import hostile
from tests.load.client import Client, connected
from tests.load.lecture import Session

pytestmark = pytest.mark.slow

PAGES = sorted(topic.name for topic in TOPICS)
READ = "flash_attention"  # by the reader who is to notice nothing
PACE = 0.5  # seconds between two moves of that reader
MOVES = 24  # without the attacker, and as many with it
PER_SECOND = 20  # hostile messages
UNNOTICED = 0.15  # seconds that a move may always take: a shared machine is that uneven
WARMING = 8.0  # seconds in which torch and the kernel's worker load
LINES = 12  # of the log for a minute of attack


@dataclass
class Attacked:
    """What happened. alone, attacked: seconds of each move, before and during the attack. broken: by page."""

    alone: list[float]
    attacked: list[float]
    broken: dict[str, list[str]]
    lines: list[str]

    def __str__(self) -> str:
        alone, attacked = (
            f"p50 {statistics.median(times) * 1e3:.0f} ms, p95 {p95(times) * 1e3:.0f} ms"
            for times in (self.alone, self.attacked)
        )
        return f"alone {alone}; attacked {attacked}; {len(self.lines)} lines in the log"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serve(tmp_path_factory.mktemp("site") / "server.log") as site:
        time.sleep(WARMING)
        yield site


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


async def listen(client: Client) -> None:
    while True:
        await client.receive()


async def attack(clients: list[Client]) -> None:
    """Sends PER_SECOND hostile messages a second, from each page in turn, without waiting for an answer."""
    pages = [hostile.messages(client) for client in clients]
    started = time.perf_counter()
    for number in itertools.count():
        page = number % len(clients)
        await clients[page].send(next(pages[page]))
        await asyncio.sleep(max(0.0, started + number / PER_SECOND - time.perf_counter()))


async def attacked(site: Site) -> Attacked:
    """Measures a reader's moves before and during an attack, and opens the attacker's pages again after it."""
    async with contextlib.AsyncExitStack() as stack:
        reader = await stack.enter_async_context(connected(site, READ, Session))
        clients = [await stack.enter_async_context(connected(site, page)) for page in PAGES]
        await reader.run_as_it_is()
        for client in clients:
            await client.run()
        alone, before = await moves(reader), len(site.printed().splitlines())
        tasks = [asyncio.create_task(task) for task in (*map(listen, clients), attack(clients))]
        during = await moves(reader)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        broken = {client.page: client.errors for client in (reader, *clients) if client.errors}
        broken |= {
            "attack": [repr(error) for error in ended if not isinstance(error, asyncio.CancelledError)]
        }
    return Attacked(alone, during, broken, site.printed().splitlines()[before:])


@pytest.fixture(scope="module")
def seen(site: Site) -> Attacked:
    return asyncio.run(attacked(site))


def test_nobody_else_waits(seen: Attacked) -> None:
    print(seen)
    assert p95(seen.attacked) <= max(2 * p95(seen.alone), UNNOTICED), str(seen)


def test_the_log_stays_short(seen: Attacked) -> None:
    print("\n".join(seen.lines))
    assert seen.lines
    assert len(seen.lines) <= LINES, seen.lines
    print(seen.broken)
