"""Every break turns a check of the measurement red; sizes that need too much memory are refused beforehand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from explainers.checkpointing.measure import measure, traced_step
from explainers.checkpointing.measure_params import BREAKS, REAL_BUDGET, MeasureParams
from explainers.checkpointing.model import resident_bytes
from explainers.checkpointing.step_words import in_words
from explainers.contract.params import choices_of, fit
from tests.breaks import consequences_of, settings_of
from tests.checkpointing.test_measure import params

ROOT = Path(__file__).parents[2]


# ------------------------------------------------------------------------------------------------------- break it


def test_every_break_is_named_everywhere() -> None:
    assert (
        set(settings_of(BREAKS))
        == set(consequences_of(BREAKS))
        == set(choices_of(MeasureParams, "break_it")) - {"none"}
    )


@pytest.mark.parametrize("name", settings_of(BREAKS))
def test_each_break_turns_the_check_red_and_without_it_all_is_green(name: str) -> None:
    assert measure(MeasureParams(**settings_of(BREAKS)[name])).passed
    broken = MeasureParams(**settings_of(BREAKS)[name], break_it=name)  # type: ignore[arg-type]
    assert fit(broken)[1] == []
    assert not measure(broken).passed


def test_gradients_counted_as_activations_hide_what_was_saved() -> None:
    result = measure(
        MeasureParams(**settings_of(BREAKS)["gradients_as_activations"], break_it="gradients_as_activations")
    )
    assert result.predicted_activation_peak_bytes is not None
    assert result.predicted_activation_peak_bytes < result.without_checkpoints_bytes / 2  # it does help
    assert result.activation_peak_bytes > result.without_checkpoints_bytes  # and does not seem to
    assert result.max_abs_grad_error == 0
    most = in_words(result.activation_peak_bytes)
    predicted = in_words(result.predicted_activation_peak_bytes)
    assert f"{most} measured, gradients counted among them, {predicted} predicted" in result.saving


def test_other_masks_give_other_gradients() -> None:
    result = measure(MeasureParams(**settings_of(BREAKS)["lost_random_state"], break_it="lost_random_state"))
    assert result.max_abs_grad_error > 1e-4
    assert result.saved_after_forward_bytes == result.predicted_saved_after_forward_bytes


def test_without_a_gradient_at_the_input_the_parameters_inside_get_none() -> None:
    chosen = MeasureParams(
        **settings_of(BREAKS)["reentrant_no_grad_input"], break_it="reentrant_no_grad_input"
    )
    step, exact = traced_step(chosen)
    missing = [ours is None for ours in step.gradients]
    assert not any(gradient is None for gradient in exact)
    assert missing == [True] * (len(missing) - 2) + [False] * 2  # only the last norm and the head are trained
    assert set(step.forward_runs) == {1}


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"seq_len": 4096}, "seq_len"),
        ({"hidden": 2048}, "hidden"),
        ({"batch": 256, "seq_len": 512}, "batch"),
        ({"layers": 64, "hidden": 256}, "layers"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_allocated(
    fields: dict[str, Any], field: str
) -> None:
    before = resident_bytes()
    chosen = MeasureParams(**fields)
    adjustment = next(chosen.adjustments())
    assert adjustment.field == field
    assert f"at most {adjustment.value}" in adjustment.sentence
    fitted, _ = fit(chosen)
    assert fitted.step_bytes <= REAL_BUDGET
    assert getattr(fitted, field) == adjustment.value
    larger = {field: adjustment.value + (2 * chosen.heads if field == "hidden" else 1)}
    assert chosen.model_copy(update=larger).step_bytes > REAL_BUDGET
    assert resident_bytes() - before < 20_000_000


@pytest.mark.parametrize(
    ("fields", "field", "value"),
    [
        ({"k": 7}, "k", 3),
        ({"heads": 3, "kv_heads": 3}, "heads", 2),
        ({"hidden": 7, "heads": 1, "kv_heads": 1}, "hidden", 8),
        ({"kv_heads": 3}, "kv_heads", 2),
        ({"block": "gpt", "attention": "flash"}, "attention", "written"),
        ({"fake": True, "hidden": 8, "kv_heads": 1}, "fake", False),
        ({"break_it": "lost_random_state"}, "break_it", "none"),
        ({"break_it": "reentrant_no_grad_input", "strategy": "none"}, "break_it", "none"),
        ({"break_it": "reentrant_no_grad_input", "strategy": "selective_matmuls"}, "strategy", "every_k"),
    ],
)
def test_fields_that_do_not_fit_together(fields: dict[str, Any], field: str, value: Any) -> None:
    adjustment = next(params(**fields).adjustments())
    assert (adjustment.field, adjustment.value) == (field, value)
    assert "allowed" in adjustment.sentence
    fitted, made = fit(params(**fields))
    assert made[0] == adjustment
    assert getattr(fitted, field) == value
    assert fit(fitted) == (fitted, [])


def test_a_sentence_names_a_second_field_where_the_first_is_not_enough() -> None:
    chosen = MeasureParams(seq_len=4096, batch=256, hidden=2048)
    fitted, made = fit(chosen)
    assert fitted.step_bytes <= REAL_BUDGET
    first = made[0]
    assert f"{first.field} = " in first.sentence
    first_only = chosen.model_copy(update={first.field: first.value})
    assert (first_only.step_bytes > REAL_BUDGET) == (f"and a lower {made[1].field} too" in first.sentence)
    assert first_only.step_bytes > REAL_BUDGET


def test_what_is_allowed_is_listed_and_fits() -> None:
    (heads, *_) = params(hidden=24, heads=5, kv_heads=1).adjustments()
    assert heads.sentence.endswith("allowed: 1, 2, 3, 4, 6 or 12.")
    (groups,) = params(heads=8, kv_heads=3).adjustments()
    assert groups.sentence.endswith("allowed: 1, 2, 4 or 8.")
    assert [*params(block="gpt", kv_heads=3).adjustments()] == []
    assert [*params(strategy="sqrt", k=9).adjustments()] == []


@pytest.mark.parametrize("flags", [["--seq_len", "4096"], ["--k", "9", "--layers", "6"]])
def test_the_shell_refuses_in_one_line(flags: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "explainers", "checkpointing.measure", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "allowed" in done.stderr
