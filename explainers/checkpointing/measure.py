"""One training step of a real decoder under torch.utils.checkpoint, its memory traced to the byte and predicted.

Memory is alive from the event in which the dispatcher sees it allocated until it is freed (memory_trace.py). The
prediction uses sizes alone (prediction.py). The gradients are compared with those of the same step without
checkpointing.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from explainers.checkpointing import korthikanti, prediction, step_words
from explainers.checkpointing.korthikanti import CountRow
from explainers.checkpointing.measure_params import BREAKS, MeasureParams
from explainers.checkpointing.memory_trace import CATEGORIES, PHASES, MemoryTrace, Timeline
from explainers.checkpointing.prediction import Sizes, Strategy, Term
from explainers.checkpointing.step import Plan, Step, plain_gradients, training_step
from explainers.contract.experiment import experiment
from explainers.contract.messages import Message
from explainers.contract.result import Check, Checked
from explainers.hardware.exclusive import exclusive_torch
from explainers.models.decoder import Decoder

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
POLICIES = {"selective_matmuls": "matmuls", "selective_attention": "attention"}

# -------------------------------------------------------------------------------------------- what is reported


@dataclass(frozen=True, eq=False)
class StepResult(Checked):
    """The memory of one training step, in bytes.

    peak_bytes: the most that is alive beyond the model before the step (the weights and tables, `model_bytes`).
    saved_after_forward_bytes: activations kept for the backward pass, measured; predicted_...: from sizes alone.
    activation_peak_bytes: the most activations, kept and recomputed, alive at the same time; predicted_...: from sizes
    alone. without_checkpoints_bytes: what would be kept with nothing checkpointed, predicted. recomputed_share: FLOPs
    of matrix products that run again, as a share of those of a forward pass, from the shapes.
    by_category: at the peak; together model_bytes + peak_bytes. peak_event, peak_operation, peak_phase, peak_layer:
    what caused the peak. activation_peak_event: after which the most activations are alive.
    allocated_total_bytes, freed_total_bytes: over the whole step. forward_runs: of each block. formula: what is kept,
    with its numbers; saving: what the strategy saves and costs, in words. terms: what is kept, tensor by tensor.
    live_bytes: (events,); category_bytes: (categories, events), in the order of by_category. events: every allocation
    and free.

    Layers are counted from 1 in peak_layer (0: the embedding; layers + 1: last norm, head and loss), as on screen, and
    from 0 in events and in the timeline, as in torch.
    """

    peak_bytes: int
    model_bytes: int
    saved_after_forward_bytes: int
    predicted_saved_after_forward_bytes: int
    without_checkpoints_bytes: int
    activation_peak_bytes: int
    activation_peak_event: int
    predicted_activation_peak_bytes: int
    by_category: dict[str, int]
    peak_event: int
    peak_operation: str
    peak_phase: str
    peak_layer: int
    allocated_total_bytes: int
    freed_total_bytes: int
    forward_runs: tuple[int, ...]
    recomputed_share: float
    formula: str
    saving: str
    terms: tuple[Term, ...]
    live_bytes: np.ndarray
    category_bytes: np.ndarray
    events: np.ndarray
    timeline: Timeline = field(metadata={"shell": False})


def measured(
    timeline: Timeline,
    forward_runs: list[int],
    sizes: Sizes,
    strategy: Strategy,
    k: int,
    *,
    with_gradients: bool = False,
) -> dict:
    """The fields of a StepResult. with_gradients: the timeline counts gradients as activations."""
    terms = prediction.kept_by_step(sizes, strategy, k)
    by_category, live_bytes, peak = timeline.by_category, timeline.live_bytes, timeline.peak
    last = max(timeline.forward_ends - 1, 0)  # the last event of the forward pass
    state = by_category[CATEGORIES.index("optimizer_state"), last]
    activations = timeline.of("kept_activation", "recomputed_activation")
    everything = prediction.total(prediction.kept_by_step(sizes, "none", 1))
    # under a break the backward pass may not recompute anything
    share = recomputed_share(sizes, strategy, k) if max(forward_runs) > 1 else 0.0
    saved = int(live_bytes[last] - state) - timeline.resident
    most, predicted_most = int(activations.max()), prediction.activation_peak(sizes, strategy, k)
    alive = step_words.most_alive(most, predicted_most, with_gradients=with_gradients)
    recomputed = step_words.recomputation(forward_runs, strategy, share, sizes)
    return {
        "peak_bytes": int(live_bytes[peak]) - timeline.resident,
        "model_bytes": timeline.resident,
        "saved_after_forward_bytes": saved,
        "predicted_saved_after_forward_bytes": prediction.total(terms),
        "without_checkpoints_bytes": everything,
        "activation_peak_bytes": most,
        "activation_peak_event": int(activations.argmax()),
        "predicted_activation_peak_bytes": predicted_most,
        "by_category": dict(zip(CATEGORIES, by_category[:, peak].tolist(), strict=True)),
        "peak_event": peak,
        "peak_operation": timeline.operations[timeline.operation[peak]],
        "peak_phase": PHASES[timeline.phase[peak]],
        "peak_layer": int(timeline.layer[peak]) + 1,
        "allocated_total_bytes": int(timeline.sizes[timeline.allocates].sum()),
        "freed_total_bytes": int(timeline.sizes[~timeline.allocates].sum()),
        "forward_runs": tuple(forward_runs),
        "recomputed_share": share,
        "formula": step_words.formula(sizes, strategy, k, saved),
        "saving": step_words.saving(alive, everything, recomputed, strategy),
        "terms": tuple(terms),
        "live_bytes": live_bytes,
        "category_bytes": by_category,
        "events": timeline.rows(),
        "timeline": timeline,
    }


def recomputed_share(sizes: Sizes, strategy: Strategy, k: int) -> float:
    """FLOPs of matrix products that run again, as a share of those of one forward pass, counted from the shapes.

    A multiplication and an addition are two FLOPs; the scores count as a full square, as if there were no mask. torch
    ends a recomputation at the last tensor that the backward pass reads, so the last product of a segment
    does not run again, unless dropout follows it.
    """
    shape, tokens = sizes.shape, sizes.batch * sizes.seq_len
    h, f, kv = shape.hidden, shape.intermediate, shape.kv_heads * shape.head_dim
    attention = 4 * tokens * sizes.seq_len * h  # Q K^T and P V
    product = 2 * tokens * h * f  # one of the MLP
    block = 4 * tokens * h * (h + kv) + attention + (3 if shape.block == "llama" else 2) * product
    segments = prediction.segments_of(strategy, shape.layers, k)
    flops = sum(segments) * block - (0 if sizes.dropout else len(segments) * product)
    if strategy.startswith("selective"):
        flops = shape.layers * attention if strategy == "selective_attention" else 0
    return flops / (shape.layers * block + 2 * tokens * h * shape.vocabulary)


def memory_checks(fields: dict) -> list[Check]:
    """Measured against predicted: activations kept after the forward pass, and the most alive."""
    difference = fields["saved_after_forward_bytes"] - fields["predicted_saved_after_forward_bytes"]
    most = fields["activation_peak_bytes"] - fields["predicted_activation_peak_bytes"]
    return [
        Check(
            "activations kept after the forward pass are as many bytes as predicted",
            abs(difference),
            0,
            "the sum of what each operation keeps, from sizes alone",
        ),
        Check(
            "the most activations alive at once are as many bytes as predicted",
            abs(most),
            0,
            "what is kept and the inside of a segment as it is recomputed, from sizes alone",
        ),
    ]


# --------------------------------------------------------------------------------------------- the experiment


@dataclass(frozen=True, eq=False)
class MeasureResult(StepResult):
    """A step on real tensors.

    max_abs_grad_error: against the step without checkpointing. korthikanti_bytes + residual_terms are exactly
    saved_after_forward_bytes (for GPT blocks with nothing checkpointed; else None and {}); count_rows: the same as the
    rows of a table. fake_differences: events in which the same step on fake tensors differs; None unless `fake`.
    """

    max_abs_grad_error: float
    korthikanti_bytes: int | None
    residual_terms: dict[str, int]
    count_rows: tuple[CountRow, ...]
    fake_differences: int | None
    notes: tuple[str, ...]
    checks: tuple[Check, ...]
    params: MeasureParams = field(metadata={"shell": False})


@experiment("checkpointing.measure", breaks=BREAKS)
def measure(params: MeasureParams) -> MeasureResult:
    """One training step of a small decoder under torch.utils.checkpoint: every allocation, measured and predicted."""
    step, exact = traced_step(params)
    timeline = step.timeline
    with_gradients = params.break_it == "gradients_as_activations"
    if with_gradients:
        timeline = timeline.with_gradients_as_activations()
    sizes = params.sizes
    fields = measured(
        timeline, step.forward_runs, sizes, params.strategy, params.k, with_gradients=with_gradients
    )
    error = largest_difference(step.gradients, exact)
    checks = [*memory_checks(fields), _gradient_check(error)]
    counted = params.block == "gpt" and params.strategy == "none"
    residual = {term.name: term.total for term in korthikanti.residual(sizes)} if counted else {}
    rows = korthikanti.count_rows(sizes, fields["saved_after_forward_bytes"]) if counted else []
    count = korthikanti.count(sizes) if counted else None
    if count is not None:
        checks.append(_count_check(count, residual, fields["saved_after_forward_bytes"]))
    differences = None
    if params.fake:
        differences = step.timeline.differences(fake_step(params).timeline)
        checks.append(_fake_check(differences))
    return MeasureResult(
        **fields,
        max_abs_grad_error=error,
        korthikanti_bytes=count,
        residual_terms=residual,
        count_rows=tuple(rows),
        fake_differences=differences,
        notes=notes(params),
        checks=tuple(checks),
        params=params,
    )


def traced_step(params: MeasureParams) -> tuple[Step, list[Tensor | None]]:
    """The traced step, and the gradients of the same step without checkpointing. Restores the random state."""
    with exclusive_torch(), warnings.catch_warnings():
        # one of the breaks causes this warning
        warnings.filterwarnings("ignore", message="None of the inputs have requires_grad")
        torch.manual_seed(params.seed)
        model, tokens = build(params)
        torch.manual_seed(params.seed)
        exact = plain_gradients(model, tokens)
        torch.manual_seed(params.seed)
        return training_step(model, tokens, plan_of(params), MemoryTrace()), exact


def fake_step(params: MeasureParams) -> Step:
    """The same step on tensors without memory. Its checkpoints still save and restore the real random state."""
    with exclusive_torch(), FakeTensorMode():
        model, tokens = build(params)
        return training_step(model, tokens, plan_of(params), MemoryTrace())


def build(params: MeasureParams) -> tuple[Decoder, Tensor]:
    """The model, and tokens (2, b, s): inputs and targets."""
    model = Decoder(
        params.shape, params.seq_len, DTYPES[params.dtype], attention=params.attention, dropout=params.drop
    )
    if params.break_it == "reentrant_no_grad_input":
        model.embedding.requires_grad_(False)
        if model.positions is not None:
            model.positions.requires_grad_(False)
    tokens = torch.randint(params.shape.vocabulary, (2, params.batch, params.seq_len))
    return model, tokens


def plan_of(params: MeasureParams) -> Plan:
    return Plan(
        prediction.segments_of(params.strategy, params.layers, params.k),
        policy=POLICIES.get(params.strategy, ""),
        keep_random_state=params.drop > 0 and params.break_it != "lost_random_state",
        reentrant=params.break_it == "reentrant_no_grad_input",
    )


def largest_difference(gradients: list[Tensor | None], exact: list[Tensor | None]) -> float:
    """The largest difference between two gradients in any entry; a missing gradient counts as zero."""
    pairs = [pair for pair in zip(gradients, exact, strict=True) if pair != (None, None)]
    differences = [_or_zero(ours, right) - _or_zero(right, ours) for ours, right in pairs]
    return max((float(difference.abs().max()) for difference in differences), default=0.0)


def _or_zero(gradient: Tensor | None, other: Tensor | None) -> Tensor:
    if gradient is not None:
        return gradient
    return torch.zeros_like(other) if other is not None else torch.zeros(())


def notes(params: MeasureParams) -> tuple[str, ...]:
    """What the trace does not see or changes, as far as it matters for these params."""
    found = [
        Message(
            "Seen is what operations return; scratch memory inside a kernel is not, nor are numbers such as a scale."
        ),
        Message(
            "While a dispatch mode is on, autograd adds up gradients into new memory; without it, it may do so in "
            "place."
        ),
    ]
    if plan_of(params).keep_random_state and params.strategy != "none":
        found.append(
            Message(
                "torch also keeps the random state of each segment, {size:,} B on a CPU, beneath the dispatcher.",
                size=torch.get_rng_state().numel(),
            )
        )
    if params.strategy == "selective_matmuls":
        found.append(
            Message(
                "torch's policy keeps every result that it is told to keep, even those that no backward reads."
            )
        )
    return tuple(found)


def _gradient_check(error: float) -> Check:
    return Check(
        "gradients equal those without checkpointing",
        error,
        0.0,  # the same operations on the same numbers in the same order
        "the same step with nothing checkpointed, same seed",
    )


def _count_check(count: int, residual: dict[str, int], saved: int) -> Check:
    return Check(
        "Korthikanti's count, in this number format and with the residuals named below, is what is kept",
        abs(count + sum(residual.values()) - saved),
        0,
        "s b h (34 + 5 a s / h) a layer, Korthikanti et al. 2022",
    )


def _fake_check(differences: int) -> Check:
    return Check(
        "the timeline on fake tensors has the same events",
        differences,
        0,
        "the same step under FakeTensorMode",
    )
