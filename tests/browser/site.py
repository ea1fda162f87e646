"""The site as a running server, and Chromium to read it with; shared by tests, benchmark, load test and picture."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
INSTALL = "sudo apt-get install chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


class NotUp(RuntimeError):
    """The server did not come up; the message ends with what it printed."""


@dataclass(frozen=True)
class Site:
    """A running server. up: time.monotonic() of its first answer."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    up: float

    def printed(self) -> str:
        return re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text(errors="replace"))

    def memory(self) -> int:
        """Bytes of real memory that the server and the programs it started hold now."""
        return sum(int(size) for _, size, _ in self._programs()) * 1024

    def worker(self) -> int | None:
        """The process id of the program that interprets the kernel; None while there is none."""
        found = [int(pid) for pid, _, command in self._programs() if command.endswith("-m kernels.worker")]
        return found[0] if found else None

    def wait_until_busy(self, worker: int, patience: float = 10) -> None:
        """Waits until the worker computes: has used a tenth of a second of its processor since the call."""
        before = _processor_seconds(worker)
        give_up = time.monotonic() + patience
        while _processor_seconds(worker) < before + 0.1:
            assert time.monotonic() < give_up, "the worker has nothing to do"
            time.sleep(0.02)

    def _programs(self) -> list[tuple[str, str, str]]:
        """Process id, size in KiB and command of the server and the programs it started."""
        listing = ["ps", "-eo", "pgid=,pid=,rss=,args=", "-ww"]
        listed = subprocess.run(listing, capture_output=True, text=True, check=True).stdout
        rows = [line.split(None, 3) for line in listed.splitlines()]
        return [
            (row[1], row[2], row[3].strip())
            for row in rows
            if int(row[0]) == self.process.pid and len(row) == 4
        ]


def _processor_seconds(pid: int) -> float:
    """The processor time that a program has used, its own and the system's for it."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serve(
    log: Path, patience: float = 60, script: str = "pages/ui/serve.py", **environment: str
) -> Iterator[Site]:
    """Starts the site as `make run` does, on a free port; waits until it answers, and ends it. Raises NotUp.

    script: what Streamlit runs. environment: variables for it.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended from outside, end the server too
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-um", "streamlit", "run", script, "--server.port", str(port)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_up(process, f"{url}/_stcore/health", log, patience)
        yield Site(url, process, log, time.monotonic())
    finally:
        _end(process)


def _wait_until_up(process: subprocess.Popen[bytes], health: str, log: Path, patience: float) -> None:
    for _ in range(int(patience / 0.1)):
        if process.poll() is not None:
            raise NotUp(
                f"the server ended with status {process.returncode}:\n{log.read_text(errors='replace')}"
            )
        try:
            with urllib.request.urlopen(health, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise NotUp(f"the server did not answer within {patience:.0f} s:\n{log.read_text(errors='replace')}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the server and, with its process group, the worker it started."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    except ProcessLookupError:
        process.wait()
