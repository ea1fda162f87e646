"""Decoding without tiles or splits: each sequence's filled rows alone, in the precision of its tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from tests.gpu.attention_reference import OUTPUT_FACTOR


@dataclass(frozen=True)
class Cache:
    """The sizes of q (batch, query_heads, head_dim), k (batch, key_heads, n_k, head_dim), v (..., value_dim)."""

    n_k: int
    query_heads: int
    key_heads: int
    head_dim: int
    value_dim: int
    batch: int = 3

    def random(
        self, dtype: torch.dtype, device: str = "cpu", seed: int = 1
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        shapes = (
            (self.batch, self.query_heads, self.head_dim),
            (self.batch, self.key_heads, self.n_k, self.head_dim),
            (self.batch, self.key_heads, self.n_k, self.value_dim),
        )
        q, k, v = (torch.randn(*shape, generator=generator).to(device, dtype) for shape in shapes)
        return q, k, v


@dataclass(frozen=True)
class Latents:
    """The sizes of q_latent (batch, heads, latent_dim), q_rope (.., rope_dim), latents (batch, n_k, latent_dim) and
    rope_keys (.., rope_dim)."""

    n_k: int
    heads: int
    latent_dim: int
    rope_dim: int
    batch: int = 3

    def random(self, dtype: torch.dtype, device: str = "cpu", seed: int = 1) -> tuple[torch.Tensor, ...]:
        generator = torch.Generator().manual_seed(seed)
        return tuple(
            torch.randn(self.batch, rows, numbers, generator=generator).to(device, dtype)
            for rows in (self.heads, self.n_k)
            for numbers in (self.latent_dim, self.rope_dim)
        )


def plain_decoding(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, lengths: torch.Tensor | None, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Output (B, Hq, Dv) and log-sum-exp (B, Hq) of the first `lengths` keys of each sequence."""
    group = q.shape[1] // k.shape[1]
    outputs, sums = [], []
    filled = [k.shape[2]] * len(q) if lengths is None else lengths.tolist()
    for query, keys, values, length in zip(q, k, v, filled, strict=True):
        keys = keys[:, :length].repeat_interleave(group, dim=0)
        values = values[:, :length].repeat_interleave(group, dim=0)
        scores = (keys @ query[:, :, None])[:, :, 0] * scale
        outputs.append((scores.softmax(-1)[:, None, :] @ values)[:, 0])
        sums.append(scores.logsumexp(-1) if length else torch.full_like(scores.sum(-1), -math.inf))
    return torch.stack(outputs), torch.stack(sums)


def plain_latent_decoding(
    q_latent: torch.Tensor,
    q_rope: torch.Tensor,
    latents: torch.Tensor,
    rope_keys: torch.Tensor,
    *,
    lengths: torch.Tensor | None,
    scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same for MLA, written as MQA: a key is a latent and its RoPE key in a row, its value the latent."""
    keys = torch.cat([latents, rope_keys], dim=-1)
    return plain_decoding(
        torch.cat([q_latent, q_rope], dim=-1), keys[:, None], latents[:, None], lengths=lengths, scale=scale
    )


def assert_decodes(
    ours: tuple[torch.Tensor, torch.Tensor],
    inputs: tuple[torch.Tensor, ...],
    *,
    lengths: torch.Tensor | None,
    scale: float,
) -> None:
    """Check output and log-sum-exp: within 1e-5 of float64 in float32, else at most twice as far as plain attention."""
    plain = plain_decoding if len(inputs) == 3 else plain_latent_decoding
    output, lse = ours
    exact, exact_lse = plain(*(tensor.double() for tensor in inputs), lengths=lengths, scale=scale)
    assert output.dtype == inputs[0].dtype
    assert output.shape == exact.shape
    if output.dtype == torch.float32:
        torch.testing.assert_close(output.double(), exact, atol=1e-5, rtol=0)
        torch.testing.assert_close(lse.double(), exact_lse, atol=1e-5, rtol=1e-6)
        return
    rough, _ = plain(*inputs, lengths=lengths, scale=scale)
    assert (output - exact).abs().max() <= OUTPUT_FACTOR * (rough - exact).abs().max()
    torch.testing.assert_close(lse.double(), exact_lse, atol=1e-4, rtol=1e-5)
