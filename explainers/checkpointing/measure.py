"""One training step of a real decoder under torch.utils.checkpoint, its memory traced to the byte and predicted.

What is alive is what the dispatcher saw allocated and not yet freed (memory_trace.py). The prediction knows sizes
alone (prediction.py). The gradients are held against the same step without checkpointing.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from explainers.checkpointing import prediction
from explainers.checkpointing.measure_params import BREAKS, MeasureParams
from explainers.checkpointing.memory_trace import CATEGORIES, PHASES, MemoryTrace, Timeline
from explainers.checkpointing.prediction import CountRow, Sizes, Strategy, Term
from explainers.checkpointing.step import Plan, Step, plain_gradients, training_step
from explainers.contract.experiment import experiment
from explainers.contract.result import Check, Checked
from explainers.hardware.exclusive import exclusive_torch
from explainers.models.decoder import Decoder

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
POLICIES = {"selective_matmuls": "matmuls", "selective_attention": "attention"}

# -------------------------------------------------------------------------------------------- what is reported


@dataclass(frozen=True, eq=False)
class StepResult(Checked):
    """The memory of one training step, in bytes.

    peak_bytes: the most that is alive above the model before the step (the weights and tables, `model_bytes`).
    saved_after_forward_bytes: activations kept for the backward pass, measured; predicted_...: from sizes alone.
    activation_peak_bytes: the most activations, kept and recomputed, alive at once; predicted_...: from sizes alone.
    without_checkpoints_bytes: what would be kept with nothing checkpointed, predicted. recomputed_share: FLOPs of
    matrix products that run again, as a share of those of a forward pass, from the shapes.
    by_category: at the peak; together model_bytes + peak_bytes. peak_event, peak_operation, peak_phase, peak_layer:
    what caused the peak. activation_peak_event: after which the most activations are alive.
    allocated_total_bytes, freed_total_bytes: over the whole step. forward_runs: of each block. formula, saving: what
    is kept, with its numbers, and what the strategy saves and costs, in words. terms: what is kept, tensor by tensor.
    live_bytes: (events,); category_bytes: (categories, events), in the order of by_category. events: every allocation
    and free.

    Layers are counted from 1 in peak_layer (0: the embedding; layers + 1: last norm, head and loss), as wherever a
    person reads them, and from 0 in events and in the timeline, as torch does.
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
    """The fields of a StepResult. with_gradients: the timeline counts gradients among the activations."""
    terms = prediction.kept_by_step(sizes, strategy, k)
    by_category, live, peak = timeline.by_category, timeline.live, timeline.peak
    last = max(timeline.forward_ends - 1, 0)  # the last event of the forward pass
    state = by_category[CATEGORIES.index("optimizer_state"), last]
    activations = timeline.of("kept_activation", "recomputed_activation")
    everything = prediction.total(prediction.kept_by_step(sizes, "none", 1))
    # A break can keep the backward pass from ever asking for a layer again.
    share = recomputed_share(sizes, strategy, k) if max(forward_runs) > 1 else 0.0
    saved = int(live[last] - state) - timeline.resident
    most, predicted_most = int(activations.max()), prediction.activation_peak(sizes, strategy, k)
    found = f"{in_words(most)} measured" + (", gradients counted among them" if with_gradients else "")
    alive = f"{found}, {in_words(predicted_most)} predicted"
    return {
        "peak_bytes": int(live[peak]) - timeline.resident,
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
        "formula": f"{prediction.formula(sizes, strategy, k)}; measured: {saved:,} B",
        "saving": saving(alive, everything, again(forward_runs, strategy, share, sizes), strategy),
        "terms": tuple(terms),
        "live_bytes": live,
        "category_bytes": by_category,
        "events": timeline.rows(),
        "timeline": timeline,
    }


