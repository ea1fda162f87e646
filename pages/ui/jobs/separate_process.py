"""Runs an experiment in a subprocess, so that it keeps no other reader waiting and can be cancelled at any moment.

python -m pages.ui.jobs.separate_process reads a pickled (name, params) and writes the pickled PreparedRun, or the
error.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from collections.abc import Generator

from explainers.contract.experiment import find
from explainers.contract.params import Params
from pages.ui.jobs.prepared_run import PreparedRun, prepare

PROGRESS_EVERY = 0.3  # seconds
HALF_WAY = 5.0  # seconds at which the progress bar shows 50%: the run time is unknown


def run_in_process(name: str, params: Params) -> Generator[tuple[float, str], None, PreparedRun]:
    """Yields the progress of experiment `name` and returns its run. Closing the generator ends the process.

    Raises what the run raised.
    """
    command = [sys.executable, "-m", "pages.ui.jobs.separate_process"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            answer = yield from _answer(child, pickle.dumps((name, params)))
        finally:
            child.kill()
    if not answer:
        raise RuntimeError("the process that computed it has ended")
    outcome = pickle.loads(answer)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _answer(child: subprocess.Popen[bytes], request: bytes) -> Generator[tuple[float, str], None, bytes]:
    started = time.monotonic()
    unsent: bytes | None = request
    while True:
        try:
            return child.communicate(unsent, timeout=PROGRESS_EVERY)[0]
        except subprocess.TimeoutExpired:
            unsent = None  # communicate goes on with what it was given first
            passed = time.monotonic() - started
            yield passed / (passed + HALF_WAY), f"computing for {passed:.0f} s"


def main() -> None:
    """Answers one request."""
    name, params = pickle.load(sys.stdin.buffer)
    try:
        outcome: PreparedRun | Exception = prepare(name, find(name)(params))
    except Exception as error:
        outcome = RuntimeError(f"{error}")
    sys.stdout.buffer.write(pickle.dumps(outcome))


if __name__ == "__main__":
    main()
