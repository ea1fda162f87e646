"""The size of a KV cache as a sum with its numbers, and sizes in both units."""

from __future__ import annotations

from explainers.contract.messages import Message, joined, plural
from explainers.contract.numbers import BINARY_UNITS, UNITS
from explainers.kv_cache.layers import ElementType, LayerKind, Model, Vector


def both_units(nbytes: int) -> Message:
    """A size in decimal and in binary units: '42.95 GB = 40.00 GiB'."""
    decimal, binary = _in_unit(nbytes, 1000, UNITS), _in_unit(nbytes, 1024, BINARY_UNITS)
    return Message("{decimal} = {binary}", decimal=decimal, binary=binary)


def _in_unit(nbytes: int, step: int, units: tuple[str, ...]) -> Message:
    power = max((power for power in range(len(units)) if nbytes >= step**power), default=0)
    if power == 0:
        return Message("{size:,} B", size=nbytes)
    return Message("{size:,.2f} {unit}", size=nbytes / step**power, unit=units[power])


def formula(model: Model, dtype: ElementType, seq_len: int, batch: int) -> Message:
    """The windowed bytes with the numbers in them; layers of different kinds one after the other."""
    first = model.kinds[0]
    numbers = {
        "vectors": _layer_formula(first, dtype),
        "layer_bytes": first.token_bytes(dtype),
        "sequences": plural("{count:,} sequence", "{count:,} sequences", count=batch),
        "total": model.windowed_bytes(dtype, seq_len, batch),
    }
    if len(model.kinds) == 1:
        return Message(
            "{vectors} = {layer_bytes:,} B a layer; x {layers} layers = {token_bytes:,} B a token; "
            "x {kept} x {sequences} = {total:,} B",
            **numbers,
            layers=first.layers,
            token_bytes=model.bytes_per_token(dtype),
            kept=_kept_formula(first, seq_len),
        )
    return Message(
        "{vectors} = {layer_bytes:,} B a layer; {kinds}; together x {sequences} = {total:,} B for {tokens:,} tokens",
        **numbers,
        kinds=joined([_kind_formula(kind, dtype, seq_len) for kind in model.kinds], "; "),
        tokens=seq_len,
    )


def _kind_formula(kind: LayerKind, dtype: ElementType, seq_len: int) -> Message:
    """The bytes of one sequence in all layers of a kind."""
    token = kind.token_bytes(dtype)
    return Message(
        "{layers} {kind} layers x {kept} x {token_bytes:,} B = {kind_bytes:,} B",
        layers=kind.layers,
        kind=kind.name,
        kept=_kept_formula(kind, seq_len),
        token_bytes=token,
        kind_bytes=kind.layers * kind.kept(seq_len) * token,
    )


def _kept_formula(kind: LayerKind, seq_len: int) -> Message:
    if kind.window is None:
        return plural("{count:,} token", "{count:,} tokens", count=seq_len)
    return Message("min({seq_len:,}, {window:,}) tokens", seq_len=seq_len, window=kind.window)


def _layer_formula(kind: LayerKind, dtype: ElementType) -> Message:
    """What one token leaves in one layer, for example '2 (K and V) x 8 KV heads x 128 numbers x 2 B'."""
    first, *others = kind.vectors
    if [(other.copies, other.length) for other in others] == [(first.copies, first.length)]:
        heads, numbers = _heads(first), _numbers(first, dtype)
        return Message("2 (K and V) x {heads} x {numbers}", heads=heads, numbers=numbers)
    products: list[str] = [
        Message("{heads} x {numbers}", heads=_heads(vector), numbers=_numbers(vector, dtype))
        for vector in kind.vectors
    ]
    return joined(products, " + ")


def _heads(vector: Vector) -> Message:
    if vector.name == "latent":
        return Message("{copies} latent", copies=vector.copies)
    if vector.name == "RoPE key":
        return Message("{copies} RoPE key", copies=vector.copies)
    return plural("{count:,} KV head", "{count:,} KV heads", count=vector.copies)


def _numbers(vector: Vector, dtype: ElementType) -> Message:
    if dtype.block == 1:
        return Message(
            "{length:,} numbers x {width} B",
            length=vector.length,
            width=dtype.block_bytes,
        )
    return plural(
        "{count} block of {block} numbers x {block_bytes} B",
        "{count} blocks of {block} numbers x {block_bytes} B",
        count=-(-vector.length // dtype.block),
        block=dtype.block,
        block_bytes=dtype.block_bytes,
    )
