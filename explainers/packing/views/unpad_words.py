"""The words of padding removal: a sentence for each stage, with its numbers, and its formula."""

from __future__ import annotations

import numpy as np

from explainers.contract.messages import Message, joined, plural
from explainers.drawing.formula import formula
from explainers.drawing.scene import Words
from explainers.packing.unpad import IGNORED, UnpadResult


def words(result: UnpadResult) -> Words:
    """A sentence for every stage, and its formula where it has one."""
    steps = len(result.stages)
    of_stage = _sentences(result)
    formulas = tuple(formula(latex) if (latex := _latex(result, stage)) else "" for stage in result.stages)
    sentences = tuple(of_stage[stage] for stage in result.stages)
    return Words(sentences, np.arange(steps), np.zeros((steps, 1)), formulas)


def _sentences(result: UnpadResult) -> dict[str, Message]:
    """What happens in each stage, with its numbers."""
    (B, L), T = result.batch.mask.shape, result.tokens
    return {
        "packs": Message(
            "The loader hands over {packs} with **{documents}** of {lengths} tokens.",
            packs=plural("{count:,} pack", "{count:,} packs", count=len(result.batch.packs)),
            documents=documents_of(B),
            lengths=_listed(result.lengths),
        ),
        "rows": Message(
            "Each document becomes a row as long as the longest: {rows} × {longest} = {places} for {tokens}, "
            "**{padding:.0f}% padding**.",
            rows=B,
            longest=L,
            places=plural("{count} place", "{count} places", count=B * L),
            tokens=tokens_of(int(result.lengths.sum())),
            padding=result.padding_percent,
        ),
        "mask": _mask(result),
        "indices": plural(
            "indices: where the mask, read row after row, is 1. **{count} number** below {places}.",
            "indices: where the mask, read row after row, is 1. **{count} numbers** below {places}.",
            count=T,
            places=B * L,
        ),
        "cu_seqlens": _boundaries(result),
        "flat": plural(
            "Gathered by indices, ids and hidden states are one row of **{count}** token, and no padding is left.",
            "Gathered by indices, ids and hidden states are one row of **{count}** tokens, and no padding is left.",
            count=T,
        ),
        "positions": _positions(result),
        "projections": _projections(result),
        "attention": _attention(result),
        "labels": _labels(result),
        "loss": _loss(result),
        "pad_again": Message(
            "The same indices put the outputs back into {rows} × {longest} places; padding is 0.",
            rows=B,
            longest=L,
        ),
    }


def _mask(result: UnpadResult) -> Message:
    T, real = result.tokens, int(result.lengths.sum())
    if real == T:
        return plural(
            "The attention mask is 1 at the **{count}** real token and 0 at padding.",
            "The attention mask is 1 at the **{count}** real tokens and 0 at padding.",
            count=T,
        )
    return Message(
        "Rebuilt from ids, the mask takes end-of-text tokens for padding: {ones} for {tokens}.",
        ones=plural("**{count}** one", "**{count}** ones", count=T),
        tokens=plural("{count} real token", "{count} real tokens", count=real),
    )


def _boundaries(result: UnpadResult) -> Message:
    values = {"entries": _listed(result.cu_seqlens), "longest": result.max_seqlen}
    entries = (
        Message(
            "cu_seqlens = {entries}: **one token late** at every seam; max_seqlen = **{longest}**.", **values
        )
        if result.params.break_it == "cu_seqlens_off_by_one"
        else Message("cu_seqlens = {entries}; max_seqlen = **{longest}**.", **values)
    )
    empty = int((np.diff(result.cu_seqlens) == 0).sum())
    repeats = plural(
        "An empty document only repeats an entry.",
        "{count} empty documents only repeat entries.",
        count=empty,
    )
    return joined([entries, repeats], " ") if empty else entries


def _positions(result: UnpadResult) -> Message:
    highest = int(result.made["position_ids"].max(initial=0))
    if result.params.break_it == "positions_not_reset":
        return Message(
            "The positions run on across the documents, up to **{highest}**: only the first begins at 0.",
            highest=highest,
        )
    if result.position_ids.ndim == 1:
        return Message(
            "Positions restart at 0 in each document; the highest is **{highest}**.", highest=highest
        )
    return Message(
        "Time, height and width are computed on the padded rows and gathered by indices; an image's tokens share one "
        "time, and the highest position is **{highest}**.",
        highest=highest,
    )


