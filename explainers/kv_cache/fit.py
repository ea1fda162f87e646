"""Whether a model, its cache and its batch fit on a group of GPUs, and what would.

All GPUs form one tensor-parallel group: each holds an equal share of the weights and the KV heads of its rank, for
every sequence of the batch. What one GPU needs, all of them need, so everything is decided on one.

    weights a GPU  = ceil(weight bytes / GPUs)
    cache a GPU    = batch x sum over layer kinds (layers x reserved tokens x bytes of a token on one rank)
    usable         = floor(memory of the card x memory share)

Every count is an exact whole number of bytes. Activations, CUDA graphs and the driver's own memory come out of the
share that is not usable, as in vLLM's `gpu_memory_utilization`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction

from explainers.contract.experiment import experiment
from explainers.contract.messages import Message, joined
from explainers.contract.params import Adjustment, choice, number
from explainers.contract.result import Check, Checked
from explainers.hardware.gpus import GPUS, LABELS, Gpu, GpuName
from explainers.kv_cache.config import read_model
from explainers.kv_cache.layers import ELEMENT_TYPES, ElementName, ElementType, Model, Parameters
from explainers.kv_cache.size import (
    BREAKS,
    ELEMENT_LABELS,
    ELEMENTS,
    SizeParams,
    chosen_model,
    size_of,
)
from explainers.kv_cache.size_formula import both_units

LONGEST_CONTEXT = 10_000_000  # tokens; no longer context is looked for
GPU_COUNTS = (1, 2, 4, 8, 16, 32, 64)


# ------------------------------------------------------------------------------------------ what one GPU needs


@dataclass(frozen=True)
class Demand:
    """What a model asks of each of `gpus` GPUs, whatever the batch and the context."""

    model: Model
    weight_dtype: ElementType
    cache_dtype: ElementType
    gpus: int
    block_tokens: int

    @property
    def weight_bytes(self) -> int:
        """Of all weights, once."""
        return self.weight_dtype.bytes_of(self.model.known_parameters.total)

    @property
    def rank_weights(self) -> int:
        """Bytes of the weights on one GPU."""
        return -(-self.weight_bytes // self.gpus)

    def rank_cache(self, seq_len: int, batch: int) -> int:
        """Bytes that the cache reserves on one GPU."""
        return self.model.rank_bytes(self.cache_dtype, seq_len, batch, self.gpus, self.block_tokens)

    def rank_cache_filled(self, seq_len: int, batch: int) -> int:
        """The part of them that holds tokens; the rest of the last block waits for the next ones."""
        return self.model.rank_bytes(self.cache_dtype, seq_len, batch, self.gpus, 1)

    def rank_bytes(self, seq_len: int, batch: int) -> int:
        """Bytes of weights and cache on one GPU."""
        return self.rank_weights + self.rank_cache(seq_len, batch)

    def largest_batch(self, seq_len: int, usable: int) -> int:
        """How many sequences of `seq_len` tokens fit beside the weights; every one takes the same."""
        return max(0, usable - self.rank_weights) // self.rank_cache(seq_len, 1)

    def longest_context(self, batch: int, usable: int) -> int:
        """The context up to which `batch` sequences can grow; LONGEST_CONTEXT where nothing stops them before.

        Memory is taken when a token opens a block, in all layers at once, so only the first tokens of blocks are
        asked. From block to block their need never falls: a full layer takes one block more, a sliding one too until
        its window is full.
        """
        blocks = range(-(-LONGEST_CONTEXT // self.block_tokens))
        fitting = bisect_right(
            blocks, usable, key=lambda block: self.rank_bytes(block * self.block_tokens + 1, batch)
        )
        return min(fitting * self.block_tokens, LONGEST_CONTEXT)


def usable_bytes(gpu: Gpu, memory_share: float) -> int:
    """floor(memory x share), with the share taken as the decimal that was written: 0.9 is nine tenths."""
    return int(gpu.memory_bytes * Fraction(str(memory_share)))


# ------------------------------------------------------------------------------------------------ the experiment


class GpuParams(SizeParams):
    """A model, its cache and its weights on a group of GPUs, each of which is one tensor-parallel rank."""

    seq_len: int = number(
        32_768,
        "Context",
        "Tokens that each sequence has in the cache",
        least=1,
        most=LONGEST_CONTEXT,
        options=tuple(2**power for power in range(10, 21)),
        unit="tokens",
    )
    batch: int = number(
        8,
        "Batch",
        "Sequences at once",
        least=1,
        most=65_536,
        options=tuple(2**power for power in range(10)),
        unit="sequences",
    )
    gpu: GpuName = choice("h100-80gb", "GPU", "The card, by its data sheet", LABELS)
    tensor_parallel: int = number(
        4,
        "GPUs",
        "How many share the model: one tensor-parallel group, each a rank",
        least=1,
        most=1024,
        options=GPU_COUNTS,
    )
    weight_dtype: ElementName = choice(
        "bf16",
        "Weight type",
        Message("How the parameters are stored: {elements}", elements=ELEMENTS),
        ELEMENT_LABELS,
    )
    weights_gb: float = number(
        0.0,
        "Weights",
        "Size of all weights together, for a model whose parameters are not known; 0 counts the parameters",
        least=0,
        most=1_000_000,
        comfort=(0, 2000),
        step=0.1,
        unit="GB",
    )

    def adjustments(self) -> Iterator[Adjustment]:
        yield from super().adjustments()
        if self.config and not self.weights_gb and (unknown := read_model(self.config).parameters_unknown):
            sentence = Message(
                "config = a model whose parameters are not known ({reason}); "
                "allowed: with weights_gb, the size of its weights.",
                reason=unknown,
            )
            yield Adjustment("config", "", sentence)


def weighed_model(params: GpuParams) -> Model:
    """The chosen model; with weights_gb, its weights as many numbers as fill that size."""
    model = chosen_model(params)
    if not params.weights_gb:
        return model
    dtype = ELEMENT_TYPES[params.weight_dtype]
    numbers = round(params.weights_gb * 1e9 * dtype.block / dtype.block_bytes)
    return replace(model, parameters=Parameters(numbers))


class FitParams(GpuParams):
    memory_share: float = number(
        0.9,
        "Memory share",
        "Part of a GPU's memory that weights and cache may use; the rest is for activations and the driver",
        least=0.1,
        most=1.0,
        step=0.01,
    )


@dataclass(frozen=True)
class FitResult(Checked):
    """Bytes, as whole numbers. A GPU is one of `gpus`, all alike.

    weight_bytes: of the weights once. kv_bytes: that the cache reserves on all GPUs together, copies included.
    gpu_memory: of the data sheet; gpu_usable: the share of it that may be used. gpu_weights, gpu_kv: on one GPU;
    gpu_kv_filled: the part of its cache that holds tokens. gpu_free, gpu_missing: what is left of the usable part, or
    lacks. missing_bytes: what lacks on all GPUs together, 0 when it fits.
    largest_batch: sequences at this context, 0 where not even one fits. longest_context: tokens up to which this batch
    can grow, at most 10,000,000, 0 where it cannot start. at_least_gpus: the fewest of 1, 2, 4, ... 64 GPUs (or the
    number asked for) that share the query heads and hold the setting; None where none does.
    """

    model: str
    title: str
    attention: str
    gpu: Gpu
    gpus: int
    weight_bytes: int
    kv_bytes: int
    gpu_memory: int
    gpu_usable: int
    gpu_weights: int
    gpu_kv: int
    gpu_kv_filled: int
    gpu_free: int
    gpu_missing: int
    fits: bool
    missing_bytes: int
    largest_batch: int
    longest_context: int
    at_least_gpus: int | None
    formula: str
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    checks: tuple[Check, ...]
    demand: Demand = field(metadata={"shell": False})
    setting: FitParams = field(metadata={"shell": False})


@experiment("kv_cache.fit", breaks=BREAKS)
def fit(params: FitParams) -> FitResult:
    """Weights and KV cache on a group of GPUs: whether they fit, what is missing, the largest batch and context."""
    demand = demand_of(params)
    gpu = GPUS[params.gpu]
    usable = usable_bytes(gpu, params.memory_share)
    cache = demand.rank_cache(params.seq_len, params.batch)
    size = size_of(demand.model, params)
    missing = max(0, demand.rank_weights + cache - usable)
    largest, longest = (
        demand.largest_batch(params.seq_len, usable),
        demand.longest_context(params.batch, usable),
    )
    return FitResult(
        model=demand.model.name,
        title=demand.model.title,
        attention=demand.model.attention,
        gpu=gpu,
        gpus=params.tensor_parallel,
        weight_bytes=demand.weight_bytes,
        kv_bytes=params.tensor_parallel * cache,
        gpu_memory=gpu.memory_bytes,
        gpu_usable=usable,
        gpu_weights=demand.rank_weights,
        gpu_kv=cache,
        gpu_kv_filled=demand.rank_cache_filled(params.seq_len, params.batch),
        gpu_free=max(0, usable - demand.rank_weights - cache),
        gpu_missing=missing,
        fits=missing == 0,
        missing_bytes=params.tensor_parallel * missing,
        largest_batch=largest,
        longest_context=longest,
        at_least_gpus=_at_least_gpus(demand, params, usable),
        formula=_formula(demand, params, usable),
        warnings=size.warnings,
        notes=(*size.notes, *_notes(params, demand.model, gpu, longest)),
        checks=(
            *size.checks,
            _largest_batch_check(demand, params, usable, largest),
            _longest_context_check(demand, params, usable, longest),
        ),
        demand=demand,
        setting=params,
    )


def demand_of(params: FitParams) -> Demand:
    """What the model of these settings asks of each GPU."""
    return Demand(
        weighed_model(params),
        ELEMENT_TYPES[params.weight_dtype],
        ELEMENT_TYPES[params.dtype],
        params.tensor_parallel,
        params.block_tokens,
    )


def _at_least_gpus(demand: Demand, params: FitParams, usable: int) -> int | None:
    """The fewest of the offered counts, or of the one that was asked for, whose ranks can share the query heads."""
    heads = demand.model.kinds[0].query_heads
    counts = sorted(count for count in {*GPU_COUNTS, params.tensor_parallel} if heads % count == 0)
    for gpus in counts:
        if replace(demand, gpus=gpus).rank_bytes(params.seq_len, params.batch) <= usable:
            return gpus
    return None


def _formula(demand: Demand, params: FitParams, usable: int) -> Message:
    """The sum on one GPU, with all numbers in it."""
    products: list[str] = [
        Message(
            "{layers} layers x {tokens:,} tokens x {token_bytes:,} B",
            layers=kind.layers,
            tokens=kind.reserved(params.seq_len, params.block_tokens),
            token_bytes=kind.rank_token_bytes(demand.cache_dtype, params.tensor_parallel),
        )
        for kind in demand.model.kinds
    ]
    needed = demand.rank_bytes(params.seq_len, params.batch)
    return Message(
        "weights {weight_bytes:,} B / {gpus} + cache {batch:,} x ({layers}) "
        "= {weights:,} B + {cache:,} B = {needed:,} B {sign} {usable:,} B = {share:g} x {memory:,} B",
        weight_bytes=demand.weight_bytes,
        gpus=params.tensor_parallel,
        batch=params.batch,
        layers=joined(products, " + "),
        weights=demand.rank_weights,
        cache=needed - demand.rank_weights,
        needed=needed,
        sign="<=" if needed <= usable else ">",
        usable=usable,
        share=params.memory_share,
        memory=GPUS[params.gpu].memory_bytes,
    )


def _notes(params: FitParams, model: Model, gpu: Gpu, longest: int) -> Iterator[str]:
    """What was assumed beyond the size of the cache, in sentences."""
    if params.memory_share == 1:
        yield Message("All of the memory is taken as usable; an engine needs some of it for activations.")
    if params.weight_dtype in ("q8_0", "q4_0"):
        yield Message(
            "All weights are counted as {dtype}; such files keep some matrices in wider types.",
            dtype=params.weight_dtype,
        )
    if params.weight_dtype in ("fp8", "int8"):
        vocabulary = model.known_parameters.embedding * 2
        yield Message(
            "All weights are counted in 8 bits. Published checkpoints keep some in 16: at least the embedding and the "
            "output matrix, {more} more; Llama 3.1 405B in fp8 also its attention and two layers, with which vLLM "
            "logs 62.0 GB a GPU on eight, where 50.7 GB are counted here.",
            more=both_units(vocabulary),
        )
    if longest == LONGEST_CONTEXT:
        yield Message(
            "Contexts are looked at up to {tokens:,} tokens; this batch fits there still.",
            tokens=LONGEST_CONTEXT,
        )
    memory = both_units(gpu.memory_bytes)
    if gpu.reported_mib:
        yield Message(
            "{gpu}: {memory} by its data sheet; its driver shows {reported:,} MiB, so what fits here fits there.",
            gpu=gpu.name,
            memory=memory,
            reported=gpu.reported_mib,
        )
    else:
        yield Message("{gpu}: {memory} by its data sheet.", gpu=gpu.name, memory=memory)


# --------------------------------------------------------------------------------------------------- the checks


def added_bytes(demand: Demand, seq_len: int, batch: int) -> int:
    """What the fullest GPU needs, by plain addition over layers and vectors: the reference of the checks."""
    whole, rest = divmod(demand.weight_bytes, demand.gpus)
    total = whole + (rest > 0)
    block, dtype = demand.block_tokens, demand.cache_dtype
    for kind in demand.model.kinds:
        first = 0 if kind.window is None else max(0, seq_len - kind.window)
        tokens = block * len(range(first // block, (seq_len - 1) // block + 1))
        for _ in range(kind.layers):
            for vector in kind.vectors:
                heads = len(
                    range(0, vector.copies, demand.gpus)
                )  # dealt out one by one, the first GPU has the most
                total += (
                    batch * tokens * heads * len(range(0, vector.length, dtype.block)) * dtype.block_bytes
                )
    return total


def _largest_batch_check(demand: Demand, params: FitParams, usable: int, largest: int) -> Check:
    over = 0 if largest == 0 else added_bytes(demand, params.seq_len, largest) - usable
    under = usable + 1 - added_bytes(demand, params.seq_len, largest + 1)
    what = Message(
        "{largest:,} sequences of {tokens:,} tokens fit, one more does not",
        largest=largest,
        tokens=params.seq_len,
    )
    return Check(what, max(0, over, under), 0, "bytes added up layer by layer")


def _longest_context_check(demand: Demand, params: FitParams, usable: int, longest: int) -> Check:
    over = 0 if longest == 0 else added_bytes(demand, longest, params.batch) - usable
    if longest == 0:
        what = Message("{batch:,} sequences of even one token do not fit", batch=params.batch)
        under = usable + 1 - added_bytes(demand, 1, params.batch)
    elif longest == LONGEST_CONTEXT:
        what = Message("{batch:,} sequences of {longest:,} tokens fit", batch=params.batch, longest=longest)
        under = 0
    else:
        what = Message(
            "{batch:,} sequences of {longest:,} tokens fit, of one token more they do not",
            batch=params.batch,
            longest=longest,
        )
        under = usable + 1 - added_bytes(demand, longest + 1, params.batch)
    return Check(what, max(0, over, under), 0, "bytes added up layer by layer")
