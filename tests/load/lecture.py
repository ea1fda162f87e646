"""A lecture hall: many readers on one server, each moving a slider every few seconds.

    python -m tests.load.lecture [--page grid_world] [--readers 60] [--seconds 30]

It starts the site on this machine and talks to it as a browser does: Streamlit's own messages over a websocket. Each
reader opens the page and then moves a slider of it about every five seconds, as if a lecturer had said "try another
block size". Printed: how long a rerun takes from the sent slider to the end of the script, the server's processor time
for it and the share of it that settles the settings (tests/load/measured.py), what the server's memory does, and
errors. Then one reader moves a slider to and fro between two places whose pictures are in the cache. Ends on its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.Slider_pb2 import Slider
from streamlit.proto.WidgetStates_pb2 import WidgetState

from pages.ui.topics import TOPICS
from tests.browser.site import Site, serve
from tests.load.client import Client, connected

PAGES = ("flash_attention", *sorted(topic.name for topic in TOPICS if topic.name != "flash_attention"))
TO_AND_FRO = 40  # moves between two places whose pictures are in the cache
WARMING = 15.0  # seconds in which torch and the kernel's worker load, and the agents are compiled
PAUSE = 5.0  # seconds between two moves of one reader, on average
MOST_READERS = 300
MOST_SECONDS = 300

Value = str | float


@dataclass
class Tally:
    """What all readers saw. arrivals, reruns: seconds each."""

    arrivals: list[float] = field(default_factory=list)
    reruns: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    received: int = 0


@dataclass
class Session(Client):
    """One reader's connection. sliders: of the page, with the fragment that each runs; values: as they stand."""

    sliders: dict[str, tuple[Slider, str]] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)

    async def move(self, dice: random.Random) -> float:
        """Moves one slider somewhere; the seconds until the page, or the slider's fragment, has run again."""
        slider, fragment = dice.choice(list(self.sliders.values()))
        self.put(slider, dice.randint(0, round((slider.max - slider.min) / slider.step)))
        return await self.run_as_it_is(fragment)

    def put(self, slider: Slider, place: int) -> None:
        """Puts a slider to one of its places, counted from the least; the next run tells the server."""
        self.values[slider.id] = _value(slider, slider.min + slider.step * place)

    async def run_as_it_is(self, fragment: str = "") -> float:
        """Runs the page with the sliders as they are; the seconds until the script has finished."""
        return await self.run([_state(name, value) for name, value in self.values.items()], fragment)

    def notice(self, message: ForwardMsg) -> None:
        super().notice(message)
        element = message.delta.new_element
        if element.WhichOneof("type") == "slider":
            slider = element.slider
            self.sliders[slider.id] = (slider, message.delta.fragment_id)
            if slider.set_value or slider.id not in self.values:
                self.values[slider.id] = shown(slider)


def _state(name: str, value: Value) -> WidgetState:
    """A slider's place as the browser sends it."""
    state = WidgetState(id=name)
    if isinstance(value, str):
        state.string_array_value.data.append(value)
    else:
        state.double_array_value.data.append(value)
    return state


def _value(slider: Slider, place: float) -> Value:
    """What a slider's thumb says at a place: its option, where it has options, or the number itself."""
    return slider.options[round(place)] if slider.type == Slider.SELECT_SLIDER else place


def shown(slider: Slider) -> Value:
    """What a slider shows as the page sends it."""
    if slider.set_value:
        return slider.raw_value[0] if slider.type == Slider.SELECT_SLIDER else slider.value[0]
    return _value(slider, slider.default[0])


async def read(site: Site, tally: Tally, page: str, seconds: float, dice: random.Random) -> None:
    """One reader: arrives some time in the first seconds, then moves sliders until the time is over."""
    await asyncio.sleep(dice.uniform(0, PAUSE))
    try:
        async with connected(site, page, Session) as session:
            try:
                await _move_until(time.perf_counter() + seconds, session, tally, dice)
            finally:
                tally.received += session.received
                tally.errors += session.errors
    except Exception as error:  # whatever happens to a reader is a finding
        tally.errors.append(f"{type(error).__name__}: {error}")


