"""Chains and played schedules for several tests."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from typing import Any, get_args

from explainers.checkpointing.chain import Action, Chain, Moment, play
from explainers.checkpointing.schedule_params import ScheduleParams, Strategy
from explainers.contract.params import fit

STRATEGIES = get_args(Strategy)


def fitted(**values: Any) -> ScheduleParams:
    """Settings of a schedule that obey all rules."""
    return fit(ScheduleParams(**values))[0]


def played(
    chain: Chain, actions: Iterable[Action], budget: float = math.inf
) -> tuple[float, int, list[Moment]]:
    """Peak, extra forwards and the moments of a schedule."""
    moments = list(play(chain, actions, budget))
    forwards = sum(moment.kind != "backward" for moment in moments)
    return max(moment.memory for moment in moments), forwards - chain.layers, moments


def random_chain(rng: random.Random, layers: int) -> Chain:
    return Chain(*(tuple(rng.randint(1, most) for _ in range(layers)) for most in (6, 6, 9)))
