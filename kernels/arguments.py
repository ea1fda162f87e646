"""What the attention functions accept: every check raises ValueError with one sentence that names the argument."""

import itertools
import math
import numbers
from typing import Any, TypedDict

import torch
from torch.utils.weak import WeakIdKeyDictionary

from kernels.problem import LARGEST_FACTOR, Problem

SMALLEST_HEAD_DIM, LARGEST_HEAD_DIM = 16, 256
SMALLEST_SOFTCAP = 1e-30  # still a float32 where it is multiplied by a score
UNLIMITED = (-1, -1)

Window = int | tuple[int, int]

# cu_seqlens -> (its version, which counts changes in place, the tokens it divides, the longest sequence)
_checked_lengths = WeakIdKeyDictionary()


class AttentionOptions(TypedDict, total=False):
    """The options of attention, with the defaults and the meaning that `flash_attention` gives them."""

    causal: bool
    window: Window
    softcap: float
    scale: float | None


def problem_of(
    n_q: int,
    n_k: int,
    head_dim: int,
    starts: tuple[torch.Tensor | None, torch.Tensor | None] = (None, None),
    *,
    causal: bool = False,
    window: Window = UNLIMITED,
    softcap: float = 0.0,
    scale: float | None = None,
) -> Problem:
    """The Problem of n_q queries and n_k keys under these options; starts: cu_seqlens of q and of k for a pack.

    Its scale may be 0 or negative, which the kernels do not take: `with_positive_scale` changes that.
    """
    left, right = _checked_window(window)
    if causal:
        right = 0
    longest = n_q + n_k  # a wider window hides nothing more; so sums of positions stay within 32 bits
    return Problem(
        max_seqlen_q=n_q,
        max_seqlen_k=n_k,
        window_left=min(left, longest),
        window_right=min(right, longest),
        scale=1.0 / math.sqrt(head_dim) if scale is None else checked_scale(scale),
        softcap=_checked_softcap(softcap),
        cu_seqlens_q=starts[0],
        cu_seqlens_k=starts[1],
    )


def check_tensors(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, layout: str, dimensions: int) -> None:
    """q, k and v are tensors of this layout that the kernels take, and fit together."""
    named = {"q": q, "k": k, "v": v}
    check_layouts(named, dict.fromkeys(named, (layout, dimensions)))
    check_types(named)
    check_head_dim("q", q)
    check_head_dim("v", v)
    check_keys_and_values(q, k, v)


def check_layouts(named: dict[str, torch.Tensor], layouts: dict[str, tuple[str, int]]) -> None:
    """Each is a tensor with the dimensions of its layout, given as words and as a number."""
    for name, tensor in named.items():
        if not torch.is_tensor(tensor):
            raise ValueError(f"{name} must be a torch tensor, got {type(tensor).__name__}.")
        layout, dimensions = layouts[name]
        if tensor.dim() != dimensions:
            raise ValueError(
                f"{name} must have {dimensions} dimensions {layout}, got shape {tuple(tensor.shape)}."
            )


def check_types(named: dict[str, torch.Tensor]) -> None:
    """The tensors have one dtype and one device, those of the first, and the kernels take them."""
    first_name, first = next(iter(named.items()))
    for name, tensor in named.items():
        if tensor.dtype not in (torch.float32, torch.float16, torch.bfloat16):
            raise ValueError(f"{name} must be float32, float16 or bfloat16, got {tensor.dtype}.")
        if tensor.device.type not in ("cpu", "cuda"):
            raise ValueError(f"{name} must be on the CPU or on a CUDA device, got {tensor.device}.")
        if tensor.dtype != first.dtype or tensor.device != first.device:
            raise ValueError(
                f"{name} must have the dtype and device of {first_name}, {first.dtype} on {first.device}."
            )
    if first.dtype == torch.bfloat16 and first.device.type == "cpu":
        raise ValueError(
            f"{first_name} must be float32 or float16 on the CPU: "
            "Triton's interpreter cannot compute in bfloat16."
        )


def check_head_dim(name: str, tensor: torch.Tensor, largest: int = LARGEST_HEAD_DIM) -> None:
    """The last dimension is one that a tile of the kernels holds."""
    if not SMALLEST_HEAD_DIM <= tensor.shape[-1] <= largest:
        allowed = f"from {SMALLEST_HEAD_DIM} to {largest}"
        raise ValueError(f"{name} must have a head dimension {allowed}, got {tensor.shape[-1]}.")


