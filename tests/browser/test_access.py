"""Nothing on any page keeps a reader out: axe-core finds no serious barrier, and the keyboard reaches everything."""

from __future__ import annotations

import os
from typing import Any, Literal

import pytest

from tests.browser.conftest import NewReader
from tests.browser.reader import Reader
from tests.browser.site import ROOT
from tests.pages.chapters import TOPICS, chapters_of

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
AXE = ROOT / ".venv/axe/node_modules/axe-core/axe.min.js"
BARRIERS = """async () => {
  const found = await axe.run(document, { resultTypes: ["violations"] })
  return found.violations.filter(({ impact }) => ["serious", "critical"].includes(impact)).flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => [id, html.slice(0, 120), failureSummary]))
}"""
# The element that has the focus, in the shadow root of a component too.
FOCUSED = """() => {
  let at = document.activeElement
  while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement
  if (at === document.body) return null
  let place = ""
  for (let around = at; around; around = around.parentNode ?? around.host) {
    place ||= around.className?.match?.(/st-key-(_(bar|actions|rail|stage|below|sources))( |$)/)?.[1] ?? ""
  }
  const box = at.getBoundingClientRect()
  const near = [at, at.parentElement, at.parentElement?.parentElement, at.nextElementSibling].filter(Boolean)
  const rings = near.map((each) => getComputedStyle(each))
  const isRinged = (each) => each.boxShadow !== "none" || (each.outlineStyle !== "none" && each.outlineWidth !== "0px")
  return {
    name: at.getAttribute("aria-label") ?? at.innerText?.trim() ?? at.nodeName,
    place,
    inWindow: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
    ring: rings.some(isRinged),
  }
}"""


@pytest.mark.parametrize("page", ["", *TOPICS])
def test_no_serious_barrier(new_reader: NewReader, page: str) -> None:
    if not AXE.exists() and not os.environ.get("CI"):
        pytest.skip("needs axe-core; type: make browser")
    axe = AXE.read_text(encoding="utf-8")
    reader = new_reader(viewport={"width": 1280, "height": 720}, reduced_motion="reduce")
    keys = [chapter.key for chapter in chapters_of(page)] if page else [""]
    for number, key in enumerate(keys):
        reader.open(f"/{page}?chapter={key}" if key else "/")
        reader.page.evaluate(axe)
        for scheme in SCHEMES if number == 0 else (SCHEMES[number % 2],):
            reader.page.emulate_media(color_scheme=scheme)
            reader.page.wait_for_timeout(400)
            assert not reader.page.evaluate(BARRIERS), f"{key}, {scheme}"


def tabbed(reader: Reader, most: int = 120) -> list[dict[str, Any]]:
    """What the Tab key reaches, one after the other, until it comes to something a second time."""
    found: list[dict[str, Any]] = []
    for _ in range(most):
        reader.page.keyboard.press("Tab")
        focused = reader.page.evaluate(FOCUSED)
        if focused is not None and focused in found[:1]:
            break
        found += [focused] if focused else []
    return found


@pytest.mark.parametrize("address", ["/flash_attention", "/grid_world?chapter=solve"])
def test_the_keyboard_reaches_everything_in_order(new_reader: NewReader, address: str) -> None:
    reader = new_reader(viewport={"width": 1280, "height": 720})
    reader.open(address)
    reader.player("")
    found = tabbed(reader)
    assert all(each["inWindow"] for each in found), [each for each in found if not each["inWindow"]]
    assert all(each["ring"] for each in found), [each for each in found if not each["ring"]]
    order = [each["place"] for each in found if each["place"]]
    assert (
        list(dict.fromkeys(order))
        == ["_bar", "_actions", "_rail", "_stage", "_below", "_sources"][: len(dict.fromkeys(order))]
    )
    names = [each["name"] for each in found]
    for name in ("Lantern", "Share", "Present", "Play", "Step", "Reset"):
        assert any(name in each for each in names), name


def test_a_symbol_explains_itself_under_a_finger(new_reader: NewReader) -> None:
    reader = new_reader(viewport={"width": 375, "height": 812}, is_mobile=True, has_touch=True)
    reader.open("/flash_attention")
    symbol = reader.player("").root.locator(".words > [aria-live] .explained").first
    symbol.tap()
    tip = reader.player("").root.locator(".tip")
    tip.wait_for(state="visible")
    assert symbol.get_attribute("aria-description") == tip.inner_text()
