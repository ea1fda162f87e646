"""Padding removal (rmpad): from packs of documents to the flat tokens that a model computes, and back.

The rows of a batch are as long as its longest document. Padding removal gathers the real tokens of all rows into one
flat row of T tokens and hands attention `cu_seqlens`, where each document begins, in place of a mask (varlen).

Source: Dao 2023 (FlashAttention-2) and its `unpad_input`, `pad_input` and `flash_attn_varlen_func`. NumPy alone, in
float64; the attention and the loss are real, on random hidden states and weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from explainers.contract.experiment import experiment, watch
from explainers.contract.messages import Message
from explainers.contract.result import Check, Checked
from explainers.packing import mrope
from explainers.packing.unpad_params import BREAKS, UnpadParams, notes_on

IGNORED = -100  # the label of a position that has no loss
BASE = 10_000.0  # of the rotary frequencies
TOLERANCE = 1e-12  # float64: sums of at most 512 terms of size 1


# -------------------------------------------------------------------------------------------- the padded rows


@dataclass(frozen=True, eq=False)
class Batch:
    """Documents as they are given, each of them one padded row.

    packs: the document numbers (from 0) of each pack. lengths: (B,) tokens of each document, pictures included.
    ids, modalities: (B, L); mask: (B, L) true at real tokens. pictures: in the order of their tokens.
    hidden: (B, L, H) what the first layer gets, 0 at padding. weights: q, k, v (H, heads, D), vocabulary (H, V).
    """

    packs: tuple[tuple[int, ...], ...]
    lengths: np.ndarray
    ids: np.ndarray
    modalities: np.ndarray
    mask: np.ndarray
    pictures: tuple[mrope.Picture, ...]
    hidden: np.ndarray
    weights: dict[str, np.ndarray]


def batch_of(params: UnpadParams) -> Batch:
    """The documents' tokens in rows as long as the longest, padded on the right, and random weights."""
    documents, next_id = [], mrope.FIRST_TEXT
    for d, text_tokens in enumerate(params.texts):
        own = [picture for picture in params.pictures if picture.document == d]
        documents.append(mrope.document_tokens(text_tokens, own, params.model, next_id))
        next_id += max(text_tokens - 1, 0)
    lengths = np.array([len(tokens) for tokens in documents])
    mask = np.arange(lengths.max()) < lengths[:, None]
    # pad_is_eos: the tokenizer has one id for both
    ids = np.full(mask.shape, mrope.END if params.break_it == "pad_is_eos" else mrope.PAD)
    modalities = np.full(mask.shape, mrope.TEXT)
    ids[mask], modalities[mask] = np.array(list(itertools.chain(*documents))).T
    numbers = iter(range(len(documents)))
    generator, width = np.random.default_rng(0), params.heads * params.head_size
    heads = {"q": params.heads, "k": params.kv_heads, "v": params.kv_heads}
    sizes: dict[str, tuple[int, ...]] = {n: (width, count, params.head_size) for n, count in heads.items()}
    sizes["vocabulary"] = (width, next_id)
    hidden = np.zeros((*mask.shape, width))
    hidden[mask] = generator.standard_normal((lengths.sum(), width))
    return Batch(
        packs=tuple(tuple(next(numbers) for _ in pack) for pack in params.packs),
        lengths=lengths,
        ids=ids,
        modalities=modalities,
        mask=mask,
        pictures=params.pictures,
        hidden=hidden,
        weights={name: generator.standard_normal(shape) / width**0.5 for name, shape in sizes.items()},
    )


# ------------------------------------------------------------------------------------------ padding removal


