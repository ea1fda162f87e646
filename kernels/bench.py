"""Throughput of the attention kernels beside PyTorch's: python -m kernels.bench [--quick] [--json FILE]

Prints Markdown tables: TFLOP/s forward and backward and the ratio to SDPA's backends; packs of unequal lengths against
the same lengths padded; decoding. --json writes all rows to a file, again after each problem, so that a run that is cut
off leaves what it has; `explainers/flash_attention/measured.json` is such a file. Needs a CUDA device.

Counting as in the flash-attention repository: every product of N^2 pairs is 2 B H N^2 d operations, half of that if
causal. Forward: Q K^T with the numbers d of a key, P V with the dv of a value, together 4 B H N^2 d where dv = d;
backward: Q K^T again, dQ and dK with d, dV and dO V^T with dv, 2.5 times the forward. Every problem has 16384 tokens
and 2048 / d heads. The methods take turns in each of several rounds, since a card that gets warm slows down by a tenth
within a minute; a method's time is the median of its rounds.
"""

import argparse
import contextlib
import datetime
import functools
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from kernels import bench_decoding
from kernels.arguments import LARGEST_HEAD_DIM, SMALLEST_HEAD_DIM
from kernels.flash_attention import flash_attention, flash_attention_varlen

DEVICE = "cuda"
TOKENS = 16384
HIDDEN = 2048
LENGTHS = (4096, 16384, 2048, 8192, 1024, 512)  # the telling ones first
QUICK_LENGTHS = (4096, 16384, 2048)
HEAD_DIMS = ((64, 64), (128, 128))  # numbers of a key, of a value
ROUNDS = 3
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
Tensors = tuple[torch.Tensor, ...]
Row = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit status, 2 where there is no CUDA device."""
    parser = argparse.ArgumentParser(
        prog="python -m kernels.bench", description="Attention throughput, ours and PyTorch's."
    )
    parser.add_argument("--quick", action="store_true", help="few lengths, short timings")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rows to FILE")
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
    report = Report(machine(), options.json)
    print(", ".join(str(value) for value in report.content.values() if isinstance(value, str)), "\n")
    dtype = getattr(torch, options.dtype)
    milliseconds = 10 if options.quick else 20
    lengths = QUICK_LENGTHS if options.quick else LENGTHS
    print("| d, dv | N | causal | pass | ours | " + " | ".join(BACKENDS) + " | ours / flash | ours / cudnn |")
    print("|" + "---|" * (7 + len(BACKENDS)))
    for dims in [tuple(options.dims)] if options.dims else HEAD_DIMS:
        for length in lengths:
            for causal in (False, True):
                for rows in dense_rows(length, dims, causal, dtype, milliseconds):
                    report.add("dense", rows)
                    _print_dense(rows)
    print("\n| pack | causal | pass | ours varlen ms | SDPA padded ms | padded / ours |")
    print("|---|---|---|---|---|---|")
    for name, sequences in SKEWS.items():
        for causal in (False, True):
            for rows in varlen_rows(name, sequences, causal, dtype, milliseconds):
                report.add("varlen", rows)
                _print_varlen(rows)
    print("\n| attention | batch | heads | cache rows | ours TB/s | SDPA TB/s | a copy moves TB/s |")
    print("|---|---|---|---|---|---|---|")
    for rows in _in_pairs(bench_decoding.rows(milliseconds)):
        report.add("decoding", [row for row in rows if row["milliseconds"] is not None])
        _print_decoding(rows)
    return 0


class Report:
    """The rows so far, written to a file each time some are added."""

    def __init__(self, heading: Row, file: Path | None) -> None:
        self.content: Row = {**heading, "dense": [], "varlen": [], "decoding": []}
        self._file = file

    def add(self, kind: str, rows: list[Row]) -> None:
        self.content[kind] += rows
        if self._file:
            self._file.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")


def machine() -> Row:
    """Where, when and with what is measured."""
    import triton

    return {
        "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cuda": str(torch.version.cuda),
        "triton": triton.__version__,
        "commit": _commit(),
        "command": "make gpu",
    }


def _commit() -> str:
    """The commit that is measured, with a plus sign if files were changed since; "unknown" outside a checkout."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        commit = subprocess.check_output([*git, "rev-parse", "--short", "HEAD"], text=True).strip()
        changed = subprocess.check_output([*git, "status", "--porcelain"], text=True).strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + "+" * bool(changed)


