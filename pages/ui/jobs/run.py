"""Running experiments for a page: at once and cached, later in the background, or long, with progress and a stop.

What is cached is bytes and a few numbers, never arrays, and always with a bound. Background work runs on a few threads
that all sessions share. An error becomes one sentence on the page; the log has the rest.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ClassVar

import streamlit as st
from cachetools import LRUCache, cached

from explainers.contract.experiment import code_version, find
from explainers.contract.params import Params, ParamsT
from explainers.contract.result import as_json
from kernels.interpreter import interpreter, run_as
from pages.ui.jobs.packed_result import Drawn, packed
from pages.ui.jobs.separate_process import run_apart

SCENE_BYTES_KEPT = 160_000_000
COMPARISONS_KEPT = 32
PATIENCE = 0.6  # seconds that a page waits for a comparison before it asks again later
RESULTS_KEPT = 8  # of long runs, in one session
RUNS_WAITING_UP_TO = 16
FORGOTTEN_AFTER = 180.0  # seconds without a look from its page, after which a long run ends

_comparing = ThreadPoolExecutor(max_workers=2, thread_name_prefix="comparison")
_running = ThreadPoolExecutor(max_workers=1, thread_name_prefix="run")

Progress = tuple[float, str]  # the share that is done, and what it is doing

# ------------------------------------------------------------------------------------------------------ at once


def drawn(name: str, params: Params) -> Drawn | None:
    """Runs experiment `name`, or takes it from the cache; a long run by a button.

    None until the button has brought a result, and after an error, which the page has then told.
    """
    if params.needs_button:
        return _by_button(name, params)
    try:
        return draw(name, code_version(), params)
    except Exception as error:
        tell(error, name)
        return None


_scenes: LRUCache[Any, Drawn] = LRUCache(SCENE_BYTES_KEPT, getsizeof=lambda one: len(one.scene))
_scenes_lock = threading.Lock()


@cached(_scenes, lock=_scenes_lock)
def draw(name: str, version: str, params: Params) -> Drawn:
    """Runs experiment `name` and packs its scene. Cached, up to SCENE_BYTES_KEPT, by name, code version and params."""
    return packed(name, find(name)(params))


def forget(topic: str) -> None:
    """Drops the cached runs of a topic: of what ran before something was ready, and is incomplete."""
    with _scenes_lock:
        for key in [key for key in _scenes if key[0].startswith(f"{topic}.")]:
            del _scenes[key]


def _by_button(name: str, params: Params) -> Drawn | None:
    """A long run: why it waits, a button, progress, a stop."""
    st.caption(params.why_button)
    if getattr(params, "backend", "") != "triton":
        return job(name, params, lambda: run_apart(name, params))
    owner = f"{name} {id(st.session_state)} {params.model_dump_json()}"

    def interpreted() -> Generator[Progress, None, Drawn]:
        """Runs here: what takes long is in the interpreter's process, which is warm and can be ended."""
        yield 0.05, "computing"
        with run_as(owner):
            return draw(name, code_version(), params)

    return job(name, params, interpreted, on_stop=lambda: interpreter.cancel(owner))


def result_json(name: str, params: Params) -> str:
    """The whole Result as the shell prints it with --json."""
    return json.dumps(as_json(find(name)(params)), indent=1, allow_nan=False)


# ------------------------------------------------------------------------------------------------------- errors


def sentence(error: BaseException) -> str:
    """One sentence for a reader: the first line of what the error says, or its name where it says nothing."""
    lines = str(error).strip().splitlines()
    words = lines[0][:240] if lines else type(error).__name__
    return f"This run failed: {words}{'' if words.endswith(('.', '!', '?')) else '.'}"


def tell(error: BaseException, where: str) -> None:
    """Shows the error as one sentence, and logs it whole. where: the name of what failed, once on a page."""
    logging.getLogger(__name__).error("a run failed", exc_info=error)
    show_sentence(sentence(error), where)


def show_sentence(words: str, where: str) -> None:
    """A sentence about what went wrong, set apart from the page's own words, as plain text."""
    with st.container(key=f"failed-{where}"):
        st.text(words)


# -------------------------------------------------------------------------------------------------------- later


_comparisons: OrderedDict[str, Future[Any]] = OrderedDict()
_comparisons_lock = threading.Lock()


def later(
    params: ParamsT,
    function: Callable[[ParamsT], Any],
    draw: Callable[[Any], None],
    waiting: str = "Running in the background …",
) -> None:
    """Runs `function(params)` in the background and draws its result as soon as it is back.

    Call it last in a section: it waits a moment, since most runs are short, and a new setting interrupts the wait.
    After that only this fragment runs again until the result is there. All sessions share the results.
    """
    key = f"{function.__module__}.{function.__qualname__} {code_version()} {params.model_dump_json()}"
    future = comparison(key, function, params)
    _wait(future, waiting)
    if future.done():
        _draw(key, future, draw)
    else:
        st.fragment(_await, run_every=0.4)(future, waiting)


