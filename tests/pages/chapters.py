"""The chapters of a page as data, without drawing it."""

from __future__ import annotations

import functools
import runpy
from pathlib import Path
from unittest import mock

from pages.ui.chapter import Chapter, Try

ROOT = Path(__file__).parents[2]
TOPICS = sorted(path.stem for path in (ROOT / "pages").glob("*.py") if path.stem not in ("__init__", "home"))


@functools.cache
def chapters_of(topic: str) -> tuple[Chapter, ...]:
    """What the page of a topic gives to `lesson.show`."""
    with mock.patch("pages.ui.lesson.show") as show:
        runpy.run_path(str(ROOT / "pages" / f"{topic}.py"))
    named, chapters = show.call_args.args
    assert named == topic
    return tuple(chapters)


def chapter_of(topic: str, key: str) -> Chapter:
    """One chapter of a page."""
    return next(chapter for chapter in chapters_of(topic) if chapter.key == key)


def try_of(topic: str, key: str, name: str) -> Try:
    """One of the settings that a chapter offers."""
    return next(each for each in chapter_of(topic, key).tries if each.name == name)
