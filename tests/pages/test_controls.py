"""Controls, address and history of a small page that uses them as real pages do, without the browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import pytest
from pydantic import Field
from streamlit.testing.v1 import AppTest

from explainers.contract.params import Adjustment, Params, choice, number, several, switch, text
from tests.pages.without_browser import open_page, query, run, sentences

LONG = "a label so long that two such do not stand side by side"


class Grid(Params):
    """One field of each kind, and a rule across two of them."""

    length: int = number(64, "Length", "How many rows", least=8, most=4096, comfort=(8, 256), step=8)
    block: int = number(16, "Block", "Rows of a tile", least=1, most=256, options=(8, 16, 32, 64))
    scale: float = number(1.0, "Scale", "Factor", least=0.1, most=8, step=0.1)
    causal: bool = switch(True, "Causal", "Sees earlier ones only")
    broken: Literal["none", "a", "b", "c", "d"] = choice("none", "Break it", "Left out", {"none": "nothing"})
    order: Literal["rows", "columns"] = choice(
        "rows", "Order", "Which first", {"rows": LONG, "columns": LONG[::-1]}
    )
    seed: int = number(0, "Seed", "Of the numbers", least=0, most=2**31 - 1)
    row: tuple[float, ...] = Field(default=(), title="Row")
    chosen: tuple[Literal["ant", "bee", "cow"], ...] = several(("ant",), "Animals", "To compare", most=2)
    words: str = text("", "Words", "Any", longest=100_000, long_text=True)

    def adjustments(self) -> Iterator[Adjustment]:
        if self.block > self.length:
            yield Adjustment(
                "block", self.length, f"A block of {self.block} is longer than {self.length}; it was cut."
            )


class Traffic(Params):
    length: int = number(1024, "Length", "How many", least=128, most=131072, options=(128, 1024, 131072))


# A page of a few lines that uses the controls as real pages do.
SMALL_PAGE = """
import streamlit as st
from pages.ui.settings import address
from pages.ui.settings import controls
from tests.pages.test_controls import Grid, Traffic

