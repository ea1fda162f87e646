"""Numbers of settings that are not on the screen, which a reader may guess: from closed forms, without a run."""

from __future__ import annotations

from dataclasses import dataclass, replace

from explainers.checkpointing import prediction
from explainers.checkpointing.measure_params import MeasureParams, ModelParams
from explainers.checkpointing.schedules import every_k_peak


def lowest_peak(layers: int, ratio: float) -> tuple[int, float]:
    """The shortest segments with the lowest peak, and that peak in boundaries; ratio: I / B."""
    # peak(k) = ceil(L / k) B + k I
    peaks = {k: every_k_peak(layers, k, 1, ratio) for k in range(1, layers + 1)}
    k = min(peaks, key=lambda k: peaks[k])
    return k, peaks[k]


@dataclass(frozen=True)
class OneMoreLayer:
    """Bytes kept after the forward pass now and with one more layer, of one boundary and of one layer's inside."""

    now: int
    then: int
    boundary: int
    inside: int


def one_more_layer(params: MeasureParams) -> OneMoreLayer:
    """What the forward pass keeps, and what it would keep with one more layer under the same strategy."""
    deeper = params.model_copy(update={"layers": params.layers + 1})
    now, then = (
        prediction.total(prediction.kept_by_step(each.sizes, each.strategy, each.k))
        for each in (params, deeper)
    )
    return OneMoreLayer(
        now=now,
        then=then,
        boundary=prediction.tensor_bytes(params.sizes)["bsh"],
        inside=prediction.total(prediction.kept_by_block(params.sizes)),
    )


def activations_of_longer(params: ModelParams, times: int) -> tuple[int, int]:
    """The most bytes of activations alive at once, now and with sequences `times` as long."""
    longer = replace(params.sizes, seq_len=times * params.seq_len)
    now, then = (
        prediction.activation_peak(sizes, params.strategy, params.k) for sizes in (params.sizes, longer)
    )
    return now, then
