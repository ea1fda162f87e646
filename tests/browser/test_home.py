"""The home page: what plays by itself, the cards, and what the first screen shows."""

from __future__ import annotations

import pytest
from playwright.sync_api import FloatRect, Locator

from pages.ui.topics import TOPICS
from tests.browser.conftest import NewReader
from tests.browser.reader import Player, Reader

LARGE, PHONE = {"width": 1280, "height": 720}, {"width": 375, "height": 812}
BAR = 48  # px
CHOOSE_FASTEST = "(list) => { list.value = 16; list.dispatchEvent(new Event('change')) }"


def at_home(new_reader: NewReader, **options: object) -> Reader:
    reader = new_reader(**{"viewport": LARGE, **options})
    reader.open("/")
    return reader


def played(reader: Reader) -> Player:
    """The player that plays by itself."""
    root = reader.page.locator(".player:not(.card)")
    root.wait_for()
    return Player(root)


def scroll(reader: Reader, to: str) -> None:
    reader.page.locator("[data-testid=stMain]").evaluate(f"(main) => {{ main.scrollTop = {to} }}")


def rests(reader: Reader, player: Player) -> bool:
    """Whether the player does not move for a while in which it would have taken some steps."""
    before = player.step
    reader.page.wait_for_timeout(2000)
    return not player.playing and player.step == before


def box_of(part: Locator) -> FloatRect:
    part.wait_for()
    box = part.bounding_box()
    assert box
    return box


def boxes(reader: Reader) -> list[FloatRect]:
    """The box of each card."""
    reader.page.locator(".player.card").nth(len(TOPICS) - 1).wait_for()
    return [box_of(card) for card in reader.page.locator(".st-key-_cards [class*=st-key-card-]").all()]


def test_it_plays_by_itself_again_and_again(new_reader: NewReader) -> None:
    player = played(at_home(new_reader))
    player.wait_for("lantern.playing")
    opened = player.step
    assert opened > 0
    player.root.get_by_label("Speed").evaluate(CHOOSE_FASTEST)
    player.wait_for(f"lantern.step < {opened}")
    player.wait_for(f"lantern.step > {opened}")
    assert player.playing


def test_it_does_not_play_for_a_reader_who_wants_no_motion(new_reader: NewReader) -> None:
    reader = at_home(new_reader, reduced_motion="reduce")
    player = played(reader)
    assert rests(reader, player)
    scroll(reader, "main.scrollHeight")
    reader.page.wait_for_timeout(300)
    scroll(reader, "0")
    assert rests(reader, player)
    player.root.get_by_role("button", name="Play").click()
    player.wait_for("lantern.playing")


def test_it_pauses_out_of_sight_and_goes_on_in_sight(new_reader: NewReader) -> None:
    reader = at_home(new_reader)
    player = played(reader)
    player.wait_for("lantern.playing")
    scroll(reader, "main.scrollHeight")
    player.wait_for("!lantern.playing")
    assert rests(reader, player)
    scroll(reader, "0")
    player.wait_for("lantern.playing")


@pytest.mark.parametrize("by", ["scrub bar", "button", "key"])
def test_it_stays_where_a_reader_stopped_it(new_reader: NewReader, by: str) -> None:
    reader = at_home(new_reader)
    player = played(reader)
    player.wait_for("lantern.playing")
    if by == "scrub bar":
        bar = box_of(player.root.locator(".scrub input"))
        middle = bar["y"] + bar["height"] / 2
        reader.page.mouse.move(bar["x"] + 0.9 * bar["width"], middle)
        reader.page.mouse.down()
        reader.page.mouse.move(bar["x"] + 0.25 * bar["width"], middle, steps=5)
        assert abs(player.step - 0.25 * player.last) <= 1
        reader.page.mouse.up()
    elif by == "button":
        player.root.get_by_role("button", name="Pause").click()
    else:
        reader.page.keyboard.press("Space")
    player.wait_for("!lantern.playing")
    assert rests(reader, player)
    scroll(reader, "main.scrollHeight")
    reader.page.wait_for_timeout(300)
    scroll(reader, "0")
    assert rests(reader, player)


