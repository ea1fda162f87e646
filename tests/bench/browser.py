"""How quick the site is in Chromium, against the budgets: `python -m tests.bench.browser`.

Starts the site on this machine, waits ten seconds as a newcomer would find it, and measures in the page itself, with
the browser's own clock. The figures depend on what else the machine is doing, so its load is printed with them.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import BrowserType, Page, sync_playwright

from tests.browser.reader import TILES, Player, Reader
from tests.browser.site import CHROMIUM, FLAGS, INSTALL, ROOT, Site, serve

PAGE = "/flash_attention"
# Address, title of the scene, label of the page's first slider, and the budget for a new picture in ms.
SLIDERS = (
    (PAGE, TILES, "Sequence length", 250),
    ("/kv_cache", "The KV cache as the context grows", "Context", 200),
    ("/checkpointing", "Checkpointing a chain", "Layers", 150),
    ("/packing", "", "Capacity", 200),
    ("/stochastic_approximation?chapter=search", "The root of a function seen through noise", "c", 150),
)
WIDE = "/".join(["S24.", *["25."] * 23, "24.T"])  # a world of 25 x 25 cells
VISITS = 5
MOST_VALUES = 20  # that a slider is moved to, each twice
FRAMES = 120

WARM = """
import threading, time
started = time.perf_counter()
from pages.ui.jobs import warm_up
warm_up.start()
for thread in threading.enumerate():
    if thread.name == "warm":
        thread.join()