def _projections(result: UnpadResult) -> Message:
    params = result.params
    heads = plural(
        "q has **{count}** head for each token, k and v **{kv_heads}**, each of length {size}; q and k are rotated by "
        "the positions.",
        "q has **{count}** heads for each token, k and v **{kv_heads}**, each of length {size}; q and k are rotated by "
        "the positions.",
        count=params.heads,
        kv_heads=params.kv_heads,
        size=params.head_size,
    )
    spared = plural(
        "{count} place of padding is not computed.",
        "{count} places of padding are not computed.",
        count=result.batch.mask.size - result.tokens,
    )
    return joined([heads, spared], " ")


def _attention(result: UnpadResult) -> Message:
    lengths = np.diff(result.cu_seqlens)
    lengths = lengths[lengths > 0]
    if result.params.break_it == "cu_seqlens_off_by_one":
        late = Message(
            "With seams one token late, attention takes the tokens for documents of {lengths} tokens: a document's "
            "first token reads the document before it.",
            lengths=_listed(lengths),
        )
        tiles = plural(
            "**{count:,} tile** a head.", "**{count:,} tiles** a head.", count=result.tiles_visited
        )
        return joined([late, tiles], " ")
    return Message(
        "Varlen attention takes cu_seqlens in place of a mask: {documents}, {tiles} instead of {padded:,} for padded "
        "rows.",
        documents=plural("{count:,} document alone", "{count:,} documents, each alone", count=len(lengths)),
        tiles=plural("**{count:,} tile** a head", "**{count:,} tiles** a head", count=result.tiles_visited),
        padded=result.tiles_padded,
    )


def _labels(result: UnpadResult) -> Message:
    ignored = int((result.labels == IGNORED).sum())
    if result.params.break_it == "seam_labels":
        return plural(
            "Shifted over all tokens at once, only **{count}** label is {label}: elsewhere a document's last token "
            "must predict the next document's first.",
            "Shifted over all tokens at once, only **{count}** labels are {label}: elsewhere a document's last token "
            "must predict the next document's first.",
            count=ignored,
            label=IGNORED,
        )
    return plural(
        "Each token's label is the next one of its document; the last has none: **{count}** label is {label}.",
        "Each token's label is the next one of its document; the last has none: **{count}** labels are {label}.",
        count=ignored,
        label=IGNORED,
    )


def _loss(result: UnpadResult) -> Message:
    real, R, losses = int(result.lengths.sum()), result.documents_with_tokens, len(result.loss_positions)
    values = {
        "positions": plural("{count:,} position", "{count:,} positions", count=losses),
        "real": real,
        "documents": R,
        "due": real - R,
    }
    if not losses:
        return Message(
            "**{positions}** with a loss, where T - R = {real} - {documents} = {due}.",
            **values,
        )
    return Message(
        "**{positions}** with a loss, where T - R = {real} - {documents} = {due}; the mean loss is {loss:.4f}.",
        **values,
        loss=result.loss,
    )


def _latex(result: UnpadResult, stage: str) -> str:
    """The formula of a stage; empty where the sentence says it all."""
    real, R = int(result.lengths.sum()), result.documents_with_tokens
    right_positions = result.position_ids.ndim == 1 and result.params.break_it == "none"
    return {
        "cu_seqlens": r"c_0 = 0, \quad c_{d+1} = c_d + n_d",
        "positions": "p_i = i - c_d" if right_positions else "",
        "attention": rf"\text{{softmax}}(q k^\top / \sqrt{{D}}) v, \quad D = {result.params.head_size}",
        "loss": rf"T - R = {real} - {R} = {real - R}",
    }.get(stage, "")


def _listed(numbers: np.ndarray) -> str:
    """Numbers with commas; a long list is cut in the middle."""
    texts = [str(number) for number in numbers.tolist()]
    return ", ".join(texts if len(texts) <= 9 else [*texts[:6], "..", *texts[-2:]])


def tokens_of(count: int) -> Message:
    """A number of tokens, in words."""
    return plural("{count:,} token", "{count:,} tokens", count=count)


def documents_of(count: int) -> Message:
    """A number of documents, in words."""
    return plural("{count:,} document", "{count:,} documents", count=count)