def remove_padding(batch: Batch, params: UnpadParams) -> Generator[str, None, dict[str, np.ndarray]]:
    """Padding removal, watched: yields the name of every stage, returns every tensor by its name.

    Axes: B documents, L the longest, T tokens, H hidden, Hq and Hkv heads, D head size, V vocabulary. break_it
    removes one part (see BREAKS).
    """
    made: dict[str, np.ndarray] = {}
    yield "packs"
    made["input_ids"] = batch.ids  # (B, L)
    yield "rows"
    # the mask comes from the lengths; rebuilt from ids it takes an end-of-text token for padding
    made["attention_mask"] = batch.ids != mrope.END if params.break_it == "pad_is_eos" else batch.mask
    yield "mask"
    # indices = where the mask, read row after row, is true
    made["indices"] = np.flatnonzero(made["attention_mask"])  # (T,)
    yield "indices"
    # cu_seqlens = 0, l_1, l_1 + l_2, .., T
    made["cu_seqlens"] = np.concatenate([[0], made["attention_mask"].sum(1).cumsum()])  # (B + 1,)
    if params.break_it == "cu_seqlens_off_by_one":
        made["cu_seqlens"][1:-1] = np.minimum(made["cu_seqlens"][1:-1] + 1, made["cu_seqlens"][-1])
    made["max_seqlen"] = np.diff(made["cu_seqlens"]).max()
    yield "cu_seqlens"
    made["flat_ids"] = batch.ids.reshape(-1)[made["indices"]]  # (T,)
    made["hidden"] = batch.hidden.reshape(-1, batch.hidden.shape[-1])[made["indices"]]  # (T, H)
    yield "flat"
    made["position_ids"] = positions_of(batch, made, params)  # (axes, T)
    yield "positions"
    for name in ("q", "k", "v"):
        made[name] = np.tensordot(made["hidden"], batch.weights[name], 1)  # (T, Hq or Hkv, D)
    for name in ("q", "k"):
        made[name] = rotated(made[name], made["position_ids"])
    yield "projections"
    made["attention"] = varlen_attention(made["q"], made["k"], made["v"], made["cu_seqlens"])  # (T, Hq, D)
    made["output"] = made["attention"].reshape(made["hidden"].shape)  # (T, H)
    yield "attention"
    across = params.break_it == "seam_labels"
    made["labels"] = shifted_labels(
        made["flat_ids"], made["cu_seqlens"][[0, -1]] if across else made["cu_seqlens"]
    )
    yield "labels"
    made["loss_positions"] = np.flatnonzero(made["labels"] != IGNORED)  # (T - R,)
    made["loss"] = cross_entropy(made["output"] @ batch.weights["vocabulary"], made["labels"])
    yield "loss"
    if params.pad_again:
        made["padded_again"] = padded(made["output"], made["indices"], batch.mask.shape)  # (B, L, H)
        yield "pad_again"
    return made


def positions_of(batch: Batch, made: dict[str, np.ndarray], params: UnpadParams) -> np.ndarray:
    """(axes, T) positions: computed on the padded rows, then gathered by indices."""
    modalities, mask, indices = batch.modalities, made["attention_mask"], made["indices"]
    if params.break_it == "positions_not_reset":  # as if the flat tokens were one document
        flat = modalities.reshape(1, -1)[:, indices]
        return mrope.position_ids(flat, np.ones_like(flat, bool), batch.pictures, params.model)[:, 0]
    rows = mrope.position_ids(modalities, mask, batch.pictures, params.model)
    return rows.reshape(len(rows), -1)[:, indices]


