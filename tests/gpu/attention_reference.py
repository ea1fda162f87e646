"""Attention without tiles: the references with which the kernels are compared, in CI and on a GPU.

The rule for low precision is the flash-attention test-suite's (tests/oracles/attention.json, "test_rule"): the kernel
may be at most twice as far from float64 as plain attention computed in the same low precision, its gradients three
times as far.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

ORACLE = json.loads(
    Path(__file__).parents[1].joinpath("oracles", "attention.json").read_text(encoding="utf-8")
)
SHAPES = [tuple(shape) for shape in ORACLE["test_rule"]["shapes_nq_nk"]]
HEAD_DIMS = ORACLE["test_rule"]["head_dims"]
OUTPUT_FACTOR, GRADIENT_FACTOR = 2.0, 3.0


def visible(
    n_q: int, n_k: int, causal: bool, window: tuple[int, int], device: torch.device | str = "cpu"
) -> torch.Tensor:
    """(Nq, Nk) bool: row i sees column j where i + Nk - Nq - left <= j <= i + Nk - Nq + right; -1: no bound."""
    left, right = window[0], 0 if causal else window[1]
    place = torch.arange(n_q, device=device)[:, None] + n_k - n_q
    column = torch.arange(n_k, device=device)[None, :]
    lowest = place - left if left >= 0 else torch.zeros_like(place)
    highest = place + right if right >= 0 else torch.full_like(place, n_k)
    return (column >= lowest) & (column <= highest)


def plain_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    causal: bool = False,
    window: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    scale: float | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Output and log-sum-exp of (B, Hq, Nq, D) by (B, Hkv, Nk, D) and (B, Hkv, Nk, Dv), in their precision."""
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    scores = q @ k.transpose(-1, -2) * (scale if scale is not None else 1 / math.sqrt(q.shape[-1]))
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    seen = visible(q.shape[2], k.shape[2], causal, window, q.device)
    some = seen.any(-1)  # a row without keys is NaN in softmax; its weights are 0 by definition
    scores = scores.masked_fill(~seen, -math.inf).masked_fill(~some[:, None], 0)
    weights = scores.softmax(-1).masked_fill(~some[:, None], 0)
    lse = scores.logsumexp(-1) if scores.shape[-1] else scores.sum(-1)
    return weights @ v, lse.masked_fill(~some, -math.inf)


def gradients(
    output: torch.Tensor, inputs: tuple[torch.Tensor, ...], grad_output: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(output, inputs, grad_output.to(output.dtype))


def assert_follows_the_rule(
    ours: torch.Tensor, ours_gradients: tuple[torch.Tensor, ...], inputs: tuple[torch.Tensor, ...],
    grad_output: torch.Tensor, **options: Any,
) -> None:  # fmt: skip
    """Check an output and its gradients by the rule (float16, bfloat16) or against fixed gates (float32).

    options: those of `plain_attention`.
    """
    exact_inputs = tuple(tensor.detach().double().requires_grad_() for tensor in inputs)
    exact, _ = plain_attention(*exact_inputs, **options)
    exact_gradients = gradients(exact, exact_inputs, grad_output)
    error = (ours - exact).abs().max().item()
    errors = [
        (mine - true).abs().max().item() for mine, true in zip(ours_gradients, exact_gradients, strict=True)
    ]
    if ours.dtype == torch.float32:
        assert error <= (ORACLE["test_rule"]["fp32_gate"] if inputs[0].shape[-1] <= 128 else 5e-6)
        assert max(errors) <= 1e-5
        return
    plain_inputs = tuple(tensor.detach().clone().requires_grad_() for tensor in inputs)
    plain, _ = plain_attention(*plain_inputs, **options)
    plain_gradients = gradients(plain, plain_inputs, grad_output)
    assert error <= OUTPUT_FACTOR * (plain - exact).abs().max().item()
    for mine, rough, true in zip(errors, plain_gradients, exact_gradients, strict=True):
        assert mine <= GRADIENT_FACTOR * (rough - true).abs().max().item()


@dataclass(frozen=True)
class Shape:
    """The sizes of q (batch, query_heads, n_q, head_dim), k (batch, key_heads, n_k, head_dim) and v (batch, key_heads,
    n_k, value_dim); value_dim 0: as head_dim."""

    n_q: int
    n_k: int
    head_dim: int
    batch: int = 1
    query_heads: int = 1
    key_heads: int = 1
    value_dim: int = 0


def random_inputs(
    shape: Shape, dtype: torch.dtype, *, device: str = "cpu", seed: int = 1
) -> tuple[tuple[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]:
    """(q, k, v), which require gradients, and a gradient of the output; the same numbers on every device.

    Not seed 0: at 1024 rows it draws a row whose scores reach 43 before scaling; there plain float32 attention
    misses the gate too.
    """
    generator = torch.Generator().manual_seed(seed)
    queries, keys = (shape.query_heads, shape.n_q), (shape.key_heads, shape.n_k)
    width, value_width = shape.head_dim, shape.value_dim or shape.head_dim
    q, k, v, grad_output = (
        torch.randn(shape.batch, *rows, numbers, generator=generator).to(device, dtype)
        for rows, numbers in ((queries, width), (keys, width), (keys, value_width), (queries, value_width))
    )
    return (q.requires_grad_(), k.requires_grad_(), v.requires_grad_()), grad_output
