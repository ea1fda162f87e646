"""The GPUs whose limits bound the traffic: their rooflines, and the block sizes that fit their shared memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from explainers.hardware import gpus
from explainers.hardware.gpus import Gpu

GPUS = (gpus.GPUS["a100-80gb"], gpus.GPUS["h100-80gb"])


@dataclass(frozen=True)
class Roofline:
    """How fast each algorithm can run on a GPU: min(peak, bandwidth x intensity), in FLOP/s. ridge in FLOP/byte.

    peak: dense fp16, which is as fast as bf16 on these cards.
    """

    gpu: str
    peak: float
    bandwidth: float
    ridge: float
    standard: float
    tiled: float
    tiled_fa2: float
    source: str


@dataclass(frozen=True)
class LegalBlock:
    """Whether a Q tile with its K and V tiles fits a GPU's shared memory, in bytes; S and O stay in registers."""

    gpu: str
    block_q: int
    block_k: int
    bytes_used: int
    bytes_allowed: int
    fits: bool


def roofline(gpu: Gpu, intensities: list[float]) -> Roofline:
    reachable = [min(gpu.bf16_flops, gpu.bandwidth * intensity) for intensity in intensities]
    return Roofline(gpu.name, gpu.bf16_flops, gpu.bandwidth, gpu.ridge, *reachable, source=gpu.source)


def legal_blocks(d: int, size: int) -> Iterator[LegalBlock]:
    """Block sizes that kernels use, and whether they fit: (block_q + 2 block_k) d elements of shared memory."""
    for gpu in GPUS:
        for block_q in (32, 64, 128, 256, 512):
            for block_k in (32, 64, 128, 256, 512):
                used = (block_q + 2 * block_k) * d * size
                yield LegalBlock(gpu.name, block_q, block_k, used, gpu.shared_bytes, used <= gpu.shared_bytes)
