"""A live run under a reader's hands: it goes on, it changes on the way, and its link brings everything back."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NewReader
from tests.browser.reader import Player, Reader

LEARNING = "An agent that learns"
WIDE = "/".join(["S24."] + 23 * ["25."] + ["24.T"])


@pytest.fixture
def player(reader: Reader) -> Player:
    reader.open("/grid_world")
    player = reader.player(LEARNING)
    player.root.get_by_label("Speed").select_option("256")
    player.take()
    return player


def changes(reader: Reader) -> str:
    return parse_qs(urlsplit(reader.page.url).query).get("changes", [""])[0]


def nudge(reader: Reader, name: str) -> None:
    """One step of a slider, by its key."""
    reader.page.locator(f".st-key-{name} input").focus()
    reader.page.keyboard.press("ArrowRight")


def play_beyond(player: Player, step: int) -> None:
    player.root.get_by_label("Play").click()
    player.wait_for(f"lantern.step > {step}")


def pause(player: Player) -> None:
    player.root.get_by_label("Pause").click()
    player.root.page.wait_for_timeout(600)


def test_a_run_goes_on_beyond_what_was_sent_first(player: Player, reader: Reader) -> None:
    first = player.read("steps")
    play_beyond(player, first + 500)
    assert player.playing
    assert player.read("first") == 0
    pause(player)
    assert parse_qs(urlsplit(reader.page.url).query)["step"] == [str(player.step)]
    reader.page.keyboard.press("Home")
    assert player.step == 0


def test_a_change_holds_from_the_step_on_the_screen(
    player: Player, reader: Reader, new_reader: NewReader
) -> None:
    play_beyond(player, 700)
    before = player.step
    nudge(reader, "epsilon")
    reader.page.wait_for_url(re.compile("changes="))
    time, setting = changes(reader).split(":")
    assert before < int(time) <= player.step + 1
    assert setting == "epsilon=0.11"
    player.wait_for("lantern.playing && lantern.step > 6000")
    pause(player)
    other = new_reader()
    other.open(urlsplit(reader.page.url).path + "?" + urlsplit(reader.page.url).query)
    again = other.player(LEARNING)
    assert again.step == player.step
    assert again.sentence == player.sentence


def test_changes_one_after_the_other_all_hold(player: Player, reader: Reader) -> None:
    """The run goes on from where it is, chunks later, too; and an earlier change stays."""
    play_beyond(player, 5400)
    nudge(reader, "epsilon")
    reader.page.wait_for_url(re.compile("changes="))
    first = changes(reader)
    player.wait_for("lantern.step > 7000")
    nudge(reader, "gamma")
    reader.page.wait_for_url(re.compile("gamma"))
    assert player.playing
    assert player.step >= 7000
    assert changes(reader).startswith(f"{first}|")
    assert changes(reader).endswith(":gamma=0.91")


@pytest.mark.parametrize(
    ("name", "title"), [("The exact answer", "The exact values"), ("Race", "Agents that race")]
)
def test_another_chapter_opens_from_a_run(player: Player, reader: Reader, name: str, title: str) -> None:
    """The click tells the step too, and the browser sends both as one run of the fragment."""
    play_beyond(player, 300)
    reader.page.get_by_role("radio", name=name, exact=True).click()
    assert reader.player(title).last > 0


def test_what_a_brush_cannot_do_is_said_and_nothing_else_changes(reader: Reader) -> None:
    reader.open("/grid_world?step=50")
    player = reader.player(LEARNING)
    take_brush(reader, "wall")
    reader.page.mouse.click(*corner(player, "world", 0, 0))
    expect(reader.page.get_by_test_id("stToast")).to_contain_text("start")
    reader.settle()
    assert player.step == 50
    bar = reader.page.locator("[data-testid=stLayoutWrapper]:has(> .st-key-_bar)")
    assert bar.evaluate("(one) => getComputedStyle(one).position") == "fixed"  # the page keeps its look


def test_a_link_fetches_what_was_before_its_step(reader: Reader) -> None:
    reader.open("/grid_world?step=12000")
    player = reader.player(LEARNING)
    player.wait_for("lantern.first === 0")
    assert player.step == 12000


def test_going_back_and_changing_forgets_what_came_after(player: Player, reader: Reader) -> None:
    reader.open("/grid_world?changes=100%3Aepsilon%3D0.5%7C900%3Aalpha%3D0.2&step=400")
    player = reader.player(LEARNING)
    assert player.step == 400
    nudge(reader, "epsilon")
    expect(reader.page).to_have_url(re.compile("401"))
    assert changes(reader) == "100:epsilon=0.5|401:epsilon=0.51"
    assert player.step == 400


def corner(player: Player, panel: str, row: int, column: int) -> tuple[float, float]:
    """The middle of a cell of the 5 x 5 world on the page."""
    canvas = player.root.locator(f"[data-panel={panel}] canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box
    side = box["height"] / 5.3
    return box["x"] + (column + 0.5) * side, box["y"] + (row + 0.5) * side


def take_brush(reader: Reader, name: str) -> None:
    reader.page.get_by_role("radio", name=name, exact=True).click()
    reader.settle()


def test_a_drag_paints_walls_and_undo_takes_them_back(reader: Reader) -> None:
    reader.open("/grid_world?step=50")
    player = reader.player(LEARNING)
    take_brush(reader, "wall")
    assert player.step == 50
    reader.page.mouse.move(*corner(player, "world", 0, 3))
    reader.page.mouse.down()
    reader.page.mouse.move(*corner(player, "world", 1, 3), steps=4)
    reader.page.mouse.up()
    reader.page.wait_for_url(re.compile("changes="))
    assert changes(reader) == "51:world=S..#./.xx#./..x../.xTx./.x..."
    reader.settle()
    assert player.step == 50
    reader.page.get_by_role("button", name="Undo").click()
    reader.settle()
    assert changes(reader) == ""


def test_a_click_without_a_brush_shows_the_last_update_of_a_cell(reader: Reader) -> None:
    reader.open("/grid_world?step=300")
    player = reader.player(LEARNING)
    reader.page.mouse.click(*corner(player, "world", 0, 1))
    player.wait_for("lantern.step < 300")
    assert ", row 1, column 2: the agent" in player.sentence
    assert changes(reader) == ""


def test_taking_a_brush_does_not_stop_a_run(player: Player, reader: Reader) -> None:
    play_beyond(player, 300)
    take_brush(reader, "wall")
    assert player.playing
    assert player.step > 300


def test_a_click_on_a_cell_opens_its_equation(reader: Reader) -> None:
    reader.open("/grid_world?chapter=solve")
    player = reader.player("The exact values")
    reader.page.mouse.click(*corner(player, "q", 2, 4))
    player.wait_for("lantern.step > 0")
    assert player.sentence.startswith("Row 3, column 5 is worth ")


def test_a_world_of_25_by_25_is_drawn_in_time(reader: Reader) -> None:
    """Sixty frames a second need 16 ms each; the benchmark of the browser says what it takes, this only guards it."""
    reader.open(f"/grid_world?world={WIDE}")
    player = reader.player(LEARNING)
    player.root.get_by_label("Play").click()
    player.wait_for("lantern.step > 40")
    times = sorted(player.read("drawTimes"))
    assert times[len(times) // 2] < 40


def test_a_click_from_elsewhere_is_no_step(reader: Reader) -> None:
    """The page changes nothing at the start: there a moved control begins a run of its own."""
    reader.open("/grid_world")
    nudge(reader, "alpha")
    reader.settle()
    assert "alpha=0.11" in reader.query()
    assert changes(reader) == ""


def test_a_link_into_a_run_with_a_slip_of_two_thirds(reader: Reader) -> None:
    """A slider rounds two thirds to ten digits; that is no other slip, and no new run."""
    reader.open("/grid_world?preset=frozen_lake_4x4&step=9000")
    assert reader.player(LEARNING).step == 9000
    assert "slip" not in reader.query()


def test_a_reader_who_looks_elsewhere_comes_back_to_the_same_transition(
    player: Player, reader: Reader
) -> None:
    play_beyond(player, 6000)
    pause(player)
    step, sentence = player.step, player.sentence
    reader.page.get_by_role("radio", name="Plan", exact=True).click()
    reader.player("Planning")
    reader.page.get_by_role("radio", name="Watch it learn", exact=True).click()
    again = reader.player(LEARNING)
    again.wait_for(f"lantern.step === {step}")
    assert again.sentence == sentence


def test_back_after_a_reset_brings_back_the_run_and_nothing_else(reader: Reader) -> None:
    """The player asks for what was before while the browser still shows the controls of the reset."""
    run = "3000:r_forbidden=-10"
    reader.open(f"/grid_world?changes={run}&step=4000")
    reader.page.locator(".st-key-alpha").get_by_role("slider").focus()
    reader.page.keyboard.press("ArrowRight")
    reader.page.wait_for_url("**alpha**")
    reader.settle()
    reader.page.get_by_role("button", name="Reset").click()
    reader.page.wait_for_function("!window.location.search.includes('changes')")
    reader.settle()
    reader.page.go_back()
    reader.page.wait_for_url("**alpha**")
    reader.settle()
    assert changes(reader) == f"{run}|4001:alpha=0.11"
    reader.page.go_back()
    reader.settle()
    assert changes(reader) == run
