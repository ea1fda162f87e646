"""Throughput of the attention kernels beside PyTorch's: python -m kernels.bench [--quick] [--dims 192 128]

Prints a Markdown table of TFLOP/s, forward and backward, and the ratio ours / SDPA's flash backend; a line of
correctness for each problem; and packs of unequal lengths against the same lengths padded. Needs a CUDA
device.

Counting as in the flash-attention repository: every product of N^2 pairs is 2 B H N^2 d operations, half of that if
causal. Forward: Q K^T with the numbers d of a key, P V with the dv of a value, together 4 B H N^2 d where dv = d;
backward: Q K^T again, dQ and dK with d, dV and dO V^T with dv, 2.5 times the forward. Every problem has 16384 tokens
and 2048 / d heads.
"""

import argparse
import contextlib
import datetime
import functools
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from kernels.arguments import LARGEST_HEAD_DIM, SMALLEST_HEAD_DIM
from kernels.flash_attention import flash_attention, flash_attention_varlen

TOKENS = 16384
HIDDEN = 2048
LENGTHS = (512, 1024, 2048, 4096, 8192, 16384)
QUICK_LENGTHS = (1024, 4096)
HEAD_DIMS = ((64, 64), (128, 128))  # numbers of a key, of a value
BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}
# Sequences of a pack: all equal, lengths falling linearly, and one long among many short.
SKEWS = {
    "equal": [2048] * 8,
    "linear": [256 * i for i in range(1, 9)],
    "one long": [2048] + [128] * 15,
}
MATH_BYTES_PER_SCORE = 16  # float32 scores, weights and their gradients, about

