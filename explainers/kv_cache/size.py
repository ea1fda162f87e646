"""The size of a KV cache: three numbers with their formula, the config key behind each, and a real cache beside them.

logical    every token in every layer
windowed   layers with a sliding window keep min(length, window) tokens
reserved   what an engine sets aside: whole blocks of tokens, whole KV heads on every rank, MLA on every rank
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import field_validator

from explainers.contract.breaks import Break, break_field
from explainers.contract.experiment import experiment
from explainers.contract.messages import Message, plural
from explainers.contract.params import Params, choice, number, text
from explainers.contract.result import Check, Checked
from explainers.kv_cache.catalogue import BEYOND, CATALOGUE, LABELS, ModelName, beyond, find_model
from explainers.kv_cache.config import read_model
from explainers.kv_cache.config_text import LONGEST_CONFIG
from explainers.kv_cache.config_vectors import BreakSize
from explainers.kv_cache.layers import ELEMENT_TYPES, ElementName, ElementType, LayerKind, Model
from explainers.kv_cache.real_cache import references
from explainers.kv_cache.size_formula import both_units, formula

ELEMENTS = Message(
    "fp32 takes 4 B, bf16 and fp16 2 B, fp8 and int8 1 B; q8_0 34 B and q4_0 18 B for 32 numbers with a scale"
)
ELEMENT_LABELS: Mapping[str, str] = {name: name for name in ELEMENT_TYPES}

BREAKS = (
    Break(
        "head_dim_from_hidden",
        "head_dim from hidden_size",
        "head_dim is a separate key. hidden_size / num_attention_heads is another number here.",
        {"model": "gemma-3-27b", "config": ""},
    ),
    Break(
        "mla_as_mha",
        "MLA as MHA",
        "MLA keeps one latent and one RoPE key for all heads. A key and a value for each head are many times as much; "
        "some implementations do keep them.",
        {"model": "deepseek-v3", "config": ""},
    ),
    Break(
        "ignore_window",
        "ignore windows",
        "A layer with a sliding window forgets what is older than the window.",
        {"model": "gpt-oss-20b", "config": "", "seq_len": 131_072},
    ),
)

_POWERS = tuple(2**power for power in range(10, 21))


class CacheParams(Params):
    """The settings of a cache that do not depend on the model: length, batch, number type, ranks."""

    seq_len: int = number(
        131_072,
        "Context",
        "Tokens that each sequence has in the cache",
        least=1,
        most=10_000_000,
        options=_POWERS,
        unit="tokens",
    )
    batch: int = number(
        1,
        "Batch",
        "Sequences at once",
        least=1,
        most=65_536,
        options=tuple(2**power for power in range(9)),
        unit="sequences",
    )
    dtype: ElementName = choice(
        "bf16",
        "Cache type",
        Message("How the cache stores its numbers: {elements}", elements=ELEMENTS),
        ELEMENT_LABELS,
    )
    tensor_parallel: int = number(
        1,
        "Ranks",
        "Tensor-parallel GPUs that share the heads of every layer",
        least=1,
        most=1024,
        options=(1, 2, 4, 8, 16, 32, 64),
        unit="ranks",
    )
    block_tokens: int = number(
        16,
        "Block size",
        "Tokens in a block of the paged cache; it shows where a context does not fill the last one",
        least=1,
        most=65_536,
        options=(1, 8, 16, 32, 64, 128, 256),
        unit="tokens",
    )
    config: str = text(
        "",
        "A config.json",
        "The text of a Hugging Face config.json, counted instead of a model of the catalogue",
        longest=LONGEST_CONFIG,
        long_text=True,
    )
    break_it: BreakSize = break_field(BREAKS, "Count as common calculators do")

    @field_validator("config")
    @classmethod
    def _can_be_counted(cls, config: str) -> str:
        if not config.strip():
            return ""
        try:
            read_model(config)
        except ValueError as error:
            raise ValueError(
                Message("the text of a config.json; here {problem}", problem=error.args[0])
            ) from None
        return config


class SizeParams(CacheParams):
    model: ModelName = choice("llama-3.1-70b", "Model", "A model of the catalogue", LABELS)

    @field_validator("model", mode="before")
    @classmethod
    def _in_any_letter_case(cls, model: Any) -> Any:
        return model.lower() if isinstance(model, str) else model


@dataclass(frozen=True)
class KindSize:
    """Layers of one kind. bytes_per_token: in one of them. kept_tokens: of each sequence. window: None keeps all."""

    name: str
    attention: str
    layers: int
    window: int | None
    bytes_per_token: int
    kept_tokens: int
    windowed_bytes: int


@dataclass(frozen=True)
class SizeResult(Checked):
    """Bytes of the cache and how they come about; every count is exact.

    config_from: where the config was seen. attention: MHA, GQA, MQA or MLA, by layer kind where they differ.
    bytes_per_token: in all layers, without windows. reserved_bytes: on all ranks together; per_rank_bytes: on one.
    params: parameters of the model, tied matrices once; active_params: those that one token meets; None where they are
    not known. in_words: the sizes in GB and in GiB. formula: windowed_bytes with the numbers in it. keys: what a number
    is called -> the config key behind it. warnings: why the bytes may be wrong.
    """

    model: str
    title: str
    config_from: str
    attention: str
    bytes_per_token: int
    logical_bytes: int
    windowed_bytes: int
    reserved_bytes: int
    per_rank_bytes: int
    params: int | None
    active_params: int | None
    in_words: Mapping[str, str]
    formula: str
    layer_kinds: tuple[KindSize, ...]
    keys: Mapping[str, str]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    checks: tuple[Check, ...]
    setting: CacheParams = field(metadata={"shell": False})
    counted: Model = field(metadata={"shell": False})


@experiment("kv_cache.size", breaks=BREAKS)
def size(params: SizeParams) -> SizeResult:
    """Bytes of a model's KV cache: logical, with sliding windows, and as an engine reserves them."""
    return size_of(chosen_model(params), params)


