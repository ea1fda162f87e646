"""The log holds one entry for each kind of event and minute."""

from __future__ import annotations

import logging

import pytest

from pages.ui import streamlit_internals
from pages.ui.log import LONGEST, OncePerMinute


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Written(logging.Handler):
    """Keeps what would be printed."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.entries.append(logging.Formatter().format(record))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def written() -> Written:
    return Written()


@pytest.fixture
def log(clock: Clock, written: Written) -> logging.Logger:
    log = logging.Logger("of a test")
    log.addHandler(written)
    log.addFilter(OncePerMinute(clock))
    return log


def fail(log: logging.Logger, error: Exception) -> None:
    try:
        raise error
    except Exception:
        log.exception("a page failed")


def test_a_minute_has_one_entry_of_a_kind_and_the_next_one_counts(
    log: logging.Logger, clock: Clock, written: Written
) -> None:
    for number in range(38):
        log.warning("no fragment %s", number)
    log.warning("another kind")
    assert written.entries == ["no fragment 0", "another kind"]
    clock.now += 61
    log.warning("no fragment %s", "x")
    log.warning("another kind")
    assert written.entries[2:] == ["no fragment x (and 37 more in the last minute)", "another kind"]


def test_the_first_error_of_a_kind_has_its_traceback_and_later_ones_a_line(
    log: logging.Logger, clock: Clock, written: Written
) -> None:
    fail(log, ValueError("first\nof them"))
    fail(log, ValueError("second"))
    fail(log, KeyError("other"))
    assert ["Traceback" in entry for entry in written.entries] == [True, True]
    clock.now += 61
    fail(log, ValueError("third\ntime"))
    assert written.entries[2:] == ["a page failed: ValueError: third time (and 1 more in the last minute)"]


def test_an_entry_is_one_short_line_whatever_a_browser_sent(log: logging.Logger, written: Written) -> None:
    log.info("a message: %s", "x\n" * 10_000)
    [entry] = written.entries
    assert "\n" not in entry
    assert len(entry) == LONGEST


def test_many_kinds_are_not_remembered_for_ever(log: logging.Logger, clock: Clock, written: Written) -> None:
    for number in range(100_000):
        log.info(f"kind {number}")
    kept = log.filters[0]
    assert isinstance(kept, OncePerMinute)
    assert len(kept._kinds) <= 1_000


def test_loggers_that_streamlit_makes_later_are_filtered_too(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streamlit import logger

    monkeypatch.setattr(logger, "setup_formatter", logger.setup_formatter)
    monkeypatch.setattr(logger, "_loggers", {})
    before = logger.get_logger("made before")
    entries = OncePerMinute(clock)
    streamlit_internals.filter_log(entries)
    assert entries in before.filters
    assert entries in logger.get_logger("made later").filters
