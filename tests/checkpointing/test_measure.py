"""Memory of training steps: predicted to the byte, counted by Korthikanti's formula, in words and pictures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explainers.checkpointing import prediction, schedules
from explainers.checkpointing.measure import MeasureResult, build, fake_step, measure
from explainers.checkpointing.measure_params import STRATEGY_LABELS, MeasureParams
from explainers.checkpointing.step_words import in_words
from explainers.checkpointing.views.measure import scene as measure_scene
from explainers.checkpointing.views.measure_events import MOST_STEPS, backward_borders, forward_borders
from explainers.contract.experiment import find
from explainers.contract.params import fit
from explainers.drawing.panels import Bands
from explainers.models.shapes import LLAMA_3_1, PUBLISHED_PARAMETERS

ROOT = Path(__file__).parents[2]

# What another program measured of one GPT block in bfloat16 on a CPU, in bytes (memory.json of the oracles, under
# "activation", measured_torch2.15_cpu_bf16).
ORACLE: dict[str, Any] = {
    "sizes": {"hidden": 256, "heads": 4, "seq_len": 128, "batch": 2},
    "formula": 2_883_584,
    "with masks of one byte": 2_885_632,
    "with masks of two bytes": 3_147_776,
}
STRATEGIES = tuple(STRATEGY_LABELS)
BLOCKS = ("llama", "gpt")
SMALL = {"layers": 3, "hidden": 16, "heads": 4, "seq_len": 8}


def params(**fields: Any) -> MeasureParams:
    return MeasureParams(**{**SMALL, **fields})


# ------------------------------------------------------------------------------------- measured against predicted


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_is_kept_is_predicted_to_the_byte(strategy: str, block: str, dtype: str) -> None:
    result = measure(params(strategy=strategy, block=block, dtype=dtype))
    assert result.saved_after_forward_bytes == result.predicted_saved_after_forward_bytes
    assert result.max_abs_grad_error == 0
    assert result.passed


def some_params(draw: st.DrawFn) -> MeasureParams:
    """Any valid shapes, so small that a step takes milliseconds."""
    heads = draw(st.sampled_from([1, 2, 3, 4]))
    block, attention = draw(st.sampled_from(BLOCKS)), draw(st.sampled_from(["written", "flash"]))
    layers = draw(st.integers(1, 5))
    fields: dict[str, Any] = {
        "strategy": draw(st.sampled_from(STRATEGIES)),
        "block": block,
        "attention": attention,
        "layers": layers,
        "k": draw(st.integers(1, layers)),
        "heads": heads,
        "kv_heads": draw(st.sampled_from([groups for groups in (1, 2, 3, 4) if heads % groups == 0])),
        "hidden": heads * draw(st.sampled_from([2, 4, 10])),
        "seq_len": draw(st.sampled_from([1, 2, 7, 16])),
        "batch": draw(st.integers(1, 3)),
        "dropout": 0.0 if attention == "flash" else draw(st.sampled_from([0.0, 0.3])),
        "dtype": draw(st.sampled_from(["float32", "bfloat16"])),
    }
    return MeasureParams(**fields)


@settings(max_examples=12, deadline=None)
@given(st.composite(some_params)())
def test_prediction_curve_and_fake_tensors_agree_for_any_sizes(chosen: MeasureParams) -> None:
    assert fit(chosen)[1] == []
    result = measure(chosen)
    assert [check.error for check in result.checks] == [0] * len(result.checks)
    differences = result.timeline.differences(fake_step(chosen).timeline)
    assert differences == 0 or chosen.fake_strides_differ
    timeline, strategy = result.timeline, chosen.strategy
    curve = prediction.kept_after_blocks(chosen.sizes, strategy, chosen.k)
    kept = timeline.of("kept_activation")
    assert kept[forward_borders(timeline, chosen.layers)[:-1]].tolist() == curve
    backward = prediction.alive_in_backward(chosen.sizes, strategy, chosen.k)
    alive = timeline.of("kept_activation", "recomputed_activation")
    assert alive[backward_borders(timeline, chosen.layers, strategy)].tolist() == backward


@pytest.mark.parametrize("layers", [1, 5, 6, 7, 80, 126])
@pytest.mark.parametrize("k", [1, 2, 3, 9])
def test_segments_are_those_of_the_schedules_on_a_chain(layers: int, k: int) -> None:
    for strategy, length in (("every_k", k), ("sqrt", schedules.sqrt_length(layers)), ("full", 1)):
        lengths = prediction.segments_of(strategy, layers, k)  # type: ignore[arg-type]
        starts = np.cumsum([1, *lengths])[:-1]
        assert tuple(starts) == schedules.every(length, 1, layers)
        assert sum(lengths) == layers


@pytest.mark.parametrize("block", BLOCKS)
def test_parameters_are_counted_from_the_shape(block: str) -> None:
    chosen = params(block=block)
    decoder, _ = build(chosen)
    assert sum(parameter.numel() for parameter in decoder.parameters()) == chosen.shape.parameters


def test_published_shapes_have_their_published_parameters() -> None:
    assert {name: shape.parameters for name, shape in LLAMA_3_1.items()} == PUBLISHED_PARAMETERS


def test_nothing_keeps_more_than_no_checkpoints_and_longer_segments_keep_less() -> None:
    saved = {
        strategy: measure(params(strategy=strategy, layers=4, seq_len=64)).saved_after_forward_bytes
        for strategy in STRATEGIES
    }
    assert saved["none"] == max(saved.values())
    assert saved["every_k"] == saved["sqrt"] < saved["full"]


def test_keeping_all_but_attention_saves_exactly_the_softmax() -> None:
    sizes = params(strategy="none").sizes
    softmax = sizes.batch * sizes.shape.heads * sizes.seq_len**2 * sizes.width
    none, selective = (
        measure(params(strategy=strategy)).saved_after_forward_bytes
        for strategy in ("none", "selective_attention")
    )
    assert none - selective == sizes.shape.layers * softmax


# -------------------------------------------------------------------------------------------- Korthikanti's count


def test_korthikanti_meets_the_oracle() -> None:
    result = measure(
        MeasureParams(block="gpt", strategy="none", layers=1, dtype="bfloat16", **ORACLE["sizes"])
    )
    ends = result.residual_terms["embedding, last norm, head and loss"]
    norms = result.residual_terms["mean and deviation of each LayerNorm"]
    masks = result.residual_terms["dropout masks of 2 bytes in place of 1"]
    assert result.korthikanti_bytes == ORACLE["formula"]
    assert result.saved_after_forward_bytes - ends == ORACLE["with masks of two bytes"]
    assert ORACLE["formula"] + norms == ORACLE["with masks of one byte"]
    assert ORACLE["with masks of one byte"] + masks == ORACLE["with masks of two bytes"]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"dtype": "bfloat16"},
        {"dropout": 0.0},
        {"dropout": 0.0, "attention": "flash"},
        {"layers": 5, "batch": 1},
    ],
)
def test_the_formula_and_its_residual_are_what_is_kept(fields: dict[str, Any]) -> None:
    result = measure(params(block="gpt", strategy="none", **fields))
    assert result.korthikanti_bytes is not None
    assert result.korthikanti_bytes + sum(result.residual_terms.values()) == result.saved_after_forward_bytes
    *rows, together, kept = result.count_rows
    assert sum(row.bytes for row in rows if not row.name.startswith("=")) == together.bytes == kept.bytes
    assert all(row.formula for row in result.count_rows)
    assert rows[0].bytes == result.korthikanti_bytes
    assert result.passed


@pytest.mark.parametrize("fields", [{}, {"block": "gpt", "strategy": "full"}])
def test_no_count_where_the_formula_does_not_speak(fields: dict[str, Any]) -> None:
    result = measure(params(**fields))
    assert (result.korthikanti_bytes, result.residual_terms, result.count_rows) == (None, {}, ())


# ------------------------------------------------------------------------------------------------------- in words


@pytest.mark.parametrize(
    ("strategy", "begins", "costs"),
    [
        ("none", "predicted to be kept after the forward pass: 3 layers × ", "no layer runs forward twice"),
        (
            "every_k",
            "predicted to be kept after the forward pass: 2 inputs of segments × 1,024 B + ",
            "3 of 3 layers run forward",
        ),
        (
            "selective_matmuls",
            "predicted to be kept after the forward pass: 3 inputs of segments × 1,024 B + 3 layers, as",
            "3 of 3",
        ),
    ],
)
def test_formula_and_saving_say_what_they_are(strategy: str, begins: str, costs: str) -> None:
    result = measure(params(strategy=strategy))
    assert result.formula.startswith(begins)
    saved, most = result.saved_after_forward_bytes, in_words(result.activation_peak_bytes)
    assert result.formula.endswith(f" = {saved:,} B; measured: {saved:,} B")
    assert costs in result.saving
    assert f"{most} measured, {most} predicted" in result.saving
    again = "the head does not run again, nor the last product of each segment"
    assert (again in result.saving) == (strategy == "every_k")


def test_with_dropout_the_last_product_runs_again_too() -> None:
    result = measure(params(block="gpt", strategy="full", dropout=0.1))
    assert "(the head does not run again)" in result.saving


# ------------------------------------------------------------------------------------------------------- the view


@pytest.fixture(scope="module")
def default() -> MeasureResult:
    return measure(MeasureParams())


def panel(scene: Any, name: str) -> Any:
    return next(panel for panel in scene.panels() if panel.name == name)


def test_the_bands_are_the_memory_of_the_events(default: MeasureResult) -> None:
    scene = measure_scene(default)
    bands = panel(scene, "memory")
    assert isinstance(bands, Bands)
    assert scene.steps == bands.values.shape[1] <= MOST_STEPS
    assert bands.values.sum(axis=0).max() == default.model_bytes + default.peak_bytes
    assert bands.marked == int(bands.values.sum(axis=0).argmax())
    activations = panel(scene, "activations")
    alive = activations.values.sum(axis=0)
    assert alive.max() == alive[scene.start] == default.activation_peak_bytes
    assert scene.reopens
    assert scene.title == "Memory of one training step: 6 Llama layers of hidden size 64"
    (predicted,) = activations.lines
    assert alive[predicted.x] == pytest.approx(predicted.y, abs=8)  # the loss comes last
    # forward: embedding, layers, head; backward: twice per segment
    assert len(predicted.x) == 1 + 6 + 1 + 2 * 3
    assert predicted.y.max() == default.activation_peak_bytes
    assert len(scene.to_bytes()) < 1_000_000


def test_the_words_name_operation_layer_and_bytes(default: MeasureResult) -> None:
    scene = measure_scene(default)
    assert len(scene.words.sentences) < 200
    assert scene.words.values.dtype == float  # whole numbers would travel as int32
    step = panel(scene, "memory").marked
    sentence = scene.words.sentences[scene.words.which[step]]
    assert default.peak_operation in sentence
    assert "Layer {layer:d}, backward" in sentence
    assert default.events[default.peak_event]["layer"] == default.peak_layer - 1
    assert scene.words.column("layer").min() == 0  # the embedding; layers are counted from 1
    assert scene.words.column("layer")[step] == default.peak_layer
    assert scene.words.column("live_bytes")[step] == default.model_bytes + default.peak_bytes
    assert "loss.backward()" in panel(scene, "step source").source


def test_the_row_of_layers_shows_the_one_at_work(default: MeasureResult) -> None:
    scene = measure_scene(default)
    _, *phases = panel(scene, "layers").layers
    busy = [np.isfinite(layer.x.values).sum(axis=1) for layer in phases]
    assert len(busy) == 4
    assert np.sum(busy, axis=0).max() == 1
    assert all(steps.any() for steps in busy)


# ------------------------------------------------------------------------------------------------------ the shell


@pytest.mark.parametrize(
    ("name", "flags", "fields"),
    [
        (
            "checkpointing.measure",
            ["--block", "gpt", "--strategy", "none"],
            {"max_abs_grad_error", "korthikanti_bytes"},
        ),
        ("checkpointing.model", ["--layers", "2"], {"seconds", "allocated_bytes", "fits", "missing_bytes"}),
    ],
)
def test_the_shell_gives_the_fixed_fields(name: str, flags: list[str], fields: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "explainers", name, *flags, "--json"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    given = json.loads(done.stdout)
    assert given["passed"] is True
    assert given["saved_after_forward_bytes"] == given["predicted_saved_after_forward_bytes"]
    assert {"peak_bytes", "by_category", "events", *fields} <= set(given)
    assert {"kind", "bytes", "category", "operation", "layer", "phase"} <= set(given["events"][0])
    assert not {"params", "timeline"} & set(given)


def test_settings_load_without_torch() -> None:
    code = "import sys, explainers.checkpointing.measure_params; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_experiments_are_registered() -> None:
    for name in ("checkpointing.measure", "checkpointing.model"):
        assert find(name).summary.endswith(".")
