"""Inputs of the kernels, and a comparison with a tolerance."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.gpu.attention_reference import Shape, random_inputs

ROOT = Path(__file__).parents[2]


def assert_close(ours: torch.Tensor, true: torch.Tensor, atol: float, rtol: float = 0.0) -> None:
    torch.testing.assert_close(ours.double(), true.double(), atol=atol, rtol=rtol)


def heads(
    n_q: int = 8, n_k: int = 8, head_dim: int = 16, dtype: torch.dtype = torch.float32, query_heads: int = 2
) -> list[torch.Tensor]:
    inputs, _ = random_inputs(Shape(n_q, n_k, head_dim, query_heads=query_heads, key_heads=2), dtype)
    return [tensor.detach() for tensor in inputs]
