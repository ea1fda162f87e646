"""The words of a run three ways: its steps, a sentence for each, and the sentence of a break where it is seen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from explainers.contract.messages import LiveMessage, Message
from explainers.drawing.scene import Words
from explainers.packing.run import WAYS, RunResult
from explainers.packing.run_params import RunParams

# The steps; from LEAKS on one for each document that has tokens, and a last one for all of them.
PADDED, NAIVE, UNPADDED, COMPARED, COST, LEAKS = range(6)

# Losses in nats and their distances from the padded one (off); FLOPs of the unpadded run as a share of the padded one;
# the document whose first token is changed, and the most that a logit of another one then moves (leak); the highest
# position id, and the tokens of the longest document.
COLUMNS = (
    "places", "tokens", "logits_off", "padded_loss", "naive_loss", "unpadded_loss", "naive_loss_off",
    "unpadded_loss_off", "flops_share", "lost", "document", "naive_leak", "unpadded_leak", "highest_position",
    "longest",
)  # fmt: skip

SENTENCES = (
    LiveMessage(
        "Padded: **{places:d} places for {tokens:d} tokens**, a row for each document; the mask hides the padding, "
        "loss {padded_loss:.6f}."
    ),
    LiveMessage(
        "Packed without a document mask: {tokens:d} tokens and no padding, but every document sees those before it: "
        "**loss {naive_loss:.6f}**, {naive_loss_off:.2e} off."
    ),
    LiveMessage(
        "Unpadded: {tokens:d} tokens, {lost:d} of them lost, held apart by cu_seqlens: **loss {unpadded_loss:.6f}**."
    ),
    LiveMessage(
        "Against the padded rows, unpadded logits differ by {logits_off:.2e} at most and the loss by "
        "**{unpadded_loss_off:.2e}**."
    ),
    LiveMessage(
        "Forward, unpadded takes **{flops_share:.2f} of the FLOPs** of the padded rows; the time of so small a model "
        "says little."
    ),
    LiveMessage(
        "Document {document:d} changes its first token: naively packed, logits of others move by up to "
        "**{naive_leak:.3g}**; unpadded by **{unpadded_leak:.3g}**."
    ),
    LiveMessage(
        "Whichever document changes, logits of others move by up to **{naive_leak:.3g}** where it is packed naively, "
        "and by **{unpadded_leak:.3g}** where it is unpadded."
    ),
)

# For each break, what is said at the step at which it is seen.
SEEN: Mapping[str, Message] = {
    "cu_seqlens_off_by_one": LiveMessage(
        "cu_seqlens one too late: unpadded, logits move by up to **{unpadded_leak:.3g}** when the document before "
        "changes; right is 0."
    ),
    "seam_labels": LiveMessage(
        "Labels across the seams: logits differ by {logits_off:.2e} at most, which is right; **the loss is off by "
        "{unpadded_loss_off:.2e}**."
    ),
    "pad_is_eos": LiveMessage(
        "**{lost:d} of {tokens:d} real tokens are lost**: each document's end-of-text went with the padding, and the "
        "unpadded row ends early."
    ),
    "positions_not_reset": LiveMessage(
        "Positions run on to {highest_position:d}, no document has more than {longest:d} tokens: **logits off by "
        "{logits_off:.3g}, the loss by {unpadded_loss_off:.3g}**."
    ),
}
SEEN_WITH_ROPE = LiveMessage(
    "**Positions run on to {highest_position:d}**, no document has more than {longest:d} tokens; RoPE sees only "
    "differences, which stay right."
)


def opens_at(result: RunResult, steps: int) -> int:
    """The last step, with everything in sight; for a break the step at which it is seen."""
    seen = {"seam_labels": COMPARED, "pad_is_eos": UNPADDED, "positions_not_reset": COMPARED}
    if result.params.break_it == "positions_not_reset" and result.params.positions == "rope":
        return UNPADDED  # the ids are wrong and nothing else is
    return seen.get(result.params.break_it, steps - 1)


def _seen(params: RunParams) -> tuple[Message, ...]:
    """The sentence of the chosen break; none where nothing is broken."""
    if params.break_it == "positions_not_reset" and params.positions == "rope":
        return (SEEN_WITH_ROPE,)
    return (SEEN[params.break_it],) if params.break_it in SEEN else ()


def words(result: RunResult, changed: list[int], steps: int) -> Words:
    """A sentence for each step; a break has another one at the step at which it is seen.

    changed: the documents that change a token.
    """
    facts = [
        result.places_padded,
        result.tokens,
        result.max_abs_logit_error,
        result.loss_padded,
        result.loss_packed_naive,
        result.loss_unpadded,
        abs(result.loss_packed_naive - result.loss_padded),
        abs(result.loss_unpadded - result.loss_padded),
        result.flops_unpadded / result.flops_padded,
        result.tokens_lost,
    ]
    positions = [int(result.position_ids.max()), max(result.params.document_lengths)]
    overall = [0, result.leak_naive, result.leak_unpadded]
    moved = [[document, *_moved_by(result, document)] for document in changed]
    rows = [[*facts, *leak, *positions] for leak in (*[overall] * LEAKS, *moved, overall)]
    which = np.array([*range(LEAKS), *[LEAKS] * len(changed), LEAKS + 1])
    seen = _seen(result.params)
    if seen:
        which[opens_at(result, steps)] = len(SENTENCES)
    return Words(sentences=(*SENTENCES, *seen), which=which, values=np.array(rows, float), columns=COLUMNS)


def _moved_by(result: RunResult, document: int) -> list[float]:
    """The most that a logit of another document moves when this one changes: packed naively, unpadded."""
    others = np.arange(len(result.params.document_lengths)) != document
    return [float(result.leak_by_document[way][document, others].max(initial=0.0)) for way in WAYS[1:]]
