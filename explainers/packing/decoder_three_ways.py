"""A small decoder that runs on documents in any layout: padded rows, one naive pack, or unpadded with cu_seqlens.

The weights never change; a layout says where each token lies, at which position, and who may look at whom.

Letters of the shapes: b rows, s places in a row, T tokens of all documents, N documents, h hidden size, a heads,
g key/value heads, d numbers a head, f intermediate size, V vocabulary.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from explainers.models.layers import RMSNorm, Rope, written_attention
from explainers.packing.run_params import Sizes
from kernels.flash_attention import flash_attention_varlen

IGNORED = -100  # a label that no loss counts, as everywhere in torch
PADDING = -1  # a place without a token
END_OF_TEXT = 0  # the last token of each document
PAD = 1  # a separate token, unless end-of-text serves as padding

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]  # q (b, s, a, d), k and v (b, s, g, d) -> (b, s, a d)


# --------------------------------------------------------------------------------------------------- layouts


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the tokens of all documents lie, and who may look at whom.

    source: (b, s), the token that lies in each place, PADDING for none. positions: (b, s). following: (b, s), the
    token that a place has to predict, PADDING for none. attend: the attention. cu_seqlens: where each sequence
    starts in the row, and where the last one ends; None for padded rows.
    """

    source: Tensor
    positions: Tensor
    following: Tensor
    attend: Attend
    cu_seqlens: Tensor | None = None

    @property
    def real(self) -> Tensor:
        """(b, s), whether a place holds a token."""
        return self.source != PADDING

    def tokens(self, ids: Tensor) -> Tensor:
        """Token ids (b, s) of the places, of the ids (T,) of all documents."""
        return torch.where(self.real, ids[self.source], PAD)

    def labels(self, ids: Tensor) -> Tensor:
        """Labels (b, s): the id that comes next, IGNORED where nothing is to be predicted."""
        return torch.where(self.following != PADDING, ids[self.following], IGNORED)

    def by_token(self, values: Tensor, tokens: int) -> Tensor:
        """Values (b, s, ...) of the places as (T, ...), in the order of the documents; 0 for a token without place."""
        found = values.new_zeros(tokens, *values.shape[2:])
        found[self.source[self.real]] = values[self.real]
        return found


def document_of(lengths: Sequence[int]) -> Tensor:
    """(T,), the document of each token."""
    return torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))


