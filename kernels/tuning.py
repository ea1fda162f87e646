"""Which tile sizes a kernel runs with: measured on a GPU, as large as possible in the interpreter.

A GPU wants tiles that fill its tensor cores without spilling registers; which are best depends on the head
dimension, the length and the mask, so a few candidates are timed at the first launch (triton.autotune). The first of
each row of CANDIDATES was the fastest on an H200, and Hopper GPUs take it at once, so that nobody waits. Three stages
were slower than two almost everywhere: with them ptxas runs the tensor cores' instructions one after another. The
interpreter runs a tile as NumPy calls, whose cost is mostly per call: there the largest tile is the fastest.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
import triton

LARGEST_INTERPRETED_BLOCK = 256
LARGEST_LENGTH_BUCKET = 8192
SHORTEST_TUNED_LENGTH = 256
MEASURED_CAPABILITY = (9, 0)  # of the GPU on which the order of CANDIDATES was measured

# Triton's launcher and tuner keep state between calls; compiled launches are asynchronous, so waiting is
# cheap.
_gpu_launch_lock = threading.Lock()
_tuning_enabled = True


class Tiling(NamedTuple):
    """Tile sizes in rows, and how many warps and pipeline stages work on a tile."""

    block_q: int
    block_k: int
    num_warps: int
    num_stages: int


class DecodingTiling(NamedTuple):
    """The same where the rows of a tile of queries are given: the heads that share a key head."""

    block_k: int
    num_warps: int
    num_stages: int


# (kernel, bytes an element, larger padded head dimension) -> candidates; the first is used where nothing is tuned.
CANDIDATES: dict[tuple[str, int, int], list[Tiling]] = {
    ("forward", 2, 64): [
        Tiling(64, 64, 4, 2),
        Tiling(128, 64, 8, 2),
        Tiling(128, 64, 4, 3),
        Tiling(64, 64, 4, 3),
    ],
    ("forward", 2, 128): [
        Tiling(128, 128, 8, 2),
        Tiling(64, 64, 4, 2),
        Tiling(128, 64, 8, 2),
        Tiling(128, 64, 8, 3),
    ],
    ("forward", 2, 256): [Tiling(128, 64, 8, 2), Tiling(128, 32, 8, 2), Tiling(64, 32, 4, 2)],
    ("forward", 4, 64): [Tiling(64, 32, 8, 1), Tiling(32, 32, 4, 1)],
    ("forward", 4, 128): [Tiling(32, 32, 8, 1), Tiling(32, 32, 4, 1)],
    ("forward", 4, 256): [Tiling(32, 16, 8, 1), Tiling(16, 16, 4, 1)],
    ("grad_keys_values", 2, 64): [
        Tiling(128, 64, 4, 2),
        Tiling(32, 128, 4, 2),
        Tiling(64, 64, 4, 2),
        Tiling(64, 128, 8, 1),
    ],
    ("grad_keys_values", 2, 128): [
        Tiling(64, 128, 8, 1),
        Tiling(64, 64, 4, 1),
        Tiling(32, 64, 4, 2),
        Tiling(32, 128, 8, 2),
    ],
    ("grad_keys_values", 2, 256): [Tiling(32, 64, 8, 2), Tiling(32, 32, 4, 1)],
    ("grad_keys_values", 4, 64): [Tiling(32, 32, 4, 1), Tiling(32, 64, 8, 1)],
    ("grad_keys_values", 4, 128): [Tiling(32, 32, 8, 1), Tiling(32, 16, 4, 1)],
    ("grad_keys_values", 4, 256): [Tiling(16, 16, 4, 1), Tiling(16, 32, 8, 1)],
    ("grad_queries", 2, 64): [
        Tiling(128, 64, 8, 2),
        Tiling(64, 64, 4, 2),
        Tiling(128, 64, 8, 3),
        Tiling(64, 128, 4, 2),
    ],
    ("grad_queries", 2, 128): [
        Tiling(64, 64, 4, 2),
        Tiling(128, 64, 8, 2),
        Tiling(128, 128, 8, 1),
    ],
    ("grad_queries", 2, 256): [Tiling(128, 32, 8, 2), Tiling(64, 32, 8, 2)],
    ("grad_queries", 4, 64): [Tiling(32, 64, 8, 1), Tiling(32, 32, 4, 1)],
    ("grad_queries", 4, 128): [Tiling(32, 32, 8, 1), Tiling(32, 16, 4, 1)],
    ("grad_queries", 4, 256): [Tiling(32, 16, 8, 1), Tiling(16, 16, 4, 1)],
}

# (rows of a tile of query heads, bytes an element, larger padded dimension, a latent's too) -> candidates.
DECODING_CANDIDATES: dict[tuple[int, int, int], list[DecodingTiling]] = {
    (16, 2, 64): [
        DecodingTiling(64, 4, 3),
        DecodingTiling(128, 4, 3),
        DecodingTiling(128, 4, 2),
        DecodingTiling(64, 4, 2),
    ],
    (16, 2, 128): [
        DecodingTiling(64, 4, 3),
        DecodingTiling(64, 4, 2),
        DecodingTiling(128, 4, 2),
        DecodingTiling(128, 8, 2),
        DecodingTiling(32, 4, 3),
    ],
    (16, 2, 256): [DecodingTiling(64, 8, 2), DecodingTiling(32, 4, 3), DecodingTiling(64, 4, 2)],
    (16, 2, 512): [DecodingTiling(32, 8, 2), DecodingTiling(32, 8, 3), DecodingTiling(64, 8, 2)],
    (32, 2, 64): [DecodingTiling(64, 4, 3), DecodingTiling(128, 8, 2), DecodingTiling(64, 4, 2)],
    (32, 2, 128): [DecodingTiling(64, 4, 3), DecodingTiling(64, 4, 2), DecodingTiling(32, 4, 3)],
    (32, 2, 256): [DecodingTiling(64, 8, 2), DecodingTiling(32, 4, 3)],
    (32, 2, 512): [DecodingTiling(32, 8, 2), DecodingTiling(32, 8, 3), DecodingTiling(64, 8, 2)],
    (64, 2, 64): [DecodingTiling(64, 4, 3), DecodingTiling(64, 8, 2), DecodingTiling(32, 4, 3)],
    (64, 2, 128): [DecodingTiling(64, 8, 2), DecodingTiling(64, 4, 2), DecodingTiling(32, 4, 3)],
    (64, 2, 256): [DecodingTiling(64, 8, 2), DecodingTiling(32, 4, 3)],
    (64, 2, 512): [DecodingTiling(32, 8, 2), DecodingTiling(32, 8, 3), DecodingTiling(64, 8, 2)],
    (16, 4, 64): [DecodingTiling(32, 8, 1), DecodingTiling(32, 4, 2)],
    (16, 4, 128): [DecodingTiling(32, 8, 1), DecodingTiling(16, 4, 1), DecodingTiling(32, 4, 2)],
    (16, 4, 256): [DecodingTiling(32, 8, 1), DecodingTiling(16, 4, 1), DecodingTiling(32, 4, 2)],
    (16, 4, 512): [DecodingTiling(16, 8, 1), DecodingTiling(32, 8, 1)],
}


def padded_head_dim(head_dim: int) -> int:
    """The power of two, at least 16, that a tile's rows are padded to: tl.dot takes no other sizes."""
    return max(16, triton.next_power_of_2(head_dim))


