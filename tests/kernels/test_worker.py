"""The interpreter worker runs one launch at a time and is restarted when it dies."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from kernels import interpreter as interpreting
from kernels.flash_attention import flash_attention
from kernels.interpreter import Cancelled, WorkerDied, interpreter, run_as
from tests.gpu.attention_reference import Shape, plain_attention, random_inputs
from tests.kernels.runs import ROOT, heads

pytestmark = pytest.mark.skipif(not interpreting.triton_available(), reason="Triton exists for Linux only")


# ---------------------------------------------------------------------------------------------- the worker


def test_eight_threads_at_once():
    def run(seed):
        inputs, _ = random_inputs(Shape(60, 70, 32), torch.float32, seed=seed)
        exact, _ = plain_attention(*(tensor.double() for tensor in inputs), causal=True)
        return (flash_attention(*inputs, causal=True) - exact).abs().max().item()

    with ThreadPoolExecutor(8) as pool:
        assert max(pool.map(run, range(16))) <= 2e-6


def long_run():
    """A second or more of interpreted work."""
    q = torch.ones(1, 64, 512, 32)
    return flash_attention(q, q, q)


@contextlib.contextmanager
def run_in_background(work):
    """The future of `work`, once the worker has started it."""
    interpreter.warm_up().join()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        wait_until(lambda: interpreter._in_flight is not None)
        time.sleep(0.1)
        yield future


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_worker_killed_in_mid_run_is_replaced_and_the_run_repeated():
    with run_in_background(long_run) as future:
        restarts, pid = interpreter.restarts, interpreter.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        torch.testing.assert_close(future.result(), torch.ones(1, 64, 512, 32))
    assert interpreter.restarts == restarts + 1
    assert interpreter.pid not in (None, pid)


def test_a_worker_that_dies_twice_is_reported():
    with run_in_background(long_run) as future:
        for _ in range(2):
            pid = interpreter.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda pid=pid: future.done() or interpreter.pid not in (None, pid))
        with pytest.raises(WorkerDied, match="died twice"):
            future.result()
    assert flash_attention(*heads()).isfinite().all()


def test_cancel_stops_the_run_of_its_owner_and_no_other():
    def owned():
        with run_as("somebody"):
            return long_run()

    with run_in_background(owned) as future:
        restarts = interpreter.restarts
        interpreter.cancel("somebody else")
        time.sleep(0.1)
        assert not future.done()
        interpreter.cancel("somebody")
        with pytest.raises(Cancelled):
            future.result()
    assert flash_attention(*heads()).isfinite().all()
    assert interpreter.restarts == restarts  # what was stopped on purpose did not die


def test_a_run_over_its_time_is_stopped():
    interpreter.warm_up().join()
    with run_as(timeout=0.2), pytest.raises(TimeoutError, match=r"0\.2 s"):
        long_run()
    assert flash_attention(*heads()).isfinite().all()


def test_an_error_in_the_worker_comes_back_and_the_worker_lives_on():
    flash_attention(*heads())
    pid = interpreter.pid
    with pytest.raises(RuntimeError, match="no_such_operation"):
        interpreter.run("no_such_operation", {}, {})
    with pytest.raises(ValueError, match="x must have one of the dtypes"):
        interpreter.run("ready", {"x": np.zeros(1, dtype="float64")}, {})
    with pytest.raises(RuntimeError, match="surprise"):
        interpreter.run("ready", {}, {"surprise": 1})
    assert interpreter.pid == pid


def test_stray_prints_in_the_worker_do_not_reach_the_protocol():
    program = inspect.cleandoc("""
        import os
        from kernels import worker
        def noisy():
            print("a stray line")
            os.write(1, b"another one")
            return ()
        worker._load_operations = lambda: {"noisy": noisy}
        worker.main()
    """)
    text = json.dumps({"operation": "noisy", "options": {}, "arrays": []}).encode()
    request = len(text).to_bytes(4, "little") + text
    run = subprocess.run(
        [sys.executable, "-c", program],
        input=request * 2,
        capture_output=True,
        cwd=ROOT,
        timeout=60,
        check=True,
    )
    answer = json.dumps({"arrays": []}).encode()
    assert run.stdout == 2 * (len(answer).to_bytes(4, "little") + answer)
    assert b"a stray line" in run.stderr


def test_the_worker_is_found_from_anywhere_and_ends_with_the_program(tmp_path):
    program = inspect.cleandoc(f"""
        import os, sys
        sys.path.insert(0, {str(ROOT)!r})
        import torch
        from kernels.flash_attention import flash_attention
        from kernels.interpreter import interpreter
        q = torch.ones(1, 1, 20, 16)
        assert flash_attention(q, q, q).eq(1).all()
        assert "triton" not in sys.modules and "TRITON_INTERPRET" not in os.environ
        child = os.fork()
        if child == 0:
            os._exit(interpreter.pid is not None)
        assert os.waitpid(child, 0)[1] == 0
        print(interpreter.pid)
    """)
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True
    )
    wait_until(lambda: not Path(f"/proc/{int(run.stdout)}").exists())


def test_without_a_gpu_the_benchmark_says_so():
    if torch.cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    run = subprocess.run(
        [sys.executable, "-m", "kernels.bench"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1
    assert "CUDA" in run.stderr