def padded_rows(lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    """A row for each document, filled up with padding to the longest: source and positions, (N, s) each."""
    starts = torch.tensor([0, *itertools.accumulate(lengths)])[:-1]
    places = torch.arange(max(lengths)).expand(len(lengths), -1)
    mask = places < torch.tensor(lengths)[:, None]  # (N, s)
    return torch.where(mask, starts[:, None] + places, PADDING), places


def padded(lengths: Sequence[int], kv_heads: int) -> Layout:
    """The padded rows; the mask hides from a query what is padding and what comes later."""
    source, positions = padded_rows(lengths)
    padding = (source == PADDING)[:, None, :]  # (N, 1, s)
    itself = torch.eye(
        max(lengths), dtype=torch.bool
    )  # a padded query sees itself: softmax of nothing is NaN
    hidden = later_than(max(lengths)) | (padding & ~itself)  # (N, s, s)
    hidden = hidden.repeat_interleave(kv_heads, 0).unsqueeze(1)  # (N g, 1, s, s)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return written_attention(q, k, v, hidden)

    return Layout(source, positions, next_in_document(source, lengths), attend)


def packed_naive(lengths: Sequence[int]) -> Layout:
    """All documents in one row, causal only: positions and labels know the documents, attention does not."""
    source = torch.arange(sum(lengths))[None]
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    later = later_than(sum(lengths))

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return written_attention(q, k, v, later)

    return Layout(source, positions, next_in_document(source, lengths), attend)


def unpadded(
    lengths: Sequence[int], ids: Tensor, backend: Literal["torch", "triton"], break_it: str = "none"
) -> Layout:
    """The padded rows without their padding, one document after another, held apart by cu_seqlens.

    ids: (T,), from which `pad_is_eos` rebuilds its mask. break_it removes one part (see LOST).
    """
    row_source, row_positions = padded_rows(lengths)
    mask = row_source != PADDING  # (N, s)
    if break_it == "pad_is_eos":
        mask = torch.where(mask, ids[row_source], END_OF_TEXT) != END_OF_TEXT

    # indices = the real places of the flattened mask,  cu_seqlens = [0, cumsum of the mask's row sums]
    indices = mask.flatten().nonzero().squeeze(1)  # (T,)
    cu_seqlens = functional.pad(mask.sum(1).cumsum(0), (1, 0))  # (N + 1,)
    source = row_source.flatten()[indices][None]  # (1, T)
    positions = row_positions.flatten()[indices][None]
    if break_it == "positions_not_reset":
        positions = torch.arange(len(indices))[None]
    if break_it == "cu_seqlens_off_by_one":
        cu_seqlens[1:-1] = (cu_seqlens[1:-1] + 1).clamp(max=len(indices))

    following = next_in_document(source, lengths)
    if break_it == "seam_labels":
        following = functional.pad(source[:, 1:], (0, 1), value=PADDING)
    attend = varlen_triton(cu_seqlens) if backend == "triton" else varlen_torch(cu_seqlens)
    return Layout(source, positions, following, attend, cu_seqlens)


def next_in_document(source: Tensor, lengths: Sequence[int]) -> Tensor:
    """(b, s), the token in the next place where it is of the same document, else PADDING: labels are shifted within."""
    document = functional.pad(
        document_of(lengths), (0, 1), value=PADDING
    )  # the last entry belongs to PADDING, -1
    after = functional.pad(source[:, 1:], (0, 1), value=PADDING)
    return torch.where(document[source] == document[after], after, PADDING)


# ------------------------------------------------------------------------------------------------- attention


def later_than(places: int) -> Tensor:
    """(s, s), true where the key comes after the query."""
    return torch.ones(places, places, dtype=torch.bool).triu(1)


def varlen_torch(cu_seqlens: Tensor) -> Attend:
    """Attention within each sequence of a row, one block of the block-diagonal mask after another."""
    bounds = list(itertools.pairwise(cu_seqlens.tolist()))

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        outputs = []
        for start, end in bounds:
            block = slice(start, end)
            later = later_than(end - start)
            outputs.append(written_attention(q[:, block], k[:, block], v[:, block], later))
        return torch.cat(outputs, dim=1)

    return attend


def varlen_triton(cu_seqlens: Tensor) -> Attend:
    """The same by our kernel, which skips every tile off the blocks."""
    starts = cu_seqlens.to(torch.int32)
    longest = int(cu_seqlens.diff().max())

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        output = flash_attention_varlen(q[0], k[0], v[0], starts, starts, longest, longest, causal=True)
        return output.flatten(1)[None]

    return attend


# ----------------------------------------------------------------------------------------------- the decoder


class Block(nn.Module):
    """x + Attention(RMSNorm(x)), then x + SwiGLU(RMSNorm(x)), without biases."""

    def __init__(self, sizes: Sizes, draw: torch.Generator) -> None:
        super().__init__()
        h, f, self.d = sizes.hidden, sizes.intermediate, sizes.head_dim
        queries, keys = sizes.heads * self.d, sizes.kv_heads * self.d
        self.norm_1, self.norm_2 = RMSNorm(h, torch.float32), RMSNorm(h, torch.float32)
        self.W_Q, self.W_O = drawn(draw, queries, h), drawn(draw, h, queries)
        self.W_K, self.W_V = drawn(draw, keys, h), drawn(draw, keys, h)
        self.W_gate, self.W_up, self.W_down = drawn(draw, f, h), drawn(draw, f, h), drawn(draw, h, f)

    def forward(self, x: Tensor, turn: Callable[[Tensor], Tensor], attend: Attend) -> Tensor:
        # x: (b, s, h)
        y = self.norm_1(x)
        q, k, v = (
            functional.linear(y, W).unflatten(-1, (-1, self.d)) for W in (self.W_Q, self.W_K, self.W_V)
        )
        x = x + functional.linear(attend(turn(q), turn(k), v), self.W_O)

        y = self.norm_2(x)
        gate, up = functional.linear(y, self.W_gate), functional.linear(y, self.W_up)
        return x + functional.linear(functional.silu(gate) * up, self.W_down)


class PackedDecoder(nn.Module):
    """Embedding, blocks, last norm and head, in float32, for tokens in any layout.

    longest: how many positions there are.
    """

    def __init__(self, sizes: Sizes, longest: int, draw: torch.Generator) -> None:
        super().__init__()
        self.learned = sizes.positions == "learned"
        self.embedding = drawn(draw, sizes.vocab, sizes.hidden, scale=1.0)
        self.blocks = nn.ModuleList(Block(sizes, draw) for _ in range(sizes.layers))
        self.norm = RMSNorm(sizes.hidden, torch.float32)
        self.head = drawn(draw, sizes.vocab, sizes.hidden)
        self.rope = Rope(longest, sizes.head_dim, torch.float32)
        if self.learned:
            self.table = drawn(draw, longest, sizes.hidden, scale=1.0)

    def forward(self, tokens: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Logits (b, s, V) of tokens (b, s) at positions (b, s)."""
        x = functional.embedding(tokens, self.embedding)  # (b, s, h)
        if self.learned:
            x = x + self.table[positions]
        for block in self.blocks:
            x = block(x, lambda part: self.turned(part, positions), attend)
        return functional.linear(self.norm(x), self.head)

    def turned(self, part: Tensor, positions: Tensor) -> Tensor:
        """Queries or keys (b, s, heads, d) under RoPE; as they are where positions are learned."""
        return part if self.learned else self.rope(part, positions)


def drawn(draw: torch.Generator, outputs: int, inputs: int, scale: float | None = None) -> nn.Parameter:
    """A weight (outputs, inputs) that keeps the size of what it multiplies, unless `scale` says otherwise."""
    spread = 1 / math.sqrt(inputs) if scale is None else scale
    return nn.Parameter(spread * torch.randn(outputs, inputs, generator=draw))


def draw_documents(lengths: Sequence[int], vocab: int, draw: torch.Generator) -> Tensor:
    """Token ids (T,) of all documents; the last of each is end-of-text, and no other is that or padding."""
    ids = torch.randint(PAD + 1, vocab, (sum(lengths),), generator=draw)
    ends = torch.tensor(
        [end for end, length in zip(itertools.accumulate(lengths), lengths, strict=True) if length]
    )
    ids[ends - 1] = END_OF_TEXT
    return ids


# -------------------------------------------------------------------------------------------- one pass


def logits_of(model: PackedDecoder, layout: Layout, ids: Tensor) -> Tensor:
    """Logits (b, s, V) of every place."""
    return model(layout.tokens(ids), layout.positions, layout.attend)


def losses_of(logits: Tensor, layout: Layout, ids: Tensor) -> Tensor:
    """The cross-entropy (b, s) of each place's logits (b, s, V) with its label; 0 where it has none."""
    labels = layout.labels(ids)
    losses = functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), reduction="none", ignore_index=IGNORED
    )
    return losses.view_as(labels)


def mean_loss(losses: Tensor, layout: Layout) -> Tensor:
    """The mean over the places that have a label, reduced in float64; 0 where none has."""
    return losses.double().sum() / (layout.following != PADDING).sum().clamp(min=1)
