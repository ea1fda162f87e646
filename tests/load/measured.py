"""The site, with clocks: what `make lecture` serves. It writes what they say into a file, twice a second.

    LANTERN_CLOCKS=FILE python -m streamlit run tests/load/measured.py

cpu: seconds of the processor that this process has used. settle: those of them in `Settings.settle`, by all threads;
scripts: those in which Streamlit ran a page or a fragment. Nothing of this is in the site itself.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import script_runner

from pages.ui import serve
from pages.ui.settings.controls import Settings

ROOT = Path(__file__).parents[2]
app = st.App(ROOT / "app.py", lifespan=serve.lifespan)

_used = {"settle": 0.0, "scripts": 0.0}
_inside = threading.local()
_lock = threading.Lock()


def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with its processor time added up under `name`; calls of it within itself count once."""

    def clocked(*arguments: Any, **named: Any) -> Any:
        if getattr(_inside, name, False):
            return function(*arguments, **named)
        setattr(_inside, name, True)
        started = time.thread_time()
        try:
            return function(*arguments, **named)
        finally:
            setattr(_inside, name, False)
            with _lock:
                _used[name] += time.thread_time() - started

    return clocked


def _write(path: Path) -> None:
    while True:
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps({**_used, "cpu": time.process_time()}))
        fresh.replace(path)
        time.sleep(0.5)


if not hasattr(Settings, "clocked"):
    Settings.clocked = True  # type: ignore[attr-defined]
    Settings.settle = timed("settle", Settings.settle)  # type: ignore[method-assign]
    runner = script_runner.ScriptRunner
    runner._run_script = timed("scripts", runner._run_script)  # type: ignore[method-assign]
    threading.Thread(target=_write, args=(Path(os.environ["LANTERN_CLOCKS"]),), daemon=True).start()
