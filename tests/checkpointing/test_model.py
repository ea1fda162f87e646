"""Whole models on fake tensors: what a Llama needs, whether it fits, and how its trace reports progress."""

from __future__ import annotations

import time
from typing import Any

import pytest

from explainers.checkpointing.measure_params import ModelParams
from explainers.checkpointing.model import Stopped, in_thread, model, model_with_progress, verdict
from explainers.checkpointing.step_words import in_words
from explainers.checkpointing.views.measure import scene as measure_scene
from explainers.contract.experiment import watch
from explainers.contract.params import fit
from explainers.models.shapes import PUBLISHED_PARAMETERS
from tests.checkpointing.test_measure import STRATEGIES, panel

# --------------------------------------------------------------------------------------------------- whole models


@pytest.mark.parametrize(
    ("strategy", "attention"), [*((strategy, "flash") for strategy in STRATEGIES), ("full", "written")]
)
def test_a_few_layers_of_70b_are_predicted_to_the_byte(strategy: str, attention: str) -> None:
    result = model(ModelParams(layers=3, strategy=strategy, attention=attention))  # type: ignore[arg-type]
    assert result.saved_after_forward_bytes == result.predicted_saved_after_forward_bytes
    assert result.passed
    assert result.needed_bytes == result.model_bytes + result.peak_bytes
    assert result.weight_bytes == 2 * result.params.shape.parameters


def test_checkpointing_makes_8b_fit() -> None:
    chosen = {"model": "llama-3.1-8b", "seq_len": 8192}
    none, full = (model(ModelParams(strategy=strategy, **chosen)) for strategy in ("none", "full"))  # type: ignore[arg-type]
    assert (none.fits, full.fits) == (False, True)
    assert none.missing_bytes == none.needed_bytes - 80_000_000_000
    assert full.missing_bytes == 0


@pytest.fixture(scope="module")
def seconds_of_a_layer() -> float:
    """Seconds for a layer of the 8B model on this machine now, with which larger models are compared."""
    return traced("llama-3.1-8b")[1] / 32


def traced(name: str) -> tuple[Any, float]:
    """The trace of a model, and the CPU seconds that it took."""
    start = time.process_time()
    return model(ModelParams(model=name)), time.process_time() - start  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama-3.1-70b", "llama-3.1-405b"])
def test_a_whole_model_traces_without_memory(name: str, seconds_of_a_layer: float) -> None:
    """Larger layers take no longer to trace; the benchmark has the seconds and their budget."""
    result, took = traced(name)
    assert result.passed
    assert result.parameters == PUBLISHED_PARAMETERS[name]
    assert result.allocated_bytes + result.warm_up_bytes < 200_000_000
    assert took < 1.5 * seconds_of_a_layer * result.params.shape.layers
    assert f"{result.needed_bytes / 1e9:,.1f} GB are needed" in result.verdict
    layers = result.params.shape.layers
    assert f"{layers} of {layers} layers run forward twice" in result.saving


def test_progress_names_the_layer_and_grows() -> None:
    reports, result = watch(model_with_progress(ModelParams(layers=2, seq_len=64)))
    shares = [share for _, (share, _) in reports]
    sentences = [sentence for _, (_, sentence) in reports]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] <= 1
    assert sentences[0] == "forward through layer 1 of 2"
    assert {sentence.split()[0] for sentence in sentences} == {
        "forward",
        "recomputing",
        "backward",
        "updating",
    }
    assert result.passed


def test_a_closed_generator_stops_its_thread_and_errors_are_raised() -> None:
    stopped: list[bool] = []

    def endless(report: Any) -> None:
        try:
            while True:
                report((0.1, "at work"))
        except Stopped:
            stopped.append(True)
            raise

    progress = in_thread(endless)
    next(progress)
    progress.close()
    assert stopped == [True]

    def failing(report: Any) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        watch(in_thread(failing))


def test_a_model_has_no_more_layers_than_published() -> None:
    (adjustment,) = fit(ModelParams(model="llama-3.1-8b", layers=40))[1]
    assert (adjustment.field, adjustment.value) == ("layers", 32)


# --------------------------------------------------------------------------------------------- in words and pictures


def test_the_verdict_adds_up_and_says_whether_it_fits() -> None:
    parts = {"parameter": 60_000_000_000, "gradient": 10_000_000_000, "optimizer_state": 20_000_000_000}
    sentence = verdict(100_000_000_000, parts, 8.6, 26_000_000)
    assert sentence == (
        "100.0 GB are needed (60.0 weights, 10.0 gradients, 20.0 optimizer state in bf16, 10.0 else): "
        "20.0 GB more than 80 GB. Traced in 8.6 s, this process grew by 26.0 MB."
    )
    assert "it fits on 80 GB" in verdict(80_000_000_000, parts, 8.6, 0)


def test_a_peak_in_the_optimizer_step_is_reported_with_what_the_strategy_saves() -> None:
    """Where fewer activations do not lower the sum, the verdict says why, and the saving is still reported."""
    none, full = (model(ModelParams(layers=8, strategy=strategy)) for strategy in ("none", "full"))
    assert none.peak_phase == full.peak_phase == "optimizer"
    assert none.needed_bytes == full.needed_bytes
    assert full.by_category["kept_activation"] == full.by_category["recomputed_activation"] == 0
    for result in (none, full):
        assert "The peak is at the optimizer step" in result.verdict
    assert f"without checkpointing {in_words(none.activation_peak_bytes)}" in full.saving
    assert full.activation_peak_bytes < none.activation_peak_bytes
    long = model(ModelParams(layers=2, strategy="none", seq_len=16384))
    assert long.peak_phase != "optimizer"
    assert "optimizer step" not in long.verdict


def test_the_same_view_draws_a_model() -> None:
    result = model(ModelParams(layers=2))
    scene = measure_scene(result)
    assert scene.name == "checkpointing.model"
    assert scene.title == "Memory of one training step: Llama 3.1 70B, 2 of 80 layers"
    memory, activations = panel(scene, "memory"), panel(scene, "activations")
    assert scene.words.column("live_bytes")[memory.marked] == result.needed_bytes
    assert activations.values[:, scene.start].sum() == result.activation_peak_bytes
    layers = panel(scene, "layers")
    assert layers.x.ticks == (1, 2)
    assert layers.layers[1].names[0] == "layer 1: forward"