print(time.perf_counter() - started)
"""

PICTURE = """() => {
  const places = [...document.querySelectorAll("[data-testid^=stBidiComponent], [data-testid^=stBidiComponent] *")]
  const players = places.map((place) => place.shadowRoot?.querySelector(".player"))
  return players.some((player) => player?.lantern?.drawTimes.length > 0) && performance.now()
}"""

FRAME_TIMES = """([root, frames]) => new Promise((done) => {
  root.lantern.drawTimes.length = 0
  const times = []
  const tick = (now) => {
    times.push(now)
    if (times.length <= frames) requestAnimationFrame(tick)
    else done([times.slice(1).map((time, k) => time - times[k]), root.lantern.drawTimes.length])
  }
  requestAnimationFrame(tick)
})"""

# From the release of the pointer to the frame after the player has taken the new scene.
AWAIT_PICTURE = """(root) => {
  window.newPicture = new Promise((done) => {
    let released = 0
    addEventListener("pointerup", () => { released = performance.now() }, { capture: true, once: true })
    const watch = new MutationObserver(() => {
      watch.disconnect()
      requestAnimationFrame(() => done(performance.now() - released))
    })
    watch.observe(root, { childList: true })
  })
}"""


@dataclass(frozen=True)
class Figure:
    """A measurement in its unit; budget: at most that much, or at least where `least`."""

    name: str
    value: float
    unit: str
    budget: float | None = None
    least: bool = False

    def line(self) -> str:
        verdict = ""
        if self.budget is not None:
            kept = self.value >= self.budget if self.least else self.value <= self.budget
            bound = "at least" if self.least else "at most"
            verdict = f"{bound} {self.budget:g} {self.unit}   {'pass' if kept else 'falls short'}"
        return f"{self.name:<58}{self.value:>9.1f} {self.unit:<4} {verdict}".rstrip()


@contextmanager
def visit(chromium: BrowserType, profile: Path, site: Site) -> Iterator[Reader]:
    """A browser of its own on `profile`, started and at rest; closed again."""
    size = {"width": 1280, "height": 900}
    context = chromium.launch_persistent_context(profile, executable_path=CHROMIUM, args=FLAGS, viewport=size)  # type: ignore[arg-type]
    context.pages[0].wait_for_timeout(1000)
    yield Reader(context.pages[0], site)
    context.close()


def first_picture(page: Page, url: str) -> float:
    """Milliseconds from the start of the navigation until a player has drawn."""
    page.goto(url, wait_until="commit")
    return page.wait_for_function(PICTURE, polling="raf").json_value()


def opening(chromium: BrowserType, site: Site, folder: Path) -> Iterator[Figure]:
    """First pictures: of a fresh server, with new profiles, and with a profile that knows the site."""
    new, warm, home, paint, cache = [], [], [], [], []
    for number in range(VISITS):
        for address, cold, again in ((PAGE, new, warm), ("/", home, []), ("/kv_cache", cache, [])):
            profile = folder / f"profile-{number}{address.strip('/')}"
            with visit(chromium, profile, site) as reader:
                cold.append(first_picture(reader.page, site.url + address))
                if address == "/":
                    paint.append(
                        reader.page.evaluate(
                            "performance.getEntriesByName('first-contentful-paint')[0].startTime"
                        )
                    )
            with visit(chromium, profile, site) as reader:
                again.append(first_picture(reader.page, site.url + address))
    yield Figure("first picture, new profile, the server's first visitor", new[0], "ms", 2500)
    yield Figure("first picture, new profile, median", statistics.median(new), "ms", 2500)
    yield Figure("first picture, warm profile, median", statistics.median(warm), "ms", 1200)
    yield Figure("/kv_cache: first picture, new profile, median", statistics.median(cache), "ms", 2500)
    yield Figure("home, new profile: first paint, median", statistics.median(paint), "ms")
    yield Figure("home, new profile: the card's picture, median", statistics.median(home), "ms")


def stepping(reader: Reader) -> Iterator[Figure]:
    """The time of one drawing while a reader steps through a whole run by keyboard."""
    reader.open(f"{PAGE}?step=0")
    player = reader.player(TILES)
    player.take()
    for _ in range(player.last):
        reader.page.keyboard.press("ArrowRight")
        reader.page.wait_for_timeout(20)
    times = sorted(player.read("drawTimes"))
    yield Figure(f"player step, p50 of {len(times)} drawings", statistics.median(times), "ms")
    yield Figure(f"player step, p95 of {len(times)} drawings", times[int(0.95 * len(times))], "ms", 8)


def playing(reader: Reader) -> Iterator[Figure]:
    """Frames a second while a long run plays at a high speed."""
    reader.open(f"{PAGE}?seq_len=128&block_q=8&block_k=8&step=0")
    player = reader.player(TILES)
    player.root.get_by_label("Speed").select_option("16")
    player.take()
    reader.page.keyboard.press("Space")
    player.wait_for("lantern.playing && lantern.step > 0")
    gaps, drawn = reader.page.evaluate(FRAME_TIMES, [player.root.element_handle(), FRAMES])
    seconds = sum(gaps) / 1000
    yield Figure("play, frames a second", len(gaps) / seconds, "", 59, least=True)
    yield Figure("play, drawings a second", drawn / seconds, "")
    yield Figure("play, longest gap between two frames", max(gaps), "ms")


def learning(reader: Reader) -> Iterator[Figure]:
    """Frames a second while an agent learns in a world of 25 x 25 cells, and what one drawing takes."""
    reader.open(f"/grid_world?world={WIDE}")
    player = reader.player("An agent that learns")
    player.root.get_by_label("Speed").select_option("16")
    player.take()
    reader.page.keyboard.press("Space")
    player.wait_for("lantern.playing && lantern.step > 100")
    gaps, drawn = reader.page.evaluate(FRAME_TIMES, [player.root.element_handle(), FRAMES])
    seconds, times = sum(gaps) / 1000, sorted(player.read("drawTimes"))
    yield Figure("25 x 25 cells, frames a second", len(gaps) / seconds, "", 59, least=True)
    yield Figure("25 x 25 cells, drawings a second", drawn / seconds, "")
    yield Figure(f"25 x 25 cells, p95 of {len(times)} drawings", times[int(0.95 * len(times))], "ms", 16)


def changing(reader: Reader) -> Iterator[Figure]:
    """From the release of a slider of an agent that learns to the run that goes on with the new value."""
    reader.open("/grid_world")
    player = reader.player("An agent that learns")
    player.take()
    reader.page.keyboard.press("Space")
    player.wait_for("lantern.playing && lantern.step > 10")
    times = sorted(release(reader, player, place) for place in (0.3, 0.7, 0.1, 0.9, 0.2, 0.5, 0.8, 0.4, 0.6))
    assert player.playing
    yield Figure(f"a change of a running agent, median of {len(times)}", statistics.median(times), "ms", 300)
    yield Figure("a change of a running agent, the slowest", times[-1], "ms", 300)


def searching(reader: Reader) -> Iterator[Figure]:
    """Frames a second while the cobweb of a noisy root plays, and what one drawing takes."""
    reader.open("/stochastic_approximation?chapter=search&steps=500&step=0")
    player = reader.player("The root of a function seen through noise")
    player.root.get_by_label("Speed").select_option("4")
    player.take()
    reader.page.keyboard.press("Space")
    player.wait_for("lantern.playing && lantern.step > 0")
    gaps, drawn = reader.page.evaluate(FRAME_TIMES, [player.root.element_handle(), FRAMES])
    seconds, times = sum(gaps) / 1000, sorted(player.read("drawTimes"))
    yield Figure("cobweb, frames a second", len(gaps) / seconds, "", 59, least=True)
    yield Figure("cobweb, drawings a second", drawn / seconds, "")
    yield Figure(f"cobweb, p95 of {len(times)} drawings", times[int(0.95 * len(times))], "ms", 16)


def sliding(reader: Reader) -> Iterator[Figure]:
    """From the release of a page's first slider to the new picture, all other settings at their defaults."""
    for address, title, label, budget in SLIDERS:
        reader.open(address)
        player = reader.player(title)
        thumb = reader.page.locator(f'[data-testid=stSlider] input[aria-label="{label}"]').first
        least, most, step = (float(thumb.get_attribute(name) or 1) for name in ("min", "max", "step"))
        places = [least + number * step for number in range(round((most - least) / step) + 1)]
        values = [value for value in places if abs(value - float(thumb.input_value())) > step / 2]
        values = random.Random(0).sample(values, min(len(values), MOST_VALUES))
        times = sorted(release(reader, player, (value - least) / (most - least)) for value in values * 2)
        name = f"{address}: slider release to new picture"
        yield Figure(f"{name}, median of {len(times)}", statistics.median(times), "ms", budget)
        yield Figure(f"{name}, p95", times[int(0.95 * len(times))], "ms")


