"""Jobs of a page: cached runs, runs in a subprocess, long runs, background work, and what a failure says."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
import pytest

from explainers.contract.experiment import find
from explainers.contract.params import Params
from explainers.contract.result import Check
from explainers.packing.histogram_params import HistogramParams
from pages.ui.jobs import background, cache, errors, long_run, prepared_run, separate_process
from pages.ui.jobs.long_run import LongRun


class Settings(Params):
    """Params without fields."""


def test_a_topic_s_runs_are_forgotten_and_no_other_s() -> None:
    names = ("grid_world.solve", "stochastic_approximation.mean")
    first = {name: cache.prepared(name, find(name).params()) for name in names}
    cache.forget("grid_world")
    kept = {name: cache.prepared(name, find(name).params()) is first[name] for name in names}
    assert kept == {"grid_world.solve": False, "stochastic_approximation.mean": True}


def test_a_run_in_process_gives_what_a_run_here_gives_and_can_be_ended() -> None:
    params = HistogramParams(strategy="lp")
    here = prepared_run.prepare("packing.histogram", find("packing.histogram")(params))
    progress = separate_process.run_in_process("packing.histogram", params)
    while True:
        try:
            share, words = next(progress)
        except StopIteration as end:
            there = end.value
            break
        assert 0 < share < 1
        assert words.startswith("computing for")
    assert there.checks == here.checks
    assert {**there.facts, "seconds": 0} == {**here.facts, "seconds": 0}
    ended = separate_process.run_in_process("packing.histogram", params)
    next(ended)
    ended.close()
    with pytest.raises(StopIteration):
        next(ended)


@dataclass(frozen=True)
class Result:
    output: np.ndarray
    tiles: int
    error: float
    checks: tuple[Check, ...]
    steps: list[int] = field(default_factory=list, metadata={"shell": False})

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


def test_facts_are_the_result_without_its_arrays() -> None:
    result = Result(np.zeros((2, 2)), 3, float("nan"), (Check("a", 0.0, 1.0, "b"),))
    facts = prepared_run.facts(result)
    assert json.loads(json.dumps(facts, allow_nan=False)) == {
        "tiles": 3,
        "error": None,
        "checks": [{"what": "a", "error": 0.0, "tolerance": 1.0, "reference": "b", "passed": True}],
        "passed": True,
    }


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("the worker died\nTraceback"), "This run failed: the worker died."),
        (KeyError(), "This run failed: KeyError."),
        (ValueError("x" * 1000), f"This run failed: {'x' * 240}."),
    ],
)
def test_an_error_becomes_one_sentence(error: Exception, words: str) -> None:
    assert errors.sentence(error) == words


def counting(steps: int, wait: float = 0.0) -> Generator[tuple[float, str], None, int]:
    for step in range(steps):
        yield step / steps, f"counting {step}"
        time.sleep(wait)
    return steps


def finished(run: LongRun) -> LongRun:
    assert run.finished.wait(10)
    return run


def test_a_long_run_gives_its_result() -> None:
    run = finished(LongRun(lambda: counting(3)))
    assert (run.result, run.problem) == (3, "")


def test_a_long_run_can_be_stopped() -> None:
    run = LongRun(lambda: counting(10_000, 0.01))
    run.stop()
    assert finished(run).result is None
    assert run.problem.startswith("Stopped while")


def test_a_long_run_that_fails_says_so_in_a_sentence() -> None:
    def failing():
        yield 0.0, "starting"
        raise RuntimeError("no memory")

    assert finished(LongRun(failing)).problem == "This run failed: no memory."


def test_a_run_that_no_page_polls_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_run, "ABANDONED_AFTER", 0.05)
    assert finished(LongRun(lambda: counting(10_000, 0.01))).problem.startswith("Stopped while")


def test_too_many_runs_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_run, "WAITING_AT_MOST", 1)
    gate = threading.Event()

    def waiting():
        yield 0.0, "waiting"
        gate.wait(10)

    first = LongRun(waiting)
    assert "waiting already" in finished(LongRun(waiting)).problem
    gate.set()
    finished(first)


def test_background_results_are_shared_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "RESULTS_KEPT", 2)
    calls: list[int] = []

    def compute(params: Params) -> int:
        calls.append(1)
        return 7

    futures = [background.submit(f"key {number % 2}", compute, Settings()) for number in range(4)]
    assert [future.result(10) for future in futures] == [7, 7, 7, 7]
    assert len(calls) == 2
    background.submit("another", compute, Settings()).result(10)
    assert background.submit("key 1", compute, Settings()) is futures[1]
    assert background.submit("key 0", compute, Settings()) is not futures[0]