address.enter("small")
settings = controls.settings(Grid, traffic=Traffic)
st.session_state["step"] = settings.step(10)
grid = settings.panel("length", "block", "scale", "causal", "broken", "order", "seed", "row", "chosen", "words")
settings.panel("length", prefix="traffic")
settings.reset_button()
settings.report("")
settings.try_this([("Long", {"length": 128, "block": 32})])
settings.changed({"tiles": grid.length // grid.block})
st.session_state["grid"], st.session_state["traffic"] = grid, settings.params("traffic")
"""


pytestmark = pytest.mark.usefixtures("own_navigation")


def small_page(**query: str) -> AppTest:
    """The small page, opened with this address."""
    page = AppTest.from_string(SMALL_PAGE, default_timeout=20)
    for name, value in query.items():
        page.query_params[name] = value
    return run(page)


def grid(page: AppTest) -> Any:
    return page.session_state["grid"]


# ------------------------------------------------------------------------------------------------- the controls


def test_every_kind_of_field_has_its_control() -> None:
    page = small_page()
    assert [slider.label for slider in page.slider] == ["Length", "Scale"]
    assert [slider.label for slider in page.select_slider] == ["Block", "Length"]
    assert [box.label for box in page.button_group] == ["Causal", "Break it"]
    assert [box.label for box in page.selectbox] == ["Order"]
    assert [box.label for box in page.multiselect] == ["Animals"]
    assert [box.label for box in page.number_input] == ["Seed"]
    assert [box.label for box in page.text_input] == ["Row"]
    assert [area.label for area in page.text_area] == ["Words"]
    assert not sentences(page)


def test_an_address_sets_every_kind_of_control() -> None:
    page = small_page(
        length="128",
        block="32",
        scale="2.5",
        causal="false",
        broken="b",
        order="columns",
        seed="7",
        row="1,2.5",
        chosen="cow,bee",
        words="a b",
    )
    assert grid(page).model_dump() == {
        "length": 128,
        "block": 32,
        "scale": 2.5,
        "causal": False,
        "broken": "b",
        "order": "columns",
        "seed": 7,
        "row": (1.0, 2.5),
        "chosen": ("cow", "bee"),
        "words": "a b",
    }
    assert page.slider(key="length").value == 128
    assert page.select_slider(key="block").value == 32
    assert page.button_group(key="broken").value == "b"
    assert page.selectbox(key="order").value == "columns"
    assert page.multiselect(key="chosen").value == ["cow", "bee"]


def test_several_choices_change_params_and_address() -> None:
    page = small_page()
    run(page.multiselect(key="chosen").set_value(["bee", "ant"]))
    assert grid(page).chosen == ("bee", "ant")
    assert query(page) == {"chosen": "bee,ant"}


@pytest.mark.parametrize("kind", ["button_group", "selectbox"])
def test_a_choice_of_either_kind_changes_params_and_address(kind: str) -> None:
    name, value = {"button_group": ("broken", "c"), "selectbox": ("order", "columns")}[kind]
    page = small_page()
    run(getattr(page, kind)(key=name).set_value(value))
    assert getattr(grid(page), name) == value
    assert query(page) == {name: value}


def test_names_with_a_prefix_belong_to_the_other_experiment() -> None:
    page = small_page(**{"traffic.length": "131072"})
    assert page.session_state["traffic"].length == 131072
    assert grid(page).length == 64


@pytest.mark.parametrize(
    ("name", "value", "used"),
    [
        ("length", "1e9", 64),
        ("length", "nan", 64),
        ("block", "-3", 16),
        ("causal", "maybe", True),
        ("seed", "<script>", 0),
        ("broken", "**bold** [link](http://x)", "none"),
        ("row", "1,two", ()),
        ("chosen", "ant,dog", ("ant",)),
        ("chosen", "ant,bee,cow", ("ant",)),
        ("words", "z~AAAA", ""),
        ("scale", "inf", 1.0),
        ("scale", "9" * 500, 1.0),
    ],
)
def test_a_hostile_value_is_ignored_with_one_sentence(name: str, value: str, used: Any) -> None:
    page = small_page(**{name: value})
    assert getattr(grid(page), name) == used
    told = sentences(page)
    assert len(told) == 1
    assert told[0].startswith(f"{name} = ")
    assert "allowed: " in told[0]
    assert "The page uses" in told[0]


def test_many_unknown_names_make_few_sentences() -> None:
    page = small_page(**{f"unheard{number}": "1" for number in range(500)})
    assert len(sentences(page)) == 7
    assert sentences(page)[-1] == "And 494 more of the same kind."


def test_a_value_beyond_the_comfortable_range_is_kept_and_shown() -> None:
    page = small_page(length="4000", block="100")
    assert not sentences(page)
    assert (page.slider(key="length").value, page.slider(key="length").max) == (4000, 4000)
    assert page.select_slider(key="block").value == 100


def test_a_range_that_shrinks_back_keeps_the_value() -> None:
    page = small_page(length="4000")
    run(page.slider(key="length").set_value(128))
    assert (grid(page).length, page.slider(key="length").value, page.slider(key="length").max) == (
        128,
        128,
        256,
    )
    run(page)
    assert (grid(page).length, page.slider(key="length").value) == (128, 128)


def test_a_control_changes_params_and_address() -> None:
    page = small_page()
    run(page.slider(key="length").set_value(128))
    assert grid(page).length == 128
    assert query(page) == {"length": "128"}
    assert sentences(page) == ["Length 64 → 128: tiles 4 → 8"]
    run(page.slider(key="length").set_value(64))
    assert query(page) == {}


def test_a_change_forgets_what_the_address_had_wrong_and_the_step() -> None:
    page = small_page(block="many", step="3")
    assert page.session_state["step"] == 3
    run(page.slider(key="length").set_value(128))
    assert page.session_state["step"] is None
    assert query(page) == {"length": "128"}
    assert not [line for line in sentences(page) if "not accepted" in line]


def test_a_step_beyond_the_last_is_said() -> None:
    page = small_page(step="99")
    assert page.session_state["step"] == 9
    assert sentences(page) == ["step = 99 does not exist; showing the last step."]


def test_rules_across_fields_are_mended_and_said_and_nothing_sticks() -> None:
    page = small_page(length="8", block="64")
    assert (grid(page).block, page.select_slider(key="block").value) == (8, 8)
    assert sentences(page) == ["A block of 64 is longer than 8; it was cut."]
    run(page.select_slider(key="block").set_value(16))
    assert grid(page).block == 8
    assert sentences(page) == ["A block of 16 is longer than 8; it was cut."]
    run(page.slider(key="length").set_value(64))
    run(page.select_slider(key="block").set_value(16))
    assert grid(page).block == 16
    assert not [line for line in sentences(page) if "longer" in line]


def test_text_that_is_refused_stays_to_be_mended() -> None:
    page = small_page(row="1,2")
    run(page.text_input(key="row").set_value("1,two"))
    assert grid(page).row == (1.0, 2.0)
    assert page.text_input(key="row").value == "1,two"
    assert "The page still uses 1,2." in sentences(page)[0]
    run(page.text_input(key="row").set_value("1,2,3"))
    assert grid(page).row == (1.0, 2.0, 3.0)
    assert not [line for line in sentences(page) if "not accepted" in line]


def test_long_text_leaves_the_link_with_a_sentence() -> None:
    page = small_page()
    run(page.text_area(key="words").set_value("".join(chr(33 + i * i * 7919 % 90) for i in range(40_000))))
    assert len(query(page).get("words", "")) <= 4096
    run(page.text_area(key="words").set_value("word " * 1000))
    assert query(page)["words"].startswith("z~")


def test_one_click_sets_several_fields_and_reset_undoes_them() -> None:
    page = small_page(scale="3")
    run(next(button for button in page.button if button.label == "Long").click())
    assert (grid(page).length, grid(page).block, grid(page).scale) == (128, 32, 1.0)
    assert page.slider(key="length").value == 128
    assert query(page) == {"length": "128", "block": "32"}
    run(page.button(key="reset-").click())
    assert grid(page) == type(grid(page))()
    assert query(page) == {}


def test_back_in_the_history_shows_what_the_address_says(monkeypatch: pytest.MonkeyPatch) -> None:
    page = small_page()
    run(page.slider(key="length").set_value(128))
    run(page.slider(key="length").set_value(256))
    page.query_params.clear()
    page.query_params["length"] = "128"

    monkeypatch.setattr("pages.ui.settings.address.walked_through_history", lambda: True)
    run(page)
    assert grid(page).length == 128
    assert page.slider(key="length").value == 128
    monkeypatch.undo()
    run(page.slider(key="length").set_value(8))
    assert query(page) == {"length": "8", "block": "8"}


def test_a_chapter_offers_the_world_of_the_running_agent() -> None:
    page = open_page("pages/grid_world.py", chapter="solve", gamma="0.85", changes="300:r_forbidden=-10")
    assert any("another one (Discount γ, Forbidden)" in one.value for one in page.caption)
    run(next(button for button in page.button if button.label == "Take the agent's").click())
    assert query(page)["solve.gamma"] == "0.85"
    assert query(page)["solve.r_forbidden"] == "-10"
    assert not any("another one" in one.value for one in page.caption)


def test_a_break_gives_back_what_it_changed() -> None:
    """The next break, and nothing, begin from what the reader had; what was changed since stays."""
    address = {"chapter": "search", "function": "sine", "w1": "2.5", "step_rule": "constant", "c": "0.3"}
    page = open_page("pages/stochastic_approximation.py", **address)
    run(page.button(key="break--biased_noise").click())
    assert query(page) == {
        "chapter": "search",
        "function": "linear",
        "c": "0.3",
        "steps": "200",
        "break_it": "biased_noise",
    }
    run(page.slider(key="sigma").set_value(2.0))
    run(page.slider(key="low").set_value(-6.0))
    run(page.button(key="break--too_small_steps").click())
    assert query(page)["w1"] == "12"
    assert query(page)["low"] == "-6"
    assert "sigma" not in query(page)  # the break needs it as it is by default
    run(page.button(key="break--none").click())
    assert query(page) == address | {"sigma": "2", "low": "-6"}


def test_a_break_of_a_link_gives_back_the_defaults() -> None:
    page = open_page(
        "pages/stochastic_approximation.py", chapter="search", function="cubic", break_it="as_printed"
    )
    run(page.button(key="break--none").click())
    assert query(page) == {"chapter": "search"}


def test_settings_that_diverge_leave_the_page_standing() -> None:
    page = open_page("pages/stochastic_approximation.py", chapter="sgd", step_rule="constant", c="3")
    assert not page.exception
    page = open_page("pages/stochastic_approximation.py", chapter="search", g="1e300*w")
    assert not page.exception
    assert not [line for line in sentences(page) if "This run failed" in line]
