"""How fast decoding reads its cache, ours and PyTorch's: python -m kernels.bench_decoding [--milliseconds 100]

Prints one JSON object a line. Needs a CUDA device. A decode step does little with each byte of the cache, so the
bytes a second that it reads, against those that a copy within the device moves, tell how good a kernel is. The cache is
counted once, whatever a method reads: K and V of each key head, or with MLA each token's latent and RoPE key.

The problems are the attention of Llama 3.1 8B and 70B (GQA) and of DeepSeek-V2 (MLA), one layer of each. With MLA, 128
heads share each byte, and the tensor cores are nearly as busy as the memory.
"""

import argparse
import contextlib
import functools
import itertools
import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from kernels.flash_decoding import flash_decoding, flash_decoding_latent

BATCHES = (1, 8, 64)
LENGTHS = (4096, 16384, 65536)
DTYPE = torch.bfloat16
DEVICE = "cuda"
LARGEST_CACHE = 24e9  # bytes
CACHES_BEYOND_L2 = 200e6  # bytes of the caches that take turns: no L2 cache is as large
COPIED_BYTES = 2**31
BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}

Decoding = Callable[[torch.Tensor], torch.Tensor]  # of a cache


@dataclass(frozen=True)
class Problem:
    """One decode step of a layer. head_dim: the numbers of a key; value_dim: of a value; with MLA those of latent and
    RoPE key together, and of the latent."""

    attention: str
    batch: int
    query_heads: int
    key_heads: int
    head_dim: int
    value_dim: int
    n_k: int

    @property
    def cache_shape(self) -> tuple[int, ...]:
        """(2, B, Hkv, N, D), keys and values; with MLA (B, N, R + Dr), a latent and its RoPE key in a row."""
        if self.attention == "mla":
            return self.batch, self.n_k, self.head_dim
        return 2, self.batch, self.key_heads, self.n_k, self.head_dim

    @property
    def bytes(self) -> int:
        """The cache, every number once."""
        return math.prod(self.cache_shape) * DTYPE.itemsize

    @property
    def scale(self) -> float:
        """DeepSeek-V2's scale comes from its heads before absorption: 128 numbers and 64 for RoPE."""
        return 1 / math.sqrt(128 + 64 if self.attention == "mla" else self.head_dim)

    def keys_and_values(self, cache: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Views (B, Hkv, N, D) and (B, Hkv, N, Dv) of the cache; with MLA they overlap."""
        if self.attention == "mla":
            return cache[:, None], cache[:, None, :, : self.value_dim]
        return cache[0], cache[1]


def problems() -> Iterator[Problem]:
    """All problems whose cache is at most LARGEST_CACHE."""
    for batch, n_k in itertools.product(BATCHES, LENGTHS):
        for problem in (
            Problem("gqa", batch, 32, 8, 128, 128, n_k),
            Problem("gqa", batch, 64, 8, 128, 128, n_k),
            Problem("mla", batch, 128, 1, 512 + 64, 512, n_k),
        ):
            if problem.bytes <= LARGEST_CACHE:
                yield problem


def rows(budget_ms: float) -> Iterator[dict[str, Any]]:
    """Measurements as flat dicts for JSON: two for each problem, ours and SDPA's, each timed for about budget_ms.

    method: "ours" or "sdpa"; how: what SDPA ran, the fastest of its backends that take the problem, with enable_gqa
    ("flash, enable_gqa") or with the heads of a group as query rows of one head ("efficient, heads as rows"), which
    without a mask is the same and needs no copies of K and V. milliseconds and bytes_per_second: of the median; null,
    as how and max_error, where no backend takes the problem.
    bytes: the cache. splits: ours. max_error: largest difference from float64 in the first sequence and key head.
    copy_bytes_per_second: read and written by a copy within the device.
    """
    copied = _copy_bytes_per_second(budget_ms)
    for problem in problems():
        copies = max(1, math.ceil(CACHES_BEYOND_L2 / problem.bytes))
        if copies * problem.bytes > 0.8 * torch.cuda.mem_get_info()[0]:
            continue
        generator = torch.Generator(DEVICE).manual_seed(0)
        random = functools.partial(torch.randn, generator=generator, device=DEVICE, dtype=DTYPE)
        q = random(problem.batch, problem.query_heads, problem.head_dim)
        caches = [random(problem.cache_shape) for _ in range(copies)]
        exact = exact_output(problem, q, caches[0])
        ours = our_decoding(problem, q)
        measured = {
            "ours": ("triton", ours, _median_milliseconds(ours, caches, budget_ms)),
            "sdpa": _fastest(sdpa_decodings(problem, q), caches, budget_ms),
        }
        for method, (how, decode, milliseconds) in measured.items():
            yield {
                "kernel": "decoding",
                **asdict(problem),
                "dtype": str(DTYPE).removeprefix("torch."),
                "method": method,
                "how": how,
                "splits": _splits(problem, q) if method == "ours" else None,
                "milliseconds": milliseconds,
                "bytes": problem.bytes,
                "bytes_per_second": milliseconds and problem.bytes / (milliseconds / 1e3),
                "max_error": decode and (decode(caches[0])[0, : len(exact)] - exact).abs().max().item(),
                "copy_bytes_per_second": copied,
            }


def main(arguments: list[str] | None = None) -> int:
    """Print the rows; returns the exit status, 2 where there is no CUDA device."""
    parser = argparse.ArgumentParser(
        prog="python -m kernels.bench_decoding", description="Decoding, ours and PyTorch's."
    )
    parser.add_argument("--milliseconds", type=float, default=100, help="for each timing; default: 100")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("kernels.bench_decoding needs a CUDA device, and PyTorch finds none here.", file=sys.stderr)
        return 2
    for row in rows(options.milliseconds):
        print(json.dumps(row), flush=True)
    return 0


def our_decoding(problem: Problem, q: torch.Tensor) -> Decoding:
    """The kernel on a cache, for these queries (B, Hq, D)."""

    def gqa(cache: torch.Tensor) -> torch.Tensor:
        return flash_decoding(q, *problem.keys_and_values(cache), scale=problem.scale)

    def mla(cache: torch.Tensor) -> torch.Tensor:
        q_latent, q_rope = q.split_with_sizes(parts, dim=-1)
        latents, rope_keys = cache.split_with_sizes(parts, dim=-1)
        return flash_decoding_latent(q_latent, q_rope, latents, rope_keys, scale=problem.scale)

    parts = [problem.value_dim, problem.head_dim - problem.value_dim]
    return mla if problem.attention == "mla" else gqa


def _splits(problem: Problem, q: torch.Tensor) -> int:
    from kernels.flash_decoding_kernel import chosen_splits

    keys = q[..., : problem.value_dim]  # with MLA the kernel's keys are the latents alone
    return chosen_splits(keys, problem.key_heads, problem.n_k, problem.value_dim)


def sdpa_decodings(problem: Problem, q: torch.Tensor) -> dict[str, Decoding]:
    """The ways to have SDPA decode: each backend with enable_gqa, and with the heads of a group as query rows."""

    def decode(cache: torch.Tensor, backend: SDPBackend, as_rows: bool) -> torch.Tensor:
        shape = (problem.batch, problem.key_heads, -1, problem.head_dim) if as_rows else (*q.shape[:2], 1, -1)
        keys, values = problem.keys_and_values(cache)
        with sdpa_kernel(backend):
            output = scaled_dot_product_attention(
                q.reshape(shape), keys, values, scale=problem.scale, enable_gqa=not as_rows
            )
        return output.reshape(*q.shape[:2], problem.value_dim)

    return {
        f"{name}, {'heads as rows' if as_rows else 'enable_gqa'}": functools.partial(
            decode, backend=backend, as_rows=as_rows
        )
        for name, backend in BACKENDS.items()
        for as_rows in (False, True)
    }


def _fastest(
    ways: dict[str, Decoding], caches: list[torch.Tensor], budget_ms: float
) -> tuple[str | None, Decoding | None, float | None]:
    """The name, the function and the median milliseconds of the fastest way; None where none takes the problem."""
    times = {}
    for how, decode in ways.items():
        with contextlib.suppress(RuntimeError):  # the backend does not take it; OutOfMemoryError is one too
            times[how] = _median_milliseconds(decode, caches, budget_ms)
    if not times:
        return None, None, None
    how = min(times, key=times.__getitem__)
    return how, ways[how], times[how]


def _median_milliseconds(decode: Decoding, caches: list[torch.Tensor], budget_ms: float) -> float:
    """The median time of a step, the caches taking turns."""
    import triton.testing

    benchmark: Callable[..., Any] = triton.testing.do_bench
    turns = itertools.cycle(caches)
    return benchmark(lambda: decode(next(turns)), rep=budget_ms, return_mode="median")


def exact_output(problem: Problem, q: torch.Tensor, cache: torch.Tensor) -> torch.Tensor:
    """The output of the heads that share the first key head, in the first sequence, in float64: (group, Dv)."""
    group = problem.query_heads // problem.key_heads
    keys, values = (tensor[0, 0].double() for tensor in problem.keys_and_values(cache))
    return (q[0, :group].double() @ keys.T * problem.scale).softmax(-1) @ values


def _copy_bytes_per_second(budget_ms: float) -> float:
    import triton.testing

    source = torch.empty(COPIED_BYTES, dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    benchmark: Callable[..., Any] = triton.testing.do_bench
    milliseconds = benchmark(lambda: target.copy_(source), rep=budget_ms, return_mode="median")
    return 2 * COPIED_BYTES / (milliseconds / 1e3)


if __name__ == "__main__":
    sys.exit(main())
