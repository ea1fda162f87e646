"""Attention that remembers: MHA, GQA, MQA and MLA over explicit weights, each with a cache that it really fills.

Sources: grouped-query attention, Ainslie et al. 2023, section 2 (as many groups as heads is MHA, one group is MQA);
multi-head latent attention, DeepSeek-V2 (arXiv 2405.04434), section 2.1, whose equation numbers are given at the
lines, without the compression of the queries; RoPE, Su et al. 2021, section 3.4.2.

Letters of the shapes: n new tokens, T tokens held, m hidden size, h heads, g groups, r heads a group, d numbers a
head, c numbers of the latent, e numbers of the RoPE key.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from explainers.models.layers import rms_norm, rope

ROPE_BASE = 10_000.0
NORM_EPSILON = 1e-6


def einsum(equation: str, a: Tensor, b: Tensor) -> Tensor:
    """torch.einsum of two tensors of one dtype; bfloat16 is summed up in float32 and rounded once, as on a GPU.

    Left to itself, torch on a CPU compiles a bfloat16 kernel for each new shape and keeps it: with a cache that grows
    by a token a time, that came to a gigabyte.
    """
    if a.dtype == torch.bfloat16:
        return torch.einsum(equation, a.float(), b.float()).to(a.dtype)
    return torch.einsum(equation, a, b)


def rope_from(x: Tensor, start: int) -> Tensor:
    """RoPE of x (..., n, d), d even, of n tokens from position `start` on, with neighbouring numbers as pairs."""
    positions = torch.arange(start, start + x.shape[-2])
    return rope(x, positions, pairing="interleaved", base=ROPE_BASE)


def causal_softmax(s: Tensor) -> Tensor:
    """Softmax over the keys of scores (..., n, T) of the last n of T tokens; none sees a key after its own."""
    n, held = s.shape[-2:]
    later = torch.ones(n, held, dtype=torch.bool).triu(held - n + 1)
    return torch.softmax(s.masked_fill(later, -math.inf), dim=-1)


@dataclass(frozen=True, eq=False)
class GroupedQueryAttention:
    """Query heads that share keys and values in groups.

    W_Q (h, d, m), W_K and W_V (g, d, m), W_O (m, h, d). Query head i reads group i // (h / g).
    """

    W_Q: Tensor
    W_K: Tensor
    W_V: Tensor
    W_O: Tensor

    @classmethod
    def drawn(
        cls,
        generator: torch.Generator,
        dtype: torch.dtype,
        *,
        heads: int,
        groups: int,
        head_dim: int,
        hidden_size: int,
    ) -> GroupedQueryAttention:
        """Normal weights, scaled so that what they make is about as large as what they are given."""
        return cls(
            W_Q=_drawn(generator, dtype, hidden_size, heads, head_dim, hidden_size),
            W_K=_drawn(generator, dtype, hidden_size, groups, head_dim, hidden_size),
            W_V=_drawn(generator, dtype, hidden_size, groups, head_dim, hidden_size),
            W_O=_drawn(generator, dtype, heads * head_dim, hidden_size, heads, head_dim),
        )

    def project(self, x: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (h, n, d), keys and values (g, n, d) of hidden states x (n, m) from position `start` on."""
        # q = RoPE(W_Q x),  k = RoPE(W_K x)
        q = rope_from(einsum("hdm,nm->hnd", self.W_Q, x), start)
        k = rope_from(einsum("gdm,nm->gnd", self.W_K, x), start)
        # v = W_V x
        v = einsum("gdm,nm->gnd", self.W_V, x)
        return q, k, v

    def attend(self, q: Tensor, K: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (h, n, T) and output (n, m) of the last n tokens' queries (h, n, d) over K and V (g, T, d)."""
        q = q.unflatten(0, (len(K), -1))  # (g, r, n, d): the heads of a group side by side
        # p = softmax(q . k / sqrt(d))
        p = causal_softmax(einsum("grnd,gTd->grnT", q, K) / math.sqrt(K.shape[-1]))
        # o = sum of p v,  u = W_O [o_1; ...; o_h]
        o = einsum("grnT,gTd->grnd", p, V).flatten(0, 1)
        return p.flatten(0, 1), einsum("mhd,hnd->nm", self.W_O, o)

    def without_cache(self, x: Tensor) -> Tensor:
        """Output (T, m) of all tokens x (T, m) at once, by PyTorch's attention: the reference for the cache."""
        q, k, v = (part[None] for part in self.project(x, 0))
        o = scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)[0]
        return einsum("mhd,hnd->nm", self.W_O, o)


