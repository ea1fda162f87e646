"""Sentences about a traced step: what it keeps, with the numbers, and what its strategy saves and costs."""

from __future__ import annotations

from collections.abc import Sequence

from explainers.checkpointing import prediction
from explainers.checkpointing.prediction import Sizes, Strategy
from explainers.contract.messages import Message, joined, plural

UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def in_words(size: int) -> Message:
    """Bytes in the largest unit that fits, with one decimal: 6.8 GB."""
    for unit, name in UNITS:
        if size >= unit:
            return Message("{size:,.1f} {unit}", size=size / unit, unit=name)
    return Message("{size} B", size=size)


def formula(sizes: Sizes, strategy: Strategy, k: int, measured: int) -> Message:
    """The sum of what is kept, with its numbers: 'predicted ...: 3 inputs of ... = 330,248 B; measured: 330,248 B'."""
    return Message(
        "predicted to be kept after the forward pass: {summands} = {predicted:,} B; measured: {measured:,} B",
        summands=joined(_summands(sizes, strategy, k), " + "),
        predicted=prediction.total(prediction.kept_by_step(sizes, strategy, k)),
        measured=measured,
    )


def _summands(sizes: Sizes, strategy: Strategy, k: int) -> list[str]:
    layers = sizes.shape.layers
    summands: list[str] = []
    if segments := len(prediction.segments_of(strategy, layers, k)):
        summands.append(
            plural(
                "{count} input of segment × {size:,} B",
                "{count} inputs of segments × {size:,} B",
                count=segments,
                size=prediction.tensor_bytes(sizes)["bsh"],
            )
        )
    if strategy in prediction.INSIDE:
        size = prediction.total(prediction.INSIDE[strategy](sizes))
        summands.append(
            plural("{count} layer × {size:,} B", "{count} layers × {size:,} B", count=layers, size=size)
            if strategy == "none"
            else plural(
                "{count} layer, as the policy keeps it, × {size:,} B",
                "{count} layers, as the policy keeps it, × {size:,} B",
                count=layers,
                size=size,
            )
        )
    ends = prediction.total(prediction.kept_by_ends(sizes))
    return [*summands, Message("{size:,} B for tokens, last norm, head and loss", size=ends)]


def most_alive(measured: int, predicted: int, *, with_gradients: bool) -> Message:
    """The most activations. with_gradients: the measurement counts gradients among them."""
    if with_gradients:
        return Message(
            "{measured} measured, gradients counted among them, {predicted} predicted",
            measured=in_words(measured),
            predicted=in_words(predicted),
        )
    return Message(
        "{measured} measured, {predicted} predicted",
        measured=in_words(measured),
        predicted=in_words(predicted),
    )


def saving(alive: Message, everything: int, recomputed: Message, strategy: Strategy) -> Message:
    """The most activations, with the strategy and without checkpoints, and what is recomputed for it.

    everything: bytes that are kept without checkpoints.
    """
    without = (
        Message("everything is kept")
        if strategy == "none"
        else Message("without checkpointing {size}", size=in_words(everything))
    )
    return Message(
        "Most activations alive in forward and backward: {alive}; {without}; {recomputed}.",
        alive=alive,
        without=without,
        recomputed=recomputed,
    )


def recomputation(forward_runs: Sequence[int], strategy: Strategy, share: float, sizes: Sizes) -> Message:
    """Which layers run forward twice, how much computing that is, and what does not run twice.

    share: FLOPs that run again, of those of a forward pass.
    """
    layers, twice = len(forward_runs), sum(runs > 1 for runs in forward_runs)
    if not twice:
        return Message("no layer runs forward twice")
    which = plural(
        "{twice} of {count} layer runs forward twice",
        "{twice} of {count} layers run forward twice",
        count=layers,
        twice=twice,
    )
    flops = Message("{share:.1%} of a forward pass's FLOPs in matrix products once more", share=share)
    if strategy.startswith("selective"):
        return Message("{which}, without what the policy keeps: {flops}", which=which, flops=flops)
    if sizes.dropout:
        # the last dropout makes a mask that the backward pass reads, so torch recomputes everything before it
        return Message("{which}: {flops} (the head does not run again)", which=which, flops=flops)
    return Message(
        "{which}: {flops} (the head does not run again, nor the last product of each segment, before which torch "
        "stops)",
        which=which,
        flops=flops,
    )