def dense_rows(
    length: int, dims: tuple[int, int], causal: bool, dtype: torch.dtype, milliseconds: int
) -> Iterator[list[Row]]:
    """The rows of the forward pass, one a method, then those of the backward pass."""
    head_dim, value_dim = dims
    shape = (TOKENS // length, HIDDEN // head_dim, length)
    generator = torch.Generator(DEVICE).manual_seed(0)
    q, k, v, grad_output = (
        torch.randn(*shape, numbers, generator=generator, device=DEVICE, dtype=dtype)
        for numbers in (head_dim, head_dim, value_dim, value_dim)
    )
    attentions: dict[str, Attention] = {"ours": functools.partial(flash_attention, causal=causal)}
    for name, backend in BACKENDS.items():
        attentions[name] = _sdpa(backend, causal)
    scores = shape[0] * shape[1] * length**2
    if scores * MATH_BYTES_PER_SCORE > _free_bytes():
        del attentions["math"]
    pairs = scores * (0.5 if causal else 1.0)
    operations = {
        "forward": 2 * pairs * (head_dim + value_dim),
        "backward": 2 * pairs * (3 * head_dim + 2 * value_dim),
    }
    problem = {"head_dim": head_dim, "value_dim": value_dim, "n": length, "causal": causal}
    sizes = {"dtype": str(dtype).removeprefix("torch."), "batch": shape[0], "heads": shape[1]}
    for kind, count in operations.items():
        times = _times(attentions, dict.fromkeys(attentions, (q, k, v, grad_output)), kind, milliseconds)
        yield [
            {
                **problem,
                "pass": kind,
                **sizes,
                "method": name,
                "milliseconds": time,
                "tflops": count / time / 1e9,
            }
            for name, time in times.items()
        ]


def varlen_rows(
    name: str, lengths: list[int], causal: bool, dtype: torch.dtype, milliseconds: int
) -> Iterator[list[Row]]:
    """A pack of sequences by our varlen kernel, and the same sequences padded to the longest by SDPA's flash
    backend (which spends time on padding but needs no mask, as padding comes last)."""
    head_dim, longest = 64, max(lengths)
    heads = HIDDEN // head_dim
    starts = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()], dtype=torch.int32, device=DEVICE)
    packed = torch.randn(4, sum(lengths), heads, head_dim, device=DEVICE, dtype=dtype).unbind()
    padded = torch.randn(4, len(lengths), heads, longest, head_dim, device=DEVICE, dtype=dtype).unbind()

    def ours(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return flash_attention_varlen(q, k, v, starts, starts, longest, longest, causal=causal)

    methods = {"ours": ours, "sdpa padded": _sdpa(SDPBackend.FLASH_ATTENTION, causal)}
    for kind in ("forward", "backward"):
        times = _times(methods, {"ours": packed, "sdpa padded": padded}, kind, milliseconds)
        yield [
            {"pack": name, "causal": causal, "pass": kind, "method": method, "milliseconds": time}
            for method, time in times.items()
        ]


def _times(
    attentions: dict[str, Attention], tensors: dict[str, Tensors], kind: str, milliseconds: int
) -> dict[str, float]:
    """Each method's median time in milliseconds of a pass over its q, k, v and dO, all methods in turn; without those
    that do not take the problem."""
    import triton.testing

    passes = {}
    for name, attention in attentions.items():
        with contextlib.suppress(RuntimeError):  # torch.cuda.OutOfMemoryError is one too
            run = _pass(attention, tensors[name], kind == "backward")
            run()
            passes[name] = run
    benchmark: Callable[..., Any] = triton.testing.do_bench
    times: dict[str, list[float]] = {name: [] for name in passes}
    for _ in range(ROUNDS):
        for name, run in passes.items():
            times[name].append(benchmark(run, warmup=5, rep=milliseconds, return_mode="median"))
    return {name: statistics.median(measured) for name, measured in times.items()}


def _pass(attention: Attention, tensors: Tensors, backward: bool) -> Callable[[], object]:
    *inputs, grad_output = tensors
    leaves = [tensor.detach().requires_grad_(backward) for tensor in inputs]
    if not backward:
        return lambda: attention(*leaves)
    output = attention(*leaves)
    return lambda: torch.autograd.grad(output, leaves, grad_output, retain_graph=True)


def _sdpa(backend: SDPBackend, causal: bool) -> Attention:
    def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        with sdpa_kernel(backend):
            return scaled_dot_product_attention(q, k, v, is_causal=causal)

    return attention


def _free_bytes() -> int:
    return torch.cuda.mem_get_info()[0]


def _head_dim(text: str) -> int:
    if not text.isdecimal() or not SMALLEST_HEAD_DIM <= int(text) <= LARGEST_HEAD_DIM:
        allowed = f"from {SMALLEST_HEAD_DIM} to {LARGEST_HEAD_DIM}"
        raise argparse.ArgumentTypeError(f"must be a whole number {allowed}, got {text!r}.")
    return int(text)


# ------------------------------------------------------------------------------------------ the Markdown tables


def _print_dense(rows: list[Row]) -> None:
    rates = {row["method"]: row["tflops"] for row in rows}
    first = rows[0]
    cells = [f"{rates[name]:.0f}" if name in rates else "-" for name in ("ours", *BACKENDS)]
    ratios = [f"{rates['ours'] / rates[name]:.2f}" if name in rates else "-" for name in ("flash", "cudnn")]
    dims = f"{first['head_dim']}, {first['value_dim']}"
    _print_row(dims, first["n"], _yes_no(first["causal"]), first["pass"], *cells, *ratios)


def _print_varlen(rows: list[Row]) -> None:
    times = {row["method"]: row["milliseconds"] for row in rows}
    mine, theirs = times["ours"], times.get("sdpa padded")
    ratio = "-" if theirs is None else f"{theirs / mine:.2f}"
    first = rows[0]
    padded = "-" if theirs is None else f"{theirs:.3f}"
    _print_row(first["pack"], _yes_no(first["causal"]), first["pass"], f"{mine:.3f}", padded, ratio)


def _print_decoding(rows: list[Row]) -> None:
    rates = {row["method"]: row["bytes_per_second"] for row in rows}
    first = rows[0]
    cells = ["-" if rates[name] is None else f"{rates[name] / 1e12:.2f}" for name in ("ours", "sdpa")]
    heads = f"{first['query_heads']} / {first['key_heads']}"
    copied = f"{first['copy_bytes_per_second'] / 1e12:.2f}"
    _print_row(first["attention"], first["batch"], heads, first["n_k"], *cells, copied)


def _print_row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"


def _in_pairs(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Ours and SDPA's rows of each problem together."""
    return (list(pair) for pair in zip(rows, rows, strict=True))


if __name__ == "__main__":
    sys.exit(main())
