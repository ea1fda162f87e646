"""The scene's data: what is packed can be read back, and patches give back every state."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explainers.contract.experiment import experiments, find
from explainers.drawing.formula import formula
from explainers.drawing.panels import Matrix, Strip
from explainers.drawing.scene import (
    KEYFRAME_EVERY,
    MAGIC,
    VERSION,
    Column,
    Patches,
    Scene,
    Track,
    Words,
    patches,
)

EXPERIMENTS = experiments()
DRAWN = [known.name for known in EXPERIMENTS if known.has_scene]
CARDS = [known.name for known in EXPERIMENTS if known.has_card]


def unpack(blob: bytes) -> tuple[dict, list[np.ndarray]]:
    """Header and arrays of a blob, read as the player reads them."""
    version, length = struct.unpack_from("<II", blob, 4)
    assert (blob[:4], version) == (MAGIC, VERSION)
    header = json.loads(blob[12 : 12 + length])
    start = 12 + length
    arrays = []
    for entry in header["arrays"]:
        count = int(np.prod(entry["shape"]))
        arrays.append(
            np.frombuffer(blob, entry["type"], count, start + entry["offset"]).reshape(entry["shape"])
        )
    return header["scene"], arrays


def state_at(data: Patches, step: int) -> np.ndarray:
    """The state of one step: the keyframe before it, then the changes up to it."""
    frame = step // KEYFRAME_EVERY
    state = data.keyframes[frame].copy()
    first, last = data.starts[frame * KEYFRAME_EVERY + 1], data.starts[step + 1]
    state[data.positions[first:last]] = data.values[first:last]
    return state


@given(st.integers(1, 150), st.integers(1, 12), st.integers(0, 2**31))
def test_patches_give_back_every_state(steps: int, size: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    states = [draw.normal(size=size).astype(np.float32)]
    for _ in range(steps - 1):
        state = states[-1].copy()
        state[draw.random(size) < 0.3] = draw.choice([np.nan, 0.0, draw.normal()])
        states.append(state)
    data = patches(states)
    for step, state in enumerate(states):
        np.testing.assert_array_equal(state_at(data, step), state)


def test_a_blob_gives_back_its_arrays_at_aligned_places() -> None:
    values = np.array([[1.5, np.nan], [2.0, -3.0]])
    panel = Matrix("m", shape=(2, 2), values=Track(values.reshape(2, 2), np.array([0, 1])))
    scene = Scene(
        "a.b",
        title="t",
        steps=2,
        columns=(Column(1, (panel,)),),
        words=Words(("x",), np.zeros(2, int), np.zeros((2, 1))),
    )
    header, arrays = unpack(scene.to_bytes())
    assert all(array.__array_interface__["data"][0] % 4 == 0 for array in arrays)
    sent = header["columns"][0]["panels"][0]
    assert sent["kind"] == "matrix"
    np.testing.assert_array_equal(arrays[sent["values"]["values"]["array"]], values.astype(np.float32))
    assert arrays[sent["values"]["at"]["array"]].dtype == np.int32


STRIP: dict[str, Any] = {
    "rows": 2,
    "capacity": 8,
    "row": np.array([0, 0, 1]),
    "start": np.array([0, 5, 0]),
    "length": np.array([5, 3, 8]),
    "hue": np.array([0, -1, 1]),
    "appears": np.array([0, 2, 1]),
    "leaves": np.array([3, 3, 3]),
    "texts": ("5", "3", "8"),
    "notes": ("five", "padding", "eight"),
    "row_names": ("pack 1", "pack 2"),
    "closes": np.array([2, 1]),
}


def test_a_strip_gives_back_its_runs() -> None:
    scene = Scene(
        "a.b",
        title="t",
        steps=3,
        columns=(Column(1, (Strip("packs", limit=7, ruler=((0, "0"), (8, "8")), **STRIP),)),),
        words=Words(("x",), np.zeros(3, int), np.zeros((3, 1))),
    )
    header, arrays = unpack(scene.to_bytes())
    sent = header["columns"][0]["panels"][0]
    assert (sent["kind"], sent["name"], sent["limit"]) == ("strip", "packs", 7)
    assert sent["ruler"] == [[0, "0"], [8, "8"]]
    for name, given_value in STRIP.items():
        if isinstance(given_value, np.ndarray):
            read = arrays[sent[name]["array"]]
            assert read.dtype == np.int32
            np.testing.assert_array_equal(read, given_value)
        else:
            assert sent[name] == (list(given_value) if isinstance(given_value, tuple) else given_value)


@pytest.mark.parametrize("name", ["start", "length", "hue", "appears", "leaves", "texts", "notes"])
def test_a_strip_has_one_of_everything_for_each_run(name: str) -> None:
    with pytest.raises(ValueError, match=rf"strip packs: 2 {name}, not 3"):
        Strip("packs", **{**STRIP, name: STRIP[name][:2]})


@pytest.mark.parametrize("name", ["row_names", "closes"])
def test_a_strip_has_one_of_everything_for_each_row(name: str) -> None:
    with pytest.raises(ValueError, match=rf"strip packs: 1 {name}, not 2"):
        Strip("packs", **{**STRIP, name: STRIP[name][:1]})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"row": np.array([0, 0, 2])}, "a run lies outside its 2 rows"),
        ({"row": np.array([-1, 0, 1])}, "a run lies outside its 2 rows"),
        ({"start": np.array([0, -1, 0])}, "a run lies outside its 8 tokens"),
        ({"length": np.array([5, 4, 8])}, "a run lies outside its 8 tokens"),
    ],
)
def test_a_run_outside_its_strip_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=f"strip packs: {says}"):
        Strip("packs", **{**STRIP, **changes})


def test_what_a_strip_may_leave_out() -> None:
    assert len(Strip("empty").row) == 0
    bare = {
        name: value for name, value in STRIP.items() if name not in ("texts", "notes", "row_names", "closes")
    }
    assert Strip("bare", **bare).closes is None


@pytest.mark.parametrize("name", DRAWN)
def test_every_step_of_a_scene_has_words_that_only_use_columns_it_has(name: str) -> None:
    experiment = find(name)
    scene = experiment.scene(experiment(experiment.params()))
    assert len(scene.words.which) == len(scene.words.values) == scene.steps
    assert scene.words.which.max() < len(scene.words.sentences)
    assert 0 <= scene.start < scene.steps
    assert all(0 <= stop < scene.steps for stop in scene.stops)
    columns = scene.words.values.shape[1]
    for template in (*scene.words.sentences, *scene.words.formulas):
        for slot in scene.words.numbered(template).split("{")[1:]:
            assert int(slot.split(":")[0]) < columns


@pytest.mark.parametrize("name", DRAWN)
def test_panels_are_named_once_and_their_tracks_cover_every_step(name: str) -> None:
    experiment = find(name)
    header, arrays = unpack(experiment.scene(experiment(experiment.params())).to_bytes())
    panels = [
        one
        for column in header["columns"] + header["below"]
        for item in column["panels"]
        for one in item.get("panels", [item])
    ]
    names = [panel["name"] for panel in panels]
    assert len(set(names)) == len(names)
    for track in _tracks(panels):
        rows = len(arrays[track["values"]["array"]])
        if track["at"] is None:
            assert rows == header["steps"]
        else:
            at = arrays[track["at"]["array"]]
            assert len(at) == header["steps"]
            assert 0 <= at.min() <= at.max() < rows


@pytest.mark.parametrize("name", CARDS)
def test_every_card_is_a_small_scene(name: str) -> None:
    known = find(name)
    result = known(known.params())
    card = known.card(result)
    header, _ = unpack(card.to_bytes())
    assert header["steps"] > 1
    if known.has_scene:
        assert len(card.to_bytes()) <= len(known.scene(result).to_bytes())


def _tracks(value: object) -> list[dict]:
    if isinstance(value, list):
        return [track for item in value for track in _tracks(item)]
    if not isinstance(value, dict):
        return []
    if set(value) == {"values", "at"}:
        return [value]
    return [track for item in value.values() for track in _tracks(item)]


def test_a_formula_keeps_its_slots_and_is_mathml() -> None:
    markup = formula(r"\ell = \slot{3:.2f} + \slot{4:(.2f}")
    assert markup.startswith("<math")
    assert "<mn>{3:.2f}</mn>" in markup
    assert "<mn>{4:(.2f}</mn>" in markup
