"""Numbers of a whole run that a reader may guess before it: what counts most, and what is left of the start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from explainers.stochastic_approximation import laws
from explainers.stochastic_approximation.dvoretzky import DvoretzkyParams
from explainers.stochastic_approximation.mean import MeanParams

Most = Literal["start", "first", "last", "alike", "other"]


@dataclass(frozen=True)
class Shares:
    """The shares in the last estimate of a mean: of the start, the first and the last sample; and which is largest."""

    start: float
    first: float
    last: float
    most: Most


def shares(params: MeanParams) -> Shares:
    """What each sample counts in the estimate after all steps, by the exact law."""
    weights = np.abs(laws.weights(params.used, params.steps))
    samples = weights[1:]
    if np.allclose(samples, samples[0]) and weights[0] <= samples[0]:
        most: Most = "alike"
    else:
        places: dict[int, Most] = {0: "start", 1: "first", params.steps: "last"}
        most = places.get(int(weights.argmax()), "other")
    return Shares(float(weights[0]), float(weights[1]), float(weights[-1]), most)


def left_of_start(params: DvoretzkyParams) -> float:
    """|prod (1 - a_k)| over all steps: the share of the start that is left; above 1 where steps overshoot."""
    return float(abs(laws.product(params.used, params.steps)[-1]))
