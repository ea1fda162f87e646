"""The random Q, K and V, the sizes and the oracle that several tests share."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from hypothesis import strategies as st

ORACLE = json.loads((Path(__file__).parents[1] / "oracles" / "attention.json").read_text(encoding="utf-8"))


def random_qkv(n_q: int, n_k: int, d: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(n, d, generator=generator) for n in (n_q, n_k, n_k))  # type: ignore[return-value]


sizes = st.fixed_dictionaries(
    {
        "n_q": st.integers(1, 40),
        "n_k": st.integers(1, 40),
        "d": st.sampled_from([8, 16, 23]),
        "block_q": st.integers(1, 45),
        "block_k": st.integers(1, 45),
        "causal": st.booleans(),
        "seed": st.integers(0, 1000),
    }
)
