"""Runs that take long: started by a button, with a progress bar and a stop, in a thread that all sessions share."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import streamlit as st

from explainers.contract.params import Params
from pages.ui.jobs.errors import log, sentence, show_sentence

RESULTS_KEPT = 8  # in one session
WAITING_AT_MOST = 16  # runs of all sessions
ABANDONED_AFTER = 180.0  # seconds: a run ends when its page has stopped polling
POLL_EVERY = 0.3  # seconds

_worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="long run")

Progress = tuple[float, str]  # the share that is done, and what the run is doing
Steps = Callable[[], Generator[Progress, None, Any]]  # makes the generator of a run, which returns its result


class LongRun:
    """A run in a thread: a generator that yields its progress and returns its result."""

    _unfinished: ClassVar[set[LongRun]] = set()
    _lock = threading.Lock()

    def __init__(self, steps: Steps, on_stop: Callable[[], None] = lambda: None) -> None:
        self.steps, self.on_stop = steps, on_stop
        self.progress: Progress = (0.0, "waiting for other runs to end")
        self.result: Any = None
        self.problem = ""
        self.finished = threading.Event()
        self.stopping = False
        self.polled = time.monotonic()
        with LongRun._lock:
            if len(LongRun._unfinished) >= WAITING_AT_MOST:
                self.problem = f"{WAITING_AT_MOST} runs are waiting already; please try again in a minute."
                self.finished.set()
                return
            LongRun._unfinished.add(self)
        _worker.submit(self._run)

    def stop(self) -> None:
        """Asks the run to end at its next step, or at once where `on_stop` knows how."""
        self.stopping = True
        if not self.finished.is_set():
            self.on_stop()

    def _run(self) -> None:
        try:
            self.result = self._advance(self.steps())
        except Exception as error:
            if self.stopping:
                self.problem = self._stopped()
            else:
                log(error)
                self.problem = sentence(error)
        finally:
            with LongRun._lock:
                LongRun._unfinished.discard(self)
            self.finished.set()

    def _advance(self, steps: Generator[Progress, None, Any]) -> Any:
        while not self.stopping and time.monotonic() - self.polled < ABANDONED_AFTER:
            try:
                self.progress = next(steps)
            except StopIteration as end:
                return end.value
        steps.close()
        self.problem = self._stopped()
        return None

    def _stopped(self) -> str:
        return f"Stopped while {self.progress[1]}."


def result_of(
    name: str,
    params: Params,
    steps: Steps,
    start: str = "Run it now",
    on_stop: Callable[[], None] = lambda: None,
) -> Any | None:
    """The result of a long run once there is one; until then a button to start it, or its progress and a stop.

    name: the experiment's. start: the button's label. on_stop: ends what the generator waits for. A session keeps its
    last results, one for each params; a run for other params is stopped.
    """
    runs: OrderedDict[str, LongRun] = st.session_state.setdefault("_long_runs", OrderedDict())
    key = f"{name} {params.model_dump_json()}"
    for other, run in runs.items():
        if other != key and other.startswith(f"{name} "):
            run.stop()
    current = runs.get(key)
    if current is not None and not current.finished.is_set():
        st.fragment(_poll, run_every=POLL_EVERY)(name, current)
        return None
    if current is not None and current.problem:
        show_sentence(current.problem, name)
    label = start if current is None else f"{start} again"
    st.button(label, key=f"start-{name}", on_click=_start, args=(key, steps, on_stop))
    return current.result if current is not None else None


def _start(key: str, steps: Steps, on_stop: Callable[[], None]) -> None:
    runs: OrderedDict[str, LongRun] = st.session_state["_long_runs"]
    runs[key] = LongRun(steps, on_stop)
    runs.move_to_end(key)
    while len(runs) > RESULTS_KEPT:
        runs.popitem(last=False)[1].stop()


def _poll(name: str, run: LongRun) -> None:
    run.polled = time.monotonic()
    if run.finished.is_set():
        st.rerun()
    share, words = run.progress
    with st.container(horizontal=True, vertical_alignment="center", key=f"progress-{name}"):
        st.progress(min(max(share, 0.0), 1.0), text=words)
        st.button("Stop", key=f"stop-{name}", on_click=run.stop)
