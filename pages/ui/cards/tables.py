"""Small tables as part of the text: quicker than a grid, selectable, and read aloud as tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import streamlit as st

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~$:])")


def show(names: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> None:
    """A table with a heading for each column. numbers: columns that are set to the right."""
    st.markdown(markdown(names, rows, set(numbers)))


def lines(notes: Iterable[str]) -> None:
    """Small muted lines of plain text, one under the other; nothing where there are none."""
    if notes := [plain(note) for note in notes]:
        st.caption("  \n".join(notes))


def doubts(warnings: Iterable[str]) -> None:
    """A box with the reasons to doubt the numbers of a run; nothing where there are none."""
    place = st.empty()  # always there, so that what follows keeps its place
    if found := [plain(warning) for warning in warnings]:
        place.warning("  \n".join(found))


def markdown(names: Sequence[str], rows: Iterable[Sequence[str]], numbers: set[int]) -> str:
    """The table as Markdown, in which every cell is plain text."""
    rule = ["---:" if column in numbers else ":---" for column in range(len(names))]
    lines = [[plain(name) for name in names], rule, *([plain(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain(text: str) -> str:
    """Text in which Markdown finds nothing to format."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
