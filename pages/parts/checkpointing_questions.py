"""What the chapters of the checkpointing page ask: before the picture, and in the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from explainers.checkpointing import guesses
from explainers.checkpointing.best_segment import best_segment
from explainers.checkpointing.law import LawParams
from explainers.checkpointing.measure_params import STRATEGY_LABELS, MeasureParams, ModelParams
from explainers.checkpointing.optimal import OptimalParams
from explainers.checkpointing.schedule_params import ScheduleParams
from explainers.checkpointing.schedules import sqrt_length
from explainers.checkpointing.step_words import in_words
from explainers.contract.messages import plural
from pages.ui.chapter import Asked

MORE_MEMORY = ("nothing", "up to 10%", "10% to 100%", "over 100%")
TIMES_LAYERS, TIMES_TOKENS = 4, 4  # how much deeper a chain and how much longer a sequence is asked about
BACKWARD_MS = 2  # of a layer whose forward run takes 1 ms
FAR = 0.1  # a wrong number differs from the right one by more than this share

# What is alive at a peak, in the reader's words -> the categories of the trace.
ALIVE: Mapping[str, tuple[str, ...]] = {
    "weights": ("parameter",),
    "gradients": ("gradient",),
    "optimizer state": ("optimizer_state",),
    "activations": ("kept_activation", "recomputed_activation"),
    "temporaries": ("temporary",),
}


def _far_from(right: float, guesses: Iterable[float]) -> set[float]:
    """The right number, and the guesses that are clearly different from it."""
    return {right, *(guess for guess in guesses if abs(guess - right) > FAR * right)}


# ----------------------------------------------------------------------------------------- Play a schedule


def best_segment_length(params: ScheduleParams, facts: Mapping[str, Any]) -> Asked:
    """Which segment length has the lowest peak; None where all possible answers are equally good."""
    if (best := best_segment(params)) is None:
        return None
    return {**params.model_dump(), "answers": list(best.answers), "right": best.right, "why": best.why}


def time_of_step(params: ScheduleParams, facts: Mapping[str, Any]) -> Asked:
    """How long the whole step takes, if a backward run of a layer takes twice as long as a forward run."""
    L, runs, extra = params.layers, facts["forward_runs"], facts["extra_forwards"]
    backward = BACKWARD_MS * L
    right = runs + backward
    # no layer runs again; every layer runs once more; the first runs are forgotten; the backward counts as forward
    wrong = {L + backward, 2 * L + backward, extra + backward, 3 * L + backward} - {right}
    return {
        "strategy": facts["label"],
        "layers": L,
        "runs": runs,
        "backward": backward,
        "least": L + backward,
        "more": right / (L + backward) - 1,
        "answers": [f"{milliseconds:,} ms" for milliseconds in sorted({*wrong, right})],
        "right": f"{right:,} ms",
    }


# ------------------------------------------------------------------------------------------------- The law


def price_of_sqrt(params: LawParams, facts: Mapping[str, Any]) -> Asked:
    """How much more memory than the best length the textbook's √L takes."""
    over = facts["peak_at_sqrt_layers"] / facts["least_peak"] - 1
    return {
        "layers": params.layers,
        "ratio": params.ratio,
        "k": sqrt_length(params.layers),
        "at_sqrt": facts["peak_at_sqrt_layers"],
        "best_k": facts["best_k"],
        "least": facts["least_peak"],
        "answers": MORE_MEMORY,
        "right": MORE_MEMORY[sum(over > limit for limit in (0, 0.1, 1))],
    }


