"""A default that follows from other fields, on a page: it moves with them, until a reader sets it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pytest
from streamlit.testing.v1 import AppTest

from explainers.contract.params import Params, choice, number
from tests.pages.without_browser import query, run


class Ride(Params):
    """A ride, and the minutes that it may take: ten for each kilometre, unless given."""

    fills: ClassVar[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {
        "route": {"lake": {"kilometres": 4}, "pass": {"kilometres": 9}}
    }
    derived: ClassVar[tuple[str, ...]] = ("minutes",)

    route: Literal["lake", "pass"] = choice("lake", "Route", "Where to")
    kilometres: int = number(4, "Kilometres", "How far", least=1, most=50)
    minutes: int = number(1, "Minutes", "How long at most", least=1, most=500)

    @classmethod
    def derive(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"minutes": 10 * int(values.get("kilometres", 4))}


PAGE = """
import streamlit as st
from pages.ui.settings import address, controls
from tests.pages.test_derived import Ride

address.enter("ride")
settings = controls.settings(Ride)
st.session_state["ride"] = settings.panel("route", "kilometres", "minutes")
"""

pytestmark = pytest.mark.usefixtures("own_navigation")


def ride_page(**given: str) -> AppTest:
    page = AppTest.from_string(PAGE, default_timeout=20)
    for name, value in given.items():
        page.query_params[name] = value
    return run(page)


def shown(page: AppTest) -> tuple[Any, Any, dict[str, str]]:
    """The minutes in force, the minutes on the control, and the address."""
    return page.session_state["ride"].minutes, page.slider(key="minutes").value, query(page)


def test_the_default_follows_the_other_field_and_stays_out_of_the_address() -> None:
    page = ride_page()
    assert shown(page) == (40, 40, {})
    run(page.slider(key="kilometres").set_value(7))
    assert shown(page) == (70, 70, {"kilometres": "7"})
    assert shown(ride_page(kilometres="7"))[:2] == (70, 70)


def test_what_a_reader_sets_stays() -> None:
    page = ride_page()
    run(page.slider(key="minutes").set_value(15))
    run(page.slider(key="kilometres").set_value(7))
    assert shown(page) == (15, 15, {"kilometres": "7", "minutes": "15"})
    assert shown(ride_page(kilometres="7", minutes="15"))[:2] == (15, 15)


def test_another_preset_derives_it_anew() -> None:
    page = ride_page(minutes="15")
    run(page.button_group(key="route").set_value("pass"))
    assert shown(page) == (90, 90, {"route": "pass"})
