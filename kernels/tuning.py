"""Which tile sizes a kernel runs with: measured on a GPU, as large as possible in the interpreter.

A GPU wants tiles that fill its tensor cores without spilling registers; which are best depends on the head
dimension, the length and the mask, so a few candidates are timed at the first launch (triton.autotune). Each
candidate below was compiled for an H100 (sm_90) and kept if its shared memory fits and it spills little. The
interpreter runs a tile as NumPy calls, whose cost is mostly per call: there the largest tile is the fastest.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import triton

LARGEST_INTERPRETED_BLOCK = 256
LARGEST_LENGTH_BUCKET = 8192
SHORTEST_TUNED_LENGTH = 256

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


# (kernel, bytes an element, larger padded head dimension) -> candidates; the first is used where nothing is tuned.
CANDIDATES: dict[tuple[str, int, int], list[Tiling]] = {
    ("forward", 2, 64): [
        Tiling(128, 64, 4, 3),
        Tiling(128, 64, 4, 4),
        Tiling(128, 128, 8, 3),
        Tiling(128, 64, 8, 3),
        Tiling(64, 64, 4, 3),
    ],
    ("forward", 2, 128): [
        Tiling(128, 128, 8, 2),
        Tiling(128, 64, 8, 3),
        Tiling(128, 64, 4, 3),
        Tiling(128, 128, 8, 3),
        Tiling(64, 64, 4, 3),
    ],
    ("forward", 2, 256): [Tiling(128, 64, 8, 2), Tiling(128, 32, 8, 2), Tiling(64, 32, 4, 2)],
    ("forward", 4, 64): [Tiling(64, 32, 8, 1), Tiling(32, 32, 4, 1)],
    ("forward", 4, 128): [Tiling(32, 32, 8, 1), Tiling(32, 32, 4, 1)],
    ("forward", 4, 256): [Tiling(32, 16, 8, 1), Tiling(16, 16, 4, 1)],
    ("grad_keys_values", 2, 64): [
        Tiling(64, 128, 8, 2),
        Tiling(64, 128, 8, 3),
        Tiling(64, 64, 4, 2),
        Tiling(32, 128, 4, 3),
    ],
    ("grad_keys_values", 2, 128): [
        Tiling(64, 128, 8, 2),
        Tiling(32, 128, 8, 3),
        Tiling(64, 64, 8, 2),
        Tiling(32, 64, 4, 3),
    ],
    ("grad_keys_values", 2, 256): [Tiling(32, 64, 8, 2), Tiling(32, 32, 4, 1)],
    ("grad_keys_values", 4, 64): [Tiling(32, 32, 4, 1), Tiling(32, 64, 8, 1)],
    ("grad_keys_values", 4, 128): [Tiling(32, 32, 8, 1), Tiling(32, 16, 4, 1)],
    ("grad_keys_values", 4, 256): [Tiling(16, 16, 4, 1), Tiling(16, 32, 8, 1)],
    ("grad_queries", 2, 64): [
        Tiling(128, 64, 8, 3),
        Tiling(128, 128, 8, 2),
        Tiling(128, 32, 4, 3),
        Tiling(64, 64, 4, 3),
    ],
    ("grad_queries", 2, 128): [
        Tiling(128, 64, 8, 2),
        Tiling(128, 32, 8, 3),
        Tiling(64, 32, 4, 3),
    ],
    ("grad_queries", 2, 256): [Tiling(128, 32, 8, 2), Tiling(64, 32, 8, 2)],
    ("grad_queries", 4, 64): [Tiling(32, 64, 8, 1), Tiling(32, 32, 4, 1)],
    ("grad_queries", 4, 128): [Tiling(32, 32, 8, 1), Tiling(32, 16, 4, 1)],
    ("grad_queries", 4, 256): [Tiling(32, 16, 8, 1), Tiling(16, 16, 4, 1)],
}


def padded_head_dim(head_dim: int) -> int:
    """The power of two, at least 16, that a tile's rows are padded to: tl.dot takes no other sizes."""
    return max(16, triton.next_power_of_2(head_dim))


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
    arguments = _taken_by(kernel, arguments)
    if length * sequences_times_heads == 0:
        return
    if not q.is_cuda:
        kernel[grid](**arguments, **interpreted_blocks(arguments["n_q"], arguments["n_k"]))
        return
    longest = max(arguments["n_q"], arguments["n_k"])
    row = (name, q.element_size(), max(64, arguments["BLOCK_D"], arguments["BLOCK_DV"]))
    with _on_device(q):
        if not _tuning_enabled or longest < SHORTEST_TUNED_LENGTH:
            first = CANDIDATES[row][0]
            kernel[grid](
                **arguments,
                BLOCK_Q=first.block_q,
                BLOCK_K=first.block_k,
                num_warps=first.num_warps,
                num_stages=first.num_stages,
                enable_fp_fusion=True,
            )
            return
        bucket = min(triton.next_power_of_2(longest), LARGEST_LENGTH_BUCKET)
        constants = ("HEAD_DIM", "VALUE_DIM", "BOUND_LEFT", "BOUND_RIGHT", "SOFTCAP", "VARLEN")
        key = (*(arguments[constant] for constant in constants), bucket, str(q.device))
        _tuned(kernel, row, key)[grid](**arguments, enable_fp_fusion=True)


def launch_untuned(kernel: Any, programs: int, arguments: dict[str, Any], options: dict[str, Any]) -> None:
    """Run `kernel` with this many programs and with the tile sizes given in `options`."""
    with _on_device(arguments["q_ptr"]):
        kernel[(programs,)](**_taken_by(kernel, arguments), **options)


def _taken_by(kernel: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments that `kernel` has a parameter for."""
    return {name: arguments[name] for name in kernel.arg_names if name in arguments}


@contextlib.contextmanager
def _on_device(tensor: torch.Tensor) -> Iterator[None]:
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
def _tuned(kernel: Any, row: tuple[str, int, int], key: tuple[Any, ...]) -> Any:
    """One tuner for each kind of problem (`key` only tells them apart), so each measures and remembers its
    own."""
    tuner: Callable[[Any], Any] = triton.autotune(
        configs=[
            triton.Config(
                {"BLOCK_Q": tiling.block_q, "BLOCK_K": tiling.block_k},
                num_warps=tiling.num_warps,
                num_stages=tiling.num_stages,
            )
            for tiling in CANDIDATES[row]
        ],
        key=[],
    )
    return tuner(kernel)