def release(reader: Reader, player: Player, place: float) -> float:
    """Drags the first slider to a share of its way and lets go; milliseconds to the new picture."""
    track = reader.page.locator("[data-testid=stSlider]").first.get_by_role("group").first
    thumb = track.locator("[data-testid=stSliderThumbValue]").locator("..")
    track.scroll_into_view_if_needed()
    way, at = track.bounding_box(), thumb.bounding_box()
    assert way
    assert at
    middle = at["y"] + at["height"] / 2
    reader.page.mouse.move(at["x"] + at["width"] / 2, middle)
    reader.page.mouse.down()
    reader.page.mouse.move(way["x"] + way["width"] * place, middle, steps=4)
    player.root.evaluate(AWAIT_PICTURE)
    reader.page.mouse.up()
    taken = reader.page.evaluate("newPicture")
    reader.settle()
    return taken


def warming() -> Figure:
    """How long torch, the first experiment and the kernel's worker take to load, in a program of their own."""
    done = subprocess.run([sys.executable, "-c", WARM], cwd=ROOT, capture_output=True, text=True, check=True)
    return Figure("torch, first run and kernel worker are warm after", float(done.stdout) * 1000, "ms")


def main() -> None:
    if CHROMIUM is None:
        sys.exit(f"The benchmark needs Chromium; type: {INSTALL}")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start", flush=True)
    print(warming().line(), flush=True)
    with (
        tempfile.TemporaryDirectory() as name,
        serve(Path(name) / "server.log") as site,
        sync_playwright() as playwright,
    ):
        time.sleep(max(0, 10 - (time.monotonic() - site.up)))
        for figure in opening(playwright.chromium, site, Path(name)):
            print(figure.line(), flush=True)
        with visit(playwright.chromium, Path(name) / "profile-long", site) as reader:
            for measure in (stepping, playing, learning, changing, searching, sliding):
                for figure in measure(reader):
                    print(figure.line(), flush=True)
            assert not reader.problems, reader.problems


if __name__ == "__main__":
    main()
