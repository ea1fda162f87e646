"""Experiments with settings that are fitted first, for several tests."""

from __future__ import annotations

from typing import Any

from explainers.contract.params import fit
from explainers.grid_world.learn import LearnParams, LearnResult, learn
from explainers.grid_world.plan import PlanParams, PlanResult, plan
from explainers.grid_world.solve import SolveParams, SolveResult, solve


def learned(**values: Any) -> LearnResult:
    return learn(fit(LearnParams(**values))[0])


def planned(**values: Any) -> PlanResult:
    return plan(fit(PlanParams(**values))[0])


def solved(**values: Any) -> SolveResult:
    return solve(fit(SolveParams(**values))[0])
