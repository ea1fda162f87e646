"""The bytes that a training step keeps for its backward pass, predicted from sizes alone, without torch.

What autograd keeps is known for each operation: a product keeps both factors, a softmax its result, a sum nothing.
Each term below is one such tensor, with its name and its size in letters and in bytes; the measurement must equal the
sum to the byte. Letters: b batch, s sequence, h hidden size, a heads, d = h / a, g key/value heads,
f intermediate size, V vocabulary, p bytes per number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal

from explainers.checkpointing import schedules
from explainers.contract.messages import Message
from explainers.models.shapes import DecoderShape

Strategy = Literal["none", "every_k", "sqrt", "full", "selective_matmuls", "selective_attention"]
TOKEN_BYTES = 8  # a token is an int64
LOG_SUM_EXP_BYTES = 4  # float32 in any format of the weights
FIRST_NORM, SECOND_NORM, LAST_NORM = Message("first norm"), Message("second norm"), Message("last norm")


@dataclass(frozen=True)
class Sizes:
    """All that determines how much is kept. width: bytes per number. dropout: whether there is any."""

    shape: DecoderShape
    batch: int
    seq_len: int
    width: int
    attention: Literal["written", "flash"] = "written"
    dropout: bool = False


@dataclass(frozen=True)
class Term:
    """One kept tensor: its name, its size in letters and in bytes, and how many times it is kept."""

    name: str
    letters: str
    bytes: int
    times: int = 1

    @property
    def total(self) -> int:
        return self.bytes * self.times


def total(terms: Iterable[Term]) -> int:
    """The sum of the terms, in bytes."""
    return sum(term.total for term in terms)


def segments_of(strategy: Strategy, layers: int, k: int) -> tuple[int, ...]:
    """The number of blocks in each checkpointed segment; () where nothing is checkpointed.

    The segments are those of the schedules on a chain: where the length does not divide, the first segment is short.
    The selective strategies checkpoint each block separately.
    """
    if strategy == "none":
        return ()
    length = {"every_k": k, "sqrt": schedules.sqrt_length(layers)}.get(strategy, 1)
    starts = schedules.every(length, 1, layers)
    return tuple(end - start for start, end in pairwise((*starts, layers + 1)))


# ------------------------------------------------------------------------------------------- what is kept


def kept_by_step(sizes: Sizes, strategy: Strategy, k: int) -> list[Term]:
    """All that is alive when the forward pass ends, except weights, tables and optimizer state."""
    layers = sizes.shape.layers
    kept = []
    if segments := segments_of(strategy, layers, k):
        kept.append(Term("input of a segment", "b s h p", tensor_bytes(sizes)["bsh"], len(segments)))
    if strategy in INSIDE:
        kept += _times(INSIDE[strategy](sizes), layers)
    return [*kept, *kept_by_ends(sizes)]


def kept_by_block(sizes: Sizes) -> list[Term]:
    """What autograd keeps of one block."""
    n = tensor_bytes(sizes)
    if sizes.shape.block == "llama":
        return [
            Term("input of the block", "b s h p", n["bsh"]),
            *_rms_norm(n, FIRST_NORM),
            Term("Q after RoPE", "b s h p", n["bsh"]),
            Term("K after RoPE", "b s g d p", n["kv"]),
            Term("V", "b s g d p", n["kv"]),
            *_attention(sizes, n),
            Term("output of attention", "b s h p", n["bsh"]),
            Term("sum after attention", "b s h p", n["bsh"]),
            *_rms_norm(n, SECOND_NORM),
            Term("gate", "b s f p", n["bsf"]),
            Term("SiLU of the gate", "b s f p", n["bsf"]),
            Term("up", "b s f p", n["bsf"]),
            Term("their product", "b s f p", n["bsf"]),
        ]
    return [
        Term("input of the block", "b s h p", n["bsh"]),
        *_layer_norm(n, FIRST_NORM),
        Term("Q, K and V", "3 b s h p", 3 * n["bsh"]),
        *_attention(sizes, n),
        Term("output of attention", "b s h p", n["bsh"]),
        *_mask(sizes, "dropout mask after attention", "b s h p", n["bsh"]),
        Term("sum after attention", "b s h p", n["bsh"]),
        *_layer_norm(n, SECOND_NORM),
        Term("input of GELU", "b s f p", n["bsf"]),
        Term("GELU", "b s f p", n["bsf"]),
        *_mask(sizes, "dropout mask after the MLP", "b s h p", n["bsh"]),
    ]


def kept_by_matmul_policy(sizes: Sizes) -> list[Term]:
    """What is kept of one block by the policy that keeps the results of all matrix products."""
    n = tensor_bytes(sizes)
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
    """What is kept of one block by the policy that keeps all but attention."""
    n = tensor_bytes(sizes)
    outside = [
        Term("W_Q y", "b s h p", n["bsh"]),
        Term("W_K y and W_V y", "2 b s g d p", 2 * n["kv"]),
        Term("W_O o", "b s h p", n["bsh"]),
        Term("output of the MLP", "b s h p", n["bsh"]),
    ]
    if sizes.shape.block == "llama":
        return [
            *outside,
            *_rms_norm(n, FIRST_NORM),
            *_rms_norm(n, SECOND_NORM),
            Term("gate, SiLU of it, up, their product", "4 b s f p", 4 * n["bsf"]),
        ]
    return [
        *outside,
        *_layer_norm(n, FIRST_NORM),
        *_layer_norm(n, SECOND_NORM),
        Term("input of GELU and GELU", "2 b s f p", 2 * n["bsf"]),
    ]


# What the strategies that keep anything inside a block keep there.
INSIDE: dict[Strategy, Callable[[Sizes], list[Term]]] = {
    "none": kept_by_block,
    "selective_matmuls": kept_by_matmul_policy,
    "selective_attention": kept_by_attention_policy,
}


def kept_by_ends(sizes: Sizes) -> list[Term]:
    """What is kept outside the blocks: the batch, the last norm, the head and the loss."""
    n, p = tensor_bytes(sizes), sizes.width
    tokens = sizes.batch * sizes.seq_len
    norm = _rms_norm(n, LAST_NORM) if sizes.shape.block == "llama" else _layer_norm(n, LAST_NORM)
    return [
        Term("tokens and targets", "2 · 8 b s", 2 * TOKEN_BYTES * tokens),
        Term("output of the last block", "b s h p", n["bsh"]),
        *norm,
        Term("logarithms of the probabilities", "b s V p", tokens * sizes.shape.vocabulary * p),
        Term("loss and its weight", "2 p", 2 * p),
    ]


def tensor_bytes(sizes: Sizes) -> dict[str, int]:
    """Bytes of the tensors that occur many times."""
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


def _rms_norm(n: dict[str, int], norm: Message) -> list[Term]:
    return [
        Term(Message("{norm}: one over the root of the mean square", norm=norm), "b s p", n["bs"]),
        Term(Message("{norm}: x over that root", norm=norm), "b s h p", n["bsh"]),
        Term(Message("{norm}: its output", norm=norm), "b s h p", n["bsh"]),
    ]


def _layer_norm(n: dict[str, int], norm: Message) -> list[Term]:
    return [
        Term(Message("{norm}: mean and deviation", norm=norm), "2 b s p", 2 * n["bs"]),
        Term(Message("{norm}: its output", norm=norm), "b s h p", n["bsh"]),
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
    """A dropout mask has the width of the numbers it drops: on a CPU, torch keeps it scaled by 1 / (1 - rate)."""
    return [Term(name, letters, size)] if sizes.dropout else []


def _times(terms: Iterable[Term], times: int) -> list[Term]:
    return [Term(term.name, term.letters, term.bytes, times) for term in terms]


def kept_after_blocks(sizes: Sizes, strategy: Strategy, k: int) -> list[int]:
    """How many of the bytes that will be kept are in memory before block 0 and after each block."""
    layers, given = sizes.shape.layers, tensor_bytes(sizes)["bsh"]
    a_block = total(INSIDE[strategy](sizes)) if strategy in INSIDE else 0
    lengths = segments_of(strategy, layers, k) or (1,) * layers
    # blocks whose input is kept, and the last norm, which keeps its input too
    starts = set(accumulate(lengths, initial=0))
    batch = 2 * TOKEN_BYTES * sizes.batch * sizes.seq_len
    curve = []
    for done in range(layers + 1):
        inputs = sum(start < done for start in starts) if strategy != "none" else 0
        curve.append(batch + inputs * given + done * a_block + (done in starts) * given)
    return curve


# ------------------------------------------------------------------------------------ the most activations


def activation_peak(sizes: Sizes, strategy: Strategy, k: int) -> int:
    """The most bytes of activations, kept and recomputed, that are alive at the same time.

    Either all that is kept when the forward pass ends, or the most that is alive while a segment is recomputed.
    """
    return max([total(kept_by_step(sizes, strategy, k)), *alive_in_backward(sizes, strategy, k)])


def alive_in_backward(sizes: Sizes, strategy: Strategy, k: int) -> list[int]:
    """The bytes of activations at the borders of the backward pass, in its order, exact to the byte.

    In segments: before and after each segment is recomputed, the last segment first. Under a selective policy, also the
    most in between. With nothing checkpointed: when each block has gone backward, the last block first.
    """
    given, always, layers = tensor_bytes(sizes)["bsh"], _batch_and_loss(sizes), sizes.shape.layers
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
    """How recomputing one block changes the activations under a selective policy, in order; times -1 means freed.

    What the backward reads and the policy has not kept is computed again. A kept result that only the recomputation
    reads is freed after its last use; those of W_Q, W_K and W_V are freed when the block returns, because local
    variables hold them. torch ends a recomputation at the last tensor that the backward reads: without dropout nothing
    reads the output of the MLP, and it stays until the block has gone backward.
    """
    n, there = tensor_bytes(sizes), _kept_of_block(sizes, strategy)
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
    for term in kept_by_block(sizes)[1:]:  # without its input, which is in memory
        changes += [] if term.name in there else [term]
        changes += freed.get(term.name, [])
    if llama:
        changes.append(Term("W_Q y and W_K y", "b s h p + b s g d p", n["bsh"] + n["kv"], -1))
    if _copies_heads(sizes):
        changes.append(
            Term(Message("{values}, not yet copied", values=values), letters, copies * n["kv"], -1)
        )
    return changes


def _kept_of_block(sizes: Sizes, strategy: Strategy) -> set[str]:
    """The names of those tensors that the backward of a block reads and the policy keeps."""
    there = {"gate", "up", "input of GELU"}
    if not _copies_heads(sizes):
        there.add("V" if sizes.shape.block == "llama" else "Q, K and V")
    if strategy == "selective_attention":
        names = {term.name for term in kept_by_block(sizes)}
        norms = {name for name in names if name.startswith((FIRST_NORM, SECOND_NORM))}
        return there | norms | {"SiLU of the gate", "their product", "GELU"}
    copies_output = sizes.attention == "written" and sizes.seq_len > 1 and sizes.shape.heads > 1
    return there | {"log-sum-exp"} | (set() if copies_output else {"output of attention"})


def _copies_heads(sizes: Sizes) -> bool:
    """Whether attention copies V (in a GPT block Q and K too) so that batch and heads become one axis."""
    return sizes.attention == "written" and min(sizes.batch, sizes.seq_len, sizes.shape.kv_heads) > 1


def _batch_and_loss(sizes: Sizes) -> int:
    return 2 * TOKEN_BYTES * sizes.batch * sizes.seq_len + sizes.width


# -------------------------------------------------------------------------------- what a measurement will need


def step_bytes(sizes: Sizes) -> int:
    """An estimate of the most memory that a measurement takes: a real step, and one without checkpointing.

    Weights, two moments, gradients of both steps and a copy of them; all activations; and six times the largest tensor
    for temporaries.
    """
    shape, n = sizes.shape, tensor_bytes(sizes)
    logits = sizes.batch * sizes.seq_len * shape.vocabulary * sizes.width
    plain = total(kept_by_step(sizes, "none", 1))
    largest = max(n["bsf"], n["bsh"], logits, n["ss"] if sizes.attention == "written" else 0)
    table = sizes.seq_len**2 if sizes.attention == "written" else 0
    return 6 * shape.parameters * sizes.width + plain + 6 * largest + table
