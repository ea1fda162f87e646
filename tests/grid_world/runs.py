"""Agents as several tests let them learn."""

from __future__ import annotations

from typing import Any

from explainers.contract.params import fit
from explainers.grid_world.learn import LearnParams, LearnResult, learn


def learned(**values: Any) -> LearnResult:
    return learn(fit(LearnParams(**values))[0])
