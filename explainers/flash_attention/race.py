"""The same attention computed in several ways; time and memory are measured now, on this machine.

naive: standard attention with all heads at once; tiles: the fast twin of the readable tiles; sdpa: PyTorch's own
fused kernel; triton: ours, only where there is a CUDA device to compile it for.
"""

from __future__ import annotations

import gc
import math
import os
import statistics
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from explainers.contract.experiment import experiment, watch
from explainers.contract.messages import Message
from explainers.contract.params import Params, number, switch
from explainers.contract.result import Check, Checked
from explainers.flash_attention.fast import fast_attention
from explainers.flash_attention.mask import visible
from explainers.flash_attention.standard import standard_attention

LARGEST_NAIVE_BYTES = 2**30  # naive attention is not run where its score matrices would be larger
REFERENCE_ROWS = 256

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # PyTorch's profiler announces itself on stderr
_profiler_lock = threading.Lock()  # a process has one profiler


# ------------------------------------------------------------------------------------------ the competitors


@torch.no_grad()
def naive_attention(q: Tensor, k: Tensor, v: Tensor, *, causal: bool) -> Tensor:
    """Standard attention, every head's whole S and P at once. q, k and v (H, N, D)."""
    n = q.shape[1]
    S = q @ k.mT / math.sqrt(q.shape[2])
    if causal:
        S = S.masked_fill(~visible((0, n), (0, n), 0, device=S.device), -math.inf)
    P = S.softmax(dim=-1)
    return P @ v


def naive_bytes(heads: int, n: int, element: int) -> int:
    """What naive attention holds at its peak: two (heads, N, N) matrices."""
    return 2 * heads * n * n * element


def competitors(device: str) -> dict[str, Callable[..., Tensor]]:
    """The ways to compute attention on a device, each a function of q, k, v (H, N, D) and causal."""
    ways: dict[str, Callable[..., Tensor]] = {
        "naive": naive_attention,
        "tiles": lambda q, k, v, causal: fast_attention(q, k, v, causal=causal)[0],
        "sdpa": lambda q, k, v, causal: scaled_dot_product_attention(
            q[None], k[None], v[None], is_causal=causal
        )[0],
    }
    if device == "cuda":
        from kernels.flash_attention import flash_attention

        ways["triton"] = lambda q, k, v, causal: flash_attention(q[None], k[None], v[None], causal=causal)[0]
    return ways


# ------------------------------------------------------------------------------------------ the measurements


def median_seconds(call: Callable[[], object], device: str = "cpu", budget: float = 0.5) -> float:
    """The median time of up to 5 runs after one that is not counted, about `budget` seconds in all."""
    first = _seconds(call, device)
    repeats = max(1, min(5, int(budget / max(first, 1e-6))))
    return statistics.median(_seconds(call, device) for _ in range(repeats))