def rotated(x: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """RoPE: the pairs (k, k + D / 2) of every head turned by position times frequency; an odd last number stays.

    x: (tokens, heads, D). positions: (axes, tokens); of three axes the first quarter of the pairs turns with time, the
    next three eighths with height, the rest with width (sections 16, 24, 24 of 64, as in Qwen2.5-VL).
    """
    # `rope` of explainers/models/layers.py once more, in NumPy: this page must not wait until torch is imported
    pairs = x.shape[-1] // 2
    k = np.arange(pairs)
    axis = np.searchsorted([pairs / 4, 5 * pairs / 8], k, side="right") if len(positions) == 3 else 0 * k
    # angle = p / 10000^(k / pairs)
    angle = (positions[axis].T * BASE ** (-k / max(pairs, 1)))[:, None]
    first, second, rest = np.split(x, [pairs, 2 * pairs], axis=-1)
    turned = first * np.cos(angle) - second * np.sin(angle), second * np.cos(angle) + first * np.sin(angle)
    return np.concatenate([*turned, rest], axis=-1)


def varlen_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, cu_seqlens: np.ndarray) -> np.ndarray:
    """Causal attention document by document, (T, Hq, D). q: (T, Hq, D); k, v: (T, Hkv, D)."""
    output = np.zeros_like(q)
    for start, stop in itertools.pairwise(cu_seqlens):
        document = slice(start, stop)
        causal = np.tri(stop - start, dtype=bool)
        output[document] = masked_attention(q[document], k[document], v[document], causal)
    return output


def masked_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """O = softmax(q k^T / sqrt(D)) v where allowed (queries, keys); a row in which nothing is allowed gives 0."""
    group = q.shape[1] // k.shape[1]
    q, k, v = (x.swapaxes(0, 1) for x in (q, k.repeat(group, axis=1), v.repeat(group, axis=1)))  # heads first
    s = q @ k.swapaxes(1, 2) / q.shape[-1] ** 0.5
    p = np.exp(s - s.max(-1, keepdims=True, initial=-1e30)) * allowed
    return (p / np.maximum(p.sum(-1, keepdims=True), 1e-300) @ v).swapaxes(0, 1)


def shifted_labels(ids: np.ndarray, cu_seqlens: np.ndarray) -> np.ndarray:
    """(T,) the next token of the same document; IGNORED at each document's last token."""
    labels = np.append(ids[1:], IGNORED)[: len(ids)]
    ends = cu_seqlens[1:][np.diff(cu_seqlens) > 0] - 1
    labels[ends] = IGNORED
    return labels


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean of log sum exp(z) - z[label] over the positions that are not IGNORED; NaN where there are none."""
    z, wanted = logits[labels != IGNORED], labels[labels != IGNORED]
    highest = z.max(-1, initial=-1e30)
    losses = highest + np.log(np.exp(z - highest[:, None]).sum(-1)) - z[np.arange(len(z)), wanted]
    return np.array(losses.mean() if len(losses) else np.nan)


def padded(flat: np.ndarray, indices: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Flat tokens (T, ...) back in rows (B, L, ...), 0 at padding."""
    rows = np.zeros((shape[0] * shape[1], *flat.shape[1:]), flat.dtype)
    rows[indices] = flat
    return rows.reshape(*shape, *flat.shape[1:])


def tiles_of(cu_seqlens: np.ndarray, block_q: int, block_k: int) -> np.ndarray:
    """(tiles, 4) first row, first column, last row + 1, last column + 1 of the tiles that a varlen kernel visits.

    A document's tiles begin with the document. Causal: those wholly above the diagonal are skipped.
    """
    tiles = [
        (row, column, min(row + block_q, stop), min(column + block_k, stop))
        for start, stop in itertools.pairwise(cu_seqlens.tolist())
        for row in range(start, stop, block_q)
        for column in range(start, min(row + block_q, stop), block_k)
    ]
    return np.array(tiles, int).reshape(-1, 4)


