"""The words of padding removal: a sentence for each stage, with its numbers, and its formula."""

from __future__ import annotations

import numpy as np

from explainers.drawing.formula import formula
from explainers.drawing.scene import Words
from explainers.packing.unpad import IGNORED, UnpadResult


def words(result: UnpadResult) -> Words:
    steps = len(result.stages)
    told = _sentences(result)
    formulas = tuple(formula(latex) if (latex := _latex(result, stage)) else "" for stage in result.stages)
    sentences = tuple(told[stage] for stage in result.stages)
    return Words(sentences, np.arange(steps), np.zeros((steps, 1)), formulas)


def _sentences(result: UnpadResult) -> dict[str, str]:
    """What happens in each stage, with its numbers."""
    (B, L), params, T = result.batch.mask.shape, result.params, result.tokens
    real, R, losses = int(result.lengths.sum()), result.documents_with_tokens, len(result.loss_positions)
    packs = count(len(result.batch.packs), "pack")
    mask = f"The attention mask is 1 at the **{T}** real tokens and 0 at padding."
    rebuilt = f"Rebuilt from ids, the mask takes end-of-text tokens for padding: **{T}** ones for {real} real tokens."
    return {
        "packs": f"The loader hands over {packs} with **{count(B, 'document')}** of {_listed(result.lengths)} tokens.",
        "rows": f"Each document becomes a row as long as the longest: {B} × {L} = {B * L} places for "
        f"{count(real, 'token')}, **{result.padding_percent:.0f}% padding**.",
        "mask": mask if real == T else rebuilt,
        "indices": f"indices: where the mask, read row after row, is 1. **{T} numbers** below {B * L}.",
        "cu_seqlens": _boundaries(result),
        "flat": f"Gathered by indices, ids and hidden states are one row of **{T}** tokens, and no padding is left.",
        "positions": _positions(result),
        "projections": f"q has **{params.heads}** heads for each token, k and v **{params.kv_heads}**, each of length "
        f"{params.head_size}; q and k are rotated by the positions. {B * L - T} places of padding are not computed.",
        "attention": _attention(result),
        "labels": _labels(result),
        "loss": f"**{count(losses, 'position')}** with a loss, where T - R = {real} - {R} = {real - R}"
        + (f"; the mean loss is {result.loss:.4f}." if losses else "."),
        "pad_again": f"The same indices put the outputs back into {B} × {L} places; padding is 0.",
    }


def _boundaries(result: UnpadResult) -> str:
    entries = f"cu_seqlens = {_listed(result.cu_seqlens)}"
    if result.params.break_it == "cu_seqlens_off_by_one":
        entries += ": **one token late** at every seam"
    empty = int((np.diff(result.cu_seqlens) == 0).sum())
    repeats = {0: "", 1: " An empty document only repeats an entry."}
    more = repeats.get(empty, f" {empty} empty documents only repeat entries.")
    return f"{entries}; max_seqlen = **{result.max_seqlen}**.{more}"


def _attention(result: UnpadResult) -> str:
    lengths = np.diff(result.cu_seqlens)
    tiles = f"**{count(result.tiles_visited, 'tile')}** a head"
    if result.params.break_it == "cu_seqlens_off_by_one":
        return (
            f"With seams one token late, attention takes the tokens for documents of {_listed(lengths[lengths > 0])} "
            f"tokens: a document's first token reads the document before it. {tiles}."
        )
    return (
        f"Varlen attention takes cu_seqlens in place of a mask: {count(int((lengths > 0).sum()), 'document')}, each "
        f"alone, {tiles} instead of {result.tiles_padded:,} for padded rows."
    )


def _positions(result: UnpadResult) -> str:
    highest, one_axis = int(result.made["position_ids"].max(initial=0)), result.position_ids.ndim == 1
    if result.params.break_it == "positions_not_reset":
        return f"The positions run on across the documents, up to **{highest}**: only the first begins at 0."
    if one_axis:
        return f"Positions restart at 0 in each document; the highest is **{highest}**."
    return (
        "Time, height and width are computed on the padded rows and gathered by indices; an image's tokens share one "
        f"time, and the highest position is **{highest}**."
    )


def _labels(result: UnpadResult) -> str:
    ignored = int((result.labels == IGNORED).sum())
    if result.params.break_it == "seam_labels":
        return (
            f"Shifted over all tokens at once, only **{ignored}** label is {IGNORED}: elsewhere a document's last "
            "token must predict the next document's first."
        )
    return f"Each token's label is the next one of its document; the last has none: **{ignored}** labels are {IGNORED}."


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


def count(number: int, one: str) -> str:
    return f"{number:,} {one if number == 1 else one + 's'}"
