"""A reader: one browser window on the site, what it shows, and what went wrong in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Locator, Page

from tests.browser.site import Site

TILES = "Flash attention, one tile at a time"  # titles of scenes
SETTLED = "[data-testid=stApp][data-test-connection-state=CONNECTED][data-test-script-state=notRunning]"
# Streamlit looks for its server beside a page's address first, finds nothing there, and then at the root.
PROBE = re.compile(r"/\w+/_stcore/(health|host-config)$")

CONTROLS = """() => {
  const all = document.querySelectorAll("[data-testid=stMain] :is(input, textarea, [role=radiogroup])")
  return [...all].map((one) => {
    const chosen = one.querySelector("[aria-checked=true]")
    return [one.ariaLabel, chosen?.textContent ?? one.getAttribute("aria-valuetext") ?? one.value ?? ""]
  })
}"""


@dataclass
class Player:
    """A player on the page, through the property that its root element carries for tests."""

    root: Locator

    def read(self, name: str) -> Any:
        return self.root.evaluate("(root, name) => root.lantern[name]", name)

    @property
    def step(self) -> int:
        return self.read("step")

    @property
    def last(self) -> int:
        return self.read("steps") - 1

    @property
    def playing(self) -> bool:
        return self.read("playing")

    @property
    def sentence(self) -> str:
        return self.root.locator(".words > [aria-live]").inner_text()

    def take(self) -> None:
        """Makes this the player that the keys belong to, as a pointer that passes over it does."""
        self.root.locator(".controls").first.scroll_into_view_if_needed()
        self.root.locator(".controls").first.hover()

    def wait_for(self, condition: str) -> None:
        """Waits until `condition`, in JavaScript over `lantern`, holds."""
        handle = self.root.element_handle()
        self.root.page.wait_for_function(
            f"(root) => {{ const lantern = root.lantern; return {condition} }}", arg=handle
        )


@dataclass
class Reader:
    """problems: errors of the page and its console, and requests that would leave this machine."""

    page: Page
    site: Site
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.problems.append(f"page error: {error}"))
        self.page.on("request", lambda request: self._address(request.url))
        self.page.on("websocket", lambda socket: self._address(socket.url))

    def _console(self, message: ConsoleMessage) -> None:
        where = message.location.get("url", "")
        if message.type == "error" and not PROBE.search(where):
            self.problems.append(f"console: {message.text} ({where})")

    def _address(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname != "127.0.0.1":
            self.problems.append(f"request to {url}")

    def open(self, address: str = "/") -> None:
        """Opens an address of the site and waits until the page stands still."""
        self.page.goto(self.site.url + address)
        self.settle()

    def settle(self) -> None:
        """Waits until the server has nothing more to say: connected, no script running, for a quarter of a second."""
        self.page.wait_for_selector(SETTLED, state="attached")
        self.page.wait_for_timeout(250)
        self.page.wait_for_selector(SETTLED, state="attached")

    def player(self, title: str = "") -> Player:
        """The player of a scene by its title; the page's first one where none is named."""
        named = f'[aria-label*="{title}"]' if title else ""
        root = self.page.locator(f".player{named}").first
        root.wait_for()
        return Player(root)

    def controls(self) -> list[tuple[str, str]]:
        """Label and shown value of every control of the page, in order."""
        return [(label, value) for label, value in self.page.evaluate(CONTROLS)]

    def words(self) -> str:
        return self.page.locator("[data-testid=stMain]").inner_text()

    def query(self) -> str:
        return urlsplit(self.page.url).query