async def _move_until(end: float, session: Session, tally: Tally, dice: random.Random) -> None:
    tally.arrivals.append(await session.run_as_it_is())
    while time.perf_counter() < end:
        await asyncio.sleep(dice.uniform(0.5, 1.5) * PAUSE)
        tally.reruns.append(await session.move(dice))


async def lecture(site: Site, page: str, readers: int, seconds: float) -> Tally:
    """All readers at once."""
    tally = Tally()
    seats = (read(site, tally, page, seconds, random.Random(seat)) for seat in range(readers))
    await asyncio.gather(*seats)
    return tally


async def to_and_fro(site: Site, page: str, clocks: Path) -> float:
    """Seconds of the server's processor for a slider move whose picture is cached, over TO_AND_FRO moves."""
    async with connected(site, page, Session) as session:
        await session.run_as_it_is()
        slider, fragment = next(iter(session.sliders.values()))
        before = 0.0
        for move in range(TO_AND_FRO + 4):
            if move == 4:  # both pictures are in the cache
                before = read_clocks(clocks)["cpu"]
            session.put(slider, move % 2)
            await session.run_as_it_is(fragment)
    return (read_clocks(clocks)["cpu"] - before) / TO_AND_FRO


def read_clocks(path: Path) -> dict[str, float]:
    """What the server's clocks say, once they have been written again."""
    seen = path.stat().st_mtime_ns
    while path.stat().st_mtime_ns == seen:
        time.sleep(0.02)
    return json.loads(path.read_text())


def milliseconds(times: list[float]) -> str:
    if len(times) < 2:
        return "too few to tell"
    cuts = statistics.quantiles(times, n=20)
    return f"p50 {statistics.median(times) * 1e3:.0f} ms, p95 {cuts[-1] * 1e3:.0f} ms, of {len(times)}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--readers", type=int, default=60, choices=range(1, MOST_READERS + 1), metavar="N")
    parser.add_argument("--seconds", type=int, default=30, choices=range(1, MOST_SECONDS + 1), metavar="S")
    parser.add_argument("--page", default=PAGES[0], choices=PAGES)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clocks = Path(folder) / "clocks.json"
        script = "tests/load/measured.py"
        with serve(Path(folder) / "server.log", script=script, LANTERN_CLOCKS=str(clocks)) as site:
            time.sleep(WARMING)
            before, started = site.memory(), read_clocks(clocks)
            tally = asyncio.run(lecture(site, asked.page, asked.readers, asked.seconds))
            after, ended = site.memory(), read_clocks(clocks)
            cached = asyncio.run(to_and_fro(site, asked.page, clocks))
            printed = site.printed()
    used = {name: ended[name] - started[name] for name in ended}
    runs = len(tally.arrivals) + len(tally.reruns)
    print(
        f"{asked.page}: {asked.readers} readers for {asked.seconds} s, each moving a slider every {PAUSE:.0f} s"
    )
    print(f"server        {used['cpu'] / max(runs, 1) * 1e3:.1f} ms of processor a run, {runs} runs")
    print(f"settling      {used['settle'] / used['cpu']:.1%} of the server's processor time")
    print(f"cached move   {cached * 1e3:.1f} ms of processor")
    print(f"page opened   {milliseconds(tally.arrivals)}")
    print(f"slider moved  {milliseconds(tally.reruns)}")
    print(f"sent          {tally.received / 2**20:.0f} MiB to all readers")
    print(f"memory        {before / 2**20:.0f} MiB before, {after / 2**20:.0f} MiB after")
    print(f"errors        {len(tally.errors)}, tracebacks in the server's log {printed.count('Traceback')}")
    for error in sorted(set(tally.errors))[:10]:
        print(f"              {error}")
    if "Traceback" in printed:
        print(f"the log ends with\n{printed[-3000:]}")


if __name__ == "__main__":
    main()
