"""The types of what the player is sent, written from the dataclasses: `python -m explainers.player.types`.

TypeScript checks the player's JavaScript with them; a browser never sees them. They are those of the packed form
(`Scene.to_bytes`): an array is its place in the table of arrays, and a panel has its kind.
"""

from __future__ import annotations

import inspect
import json
import string
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from explainers.drawing import panels
from explainers.drawing.scene import Hue, Panel, Scene, Words
from explainers.player.source import Options

FILE = Path(__file__).with_name("scene.d.ts")
HEAD = """// Written by `python -m explainers.player.types` from explainers/drawing and Options; tests compare them.

/** The place of an array in the header's table of arrays. */
export interface ArrayPlace {
  array: number;
}
"""
HUE = string.Template("export type Hue = $names;\n")
RECORD = string.Template("Record<string, $value>")
UNION = string.Template(
    "export interface PanelKinds {\n$kinds}\n\nexport type Panel = PanelKinds[keyof PanelKinds];\n"
)
INTERFACE = string.Template("/** $summary */\nexport interface $name {\n$fields}\n")
PANELS = [
    value
    for value in vars(panels).values()
    if inspect.isclass(value) and issubclass(value, Panel) and value is not Panel
]
PLAIN = {
    int: "number",
    float: "number",
    str: "string",
    bool: "boolean",
    type(None): "null",
    np.ndarray: "ArrayPlace",
}
MERGED = {Words: {"columns"}}  # fields that are not sent: their names have become numbers


def declarations() -> str:
    """All types as one TypeScript declaration file. Raises TypeError for a field that has no packed form."""
    named = [HEAD, HUE.substitute(names=_choice(Hue)), _panel_union()]
    return "\n".join([*named, *map(_interface, reached([Scene, *PANELS, Options]))])


def reached(roots: list[type]) -> list[type]:
    """The dataclasses and those in their fields, each after those that it holds; of panels only the kinds."""
    found: dict[type, None] = {}

    def enter(kind: type) -> None:
        if kind in found or kind is Panel:
            return
        for hint in typing.get_type_hints(kind).values():
            for part in _parts(hint):
                enter(part)
        found[kind] = None

    for root in roots:
        enter(root)
    return list(found)


def _parts(hint: Any) -> Iterator[type]:
    """The dataclasses in a type."""
    if isinstance(hint, type) and is_dataclass(hint):
        yield hint
    for part in typing.get_args(hint):
        yield from _parts(part)


def _panel_union() -> str:
    """Any panel, and each by its kind."""
    return UNION.substitute(kinds="".join(f"  {kind.kind}: {kind.__name__};\n" for kind in PANELS))


def _interface(kind: type) -> str:
    hints = typing.get_type_hints(kind)
    sent = [item.name for item in fields(kind) if item.name not in MERGED.get(kind, ())]
    lines = [f'  kind: "{kind.kind}";\n'] if issubclass(kind, Panel) else []
    lines += [f"  {name}: {packed(hints[name])};\n" for name in sent]
    summary = (inspect.getdoc(kind) or "").partition("\n")[0]
    return INTERFACE.substitute(summary=summary, name=kind.__name__, fields="".join(lines))


def packed(hint: Any) -> str:
    """The TypeScript type of the packed form of a value. Raises TypeError where there is none."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint in PLAIN:
        return PLAIN[hint]
    if isinstance(hint, type) and is_dataclass(hint):
        return hint.__name__
    if hint == Hue:
        return "Hue"
    if origin is Literal:
        return _choice(hint)
    if origin in (types.UnionType, typing.Union):
        return " | ".join(map(packed, args))
    if origin is Mapping and args[0] is str:
        return RECORD.substitute(value=packed(args[1]))
    if origin is tuple and args[1:] == (...,):
        item = packed(args[0])
        return f"({item})[]" if " " in item and item[0] != "[" else f"{item}[]"
    if origin is tuple:
        return f"[{', '.join(map(packed, args))}]"
    raise TypeError(f"{hint} has no packed form")


def _choice(hint: Any) -> str:
    return " | ".join(map(json.dumps, typing.get_args(hint)))


if __name__ == "__main__":
    FILE.write_text(declarations(), encoding="utf-8")
