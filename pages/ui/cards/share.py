"""Take it along: the link with its step, a QR code, the numbers as JSON, the picture as offline HTML."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable

import segno
import streamlit as st

from explainers.contract.params import Params
from explainers.player.export import page_of_bytes
from pages.ui.cards.commands import reproducing
from pages.ui.jobs.cache import result_json
from pages.ui.settings import address
from pages.ui.streamlit_internals import component

LONGEST_QR = 2000  # characters; more makes a code that no camera reads

_TAKE_HTML = """
<button type="button" class="copy">Copy link</button>
<button type="button" class="qr">QR code</button>
<button type="button" class="commands">Copy commands</button>
<span role="status"></span>
<pre tabindex="0" aria-label="The same in a terminal"></pre>
"""

_TAKE_CSS = """
:host { display: block; }
button {
  font: inherit; font-size: 0.87rem; padding: 0.25rem 0.6rem; margin-right: 0.35rem; cursor: pointer;
  color: var(--st-text-color); background: transparent;
  border: 1px solid var(--st-border-color); border-radius: var(--st-button-radius);
}
button:hover, button:focus-visible { border-color: var(--st-primary-color); color: var(--st-primary-color); }
pre {
  margin: 0.7rem 0 0; padding: 0.6rem 0.8rem; white-space: pre-wrap; overflow-wrap: anywhere;
  font: 0.82rem/1.6 var(--st-code-font); background: var(--st-code-background-color); border-radius: 8px;
}
span { font-size: 0.83rem; color: var(--st-gray-text-color); }
"""

_TAKE_JS = """
function copied(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text)
  const area = document.createElement("textarea")
  area.value = text
  document.body.append(area)
  area.select()
  const done = document.execCommand("copy")
  area.remove()
  return done ? Promise.resolve() : Promise.reject()
}

export default function ({ data, parentElement, setTriggerValue }) {
  const status = parentElement.querySelector("[role=status]")
  const copy = (text, done) => copied(text).then(
    () => { status.textContent = done },
    () => { status.textContent = "The browser refused to copy; please do it by hand" },
  )
  parentElement.querySelector("pre").textContent = data.commands
  parentElement.querySelector(".copy").onclick = () => copy(window.location.href, "Copied, with its settings and step")
  parentElement.querySelector(".commands").onclick = () => copy(data.commands, "Copied")
  parentElement.querySelector(".qr").onclick = () => setTriggerValue("code", window.location.href)
}
"""

_link = component("lantern_take", html=_TAKE_HTML, css=_TAKE_CSS, js=_TAKE_JS)


def link(commands: str) -> None:
    """Copies the address as it stands, step included, or shows it as a QR code until a setting changes.

    commands: the lines that give the same in a terminal, shown and copied as they are.
    """
    data = {"commands": commands}
    result = _link(key="_link", data=data, height="content", on_code_change=lambda: None)
    here = (address.visit().page, address.written(address.visit().page))
    if result.code:
        st.session_state["_code"] = (result.code, here)
    shown, belongs_to = st.session_state.get("_code", ("", here))
    if not shown or belongs_to != here:
        return
    if len(shown) > LONGEST_QR:
        st.text("This link is too long for a QR code that a camera can read; copy it instead.")
        return
    st.image(qr_svg(shown), width=220)


def qr_svg(text: str) -> str:
    """The QR code of `text` as an SVG image, dark on white in every theme."""
    drawn = io.BytesIO()
    segno.make(text, error="m", micro=False).save(
        drawn,
        kind="svg",
        scale=5,
        border=3,
        light="#fff",
        xmldecl=False,
        svgns=True,
        title="QR code of this page",
    )
    return drawn.getvalue().decode()


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
