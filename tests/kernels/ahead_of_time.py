"""Kernels compiled for an H100 (sm_90) without a GPU, through the path of a launch, and what the assembler says.

python -m tests.kernels.ahead_of_time      one line for each variant and tiling of the attention kernels
"""

from __future__ import annotations

import itertools
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch


class Hopper:
    """Stands in for Triton's driver: an H100 on which nothing is launched."""

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, _device: int = 0) -> int:
        return 0


@dataclass(frozen=True)
class Compiled:
    """registers: of a thread at entry. serialized: the tensor cores' instructions run one after another, since the
    compiler put others among them (ptxas's warnings C7510 to C7520)."""

    registers: int
    spilled_bytes: int
    shared_bytes: int
    serialized: bool


def compiled(kernel: Any, *arguments: Any, **options: Any) -> Compiled:
    """The kernel compiled as a launch with these arguments on an H100 would compile it."""
    import triton

    with mock.patch.object(triton.runtime.driver, "_active", Hopper()):
        made = kernel.warmup(*arguments, grid=(1,), **options)
        made = made.result() if hasattr(made, "result") else made
    told = _assemble(made.asm["ptx"])
    (registers,), (spilled,) = (
        re.findall(pattern, told) for pattern in (r"Used (\d+) registers", r"(\d+) bytes spill stores")
    )
    return Compiled(
        int(registers), int(spilled), made.metadata.shared, "wgmma.mma_async instructions are" in told
    )


def _assemble(ptx: str) -> str:
    """What ptxas says, the newest that Triton carries."""
    import triton

    programs = Path(triton.__file__).parent / "backends/nvidia/bin"
    newest = next(path for name in ("ptxas-blackwell", "ptxas") if (path := programs / name).exists())
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "kernel.ptx")
        source.write_text(ptx, encoding="utf-8")
        command = [
            str(newest),
            "-v",
            "--gpu-name=sm_90a",
            str(source),
            "-o",
            str(source.with_suffix(".cubin")),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def compiled_for_hopper(head_dim: int, n: int, causal: bool, dtype: torch.dtype = torch.float16) -> Compiled:
    """The forward kernel that only Hopper has, with the arguments that its launcher gives it."""
    from kernels import flash_attention_hopper
    from kernels.problem import Problem

    found = []

    class Launched:
        """Takes a launch in place of the kernel."""

        def __init__(self) -> None:
            self.kernel = flash_attention_hopper.flash_attention_forward_hopper

        def __getitem__(self, _grid: tuple[int]) -> Any:
            return lambda *arguments, **options: found.append(compiled(self.kernel, *arguments, **options))

    q = torch.empty(1, 2, n, head_dim, dtype=dtype)
    card = mock.Mock(multi_processor_count=132)
    with (
        mock.patch.object(flash_attention_hopper, "flash_attention_forward_hopper", Launched()),
        mock.patch.object(torch.cuda, "get_device_properties", return_value=card),
    ):
        problem = Problem(n, n, -1, 0 if causal else -1, head_dim**-0.5)
        flash_attention_hopper.launch_forward(q, q, q, torch.empty_like(q), torch.empty(1, 2, n), problem)
    return found[0]


def compiled_with(name: str, head_dim: int, tiling: Any, causal: bool, dtype: torch.dtype) -> Compiled:
    """A kernel of `tuning.CANDIDATES` by its name there, with one tiling."""
    from kernels import flash_attention_backward as backward
    from kernels import flash_attention_forward as forward
    from kernels.problem import Problem

    kernel = {
        "forward": forward.flash_attention_forward,
        "grad_keys_values": backward.flash_attention_grad_keys_values,
        "grad_queries": backward.flash_attention_grad_queries,
    }[name]
    n = 1024
    q, lse = torch.empty(1, 2, n, head_dim, dtype=dtype), torch.empty(1, 2, n)
    problem = Problem(n, n, -1, 0 if causal else -1, head_dim**-0.5)
    arguments = forward.kernel_arguments(q, q, q, torch.empty_like(q), lse, problem)
    arguments |= {"trace_ptr": None, "TRACE": False, "BREAK_IT": "none", "key_heads": 2}
    arguments |= {"grad_output_ptr": q, "delta_ptr": lse}
    for gradient in ("grad_q", "grad_k", "grad_v"):
        arguments |= {f"{gradient}_ptr": q} | forward.strides(gradient, q, packed=False)
    return compiled(
        kernel,
        **{parameter: arguments[parameter] for parameter in kernel.arg_names if parameter in arguments},
        BLOCK_Q=tiling.block_q,
        BLOCK_K=tiling.block_k,
        num_warps=tiling.num_warps,
        num_stages=tiling.num_stages,
        enable_fp_fusion=True,
    )


def _lines() -> Iterator[tuple[str, Compiled]]:
    from kernels.tuning import CANDIDATES

    for head_dim, n, causal in itertools.product((64, 128), (4096, 4000), (False, True)):
        yield (
            f"forward, Hopper, d = {head_dim}, N = {n}, causal {causal}",
            compiled_for_hopper(head_dim, n, causal),
        )
    for (name, size, head_dim), tilings in CANDIDATES.items():
        for tiling in tilings:
            dtype = torch.float32 if size == 4 else torch.float16
            yield (
                f"{name}, {dtype}, d = {head_dim}, {tuple(tiling)}",
                compiled_with(name, head_dim, tiling, True, dtype),
            )


if __name__ == "__main__":
    for line, result in _lines():
        remark = ", serialized" if result.serialized else ""
        print(f"{line}: {result.registers} registers, {result.spilled_bytes} bytes spilled, "
              f"{result.shared_bytes / 1024:.0f} KB shared{remark}", flush=True)  # fmt: skip