Attention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit status, 2 where there is no CUDA device."""
    parser = argparse.ArgumentParser(
        prog="python -m kernels.bench", description="Attention throughput, ours and PyTorch's."
    )
    parser.add_argument("--quick", action="store_true", help="few lengths, short timings")
    parser.add_argument(
        "--dtype", choices=("float16", "bfloat16"), default="float16", help="default: float16"
    )
    parser.add_argument(
        "--dims",
        nargs=2,
        type=_head_dim,
        metavar=("D", "DV"),
        help="only these numbers of a key and of a value",
    )
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("kernels.bench needs a CUDA device, and PyTorch finds none here.", file=sys.stderr)
        return 2
    dtype = getattr(torch, options.dtype)
    _print_heading(options.dtype)
    milliseconds = 30 if options.quick else 100
    for dims in [tuple(options.dims)] if options.dims else HEAD_DIMS:
        for causal in (False, True):
            for length in QUICK_LENGTHS if options.quick else LENGTHS:
                _dense_rows(length, dims, causal, dtype, milliseconds)
    print("\n| pack | causal | pass | ours varlen ms | SDPA padded ms | padded / ours |")
    print("|---|---|---|---|---|---|")
    for name, lengths in SKEWS.items():
        for causal in (False, True):
            _varlen_rows(name, lengths, causal, dtype, milliseconds)
    return 0


def _head_dim(text: str) -> int:
    if not text.isdecimal() or not SMALLEST_HEAD_DIM <= int(text) <= LARGEST_HEAD_DIM:
        allowed = f"from {SMALLEST_HEAD_DIM} to {LARGEST_HEAD_DIM}"
        raise argparse.ArgumentTypeError(f"must be a whole number {allowed}, got {text!r}.")
    return int(text)


def _print_heading(dtype: str) -> None:
    import triton

    device = torch.cuda.get_device_name()
    print(f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {device}, torch {torch.__version__}, "
          f"CUDA {torch.version.cuda}, triton {triton.__version__}, {dtype}, TFLOP/s\n")  # fmt: skip
    print(
        "| d, dv | N | causal | pass | ours | "
        + " | ".join(BACKENDS)
        + " | ours / flash | max error | of flash |"
    )
    print("|" + "---|" * (8 + len(BACKENDS)))


def _dense_rows(
    length: int, dims: tuple[int, int], causal: bool, dtype: torch.dtype, milliseconds: int
) -> None:
    """One row for the forward pass and one for the backward."""
    head_dim, value_dim = dims
    shape = (TOKENS // length, HIDDEN // head_dim, length)
    generator = torch.Generator("cuda").manual_seed(0)
    q, k, v, grad_output = (
        torch.randn(*shape, numbers, generator=generator, device="cuda", dtype=dtype)
        for numbers in (head_dim, head_dim, value_dim, value_dim)
    )
    attentions: dict[str, Attention] = {"ours": functools.partial(flash_attention, causal=causal)}
    for name, backend in BACKENDS.items():
        attentions[name] = _sdpa(backend, causal)
    scores = shape[0] * shape[1] * length**2
    if scores * MATH_BYTES_PER_SCORE > torch.cuda.mem_get_info()[0]:
        del attentions["math"]
    pairs = scores * (0.5 if causal else 1.0)
    forward, backward = 2 * pairs * (head_dim + value_dim), 2 * pairs * (3 * head_dim + 2 * value_dim)
    errors = {name: _largest_error(attentions[name], q, k, v, causal) for name in ("ours", "flash")}
    for kind, count in (("forward", forward), ("backward", backward)):
        rates = {}
        for name, attention in attentions.items():
            measured = _milliseconds(attention, (q, k, v), grad_output, kind == "backward", milliseconds)
            if measured is not None:
                rates[name] = count / measured / 1e9
        ratio = f"{rates['ours'] / rates['flash']:.2f}" if {"ours", "flash"} <= rates.keys() else "-"
        cells = [f"{rates[name]:.0f}" if name in rates else "-" for name in ("ours", *BACKENDS)]
        limits = [f"{errors[name]:.1e}" if errors[name] is not None else "-" for name in ("ours", "flash")]
        row = [f"{head_dim}, {value_dim}", length, "yes" if causal else "no", kind, *cells, ratio, *limits]
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


def _varlen_rows(name: str, lengths: list[int], causal: bool, dtype: torch.dtype, milliseconds: int) -> None:
    """A pack of sequences by our varlen kernel, and the same sequences padded to the longest by SDPA's flash
    backend (which spends time on padding but needs no mask, as padding comes last)."""
    head_dim, longest = 64, max(lengths)
    heads = HIDDEN // head_dim
    starts = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()], dtype=torch.int32, device="cuda")
    packed = torch.randn(4, sum(lengths), heads, head_dim, device="cuda", dtype=dtype).unbind()
    padded = torch.randn(4, len(lengths), heads, longest, head_dim, device="cuda", dtype=dtype).unbind()

    def ours(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return flash_attention_varlen(q, k, v, starts, starts, longest, longest, causal=causal)

    flash = _sdpa(SDPBackend.FLASH_ATTENTION, causal)
    for kind in ("forward", "backward"):
        backward = kind == "backward"
        mine = _milliseconds(ours, packed[:3], packed[3], backward, milliseconds)
        theirs = _milliseconds(flash, padded[:3], padded[3], backward, milliseconds)
        cells = [f"{time:.3f}" if time is not None else "-" for time in (mine, theirs)]
        ratio = f"{theirs / mine:.2f}" if mine is not None and theirs is not None else "-"
        print("| " + " | ".join([name, "yes" if causal else "no", kind, *cells, ratio]) + " |", flush=True)


def _sdpa(backend: SDPBackend, causal: bool) -> Attention:
    def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        with sdpa_kernel(backend):
            return scaled_dot_product_attention(q, k, v, is_causal=causal)

    return attention


def _milliseconds(
    attention: Attention,
    inputs: tuple[torch.Tensor, ...],
    grad_output: torch.Tensor,
    backward: bool,
    budget: int,
) -> float | None:
    """The median time of a pass, timed for about `budget` ms; None where the backend does not take the
    problem."""
    import triton.testing

    leaves = [tensor.detach().requires_grad_(backward) for tensor in inputs]
    benchmark: Callable[..., Any] = triton.testing.do_bench
    median = functools.partial(benchmark, rep=budget, return_mode="median")
    with contextlib.suppress(RuntimeError):  # torch.cuda.OutOfMemoryError is one too
        output = attention(*leaves)
        if not backward:
            return median(lambda: attention(*leaves))
        return median(lambda: output.backward(grad_output, retain_graph=True), grad_to_none=leaves)
    return None


def _largest_error(
    attention: Attention, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool
) -> float | None:
    """Largest error over the last 64 rows of the first head, against the same product in float64."""
    try:
        output = attention(q[:1, :1], k[:1, :1], v[:1, :1])[0, 0, -64:]
    except RuntimeError:
        return None
    rows, keys = q[0, 0, -64:].double(), k[0, 0].double()
    scores = rows @ keys.T / q.shape[-1] ** 0.5
    if causal:
        seen = torch.ones_like(scores, dtype=torch.bool).tril(len(keys) - len(rows))
        scores = scores.masked_fill(~seen, float("-inf"))
    return (output - scores.softmax(-1) @ v[0, 0].double()).abs().max().item()


if __name__ == "__main__":
    sys.exit(main())
