"""The same documents through the same decoder three ways: padded, packed naively, unpadded; which are right?

Padded rows with a mask are the reference. One long row that is only causal, though positions restart, lets documents
see each other. Unpadded rows with cu_seqlens (varlen attention) are compared with the reference: logits, losses,
gradients, and how much one document's logits move when a token of another document changes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from explainers.contract.experiment import experiment
from explainers.contract.messages import Message
from explainers.contract.result import Check, Checked
from explainers.hardware.exclusive import exclusive_torch
from explainers.packing.decoder_three_ways import (
    END_OF_TEXT,
    PAD,
    PADDING,
    Layout,
    PackedDecoder,
    document_of,
    draw_documents,
    logits_of,
    losses_of,
    mean_loss,
    packed_naive,
    padded,
    padded_rows,
    unpadded,
)
from explainers.packing.run_params import BREAKS, RunParams

WAYS = ("padded", "packed_naive", "unpadded")
REPEATS = {"torch": 3, "triton": 1}  # interpreted, a pass takes seconds and needs no care about milliseconds

LOGIT_TOLERANCE = 2e-5  # fp32: numbers about 1 in size, sums of up to some hundred of them, a few layers
LOSS_TOLERANCE = 1e-6
GRADIENT_TOLERANCE = 1e-5


# -------------------------------------------------------------------------------------------- what is reported


@dataclass(frozen=True, eq=False)
class RunResult(Checked):
    """A decoder on N documents of T tokens, run three ways. Dictionaries have an entry for each of WAYS.

    max_abs_logit_error, max_abs_grad_error: unpadded against padded; a real token that the unpadded run lost counts
    as logits of 0. loss_...: the mean over all labels, in nats. document_losses: (N,) each, NaN for a document without
    a label. flops_...: of the matrix products of one forward pass, counted by torch. activation_bytes: kept for the
    backward pass, without weights. seconds: one forward and backward pass, the quickest of several.

    leak_naive, leak_unpadded: the most that a logit of any other document moves when the first token of a document
    changes. leak_by_document: (N, N), row: the document changed, column: the one observed, its own movement on the
    diagonal. leak_by_token: (N, T), the same by observed token; T in the order of the documents.

    places_padded: tokens and padding of the padded rows. tokens_lost: real tokens without a place in the unpadded
    row. cu_seqlens: (N + 1,), position_ids: (T - lost,), label_tokens: (T - lost,) the token that each place predicts,
    -1 for none: of the unpadded row.
    """

    max_abs_logit_error: float
    max_abs_grad_error: float
    loss_padded: float
    loss_unpadded: float
    loss_packed_naive: float
    document_losses: dict[str, np.ndarray]
    leak_unpadded: float
    leak_naive: float
    leak_by_document: dict[str, np.ndarray]
    leak_by_token: dict[str, np.ndarray]
    flops_padded: int
    flops_unpadded: int
    flops_packed_naive: int
    activation_bytes: dict[str, int]
    seconds: dict[str, float]
    tokens: int
    places_padded: int
    tokens_lost: int
    cu_seqlens: np.ndarray
    position_ids: np.ndarray
    label_tokens: np.ndarray
    notes: tuple[str, ...]
    checks: tuple[Check, ...]
    params: RunParams = field(metadata={"shell": False})


@dataclass(frozen=True, eq=False)
class Pass:
    """One forward and backward pass. logits: (T, V), losses: (T,), both in the order of the documents."""

    logits: Tensor
    losses: Tensor
    loss: float
    gradients: tuple[Tensor, ...]
    activation_bytes: int
    seconds: float


# --------------------------------------------------------------------------------------------- the experiment


@experiment("packing.run", breaks=BREAKS)
def run(params: RunParams) -> RunResult:
    """A small decoder on the same documents padded, packed naively and unpadded: logits, losses, leak and cost."""
    with exclusive_torch():
        return three_ways(params)


def three_ways(params: RunParams) -> RunResult:
    """Everything measured, on the thread of the caller."""
    lengths = params.document_lengths
    draw = torch.Generator().manual_seed(params.seed)
    model = PackedDecoder(params.sizes, sum(lengths), draw)
    ids = draw_documents(lengths, params.vocab, draw)
    layouts = {
        "padded": padded(lengths, params.kv_heads),
        "packed_naive": packed_naive(lengths),
        "unpadded": unpadded(lengths, ids, params.backend, params.break_it),
    }
    passes = {way: one_pass(model, layout, ids, REPEATS[params.backend]) for way, layout in layouts.items()}
    by_token = {way: leak(model, layouts[way], ids, lengths, params.vocab) for way in WAYS[1:]}
    by_document = {way: largest_of_documents(moved, lengths) for way, moved in by_token.items()}
    flops = counted_flops(model, layouts, ids, params)

    right, ours, row = passes["padded"], passes["unpadded"], layouts["unpadded"]
    assert row.cu_seqlens is not None  # the unpadded row has them
    measured = {
        "max_abs_logit_error": float((ours.logits - right.logits).abs().max()),
        "max_abs_grad_error": max(
            float((a - b).abs().max()) for a, b in zip(ours.gradients, right.gradients, strict=True)
        ),
        "loss_padded": right.loss,
        "loss_unpadded": ours.loss,
        "loss_packed_naive": passes["packed_naive"].loss,
        "leak_unpadded": between_documents(by_document["unpadded"]),
        "leak_naive": between_documents(by_document["packed_naive"]),
        "flops_padded": flops["padded"],
        "flops_unpadded": flops["unpadded"],
        "flops_packed_naive": flops["packed_naive"],
        "tokens_lost": sum(lengths) - row.source.shape[1],
    }
    return RunResult(
        **measured,
        document_losses={
            way: document_means(measured_pass.losses, layouts[way], lengths)
            for way, measured_pass in passes.items()
        },
        leak_by_document=by_document,
        leak_by_token=by_token,
        activation_bytes={way: measured_pass.activation_bytes for way, measured_pass in passes.items()},
        seconds={way: measured_pass.seconds for way, measured_pass in passes.items()},
        tokens=sum(lengths),
        places_padded=layouts["padded"].source.numel(),
        cu_seqlens=np.array(row.cu_seqlens.tolist()),
        position_ids=row.positions[0].numpy(),
        label_tokens=row.following[0].numpy(),
        notes=notes(params),
        checks=checks(params, measured, row, flops),
        params=params,
    )


# -------------------------------------------------------------------------------------------------- one pass


def one_pass(model: PackedDecoder, layout: Layout, ids: Tensor, repeats: int) -> Pass:
    """Forward and backward, what autograd keeps in between, and the quickest of `repeats` more."""
    weights = tuple(model.parameters())
    resident = {tensor.untyped_storage().data_ptr() for tensor in (*weights, *model.buffers())}
    kept: dict[int, int] = {}  # address of what is kept -> its bytes; kept memory is not given out twice

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in resident:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = logits_of(model, layout, ids)
        losses = losses_of(logits, layout, ids)
        loss = mean_loss(losses, layout)
    gradients = torch.autograd.grad(loss, weights)
    by_token = [layout.by_token(values.detach(), len(ids)) for values in (logits, losses)]
    seconds = min(timed(model, layout, ids, weights) for _ in range(repeats))
    return Pass(by_token[0], by_token[1], loss.item(), gradients, sum(kept.values()), seconds)


def timed(model: PackedDecoder, layout: Layout, ids: Tensor, weights: tuple[Tensor, ...]) -> float:
    """Seconds of a forward and a backward pass."""
    start = time.perf_counter()
    torch.autograd.grad(mean_loss(losses_of(logits_of(model, layout, ids), layout, ids), layout), weights)
    return time.perf_counter() - start


def document_means(losses: Tensor, layout: Layout, lengths: tuple[int, ...]) -> np.ndarray:
    """(N,), the mean loss over the labels of each document, in float64; NaN for a document without one."""
    document = document_of(lengths)
    labelled = layout.by_token((layout.following != PADDING).double(), len(losses))
    sums, counts = (
        torch.zeros(len(lengths), dtype=torch.float64).index_add(0, document, part)
        for part in (losses.double(), labelled)
    )
    return (sums / counts).numpy()


def counted_flops(
    model: PackedDecoder, layouts: dict[str, Layout], ids: Tensor, params: RunParams
) -> dict[str, int]:
    """FLOPs of the matrix products of one forward pass each way, as torch counts them.

    Our kernel is beneath torch's counter: its arithmetic is counted on the torch path, which does the same blocks.
    """
    row = unpadded(params.document_lengths, ids, "torch", params.break_it)
    counts = {}
    for way, layout in (layouts | {"unpadded": row}).items():
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            logits_of(model, layout, ids)
        counts[way] = counter.get_total_flops()
    return counts


# -------------------------------------------------------------------------------------------------- the leak


@torch.no_grad()
def leak(
    model: PackedDecoder, layout: Layout, ids: Tensor, lengths: tuple[int, ...], vocab: int
) -> np.ndarray:
    """(N, T), the most that a logit of each token moves when the first token of each document becomes another.

    The layout stays as it is. A row of zeros for a document without tokens, which has nothing to change.
    """
    before = layout.by_token(logits_of(model, layout, ids), len(ids))
    moved = np.zeros((len(lengths), len(ids)), np.float32)
    starts = np.cumsum([0, *lengths])
    for document, length in enumerate(lengths):
        if length:
            changed = ids.clone()
            changed[starts[document]] = another(int(ids[starts[document]]), vocab)
            after = layout.by_token(logits_of(model, layout, changed), len(ids))
            moved[document] = (after - before).abs().amax(1).numpy()
    return moved


def another(token: int, vocab: int) -> int:
    """The next token of the vocabulary that is neither end-of-text nor padding."""
    first = max(END_OF_TEXT, PAD) + 1
    return first + (token - first + 1) % (vocab - first)


def largest_of_documents(by_token: np.ndarray, lengths: tuple[int, ...]) -> np.ndarray:
    """(N, N) of the movement (N, T) by observed token: the largest in each observed document, 0 in an empty one."""
    parts = np.split(by_token, np.cumsum(lengths)[:-1], axis=1)
    return np.stack([part.max(axis=1, initial=0.0) for part in parts], axis=1)


def between_documents(by_document: np.ndarray) -> float:
    """The largest movement (N, N) off the diagonal."""
    return float(by_document[~np.eye(len(by_document), dtype=bool)].max(initial=0.0))


# ------------------------------------------------------------------------------------------ checks and notes


def checks(
    params: RunParams, measured: dict[str, float], row: Layout, flops: dict[str, int]
) -> tuple[Check, ...]:
    """The unpadded run against the padded one, and its inputs and arithmetic against the lengths alone."""
    return (
        Check(
            "unpadded logits equal padded ones on every real token",
            measured["max_abs_logit_error"],
            LOGIT_TOLERANCE,
            "the same decoder on padded rows with a mask",
        ),
        Check(
            "the unpadded loss equals the padded one",
            abs(measured["loss_unpadded"] - measured["loss_padded"]),
            LOSS_TOLERANCE,
            "the mean over the labels of the padded rows, reduced in float64",
        ),
        Check(
            "unpadded gradients equal padded ones",
            measured["max_abs_grad_error"],
            GRADIENT_TOLERANCE,
            "the backward pass of the padded rows",
        ),
        Check(
            "a changed token moves no logit of another document",
            measured["leak_unpadded"],
            0.0,
            "the same pass before the change, bit for bit",
        ),
        Check("no real token is lost with the padding", measured["tokens_lost"], 0, "the sum of the lengths"),
        Check(
            "position ids count each document from 0",
            wrong_positions(row, params.document_lengths),
            0,
            "0, 1, 2, ... up to each length, number of ids that differ",
        ),
        Check(
            "torch counts the FLOPs that the lengths predict",
            max(abs(flops[way] - params.flops[way]) for way in WAYS),
            0,
            "the sizes of every matrix product, summed by hand",
        ),
    )


def wrong_positions(row: Layout, lengths: tuple[int, ...]) -> int:
    """Of the tokens in the unpadded row, how many have another position than their place in their document."""
    source, positions = padded_rows(lengths)
    right = torch.zeros(sum(lengths), dtype=torch.int64)
    right[source[source != PADDING]] = positions[source != PADDING]
    return int((row.positions != right[row.source]).sum())


def notes(params: RunParams) -> tuple[str, ...]:
    """What a reader should know about the numbers at these params."""
    said = [
        Message(
            "The weights are drawn, not trained: a loss near ln V + ½ is no fault, and only differences matter."
        )
    ]
    if params.backend == "triton":
        said.append(
            Message(
                "On a CPU the Triton kernel is interpreted: its seconds say nothing about its speed on a GPU."
            )
        )
    if params.break_it == "positions_not_reset" and params.positions == "rope":
        said.append(
            Message(
                "RoPE turns queries and keys by their positions, and a score depends on the difference alone: with "
                "documents held apart, positions that run on change the ids and not the logits."
            )
        )
    if 0 in params.document_lengths:
        said.append(
            Message(
                "An empty document takes no token and no label; two equal entries of cu_seqlens are all it leaves."
            )
        )
    return tuple(said)
