"""The compiled agents, and their compilation in the background.

The loop is in `compiled_loop.py`. Everything that numba compiles for it is in that one file: numba's cache on disk
notices a changed function only in the file of its caller.
"""

from __future__ import annotations

import threading

import numpy as np

from explainers.grid_world.compiled_loop import CONSTANT, SARSA, begin, live, no_record
from explainers.grid_world.memory import Rules, Table, new_memory

_ready = threading.Event()
_over = threading.Event()  # compilation has ended, with or without success
_started = threading.Lock()


def ready() -> bool:
    """Whether the loop is compiled; the first call starts the compilation in the background."""
    if _started.acquire(blocking=False):
        threading.Thread(target=_compile, name="compile agents", daemon=True).start()
    return _ready.is_set()


def wait() -> None:
    """Waits until the loop is compiled. Raises RuntimeError if it cannot be."""
    ready()
    _over.wait()
    if not _ready.is_set():
        raise RuntimeError("numba could not compile the agents; the server's log says why")


def _compile() -> None:
    """Takes one transition in the smallest world, so that numba compiles the loop or loads it from its cache."""
    pair, none = np.zeros((2, 1)), np.zeros((0, 0))
    table = Table(
        to=np.zeros((2, 1), np.int32),
        reward=pair,
        ends=np.ones((2, 1), bool),
        reaching=np.ones((1, 1)),
        starts=np.zeros(1, np.int64),
        policy=none,
        target=np.zeros(2, bool),
    )
    rules = Rules(SARSA, 1.0, 0.5, CONSTANT, 0.0, False, 0.0, 1, 0, False, False, False, False, False, 1)
    memory = new_memory(rules, 2, 1, 1, 0.0, 0)
    try:
        begin(table, rules, memory)
        live(table, rules, memory, 1, np.zeros(0), np.zeros(0, np.int64), no_record())
        _ready.set()
    finally:
        _over.set()


__all__ = ["begin", "live", "no_record", "ready", "wait"]
