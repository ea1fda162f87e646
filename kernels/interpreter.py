"""The site's side of the interpreter worker: one worker process for the whole program, shared by all threads.

    results = interpreter.run("forward", {"q": q, ...}, {"causal": True, ...})

The process starts with the first request (or with `warm_up`), takes one request at a time, and is started
again when it dies. Needs neither torch nor triton in this process.
"""

import atexit
import contextlib
import contextvars
import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kernels.protocol import check_dtypes, read_message, write_message

DEFAULT_TIMEOUT_SECONDS = 600.0


class WorkerDied(RuntimeError):
    """The interpreter worker died while it ran a request, and so did its successor."""


class Cancelled(RuntimeError):
    """The run was stopped by `cancel`."""


class _WorkerGoneError(Exception):
    """The worker at the other end of the pipe is gone."""


@dataclass
class _Request:
    """A call of `run` that has not returned yet."""

    owner: str | None
    timeout: float
    cancelled: bool = False
    timed_out: bool = False


_settings: contextvars.ContextVar[tuple[str | None, float]] = contextvars.ContextVar(
    "interpreter_settings", default=(None, DEFAULT_TIMEOUT_SECONDS)
)


@contextlib.contextmanager
def run_as(owner: str | None = None, timeout: float = DEFAULT_TIMEOUT_SECONDS) -> Iterator[None]:
    """Inside, interpreted launches belong to `owner` (whom `cancel` can name) and may take `timeout`
    seconds."""
    token = _settings.set((owner, timeout))
    try:
        yield
    finally:
        _settings.reset(token)


def triton_available() -> bool:
    """Whether Triton can be imported: it is installed on Linux only. Imports nothing."""
    return sys.platform == "linux" and importlib.util.find_spec("triton") is not None


class Interpreter:
    """One worker process and the right to use it."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        """Start over without a worker: when created, and in a forked child, whose parent keeps the worker."""
        self._turn = threading.Lock()  # held by the thread whose request the worker is running
        self._state = threading.Lock()  # guards the fields below
        self._process: subprocess.Popen[bytes] | None = None
        self._in_flight: _Request | None = None
        self._requests: list[_Request] = []
        self._stopped_by_us = False
        self._restarts = 0

    @property
    def pid(self) -> int | None:
        """The worker's process id, None while there is none."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def restarts(self) -> int:
        """How many times a worker that died on its own was replaced."""
        return self._restarts

    def run(
        self, operation: str, arrays: Mapping[str, np.ndarray], options: Mapping[str, Any]
    ) -> list[np.ndarray]:
        """Have the worker run one operation; waits for its turn, then for the answer.

        Raises what the operation raised (ValueError as such, anything else as RuntimeError), WorkerDied when
        the worker died twice, Cancelled after `cancel`, TimeoutError when the run took longer than `run_as`
        allows.
        """
        if not triton_available():
            raise RuntimeError(
                "Triton is not installed here, so its kernels cannot run; it exists for Linux only."
            )
        check_dtypes(arrays)
        owner, timeout = _settings.get()
        request = _Request(owner, timeout)
        with self._state:
            self._requests.append(request)
        try:
            with self._turn:
                return self._run_in_turn(request, operation, arrays, options)
        finally:
            with self._state:
                self._requests.remove(request)

    def warm_up(self) -> threading.Thread:
        """Start the worker in the background. Returns the thread that waits until it is ready."""

        def start() -> None:
            with contextlib.suppress(RuntimeError, OSError):
                self.run("ready", {}, {})

        thread = threading.Thread(target=start, name="interpreter-warm-up", daemon=True)
        thread.start()
        return thread

    def cancel(self, owner: str | None = None) -> None:
        """Stop the requests of `owner`, waiting or running (all requests without one): they raise Cancelled.

        A run in progress can only be stopped by killing the worker; the next request starts a new one.
        """
        with self._state:
            for request in self._requests:
                if owner is None or request.owner == owner:
                    request.cancelled = True
            if self._in_flight is not None and self._in_flight.cancelled:
                self._kill()

    def shut_down(self) -> None:
        """End the worker; a later request starts a new one."""
        with self._state:
            self._kill()

    def _run_in_turn(
        self, request: _Request, operation: str, arrays: Mapping[str, np.ndarray], options: Mapping[str, Any]
    ) -> list[np.ndarray]:
        for _attempt in range(2):  # a request that was in flight when the worker died is tried once more
            try:
                process = self._begin(request)
                header, results = self._exchange(process, request, operation, arrays, options)
            except _WorkerGoneError:
                if request.cancelled:
                    raise Cancelled("The run was cancelled.") from None
                if request.timed_out:
                    raise TimeoutError(
                        f"The interpreted run took longer than {request.timeout:g} s."
                    ) from None
                continue
            finally:
                with self._state:
                    self._in_flight = None
            if "error" in header:
                kind = ValueError if header["error"] == "ValueError" else RuntimeError
                raise kind(header["message"])
            return list(results.values())
        raise WorkerDied("The interpreter worker died twice while running this request.")

    def _begin(self, request: _Request) -> subprocess.Popen[bytes]:
        """Mark the request as the one in flight, on a worker that is alive."""
        with self._state:
            if request.cancelled:
                raise Cancelled("The run was cancelled.")
            if self._process is not None and self._process.poll() is not None:
                self._restarts += not self._stopped_by_us
                _close_pipes(self._process)
                self._process = None
            if self._process is None:
                self._process = _start_worker()
                self._stopped_by_us = False
            self._in_flight = request
            return self._process

    def _exchange(
        self,
        process: subprocess.Popen[bytes],
        request: _Request,
        operation: str,
        arrays: Mapping[str, np.ndarray],
        options: Mapping[str, Any],
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        assert process.stdin is not None
        assert process.stdout is not None
        watchdog = threading.Timer(request.timeout, self._time_out, [request])
        watchdog.daemon = True
        watchdog.start()
        try:
            write_message(process.stdin, {"operation": operation, "options": dict(options)}, arrays)
            return read_message(process.stdout)
        except (OSError, EOFError):
            process.kill()
            process.wait()
            raise _WorkerGoneError from None
        except BaseException:  # interrupted half way: what comes down this pipe later answers nobody
            with self._state:
                self._kill()
            raise
        finally:
            watchdog.cancel()

    def _time_out(self, request: _Request) -> None:
        with self._state:
            if self._in_flight is request:
                request.timed_out = True
                self._kill()

    def _kill(self) -> None:
        """End the worker, on purpose. The caller holds `_state`."""
        if self._process is not None and self._process.poll() is None:
            self._stopped_by_us = True
            self._process.kill()
            self._process.wait()


def _start_worker() -> subprocess.Popen[bytes]:
    """Start `python -m kernels.worker` so that it finds this very package, wherever the site was started."""
    root = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "TRITON_INTERPRET": "1"}
    command = [sys.executable, "-m", "kernels.worker"]
    return subprocess.Popen(command, cwd=root, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    """Close our ends of a dead worker's pipes; what could not be sent is lost, which is known already."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


interpreter = Interpreter()
atexit.register(interpreter.shut_down)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=interpreter._forget)
