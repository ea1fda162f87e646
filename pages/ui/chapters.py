"""The chapters of a page. One is on the screen at a time: the others cost nothing, however long the lesson is.

CHAPTERS = {"tiles": "Tile by tile", "traffic": "Memory traffic"}
settings = controls.settings(TilesParams, _page=chapters.params_of(CHAPTERS), traffic=TrafficParams)
match chapters.choose(settings): ...
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import create_model

from explainers.contract.params import Params, choice
from pages.ui.settings.controls import Settings


def params_of(labels: Mapping[str, str]) -> type[Params]:
    """Params with the one field `chapter`: a name of `labels`, the first by default."""
    names: Any = Literal[tuple(labels)]
    field = choice(next(iter(labels)), "", "The chapter of this page", labels)
    return create_model("Chapter", __base__=Params, chapter=(names, field))


def choose(settings: Settings) -> str:
    """Draws the row of chapters and returns the name of the chosen one."""
    return settings.panel("chapter", prefix="_page", reset=False).chapter