def decoding_rows(group: int, element_size: int) -> int:
    """Rows of a tile of query heads: all that share a key head, padded to a power of two as tl.dot wants, 16 at least.

    At most 64: there the fast matrix instructions of a Hopper card begin, and 64 rows of 512 numbers of output still
    fit the registers. float32 is not multiplied by matrix instructions, and 16 rows need fewer registers.
    """
    most = 64 if element_size == 2 else 16
    return min(padded_head_dim(group), most)


@contextlib.contextmanager
def untuned() -> Iterator[None]:
    """Inside, GPU launches take the first candidate and time nothing: for tests over many shapes."""
    global _tuning_enabled
    before, _tuning_enabled = _tuning_enabled, False
    try:
        yield
    finally:
        _tuning_enabled = before


def launch(name: str, kernel: Any, owner: str, sequences_times_heads: int, arguments: dict[str, Any]) -> None:
    """Run `kernel` with one program for every tile of its owner and every head of every sequence.

    name: the kernel's row in CANDIDATES. owner: "q" or "k", whose tiles are given out to programs.
    arguments: all that the kernel takes except BLOCK_Q and BLOCK_K, and maybe more; n_q and n_k are the
    longest lengths.
    """
    length, block = arguments["n_" + owner], "BLOCK_" + owner.upper()

    def grid(values: dict[str, Any]) -> tuple[int]:
        return (triton.cdiv(length, values[block]) * sequences_times_heads,)

    q = arguments["q_ptr"]
    if length * sequences_times_heads == 0:
        return
    if not q.is_cuda:
        blocks = interpreted_blocks(arguments["n_q"], arguments["n_k"])
        kernel[grid](**_taken_by(kernel, arguments), **blocks)
        return
    row = (name, q.element_size(), max(64, arguments["BLOCK_D"], arguments["BLOCK_DV"]))
    constants = ("HEAD_DIM", "VALUE_DIM", "BOUND_LEFT", "BOUND_RIGHT", "SOFTCAP", "VARLEN")
    candidates = CANDIDATES[row]
    if torch.cuda.get_device_capability(q.device) == MEASURED_CAPABILITY:
        candidates = candidates[:1]
    _launch_compiled(kernel, grid, arguments, candidates, constants)


