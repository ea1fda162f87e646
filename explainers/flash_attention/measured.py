"""The experiment `flash_attention.measured`: our kernel beside PyTorch's on a GPU, as `make gpu` measured them.

Operations are counted as in the flash-attention repository: each matrix product over N^2 pairs and d numbers is
2 B H N^2 d, and half of that if causal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from explainers.contract.experiment import experiment
from explainers.contract.messages import Message, plural
from explainers.contract.params import Params, choice, number, switch
from explainers.contract.result import Check, Checked
from explainers.flash_attention import measurements
from explainers.flash_attention.measurements import (
    COMMAND,
    Decoding,
    Dense,
    Direction,
    Machine,
    Measurements,
    Varlen,
    read_measurements,
)
from explainers.hardware.gpus import DEVICE_NAMES, GPUS, Gpu

NAMES: Mapping[str, str] = {
    "ours": Message("our Triton kernel"),
    "flash": Message("FlashAttention-2 in PyTorch"),
    "cudnn": "cuDNN",
    "efficient": Message("memory-efficient attention"),
    "math": Message("plain attention"),
}
ROUNDED = 0.01  # relative: the file's times and rates may be rounded
FP16_ERROR = 5e-3  # as in the live race
FASTER = 1.005  # a lead that two decimals show


# -------------------------------------------------------------------------------------------- figures in print


@dataclass(frozen=True)
class Printed:
    """A published throughput on an H100: forward, fp16, at N = PRINTED_N, with 2048 / d heads."""

    name: str
    tflops: float


PRINTED_ON, PRINTED_N = GPUS["h100-80gb"], 16_384
PRINTED_SOURCE = Message("flash-attention repository, charts of the forward pass on an H100")
# By (head dimension, causal).
PRINTED: Mapping[tuple[int, bool], tuple[Printed, ...]] = {
    at: tuple(
        Printed(name, tflops)
        for name, tflops in zip(
            ("FlashAttention-2", "Triton", "cuDNN", "FlashAttention-3"), rates, strict=True
        )
    )
    for at, rates in {
        (64, False): (324, 403, 413, 497),
        (64, True): (299, 363, 388, 473),
        (128, False): (370, 395, 595, 648),
        (128, True): (335, 378, 539, 616),
    }.items()
}


# -------------------------------------------------------------------------------------------- the experiment


class MeasuredParams(Params):
    direction: Direction = choice(
        "forward", "Pass", "Attention itself, or the gradients of Q, K and V from that of O"
    )
    causal: bool = switch(True, "Causal", "A query sees keys up to its own position only")
    head_dim: int = number(
        64, "Head dimension", "Numbers in one query or key", least=16, most=256, options=(64, 128, 192)
    )


@dataclass(frozen=True)
class MeasuredResult(Checked):
    """What was measured at the chosen settings; of decoding, which has no pass and no mask, everything.

    machine: None while nothing has been measured. bandwidth: of the card by its data sheet, bytes/s; None for a card
    that explainers/hardware does not have. printed: published figures for these settings on this card. notes: what is
    missing, or who is faster.
    """

    machine: Machine | None
    bandwidth: float | None
    dense: tuple[Dense, ...]
    varlen: tuple[Varlen, ...]
    decoding: tuple[Decoding, ...]
    printed: tuple[Printed, ...]
    notes: tuple[str, ...]
    checks: tuple[Check, ...]
    params: MeasuredParams = field(metadata={"shell": False})


@experiment("flash_attention.measured")
def measured(params: MeasuredParams) -> MeasuredResult:
    """Our Triton kernel beside PyTorch's own attention, as measured on a GPU."""
    found = read_measurements(measurements.FILE)
    if found is None:
        nothing = Message("Nothing has been measured on a GPU yet; `{command}` does it.", command=COMMAND)
        return MeasuredResult(None, None, (), (), (), (), (nothing,), (), params)
    gpu = gpu_of(found.device)
    dense = tuple(
        row
        for row in found.dense
        if (row.direction, row.causal, row.head_dim) == (params.direction, params.causal, params.head_dim)
    )
    return MeasuredResult(
        machine=found.machine,
        bandwidth=gpu.bandwidth if gpu else None,
        dense=dense,
        varlen=tuple(
            row for row in found.varlen if (row.direction, row.causal) == (params.direction, params.causal)
        ),
        decoding=found.decoding,
        printed=_printed(params, gpu) if dense else (),
        notes=tuple(_who_is_faster(dense)) if dense else (_not_measured(params, found),),
        checks=tuple(_checks(found, gpu)),
        params=params,
    )


