"""The right end of the top bar: the checks, the link and its QR code, presenting, the theme."""

from __future__ import annotations

import io
from collections.abc import Sequence

import segno
import streamlit as st

from explainers.contract.result import Check
from pages.ui.cards.component import card_component
from pages.ui.settings import address
from pages.ui.topics import TOPICS

LONGEST_QR = 2000  # bytes; more makes a code that no camera reads
KEY = "_bar-actions"
PATHS = ["/", *(f"/{topic.name}" for topic in TOPICS)]

_actions = card_component("actions")


def show(
    checks: Sequence[Check] = (), on_home: bool = False, chapters: Sequence[str] = (), chosen: str = ""
) -> None:
    """How many checks pass, and the buttons that every page has.

    on_home: those of a chapter are left out. chapters: the titles on the tabs, chosen: of the one on the screen.
    """
    passed = sum(check.passed for check in checks)
    data = {"passed": passed, "checks": len(checks), "code": _code(), "paths": PATHS, "home": on_home}
    data |= {"chapters": list(chapters), "chosen": chosen}
    _actions(key=KEY, data=data, on_code_change=_ask_for_code)


def _ask_for_code() -> None:
    """Notes the address whose QR code is wanted, with the settings to which it belongs."""
    link = (st.session_state.get(KEY) or {}).get("code")
    if isinstance(link, str):  # not so if something else than our page sent it
        here = address.visit().page
        st.session_state["_code"] = (link, (here, address.written(here)))


def _code() -> str:
    """The QR code of the link that was asked for, until a setting changes; "" before."""
    here = (address.visit().page, address.written(address.visit().page))
    link, belongs_to = st.session_state.get("_code", ("", here))
    if not link or belongs_to != here:
        return ""
    if len(link.encode()) > LONGEST_QR:
        return "This link is too long for a QR code that a camera can read; copy it instead."
    return qr_svg(link)


def qr_svg(text: str) -> str:
    """The QR code of `text` as an SVG image, dark on white in every theme."""
    image = io.BytesIO()
    segno.make(text, error="m", micro=False).save(
        image,
        kind="svg",
        scale=5,
        border=3,
        light="#fff",
        xmldecl=False,
        svgns=True,
        title="QR code of this page",
        omitsize=True,
    )
    return image.getvalue().decode()
