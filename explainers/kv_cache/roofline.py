"""How fast decoding can be at most: the bytes that one step reads, and its FLOPs, against what GPUs can move and do.

One step writes one token for every sequence of the batch. It reads the weights once and each sequence's whole cache:

    step >= max(bytes / bandwidth, FLOPs / peak)        tokens a second <= batch / step

    bytes  = weights that are read + windowed cache of all sequences
    FLOPs  = batch x (2 x parameters that one token meets + attention)

    attention, a token of the cache, a layer:    MHA, GQA, MQA    2 x query heads x (key + value numbers)
                                                 MLA, absorbed    2 x query heads x (latent + RoPE + latent numbers)

This is a ceiling, not a prediction: every byte is read once at full bandwidth, all GPUs share the work evenly, and
communication, activations, kernel launches and sampling take no time. Sources: Williams et al. (2009), *Roofline*;
DeepSeek-V2 (2024), Table 1 (what each attention caches; for MLA d_c = 4 d_h and d_R = d_h / 2).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal

from explainers.contract.experiment import experiment
from explainers.contract.messages import Message
from explainers.contract.result import Check, Checked
from explainers.hardware.gpus import GPUS, Gpu
from explainers.kv_cache.fit import GpuParams, weighed_model
from explainers.kv_cache.layers import ELEMENT_TYPES, ElementType, LayerKind, Model, Parameters, Vector
from explainers.kv_cache.size import BREAKS, size_of

# ------------------------------------------------------------------------------------------- the weights of a step


def expected_experts(parameters: Parameters, batch: int) -> float:
    """How many different routed experts of a layer a batch is expected to meet, if each is equally likely.

    A token misses an expert with probability 1 - k/E, all of the batch with its power: E (1 - (1 - k/E)^batch).
    """
    if parameters.experts == 0:
        return 0.0
    missed = (1 - parameters.experts_per_token / parameters.experts) ** batch
    return parameters.experts * (1 - missed)


def parameters_read(model: Model, batch: int) -> int:
    """Parameters that one step reads: one row of the embedding a sequence, the experts met, and all others."""
    parameters = model.known_parameters
    all_experts = parameters.experts * parameters.expert * parameters.expert_layers
    experts = expected_experts(parameters, batch) * parameters.expert * parameters.expert_layers
    rows = min(parameters.embedding, batch * model.hidden_size)
    return parameters.total - parameters.embedding - all_experts + rows + round(experts)


def weight_flops(model: Model, batch: int) -> int:
    """A multiplication and an addition for each parameter that a token meets; looking up its embedding takes none."""
    return 2 * batch * (model.known_parameters.active - model.known_parameters.embedding)


# -------------------------------------------------------------------------------------------------- attention only


def products(kind: LayerKind) -> int:
    """Numbers that one query head multiplies for one token of the cache: for its score, and for the output."""
    lengths = {vector.name: vector.length for vector in kind.vectors}
    if "latent" in lengths:  # absorbed: score with latent and RoPE key, output from the latent
        return 2 * lengths["latent"] + lengths["RoPE key"]
    return lengths["key"] + lengths["value"]


def attention_flops(model: Model, seq_len: int, batch: int) -> int:
    """Scores and outputs of one new token a sequence; the softmax between them is left out."""
    return batch * sum(
        kind.layers * kind.kept(seq_len) * kind.query_heads * 2 * products(kind) for kind in model.kinds
    )


# ------------------------------------------------------------------------------------------------------ the ladder


def ladder(model: Model) -> tuple[list[tuple[str, Model]], int]:
    """The model with each attention, from MHA over GQA and MQA to MLA, and the index of its present attention.

    A KV head serves 1, 2, 4, ... query heads, as far as they divide, at last all of them.
    """
    own = model.kinds[0]
    heads = own.query_heads
    shared = {1, heads} | {2**power for power in range(1, heads.bit_length()) if heads % 2**power == 0}
    if own.attention != "MLA":
        shared.add(heads // own.vectors[0].copies)
    rungs = [(_rung_name(heads, by), _with_attention(model, by)) for by in sorted(shared)]
    rungs.append(("MLA", _with_attention(model, None)))
    names = [name for name, _ in rungs]
    at = (
        len(rungs) - 1
        if own.attention == "MLA"
        else names.index(_rung_name(heads, heads // own.vectors[0].copies))
    )
    rungs[at] = (rungs[at][0], model)
    return rungs, at


def _rung_name(heads: int, shared: int) -> str:
    if shared == 1:
        return "MHA"
    return "MQA" if shared == heads else f"GQA-{heads // shared}"


def _with_attention(model: Model, shared: int | None) -> Model:
    """The model with KV heads that each serve `shared` query heads; None: with MLA."""
    return replace(model, kinds=tuple(_kind_with(kind, shared) for kind in model.kinds))


def _kind_with(kind: LayerKind, shared: int | None) -> LayerKind:
    key, value = _head_dims(kind)
    if shared is None:
        latent = (Vector("latent", 1, 4 * key), Vector("RoPE key", 1, key // 2))
        return replace(kind, attention="MLA", vectors=latent)
    copies = -(-kind.query_heads // shared)
    attention = "MHA" if shared == 1 else "MQA" if copies == 1 else "GQA"
    return replace(
        kind, attention=attention, vectors=(Vector("key", copies, key), Vector("value", copies, value))
    )


def _head_dims(kind: LayerKind) -> tuple[int, int]:
    """Numbers of a head's key and value. MLA has no head dimension: d_h = d_c / 4, as in DeepSeek-V2, Table 1."""
    first = kind.vectors[0].length
    if kind.attention == "MLA":
        head = max(1, first // 4)
        return head, head
    return first, kind.vectors[1].length


# -------------------------------------------------------------------------------------------------- the experiment


class RooflineParams(GpuParams):
    """The settings of the step; the block size has no part in what is read."""


@dataclass(frozen=True)
class Variant:
    """One decode step of the model with one attention, on all GPUs together. Bytes, FLOP, seconds.

    kv_heads: None for MLA. cache_bytes_per_token: of one token in all layers. cache_bytes: of all sequences, once.
    copied_bytes: what tensor-parallel ranks read besides, because each holds whole heads, or the latent. intensity:
    FLOP a byte of attention only, where every byte of the cache is read once; gpu_intensity: the same on each of
    the GPUs, which read what they share again. seconds, tokens_per_second and the
    rate of one user are the ceiling; rate_without_copies is that of GPUs that each serve some of the sequences, with
    all their heads. limited_by: what sets the ceiling.
    """

    name: str
    own: bool
    kv_heads: int | None
    cache_bytes_per_token: int
    weight_bytes: int
    cache_bytes: int
    copied_bytes: int
    bytes_read: int
    weight_flops: int
    attention_flops: int
    flops: int
    intensity: float
    gpu_intensity: float
    seconds: float
    tokens_per_second: float
    tokens_per_second_per_user: float
    rate_without_copies: float
    limited_by: Literal["memory", "compute"]


@dataclass(frozen=True)
class RooflineResult(Checked):
    """The ladder of attentions under one GPU's roof.

    runs: whether weights and cache fit on the GPUs. own: the model's own attention, which is also among the
    `variants`. peak: FLOP/s of one GPU in the type of the weights; ridge: FLOP a byte from which it, not the memory,
    is the limit. experts_read: different routed experts that a layer is expected to read, 0 in a dense model.
    """

    model: str
    title: str
    attention: str
    gpu: Gpu
    gpus: int
    peak: float
    ridge: float
    experts_read: float
    runs: bool
    own: Variant
    variants: tuple[Variant, ...]
    formula: str
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    checks: tuple[Check, ...]
    setting: RooflineParams = field(metadata={"shell": False})


@experiment("kv_cache.roofline", breaks=BREAKS)
def roofline(params: RooflineParams) -> RooflineResult:
    """The ceiling on decoded tokens a second, for a model's own attention and for the same model from MHA to MLA."""
    model, gpu = weighed_model(params), GPUS[params.gpu]
    peak = _peak(gpu, params.weight_dtype)
    rungs, at = ladder(model)
    variants = tuple(_variant(name, rung, number == at, params) for number, (name, rung) in enumerate(rungs))
    own = variants[at]
    size = size_of(model, params)
    return RooflineResult(
        model=model.name,
        title=model.title,
        attention=model.attention,
        gpu=gpu,
        gpus=params.tensor_parallel,
        peak=peak,
        ridge=peak / gpu.bandwidth,
        experts_read=expected_experts(model.known_parameters, params.batch),
        runs=_runs(model, own, params, gpu),
        own=own,
        variants=variants,
        formula=_formula(own, params, gpu, peak),
        warnings=size.warnings,
        notes=(*size.notes, *_notes(model, own, params, gpu)),
        checks=(
            *size.checks,
            _intensity_check(rungs, variants, ELEMENT_TYPES[params.dtype]),
        ),
        setting=params,
    )


def own_step(params: RooflineParams) -> Variant:
    """One decode step with the model's own attention."""
    model = weighed_model(params)
    return _variant(model.attention, model, True, params)


def _peak(gpu: Gpu, weight_dtype: str) -> float:
    """FLOP/s of the matrix units: in fp8 if the weights are fp8 and the card can, else in bf16."""
    return gpu.fp8_flops if weight_dtype == "fp8" and gpu.fp8_flops else gpu.bf16_flops


def _variant(name: str, model: Model, own: bool, params: RooflineParams) -> Variant:
    gpu, gpus, batch = GPUS[params.gpu], params.tensor_parallel, params.batch
    dtype, bandwidth = ELEMENT_TYPES[params.dtype], gpus * gpu.bandwidth
    weights = ELEMENT_TYPES[params.weight_dtype].bytes_of(parameters_read(model, batch))
    cache = model.windowed_bytes(dtype, params.seq_len, batch)
    copied = model.reserved_bytes(dtype, params.seq_len, batch, gpus, block_tokens=1) - cache
    of_weights, of_attention = weight_flops(model, batch), attention_flops(model, params.seq_len, batch)
    reading, computing = (
        (weights + cache + copied) / bandwidth,
        (of_weights + of_attention) / (gpus * _peak(gpu, params.weight_dtype)),
    )
    seconds = max(reading, computing)
    first = model.kinds[0]
    return Variant(
        name=name,
        own=own,
        kv_heads=None if first.attention == "MLA" else first.vectors[0].copies,
        cache_bytes_per_token=model.bytes_per_token(dtype),
        weight_bytes=weights,
        cache_bytes=cache,
        copied_bytes=copied,
        bytes_read=weights + cache + copied,
        weight_flops=of_weights,
        attention_flops=of_attention,
        flops=of_weights + of_attention,
        intensity=of_attention / cache,
        gpu_intensity=of_attention / (cache + copied),
        seconds=seconds,
        tokens_per_second=batch / seconds,
        tokens_per_second_per_user=1 / seconds,
        rate_without_copies=batch / max((weights + cache) / bandwidth, computing),
        limited_by="memory" if reading >= computing else "compute",
    )


def _formula(own: Variant, params: RooflineParams, gpu: Gpu, peak: float) -> Message:
    """The ceiling with its numbers: bytes against bandwidth, or FLOPs against the peak."""
    numbers = {
        "attention": own.name,
        "batch": params.batch,
        "gpus": params.tensor_parallel,
        "rate": own.tokens_per_second,
    }
    if own.limited_by == "memory":
        return Message(
            "{attention}, this model's own: tokens/s <= {batch:,} x {gpus} x {bandwidth:g} TB/s "
            "/ ({weights:,} B of weights + {cache:,} B of cache) = {rate:,.1f} tokens/s",
            **numbers,
            bandwidth=gpu.bandwidth / 1e12,
            weights=own.weight_bytes,
            cache=own.cache_bytes + own.copied_bytes,
        )
    return Message(
        "{attention}, this model's own: tokens/s <= {batch:,} x {gpus} x {peak:g} TFLOP/s / {flops:,} FLOP "
        "= {rate:,.1f} tokens/s",
        **numbers,
        peak=peak / 1e12,
        flops=own.flops,
    )


# ----------------------------------------------------------------------------------------------------------- notes


def _runs(model: Model, own: Variant, params: RooflineParams, gpu: Gpu) -> bool:
    """Whether weights and cache fit into the memory of all GPUs."""
    weights = ELEMENT_TYPES[params.weight_dtype].bytes_of(model.known_parameters.total)
    return weights + own.cache_bytes + own.copied_bytes <= params.tensor_parallel * gpu.memory_bytes


def _notes(model: Model, own: Variant, params: RooflineParams, gpu: Gpu) -> Iterator[str]:
    """What was assumed, in sentences."""
    yield Message(
        "A ceiling, not a prediction: each byte is read once at full bandwidth, and nothing but reading and matrix "
        "products takes time."
    )
    yield Message(
        "Other attentions take this one's place in the cache and its products; the weights are held equal."
    )
    yield from _head_notes(model)
    if model.known_parameters.experts:
        yield Message(
            "{expected:,.1f} of {experts} routed experts are read in a layer: the number expected if each is equally "
            "likely. Uneven routing meets fewer and reads less.",
            expected=expected_experts(model.known_parameters, params.batch),
            experts=model.known_parameters.experts,
        )
    if own.copied_bytes:
        yield Message(
            "{copied:,.1f} GB of the cache are read again, since heads, or the latent, stand on several of the {ranks} "
            "tensor-parallel ranks. Where each GPU serves some of the sequences with all their heads, the ceiling is "
            "{rate:,.1f} tokens/s.",
            copied=own.copied_bytes / 1e9,
            ranks=params.tensor_parallel,
            rate=own.rate_without_copies,
        )
    if model.known_parameters.embedding:
        yield Message(
            "The token embedding is not among the weights read: a step looks up one row for each sequence."
        )
    if not _runs(model, own, params, gpu):
        yield Message(
            "Weights and cache do not fit on these GPUs, so the step could not run: see Fit on GPUs (kv_cache.fit)."
        )
    if params.weight_dtype != "fp8" or gpu.fp8_flops is None:
        yield Message(
            "The peak is that of bf16, to which other types are widened before they are multiplied."
        )


def _head_notes(model: Model) -> Iterator[str]:
    kind = model.kinds[0]
    key, _ = _head_dims(kind)
    if kind.attention == "MLA":
        yield Message(
            "MLA has no head_dim: the other attentions get d_h = d_c / 4 = {d_h} (DeepSeek-V2, Table 1).",
            d_h=key,
        )
    else:
        yield Message(
            "MLA gets d_c = 4 d_h = {d_c} and d_R = d_h / 2 = {d_R}, as in DeepSeek-V2, Table 1.",
            d_c=4 * key,
            d_R=key // 2,
        )


# ---------------------------------------------------------------------------------------------------------- checks


def _intensity_check(
    rungs: list[tuple[str, Model]], variants: tuple[Variant, ...], dtype: ElementType
) -> Check:
    """Attention's intensity from one head's dimensions only: it does not depend on layers, windows or tokens."""
    errors = [
        abs(variant.intensity - expected_intensity(rung.kinds[0], dtype))
        / expected_intensity(rung.kinds[0], dtype)
        for (_, rung), variant in zip(rungs, variants, strict=True)
    ]
    return Check(
        "attention's FLOP per byte are those of one layer's heads (MHA in bf16: 1, GQA: query heads per KV head)",
        float(max(errors)),
        1e-12,
        "2 x query heads x numbers multiplied / bytes of a token, for one layer",
    )


def expected_intensity(kind: LayerKind, dtype: ElementType) -> Fraction:
    """query heads x 2 (d_k + d_v) / (KV heads x bytes of both); MLA: heads x 2 (2 d_c + d_R) / bytes of both."""
    first, second = (vector.length for vector in kind.vectors)
    multiplied = 2 * first + second if kind.attention == "MLA" else first + second
    read = kind.vectors[0].copies * (dtype.bytes_of(first) + dtype.bytes_of(second))
    return Fraction(2 * kind.query_heads * multiplied, read)