def _wait(future: Future[Any], waiting: str) -> None:
    """Waits until the result is there, PATIENCE at most. Writing the words again lets Streamlit interrupt the wait."""
    slot = st.empty()
    give_up = time.monotonic() + PATIENCE
    while not future.done() and time.monotonic() < give_up:
        slot.caption(waiting)
        time.sleep(0.02)
    slot.empty()


def comparison(key: str, function: Callable[[ParamsT], Any], params: ParamsT) -> Future[Any]:
    """The background run under `key`, started where there is none yet; the oldest beyond the bound are dropped."""
    with _comparisons_lock:
        if key not in _comparisons:
            _comparisons[key] = _comparing.submit(function, params)
        _comparisons.move_to_end(key)
        while len(_comparisons) > COMPARISONS_KEPT:
            _comparisons.popitem(last=False)[1].cancel()
        return _comparisons[key]


def _await(future: Future[Any], waiting: str) -> None:
    if future.done():
        st.rerun()  # the whole page once: that ends the ticking
    st.caption(waiting)


def _draw(key: str, future: Future[Any], draw: Callable[[Any], None]) -> None:
    if future.cancelled():
        error: BaseException | None = RuntimeError("too many others came after it")
    else:
        error = future.exception()
    if error is None:
        draw(future.result())
        return
    show_sentence(sentence(error), key)
    st.button("Try again", key=f"again-{key}", on_click=_forget, args=(key,))


def _forget(key: str) -> None:
    with _comparisons_lock:
        _comparisons.pop(key, None)


# --------------------------------------------------------------------------------------------------------- long


class Job:
    """A long run in a thread: a generator that yields its progress and returns its result."""

    _alive: ClassVar[set[Job]] = set()
    _lock = threading.Lock()

    def __init__(
        self, make: Callable[[], Generator[Progress, None, Any]], on_stop: Callable[[], None] = lambda: None
    ) -> None:
        self.make, self.on_stop = make, on_stop
        self.progress: Progress = (0.0, "waiting for other runs to end")
        self.result: Any = None
        self.problem = ""
        self.finished = threading.Event()
        self.stopping = False
        self.looked = time.monotonic()
        with Job._lock:
            if len(Job._alive) >= RUNS_WAITING_UP_TO:
                self.problem = f"{RUNS_WAITING_UP_TO} runs are waiting already; please try again in a minute."
                self.finished.set()
                return
            Job._alive.add(self)
        _running.submit(self._run)

    def stop(self) -> None:
        """Asks the run to end at its next sign of progress, or at once where `on_stop` knows how."""
        self.stopping = True
        if not self.finished.is_set():
            self.on_stop()

    def _run(self) -> None:
        try:
            self.result = self._advance(self.make())
        except Exception as error:
            if self.stopping:
                self.problem = self._stopped()
            else:
                logging.getLogger(__name__).error("a long run failed", exc_info=error)
                self.problem = sentence(error)
        finally:
            with Job._lock:
                Job._alive.discard(self)
            self.finished.set()

    def _advance(self, run: Generator[Progress, None, Any]) -> Any:
        while not self.stopping and time.monotonic() - self.looked < FORGOTTEN_AFTER:
            try:
                self.progress = next(run)
            except StopIteration as end:
                return end.value
        run.close()
        self.problem = self._stopped()
        return None

    def _stopped(self) -> str:
        return f"Stopped while {self.progress[1]}."


def job(
    name: str,
    params: Params,
    make: Callable[[], Generator[Progress, None, Any]],
    start: str = "Run it now",
    on_stop: Callable[[], None] = lambda: None,
) -> Any | None:
    """A long run that starts by a button, shows its progress and can be stopped. Its result, once there is one.

    name: the experiment's. make: gives a fresh generator that yields (share done, what it is doing) and returns the
    result. on_stop: ends what the generator waits for. The last few results are kept for the session, one for each
    params; a run for other params is stopped.
    """
    jobs: OrderedDict[str, Job] = st.session_state.setdefault("_jobs", OrderedDict())
    key = f"{name} {params.model_dump_json()}"
    for other, running in jobs.items():
        if other != key and other.startswith(f"{name} "):
            running.stop()
    current = jobs.get(key)
    if current is not None and not current.finished.is_set():
        st.fragment(_watch, run_every=0.3)(name, current)
        return None
    if current is not None and current.problem:
        show_sentence(current.problem, name)
    st.button(
        start if current is None else f"{start} again",
        key=f"start-{name}",
        on_click=_begin,
        args=(key, make, on_stop),
    )
    return current.result if current is not None else None


def _begin(key: str, make: Callable[[], Generator[Progress, None, Any]], on_stop: Callable[[], None]) -> None:
    jobs: OrderedDict[str, Job] = st.session_state["_jobs"]
    jobs[key] = Job(make, on_stop)
    jobs.move_to_end(key)
    while len(jobs) > RESULTS_KEPT:
        jobs.popitem(last=False)[1].stop()


def _watch(name: str, running: Job) -> None:
    running.looked = time.monotonic()
    if running.finished.is_set():
        st.rerun()
    share, words = running.progress
    with st.container(horizontal=True, vertical_alignment="center", key=f"progress-{name}"):
        st.progress(min(max(share, 0.0), 1.0), text=words)
        st.button("Stop", key=f"stop-{name}", on_click=running.stop)