def gpu_of(device: str) -> Gpu | None:
    """The card that a driver calls `device`; None for one whose data sheet is not in explainers/hardware."""
    return GPUS[DEVICE_NAMES[device]] if device in DEVICE_NAMES else None


def over_ours(rows: tuple[Dense, ...]) -> dict[tuple[str, int], float]:
    """(method, n) -> how many times as fast as our kernel a method is, where both were measured."""
    ours = {row.n: row.milliseconds for row in rows if row.method == "ours"}
    return {(row.method, row.n): ours[row.n] / row.milliseconds for row in rows if row.n in ours}


def _printed(params: MeasuredParams, gpu: Gpu | None) -> tuple[Printed, ...]:
    if params.direction != "forward" or gpu is not PRINTED_ON:
        return ()
    return PRINTED.get((params.head_dim, params.causal), ())


# ---------------------------------------------------------------------------------------------------- sentences


def _who_is_faster(rows: tuple[Dense, ...]) -> Iterator[str]:
    """A sentence for each method that is faster than our kernel somewhere, or one that none is."""
    ratios = over_ours(rows)
    compared = {method for method, _ in ratios}
    rivals = [method for method in NAMES if method in compared and method != "ours"]
    leads = {
        rival: {n: ratio for (method, n), ratio in ratios.items() if method == rival and ratio >= FASTER}
        for rival in rivals
    }
    for rival, lead in leads.items():
        if lead:
            n = max(lead, key=lead.__getitem__)
            yield plural(
                "{rival} is {ratio:.2f} times as fast as our kernel at N = {n:,}, and at no other length faster.",
                "{rival} is {ratio:.2f} times as fast as our kernel at N = {n:,}, and faster at {count} of {lengths}.",
                count=len(lead),
                rival=NAMES[rival],
                ratio=lead[n],
                n=n,
                lengths=sum(method == rival for method, _ in ratios),
            )
    if rivals and not any(leads.values()):
        yield Message("No other method is faster than our kernel at any length.")


def _not_measured(params: MeasuredParams, found: Measurements) -> Message:
    known = sorted({row.head_dim for row in found.dense if row.direction == params.direction})
    return Message(
        "Not measured at these settings: the {direction} pass has head dimensions {known}.",
        direction=params.direction,
        known=", ".join(map(str, known)) or Message("none"),
    )


# ------------------------------------------------------------------------------------------------------- checks


def operations(row: Dense) -> float:
    """Operations of a pass: its matrix products over the pairs of query and key, half of them if causal.

    Forward: Q K^T, and P V. Backward: Q K^T again, dO V^T, and dQ, dK, dV.
    """
    d, dv = row.head_dim, row.value_dim
    products = (d, dv) if row.direction == "forward" else (d, dv, d, d, dv)
    pairs = row.batch * row.heads * row.n * row.n
    return sum(2 * pairs * numbers for numbers in products) / (2 if row.causal else 1)


def _checks(found: Measurements, gpu: Gpu | None) -> Iterator[Check]:
    """Of the whole file, whatever is chosen of it."""
    if found.dense:
        yield Check(
            "TFLOP/s are operations divided by time",
            max(_apart(row.tflops * 1e9 * row.milliseconds, operations(row)) for row in found.dense),
            ROUNDED,
            "2 B H N² d a matrix product, counted here",
        )
    if found.dense and gpu:
        fastest = max(operations(row) / row.milliseconds * 1e3 for row in found.dense)
        yield Check(
            "no method is faster than the card's arithmetic",
            max(0.0, fastest / gpu.bf16_flops - 1),
            0.0,
            Message("its peak, {source}", source=gpu.source),
        )
    if found.decoding:
        yield Check(
            "bytes a second are bytes divided by time",
            max(_apart(row.bytes_per_second * row.milliseconds * 1e-3, row.bytes) for row in found.decoding),
            ROUNDED,
            "the recorded bytes and milliseconds",
        )
    recorded = [row for row in (*found.varlen, *found.decoding) if row.method == "ours"]
    if errors := [row.max_error for row in recorded if row.max_error is not None]:
        yield Check(
            "our kernel's errors for packs and in decoding are rounding",
            max(errors),
            FP16_ERROR,
            "what the benchmark recorded on the GPU",
        )


def _apart(value: float, expected: float) -> float:
    return abs(value - expected) / expected
