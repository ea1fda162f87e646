"""The address bar: a link reproduces the screen, back and forward walk through it, nonsense is told and ignored."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import NewReader
from tests.browser.reader import TILES, Reader

PAGE = "/flash_attention"
CHAPTER = "The chapter of this page"
PLAYED = {  # chapter -> title of its scene, and a slider of it
    "softmax": ("Online softmax", "Block size"),
    "orders": ("Two loop orders", "Query block"),
    "backward": ("Flash attention, backward", "Query block"),
}
OTHER = "seq_len=48&head_dim=64&block_q=8&block_k=32&causal=false&score_scale=2&outlier=40&seed=7&row=21"


def slider(reader: Reader, label: str) -> Locator:
    return reader.page.locator(f'[data-testid=stSlider] input[aria-label="{label}"]').first


def move(reader: Reader, label: str, key: str = "ArrowRight") -> None:
    """One step of a slider by keyboard, and the rerun that follows; the keys belong to nobody afterwards."""
    before = reader.query()
    slider(reader, label).press(key)
    reader.page.wait_for_function("(before) => location.search.slice(1) !== before", arg=before)
    reader.settle()
    slider(reader, label).blur()


def test_a_link_restores_every_control_and_the_step(new_reader: NewReader) -> None:
    first = new_reader()
    first.open(PAGE)
    move(first, "Sequence length")
    move(first, "Key block")
    first.page.get_by_role("radiogroup", name="Causal").first.get_by_role("radio", name="off").click()
    first.page.wait_for_url("**causal=false**")
    first.settle()
    player = first.player(TILES)
    player.take()
    for _ in range(5):
        first.page.keyboard.press("ArrowRight")
    first.page.wait_for_url(f"**step={player.step}**")

    second = new_reader()
    second.open(first.page.url.removeprefix(first.site.url))
    again = second.player(TILES)
    assert second.controls() == first.controls()
    assert again.step == player.step
    assert again.sentence == player.sentence


@pytest.mark.parametrize("chapter", PLAYED)
def test_a_link_restores_chapter_controls_and_step(new_reader: NewReader, chapter: str) -> None:
    title, label = PLAYED[chapter]
    first = new_reader()
    first.open(f"{PAGE}?chapter={chapter}")
    move(first, label, "ArrowLeft")
    player = first.player(title)
    player.take()
    first.page.keyboard.press("Home")
    for _ in range(3):
        first.page.keyboard.press("ArrowRight")
    first.page.wait_for_url(f"**{chapter}.step=3**")

    second = new_reader()
    second.open(first.page.url.removeprefix(first.site.url))
    again = second.player(title)
    assert second.controls() == first.controls()
    assert second.page.locator("h2").all_inner_texts() == first.page.locator("h2").all_inner_texts()
    assert (again.step, again.last) == (3, player.last)
    assert again.sentence == player.sentence


def turn_to(reader: Reader, label: str) -> None:
    """Turns to another chapter of the page."""
    chapter = reader.page.get_by_role("radiogroup", name=CHAPTER).get_by_role("radio", name=label)
    heading = "document.querySelector('h1')?.innerText ?? null"
    before = reader.page.evaluate(heading)
    chapter.click()
    reader.page.wait_for_function(f"(before) => ({heading}) !== before", arg=before)
    reader.settle()


def test_back_and_forward_walk_through_chapters(reader: Reader) -> None:
    """What is shown: the chapter's heading, and every control."""

    def shown() -> tuple[list[str], list]:
        return reader.page.locator("h1").all_inner_texts(), reader.controls()

    reader.open(PAGE)
    states = [shown()]
    turn_to(reader, "One row")
    states.append(shown())
    move(reader, "Block size", "ArrowLeft")
    states.append(shown())
    turn_to(reader, "Loop orders")
    states.append(shown())
    assert all(state not in states[:number] for number, state in enumerate(states))
    for going, number in (
        ("back", 2),
        ("back", 1),
        ("back", 0),
        ("forward", 1),
        ("forward", 2),
        ("forward", 3),
    ):
        getattr(reader.page, f"go_{going}")()
        reader.page.wait_for_timeout(300)
        reader.settle()
        assert shown() == states[number], (going, number)


def test_a_chapter_keeps_its_settings_while_another_is_read(reader: Reader) -> None:
    reader.open(PAGE)
    turn_to(reader, "One row")
    move(reader, "Block size", "ArrowLeft")
    left = reader.controls()
    turn_to(reader, "Backward")
    turn_to(reader, "One row")
    assert reader.controls() == left


def test_a_link_with_every_setting(new_reader: NewReader) -> None:
    """What differs from the defaults stays in the address, and the controls show it."""
    plain, other = new_reader(), new_reader()
    plain.open(PAGE)
    other.open(f"{PAGE}?{OTHER}&step=11")
    assert other.player(TILES).step == 11
    assert parse_qs(other.query()) == parse_qs(f"{OTHER}&step=11")
    shown = dict(reversed(other.controls()))  # the first of a name belongs to the page's main experiment
    assert [shown[label] for label in ("Sequence length", "Query block", "Key block", "Causal")] == [
        "48",
        "8",
        "32",
        "off",
    ]
    assert len(other.controls()) == len(plain.controls())


