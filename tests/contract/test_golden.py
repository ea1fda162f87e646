"""Every experiment answers as it did: at its defaults, with each preset, with each break."""

from __future__ import annotations

import json
from typing import Any

import pytest

from explainers.contract.experiment import experiments
from tests.contract.golden import GOLDEN, answer, condensed, differences

CASES = json.loads(GOLDEN.read_text(encoding="utf-8"))


def label(case: dict[str, Any]) -> str:
    return " ".join([case["name"], *case["flags"]])[:80]


def test_every_experiment_is_recorded() -> None:
    assert {case["name"] for case in CASES} >= {experiment.name for experiment in experiments()}


@pytest.mark.slow
@pytest.mark.usefixtures("compiled_agents")
@pytest.mark.parametrize("case", CASES, ids=label)
def test_an_experiment_answers_as_it_did(case: dict[str, Any]) -> None:
    now = condensed(answer(case["name"], case["flags"]))
    differ = list(differences(case["answer"], now))
    again = f"python -m tests.contract.golden --add {case['name']}"
    assert not differ, f"{case['name']} {' '.join(case['flags'])}: if that is meant, {again}"
