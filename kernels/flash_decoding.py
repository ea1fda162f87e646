"""Attention of one new token on a cache, its keys read in splits side by side: Flash-Decoding in Triton.

    output = flash_decoding(q, k, v, lengths=lengths)
    output = flash_decoding_latent(q_latent, q_rope, latents, rope_keys, scale=scale)

On CUDA tensors the kernels run compiled and autotuned, on CPU tensors in the interpreter worker
(`kernels.interpreter`), from the same source (`kernels.flash_decoding_kernel`). There is no gradient.
"""

import math
import numbers
from typing import Literal, overload

import torch

from kernels.arguments import (
    check_batch,
    check_head_dim,
    check_heads,
    check_keys_and_values,
    check_layouts,
    check_types,
    checked_scale,
)
from kernels.dispatch import interpreted, ready_for_kernels

LARGEST_LATENT_DIM = 512
MOST_SPLITS = 1024


@overload
def flash_decoding(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    lengths: torch.Tensor | None = None,
    scale: float | None = None,
    splits: int | None = None,
    return_lse: Literal[False] = False,
) -> torch.Tensor: ...


@overload
def flash_decoding(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    lengths: torch.Tensor | None = None,
    scale: float | None = None,
    splits: int | None = None,
    return_lse: Literal[True],
) -> tuple[torch.Tensor, torch.Tensor]: ...


