"""Take it along: the link with its step, a QR code, the numbers as JSON, the picture as offline HTML."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path

import segno
import streamlit as st

from explainers.contract.params import Params
from explainers.player.export import page_of_bytes
from pages.ui.cards.commands import reproducing
from pages.ui.jobs.cache import result_json
from pages.ui.settings import address
from pages.ui.streamlit_internals import component

LONGEST_QR = 2000  # bytes; more makes a code that no camera reads

_html, _css, _js = (
    Path(__file__).with_name(f"take.{ending}").read_text(encoding="utf-8") for ending in ("html", "css", "js")
)
_link = component("lantern_take", html=_html, css=_css, js=_js)


def link(commands: str) -> None:
    """Copies the address as it stands, step included, or shows it as a QR code until a setting changes.

    commands: the lines that give the same in a terminal, shown and copied as they are.
    """
    data = {"commands": commands}
    result = _link(key="_link", data=data, height="content", on_code_change=lambda: None)
    here = (address.visit().page, address.written(address.visit().page))
    if isinstance(result.code, str) and result.code:  # not so if something else than our page sent it
        st.session_state["_code"] = (result.code, here)
    shown, belongs_to = st.session_state.get("_code", ("", here))
    if not shown or belongs_to != here:
        return
    if len(shown.encode()) > LONGEST_QR:
        st.text("This link is too long for a QR code that a camera can read; copy it instead.")
        return
    st.image(qr_svg(shown), width=220)


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
    )
    return image.getvalue().decode()


def downloads(name: str, files: Iterable[tuple[str, str, Callable[[], str | bytes]]]) -> None:
    """A row of downloads. files: label, ending ("json", "html"), and what makes the contents on a click."""
    types = {"json": "application/json", "html": "text/html"}
    with st.container(horizontal=True, gap="xsmall", key=f"downloads-{name}"):
        for label, ending, make in files:
            st.download_button(
                label,
                data=make,
                file_name=f"{name}.{ending}",
                mime=types[ending],
                key=f"download-{name}-{ending}",
                on_click="ignore",
            )


def take_along(experiment: str, params: Params, scene: bytes | None = None) -> None:
    """The link, the files, and the commands that give the same picture and numbers in a terminal.

    scene: the player's blob, where the experiment has one.
    """
    link(reproducing(experiment, params, picture=scene is not None))
    files: list[tuple[str, str, Callable[[], str | bytes]]] = []
    if scene is not None:
        files.append(("Offline HTML", "html", lambda: page_of_bytes(scene, experiment)))
    files.append(("JSON", "json", lambda: result_json(experiment, params)))
    downloads(experiment, files)
