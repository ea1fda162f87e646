"""Loads what is slow to load, in the background, so that no reader waits for it."""

from __future__ import annotations

import importlib
import logging
import threading

_started = threading.Lock()


def start() -> None:
    """Starts the loading once in a process; later calls do nothing."""
    if _started.acquire(blocking=False):
        threading.Thread(target=_load, name="warm", daemon=True).start()


def _load() -> None:
    """torch and the tiles first, which a page needs at once; then the worker that runs the Triton interpreter."""
    try:
        importlib.import_module("explainers.flash_attention.tiles")
        importlib.import_module("kernels.interpreter").warm_up()
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("triton"):
            logging.getLogger(__name__).exception("warming up failed")
    except Exception:  # a page that needs it will say what is wrong
        logging.getLogger(__name__).exception("warming up failed")
