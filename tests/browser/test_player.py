"""The player under a reader's hands: keys, scrub bar, play, pictures to take away, the scene as one file."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import NewReader
from tests.browser.reader import TILES, Player, Reader
from tests.browser.site import ROOT

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def player(reader: Reader) -> Player:
    """The tile player of the flash attention page, at its first step."""
    reader.open("/flash_attention?step=0")
    player = reader.player(TILES)
    player.take()
    return player


def press(player: Player, *keys: str) -> int:
    for key in keys:
        player.root.page.keyboard.press(key)
    return player.step


def test_keys(player: Player) -> None:
    assert player.step == 0
    assert press(player, "ArrowRight") == 1
    assert press(player, "ArrowRight", "ArrowRight", "ArrowLeft") == 2
    assert press(player, "End") == player.last
    assert press(player, "ArrowRight") == player.last
    assert press(player, "Home", "ArrowLeft") == 0
    stop = press(player, "ArrowDown")
    assert 1 < stop < player.last
    assert press(player, "ArrowDown") > stop
    assert press(player, "ArrowUp") == stop
    assert press(player, "PageDown") == stop + 1  # a presenter's remote


def test_space_plays_and_pauses(player: Player) -> None:
    press(player, "Space")
    player.wait_for("lantern.playing && lantern.step > 0")
    press(player, "Space")
    assert not player.playing
    step = player.step
    player.root.page.wait_for_timeout(700)
    assert player.step == step


def test_play_ends_at_the_last_step(player: Player) -> None:
    press(player, "End", "ArrowLeft", "Space")
    player.wait_for("lantern.step === lantern.steps - 1 && !lantern.playing")


def test_buttons_and_scrub_bar(player: Player) -> None:
    controls = player.root.locator(".controls")
    controls.get_by_role("button", name="Last step").click()
    assert player.step == player.last
    controls.get_by_role("button", name="One step back").click()
    assert player.step == player.last - 1
    scrub = controls.get_by_role("slider", name="Step")
    box = scrub.bounding_box()
    assert box
    player.root.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert abs(player.step - player.last / 2) <= 1
    expect(controls.locator(".count")).to_contain_text(f"{player.step + 1} of {player.last + 1}")


def test_each_step_says_something_else(player: Player) -> None:
    first = player.sentence
    press(player, "ArrowRight")
    live = player.root.locator(".words > [aria-live]")
    expect(live).not_to_have_text(first)
    assert live.get_attribute("aria-live") == "polite"


def test_a_click_on_the_grid_follows_that_row(player: Player) -> None:
    grid = player.root.locator("canvas.clickable").first
    box = grid.bounding_box()
    assert box
    grid.click(position={"x": box["width"] / 2, "y": box["height"] / 3})
    page = player.root.page
    page.wait_for_url("**row=*")
    row = int(parse_qs(urlsplit(page.url).query)["row"][0])
    assert 10 <= row <= 30  # of 64
    page.get_by_text(f"row {row} meets").first.wait_for()
    page.go_back()
    page.get_by_text("row 55 meets").first.wait_for()


def test_a_picture_of_the_step(player: Player, tmp_path: Path) -> None:
    with player.root.page.expect_download() as download:
        player.root.get_by_role("button", name="Save a PNG").click()
    assert download.value.suggested_filename.endswith(".png")
    download.value.save_as(tmp_path / "step.png")
    assert (tmp_path / "step.png").read_bytes()[:8] == PNG


def test_reduced_motion_jumps(new_reader: NewReader) -> None:
    """No glide from step to step: one drawing a step."""
    reader = new_reader(reduced_motion="reduce")
    reader.open("/flash_attention?step=0")
    player = reader.player(TILES)
    player.take()
    drawn = len(player.read("drawTimes"))
    press(player, "ArrowRight")
    reader.page.wait_for_timeout(400)
    assert player.step == 1
    assert len(player.read("drawTimes")) == drawn + 1


def plays_offline(new_reader: NewReader, document: Path) -> None:
    reader = new_reader(offline=True)
    reader.page.goto(document.as_uri())
    player = reader.player(TILES)
    player.take()
    assert press(player, "Home", "ArrowRight") == 1
    assert press(player, "End") == player.last
    press(player, "Home", "Space")
    player.wait_for("lantern.step > 0")


def test_the_exported_page_plays_from_a_file(new_reader: NewReader, reader: Reader, tmp_path: Path) -> None:
    reader.open("/flash_attention?seq_len=32")
    button = reader.page.locator("[data-testid=stDownloadButton] button", has_text="HTML").first
    button.scroll_into_view_if_needed()
    with reader.page.expect_download() as download:
        button.click()
    download.value.save_as(tmp_path / "tiles.html")
    plays_offline(new_reader, tmp_path / "tiles.html")


def test_the_shells_page_plays_from_a_file(new_reader: NewReader, tmp_path: Path) -> None:
    document = tmp_path / "tiles.html"
    command = [
        sys.executable,
        "-m",
        "explainers",
        "flash_attention.tiles",
        "--seq_len",
        "32",
        "--html",
        str(document),
    ]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120, capture_output=True)
    assert "http" not in document.read_text("utf-8").replace("http://www.w3.org", "")
    plays_offline(new_reader, document)


# ------------------------------------------------------------------------------------------------------ strips

ACCENTS = """(canvas) => {
  const { data, width } = canvas.getContext("2d").getImageData(0, Math.round(14 * devicePixelRatio), canvas.width, 1)
  const accent = (at) => data[4 * at] > 190 && Math.abs(data[4 * at + 1] - 94) < 20 && data[4 * at + 2] < 40
  return [...Array(width).keys()].filter((at) => accent(at) && !(at && accent(at - 1))).length
}"""


def strip(reader: Reader, title: str) -> Locator:
    return reader.page.locator(f'.player canvas[aria-label^="{title}"]').first


def test_a_strip_follows_the_document_that_came_last(reader: Reader) -> None:
    """So many packs do not fit: at the first document the topmost row in sight is pack 0, at the last one it is not."""
    lengths = ",".join(["500"] * 160)
    reader.open(f"/packing?lengths={lengths}&capacity=512&strategy=best_fit&versus=none&step=1")
    player, packs = reader.player(), strip(reader, "Best-fit")
    tip = player.root.get_by_role("tooltip")
    player.take()
    packs.hover(position={"x": 150, "y": 4})
    expect(tip).to_contain_text("pack 0: document 0, 500 tokens from 0")
    player.take()
    assert press(player, "End") == player.last
    packs.hover(position={"x": 150, "y": 4})
    expect(tip).to_contain_text(re.compile(r"pack (\d\d): document \1, 500 tokens from 0"))
    expect(packs).to_have_attribute("aria-label", re.compile("160 of 160 rows"))


def test_tokens_that_come_together_have_one_outline(reader: Reader) -> None:
    reader.open("/packing?chapter=unpad&unpad.lengths=5,2;3,1&unpad.step=0")
    player, rows = reader.player(), strip(reader, "Padded rows")
    player.take()
    assert settled(reader, rows) == 0
    edges = {settled(reader, rows) for _ in range(player.last) if press(player, "ArrowRight")}
    assert edges == {0, 2}  # the five tokens of document 0: a left and a right edge


def settled(reader: Reader, rows: Locator) -> int:
    """The outlines' edges in the first row, once the picture has glided to its step."""
    reader.page.wait_for_timeout(300)
    return rows.evaluate(ACCENTS)


