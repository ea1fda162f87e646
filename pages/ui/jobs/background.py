"""Short work in the background, shared by all sessions: comparisons that a page can show a moment later."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import streamlit as st

from explainers.contract.experiment import code_version
from explainers.contract.params import ParamsT
from pages.ui.jobs.errors import sentence, show_sentence

RESULTS_KEPT = 32
WAIT_AT_MOST = 0.6  # seconds that a page waits for a result before it polls
POLL_EVERY = 0.4  # seconds

_workers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="background")
_futures: OrderedDict[str, Future[Any]] = OrderedDict()
_lock = threading.Lock()


def show_when_ready(
    params: ParamsT,
    function: Callable[[ParamsT], Any],
    show: Callable[[Any], None],
    waiting: str = "Running in the background …",
) -> None:
    """Runs `function(params)` in the background and calls `show` with its result. waiting: the caption until then.

    Call it last in a chapter: it waits a moment, as most work is short, and a new setting interrupts the wait. After
    that only this fragment polls.
    """
    key = f"{function.__module__}.{function.__qualname__} {code_version()} {params.model_dump_json()}"
    future = submit(key, function, params)
    _wait(future, waiting)
    if future.done():
        _show(key, future, show)
    else:
        st.fragment(_poll, run_every=POLL_EVERY)(future, waiting)


def submit(key: str, function: Callable[[ParamsT], Any], params: ParamsT) -> Future[Any]:
    """The work under `key`, started if there is none yet; the oldest beyond RESULTS_KEPT is dropped."""
    with _lock:
        if key not in _futures:
            _futures[key] = _workers.submit(function, params)
        _futures.move_to_end(key)
        while len(_futures) > RESULTS_KEPT:
            _futures.popitem(last=False)[1].cancel()
        return _futures[key]


def _wait(future: Future[Any], waiting: str) -> None:
    """Waits for the result, WAIT_AT_MOST. Writing the caption again and again lets Streamlit interrupt the wait."""
    slot = st.empty()
    give_up = time.monotonic() + WAIT_AT_MOST
    while not future.done() and time.monotonic() < give_up:
        slot.caption(waiting)
        time.sleep(0.02)
    slot.empty()


def _poll(future: Future[Any], waiting: str) -> None:
    if future.done():
        st.rerun()  # the whole page once, which ends the polling
    st.caption(waiting)


def _show(key: str, future: Future[Any], show: Callable[[Any], None]) -> None:
    if future.cancelled():
        error: BaseException | None = RuntimeError("too much other work came after it")
    else:
        error = future.exception()
    if error is None:
        show(future.result())
        return
    show_sentence(sentence(error), key)
    st.button("Try again", key=f"again-{key}", on_click=_forget, args=(key,))


def _forget(key: str) -> None:
    with _lock:
        _futures.pop(key, None)
