"""The code that just ran, as a panel: the real source of a function, with the line on which it paused at each step."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np

from explainers.drawing.panels import Code
from explainers.drawing.scene import Track


def code_panel(
    function: Callable[..., Any],
    lines: np.ndarray | None = None,
    *,
    title: str = "The code that just ran",
    note: str = "",
    name: str = "code",
    height: int = 300,
) -> Code:
    """The source of `function` or class.

    lines: (steps,) numbers in its file, the line to mark at each step; None marks nothing. note: stands behind the
    file's name.
    """
    source, first_line = inspect.getsourcelines(function)
    return Code(
        name,
        title,
        function.__module__.replace(".", "/") + ".py" + (f"; {note}" if note else ""),
        height,
        source=textwrap.dedent("".join(source)),
        first_line=first_line,
        line=None if lines is None else Track(np.asarray(lines).reshape(-1, 1)),
    )


def line_with(text: str, function: Callable[..., Any]) -> int:
    """The number, in its file, of the first line of `function` that holds `text`."""
    source, first_line = inspect.getsourcelines(function)
    return next(number for number, line in enumerate(source, first_line) if text in line)
