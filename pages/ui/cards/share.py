"""Take it along: the picture as offline HTML, the numbers as JSON, the commands that give the same in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import streamlit as st

from explainers.contract.params import Params
from explainers.player.export import page_of_bytes
from pages.ui.cards.commands import reproducing
from pages.ui.cards.component import card_component
from pages.ui.jobs.cache import result_json

_commands = card_component("take")


def commands(lines: str) -> None:
    """The lines that give the same in a terminal, to be copied as they are."""
    _commands(key="_commands", data={"commands": lines}, height="content")


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
    """The files, and the commands that give the same picture and numbers in a terminal.

    scene: the player's blob, where the experiment has one.
    """
    files: list[tuple[str, str, Callable[[], str | bytes]]] = []
    if scene is not None:
        files.append(("Offline HTML", "html", lambda: page_of_bytes(scene, experiment)))
    files.append(("JSON", "json", lambda: result_json(experiment, params)))
    downloads(experiment, files)
    commands(reproducing(experiment, params, picture=scene is not None))