def flash_decoding(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    lengths: torch.Tensor | None = None,
    scale: float | None = None,
    splits: int | None = None,
    return_lse: bool = False,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Attention softmax(scale q k^T) v of one query token a sequence, on the keys and values of its cache.

    q: (B, Hq, D), k: (B, Hkv, N, D), v: (B, Hkv, N, Dv), Hq a multiple of Hkv (GQA; each key head is read once for its
    group of query heads), D and Dv from 16 to 256, all float32, float16 or, on a GPU, bfloat16.
    lengths: (B,) int32, how many of the N rows each sequence has filled, from 0 to N; None: all. On a GPU a length
    outside this counts as the nearest bound: to check it, each step would wait for the GPU.
    scale: finite, 1/sqrt(D) by default. splits: into how many parts, from 1 to 1024, the keys are divided; None: as
    many as fill the GPU, with at least 256 keys each.
    Returns the output (B, Hq, Dv), with return_lse also the natural log-sum-exp of the scaled scores, (B, Hq) float32.
    A sequence of length 0 has output 0 and log-sum-exp -inf.

    Raises ValueError for arguments outside this, RuntimeError where Triton is not installed.
    Source: "Flash-Decoding for long-context inference" (Dao, Haziza, Massa, Sizov 2023).
    """
    named = {"q": q, "k": k, "v": v}
    cache = ("(batch, heads, rows, head_dim)", 4)
    check_layouts(named, {"q": ("(batch, heads, head_dim)", 3), "k": cache, "v": cache})
    check_types(named)
    check_head_dim("q", q)
    check_head_dim("v", v)
    check_keys_and_values(q, k, v)
    check_batch("k", k, "q", q)
    check_heads(q.shape[1], k.shape[1])
    factor = 1.0 / math.sqrt(q.shape[2]) if scale is None else checked_scale(scale)
    _check_lengths(lengths, k.shape[2], "q", q)
    output, lse = _launch("decode", named, lengths, scale=factor, splits=_checked_splits(splits))
    return (output, lse) if return_lse else output


@overload
def flash_decoding_latent(
    q_latent: torch.Tensor,
    q_rope: torch.Tensor,
    latents: torch.Tensor,
    rope_keys: torch.Tensor,
    *,
    scale: float,
    lengths: torch.Tensor | None = None,
    splits: int | None = None,
    return_lse: Literal[False] = False,
) -> torch.Tensor: ...


@overload
def flash_decoding_latent(
    q_latent: torch.Tensor,
    q_rope: torch.Tensor,
    latents: torch.Tensor,
    rope_keys: torch.Tensor,
    *,
    scale: float,
    lengths: torch.Tensor | None = None,
    splits: int | None = None,
    return_lse: Literal[True],
) -> tuple[torch.Tensor, torch.Tensor]: ...


def flash_decoding_latent(
    q_latent: torch.Tensor,
    q_rope: torch.Tensor,
    latents: torch.Tensor,
    rope_keys: torch.Tensor,
    *,
    scale: float,
    lengths: torch.Tensor | None = None,
    splits: int | None = None,
    return_lse: bool = False,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """MLA's attention softmax(scale (q_latent c^T + q_rope k_rope^T)) c of one query token a sequence on its cache.

    q_latent: (B, H, R), the queries with the keys' up-projection absorbed; q_rope: (B, H, Dr); latents: (B, N, R),
    the c of each token, R from 16 to 512; rope_keys: (B, N, Dr), the decoupled RoPE keys k_rope, Dr from 16 to 256.
    All heads share them, and a latent is read once as key and as value: R + Dr numbers a token. DeepSeek-V2 has
    H = 128, R = 512, Dr = 64. scale: finite, in DeepSeek-V2 1/sqrt(128 + 64), where 128 is the head dimension before
    absorption, which the tensors no longer show.
    lengths, splits and return_lse as in `flash_decoding`. Returns the output (B, H, R), a mixture of latents that the
    absorbed output projection takes, and the log-sum-exp (B, H) float32.

    Raises ValueError for arguments outside this, RuntimeError where Triton is not installed.
    Source: DeepSeek-V2 (arXiv:2405.04434), section 2.1 and equations 37 to 47.
    """
    named = {"q_latent": q_latent, "q_rope": q_rope, "latents": latents, "rope_keys": rope_keys}
    query, cache = ("(batch, heads, numbers)", 3), ("(batch, rows, numbers)", 3)
    check_layouts(named, {"q_latent": query, "q_rope": query, "latents": cache, "rope_keys": cache})
    check_types(named)
    check_head_dim("q_latent", q_latent, LARGEST_LATENT_DIM)
    check_head_dim("q_rope", q_rope)
    if q_rope.shape[:2] != q_latent.shape[:2]:
        batch_and_heads = tuple(q_latent.shape[:2])
        raise ValueError(
            f"q_rope must have the batch size and heads of q_latent, {batch_and_heads}, "
            f"got {tuple(q_rope.shape[:2])}."
        )
    check_batch("latents", latents, "q_latent", q_latent)
    for name, q_name in (("latents", "q_latent"), ("rope_keys", "q_rope")):
        rows = (*latents.shape[:2], named[q_name].shape[2])
        if named[name].shape != rows:
            raise ValueError(f"{name} must have shape {rows}, got {tuple(named[name].shape)}.")
    _check_lengths(lengths, latents.shape[1], "q_latent", q_latent)
    output, lse = _launch(
        "decode_latent", named, lengths, scale=checked_scale(scale), splits=_checked_splits(splits)
    )
    return (output, lse) if return_lse else output


def _check_lengths(lengths: torch.Tensor | None, n_k: int, q_name: str, q: torch.Tensor) -> None:
    """lengths has one entry a sequence; on the CPU also that each is a number of rows that the cache has."""
    if lengths is None:
        return
    if not torch.is_tensor(lengths) or lengths.dtype != torch.int32 or lengths.dim() != 1:
        raise ValueError("lengths must be a one-dimensional int32 tensor.")
    if lengths.device != q.device or lengths.numel() != q.shape[0]:
        raise ValueError(
            f"lengths must have {q.shape[0]} entries, the batch size, and be on the device of {q_name}, {q.device}."
        )
    if not lengths.is_cuda and ((lengths < 0) | (lengths > n_k)).any():
        raise ValueError(f"lengths must be from 0 to the {n_k} rows of the cache, got {lengths.tolist()}.")


def _checked_splits(splits: int | None) -> int | None:
    if splits is None:
        return None
    if not isinstance(splits, numbers.Integral) or isinstance(splits, bool) or not 1 <= splits <= MOST_SPLITS:
        allowed = f"None (chosen) or an integer from 1 to {MOST_SPLITS}"
        raise ValueError(f"splits must be {allowed}, got {splits!r}.")
    return int(splits)


def _launch(
    operation: Literal["decode", "decode_latent"],
    tensors: dict[str, torch.Tensor],
    lengths: torch.Tensor | None,
    *,
    scale: float,
    splits: int | None,
) -> tuple[torch.Tensor, ...]:
    """Call a launcher of the kernels where the tensors are: here on a GPU, in the worker on a CPU."""
    arguments = {
        **ready_for_kernels({name: tensor.detach() for name, tensor in tensors.items()}),
        "lengths": None if lengths is None else lengths.contiguous(),
        "scale": scale,
        "splits": splits,
    }
    if not next(iter(tensors.values())).is_cuda:
        return interpreted(operation, arguments)
    from kernels import flash_decoding_kernel

    return getattr(flash_decoding_kernel, operation)(**arguments)
