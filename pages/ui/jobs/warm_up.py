"""Loads what is slow to load, in the background, so that no reader waits for it."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import logging
import threading

from explainers.contract.experiment import find, topics
from pages.ui.jobs import cache

FIRST = "flash_attention.tiles"  # what a newcomer sees first

_started = threading.Lock()


def start() -> None:
    """Starts the loading once in a process; later calls do nothing."""
    if _started.acquire(blocking=False):
        threading.Thread(target=_load, name="warm", daemon=True).start()


def _load() -> None:
    """Starts the worker process of the Triton interpreter; meanwhile loads torch and runs the first experiment.

    Then calls `warm_up` of each topic that has a module of that name.
    """
    try:
        from kernels.interpreter import interpreter, triton_available

        if triton_available():
            interpreter.warm_up()
        # What a page computes is small: a second thread of torch only spins, and under load that costs many times the
        # work itself. Threads that are born later take the number over.
        importlib.import_module("torch").set_num_threads(1)
        cache.prepared(FIRST, find(FIRST).params())
        importlib.import_module("pages.ui.cards.charts")
        for topic in topics():
            if importlib.util.find_spec(f"explainers.{topic}.warm_up"):
                importlib.import_module(f"explainers.{topic}.warm_up").warm_up()
                cache.forget(topic)  # what ran before it was ready may be incomplete
        # What was loaded stays. Python's collector would go through all of it again and again, for 60 to 350 ms in
        # which every reader waits.
        gc.collect()
        gc.freeze()
    except Exception:  # the page that needs it will say what is wrong
        logging.getLogger(__name__).exception("warming up failed")
