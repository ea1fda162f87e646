"""The types of what the player is sent: as the dataclasses are now, and as a packed scene is."""

from __future__ import annotations

import inspect
import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import pytest

from explainers.drawing import panels
from explainers.drawing.scene import Action, Column, Live, Panel, Row, Scene, Track, Words, patches
from explainers.player import types
from explainers.player.source import Options

DECLARED = {
    name: dict(re.findall(r"^  (\w+): (.*);$", body, re.MULTILINE))
    for name, body in re.findall(
        r"^export interface (\w+) \{\n(.*?)^\}", types.FILE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
}


def test_the_file_is_what_the_dataclasses_say_now() -> None:
    assert types.FILE.read_text("utf-8") == types.declarations(), "run python -m explainers.player.types"


def full() -> Scene:
    """A scene with every panel, and something in each of its fields."""
    track = Track(np.zeros((1, 4)), np.zeros(1, np.int32))
    words = Words(("one",), np.zeros(1, np.int32), np.zeros((1, 1)), ("<math/>",))
    line, axis = panels.Line(np.zeros(1), np.zeros(1)), panels.Axis(0, 1, ticks=(0.5,))
    tiles = panels.Tiles((1, 1), np.zeros((1, 1), np.int32), np.zeros((1, 2), np.int32))
    band = panels.Band("left", "Q", "query")
    layer = panels.Layer("point", x=np.zeros(1), y=track)
    runs = np.zeros(1, np.int32)
    matrix = panels.Matrix(
        name="matrix", action=Action("pin", "click"), shape=(1, 1), values=patches([np.zeros(1)]), tiles=tiles,
        bands=(band,), limits=track,
    )  # fmt: skip
    strip = panels.Strip(name="strip", row=runs, start=runs, length=runs, hue=runs, appears=runs, leaves=runs,
        ruler=((0, "0"),), closes=runs)  # fmt: skip
    row = Row(
        panels=(
            panels.Marks(name="marks", x=axis, layers=(layer,)),
            panels.Lines(name="lines", lines=(line,), areas=(panels.Area(runs, runs, runs),), shown=track),
            panels.Bands(name="bands", values=np.zeros((1, 1)), names=("a",), hues=("key",), lines=(line,)),
            strip,
        )
    )
    cells = panels.Cells(name="cells", start=track, q=track, arrows=(panels.Arrow(0, 0),))
    below = (panels.Code(name="code", line=track), panels.Text(name="text", words=words))
    return Scene(
        name="full", title="", steps=1, columns=(Column(1, (matrix, row, cells)),), words=words,
        below=(Column(1, below),), symbols={"x": "a number"}, live=Live("run", ((0, "x"),), 0),
    )  # fmt: skip


def header(scene: Scene) -> dict[str, Any]:
    """The JSON that a browser gets."""
    data = scene.to_bytes()
    (length,) = struct.unpack_from("<I", data, 8)
    return json.loads(data[12 : 12 + length])["scene"]


def side_by_side(value: Any, packed: Any) -> Iterator[tuple[Any, Any]]:
    """Each dataclass in a scene, with what it was packed as."""
    if is_dataclass(value):
        yield value, packed
        pairs = [(getattr(value, name), packed[name]) for name in packed if name != "kind"]
    else:
        pairs = list(zip(value, packed, strict=True)) if isinstance(value, tuple) else []
    for inner, inner_packed in pairs:
        yield from side_by_side(inner, inner_packed)


def test_every_object_in_a_packed_scene_has_the_declared_fields() -> None:
    scene = full()
    seen = set()
    for value, packed in side_by_side(scene, header(scene)):
        name = type(value).__name__
        seen.add(name)
        assert set(packed) == set(DECLARED[name]), name
        for field, kind in DECLARED[name].items():
            assert fits(packed[field], kind), f"{name}.{field} is {packed[field]}, not {kind}"
    assert seen == {*DECLARED} - {"ArrayPlace", "PanelKinds", "Options"}


def fits(value: Any, kind: str) -> bool:
    """Whether a JSON value may be of a declared type, as far as its outermost layer says."""
    if isinstance(value, list):
        return "[" in kind
    if isinstance(value, dict) and "array" in value:
        return "ArrayPlace" in kind
    if isinstance(value, dict):
        return bool(re.search(r"\b[A-Z]\w+", kind.replace("ArrayPlace", "").replace("Hue", "")))
    if isinstance(value, str):
        return kind in ("string", "Hue") or json.dumps(value) in kind
    words = {type(None): "null", bool: "boolean", int: "number", float: "number"}
    return words[type(value)] in kind.split(" | ")


def test_every_kind_of_panel_is_declared_under_its_kind() -> None:
    made = [one for one in vars(panels).values() if inspect.isclass(one) and issubclass(one, Panel)]
    names = {one.kind: one.__name__ for one in made if one is not Panel}
    assert DECLARED["PanelKinds"] == names
    assert {kind: DECLARED[name]["kind"] for kind, name in names.items()} == {
        kind: f'"{kind}"' for kind in names
    }


def test_options_are_declared() -> None:
    assert set(DECLARED["Options"]) == {item.name for item in fields(Options)}


def test_a_field_without_a_packed_form_is_refused() -> None:
    @dataclass
    class Odd:
        field: set[int]

    with pytest.raises(TypeError, match="has no packed form"):
        types.packed(inspect.get_annotations(Odd, eval_str=True)["field"])