def recomputed_share(sizes: Sizes, strategy: Strategy, k: int) -> float:
    """FLOPs of matrix products that run again, as a share of those of one forward pass, counted from the shapes.

    A multiplication and an addition are two FLOPs; the scores are counted as a whole square, without regard to the
    mask. torch ends a recomputation at the last tensor that the backward pass reads, so the last product of a segment
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


def saving(alive: str, everything: int, again: str, strategy: Strategy) -> str:
    """The most activations, with the strategy and without checkpoints, and what runs forward once more for it."""
    without = "everything is kept" if strategy == "none" else f"without checkpointing {in_words(everything)}"
    return f"Most activations alive in forward and backward: {alive}; {without}; {again}."


def again(forward_runs: list[int], strategy: Strategy, share: float, sizes: Sizes) -> str:
    """Which layers run forward once more, how much computing that is, and what does not run again."""
    layers, twice = len(forward_runs), sum(runs > 1 for runs in forward_runs)
    if not twice:
        return "no layer runs forward twice"
    which = f"{twice} of {layers} {'layer runs' if layers == 1 else 'layers run'} forward twice"
    flops = f"{share:.1%} of a forward pass's FLOPs in matrix products once more"
    if strategy.startswith("selective"):
        return f"{which}, without what the policy keeps: {flops}"
    # dropout after it makes a mask that the backward pass reads, so that torch does not stop before
    early = "" if sizes.dropout else ", nor the last product of each segment, before which torch stops"
    return f"{which}: {flops} (the head does not run again{early})"


def in_words(size: int) -> str:
    """Bytes in the unit that suits them: 6.8 GB."""
    unit, name = next(
        one for one in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B")) if size >= one[0] or one[0] == 1
    )
    return f"{size / unit:,.1f} {name}" if unit > 1 else f"{size} B"


def memory_checks(fields: dict) -> list[Check]:
    """Measured against predicted: kept after the forward pass, and at most alive."""
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
    saved_after_forward_bytes (a GPT block with nothing checkpointed; else None and {}); count_rows: the same row by
    row, as a table shows it. fake_differences: events in
    which the same step on fake tensors differs; None where it was not asked for.
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
    step, exact = run(params)
    timeline = step.timeline
    mistaken = params.break_it == "gradients_as_activations"
    if mistaken:
        timeline = timeline.with_gradients_as_activations()
    sizes = params.sizes
    fields = measured(timeline, step.forward_runs, sizes, params.strategy, params.k, with_gradients=mistaken)
    error = largest_difference(step.gradients, exact)
    checks = [*memory_checks(fields), _gradient_check(error)]
    counted = params.block == "gpt" and params.strategy == "none"
    residual = {term.name: term.total for term in prediction.korthikanti_residual(sizes)} if counted else {}
    rows = prediction.count_rows(sizes, fields["saved_after_forward_bytes"]) if counted else []
    count = prediction.korthikanti(sizes) if counted else None
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


def run(params: MeasureParams) -> tuple[Step, list[Tensor | None]]:
    """The traced step, and the gradients of the same step without checkpointing. Leaves the random state as it was."""
    with exclusive_torch(), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="None of the inputs have requires_grad"
        )  # a break is about it
        torch.manual_seed(params.seed)
        model, tokens = build(params)
        torch.manual_seed(params.seed)
        exact = plain_gradients(model, tokens)
        torch.manual_seed(params.seed)
        return training_step(model, tokens, plan_of(params), MemoryTrace()), exact


def fake_step(params: MeasureParams) -> Step:
    """The same step on tensors without memory. Its checkpoints keep and set back the real random state, too."""
    with exclusive_torch(), FakeTensorMode():
        model, tokens = build(params)
        return training_step(model, tokens, plan_of(params), MemoryTrace())


def build(params: MeasureParams) -> tuple[Decoder, Tensor]:
    """The model, and tokens (2, b, s): what comes in and what comes next."""
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
    """The largest difference of any number in any gradient; one that is missing counts as zero."""
    pairs = [pair for pair in zip(gradients, exact, strict=True) if pair != (None, None)]
    differences = [_or_zero(ours, right) - _or_zero(right, ours) for ours, right in pairs]
    return max((float(one.abs().max()) for one in differences), default=0.0)


def _or_zero(gradient: Tensor | None, other: Tensor | None) -> Tensor:
    if gradient is not None:
        return gradient
    return torch.zeros_like(other) if other is not None else torch.zeros(())


def notes(params: MeasureParams) -> tuple[str, ...]:
    """What the count leaves out, where it matters for these params."""
    said = [
        "Seen is what operations return; scratch memory inside a kernel is not, nor are numbers such as a scale.",
        "While a dispatch mode is on, autograd adds up gradients into new memory; without it, it may do so in place.",
    ]
    if plan_of(params).keep_random_state and params.strategy != "none":
        state = torch.get_rng_state().numel()
        said.append(
            f"Besides, torch keeps the random state of each segment, {state:,} B on a CPU, beneath the dispatcher."
        )
    if params.strategy == "selective_matmuls":
        said.append(
            "torch's policy keeps every result that it is told to keep, also those that no backward reads."
        )
    return tuple(said)


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