def check_keys_and_values(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> None:
    """A key has the head dimension of a query, and every key has a value."""
    if k.shape[-1] != q.shape[-1]:
        raise ValueError(f"k must have the head dimension of q, {q.shape[-1]}, got {k.shape[-1]}.")
    if v.shape[:-1] != k.shape[:-1]:
        raise ValueError(
            f"v must have the shape of k but for its head dimension, {tuple(k.shape[:-1])}, got {tuple(v.shape)}."
        )


def check_batch(name: str, tensor: torch.Tensor, q_name: str, q: torch.Tensor) -> None:
    """There are as many sequences as of queries."""
    if tensor.shape[0] != q.shape[0]:
        raise ValueError(f"{name} must have the batch size of {q_name}, {q.shape[0]}, got {tensor.shape[0]}.")


def check_heads(query_heads: int, key_heads: int) -> None:
    """Each key head serves a whole number of query heads."""
    if key_heads == 0 or query_heads % key_heads != 0:
        raise ValueError(f"q must have a multiple of the {key_heads} heads of k, got {query_heads}.")


def check_lengths(name: str, cu_seqlens: torch.Tensor, max_seqlen: int, tensor: torch.Tensor) -> None:
    """cu_seqlens divides the rows of `tensor`, which is q or k, into sequences no longer than max_seqlen."""
    argument = f"cu_seqlens_{name}"
    if not isinstance(cu_seqlens, torch.Tensor) or cu_seqlens.dtype != torch.int32 or cu_seqlens.dim() != 1:
        raise ValueError(f"{argument} must be a one-dimensional int32 tensor.")
    if cu_seqlens.device != tensor.device or cu_seqlens.numel() == 0:
        raise ValueError(
            f"{argument} must have at least one entry and be on the device of {name}, {tensor.device}."
        )
    longest = _longest_sequence(name, cu_seqlens, tensor.shape[0])
    if not isinstance(max_seqlen, numbers.Integral) or int(max_seqlen) < longest:
        allowed = f"an integer no smaller than the longest sequence, {longest}"
        raise ValueError(f"max_seqlen_{name} must be {allowed}, got {max_seqlen}.")


def _longest_sequence(name: str, cu_seqlens: torch.Tensor, tokens: int) -> int:
    """The longest of the sequences that cu_seqlens divides `tokens` rows into, once they are checked.

    Reading them waits for the GPU, so what was found is kept with the tensor until it changes: the layers of a model
    share the lengths of a pack.
    """
    version = None if cu_seqlens.is_inference() else cu_seqlens._version
    found = _checked_lengths.get(cu_seqlens)
    if found is not None and version is not None and found[:2] == (version, tokens):
        return found[2]
    argument = f"cu_seqlens_{name}"
    starts = cu_seqlens.tolist()
    lengths = [end - start for start, end in itertools.pairwise(starts)]
    if starts[0] != 0:
        raise ValueError(f"{argument} must start with 0, got {starts[0]}.")
    if min(lengths, default=0) < 0:
        raise ValueError(f"{argument} must not decrease.")
    if starts[-1] != tokens:
        raise ValueError(f"{argument} must end with the {tokens} tokens of {name}, got {starts[-1]}.")
    longest = max(lengths, default=0)
    _checked_lengths[cu_seqlens] = (version, tokens, longest)
    return longest


def _checked_window(window: Window) -> tuple[int, int]:
    """(left, right) of a window that is a pair, or only the number of keys to the left."""
    sides: Any = (window, -1) if isinstance(window, numbers.Integral) else window
    if (
        not isinstance(sides, (tuple, list))
        or len(sides) != 2
        or not all(isinstance(side, numbers.Integral) and not isinstance(side, bool) for side in sides)
        or min(sides) < -1
    ):
        allowed = "a number of keys to the left or a pair (left, right), each -1 (unlimited) or at least 0"
        raise ValueError(f"window must be {allowed}, got {window!r}.")
    return int(sides[0]), int(sides[1])


def checked_scale(scale: float) -> float:
    """The scale, a finite number that the kernels can multiply by log2(e)."""
    if not isinstance(scale, numbers.Real) or not abs(scale) <= LARGEST_FACTOR:
        allowed = f"a finite number from {-LARGEST_FACTOR:g} to {LARGEST_FACTOR:g}"
        raise ValueError(f"scale must be {allowed}, got {scale!r}.")
    return float(scale)


def _checked_softcap(softcap: float) -> float:
    if not isinstance(softcap, numbers.Real) or not (
        softcap == 0 or SMALLEST_SOFTCAP <= softcap <= LARGEST_FACTOR
    ):
        allowed = f"0 (no cap) or a number from {SMALLEST_SOFTCAP:g} to {LARGEST_FACTOR:g}"
        raise ValueError(f"softcap must be {allowed}, got {softcap!r}.")
    return float(softcap)