def test_presenting_keeps_the_controls_within_reach_and_fits(new_reader: NewReader) -> None:
    """A lecturer moves a slider where everybody sees what it does."""
    reader = new_reader(viewport={"width": 1280, "height": 720})
    reader.open("/stochastic_approximation?chapter=search")
    player, bar, slider = (
        reader.player(),
        reader.page.locator(".st-key-_bar"),
        reader.page.locator(".st-key-p"),
    )

    def fits() -> bool:
        bottom = player.root.locator(".controls").evaluate("(bar) => bar.getBoundingClientRect().bottom")
        return bottom <= 721

    reader.page.get_by_role("button", name="Present").click()
    bar.wait_for(state="hidden")
    slider.wait_for(state="hidden")
    reader.page.keyboard.press("[")
    slider.wait_for(state="visible")
    reader.page.get_by_role("button", name="noise with a mean").click()
    reader.page.get_by_text("What is lost").wait_for()
    reader.settle()
    assert fits()
    assert slider.is_visible()
    assert fits()
    slider.get_by_role("slider").focus()
    reader.page.keyboard.press("ArrowRight")
    reader.settle()
    assert "p=1.05" in reader.query()
    assert bar.is_hidden()
    assert fits()
    reader.page.get_by_role("button", name="Leave the full screen").click()
    bar.wait_for(state="visible")


def test_a_reader_comes_back_to_where_a_chapter_was_left(reader: Reader) -> None:
    reader.open("/stochastic_approximation?chapter=search&step=10")
    reader.page.get_by_role("radio", name="SGD").click()
    reader.settle()
    reader.page.get_by_role("radio", name="A noisy root").click()
    reader.settle()
    assert reader.player().step == 10