def peak_of_deeper_chain(params: LawParams, facts: Mapping[str, Any]) -> Asked:
    """The lowest peak of a chain four times as long."""
    now, layers = facts["least_peak"], TIMES_LAYERS * params.layers
    k, right = guesses.lowest_peak(layers, params.ratio)
    return {
        "layers": params.layers,
        "deeper": layers,
        "ratio": params.ratio,
        "now": now,
        "k": k,
        "boundaries": -(-layers // k),
        "inside": k * params.ratio,
        "peak": right,
        "times": right / now,
        # no more than before, twice as much (as long as √ holds), as many times as there are layers
        "answers": [f"{peak:,g}" for peak in sorted(_far_from(right, (now, 2 * now, TIMES_LAYERS * now)))],
        "right": f"{right:,g}",
    }


# -------------------------------------------------------------------------------------------- A real model


def largest_at_the_peak(params: MeasureParams, facts: Mapping[str, Any]) -> Asked:
    """What takes the most memory at the peak; None under the break that counts gradients as activations."""
    if params.break_it == "gradients_as_activations":
        return None
    alive = {name: sum(facts["by_category"][each] for each in named) for name, named in ALIVE.items()}
    right = max(alive, key=alive.__getitem__)
    in_order = sorted(alive, key=alive.__getitem__, reverse=True)
    return {
        "layers": plural("{count} layer", "{count} layers", count=params.layers),
        "tokens": plural("{count:,} token", "{count:,} tokens", count=params.batch * params.seq_len),
        "alive": ", ".join(f"{name} {in_words(alive[name])}" for name in in_order),
        "answers": tuple(ALIVE),
        "right": right,
    }


def bytes_of_one_more_layer(params: MeasureParams, facts: Mapping[str, Any]) -> Asked:
    """How much more the forward pass keeps with one more layer."""
    sizes = guesses.one_more_layer(params)
    right = sizes.then - sizes.now
    sums = sorted({0, sizes.boundary, sizes.inside, right})
    answers = list(dict.fromkeys(in_words(size) for size in sums))
    return {
        "strategy": STRATEGY_LABELS[params.strategy],
        "layers": params.layers,
        "more": params.layers + 1,
        "now": f"{sizes.now:,} B",
        "then": f"{sizes.then:,} B",
        "boundary": in_words(sizes.boundary),
        "inside": in_words(sizes.inside),
        "answers": answers,
        "right": in_words(right),
    }


# ----------------------------------------------------------------------------------------------- Full size


def bytes_of_parameters(params: ModelParams, facts: Mapping[str, Any]) -> Asked:
    """How much weights, gradients and optimizer state take together."""
    N = params.shape.parameters
    # the weights alone; weights and gradients; with both moments; with fp32 copies
    answers = {times: in_words(times * N) for times in (2, 4, 8, 16)}
    return {
        "parameters": f"{N / 1e9:,.1f}",
        "weights": answers[2],
        "moments": answers[4],
        "answers": tuple(answers.values()),
        "right": answers[8],
    }


def activations_of_longer_sequences(params: ModelParams, facts: Mapping[str, Any]) -> Asked:
    """The most activations with sequences four times as long."""
    now, right = guesses.activations_of_longer(params, TIMES_TOKENS)
    peaks = _far_from(right, (now, 2 * now, TIMES_TOKENS * now, TIMES_TOKENS**2 * now))
    return {
        "strategy": STRATEGY_LABELS[params.strategy],
        "tokens": params.seq_len,
        "longer": TIMES_TOKENS * params.seq_len,
        "now": in_words(now),
        "times": right / now,
        "answers": [in_words(int(peak)) for peak in sorted(peaks)],
        "right": in_words(right),
    }


# ------------------------------------------------------------------------------------------ Unequal layers


def extra_time_of_the_best(params: OptimalParams, facts: Mapping[str, Any]) -> Asked:
    """How much longer than one forward run the best schedule takes; None where a break exceeds the budget."""
    if params.break_it != "none":
        return None
    forward, right = facts["forward_time"], facts["extra_time"]
    fitting = [usual["extra_time"] for usual in facts["baselines"] if usual["fits"]]
    guessed = {0, forward, 2 * forward, min(fitting, default=forward)}
    return {
        "budget": params.budget,
        "forward": forward,
        "all": params.boundaries[0] + sum(params.internals),
        "share": right / forward,
        "answers": [f"{time:,}" for time in sorted({*guessed, right})],
        "right": f"{right:,}",
    }


def least_budget(params: OptimalParams, facts: Mapping[str, Any]) -> Asked:
    """The smallest budget into which any schedule fits."""
    boundaries, internals = params.boundaries, params.internals
    right = facts["least_budget"]
    # the input forgotten; everything kept; layer by layer; all inputs kept
    guessed = {
        max(internals),
        boundaries[0] + sum(internals),
        boundaries[-1] + internals[-1],
        sum(boundaries) + max(internals),
    }
    return {
        "first": boundaries[0],
        "largest": max(internals),
        "layer": 1 + internals.index(max(internals)),
        "least": right,
        "answers": [f"{budget:,}" for budget in sorted({*guessed, right})],
        "right": f"{right:,}",
    }