def count_tiles(cu_seqlens: np.ndarray, block_q: int, block_k: int) -> int:
    """How many tiles `tiles_of` lists, without listing them: padded rows have up to a hundred thousand."""
    rows = (np.minimum(np.arange(0, n, block_q) + block_q, n) for n in np.diff(cu_seqlens).tolist())
    return sum(int((-(-below // block_k)).sum()) for below in rows)


# -------------------------------------------------------------------------------------------- the experiment


@dataclass(frozen=True, eq=False)
class UnpadResult(Checked):
    """Every tensor of padding removal.

    lengths: tokens of each document. tokens: T. documents_with_tokens: R. position_ids: (T,), or (3, T) of mRoPE: time,
    height, width. shapes: of each tensor by its name. loss_positions: those with a label, T - R of them.
    tiles_visited: by the varlen kernel for one head; tiles_padded: by the same kernel on the padded rows.
    """

    lengths: np.ndarray
    tokens: int
    documents_with_tokens: int
    padding_percent: float
    indices: np.ndarray
    cu_seqlens: np.ndarray
    max_seqlen: int
    position_ids: np.ndarray
    labels: np.ndarray
    loss_positions: np.ndarray
    loss: float
    shapes: dict[str, tuple[int, ...]]
    tiles_visited: int
    tiles_padded: int
    notes: tuple[str, ...]
    checks: tuple[Check, ...]
    params: UnpadParams = field(metadata={"shell": False})
    batch: Batch = field(metadata={"shell": False})
    made: dict[str, np.ndarray] = field(metadata={"shell": False})
    stages: tuple[str, ...] = field(metadata={"shell": False})
    lines: tuple[int, ...] = field(metadata={"shell": False})  # on which remove_padding paused, one a stage


@experiment("packing.unpad", breaks=BREAKS)
def unpad(params: UnpadParams) -> UnpadResult:
    """Padding removal, tensor by tensor: padded rows, flat tokens, varlen attention, labels and loss."""
    batch = batch_of(params)
    watched, made = watch(remove_padding(batch, params))
    positions = made["position_ids"][0] if params.model == "text" else made["position_ids"]
    rows = np.arange(len(batch.lengths) + 1) * batch.mask.shape[1]
    tiles = [count_tiles(ends, params.block_q, params.block_k) for ends in (made["cu_seqlens"], rows)]
    return UnpadResult(
        lengths=batch.lengths,
        tokens=len(made["indices"]),
        documents_with_tokens=int((batch.lengths > 0).sum()),
        padding_percent=100 * float(1 - batch.mask.mean()),
        indices=made["indices"],
        cu_seqlens=made["cu_seqlens"],
        max_seqlen=int(made["max_seqlen"]),
        position_ids=positions,
        labels=made["labels"],
        loss_positions=made["loss_positions"],
        loss=float(made["loss"]),
        shapes={name: tensor.shape for name, tensor in {**made, "position_ids": positions}.items()},
        tiles_visited=tiles[0],
        tiles_padded=tiles[1],
        notes=tuple(notes_on(params)),
        checks=tuple(checks_of(batch, made, params)),
        params=params,
        batch=batch,
        made=made,
        stages=tuple(stage for _, stage in watched),
        lines=tuple(line for line, _ in watched),
    )


def checks_of(batch: Batch, made: dict[str, np.ndarray], params: UnpadParams) -> Iterator[Check]:
    """Every tensor against the documents themselves, each taken alone and never flattened."""
    shape, indices = batch.mask.shape, made["indices"]
    starts = np.array([0, *itertools.accumulate(batch.lengths.tolist())])
    real = np.flatnonzero(batch.mask)

    # every real token has its own number, so that none can take another's place
    numbered = padded(1 + np.arange(len(real)), real, shape)
    again = padded(numbered.reshape(-1)[indices], indices, shape)
    yield Check("unpad, then pad, gives the rows back", int((again != numbered).sum()), 0, "the padded rows")
    wrong = int((made["cu_seqlens"] != starts).sum())
    yield Check(
        "cu_seqlens starts at 0, ends at T and steps by the lengths", wrong, 0, "the sums of the lengths"
    )
    yield Check(
        "positions restart in each document",
        _wrong_positions(batch, made, params),
        0,
        "each document computed alone",
    )
    with_tokens = int((batch.lengths > 0).sum())
    off = abs(len(made["loss_positions"]) - (len(real) - with_tokens))
    difference = Message("{tokens} - {documents}", tokens=len(real), documents=with_tokens)
    yield Check("the loss has T - R positions", off, 0, difference)

    # (B L) x (B L) pairs of places by number: query x B L + key
    seen = block_diagonal(made["cu_seqlens"])
    pairs = (indices[:, None] * batch.mask.size + indices)[seen]
    wrong = len(np.setxor1d(pairs, _pairs_of_rows(batch.mask)))
    yield Check(
        "a token attends to its own document up to itself", wrong, 0, "the causal mask of the padded rows"
    )

    # labels at every start of a document ignored, and only then shifted, over all tokens at once
    unshifted = batch.ids[batch.mask].copy()
    unshifted[starts[:-1][batch.lengths > 0]] = IGNORED
    wanted = padded(np.append(unshifted[1:], IGNORED), real, shape)
    wrong = int((padded(made["labels"], indices, shape) != wanted).sum())
    yield Check(
        "labels are the next tokens, none across a seam",
        wrong,
        0,
        "the starts ignored, then one global shift",
    )
    rows = padded_attention(batch, params)
    error = np.abs(padded(made["output"], indices, shape) - rows)[batch.mask].max()
    yield Check(
        "unpadded attention equals padded attention", float(error), TOLERANCE, "padded rows with their mask"
    )
    expected = cross_entropy(rows[:, :-1] @ batch.weights["vocabulary"], next_in_row(batch))
    error = 0.0 if np.isnan([made["loss"], expected]).all() else abs(float(made["loss"] - expected))
    yield Check("the loss equals that of the padded rows", error, TOLERANCE, "each row shifted by itself")


def _wrong_positions(batch: Batch, made: dict[str, np.ndarray], params: UnpadParams) -> int:
    """How many positions, of all axes, are not those of the document computed alone."""
    wanted = np.full((len(made["position_ids"]), *batch.mask.shape), -1)
    for d, length in enumerate(batch.lengths):
        own = [picture for picture in batch.pictures if picture.document == d]
        alone = batch.modalities[d : d + 1, :length]
        wanted[:, d, :length] = mrope.position_ids(alone, np.ones_like(alone, bool), own, params.model)[:, 0]
    placed = np.full((len(wanted), batch.mask.size), -1)
    placed[:, made["indices"]] = made["position_ids"]
    return int((placed != wanted.reshape(placed.shape)).sum())


def block_diagonal(cu_seqlens: np.ndarray) -> np.ndarray:
    """(T, T) true where row i may attend to column j: the same document by cu_seqlens, and j <= i."""
    token = np.arange(cu_seqlens[-1])
    document = np.searchsorted(cu_seqlens, token, side="right")
    return (document[:, None] == document) & (token <= token[:, None])


def _pairs_of_rows(mask: np.ndarray) -> np.ndarray:
    """The pairs that padded rows with their mask allow: query x B L + key."""
    row, query, key = np.nonzero(mask[:, :, None] & mask[:, None, :] & np.tri(mask.shape[1], dtype=bool))
    return (row * mask.shape[1] + query) * mask.size + row * mask.shape[1] + key


def padded_attention(batch: Batch, params: UnpadParams) -> np.ndarray:
    """(B, L, H) attention of the padded rows: causal, and no key at padding, whose own output is 0."""
    q, k, v = (np.tensordot(batch.hidden, batch.weights[name], 1) for name in ("q", "k", "v"))
    positions = mrope.position_ids(batch.modalities, batch.mask, batch.pictures, params.model)
    for d in range(len(q)):
        q[d], k[d] = rotated(q[d], positions[:, d]), rotated(k[d], positions[:, d])
    causal = np.tri(batch.mask.shape[1], dtype=bool)
    output = np.zeros_like(q)
    for d, mask in enumerate(batch.mask):
        output[d, mask] = masked_attention(q[d, mask], k[d], v[d], (causal & mask)[mask])
    return output.reshape(batch.hidden.shape)


def next_in_row(batch: Batch) -> np.ndarray:
    """(B, L - 1) the next token of each row, IGNORED where there is none."""
    return np.where(batch.mask[:, 1:], batch.ids[:, 1:], IGNORED)
