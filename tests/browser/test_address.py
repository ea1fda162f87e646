"""The address bar: a link reproduces the screen, back and forward walk through it, nonsense is told and ignored."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator

from tests.browser.conftest import NewReader
from tests.browser.reader import TILES, Reader

PAGE = "/flash_attention"
OTHER = "seq_len=48&head_dim=64&block_q=8&block_k=32&causal=false&score_scale=2&outlier=40&seed=7&row=21"


def slider(reader: Reader, label: str) -> Locator:
    return reader.page.locator(f'[data-testid=stSlider] input[aria-label="{label}"]').first


def move(reader: Reader, label: str, key: str = "ArrowRight") -> None:
    """One step of a slider by keyboard, and the rerun that follows."""
    before = reader.query()
    slider(reader, label).press(key)
    reader.page.wait_for_function("(before) => location.search.slice(1) !== before", arg=before)
    reader.settle()


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
    reader.page.locator("[data-testid=stSidebar] a").first.click()
    reader.page.wait_for_function("() => location.pathname === '/'")
    reader.settle()
    reader.page.locator("[data-testid=stSidebar] a[href*='flash_attention']").click()
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
