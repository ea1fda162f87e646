"""A run in a process of its own, which keeps no other reader waiting and can be ended at any moment.

python -m pages.ui.jobs.separate_process reads a pickled (name, params) and writes what
`packed_result.packed` makes of the run, or the error.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from collections.abc import Generator

from explainers.contract.experiment import find
from explainers.contract.params import Params
from pages.ui.jobs.packed_result import Drawn, packed

LOOK_EVERY = 0.3  # seconds
USUAL = 5.0  # seconds, at which the bar stands half way: how long a run takes is not known before


def run_apart(name: str, params: Params) -> Generator[tuple[float, str], None, Drawn]:
    """Yields the progress of experiment `name` and returns its run. To close the generator ends the process.

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
    given: bytes | None = request
    while True:
        try:
            return child.communicate(given, timeout=LOOK_EVERY)[0]
        except subprocess.TimeoutExpired:
            given = None  # it is on its way
            passed = time.monotonic() - started
            yield passed / (passed + USUAL), f"computing for {passed:.0f} s"


def main() -> None:
    """Answers one request."""
    name, params = pickle.load(sys.stdin.buffer)
    try:
        outcome: Drawn | Exception = packed(name, find(name)(params))
    except Exception as error:
        outcome = RuntimeError(f"{error}")
    sys.stdout.buffer.write(pickle.dumps(outcome))


if __name__ == "__main__":
    main()