def chosen_model(params: SizeParams) -> Model:
    """The model whose config was given, else the one of the catalogue."""
    if params.config:
        return read_model(params.config, params.break_it)
    return find_model(params.model, params.break_it)


def size_of(model: Model, params: CacheParams) -> SizeResult:
    """The cache of `model`, which was read with the same `break_it`, under the settings of `params`."""
    dtype, seq_len, batch = ELEMENT_TYPES[params.dtype], params.seq_len, params.batch
    ranks, block = params.tensor_parallel, params.block_tokens
    sizes = {
        "logical_bytes": model.logical_bytes(dtype, seq_len, batch),
        "windowed_bytes": model.windowed_bytes(dtype, seq_len, batch),
        "reserved_bytes": model.reserved_bytes(dtype, seq_len, batch, ranks, block),
        "per_rank_bytes": model.rank_bytes(dtype, seq_len, batch, ranks, block),
    }
    return SizeResult(
        model=model.name,
        title=model.title,
        config_from=_config_from(model),
        attention=model.attention,
        bytes_per_token=model.bytes_per_token(dtype),
        **sizes,
        params=model.parameters.total if model.parameters else None,
        active_params=model.parameters.active if model.parameters else None,
        in_words={name: both_units(nbytes) for name, nbytes in sizes.items()},
        formula=formula(model, dtype, seq_len, batch),
        layer_kinds=tuple(_kind_size(kind, dtype, params) for kind in model.kinds),
        keys=model.keys,
        warnings=(*model.warnings, *_warnings(model, params)),
        notes=(*model.notes, *_notes(model, params)),
        checks=(*_real_checks(model, params), *_published_checks(model)),
        setting=params,
        counted=model,
    )


def _config_from(model: Model) -> str:
    entry = CATALOGUE.get(model.name)
    if entry is None:
        return Message("as given")
    return Message("{repo}: {status}", repo=entry.repo, status=entry.config_status)


def _kind_size(kind: LayerKind, dtype: ElementType, params: CacheParams) -> KindSize:
    token, kept = kind.token_bytes(dtype), kind.kept(params.seq_len)
    return KindSize(
        name=kind.name,
        attention=kind.attention,
        layers=kind.layers,
        window=kind.window,
        bytes_per_token=token,
        kept_tokens=kept,
        windowed_bytes=params.batch * kind.layers * kept * token,
    )


# ---------------------------------------------------------------------------------------------------- notes


