"""Every page, as it first appears: whole, without errors, on any screen, light and dark."""

from __future__ import annotations

import json
import os
import signal

import pytest

from pages.ui.prose import prose
from tests.browser.conftest import NewReader
from tests.browser.reader import TILES, Reader
from tests.browser.site import ROOT
from tests.pages.chapters import chapters_of

PAGES = sorted(path.stem for path in (ROOT / "pages").glob("*.py") if path.stem != "__init__")


def chapters(page: str) -> list[str]:
    """The keys of the chapters of a page; one without a name where it has none."""
    return [""] if page == "home" else [chapter.key for chapter in chapters_of(page)]


CHAPTERS = [(page, chapter) for page in PAGES for chapter in chapters(page)]


def address(page: str, chapter: str = "") -> str:
    return ("/" if page == "home" else f"/{page}") + (f"?chapter={chapter}" if chapter else "")


def titles(page: str) -> set[str]:
    """The title of a page and the headings of its chapters."""
    headings = [] if page == "home" else [chapter.heading for chapter in chapters_of(page)]
    return {prose(page).title, *headings}


LIGHTNESS = """(one) => {
  const [red, green, blue] = getComputedStyle(one).backgroundColor.match(/[0-9.]+/g).map(Number)
  return (red + green + blue) / 3
}"""


def dark(reader: Reader) -> bool:
    """Whether the ground of the page, and of each player on it, is dark."""
    shown = [reader.page.locator("[data-testid=stApp]"), *reader.page.locator(".player:not(.card)").all()]
    verdicts = {one.evaluate(LIGHTNESS) < 128 for one in shown}
    assert len(verdicts) == 1
    return verdicts.pop()


@pytest.mark.parametrize(("page", "chapter"), CHAPTERS)
def test_every_chapter_renders(reader: Reader, page: str, chapter: str) -> None:
    reader.open(address(page, chapter))
    main = reader.page.locator("[data-testid=stMain]")
    [shown] = main.locator("h1").all_inner_texts()
    assert shown in titles(page)
    words = reader.words()
    assert "This run failed" not in words
    assert "is not accepted" not in words
    to_start = main.get_by_role("button", name="Run it now")
    main.locator(".player, [data-testid=stPlotlyChart], .stMarkdown table").or_(to_start).first.wait_for()
    for player in main.locator(".player").all():
        assert player.evaluate("(root) => root.lantern.steps") > 0
        assert all(player.locator("canvas").evaluate_all("(all) => all.map((one) => one.width > 0)"))
    if chapter and not to_start.count():
        main.locator(".st-key-card-checked").get_by_label("passed").first.wait_for()
        assert not main.get_by_label("failed").count()


@pytest.mark.parametrize(("page", "chapter"), CHAPTERS)
def test_a_phone_needs_no_sideways_scroll_and_shows_the_picture(
    new_reader: NewReader, page: str, chapter: str
) -> None:
    reader = new_reader(viewport={"width": 375, "height": 812}, is_mobile=True, has_touch=True)
    reader.open(address(page, chapter))
    wide = reader.page.evaluate(
        """() => [document.scrollingElement, ...document.querySelectorAll("[data-testid=stMain]")]
            .map((one) => one.scrollWidth - one.clientWidth)"""
    )
    assert max(wide) <= 0
    beyond = reader.page.locator(".player").evaluate_all(
        "(all) => all.map((one) => one.getBoundingClientRect().right)"
    )
    assert max(beyond, default=0) <= 375
    for part in (".column", ".controls"):  # the main panel and the buttons are on the first screen
        for box in [
            each.bounding_box() for each in reader.page.locator(f".player:not(.card) {part}").all()[:1]
        ]:
            assert box
            assert box["y"] >= 48
            assert box["y"] + box["height"] <= 812


@pytest.mark.parametrize("page", PAGES)
def test_dark_follows_the_readers_system(new_reader: NewReader, page: str) -> None:
    for scheme in ("light", "dark"):
        reader = new_reader(color_scheme=scheme)
        reader.open(address(page))
        reader.page.locator(".player").first.wait_for()
        assert dark(reader) == (scheme == "dark")


def test_from_page_to_page(reader: Reader) -> None:
    reader.open("/")
    for page in [one for one in PAGES if one != "home"]:
        reader.page.get_by_role("button", name="Topics").click()
        reader.page.locator(f".st-key-_navigation a[href*='{page}']").click()
        reader.page.wait_for_url(f"**/{page}*")
        reader.settle()
        reader.page.locator(".player:not(.card)").first.wait_for()
        reader.page.get_by_role("link", name="Lantern").click()
        reader.page.wait_for_function("() => location.pathname === '/'")
        reader.settle()
        reader.page.locator(".player.card").first.wait_for()


def test_a_card_moves_under_the_pointer_only(reader: Reader) -> None:
    reader.open("/")
    card = reader.page.locator(".player.card").first
    card.wait_for()
    before = card.evaluate("(root) => root.lantern.step")
    reader.page.wait_for_timeout(600)
    assert card.evaluate("(root) => root.lantern.step") == before
    card.hover()
    handle = card.element_handle()
    reader.page.wait_for_function("([root, before]) => root.lantern.step !== before", arg=[handle, before])


