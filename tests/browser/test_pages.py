"""Every page, as it first appears: whole, without errors, on any screen, light and dark."""

from __future__ import annotations

import re

import pytest

from tests.browser.conftest import NewReader
from tests.browser.reader import Reader
from tests.browser.site import ROOT

PAGES = sorted(path.stem for path in (ROOT / "pages").glob("*.py") if path.stem != "__init__")


def address(page: str) -> str:
    return "/" if page == "home" else f"/{page}"


def titles(page: str) -> list[str]:
    """The titles of sections and cards that stand in the page's source."""
    source = (ROOT / "pages" / f"{page}.py").read_text(encoding="utf-8")
    opened = r'header\(|(?:page\.frame|page\.card|player_section)\("[^"]*", '
    return re.findall(rf'(?:{opened})"([^"]+)"', source)


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


@pytest.mark.parametrize("page", PAGES)
def test_every_section_renders(reader: Reader, page: str) -> None:
    reader.open(address(page))
    words = reader.words()
    assert not [title for title in titles(page) if title not in words]
    assert "This run failed" not in words
    players = reader.page.locator(".player").all()
    assert players
    for player in players:
        assert player.evaluate("(root) => root.lantern.steps") > 0
        assert all(player.locator("canvas").evaluate_all("(all) => all.map((one) => one.width > 0)"))


@pytest.mark.parametrize("page", PAGES)
def test_a_narrow_screen_needs_no_sideways_scroll(new_reader: NewReader, page: str) -> None:
    reader = new_reader(viewport={"width": 375, "height": 800}, is_mobile=True, has_touch=True)
    reader.open(address(page))
    reader.page.locator(".player").first.wait_for()
    wide = reader.page.evaluate(
        """() => [document.scrollingElement, ...document.querySelectorAll("[data-testid=stMain]")]
            .map((one) => one.scrollWidth - one.clientWidth)"""
    )
    assert max(wide) <= 0
    beyond = reader.page.locator(".player").evaluate_all(
        "(all) => all.map((one) => one.getBoundingClientRect().right)"
    )
    assert max(beyond) <= 375


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
        reader.page.locator(f"[data-testid=stSidebar] a[href*='{page}']").click()
        reader.page.wait_for_url(f"**/{page}*")
        reader.settle()
        reader.page.locator(".player:not(.card)").first.wait_for()
        reader.page.locator("[data-testid=stSidebar] a").first.click()
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


def test_a_broken_part_turns_the_check_red(reader: Reader) -> None:
    reader.open("/flash_attention")
    main = reader.page.locator(".st-key-card-checked")
    main.get_by_label("passed").first.wait_for()
    assert not main.get_by_label("failed").count()
    reader.page.get_by_role("button", name="skip the rescale").first.click()
    main.get_by_label("failed").first.wait_for()
    assert "What is lost" in reader.words()
    reader.page.get_by_role("button", name="nothing").first.click()
    main.get_by_label("failed").first.wait_for(state="detached")
