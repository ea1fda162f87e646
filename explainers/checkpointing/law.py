"""The law of segments: peak(k) = ceil(L / k) B + k I, and the k with the lowest peak.

Longer segments have fewer boundaries, ceil(L / k) B, and more internal activations to recompute at a time, k I. For
continuous k, the sum is least at k = sqrt(L B / I): sqrt(L) where the inside of a layer takes as much as a boundary
(Chen et al. 2016), far less in a transformer, whose layer keeps s b h (34 + 5 a s / h) bytes inside and only 2 s b h at
its boundary (Korthikanti et al. 2022).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from pydantic import field_validator

from explainers.checkpointing.chain import Chain, play
from explainers.checkpointing.schedules import every, every_k_peak, in_segments
from explainers.contract.breaks import Break, break_field
from explainers.contract.experiment import experiment
from explainers.contract.messages import Message
from explainers.contract.params import Params, number
from explainers.contract.result import Check, Checked

BREAKS = (
    Break(
        name="forget_boundaries",
        label="forget the boundaries",
        consequence=(
            "Without the boundaries the formula is k I alone: memory seems to keep falling as segments "
            "get shorter, and k = 1 seems best. Played, each segment also keeps its input."
        ),
        settings={"layers": 64, "ratio": 1.0},
    ),
)


class LawParams(Params):
    layers: int = number(
        64,
        "Layers",
        "Length of the chain (L)",
        least=1,
        most=256,
        comfort=(4, 128),
        step=1,
        unit="layers",
    )
    ratio: float = number(
        16.0,
        "Inside against boundary",
        "Memory of a layer's internal activations in boundaries (I / B), in quarters",
        least=0.25,
        most=64,
        comfort=(0.25, 64),
        step=0.25,
    )
    break_it: Literal["none", "forget_boundaries"] = break_field(BREAKS)

    @field_validator("ratio")
    @classmethod
    def _in_quarters(cls, ratio: float) -> float:
        return round(4 * ratio) / 4


@dataclass(frozen=True, eq=False)
class LawResult(Checked):
    """The peak for every k, in boundaries. k, peak, predicted, boundaries, internals: (L,).

    peak: as played; predicted: by the formula. boundaries, internals: the two parts of the peak. best_k: the smallest k
    with the lowest peak as played; predicted_best_k: by the formula. continuous_k: sqrt(L B / I).
    """

    k: np.ndarray
    peak: np.ndarray
    predicted: np.ndarray
    boundaries: np.ndarray
    internals: np.ndarray
    best_k: int
    predicted_best_k: int
    least_peak: float
    continuous_k: float
    sqrt_layers: float
    peak_at_sqrt_layers: float
    notes: tuple[str, ...]
    checks: tuple[Check, ...]
    params: LawParams = field(metadata={"shell": False})


@experiment("checkpointing.law", breaks=BREAKS)
def law(params: LawParams) -> LawResult:
    """Peak memory for every segment length, played and by formula, and the best length."""
    L, I = params.layers, params.ratio
    B = 0 if params.break_it == "forget_boundaries" else 1
    k = np.arange(1, L + 1)
    peak = np.array([played_peak(L, length, I) for length in k.tolist()])
    predicted = np.array([every_k_peak(L, length, B, I) for length in k.tolist()])
    continuous = math.sqrt(L / I)
    return LawResult(
        k=k,
        peak=peak,
        predicted=predicted,
        boundaries=np.ceil(L / k),
        internals=k * I,
        best_k=int(k[peak.argmin()]),
        predicted_best_k=int(k[predicted.argmin()]),
        least_peak=float(peak.min()),
        continuous_k=continuous,
        sqrt_layers=math.sqrt(L),
        peak_at_sqrt_layers=float(peak[round(math.sqrt(L)) - 1]),
        notes=(
            _note_on_transformers(params, int(k[peak.argmin()])),
            Message(
                "Where k does not divide L, the first segment is the short one, so that the formula is exact."
            ),
        ),
        checks=tuple(_checks(L, continuous, peak, predicted)),
        params=params,
    )


def _note_on_transformers(params: LawParams, best_k: int) -> Message:
    return Message(
        "A transformer layer in 16 bits keeps s b h (34 + 5 a s / h) bytes inside and 2 s b h at its boundary "
        "(s tokens, b sequences, h hidden size, a heads; Korthikanti et al. 2022). The 34 hold the boundary, "
        "so I / B is 16 or more, and for {layers} layers √(L B / I) is √L / 4 = {quarter:.3g} or less, not "
        "√L = {root:.3g}. With I / B = {ratio:g} as set here it is {continuous:.3g}, and the best k is {best_k}.",
        layers=params.layers,
        quarter=math.sqrt(params.layers) / 4,
        root=math.sqrt(params.layers),
        ratio=params.ratio,
        continuous=math.sqrt(params.layers / params.ratio),
        best_k=best_k,
    )


def played_peak(layers: int, k: int, ratio: float) -> float:
    """Peak memory of the schedule in segments of k layers as played, in boundaries."""
    schedule = in_segments(1, layers, every(k, 1, layers))
    return max(moment.memory for moment in play(Chain.uniform(layers, 1, ratio), schedule))


def _checks(L: int, continuous: float, peak: np.ndarray, predicted: np.ndarray) -> Iterator[Check]:
    error = float(np.abs(peak - predicted).max())
    yield Check("every peak is that of the formula", error, 0, "⌈L/k⌉ B + k I, for every k")
    # one of the two whole numbers next to the continuous k is as good, up to the rounding of L / k
    near = [min(max(rounded(continuous), 1), L) for rounded in (math.floor, math.ceil)]
    above = float(min(peak[k - 1] for k in near) - peak.min())
    yield Check(
        "the best k lies at √(L B / I)",
        above,
        1,
        "a whole number beside it peaks within 1 of the least",
    )
