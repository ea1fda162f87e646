"""Small numbers of a grid world that a reader may work out: the size of a step, what a target waits for, sweeps."""

from __future__ import annotations

import math

from explainers.grid_world.learn_params import KINDS, OneAgentParams, rules_of
from explainers.grid_world.memory import Kind, Schedule


def step_size(params: OneAgentParams, n: int) -> float:
    """The step size of the n-th update of a pair."""
    rules = rules_of(params, params.algorithm)
    falling = {
        Schedule.ONE_OVER_N: 1 / n,
        Schedule.ONE_OVER_N_PLUS_ONE: 1 / (n + 1),
        Schedule.POLYNOMIAL: rules.alpha / n**0.7,
    }
    return falling.get(Schedule(rules.schedule), rules.alpha)


def waits_for_returns(params: OneAgentParams) -> bool:
    """Whether the agent learns from several rewards, and not from one and an estimate."""
    kind = KINDS[params.algorithm]
    return kind == Kind.MONTE_CARLO or (kind == Kind.N_STEP and rules_of(params, params.algorithm).n > 1)


def sweeps_until(left: float, gamma: float) -> int | None:
    """The fewest sweeps k with gamma^k at most `left`; None where nothing shrinks."""
    if gamma >= 1:
        return None
    if gamma <= left:
        return 1
    k = math.ceil(math.log(left) / math.log(gamma))
    return k - 1 if gamma ** (k - 1) <= left else k