def test_what_a_reader_plays_does_not_go_on_by_itself(new_reader: NewReader) -> None:
    reader = at_home(new_reader)
    player = played(reader)
    player.wait_for("lantern.playing")
    player.root.get_by_role("button", name="Pause").click()
    player.root.get_by_role("button", name="Play", exact=True).click()
    player.wait_for("lantern.playing")
    scroll(reader, "main.scrollHeight")
    player.wait_for("!lantern.playing")
    scroll(reader, "0")
    assert rests(reader, player)


def test_every_card_moves_under_the_pointer_and_rests_again_without(new_reader: NewReader) -> None:
    reader = at_home(new_reader)
    for number in range(len(TOPICS)):
        card = Player(reader.page.locator(".player.card").nth(number))
        card.root.scroll_into_view_if_needed()
        before = card.step
        assert not card.playing
        card.root.hover()
        card.wait_for(f"lantern.playing && lantern.step !== {before}")
        reader.page.mouse.move(1, 1)
        card.wait_for(f"!lantern.playing && lantern.step === {before}")


def test_a_card_with_the_focus_pauses_out_of_sight(new_reader: NewReader) -> None:
    reader = at_home(new_reader, viewport={"width": 375, "height": 600})
    card = Player(reader.page.locator(".player.card").last)
    card.root.scroll_into_view_if_needed()
    card.root.evaluate("(root) => root.focus()")
    card.wait_for("lantern.playing")
    scroll(reader, "0")
    card.wait_for("!lantern.playing")


@pytest.mark.parametrize("part", [".player.card", ".stMarkdown", "a"])
@pytest.mark.parametrize("topic", [TOPICS[0].name, TOPICS[-1].name])
def test_every_part_of_a_card_leads_to_its_topic(new_reader: NewReader, topic: str, part: str) -> None:
    reader = at_home(new_reader)
    pressed = reader.page.locator(f".st-key-card-{topic} {part}").last
    pressed.scroll_into_view_if_needed()
    box = box_of(pressed)
    reader.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    reader.page.wait_for_url(f"**/{topic}*")
    reader.settle()
    reader.page.locator(".player:not(.card)").first.wait_for()


def test_the_cards_are_equal_and_three_in_a_row(new_reader: NewReader) -> None:
    for viewport, in_a_row in ((LARGE, 3), (PHONE, 1)):
        found = boxes(at_home(new_reader, viewport=viewport))
        assert len(found) == len(TOPICS)
        assert len({round(box["height"]) for box in found}) == 1
        assert len({round(box["x"]) for box in found}) == in_a_row
        tops = [round(box["y"]) for box in found]
        assert tops == sorted(tops)


@pytest.mark.parametrize("viewport", [LARGE, {"width": 1440, "height": 900}, PHONE])
def test_the_first_screen_says_what_the_site_is(new_reader: NewReader, viewport: dict[str, int]) -> None:
    reader = at_home(new_reader, viewport=viewport)
    welcome, player = reader.page.locator(".st-key-_welcome"), played(reader).root
    parts = [
        welcome.locator("h1"),
        welcome.locator(".stMarkdown").last,
        *player.locator("canvas:visible").all(),
    ]
    places = [box_of(part) for part in [*parts, player.locator(".controls")]]
    assert len(places) > 4
    assert places[0]["y"] >= BAR
    assert places[0]["y"] < places[1]["y"] < places[2]["y"]
    assert max(place["y"] + place["height"] for place in places) <= viewport["height"]
    if viewport is not PHONE:
        assert boxes(reader)[0]["y"] < viewport["height"] - 100


def test_the_bar_has_nothing_of_a_chapter(new_reader: NewReader) -> None:
    reader = at_home(new_reader)
    bar = reader.page.locator(".st-key-_actions")
    bar.get_by_role("button", name="Light or dark").wait_for()
    for name in ("fold", "chapters", "badge", "present"):
        assert not bar.locator(f".{name}").is_visible(), name
    reader.open("/flash_attention")
    bar.locator(".badge").wait_for()
    assert bar.locator(".present").is_visible()
