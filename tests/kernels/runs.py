"""Inputs of the kernel, and how near its output must be."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.gpu.attention_reference import (
    random_inputs,
)

ROOT = Path(__file__).parents[2]


def assert_close(ours: torch.Tensor, true: torch.Tensor, atol: float, rtol: float = 0.0) -> None:
    torch.testing.assert_close(ours.double(), true.double(), atol=atol, rtol=rtol)


def heads(
    n_q: int = 8, n_k: int = 8, head_dim: int = 16, dtype: torch.dtype = torch.float32, query_heads: int = 2
) -> list[torch.Tensor]:
    inputs, _ = random_inputs(n_q, n_k, head_dim, dtype, query_heads=query_heads, key_heads=2)
    return [tensor.detach() for tensor in inputs]
