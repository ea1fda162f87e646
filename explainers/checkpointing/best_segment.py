"""The segment length with the lowest peak, among those that a reader may guess."""

from __future__ import annotations

from dataclasses import dataclass

from explainers.checkpointing.schedule_params import ScheduleParams
from explainers.checkpointing.schedules import every_k_peak, sqrt_length
from explainers.contract.messages import Message, joined


@dataclass(frozen=True)
class BestSegment:
    """Segment lengths to choose from, the one with the lowest peak, and why."""

    answers: tuple[str, ...]
    right: str
    why: str


def best_segment(params: ScheduleParams) -> BestSegment | None:
    """Which of 1, sqrt(L), L / 2 and L is the best length: by peak(k) = ceil(L / k) B + k I.

    Lengths as good as the best are not among the answers; None where no other is left.
    """
    L, B, I = params.layers, params.boundary, params.internal
    peaks = {k: int(every_k_peak(L, k, B, I)) for k in (1, sqrt_length(L), max(1, L // 2), L)}
    best = min(peaks, key=lambda k: peaks[k])
    peaks = {k: peak for k, peak in sorted(peaks.items()) if k == best or peak > peaks[best]}
    if len(peaks) == 1:
        return None
    sums = [f"k = {k}: ⌈{L}/{k}⌉ × {B} + {k} × {I} = {peak:,}" for k, peak in peaks.items()]
    return BestSegment(tuple(str(k) for k in peaks), str(best), Message("{sums}.", sums=joined(sums, "; ")))
