"""The player's own files, joined: its ES modules as one script, without a build step. Knows no Streamlit.

A browser gets the player as one inline script, so its modules cannot import one another there. `javascript` puts each
module into a function that returns what it exports, in the order of the imports. Node's tests import the same files as
they are. What the joiner understands is what the modules use:

    import { reader } from "./data.js";        at the beginning of a line, names without `as`
    export function reader(source) {           or const, class; `export default` in an entry only
"""

from __future__ import annotations

import functools
import json
import re
import string
import struct
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
IMPORT = re.compile(r'^import (?:\{(?P<names>[^}]*)\} from )?"(?P<path>[^"]+)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async function|function|const|class) (?P<name>\w+))", re.MULTILINE)
AS_FUNCTION = string.Template("const $module = (() => {\n${body}return { $exports };\n})();")
FROM_FUNCTION = string.Template("const { $names } = $module;\n")


@functools.cache
def javascript(entry: str) -> str:
    """All of the player as one module; `entry` is the file that starts it (streamlit.js or offline.js)."""
    return joined(*sorted(FOLDER.glob("panels/*.js")), FOLDER / entry)


def joined(*modules: Path) -> str:
    """Modules and all that they import as one; the last of them is the entry."""
    *before, last = in_order(list(modules))
    return "\n".join([*map(_as_function, before), _with_imports(last)])


def in_order(roots: list[Path]) -> list[Path]:
    """The modules and all that they import, each after those that it imports. Raises ValueError for a circle."""
    found: dict[Path, None] = {}
    entered: set[Path] = set()

    def enter(module: Path) -> None:
        if module in found:
            return
        if module in entered:
            raise ValueError(f"{module.name} imports itself, through others")
        entered.add(module)
        for imported in IMPORT.finditer(module.read_text(encoding="utf-8")):
            enter((module.parent / imported["path"]).resolve())
        found[module] = None

    for root in roots:
        enter(root)
    return list(found)


def _as_function(module: Path) -> str:
    """A module as a function that is called at once and returns its exports."""
    body = _with_imports(module)
    exports = ", ".join(match["name"] for match in EXPORT.finditer(body))
    return AS_FUNCTION.substitute(module=_name(module), body=EXPORT.sub("", body), exports=exports)


def _with_imports(module: Path) -> str:
    """The text of a module that takes what it imports from the functions of the modules before it."""

    def taken(found: re.Match[str]) -> str:
        if not found["names"]:
            return ""
        imported = (module.parent / found["path"]).resolve()
        return FROM_FUNCTION.substitute(names=found["names"].strip(), module=_name(imported))

    return IMPORT.sub(taken, module.read_text(encoding="utf-8"))


def _name(module: Path) -> str:
    return "module_" + re.sub(r"\W", "_", module.relative_to(ROOT).with_suffix("").as_posix())


@functools.cache
def stylesheet() -> str:
    return (FOLDER / "player.css").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Options:
    """How the player shows a scene.

    address: the parameter of the page's address that holds the step ("" for none). mode: "full", or "card" for a small
    picture that moves under the pointer or focus. opening: another number than before opens the scene at its own start;
    with the same one the step stays. serves: the page answers when a live scene asks for more. paints: a drag over
    cells that can be painted is sent. resumes: the step of a live run at which a reader comes back to it. plays: it
    plays by itself, again and again, while it is in sight, until a reader touches it.
    """

    address: str = ""
    mode: Literal["full", "card"] = "full"
    opening: int = 0
    serves: bool = False
    paints: bool = False
    resumes: int | None = None
    plays: bool = False


def blob(scene: bytes, options: Options) -> bytes:
    """What the player is sent: the options, then the scene."""
    written = json.dumps(asdict(options)).encode()
    head = struct.pack("<I", len(written)) + written
    return head.ljust(-(-len(head) // 8) * 8, b"\0") + scene
