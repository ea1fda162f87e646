"""Decoding with a KV cache, token by token: what MHA, GQA, MQA and MLA keep, to the byte, and that nothing is lost.

The hidden states of the tokens are drawn, as one layer of a model would be given them; the layer's attention and its
cache are real (explainers/kv_cache/attention.py, explainers/models/cache.py).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from explainers.contract.experiment import experiment, watch
from explainers.contract.messages import Message
from explainers.contract.result import Check, Checked
from explainers.kv_cache.attention import GroupedQueryAttention, MultiHeadLatentAttention
from explainers.kv_cache.decode_params import BREAKS, KINDS, DecodeParams, Kind, cache_formula, groups_of
from explainers.models.cache import Cache

DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}

# Outputs are about 1 in size and pass through some ten roundings, each of half a unit in the last place: 1e-16 in
# float64, 6e-8 in float32, 4e-3 in bfloat16. Sums over up to a thousand numbers add to that, most in float32.
TOLERANCE = {"float64": 1e-12, "float32": 2e-5, "bfloat16": 0.1}


# --------------------------------------------------------------------------------------------- the algorithm


@dataclass(frozen=True, eq=False)
class DecodeStep:
    """One moment of decoding.

    phase: once "prefill" (the prompt is cached and attended); then for each token "project" (its queries and what
        will be cached are known), "append" (the cache has grown), "attend" (weights and output are known), and for
        MLA also "absorb" (the same from the latents only).
    start, stop: the tokens of this step. cache_bytes: what the cache holds now.
    parts: the cache by name, each (..., tokens, width).
    weights: (h, tokens held) of the newest token, output: (stop - start, m); None: not known at this moment.
    """

    phase: str
    start: int
    stop: int
    cache_bytes: int
    parts: Mapping[str, Tensor]
    weights: Tensor | None = None
    output: Tensor | None = None


def decode_grouped(
    attention: GroupedQueryAttention, hidden: Tensor, prefill: int
) -> Generator[DecodeStep, None, Tensor]:
    """MHA, GQA or MQA over hidden states (T, m), watched. Returns the output (T, m).

    The first `prefill` tokens come together, as a prompt does, the others one by one.
    """
    # Prefill: all tokens of the prompt at once, each seeing those up to itself.
    q, k, v = attention.project(hidden[:prefill], start=0)
    cache = Cache()
    cache.append(K=k, V=v)
    p, u = attention.attend(q, **cache.parts)
    outputs = [u]
    yield _moment("prefill", 0, prefill, cache, p, u)

    for t in range(prefill, len(hidden)):
        # q = RoPE(W_Q x),  k = RoPE(W_K x),  v = W_V x, of the new token only
        q, k, v = attention.project(hidden[t : t + 1], start=t)
        yield _moment("project", t, t + 1, cache)

        # K = [K; k],  V = [V; v]
        cache.append(K=k, V=v)
        yield _moment("append", t, t + 1, cache)

        # u = W_O softmax(q K^T / sqrt(d)) V
        p, u = attention.attend(q, **cache.parts)
        outputs.append(u)
        yield _moment("attend", t, t + 1, cache, p, u)
    return torch.cat(outputs)


def decode_latent(
    attention: MultiHeadLatentAttention, hidden: Tensor, prefill: int, break_it: str = "none"
) -> Generator[DecodeStep, None, tuple[Tensor, Tensor]]:
    """MLA over hidden states (T, m), watched. Returns the outputs (T, m) of the expanded and of the absorbed form.

    The first `prefill` tokens come together, as a prompt does, the others one by one. break_it removes one part
    (see BREAKS).
    """
    # W_QC = W_UK^T W_Q,  W_OC = W_O W_UV, once and for all
    absorbed = attention.absorb()

    # Prefill: all tokens of the prompt at once, each seeing those up to itself.
    x = hidden[:prefill]
    q_C, q_R = attention.queries(x, start=0)
    cache = Cache()
    cache.append(**latent_entry(attention, x, 0, break_it))
    c, k_R = latents_held(attention, cache)
    p, u = attention.attend(q_C, q_R, c, k_R)
    outputs, absorbed_outputs = [u], [absorbed.attend(x, q_R, c, k_R)[1]]
    yield _moment("prefill", 0, prefill, cache, p, u)

    for t in range(prefill, len(hidden)):
        # q_C = W_Q x,  q_R = RoPE(W_QR x);  c = RMSNorm(W_DKV x),  k_R = RoPE(W_KR x)
        x = hidden[t : t + 1]
        q_C, q_R = attention.queries(x, start=t)
        entry = latent_entry(attention, x, t, break_it)
        yield _moment("project", t, t + 1, cache)

        # one latent and one RoPE key for all heads
        cache.append(**entry)
        c, k_R = latents_held(attention, cache)
        yield _moment("append", t, t + 1, cache)

        # expanded: keys W_UK c and values W_UV c are made again from every latent held
        p, u = attention.attend(q_C, q_R, c, k_R)
        outputs.append(u)
        yield _moment("attend", t, t + 1, cache, p, u)

        # absorbed: u = W_OC softmax(((W_QC x) c^T + q_R k_R^T) / sqrt(d + e)) c
        p, u = absorbed.attend(x, q_R, c, k_R)
        absorbed_outputs.append(u)
        yield _moment("absorb", t, t + 1, cache, p, u)
    return torch.cat(outputs), torch.cat(absorbed_outputs)


def latent_entry(
    attention: MultiHeadLatentAttention, x: Tensor, start: int, break_it: str = "none"
) -> dict[str, Tensor]:
    """What MLA caches of tokens x (n, m): the latent after its RMSNorm, c (n, c), and the RoPE key, k_R (n, e)."""
    c = attention.latent(x)
    if break_it != "cache_before_norm":
        c = attention.normed(c)
    return {"c": c} if break_it == "no_rope_dims" else {"c": c, "k_R": attention.rope_key(x, start)}


def latents_held(attention: MultiHeadLatentAttention, cache: Cache) -> tuple[Tensor, Tensor]:
    """Latents (T, c) and RoPE keys (T, e) of the cache; zeros where it holds no RoPE keys."""
    c = cache.parts["c"]
    return c, cache.parts.get("k_R", c.new_zeros(len(c), len(attention.W_KR)))


def _moment(
    phase: str, start: int, stop: int, cache: Cache, p: Tensor | None = None, u: Tensor | None = None
) -> DecodeStep:
    newest = None if p is None else p[:, -1]
    return DecodeStep(phase, start, stop, cache.nbytes, cache.parts, newest, u)


# -------------------------------------------------------------------------------------------- the experiment


@dataclass(frozen=True, eq=False)
class DecodeResult(Checked):
    """Decoding with a cache compared with computing everything again, and the cache with its formula.

    Bytes are those of one layer and one sequence. error_cached, error_absorbed: (tokens,), the largest difference in
    each token's output; without_cache: (tokens, m).
    """

    cache_bytes_measured: int
    cache_bytes_formula: int
    bytes_per_token: int
    formula: str
    all_cache_bytes: dict[str, int]  # really held by each kind of attention at these sizes
    max_abs_error_cached: float
    max_abs_error_absorbed: float | None  # None but for MLA
    tolerance: float
    error_cached: Tensor
    error_absorbed: Tensor | None
    checks: tuple[Check, ...]
    params: DecodeParams = field(metadata={"shell": False})
    steps: list[tuple[int, DecodeStep]] = field(metadata={"shell": False})  # (source line, step)
    bytes_held: dict[str, dict[int, int]] = field(metadata={"shell": False})  # kind -> tokens held -> bytes


@dataclass(frozen=True, eq=False)
class Run:
    """One kind of attention decoded to the end. absorbed: None but for MLA; outputs: (tokens, m)."""

    steps: list[tuple[int, DecodeStep]]
    output: Tensor
    absorbed: Tensor | None
    without_cache: Tensor

    @property
    def bytes_held(self) -> dict[int, int]:
        """Tokens held -> bytes, after each append."""
        return {step.stop: step.cache_bytes for _, step in self.steps if step.phase in ("prefill", "append")}


@experiment("kv_cache.decode", breaks=BREAKS)
def decode(params: DecodeParams) -> DecodeResult:
    """Decoding with a KV cache, token by token: MHA, GQA, MQA or MLA, to the byte and against recomputation."""
    runs = {kind: run(params, kind) for kind in KINDS}
    chosen = runs[params.kind]
    bytes_held = {kind: decoded.bytes_held for kind, decoded in runs.items()}
    measured = bytes_held[params.kind][params.length]
    by_formula, formula = cache_formula(params)
    error_cached = _largest_difference(chosen.output, chosen.without_cache)
    error_absorbed = None if chosen.absorbed is None else _largest_difference(chosen.absorbed, chosen.output)
    return DecodeResult(
        cache_bytes_measured=measured,
        cache_bytes_formula=by_formula,
        bytes_per_token=by_formula // params.length,
        formula=formula,
        all_cache_bytes={kind: held[params.length] for kind, held in bytes_held.items()},
        max_abs_error_cached=error_cached.max().item(),
        max_abs_error_absorbed=None if error_absorbed is None else error_absorbed.max().item(),
        tolerance=TOLERANCE[params.dtype],
        error_cached=error_cached,
        error_absorbed=error_absorbed,
        checks=_checks(params, measured, by_formula, error_cached, error_absorbed),
        params=params,
        steps=chosen.steps,
        bytes_held=bytes_held,
    )


def run(params: DecodeParams, kind: Kind) -> Run:
    """One kind of attention at these sizes, with the same hidden states for every kind; only the chosen one breaks."""
    hidden, generator = draw_hidden(params)
    dtype, break_it = DTYPES[params.dtype], params.break_it if kind == params.kind else "none"
    sizes = {"heads": params.heads, "head_dim": params.head_dim, "hidden_size": params.hidden_size}
    if kind == "mla":
        attention = MultiHeadLatentAttention.drawn(
            generator,
            dtype,
            **sizes,
            latent_dim=params.latent_dim,
            rope_dim=params.rope_dim,
            rotate_latent=break_it == "rope_on_latent",
        )
        steps, (output, absorbed) = watch(decode_latent(attention, hidden, params.prefill, break_it))
    else:
        attention = GroupedQueryAttention.drawn(generator, dtype, **sizes, groups=groups_of(params, kind))
        steps, output = watch(decode_grouped(attention, hidden, params.prefill))
        absorbed = None
    return Run(steps, output, absorbed, attention.without_cache(hidden))


def draw_hidden(params: DecodeParams) -> tuple[Tensor, torch.Generator]:
    """Hidden states (tokens, m) of standard deviation 1, and the generator that goes on to draw the weights."""
    generator = torch.Generator().manual_seed(params.seed)
    hidden = torch.randn(params.length, params.hidden_size, generator=generator, dtype=torch.float64)
    return hidden.to(DTYPES[params.dtype]), generator


def _largest_difference(ours: Tensor, right: Tensor) -> Tensor:
    """For each token, the largest difference in its output."""
    return (ours.double() - right.double()).abs().amax(1)


def _checks(
    params: DecodeParams, measured: int, by_formula: int, cached: Tensor, absorbed: Tensor | None
) -> tuple[Check, ...]:
    tolerance = TOLERANCE[params.dtype]
    checks = (
        Check(
            "the cache holds the bytes of its formula", abs(measured - by_formula), 0, "sizes of the settings"
        ),
        Check(
            "decoding with the cache equals computing again",
            cached.max().item(),
            tolerance,
            "PyTorch's attention over the whole sequence, without a cache",
        ),
    )
    if absorbed is None:
        return checks
    reference = Message("the expanded form, with keys and values of every head")
    return (*checks, Check("MLA absorbed equals expanded", absorbed.max().item(), tolerance, reference))