def _warnings(model: Model, params: CacheParams) -> Iterator[str]:
    """Settings with which no engine would keep this cache."""
    dtype = ELEMENT_TYPES[params.dtype]
    lengths = {vector.length for kind in model.kinds for vector in kind.vectors}
    for length in sorted(length for length in lengths if length % dtype.block):
        yield Message(
            "{dtype} needs heads of a multiple of {block} numbers; with {length} llama.cpp refuses it. The last block "
            "counts in full.",
            dtype=params.dtype,
            block=dtype.block,
            length=length,
        )


def _notes(model: Model, params: CacheParams) -> Iterator[str]:
    """What a reader should know of the settings."""
    if model.max_position is not None and params.seq_len > model.max_position:
        yield Message(
            "{tokens:,} tokens are past {limit}; they are counted as asked, the model was not made for them.",
            tokens=params.seq_len,
            limit=model.keys["max_position"],
        )
    if params.dtype in ("fp8", "int8"):
        yield Message("{dtype}: one scale for a whole tensor is not counted.", dtype=params.dtype)
    if model.parameters is None:
        yield Message("The parameters are not known: {reason}.", reason=model.parameters_unknown)
    if any(kind.window is not None and kind.window < params.seq_len for kind in model.kinds):
        yield Message(
            "Layers with a window reserve every block in which one of the tokens that they keep lies."
        )
    if params.tensor_parallel > 1:
        yield from _rank_notes(model.kinds[0], params.tensor_parallel)


def _rank_notes(kind: LayerKind, ranks: int) -> Iterator[str]:
    """How the heads of a layer lie on the ranks (vLLM: whole heads, each on as many ranks as must share it)."""
    kv_heads = kind.vectors[0].copies
    if kind.query_heads % ranks:
        yield Message(
            "{ranks} ranks do not share {heads} query heads evenly: an engine would refuse.",
            ranks=ranks,
            heads=kind.query_heads,
        )
    if kind.attention == "MLA":
        yield Message(
            "The latent and the RoPE key serve all heads, so each of the {ranks} ranks holds both.",
            ranks=ranks,
        )
    elif kv_heads < ranks:
        heads = plural("{count} KV head", "{count} KV heads", count=kv_heads)
        if ranks % kv_heads == 0:
            yield Message(
                "{ranks} ranks share {heads}: each holds one, so that KV heads are held more than once.",
                ranks=ranks,
                heads=heads,
            )
        else:
            yield Message(
                "{ranks} ranks share {heads}: each holds one, so that KV heads are held more than once; "
                "not evenly, so that an engine would refuse.",
                ranks=ranks,
                heads=heads,
            )
    elif kv_heads % ranks:
        yield Message(
            "{ranks} ranks do not share {heads} KV heads evenly: an engine would refuse. "
            "Each is counted with room for {room}.",
            ranks=ranks,
            heads=kv_heads,
            room=-(-kv_heads // ranks),
        )


# --------------------------------------------------------------------------------------------------- checks


def _real_checks(model: Model, params: CacheParams) -> Iterator[Check]:
    """The bytes against the cache of another program; there is none for a config that a reader gives."""
    reference = references().get(model.name)
    if reference is None:
        return
    counted = model.windowed_bytes(ELEMENT_TYPES[params.dtype], params.seq_len, params.batch)
    real = reference.real_bytes(params.dtype, params.seq_len, params.batch)
    yield Check(
        Message("the bytes of {model} equal a cache in arrays", model=model.title),
        abs(counted - real),
        0,
        Message(
            "what {made_by} of transformers keeps, laid out token by token: {size:,} B",
            made_by=reference.made_by,
            size=real,
        ),
    )


def _published_checks(model: Model) -> Iterator[Check]:
    """The parameters against every total that is printed to the last digit."""
    entry = CATALOGUE.get(model.name)
    for printed in entry.published if entry else ():
        if not printed.exact:
            continue
        more = beyond(printed.beyond, model)
        total = Message("{total:,}", total=printed.value)
        if more:
            total = Message(
                "{total:,}, which counts {more:+,}: {reason}",
                total=printed.value,
                more=more,
                reason=BEYOND[printed.beyond],
            )
        yield Check(
            Message("the parameters of {model} equal the {total}", model=model.title, total=printed.what),
            abs(model.known_parameters.total + more - printed.value),
            0,
            total,
        )
