"""The picture of decoding, and its numbers in the shell."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from explainers.contract.experiment import find
from explainers.contract.result import as_json
from explainers.drawing.panels import Lines, Marks, Matrix
from explainers.drawing.scene import Patches, Scene, Track
from explainers.kv_cache import decode as decode_module
from explainers.kv_cache.decode import decode
from explainers.kv_cache.decode_params import KINDS, DecodeParams
from explainers.kv_cache.views.decode import card as decode_card
from explainers.kv_cache.views.decode import scene as decode_scene
from tests.kv_cache.decoding import EXACT, LARGEST, states

ROOT = Path(__file__).parents[2]


pytestmark = pytest.mark.usefixtures("one_thread")


# ------------------------------------------------------------------------------------------------ the scene

CORNERS = [
    {},
    {"kind": "mla"},
    {"kind": "mqa", "dtype": "bfloat16"},
    {"kind": "mla", "break_it": "no_rope_dims", "dtype": "float32"},
    {"kind": "mla", "break_it": "cache_before_norm"},
    {"kind": "mla", "break_it": "rope_on_latent"},
    {"kind": "mha", "heads": 1, "groups": 1, "prefill": 1, "tokens": 1},
    {"kind": "mha", **LARGEST, "prefill": 16, "tokens": 32},
    {"kind": "mla", **LARGEST, "prefill": 16, "tokens": 32},
]


def shown(track: Track, step: int) -> np.ndarray:
    return track.values[step if track.at is None else track.at[step]]


def panel(scene: Scene, name: str) -> Any:
    return next(one for one in scene.panels() if one.name == name)


@pytest.mark.parametrize("given", CORNERS, ids=str)
def test_the_picture_of_every_corner(given: dict[str, Any]) -> None:
    result = decode(DecodeParams(**given))
    scene = decode_scene(result)
    assert scene.steps == len(result.steps)
    assert {0 <= stop < scene.steps for stop in (*scene.stops, scene.start)} == {True}
    assert len(scene.stops) == result.params.tokens
    assert len(scene.to_bytes()) < 4_000_000
    card = decode_card(result)
    assert [one.name for one in card.panels()] == ["wiring", "bytes"]
    assert 0 < len(card.to_bytes()) < len(scene.to_bytes())
    for marks in (one for one in [*scene.panels(), *card.panels()] if isinstance(one, Marks)):
        for layer in marks.layers:
            for axis, values in (
                (marks.x, layer.x),
                (marks.x, layer.x2),
                (marks.y, layer.y),
                (marks.y, layer.y2),
            ):
                numbers = np.asarray(values.values if isinstance(values, Track) else values, float)
                inside = np.isnan(numbers) | ((numbers >= axis.low) & (numbers <= axis.high))
                assert inside.all(), (marks.name, layer.mark, layer.names)


@pytest.mark.parametrize("given", [{}, {"kind": "mla"}], ids=str)
def test_the_matrices_show_what_is_cached_and_nothing_else(given: dict[str, Any]) -> None:
    result = decode(DecodeParams(**given, tokens=24))
    scene = decode_scene(result)
    for name in result.steps[0][1].parts:
        matrix = panel(scene, name)
        assert isinstance(matrix, Matrix)
        assert isinstance(matrix.values, Patches)
        for (_, step), state in zip(result.steps, states(matrix.values, scene.steps), strict=True):
            rows = state.reshape(matrix.shape)
            kept = step.parts[name].movedim(-2, 0).flatten(1).float().numpy()
            assert np.array_equal(rows[: len(kept)], kept)
            assert np.isnan(rows[len(kept) :]).all()
    weights = panel(scene, "weights")
    for (_, step), state in zip(result.steps, states(weights.values, scene.steps), strict=True):
        if step.weights is not None:
            assert np.allclose(state.reshape(weights.shape)[:, : step.stop], step.weights.numpy(), atol=1e-7)


def test_the_bars_are_the_bytes_of_the_four_runs() -> None:
    result = decode(DecodeParams())
    scene = decode_scene(result)
    chosen, _, others, _ = panel(scene, "bytes").layers
    assert [layer.style for layer in (chosen, others)] == ["solid", "faint"]
    assert [*shown(chosen.x2, -1), *shown(others.x2, -1)] == [3072, 12288, 1536, 3456]
    project = next(number for number, (_, step) in enumerate(result.steps) if step.phase == "project")
    assert shown(others.x2, project)[0] == 4 * 1024  # the new token is not cached yet
    assert shown(others.x2, project + 1)[0] == 5 * 1024
    assert chosen.names == ("GQA, 2 groups: ",)


def test_errors_appear_when_they_are_known() -> None:
    result = decode(DecodeParams(kind="mla"))
    lines = panel(decode_scene(result), "errors")
    assert isinstance(lines, Lines)
    assert lines.shown is not None
    counts = lines.shown.values[:, 0].tolist()
    assert counts == [4, *[known for token in range(4, 12) for known in (token, token, token, token + 1)]]
    assert [line.label for line in lines.lines] == ["with cache", "absorbed", "tolerance"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_words_have_the_live_numbers(kind: str) -> None:
    result = decode(DecodeParams(kind=kind))  # type: ignore[arg-type]
    scene = decode_scene(result)
    words = scene.words
    assert len(scene.words.sentences) == len(scene.words.formulas) == (5 if kind == "mla" else 4)
    for number, (_, step) in enumerate(result.steps):
        held = step.start if step.phase == "project" else step.stop
        assert words.column("token")[number] == step.stop - 1
        assert words.column("held")[number] == held
        assert words.column("bytes")[number] == step.cache_bytes
        assert words.column("mha_bytes")[number] == 2 * 8 * 8 * 8 * held
        assert (words.column("added")[number] > 0) == (step.phase in ("prefill", "append"))
    used = {column for text in (*words.sentences, *words.formulas) for column in placeholders(text)}
    assert used <= set(words.columns)


def placeholders(text: str) -> list[str]:
    return [part.split(":")[0] for part in text.split("{")[1:]]


@pytest.mark.parametrize("kind", ["gqa", "mla"])
def test_every_explained_symbol_stands_in_a_formula_and_only_as_itself(kind: str) -> None:
    scene = decode_scene(decode(DecodeParams(kind=kind)))  # type: ignore[arg-type]
    formulas = [ElementTree.fromstring(markup) for markup in scene.words.formulas]
    explained = {
        text(one) for tree in formulas for one in tree.iter() if kind_of(one) in ("mi", "mo", "msub", "msup")
    }
    assert not set(scene.symbols) - explained
    for tree in formulas:
        for one in tree.iter():
            if kind_of(one) == "msub":  # a letter inside it would have another meaning
                assert text(one) in scene.symbols
                assert not {text(part) for part in one.iter() if kind_of(part) in ("mi", "mo")} & set(
                    scene.symbols
                )


def kind_of(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def text(element: ElementTree.Element) -> str:
    return "".join(element.itertext()).strip()


# ------------------------------------------------------------------------------------------------ the shell


def test_the_shell_gives_the_fixed_fields() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "explainers", "kv_cache.decode", "--kind", "mla", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    given = json.loads(done.stdout)
    assert given["cache_bytes_measured"] == given["cache_bytes_formula"] == 3456
    assert given["max_abs_error_cached"] <= EXACT
    assert given["max_abs_error_absorbed"] <= EXACT
    assert given["passed"] is True
    assert given["all_cache_bytes"] == {"mha": 12288, "gqa": 3072, "mqa": 1536, "mla": 3456}
    assert not {"steps", "params"} & set(given)


def test_what_is_null_and_what_is_registered() -> None:
    assert as_json(decode(DecodeParams()))["max_abs_error_absorbed"] is None
    known = find("kv_cache.decode")
    assert known.function is decode_module.decode
    assert known.summary.endswith(".")