def _seconds(call: Callable[[], object], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_extra_bytes(call: Callable[[], object], device: str = "cpu") -> int:
    """The most memory that a call held beyond its inputs, its output included, as PyTorch's allocator saw it."""
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        return torch.cuda.max_memory_allocated() - before
    gc.collect()  # memory freed meanwhile would be subtracted from the peak
    with _profiler_lock:
        cpu = [torch.profiler.ProfilerActivity.CPU]
        with torch.profiler.profile(activities=cpu, profile_memory=True) as profiler:
            call()
        events: list[Any] = profiler.profiler.kineto_results.events()  # pyright: ignore
    allocated = peak = 0
    allocations = (event for event in events if event.name() == "[memory]")
    for event in sorted(allocations, key=lambda event: event.start_ns()):
        allocated += event.nbytes()
        peak = max(peak, allocated)
    return peak


def max_abs_error(output: Tensor, q: Tensor, k: Tensor, v: Tensor, *, causal: bool) -> float:
    """max |output - exact| over all heads, exact being standard attention in float64, REFERENCE_ROWS at a time."""
    n, worst = q.shape[1], 0.0
    for head in range(q.shape[0]):
        for start in range(0, n, REFERENCE_ROWS):
            stop = min(start + REFERENCE_ROWS, n)
            # Keys end at the last one that these rows see, so that the bottom-right mask is theirs.
            keys = stop if causal else n
            parts = (q[head, start:stop], k[head, :keys], v[head, :keys])
            exact, _ = standard_attention(
                *(part.cpu().double() for part in parts), causal=causal, scale=q.shape[2] ** -0.5
            )
            worst = max(
                worst, (output[head, start:stop].cpu() - exact).abs().nan_to_num(math.inf).max().item()
            )
    return worst


# -------------------------------------------------------------------------------------------- the experiment


class RaceParams(Params):
    longest: int = number(
        2048,
        "Longest sequence",
        "The last of the sequence lengths, which double from 256",
        least=256,
        most=8192,
        options=(256, 512, 1024, 2048, 4096, 8192),
        unit="tokens",
    )
    heads: int = number(
        4, "Heads", "Attention heads, each computed alike", least=1, most=16, comfort=(1, 8), step=1
    )
    head_dim: int = number(
        64, "Head dimension", "Numbers in one query, key or value", least=16, most=256, options=(32, 64, 128)
    )
    causal: bool = switch(True, "Causal", "A query sees keys up to its own position only")
    seed: int = number(0, "Seed", "Draws Q, K and V", least=0, most=2**31 - 1, comfort=(0, 99), step=1)

    @property
    def lengths(self) -> list[int]:
        """The sequence lengths: 256, 512, ... and the longest."""
        return [2**power for power in range(8, 13) if 2**power < self.longest] + [self.longest]


@dataclass(frozen=True)
class RaceRow:
    """One measurement. seconds, peak_extra_bytes and max_abs_error are None where it was not run; note says why."""

    method: str
    seq_len: int
    seconds: float | None
    peak_extra_bytes: int | None
    max_abs_error: float | None
    note: str = ""


@dataclass(frozen=True)
class RaceResult(Checked):
    """All measurements, in the order taken. Times in seconds, memory in bytes."""

    device: str
    dtype: str
    threads: int
    rows: tuple[RaceRow, ...]
    checks: tuple[Check, ...]
    params: RaceParams = field(metadata={"shell": False})


def measurements(params: RaceParams) -> int:
    """How many rows the race will have."""
    return len(params.lengths) * len(competitors(_device()))


def run_race(params: RaceParams) -> Generator[RaceRow, None, RaceResult]:
    """Takes the measurements one after another, on all cores, and yields each; a caller may stop early."""
    device = _device()
    dtype = torch.float16 if device == "cuda" else torch.float32
    generator = torch.Generator().manual_seed(params.seed)
    rows = []
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    try:
        for n in params.lengths:
            size = (3, params.heads, n, params.head_dim)
            q, k, v = torch.randn(size, generator=generator).to(device, dtype).unbind()
            for method, attention in competitors(device).items():
                row = _measure(method, attention, (q, k, v), params.causal, device)
                rows.append(row)
                yield row
    finally:
        torch.set_num_threads(threads)
    checks = tuple(_check(method, rows, dtype) for method in competitors(device))
    return RaceResult(
        device, str(dtype).removeprefix("torch."), os.cpu_count() or 1, tuple(rows), checks, params
    )


def run_race_with_progress(params: RaceParams) -> Generator[tuple[float, str], None, RaceResult]:
    """`run_race`, which yields after each measurement the share that is done and a sentence about it."""
    race_run, done = run_race(params), 0
    while True:
        try:
            row = next(race_run)
        except StopIteration as end:
            return end.value
        done += 1
        yield (
            done / measurements(params),
            Message("measuring: {method} at N = {seq_len} is done", method=row.method, seq_len=row.seq_len),
        )


@experiment("flash_attention.race")
def race(params: RaceParams) -> RaceResult:
    """Time, peak memory and error of four ways to compute attention, measured now on this machine."""
    return watch(run_race(params))[1]


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _measure(
    method: str,
    attention: Callable[..., Tensor],
    qkv: tuple[Tensor, Tensor, Tensor],
    causal: bool,
    device: str,
) -> RaceRow:
    heads, n, _ = qkv[0].shape
    needed = naive_bytes(heads, n, qkv[0].element_size())
    if method == "naive" and needed > LARGEST_NAIVE_BYTES:
        return RaceRow(
            method,
            n,
            seconds=None,
            peak_extra_bytes=None,
            max_abs_error=None,
            note=Message("not run: its score matrices need {gigabytes:.1f} GB", gigabytes=needed / 1e9),
        )

    def call() -> Tensor:
        return attention(*qkv, causal=causal)

    seconds, peak = median_seconds(call, device), peak_extra_bytes(call, device)
    return RaceRow(method, n, seconds, peak, max_abs_error(call(), *qkv, causal=causal))


def _check(method: str, rows: list[RaceRow], dtype: torch.dtype) -> Check:
    errors = [row.max_abs_error for row in rows if row.method == method and row.max_abs_error is not None]
    tolerance = 5e-6 if dtype == torch.float32 else 5e-3
    return Check(
        what=Message("{method} equals exact attention", method=method),
        error=max(errors, default=0.0),
        tolerance=tolerance,
        reference="attention in float64",
    )
