"""The bytes that a training step keeps for its backward pass, from sizes alone: no torch, no run.

What autograd keeps is known operation by operation: a product keeps both factors, a softmax its result, a sum nothing.
Each term below is one such tensor, named, with its size in letters and in bytes; the measurement must give the sum to
the byte. Letters: b batch, s sequence, h hidden size, a heads, d = h / a, g key/value heads, f intermediate size,
V vocabulary, p bytes a number.

Source of the count for the GPT block: Korthikanti et al. 2022, section 4.1, s b h (34 + 5 a s / h) bytes with 2 bytes
a number and 1 byte a dropout mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal

from explainers.checkpointing import schedules
from explainers.models.shapes import DecoderShape

Strategy = Literal["none", "every_k", "sqrt", "full", "selective_matmuls", "selective_attention"]
TOKEN_BYTES = 8  # a token is an int64
LOG_SUM_EXP_BYTES = 4  # float32 in any format of the weights
ENDS = "embedding, last norm, head and loss"


@dataclass(frozen=True)
class Sizes:
    """What decides how much is kept. width: bytes a number. dropout: whether there is any."""

    shape: DecoderShape
    batch: int
    seq_len: int
    width: int
    attention: Literal["written", "flash"] = "written"
    dropout: bool = False


@dataclass(frozen=True)
class Term:
    """One kept tensor: its name, its size in letters, its bytes, and how often it is kept."""

    name: str
    letters: str
    bytes: int
    times: int = 1

    @property
    def total(self) -> int:
        return self.bytes * self.times


def total(terms: Iterable[Term]) -> int:
    """Bytes of all terms together."""
    return sum(term.total for term in terms)


def formula(sizes: Sizes, strategy: Strategy, k: int) -> str:
    """The sum with its numbers: 'predicted to be kept after the forward pass: 3 inputs of ... = 330,248 B'."""
    layers, ends = sizes.shape.layers, total(kept_by_ends(sizes))
    segments, given = len(segments_of(strategy, layers, k)), _numbers(sizes)["bsh"]
    parts = []
    if segments:
        parts.append(
            f"{_plural(segments, 'input')} of {_plural(segments, 'segment', count=False)} × {given:,} B"
        )
    if strategy in INSIDE:
        whose = "layer" if strategy == "none" else "layer, as the policy keeps it,"
        whose = whose if layers == 1 else whose.replace("layer", "layers")
        parts.append(f"{layers} {whose} × {total(INSIDE[strategy](sizes)):,} B")
    parts.append(f"{ends:,} B for tokens, last norm, head and loss")
    kept = total(kept_by_step(sizes, strategy, k))
    return f"predicted to be kept after the forward pass: {' + '.join(parts)} = {kept:,} B"


def _plural(number: int, name: str, count: bool = True) -> str:
    word = name if number == 1 else f"{name}s"
    return f"{number} {word}" if count else word


def segments_of(strategy: Strategy, layers: int, k: int) -> tuple[int, ...]:
    """How many blocks each checkpointed segment has; () where nothing is checkpointed.

    The borders are those of the schedules on a chain: where the length does not divide, the first segment is short.
    The selective strategies checkpoint each block by itself.
    """
    if strategy == "none":
        return ()
    length = {"every_k": k, "sqrt": schedules.sqrt_length(layers)}.get(strategy, 1)
    starts = schedules.every(length, 1, layers)
    return tuple(end - start for start, end in pairwise((*starts, layers + 1)))


# ------------------------------------------------------------------------------------------- what is kept


def kept_by_step(sizes: Sizes, strategy: Strategy, k: int) -> list[Term]:
    """All that is alive when the forward pass ends, besides weights, tables and optimizer state."""
    layers = sizes.shape.layers
    kept = []
    if segments := segments_of(strategy, layers, k):
        kept.append(Term("input of a segment", "b s h p", _numbers(sizes)["bsh"], len(segments)))
    if strategy in INSIDE:
        kept += _times(INSIDE[strategy](sizes), layers)
    return [*kept, *kept_by_ends(sizes)]


def kept_by_block(sizes: Sizes) -> list[Term]:
    """What autograd keeps of one block."""
    n = _numbers(sizes)
    if sizes.shape.block == "llama":
        return [
            Term("input of the block", "b s h p", n["bsh"]),
            *_rms_norm(n, "first norm"),
            Term("Q after RoPE", "b s h p", n["bsh"]),
            Term("K after RoPE", "b s g d p", n["kv"]),
            Term("V", "b s g d p", n["kv"]),
            *_attention(sizes, n),
            Term("output of attention", "b s h p", n["bsh"]),
            Term("sum after attention", "b s h p", n["bsh"]),
            *_rms_norm(n, "second norm"),
            Term("gate", "b s f p", n["bsf"]),
            Term("SiLU of the gate", "b s f p", n["bsf"]),
            Term("up", "b s f p", n["bsf"]),
            Term("their product", "b s f p", n["bsf"]),
        ]
    return [
        Term("input of the block", "b s h p", n["bsh"]),
        *_layer_norm(n, "first norm"),
        Term("Q, K and V", "3 b s h p", 3 * n["bsh"]),
        *_attention(sizes, n),
        Term("output of attention", "b s h p", n["bsh"]),
        *_mask(sizes, "dropout mask after attention", "b s h p", n["bsh"]),
        Term("sum after attention", "b s h p", n["bsh"]),
        *_layer_norm(n, "second norm"),
        Term("input of GELU", "b s f p", n["bsf"]),
        Term("GELU", "b s f p", n["bsf"]),
        *_mask(sizes, "dropout mask after the MLP", "b s h p", n["bsh"]),
    ]


def kept_by_matmul_policy(sizes: Sizes) -> list[Term]:
    """What the policy that keeps the results of all matrix products keeps of one block."""
    n = _numbers(sizes)
    mlp = (
        [Term("gate and up", "2 b s f p", 2 * n["bsf"])]
        if sizes.shape.block == "llama"
        else [Term("input of GELU", "b s f p", n["bsf"])]
    )
    scores = (
        [Term("Q K^T", "a b s s p", n["ss"])]
        if sizes.attention == "written"
        else [Term("log-sum-exp", "4 a b s", n["lse"])]
    )
    return [
        Term("W_Q y", "b s h p", n["bsh"]),
        Term("W_K y and W_V y", "2 b s g d p", 2 * n["kv"]),
        *scores,
        Term("output of attention", "b s h p", n["bsh"]),
        Term("W_O o", "b s h p", n["bsh"]),
        *mlp,
        Term("output of the MLP", "b s h p", n["bsh"]),
    ]


def kept_by_attention_policy(sizes: Sizes) -> list[Term]:
    """What the policy that keeps all but attention keeps of one block."""
    n = _numbers(sizes)
    outside = [
        Term("W_Q y", "b s h p", n["bsh"]),
        Term("W_K y and W_V y", "2 b s g d p", 2 * n["kv"]),
        Term("W_O o", "b s h p", n["bsh"]),
        Term("output of the MLP", "b s h p", n["bsh"]),
    ]
    if sizes.shape.block == "llama":
        return [
            *outside,
            *_rms_norm(n, "first norm"),
            *_rms_norm(n, "second norm"),
            Term("gate, SiLU of it, up, their product", "4 b s f p", 4 * n["bsf"]),
        ]
    return [
        *outside,
        *_layer_norm(n, "first norm"),
        *_layer_norm(n, "second norm"),
        Term("input of GELU and GELU", "2 b s f p", 2 * n["bsf"]),
    ]


# What is kept inside the blocks, for the strategies that keep anything there.
INSIDE: dict[Strategy, Callable[[Sizes], list[Term]]] = {
    "none": kept_by_block,
    "selective_matmuls": kept_by_matmul_policy,
    "selective_attention": kept_by_attention_policy,
}


def kept_by_ends(sizes: Sizes) -> list[Term]:
    """What is kept outside the blocks: the batch, the last norm, the head and the loss."""
    n, p = _numbers(sizes), sizes.width
    tokens = sizes.batch * sizes.seq_len
    norm = _rms_norm(n, "last norm") if sizes.shape.block == "llama" else _layer_norm(n, "last norm")
    return [
        Term("tokens and targets", "2 · 8 b s", 2 * TOKEN_BYTES * tokens),
        Term("output of the last block", "b s h p", n["bsh"]),
        *norm,
        Term("logarithms of the probabilities", "b s V p", tokens * sizes.shape.vocabulary * p),
        Term("loss and its weight", "2 p", 2 * p),
    ]


def _numbers(sizes: Sizes) -> dict[str, int]:
    """Bytes of the tensors that come again and again."""
    shape, p = sizes.shape, sizes.width
    tokens = sizes.batch * sizes.seq_len
    return {
        "bs": tokens * p,
        "bsh": tokens * shape.hidden * p,
        "bsf": tokens * shape.intermediate * p,
        "kv": tokens * shape.kv_heads * shape.head_dim * p,
        "ss": shape.heads * tokens * sizes.seq_len * p,
        "lse": shape.heads * tokens * LOG_SUM_EXP_BYTES,
    }


def _rms_norm(n: dict[str, int], which: str) -> list[Term]:
    return [
        Term(f"{which}: one over the root of the mean square", "b s p", n["bs"]),
        Term(f"{which}: x over that root", "b s h p", n["bsh"]),
        Term(f"{which}: its output", "b s h p", n["bsh"]),
    ]


def _layer_norm(n: dict[str, int], which: str) -> list[Term]:
    return [
        Term(f"{which}: mean and deviation", "2 b s p", 2 * n["bs"]),
        Term(f"{which}: its output", "b s h p", n["bsh"]),
    ]


def _attention(sizes: Sizes, n: dict[str, int]) -> list[Term]:
    if sizes.attention == "flash":
        return [Term("log-sum-exp", "4 a b s", n["lse"])]
    dropped = [Term("softmax after dropout", "a b s s p", n["ss"])] if sizes.dropout else []
    return [
        Term("softmax", "a b s s p", n["ss"]),
        *_mask(sizes, "dropout mask of the softmax", "a b s s p", n["ss"]),
        *dropped,
    ]


def _mask(sizes: Sizes, name: str, letters: str, size: int) -> list[Term]:
    """A dropout mask is as wide as the numbers it drops: torch on a CPU keeps it multiplied by 1 / (1 - rate)."""
    return [Term(name, letters, size)] if sizes.dropout else []


def _times(terms: Iterable[Term], times: int) -> list[Term]:
    return [Term(term.name, term.letters, term.bytes, times) for term in terms]


def kept_after_blocks(sizes: Sizes, strategy: Strategy, k: int) -> list[int]:
    """Of what will be kept, the bytes that are there before block 0 and after each block."""
    layers, given = sizes.shape.layers, _numbers(sizes)["bsh"]
    a_block = total(INSIDE[strategy](sizes)) if strategy in INSIDE else 0
    lengths = segments_of(strategy, layers, k) or (1,) * layers
    starts = set(
        accumulate(lengths, initial=0)
    )  # blocks whose input is kept; the last norm keeps its input too
    batch = 2 * TOKEN_BYTES * sizes.batch * sizes.seq_len
    curve = []
    for done in range(layers + 1):
        inputs = sum(start < done for start in starts) if strategy != "none" else 0
        curve.append(batch + inputs * given + done * a_block + (done in starts) * given)
    return curve


# ------------------------------------------------------------------------------------ the most activations


def activation_peak(sizes: Sizes, strategy: Strategy, k: int) -> int:
    """The most bytes of activations, kept and recomputed, that are alive at once.

    Either all that is kept when the forward pass ends, or the most that is alive while a segment is recomputed.
    """
    return max([total(kept_by_step(sizes, strategy, k)), *alive_in_backward(sizes, strategy, k)])


def alive_in_backward(sizes: Sizes, strategy: Strategy, k: int) -> list[int]:
    """The bytes of activations at the borders of the backward pass, in its order, exact to the byte.

    In segments: before and after each segment is recomputed, the last segment first; under a selective policy between
    the two also the most meanwhile. With nothing checkpointed: when each block has gone backward, the last one first.
    """
    given, always, layers = _numbers(sizes)["bsh"], _batch_and_loss(sizes), sizes.shape.layers
    block = total(kept_by_block(sizes))
    if strategy == "none":
        return [always + left * block for left in reversed(range(layers))]
    if strategy in INSIDE:
        steps = [*accumulate((term.total for term in recomputed_by_policy(sizes, strategy)), initial=0)]
        a_layer = given + total(INSIDE[strategy](sizes))
        left = (always + layer * a_layer for layer in range(layers, 0, -1))
        return [before + step for before in left for step in (0, max(steps), steps[-1])]
    lengths = segments_of(strategy, layers, k)
    borders = [(always + j * given, length * block) for j, length in enumerate(lengths)]
    return [size for kept, inside in reversed(borders) for size in (kept + given, kept + inside)]


def recomputed_by_policy(sizes: Sizes, strategy: Strategy) -> list[Term]:
    """How recomputing one block changes the activations under a selective policy, in its order; times -1 is freed.

    Whatever the backward reads and the policy has not kept is made again. A kept result that only the recomputation
    reads is freed when that is done with it: those of W_Q, W_K and W_V with the block's run, because their names live
    as long. torch ends a recomputation at the last tensor that the backward reads: without dropout nobody asks for
    the output of the MLP, and it stays until the block has gone backward.
    """
    n, there = _numbers(sizes), _kept_of_block(sizes, strategy)
    llama, written = sizes.shape.block == "llama", sizes.attention == "written"
    values, letters, copies = ("V", "b s g d p", 1) if llama else ("Q, K and V", "3 b s h p", 3)
    output = Term("W_O o", "b s h p", n["bsh"], -1)
    freed = {"dropout mask after attention" if sizes.dropout else "sum after attention": [output]}
    freed["dropout mask after the MLP"] = [Term("output of the MLP", "b s h p", n["bsh"], -1)]
    if strategy == "selective_matmuls" and written:
        freed[values] = [Term("Q K^T", "a b s s p", n["ss"], -1)]
        if "output of attention" not in there:
            freed["output of attention"] = [Term("output of attention", "b s h p", n["bsh"], -1)]
    changes = []
    for term in kept_by_block(sizes)[1:]:  # its input is there
        changes += [] if term.name in there else [term]
        changes += freed.get(term.name, [])
    if llama:
        changes.append(Term("W_Q y and W_K y", "b s h p + b s g d p", n["bsh"] + n["kv"], -1))
    if _copies_heads(sizes):
        changes.append(Term(f"{values}, not yet copied", letters, copies * n["kv"], -1))
    return changes


def _kept_of_block(sizes: Sizes, strategy: Strategy) -> set[str]:
    """Of what the backward reads of a block, the names of what the policy keeps."""
    there = {"gate", "up", "input of GELU"}
    if not _copies_heads(sizes):
        there.add("V" if sizes.shape.block == "llama" else "Q, K and V")
    if strategy == "selective_attention":
        names = {term.name for term in kept_by_block(sizes)}
        norms = {name for name in names if name.startswith(("first norm", "second norm"))}
        return there | norms | {"SiLU of the gate", "their product", "GELU"}
    copies_output = sizes.attention == "written" and sizes.seq_len > 1 and sizes.shape.heads > 1
    return there | {"log-sum-exp"} | (set() if copies_output else {"output of attention"})


def _copies_heads(sizes: Sizes) -> bool:
    """Whether attention copies V (in a GPT block Q and K too) so that batch and heads become one axis."""
    return sizes.attention == "written" and min(sizes.batch, sizes.seq_len, sizes.shape.kv_heads) > 1


def _batch_and_loss(sizes: Sizes) -> int:
    return 2 * TOKEN_BYTES * sizes.batch * sizes.seq_len + sizes.width


# ----------------------------------------------------------------------------------------- Korthikanti's count


def korthikanti(sizes: Sizes) -> int:
    """Bytes of all GPT blocks by s b h (34 + 5 a s / h), which counts 2 bytes a number and 1 byte a dropout mask."""
    s, b, h, a = sizes.seq_len, sizes.batch, sizes.shape.hidden, sizes.shape.heads
    return sizes.shape.layers * (34 * s * b * h + 5 * a * s * s * b)


def korthikanti_residual(sizes: Sizes) -> list[Term]:
    """What autograd keeps of a GPT stack beyond Korthikanti's count, by reason; together exact to the byte.

    Those that say "in place of" are its translation into the number format here.
    """
    s, b, h, a, p = sizes.seq_len, sizes.batch, sizes.shape.hidden, sizes.shape.heads, sizes.width
    L = sizes.shape.layers
    masks, numbers = 2 * s * b * h + a * s * s * b, 16 * s * b * h + 2 * a * s * s * b
    softmax = a * s * s * b * p
    terms = []
    if p != 2:
        terms.append(
            Term(f"{p} bytes a number in place of 2", f"{p - 2} s b h (16 + 2 a s / h)", (p - 2) * numbers, L)
        )
    if sizes.dropout:
        extra = "" if p == 2 else f"{p - 1} "
        terms.append(
            Term(
                f"dropout masks of {p} bytes in place of 1", f"{extra}s b h (2 + a s / h)", (p - 1) * masks, L
            )
        )
    else:
        terms.append(Term("no dropout masks", "- s b h (2 + a s / h)", -masks, L))
        terms.append(Term("no second softmax after dropout", f"- {p} a s s b", -softmax, L))
    if sizes.attention == "flash":
        terms.append(Term("no softmax", f"- {p} a s s b", -softmax, L))
        terms.append(Term("log-sum-exp of each row", f"{LOG_SUM_EXP_BYTES} a s b", _numbers(sizes)["lse"], L))
    terms.append(Term("mean and deviation of each LayerNorm", f"2 × 2 · {p} s b", 4 * s * b * p, L))
    ends = total(kept_by_ends(sizes))
    letters = " + ".join(term.letters for term in kept_by_ends(sizes))
    return [*terms, Term(ENDS, letters, ends)]


def count_rows(sizes: Sizes, measured: int) -> list[CountRow]:
    """Korthikanti's count, its translation into the number format here, each residual, the sum, and what is measured.

    Letters: L layers; else as in the terms.
    """
    layers, count, residual = sizes.shape.layers, korthikanti(sizes), korthikanti_residual(sizes)
    rows = [CountRow("Korthikanti's count in 16 bits", "L s b h (34 + 5 a s / h)", count)]
    wider = [term for term in residual if "in place of" in term.name]
    rows += [_row(term) for term in wider]
    if wider:
        together = count + total(wider)
        rows.append(
            CountRow(f"= the count with numbers of {sizes.width} bytes", "sum of the rows above", together)
        )
    rows += [_row(term) for term in residual if term not in wider]
    rows.append(CountRow("= the sum", f"{layers} layers (L), tokens and head", count + total(residual)))
    return [*rows, CountRow("kept after the forward pass", "measured", measured)]


@dataclass(frozen=True)
class CountRow:
    """One row of the count: what it is, its size in letters, its bytes. A name with "=" sums what stands above it."""

    name: str
    formula: str
    bytes: int


def _row(term: Term) -> CountRow:
    sign = "- " if term.letters.startswith("- ") else ""
    a_layer = f"{sign}L · {term.letters.removeprefix('- ')}"
    return CountRow(term.name, a_layer if term.name != ENDS else term.letters, term.total)


# ------------------------------------------------------------------------------------- what a run will need


def step_bytes(sizes: Sizes) -> int:
    """About the most memory of a real step and of the step without checkpointing that it is held against.

    Weights, two moments, gradients of both runs and a copy of them; all activations; and six of the largest tensors
    for what comes and goes meanwhile.
    """
    shape, n = sizes.shape, _numbers(sizes)
    logits = sizes.batch * sizes.seq_len * shape.vocabulary * sizes.width
    plain = total(kept_by_step(sizes, "none", 1))
    largest = max(n["bsf"], n["bsh"], logits, n["ss"] if sizes.attention == "written" else 0)
    table = sizes.seq_len**2 if sizes.attention == "written" else 0
    return 6 * shape.parameters * sizes.width + plain + 6 * largest + table