@pytest.mark.parametrize(
    ("page", "chapter"),
    [
        ("flash_attention", "tiles"),
        ("flash_attention", "softmax"),
        ("flash_attention", "backward"),
        ("kv_cache", "compare"),
        ("kv_cache", "sharing"),
        ("checkpointing", "schedule"),
        ("checkpointing", "law"),
        ("checkpointing", "measure"),
        ("checkpointing", "optimal"),
    ],
)
def test_each_broken_part_turns_a_check_red(reader: Reader, page: str, chapter: str) -> None:
    reader.open(address(page, chapter))
    checked = reader.page.locator(".st-key-card-checked")
    main_chapter = chapter == chapters(page)[0]
    switches = reader.page.locator(f".st-key-breaks-{'' if main_chapter else chapter} button")
    checked.get_by_label("passed").first.wait_for()
    assert not checked.get_by_label("failed").count()
    assert switches.count() > 1
    for part in range(1, switches.count()):
        switches.nth(part).click()
        checked.get_by_label("failed").first.wait_for()
        assert "What is lost" in reader.words()
        switches.nth(0).click()
        checked.get_by_label("failed").first.wait_for(state="detached")


def test_numbers_to_take_along(reader: Reader) -> None:
    for page, chapter in (
        ("flash_attention", "tiles"),
        ("flash_attention", "traffic"),
        ("flash_attention", "backward"),
        ("kv_cache", "compare"),
        ("kv_cache", "fit"),
        ("kv_cache", "published"),
        ("checkpointing", "schedule"),
        ("checkpointing", "measure"),
    ):
        reader.open(address(page, chapter))
        button = reader.page.locator("[data-testid=stDownloadButton] button", has_text="JSON").first
        button.scroll_into_view_if_needed()
        with reader.page.expect_download() as download:
            button.click()
        result = json.loads(download.value.path().read_text(encoding="utf-8"))
        assert result["passed"]
        assert all(check["passed"] for check in result["checks"])


def test_a_click_on_a_layer_keeps_its_input(reader: Reader) -> None:
    reader.open("/checkpointing?strategy=custom&layers=8")
    canvas = reader.page.locator(".player canvas.clickable").first
    box = canvas.bounding_box()
    assert box
    canvas.click(position={"x": box["width"] * 4.2 / 8, "y": box["height"] * 0.55})
    reader.page.wait_for_url("**kept=**")
    reader.settle()
    once = reader.query()
    canvas.click(position={"x": box["width"] * 7.2 / 8, "y": box["height"] * 0.55})
    reader.page.wait_for_function("(before) => location.search.slice(1) !== before", arg=once)
    reader.settle()
    assert "kept=1%2C" in reader.query() or "kept=1," in reader.query()


def test_a_full_size_model_is_traced_with_progress_and_can_be_stopped(reader: Reader) -> None:
    reader.open(address("checkpointing", "model"))
    start = reader.page.get_by_role("button", name="Run it now")
    start.click()
    reader.page.get_by_role("button", name="Stop").click()
    reader.page.get_by_text("Stopped while").wait_for()
    reader.open(address("checkpointing", "model") + "&model.model=llama-3.1-8b&model.layers=2")
    start.click()
    reader.player("").wait_for("lantern.steps > 100")
    reader.page.locator(".st-key-card-checked").get_by_label("passed").first.wait_for()
    assert not reader.page.get_by_label("failed").count()


def on_the_kernel(reader: Reader, seq_len: int) -> int:
    """Opens the page with the tiles computed by the kernel; the process id of the worker that interprets it."""
    reader.open(f"/flash_attention?backend=triton&seq_len={seq_len}")
    reader.player(TILES)
    worker = reader.site.worker()
    assert worker
    return worker


def stands_again(reader: Reader, dead: int) -> None:
    """The page shows its new run, computed by another worker, and says so."""
    reader.page.get_by_text("was restarted").wait_for()
    reader.settle()
    assert "This run failed" not in reader.words()
    reader.page.locator(".st-key-card-checked").get_by_label("passed").first.wait_for()
    assert not reader.page.get_by_label("failed").count()
    assert reader.site.worker() not in (None, dead)


def test_a_worker_that_died_is_replaced(reader: Reader) -> None:
    worker = on_the_kernel(reader, 32)
    os.kill(worker, signal.SIGKILL)
    reader.page.locator('[data-testid=stSlider] input[aria-label="Sequence length"]').first.press(
        "ArrowRight"
    )
    reader.page.wait_for_url("**seq_len=40**")
    stands_again(reader, worker)
    assert reader.player(TILES).last > 0


def test_a_worker_that_dies_in_the_middle_of_a_run_is_replaced_and_the_run_taken_up_again(
    reader: Reader,
) -> None:
    worker = on_the_kernel(reader, 120)
    reader.page.locator('[data-testid=stSlider] input[aria-label="Sequence length"]').first.press(
        "ArrowRight"
    )
    reader.page.wait_for_url("**seq_len=128**")
    reader.site.wait_until_busy(worker)
    os.kill(worker, signal.SIGKILL)
    stands_again(reader, worker)
    assert reader.player(TILES).last > 0


def test_a_control_that_was_away_comes_back_with_its_value(reader: Reader) -> None:
    reader.open("/checkpointing")
    for name in ("A budget of 9", "Reset"):  # the budget goes with the strategy that has one, and comes back
        reader.page.get_by_role("button", name=name, exact=True).click()
        reader.settle()
    reader.page.get_by_role("combobox", name="Strategy").click()
    reader.page.get_by_role("option", name="optimal", exact=True).click()
    reader.settle()
    sliders = reader.page.locator("[data-testid=stSlider] input")
    assert sliders.nth(0).input_value() == "10"
    sliders.nth(1).focus()
    reader.page.keyboard.press("End")
    reader.settle()
    assert "budget" not in reader.page.evaluate("location.search")
