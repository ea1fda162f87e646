"""The server's log: one entry for each kind of event and minute, however often it happens."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

MINUTE = 60.0  # seconds
LONGEST = 300  # characters of an entry; what a browser sent may be in it
KINDS = 256  # that are remembered; the oldest are forgotten


class OncePerMinute(logging.Filter):
    """Lets the first entry of a kind pass, counts those of the next minute, and names their number in the one after.

    A kind is a logger's name, a level, the text before its values are filled in, and the type of an exception with the
    line that raised it. The first entry of a kind has the traceback, those after it have the exception's own words.
    clock: seconds, as of time.monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        self._kinds: dict[tuple[object, ...], tuple[float, int]] = {}  # when it was logged, how many since

    def filter(self, record: logging.LogRecord) -> bool:
        kind, now = _kind(record), self._clock()
        with self._lock:
            logged, more = self._kinds.pop(kind, (None, 0))
            if logged is not None and now - logged < MINUTE:
                self._kinds[kind] = (logged, more + 1)
                return False
            self._kinds[kind] = (now, 0)
            if len(self._kinds) > KINDS:
                del self._kinds[next(iter(self._kinds))]
        _shorten(record, more, is_first=logged is None)
        return True


def _kind(record: logging.LogRecord) -> tuple[object, ...]:
    text = str(record.msg)[:LONGEST]
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return record.name, record.levelno, text
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    line = (trace.tb_frame.f_code.co_filename, trace.tb_lineno) if trace else None
    return record.name, record.levelno, text, type(error), line


def _shorten(record: logging.LogRecord, more: int, is_first: bool) -> None:
    """Makes the entry one line, but for the traceback of a first one. more: those only counted."""
    words = " ".join(record.getMessage().split())
    if record.exc_info and not is_first:
        words = f"{words}: {type(record.exc_info[1]).__name__}: {' '.join(str(record.exc_info[1]).split())}"
        record.exc_info = record.exc_text = None
    words = words if len(words) <= LONGEST else f"{words[: LONGEST - 3]}..."
    record.msg, record.args = words + (f" (and {more:,} more in the last minute)" if more else ""), None
