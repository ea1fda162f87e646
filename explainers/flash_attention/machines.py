"""The GPUs that traffic is weighed against: their rooflines, and which block sizes their shared memory holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """flops: dense fp16 tensor-core peak, FLOP/s. bandwidth: HBM, bytes/s. shared_bytes: most that a block gets."""

    name: str
    flops: float
    bandwidth: float
    shared_bytes: int
    source: str

    @property
    def ridge(self) -> float:
        """The arithmetic intensity (FLOP/byte) from which the peak, not the memory, is the limit."""
        return self.flops / self.bandwidth


GPUS = (
    Gpu(
        "A100 SXM 80 GB",
        312e12,
        2039e9,
        163 * 1024,
        "NVIDIA A100 data sheet (dense fp16); CUDA programming guide, compute capability 8.0",
    ),
    Gpu(
        "H100 SXM",
        989.4e12,
        3350e9,
        227 * 1024,
        "NVIDIA H100 data sheet (dense fp16: half of the 1,979 TFLOP/s printed with sparsity); "
        "CUDA programming guide, compute capability 9.0",
    ),
)


@dataclass(frozen=True)
class Roofline:
    """How fast each algorithm can run on a GPU: min(peak, bandwidth x intensity), in FLOP/s. ridge in FLOP/byte."""

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
    reachable = [min(gpu.flops, gpu.bandwidth * intensity) for intensity in intensities]
    return Roofline(gpu.name, gpu.flops, gpu.bandwidth, gpu.ridge, *reachable, source=gpu.source)


def legal_blocks(d: int, size: int) -> Iterator[LegalBlock]:
    """Block sizes that kernels use, and whether they fit: (block_q + 2 block_k) d elements of shared memory."""
    for gpu in GPUS:
        for block_q in (32, 64, 128, 256, 512):
            for block_k in (32, 64, 128, 256, 512):
                used = (block_q + 2 * block_k) * d * size
                yield LegalBlock(gpu.name, block_q, block_k, used, gpu.shared_bytes, used <= gpu.shared_bytes)
