"""One reader whose messages are nonsense, and another who reads on: nobody else waits, no page breaks, nothing floods."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pages.ui.topics import TOPICS
from tests.browser.site import Site, serve
from tests.load import hostile
from tests.load.client import Client, connected
from tests.load.lecture import Session, _value as place

pytestmark = pytest.mark.slow

PAGES = sorted(topic.name for topic in TOPICS)
READ = "flash_attention"  # by the reader who is to notice nothing
PACE = 0.5  # seconds between two moves of that reader
MOVES = 24  # without the attacker, and as many with it
PER_SECOND = 20  # hostile messages
UNNOTICED = 0.15  # seconds that a move may always take: a shared machine is that uneven
WARMING = 8.0  # seconds in which torch and the kernel's worker load


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serve(tmp_path_factory.mktemp("site") / "server.log") as site:
        time.sleep(WARMING)
        yield site


async def moves(session: Session, dice: random.Random) -> list[float]:
    """The seconds that each of MOVES moves of a slider takes, between places whose pictures are in the cache."""
    taken = []
    slider, fragment = next(iter(session.sliders.values()))
    for move in range(MOVES):
        started = time.perf_counter()
        session.values[slider.id] = place(slider, slider.min + slider.step * (move % 4))
        taken.append(await session.run_as_it_is(fragment))
        await asyncio.sleep(max(0.0, started + PACE - time.perf_counter()))
    return taken


def p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


async def listen(client: Client) -> None:
    while True:
        await client.receive()


async def attack(clients: list[Client]) -> None:
    """Sends PER_SECOND hostile messages a second, from each page in turn, without waiting for an answer."""
    sent = [hostile.messages(client) for client in clients]
    started = time.perf_counter()
    for number in itertools.count():
        await clients[number // 2 % len(clients)].send(next(sent[number // 2 % len(clients)]))
        await asyncio.sleep(max(0.0, started + number / PER_SECOND - time.perf_counter()))


async def both(site: Site) -> tuple[list[float], list[float], list[Client]]:
    async with contextlib.AsyncExitStack() as stack:
        reader = await stack.enter_async_context(connected(site, READ, Session))
        clients = [await stack.enter_async_context(connected(site, page)) for page in PAGES]
        for client in [reader, *clients]:
            await client.run()
        dice = random.Random(0)
        await moves(reader, dice)
        alone = await moves(reader, dice)
        tasks = [asyncio.create_task(task) for task in (*map(listen, clients), attack(clients))]
        attacked = await moves(reader, dice)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for client in [reader,*clients]:
            print(client.page, client.errors[:3], client.received)
            await client.run()
            print(client.page, client.errors[:3], client.received, len(client.widgets),client.sentences)
    return alone, attacked, clients


def test_hostile(site: Site) -> None:
    alone, attacked, clients = asyncio.run(both(site))
    print(f"{p95(alone):.3f} {statistics.median(alone):.3f}  {p95(attacked):.3f} {statistics.median(attacked):.3f}")
    print(len(site.printed().splitlines()), site.printed()[-6000:])
