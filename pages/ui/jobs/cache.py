"""Prepared runs, cached for all sessions: bytes and a few numbers, never arrays, and always with a bound."""

from __future__ import annotations

import json
import threading
from typing import Any

from cachetools import LRUCache, cached

from explainers.contract.experiment import code_version, find
from explainers.contract.params import Params
from explainers.contract.result import as_json
from pages.ui.jobs.prepared_run import PreparedRun, prepare

SCENE_BYTES_KEPT = 160_000_000

_runs: LRUCache[Any, PreparedRun] = LRUCache(SCENE_BYTES_KEPT, getsizeof=lambda run: len(run.scene))
_lock = threading.Lock()


def prepared(name: str, params: Params) -> PreparedRun:
    """Experiment `name`, run and packed; cached by name, code version and params. Raises what the experiment raises."""
    return _prepared(name, code_version(), params)


@cached(_runs, lock=_lock)
def _prepared(name: str, version: str, params: Params) -> PreparedRun:
    return prepare(name, find(name)(params))


def forget(topic: str) -> None:
    """Drops the cached runs of a topic: those made before something was ready may be incomplete."""
    with _lock:
        for key in [key for key in _runs if key[0].startswith(f"{topic}.")]:
            del _runs[key]


def result_json(name: str, params: Params) -> str:
    """The whole Result as the command line prints it with --json."""
    return json.dumps(as_json(find(name)(params)), indent=1, allow_nan=False)
