"""A lecture hall: many readers on one server, each moving a slider every few seconds.

    python -m tests.load.lecture [--readers 60] [--seconds 30]

It starts the site on this machine and talks to it as a browser does: Streamlit's own messages over a websocket. Each
reader opens the flash attention page and then moves a slider of it about every five seconds, as if a lecturer had
said "try another block size". Printed: how long a rerun takes from the sent slider to the end of the script, what
the server's memory does, and errors. Ends by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.Slider_pb2 import Slider

from tests.browser.site import Site, serve

PAGE = "flash_attention"
PAUSE = 5.0  # seconds between two moves of one reader, on average
PATIENCE = 60.0  # seconds after which a rerun counts as lost
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
class Session:
    """One reader's connection. sliders: of the page, with the fragment that each runs; values: as they stand."""

    socket: websockets.ClientConnection
    tally: Tally
    sliders: dict[str, tuple[Slider, str]] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    page_hash: str = ""

    async def move(self, dice: random.Random) -> float:
        """Moves one slider somewhere; the seconds until the page, or the slider's fragment, has run again."""
        slider, fragment = dice.choice(list(self.sliders.values()))
        place = dice.randint(0, round((slider.max - slider.min) / slider.step))
        self.values[slider.id] = _value(slider, slider.min + slider.step * place)
        return await self.run(fragment)

    async def run(self, fragment: str = "") -> float:
        """Runs the page with the sliders as they stand; the seconds until the script has finished."""
        message = BackMsg()
        state = message.rerun_script
        state.page_script_hash, state.fragment_id = self.page_hash, fragment
        if not self.page_hash:
            state.page_name = PAGE
        for name, value in self.values.items():
            widget = state.widget_states.widgets.add(id=name)
            if isinstance(value, str):
                widget.string_array_value.data.append(value)
            else:
                widget.double_array_value.data.append(value)
        started = time.perf_counter()
        await self.socket.send(message.SerializeToString())
        await asyncio.wait_for(self._until_finished(), PATIENCE)
        return time.perf_counter() - started

    async def _until_finished(self) -> None:
        while True:
            data = await self.socket.recv()
            self.tally.received += len(data)
            message = ForwardMsg.FromString(data if isinstance(data, bytes) else data.encode())
            match message.WhichOneof("type"):
                case "new_session":
                    self.page_hash = message.new_session.page_script_hash
                case "delta":
                    self._notice(message)
                case "script_finished":
                    return

    def _notice(self, message: ForwardMsg) -> None:
        element = message.delta.new_element
        match element.WhichOneof("type"):
            case "slider":
                slider = element.slider
                self.sliders[slider.id] = (slider, message.delta.fragment_id)
                if slider.set_value or slider.id not in self.values:
                    self.values[slider.id] = _shown(slider)
            case "exception":
                self.tally.errors.append(f"{element.exception.type}: {element.exception.message[:200]}")


def _value(slider: Slider, place: float) -> Value:
    """What a slider's thumb says at a place: its option, where it has options, or the number itself."""
    return slider.options[round(place)] if slider.type == Slider.SELECT_SLIDER else place


def _shown(slider: Slider) -> Value:
    """What a slider shows as the page sends it."""
    if slider.set_value:
        return slider.raw_value[0] if slider.type == Slider.SELECT_SLIDER else slider.value[0]
    return _value(slider, slider.default[0])


async def read(url: str, tally: Tally, seconds: float, dice: random.Random) -> None:
    """One reader: arrives some time in the first seconds, then moves sliders until the time is over."""
    await asyncio.sleep(dice.uniform(0, PAUSE))
    try:
        async with websockets.connect(
            url, subprotocols=[websockets.Subprotocol("streamlit")], max_size=None
        ) as socket:
            session = Session(socket, tally)
            tally.arrivals.append(await session.run())
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                await asyncio.sleep(dice.uniform(0.5, 1.5) * PAUSE)
                tally.reruns.append(await session.move(dice))
    except Exception as error:  # whatever happens to a reader is a finding
        tally.errors.append(f"{type(error).__name__}: {error}")


async def lecture(site: Site, readers: int, seconds: float) -> Tally:
    """All readers at once."""
    url = f"ws://{urlsplit(site.url).netloc}/_stcore/stream"
    assert urlsplit(url).hostname == "127.0.0.1"
    tally = Tally()
    await asyncio.gather(*(read(url, tally, seconds, random.Random(seat)) for seat in range(readers)))
    return tally


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
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder) / "server.log") as site:
        time.sleep(10)  # torch and the kernel's worker load
        before = site.memory()
        tally = asyncio.run(lecture(site, asked.readers, asked.seconds))
        after = site.memory()
        printed = site.printed()
    print(f"{asked.readers} readers for {asked.seconds} s, each moving a slider every {PAUSE:.0f} s")
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
