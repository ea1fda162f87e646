"""The words of a page: named sections of `pages/prose/en/<topic>.md`, each under its `## name`."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "prose" / "en"
_TITLE = re.compile(r"^# +(.+?) *$", re.MULTILINE)
_HEADING = re.compile(r"^## +(.+?) *$", re.MULTILINE)


class Prose(Mapping[str, str]):
    """Sections by name, and the title of the page. A name that is not there raises a KeyError that says which are."""

    def __init__(self, topic: str, sections: Mapping[str, str], title: str = "") -> None:
        self.topic = topic
        self.title = title
        self.sections = dict(sections)

    def __getitem__(self, name: str) -> str:
        try:
            return self.sections[name]
        except KeyError:
            there = ", ".join(self.sections) or "none"
            raise KeyError(
                f"pages/prose/en/{self.topic}.md has no section {name!r}; it has {there}"
            ) from None

    def filled(self, name: str, values: Mapping[str, object]) -> str:
        """A section with its places {value:format} filled in. Raises KeyError that says which values there are."""
        try:
            return self[name].format(**values)
        except KeyError as missing:
            if missing.args[0] in values or name not in self.sections:
                raise
            there = ", ".join(values) or "none"
            raise KeyError(
                f"pages/prose/en/{self.topic}.md, section {name!r}: no value for {missing}; there are {there}"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.sections)

    def __len__(self) -> int:
        return len(self.sections)


def prose(topic: str) -> Prose:
    """The words of a page, read again when the file has changed."""
    path = FOLDER / f"{topic}.md"
    return _read(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _read(path: Path, modified: int) -> Prose:
    text = path.read_text(encoding="utf-8")
    title = _TITLE.search(text)
    return Prose(path.stem, sections(text), title.group(1) if title else "")


def sections(text: str) -> dict[str, str]:
    """Name -> words, for every `## name` in `text`. Raises ValueError for a name that stands twice."""
    parts = _HEADING.split(text)
    names = parts[1::2]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"sections that stand twice: {', '.join(sorted(repeated))}")
    return {name: words.strip() for name, words in zip(names, parts[2::2], strict=True)}
