"""The code that just ran, as a panel: the real source of a function, with the line on which it paused at each step."""

from __future__ import annotations

import functools
import inspect
import textwrap
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from explainers.contract.messages import Message
from explainers.drawing.panels import Code
from explainers.drawing.scene import Track

# CPython 3.11's parser raises SystemError now and then when two threads are in it.
_one_parser = threading.Lock()


def source_of(function: Callable[..., Any]) -> tuple[str, int]:
    """The source of a function or class, and the number of its first line in its file."""
    with _one_parser:
        return _source_of(function)


@functools.cache
def _source_of(function: Callable[..., Any]) -> tuple[str, int]:
    lines, first_line = inspect.getsourcelines(function)
    return "".join(lines), first_line


def code_panel(
    function: Callable[..., Any],
    lines: np.ndarray | None = None,
    *,
    start: str = "",
    title: str = "The code that just ran",
    note: str = "",
    name: str = "code",
    height: int = 300,
) -> Code:
    """The source of `function` or class, from the first line with `start` in it.

    lines: (steps,) numbers in its file, the line to mark at each step; None marks nothing. note: stands behind the
    file's name.
    """
    source, first_line = source_of(function)
    before = line_with(start, function) - first_line
    file = function.__module__.replace(".", "/") + ".py"
    return Code(
        name,
        title,
        Message("{file}; {note}", file=file, note=note) if note else file,
        height,
        source=textwrap.dedent("".join(source.splitlines(keepends=True)[before:])),
        first_line=first_line + before,
        line=None if lines is None else Track(np.asarray(lines).reshape(-1, 1)),
    )


def line_with(text: str, function: Callable[..., Any]) -> int:
    """The number, in its file, of the first line of `function` that holds `text`."""
    source, first_line = source_of(function)
    return next(number for number, line in enumerate(source.splitlines(), first_line) if text in line)