def launch_decoding(kernel: Any, programs: int, arguments: dict[str, Any]) -> None:
    """Run the decoding kernel with this many programs.

    arguments: all that the kernel takes except BLOCK_K, and maybe more.
    """
    q = arguments["q_ptr"]
    if not q.is_cuda:
        block_k = interpreted_blocks(1, arguments["n_k"])["BLOCK_K"]
        kernel[(programs,)](**_taken_by(kernel, arguments), BLOCK_K=block_k)
        return
    width = max(64, arguments["BLOCK_D"], arguments["BLOCK_DV"])
    candidates = DECODING_CANDIDATES[arguments["BLOCK_Q"], q.element_size(), width]
    constants = ("HEAD_DIM", "VALUE_DIM", "ROPE_DIM", "BLOCK_Q", "RAGGED")
    _launch_compiled(kernel, (programs,), arguments, candidates, constants)


def _launch_compiled(
    kernel: Any,
    grid: Any,
    arguments: dict[str, Any],
    candidates: Sequence[Tiling | DecodingTiling],
    constants: tuple[str, ...],
) -> None:
    """Run `kernel` with the fastest candidate: one for each device, length and kind of problem, which the `constants`
    tell apart; with the first where there is no other or nothing is tuned."""
    q = arguments["q_ptr"]
    longest = max(arguments.get("n_q", 1), arguments["n_k"])
    with on_device(q):
        if len(candidates) == 1 or not _tuning_enabled or longest < SHORTEST_TUNED_LENGTH:
            first = _config(candidates[0])
            kernel[grid](**_taken_by(kernel, arguments), **first.all_kwargs(), enable_fp_fusion=True)
            return
        bucket = min(triton.next_power_of_2(longest), LARGEST_LENGTH_BUCKET)
        key = (*(arguments[constant] for constant in constants), bucket, str(q.device))
        tuned = _tuned(kernel, tuple(candidates), (q.element_size(), *key))
        tuned[grid](**_taken_by(kernel, arguments), enable_fp_fusion=True)


def launch_untuned(kernel: Any, programs: int, arguments: dict[str, Any], options: dict[str, Any]) -> None:
    """Run `kernel` with this many programs and with the tile sizes given in `options`."""
    with on_device(arguments["q_ptr"]):
        kernel[(programs,)](**_taken_by(kernel, arguments), **options)


def _taken_by(kernel: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments that `kernel` has a parameter for."""
    return {name: arguments[name] for name in kernel.arg_names if name in arguments}


@contextlib.contextmanager
def on_device(tensor: torch.Tensor) -> Iterator[None]:
    """Launch where `tensor` lives; on a GPU one launch at a time."""
    if not tensor.is_cuda:
        yield
        return
    with _gpu_launch_lock, torch.cuda.device(tensor.device):
        yield


def interpreted_blocks(n_q: int, n_k: int) -> dict[str, int]:
    """Tile sizes for the interpreter: a whole sequence up to LARGEST_INTERPRETED_BLOCK rows."""
    blocks = (min(max(16, triton.next_power_of_2(n)), LARGEST_INTERPRETED_BLOCK) for n in (n_q, n_k))
    return dict(zip(("BLOCK_Q", "BLOCK_K"), blocks, strict=True))


@functools.cache
def _tuned(kernel: Any, candidates: tuple[Tiling | DecodingTiling, ...], key: tuple[Any, ...]) -> Any:
    """One tuner for each kind of problem (`key` only tells them apart), so each measures and remembers its
    own."""
    tuner: Callable[[Any], Any] = triton.autotune(
        configs=[_config(tiling) for tiling in candidates],
        key=[],
    )
    return tuner(kernel)


def _config(tiling: Tiling | DecodingTiling) -> triton.Config:
    blocks = {name.upper(): rows for name, rows in tiling._asdict().items() if name.startswith("block")}
    return triton.Config(blocks, num_warps=tiling.num_warps, num_stages=tiling.num_stages)
