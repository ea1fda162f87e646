"""The address bar: a link reproduces what is on the screen, and back and forward walk through what was shown.

Streamlit's browser side pushes a history entry for each write of `st.query_params` and, on back or forward, runs the
page again with the address of that entry and marks the run as a history navigation. So the address is read when a
reader arrives (a page opened, a step through the history) and written when a control changes; in between the
controls hold the truth. (`bind="query-params"` would replace the entry instead: back would leave the page.)

The player keeps `step` in the address by itself. A write drops it, because another setting is another run.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

STEP = "step"
GREATEST_STEP = 10_000_000

PACKED = "z~"  # how a compressed value begins
PLAIN_UP_TO = 200  # characters that travel as they are
LONGEST = 4096  # characters of a compressed value that a link still carries
MOST_BYTES = 256 * 1024  # what a compressed value may unpack to


@dataclass(frozen=True)
class Visit:
    """One arrival at a page. number: counts arrivals, so that each part of the page reads the address once."""

    page: str
    number: int


def enter(page: str) -> None:
    """Called by app.py before a page runs: notes whether the reader has just arrived there."""
    before = visit()
    context = get_script_run_ctx()
    walked = context is not None and context.is_history_navigation
    if walked or before.number == 0 or before.page != page:
        st.session_state["_visit"] = Visit(page, before.number + 1)


def visit() -> Visit:
    """The visit that is going on."""
    return st.session_state.get("_visit", Visit("", 0))


def read() -> dict[str, str]:
    """What the address says: name -> text, the last one where a name is repeated."""
    return st.query_params.to_dict()


def arrive(values: Mapping[str, str]) -> None:
    """Notes the settings with which the reader arrived; the address stays as it came."""
    _written()[visit().page] = dict(values)


def write(values: Mapping[str, str]) -> None:
    """Puts `values` into the address as a new entry of the browser's history, if they are new."""
    if written(visit().page) != values:
        _written()[visit().page] = dict(values)
        st.query_params.from_dict(values)


def written(page: str) -> dict[str, str]:
    """The settings that `page` showed last; empty where it showed its defaults or was never seen."""
    return _written().get(page, {})


def _written() -> dict[str, dict[str, str]]:
    return st.session_state.setdefault("_written", {})


def pack(text: str) -> str | None:
    """`text` as an address carries it: as it is while short, else compressed; None where that is too long."""
    if len(text) <= PLAIN_UP_TO and not text.startswith(PACKED):
        return text
    packed = PACKED + base64.urlsafe_b64encode(zlib.compress(text.encode(), 9)).decode().rstrip("=")
    return packed if len(packed) <= LONGEST else None


def unpack(value: str) -> str:
    """The text that `pack` turned into `value`. Raises ValueError, in words, for anything else."""
    if not value.startswith(PACKED):
        return value
    encoded = value.removeprefix(PACKED)
    decompressor = zlib.decompressobj()
    try:
        data = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        text = decompressor.decompress(data, MOST_BYTES)
        if decompressor.eof:
            return text.decode()
    except (binascii.Error, zlib.error, UnicodeDecodeError):
        pass
    raise ValueError(f"text that this site compressed, at most {MOST_BYTES // 1024} kB of it")
