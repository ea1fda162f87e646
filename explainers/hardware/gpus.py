"""Common GPUs: memory, bandwidth and peak from their data sheets, without sparsity.

GB of a data sheet is read as 10^9 bytes. Memory chips come in powers of two, so that a driver usually reports more
(an "80 GB" H100 reports 81,559 MiB, which is 85.5 GB): what fits by the data sheet fits on the card. `reported_mib` is
the total that `nvidia-smi` shows, before the driver's reserve is subtracted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from explainers.contract.messages import Message

GpuName = Literal[
    "a100-40gb", "a100-80gb", "h100-80gb", "h200-141gb", "b200-180gb", "mi300x-192gb",
    "a10-24gb", "l4-24gb", "l40s-48gb", "rtx-3090-24gb", "rtx-4090-24gb", "rtx-5090-32gb",
]  # fmt: skip


@dataclass(frozen=True)
class Gpu:
    """One card.

    name: shown on screen. memory_bytes: by the data sheet, GB = 10^9 bytes. bandwidth: of that memory, bytes/s.
    bf16_flops, fp8_flops: dense peak of the matrix units with fp32 accumulation, FLOP/s (fp16 is as fast as bf16);
    fp8_flops is None without fp8 units. shared_bytes: the most shared memory that a thread block can use.
    reported_mib: the memory that the driver reports, MiB, or None if unknown. source: where the figures are printed.
    """

    name: str
    memory_bytes: int
    bandwidth: float
    bf16_flops: float
    fp8_flops: float | None
    shared_bytes: int
    reported_mib: int | None
    source: str

    @property
    def ridge(self) -> float:
        """The arithmetic intensity (FLOP/byte) above which the bf16 peak is the limit, not the bandwidth."""
        return self.bf16_flops / self.bandwidth


def _sheet(sheet: str, capability: str) -> Message:
    """A data sheet and, for the shared memory, the programming guide."""
    return Message(
        "{sheet}; CUDA programming guide, compute capability {capability}", sheet=sheet, capability=capability
    )


GPUS: Mapping[GpuName, Gpu] = {
    "a100-40gb": Gpu(
        "A100 SXM 40 GB",
        40 * 10**9,
        1555e9,
        312e12,
        None,
        163 * 1024,
        40_960,
        _sheet("NVIDIA A100 data sheet (dense bf16 and fp16)", "8.0"),
    ),
    "a100-80gb": Gpu(
        "A100 SXM 80 GB",
        80 * 10**9,
        2039e9,
        312e12,
        None,
        163 * 1024,
        81_920,
        _sheet("NVIDIA A100 data sheet (dense bf16 and fp16)", "8.0"),
    ),
    "h100-80gb": Gpu(
        "H100 SXM 80 GB",
        80 * 10**9,
        3350e9,
        989.4e12,
        1978.9e12,
        227 * 1024,
        81_559,
        _sheet(
            "NVIDIA H100 data sheet (half of the 1,979 TFLOP/s printed for bf16 and fp16, and of the 3,958 for fp8, "
            "which are with sparsity)",
            "9.0",
        ),
    ),
    "h200-141gb": Gpu(
        "H200 SXM 141 GB",
        141 * 10**9,
        4800e9,
        989.4e12,
        1978.9e12,
        227 * 1024,
        143_771,
        _sheet("NVIDIA H200 data sheet (half of what is printed with sparsity)", "9.0"),
    ),
    "b200-180gb": Gpu(
        "B200 180 GB",
        180 * 10**9,
        8000e9,
        2250e12,
        4500e12,
        227 * 1024,
        183_359,
        _sheet(
            "NVIDIA DGX B200 data sheet, an eighth of its 1,440 GB, 64 TB/s and dense PFLOP/s (half of those printed "
            "with sparsity; early sheets say 192 GB, some drivers 7.7 TB/s)",
            "10.0",
        ),
    ),
    "mi300x-192gb": Gpu(
        "MI300X 192 GB",
        192 * 10**9,
        5300e9,
        1307.4e12,
        2614.9e12,
        64 * 1024,
        None,
        "AMD Instinct MI300X data sheet (without structured sparsity); CDNA 3 ISA guide, local data share",
    ),
    "a10-24gb": Gpu(
        "A10 24 GB",
        24 * 10**9,
        600e9,
        125e12,
        None,
        99 * 1024,
        23_028,
        _sheet("NVIDIA A10 data sheet (dense bf16)", "8.6"),
    ),
    "l4-24gb": Gpu(
        "L4 24 GB",
        24 * 10**9,
        300e9,
        121e12,
        242.5e12,
        99 * 1024,
        23_034,
        _sheet("NVIDIA L4 data sheet (half of the 242 and 485 TFLOP/s printed with sparsity)", "8.9"),
    ),
    "l40s-48gb": Gpu(
        "L40S 48 GB",
        48 * 10**9,
        864e9,
        362.05e12,
        733e12,
        99 * 1024,
        46_068,
        _sheet("NVIDIA L40S data sheet (without sparsity)", "8.9"),
    ),
    "rtx-3090-24gb": Gpu(
        "RTX 3090 24 GB",
        24 * 10**9,
        936e9,
        71e12,
        None,
        99 * 1024,
        24_576,
        _sheet("NVIDIA Ampere GA102 white paper, appendix A (bf16 with fp32 accumulation)", "8.6"),
    ),
    "rtx-4090-24gb": Gpu(
        "RTX 4090 24 GB",
        24 * 10**9,
        1008e9,
        165.2e12,
        330.3e12,
        99 * 1024,
        24_564,
        _sheet(
            "NVIDIA Ada GPU architecture white paper, appendix A (bf16, fp8 with fp32 accumulation)", "8.9"
        ),
    ),
    "rtx-5090-32gb": Gpu(
        "RTX 5090 32 GB",
        32 * 10**9,
        1792e9,
        209.5e12,
        419e12,
        99 * 1024,
        32_607,
        _sheet(
            "NVIDIA RTX Blackwell GPU architecture white paper, appendix A (bf16, fp8 with fp32 accumulation)",
            "12.0",
        ),
    ),
}

LABELS: Mapping[str, str] = {name: gpu.name for name, gpu in GPUS.items()}

# What `torch.cuda.get_device_name` and `nvidia-smi` call them.
DEVICE_NAMES: Mapping[str, GpuName] = {
    "NVIDIA A100-SXM4-40GB": "a100-40gb",
    "NVIDIA A100-SXM4-80GB": "a100-80gb",
    "NVIDIA H100 80GB HBM3": "h100-80gb",
    "NVIDIA H200": "h200-141gb",
    "NVIDIA B200": "b200-180gb",
    "NVIDIA A10": "a10-24gb",
    "NVIDIA L4": "l4-24gb",
    "NVIDIA L40S": "l40s-48gb",
    "NVIDIA GeForce RTX 3090": "rtx-3090-24gb",
    "NVIDIA GeForce RTX 4090": "rtx-4090-24gb",
    "NVIDIA GeForce RTX 5090": "rtx-5090-32gb",
}