@dataclass(frozen=True, eq=False)
class MultiHeadLatentAttention:
    """All heads read one latent; the position of a key is in one RoPE key that all heads share.

    W_Q (h, d, m), W_QR (h, e, m), W_DKV (c, m), gain of its RMSNorm (c,), W_KR (e, m), W_UK and W_UV (h, d, c),
    W_O (m, h, d). rotate_latent: RoPE on the keys that come from the latent too, which forbids the absorbed form.
    """

    W_Q: Tensor
    W_QR: Tensor
    W_DKV: Tensor
    gain: Tensor
    W_KR: Tensor
    W_UK: Tensor
    W_UV: Tensor
    W_O: Tensor
    rotate_latent: bool = False

    @classmethod
    def drawn(
        cls,
        generator: torch.Generator,
        dtype: torch.dtype,
        *,
        heads: int,
        head_dim: int,
        latent_dim: int,
        rope_dim: int,
        hidden_size: int,
        rotate_latent: bool = False,
    ) -> MultiHeadLatentAttention:
        """Normal weights, scaled so that what they make is about as large as what they are given."""
        return cls(
            W_Q=_drawn(generator, dtype, hidden_size, heads, head_dim, hidden_size),
            W_QR=_drawn(generator, dtype, hidden_size, heads, rope_dim, hidden_size),
            W_DKV=_drawn(generator, dtype, hidden_size, latent_dim, hidden_size),
            gain=(1 + 0.1 * torch.randn(latent_dim, generator=generator, dtype=torch.float64)).to(dtype),
            W_KR=_drawn(generator, dtype, hidden_size, rope_dim, hidden_size),
            W_UK=_drawn(generator, dtype, latent_dim, heads, head_dim, latent_dim),
            W_UV=_drawn(generator, dtype, latent_dim, heads, head_dim, latent_dim),
            W_O=_drawn(generator, dtype, heads * head_dim, hidden_size, heads, head_dim),
            rotate_latent=rotate_latent,
        )

    @property
    def scale(self) -> float:
        """What divides the scores: sqrt(d + e)."""
        return math.sqrt(self.W_Q.shape[1] + self.W_QR.shape[1])

    def queries(self, x: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """q_C (h, n, d) and q_R (h, n, e) of hidden states x (n, m) from position `start` on."""
        # (13) q_C = W_Q x
        q_C = einsum("hdm,nm->hnd", self.W_Q, x)
        # (14) q_R = RoPE(W_QR x)
        q_R = rope_from(einsum("hem,nm->hne", self.W_QR, x), start)
        return rope_from(q_C, start) if self.rotate_latent else q_C, q_R

    def latent(self, x: Tensor) -> Tensor:
        """The latent (n, c) of hidden states x (n, m), before its RMSNorm."""
        # (9) c_KV = W_DKV x
        return einsum("cm,nm->nc", self.W_DKV, x)

    def normed(self, c: Tensor) -> Tensor:
        """The latent (n, c) after its RMSNorm (section 3.1.2), which is what the heads read."""
        return rms_norm(c, self.gain, NORM_EPSILON)

    def rope_key(self, x: Tensor, start: int) -> Tensor:
        """The RoPE key (n, e) that all heads share."""
        # (15) k_R = RoPE(W_KR x)
        return rope_from(einsum("em,nm->ne", self.W_KR, x), start)

    def expand(self, c: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (h, T, d) of every head from normed latents c (T, c) of the positions 0 to T - 1."""
        # (10) k_C = W_UK c,  (11) v_C = W_UV c
        k_C, v_C = einsum("hdc,Tc->hTd", self.W_UK, c), einsum("hdc,Tc->hTd", self.W_UV, c)
        return rope_from(k_C, 0) if self.rotate_latent else k_C, v_C

    def attend(self, q_C: Tensor, q_R: Tensor, c: Tensor, k_R: Tensor) -> tuple[Tensor, Tensor]:
        """Expanded: weights (h, n, T) and output (n, m) over latents c (T, c) and RoPE keys k_R (T, e)."""
        k_C, v_C = self.expand(c)
        # (16, 17, 18) s = [q_C; q_R] . [k_C; k_R] / sqrt(d + e)
        s = (einsum("hnd,hTd->hnT", q_C, k_C) + einsum("hne,Te->hnT", q_R, k_R)) / self.scale
        # (18) o = sum of softmax(s) v_C
        p = causal_softmax(s)
        o = einsum("hnT,hTd->hnd", p, v_C)
        # (19) u = W_O [o_1; ...; o_h]
        return p, einsum("mhd,hnd->nm", self.W_O, o)

    def absorb(self) -> AbsorbedLatentAttention:
        """The same attention with W_UK inside W_Q and W_UV inside W_O, multiplied once and for all."""
        return AbsorbedLatentAttention(
            # q_C . k_C = (W_Q x) . (W_UK c) = (W_UK^T W_Q x) . c
            W_QC=einsum("hdc,hdm->hcm", self.W_UK, self.W_Q),
            # W_O sum of p (W_UV c) = (W_O W_UV) sum of p c
            W_OC=einsum("mhd,hdc->mhc", self.W_O, self.W_UV),
            scale=self.scale,
        )

    def without_cache(self, x: Tensor) -> Tensor:
        """Output (T, m) of all tokens x (T, m) at once, by PyTorch's attention: the reference for the cache."""
        q_C, q_R = self.queries(x, 0)
        k_C, v_C = self.expand(self.normed(self.latent(x)))
        k_R = self.rope_key(x, 0).expand(len(k_C), -1, -1)  # (h, T, e): one for all heads
        q, k = torch.cat([q_C, q_R], -1), torch.cat([k_C, k_R], -1)
        o = scaled_dot_product_attention(q[None], k[None], v_C[None], is_causal=True)[0]
        return einsum("mhd,hnd->nm", self.W_O, o)


@dataclass(frozen=True, eq=False)
class AbsorbedLatentAttention:
    """MLA in the latent space: every head asks the latent itself, and no key or value is ever made.

    W_QC (h, c, m): W_UK absorbed into W_Q. W_OC (m, h, c): W_UV absorbed into W_O.
    """

    W_QC: Tensor
    W_OC: Tensor
    scale: float

    def attend(self, x: Tensor, q_R: Tensor, c: Tensor, k_R: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (h, n, T) and output (n, m) of hidden states x (n, m), q_R (h, n, e) over c (T, c), k_R (T, e)."""
        # q = W_QC x, as long as the latent
        q = einsum("hcm,nm->hnc", self.W_QC, x)
        # s = (q . c + q_R . k_R) / sqrt(d + e)
        s = (einsum("hnc,Tc->hnT", q, c) + einsum("hne,Te->hnT", q_R, k_R)) / self.scale
        # u = W_OC [sum of p_1 c; ...; sum of p_h c]
        p = causal_softmax(s)
        return p, einsum("mhc,hnc->nm", self.W_OC, einsum("hnT,Tc->hnc", p, c))


def _drawn(generator: torch.Generator, dtype: torch.dtype, fan_in: int, *shape: int) -> Tensor:
    """Normal numbers of variance 1 / fan_in, drawn in float64 so that every dtype rounds the same ones."""
    return (torch.randn(shape, generator=generator, dtype=torch.float64) / math.sqrt(fan_in)).to(dtype)
