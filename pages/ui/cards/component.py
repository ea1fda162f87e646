"""The components of cards: a file of HTML, one of CSS and a module, all of one name beside this file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from explainers.player.source import joined
from pages.ui.streamlit_internals import component


def card_component(name: str) -> Any:
    """The component of these files, to be mounted; its module may import others."""
    html, css = (Path(__file__).with_name(f"{name}.{ending}") for ending in ("html", "css"))
    return component(
        f"lantern_{name}",
        html=html.read_text(encoding="utf-8"),
        css=css.read_text(encoding="utf-8"),
        js=joined(Path(__file__).with_name(f"{name}.js")),
    )