def test_back_and_forward_walk_through_what_was_shown(reader: Reader) -> None:
    reader.open(PAGE)
    states = [reader.controls()]
    for label in ("Query block", "Key block"):
        move(reader, label)
        states.append(reader.controls())
    assert states[0] != states[1] != states[2]
    for going, state in (
        ("back", states[1]),
        ("back", states[0]),
        ("forward", states[1]),
        ("forward", states[2]),
    ):
        getattr(reader.page, f"go_{going}")()
        reader.page.wait_for_timeout(300)
        reader.settle()
        assert reader.controls() == state, going


def test_settings_survive_a_visit_to_another_page(reader: Reader) -> None:
    reader.open(PAGE)
    move(reader, "Query block")
    left = reader.controls()
    reader.page.get_by_role("link", name="Lantern").click()
    reader.page.wait_for_function("() => location.pathname === '/'")
    reader.settle()
    reader.page.get_by_role("button", name="Topics").click()
    reader.page.locator(".st-key-_navigation a[href*='flash_attention']").click()
    reader.page.wait_for_url("**/flash_attention?*block_q*")
    reader.settle()
    assert reader.controls() == left


def test_a_slider_changes_the_picture(reader: Reader) -> None:
    reader.open(PAGE)
    steps = reader.player(TILES).last
    move(reader, "Query block", "ArrowLeft")
    reader.player(TILES).wait_for(f"lantern.steps - 1 > {steps}")


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("seq_len=1e9&block_q=-3&causal=maybe&seed=<script>", ["seq_len", "block_q", "causal", "seed"]),
        ("seq_len=16&block_q=64", ["block"]),
        ("step=99999999999&step=-1", ["step"]),
        ("step=100000", ["step"]),
        ("seq_lem=64&" + "x" * 500 + "=1", ["seq_lem", "did you mean seq_len"]),
        ("row=%00%ff%F0%9F%8F%AE&seq_len=64&seq_len=nan", ["row", "seq_len"]),
    ],
)
def test_nonsense_gets_a_sentence_and_a_standing_page(reader: Reader, query: str, told: list[str]) -> None:
    reader.open(f"{PAGE}?{query}")
    words = reader.words()
    assert not [word for word in told if word not in words]
    player = reader.player(TILES)
    player.take()
    reader.page.keyboard.press("End")
    assert player.step == player.last
    assert not urlsplit(reader.page.url).fragment
    move(reader, "Sequence length")


@pytest.mark.parametrize(
    ("chapter", "query", "told"),
    [
        (
            "softmax",
            "softmax.length=1e9&softmax.scores=one,two&softmax.block=-3&softmax.step=-1",
            ["softmax.length", "softmax.scores", "softmax.block", "softmax.step"],
        ),
        ("softmax", "softmax.scores=z~AAAA&seq_len=nan", ["softmax.scores", "seq_len"]),
        (
            "backward",
            "backward.seq_len=nan&backward.causal=<script>&backward.step=99999&traffic.sram_bytes=0",
            ["backward.seq_len", "backward.causal", "backward.step", "traffic.sram_bytes"],
        ),
    ],
)
def test_nonsense_is_told_in_the_chapter_that_is_read(
    reader: Reader, chapter: str, query: str, told: list[str]
) -> None:
    title, label = PLAYED[chapter]
    reader.open(f"{PAGE}?chapter={chapter}&{query}")
    words = reader.words()
    assert not [word for word in told if f"{word} = " not in words]
    assert "This run failed" not in words
    player = reader.player(title)
    player.take()
    reader.page.keyboard.press("End")
    assert player.step == player.last
    move(reader, label, "ArrowLeft")


@pytest.mark.parametrize("chapter", ["<script>", "Tiles", "", "race%00"])
def test_a_chapter_that_does_not_exist_is_told_and_the_first_is_shown(reader: Reader, chapter: str) -> None:
    reader.open(f"{PAGE}?chapter={chapter}")
    assert "chapter = " in reader.words()
    reader.player(TILES)


@pytest.mark.parametrize(
    ("address", "title", "says"),
    [
        ("/home", "Language models and reinforcement learning, from the inside", None),
        ("/kv_cache/", "The KV cache, counted and measured", None),
        ("/packing/?chapter=run", "The same decoder, three ways", None),
        (
            "/kv_cahce",
            "Language models and reinforcement learning, from the inside",
            "Did you mean The KV cache",
        ),
        (
            "/nonsense",
            "Language models and reinforcement learning, from the inside",
            "There is no page /nonsense",
        ),
    ],
)
def test_an_address_leads_somewhere_sensible(
    reader: Reader, address: str, title: str, says: str | None
) -> None:
    reader.open(address)
    expect(reader.page.get_by_role("heading", name=title, level=1)).to_be_visible()
    assert not reader.page.get_by_role("dialog").count()
    told = reader.page.get_by_text("There is no page")
    if says is None:
        assert not told.count()
    else:
        expect(told).to_contain_text(says)
