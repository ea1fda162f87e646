"""What a failed run says: one sentence on the page, everything in the log."""

from __future__ import annotations

import logging

import streamlit as st


def sentence(error: BaseException) -> str:
    """One sentence for a reader: the first line of the error's text, or its class where it has none."""
    lines = str(error).strip().splitlines()
    words = lines[0][:240] if lines else type(error).__name__
    return f"This run failed: {words}{'' if words.endswith(('.', '!', '?')) else '.'}"


def report(error: BaseException, where: str) -> None:
    """Shows the error as one sentence and logs it whole. where: the name of what failed, unique on the page."""
    log(error)
    show_sentence(sentence(error), where)


def log(error: BaseException) -> None:
    """Writes the error and its traceback to the log."""
    logging.getLogger(__name__).error("a run failed", exc_info=error)


def show_sentence(words: str, where: str) -> None:
    """Shows a sentence about a failure as plain text, set apart from the page's own words."""
    with st.container(key=f"failed-{where}"):
        st.text(words)
