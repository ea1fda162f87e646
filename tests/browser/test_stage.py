"""The stage: everything of a chapter that matters lies in the window, legible, and stands still."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import FloatRect, Locator

from explainers.contract.experiment import find
from pages.ui.chapter import Chapter
from tests.browser.conftest import NewReader
from tests.browser.reader import Player, Reader
from tests.pages.chapters import TOPICS, chapter_of, chapters_of

SIZES = ((1280, 720), (1366, 768), (1440, 900), (1920, 1080))
SMALLEST, SMALLEST_PRESENTING = 12, 18  # px of a letter
PLAYED = [
    (topic, chapter.key)
    for topic in TOPICS
    for chapter in chapters_of(topic)
    if chapter.key not in ("traffic", "published") and (topic, chapter.key) != ("flash_attention", "race")
]
AT_ONCE = [
    each for each in PLAYED if each != ("checkpointing", "model")
]  # the model's run starts by a button
MEASURE = Path(__file__).with_name("measure_stage.js").read_text(encoding="utf-8")

# Notes the size of every letter that is drawn on a canvas, in px of its player before it is enlarged.
LETTERS = """
window.letters = []
const fillText = CanvasRenderingContext2D.prototype.fillText
CanvasRenderingContext2D.prototype.fillText = function (text, ...at) {
  if (text.trim()) window.letters.push([parseFloat(this.font.match(/([0-9.]+)px/)[1]), text])
  return fillText.call(this, text, ...at)
}
"""
SMALLEST_LETTER = """(root) => {
  const zoom = Number(root.style.zoom || 1)
  const drawn = window.letters.map(([size, text]) => [size * zoom, text])
  const walker = document.createTreeWalker(root.querySelector(".frame"), NodeFilter.SHOW_TEXT)
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const parent = node.parentElement
    if (!node.nodeValue.trim() || parent.closest(".unseen, select") || !parent.getClientRects().length) continue
    drawn.push([parseFloat(getComputedStyle(parent).fontSize) * zoom, node.nodeValue])
  }
  return drawn.sort((a, b) => a[0] - b[0])[0]
}"""
# From now on, notes what moves on the stage.
SHIFTS = """() => {
  window.shifts = []
  const within = (node) => {
    for (let at = node; at; at = at.parentNode ?? at.host) if (at.classList?.contains("st-key-_stage")) return true
    return false
  }
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const moved = entry.sources.filter(({ node }) => node && within(node))
      const names = moved.map(({ node }) => node.className ?? node.nodeName)
      if (moved.length) window.shifts.push([entry.value, names.join(" ")])
    }
  }).observe({ type: "layout-shift" })
}"""


def address(topic: str, key: str) -> str:
    return f"/{topic}?chapter={key}"


def outside(reader: Reader) -> list[str]:
    """What does not lie whole in the window, in sentences."""
    return reader.page.evaluate(MEASURE[MEASURE.index("() =>") :])


def resize(reader: Reader, width: int, height: int) -> None:
    reader.page.set_viewport_size({"width": width, "height": height})
    reader.page.wait_for_timeout(200)


def go(player: Locator, step: int) -> None:
    player.locator(".scrub input").evaluate(
        "(bar, step) => { bar.value = step; bar.dispatchEvent(new Event('input', { bubbles: true })) }", step
    )


@pytest.mark.parametrize(("topic", "key"), AT_ONCE)
def test_a_chapter_lies_whole_and_legible_in_the_window(new_reader: NewReader, topic: str, key: str) -> None:
    """At every size, at eight steps, while presenting, and with the break that has the longest words."""
    reader = new_reader(viewport={"width": 1280, "height": 720})
    reader.page.add_init_script(LETTERS)
    reader.open(address(topic, key))
    player = reader.player("")
    steps = player.last + 1
    for step in sorted({round(steps * share / 8) for share in range(8)}):
        go(player.root, step)
        reader.page.wait_for_timeout(30)
        assert not outside(reader), f"step {step}"
    size, text = player.root.evaluate(SMALLEST_LETTER)
    assert size >= SMALLEST - 1e-6, text
    for width, height in SIZES[1:]:
        resize(reader, width, height)
        assert not outside(reader), f"{width} x {height}"
    resize(reader, *SIZES[0])
    present(reader, player)
    if find(chapter_of(topic, key).experiment).breaks:
        break_it(reader, chapter_of(topic, key))
        assert not outside(reader), "broken"


def present(reader: Reader, player: Player) -> None:
    """Fills the screen, looks at the letters, and leaves it again."""
    reader.page.keyboard.press("f")
    reader.page.wait_for_function("() => document.fullscreenElement !== null")
    reader.page.wait_for_timeout(300)
    reader.page.evaluate("window.letters = []")
    for step in (0, player.last // 2, player.last):
        go(player.root, step)
        reader.page.wait_for_timeout(30)
    size, text = player.root.evaluate(SMALLEST_LETTER)
    assert size >= SMALLEST_PRESENTING - 1e-6, text
    bottom = player.root.locator(".controls").evaluate("(bar) => bar.getBoundingClientRect().bottom")
    assert bottom <= 721
    reader.page.keyboard.press("f")
    reader.page.wait_for_function("() => document.fullscreenElement === null")


def break_it(reader: Reader, chapter: Chapter) -> None:
    """Chooses the break with the longest words."""
    longest = max(find(chapter.experiment).breaks, key=lambda each: len(each.consequence))
    reader.page.locator(f".st-key-break-{chapter.prefix}-{longest.name} button").click()
    reader.page.get_by_text("What is lost.").wait_for()
    reader.settle()
    reader.page.mouse.move(640, 715)
    reader.page.wait_for_timeout(300)


def moved(reader: Reader) -> list[Any]:
    reader.page.wait_for_timeout(300)
    return reader.page.evaluate("window.shifts")


@pytest.mark.parametrize("topic", TOPICS)
def test_the_stage_stands_still(new_reader: NewReader, topic: str) -> None:
    """While steps are taken, a slider moves, a break is chosen, and chapters change."""
    reader = new_reader(viewport={"width": 1280, "height": 720})
    reader.open(address(topic, chapters_of(topic)[0].key))
    reader.player("")
    reader.page.evaluate(SHIFTS)
    for key in ("Home", "ArrowRight", "End", "ArrowLeft"):
        reader.page.keyboard.press(key)
    assert not moved(reader)
    slider = reader.page.locator(".st-key-_rail [data-testid=stSlider] input").last
    slider.focus()
    for _ in range(3):
        reader.page.keyboard.press("ArrowRight")
        reader.settle()
    assert not moved(reader)
    reader.page.locator(".st-key-_rail [class*=st-key-breaks-] button").nth(1).click()
    reader.settle()
    assert not moved(reader)
    frame = reader.player("").root.bounding_box()
    assert frame
    for key, name in ((chapter.key, chapter.title) for chapter in chapters_of(topic)):
        if (topic, key) not in AT_ONCE:
            continue
        reader.page.get_by_role("radio", name=name, exact=True).click()
        reader.settle()
        now = reader.player("").root.bounding_box()
        assert now
        assert (now["x"], now["y"], now["width"]) == (frame["x"], frame["y"], frame["width"])
    assert sum(value for value, _ in moved(reader)) < 0.01


def test_the_rail_folds_and_the_picture_takes_its_place(new_reader: NewReader) -> None:
    reader = new_reader(viewport={"width": 1280, "height": 720})
    reader.open("/grid_world?chapter=solve")
    rail, root = reader.page.locator(".st-key-_rail"), reader.player("").root
    narrow = root.bounding_box()
    reader.page.keyboard.press("[")
    rail.wait_for(state="hidden")
    reader.page.wait_for_timeout(200)
    wide = root.bounding_box()
    assert narrow
    assert wide
    assert wide["width"] == narrow["width"] + 264
    reader.page.keyboard.press("[")
    rail.wait_for(state="visible")


def test_a_narrow_window_has_the_chapters_as_a_list(new_reader: NewReader) -> None:
    reader = new_reader(viewport={"width": 900, "height": 700})
    reader.open("/packing")
    assert not reader.page.get_by_role("radio", name="Run it").is_visible()
    reader.page.get_by_label("Chapter", exact=True).select_option(label="Run it")
    reader.page.wait_for_url("**chapter=run*")
    reader.settle()
    assert reader.page.locator("h1").inner_text() == "The same decoder, three ways"


def test_the_theme_changes_and_the_page_comes_back(new_reader: NewReader) -> None:
    reader = new_reader(color_scheme="light")
    reader.open("/kv_cache?batch=4&step=12")
    reader.page.get_by_role("button", name="Light or dark").click()
    reader.page.wait_for_function(
        "() => getComputedStyle(document.querySelector('.stApp')).colorScheme === 'dark'"
    )
    reader.settle()
    assert reader.player("").step == 12
    assert "batch=4" in reader.query()


def test_the_badge_leads_to_the_checks(new_reader: NewReader) -> None:
    reader = new_reader(viewport={"width": 1280, "height": 720})
    reader.open("/kv_cache")
    reader.page.get_by_role("button", name="4 checks").click()
    reader.page.wait_for_timeout(1200)
    box = reader.page.locator(".st-key-card-checked").bounding_box()
    assert box
    assert 48 <= box["y"] + box["height"] / 2 <= 720


def test_the_link_and_its_code(new_reader: NewReader) -> None:
    reader = new_reader(viewport={"width": 1280, "height": 720})
    reader.open("/packing?count=20")
    reader.page.get_by_role("button", name="Share").click()
    sheet = reader.page.locator(".sheet")
    code = sheet.locator("svg")
    code.wait_for()
    drawn = code.bounding_box()
    assert drawn
    assert drawn["width"] >= 195  # a camera reads it from some way off
    assert code.locator("path").last.evaluate("(one) => getComputedStyle(one).strokeWidth") == "1px"
    box = sheet.bounding_box()
    assert box
    assert box["y"] + box["height"] <= 720
    reader.page.keyboard.press("Escape")
    sheet.wait_for(state="hidden")


def test_the_code_comes_beside_the_picture(new_reader: NewReader) -> None:
    reader = new_reader(viewport={"width": 1440, "height": 800})
    reader.open("/packing?chapter=pack")
    player = reader.player("")
    frame, code = player.root.locator(".frame"), player.root.locator(".below pre")

    def places() -> tuple[FloatRect, FloatRect]:
        reader.page.wait_for_timeout(200)
        picture, source = frame.bounding_box(), code.bounding_box()
        assert picture
        assert source
        return picture, source

    picture, source = places()
    assert source["y"] > picture["y"] + picture["height"]
    player.take()
    reader.page.keyboard.press("c")
    picture, source = places()
    assert source["x"] > picture["x"] + picture["width"]
    assert source["y"] < 800
    assert not outside(reader)
    reader.page.set_viewport_size({"width": 1920, "height": 1000})
    reader.page.keyboard.press("c")
    picture, source = places()
    assert source["y"] > picture["y"] + picture["height"]
