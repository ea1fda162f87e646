"""How the fast twin of the torch tiles compares on the CPU: time, peak extra memory and error.

    python tests/bench/attention_cpu.py [--seq_len 2048] [--rounds 9]

Naive attention, ours and PyTorch's SDPA take turns in every round, so that whatever else the machine does falls on
all three; what counts is the ratio of medians. Memory is what PyTorch's allocator held beyond the inputs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from explainers.flash_attention.race import competitors, max_abs_error, peak_extra_bytes


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seq_len", type=int, default=2048)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--head_dim", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    q, k, v = torch.randn(3, chosen.heads, chosen.seq_len, chosen.head_dim).unbind()

    ways = competitors("cpu")
    runs = {method: partial(attention, q, k, v, causal=True) for method, attention in ways.items()}
    seconds: dict[str, list[float]] = {method: [] for method in runs}
    for _ in range(chosen.rounds):
        for method, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[method].append(time.perf_counter() - start)

    median = {method: statistics.median(times[1:]) for method, times in seconds.items()}
    peak = {method: peak_extra_bytes(run) for method, run in runs.items()}
    print(
        f"causal, fp32, N = {chosen.seq_len}, {chosen.heads} heads, d = {chosen.head_dim}, {chosen.threads} threads"
    )
    print(f"{'':8}{'median ms':>12}{'/ SDPA':>10}{'peak MiB':>12}{'/ naive':>10}{'error':>12}")
    for method, run in runs.items():
        error = max_abs_error(run(), q, k, v, causal=True)
        time_ratio, peak_ratio = median[method] / median["sdpa"], peak[method] / peak["naive"]
        print(
            f"{method:8}{median[method] * 1e3:12.1f}{time_ratio:10.2f}{peak[method] / 2**20:12.1f}"
            f"{peak_ratio:10.1%}{error:12.1e}"
        )


if __name__ == "__main__":
    main()
