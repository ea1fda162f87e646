"""The code that just ran, taken from the running program itself, and the command that reproduces the figure."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from explainers.experiment import Params, as_text

_ROOT = Path(__file__).parents[2]


def show(function: Callable[..., Any], *, height: int | None = None) -> None:
    """The source of `function`, with the file it stands in."""
    st.caption(place(function))
    st.code(code(function), language="python", height=height or "content")


def code(function: Callable[..., Any]) -> str:
    """The text of the function as it stands in its file, decorators included."""
    return inspect.getsource(_unwrapped(function)).rstrip()


def place(function: Callable[..., Any]) -> str:
    """The path from the project's folder and the line: kernels/flash_attention.py, line 40."""
    inner = _unwrapped(function)
    path = Path(inspect.getsourcefile(inner) or "").resolve()
    shown = path.relative_to(_ROOT) if path.is_relative_to(_ROOT) else path.name
    return f"{shown}, line {inspect.getsourcelines(inner)[1]}"


def _unwrapped(function: Any) -> Any:
    """The Python function itself: a Triton kernel keeps its own in `fn`."""
    return inspect.unwrap(getattr(function, "fn", function))


def command(experiment: str, params: Params, *ending: str) -> str:
    """The shell command for this run: python -m explainers flash_attention.tiles --seq_len 64, defaults left out."""
    defaults = type(params)()
    words = ["python", "-m", "explainers", experiment]
    for name in type(params).model_fields:
        value = getattr(params, name)
        if value != getattr(defaults, name):
            words += [f"--{name}", as_text(value)]
    return shlex.join([*words, *ending])


def reproduce(experiment: str, params: Params, *, picture: bool) -> None:
    """The lines that reproduce the numbers, and the picture where there is one, in a terminal."""
    lines = [command(experiment, params, "--html", "figure.html")] if picture else []
    lines.append(command(experiment, params, "--json"))
    st.code("\n".join(lines), language=None, wrap_lines=True)
