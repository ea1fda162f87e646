"""The player's own files, put together: no build step, one scope. Knows no Streamlit."""

from __future__ import annotations

import functools
import json
import struct
from pathlib import Path

FOLDER = Path(__file__).parent


@functools.cache
def javascript(entry: str) -> str:
    """All of the player as one module; `entry` is the file that starts it (streamlit.js or offline.js)."""
    panels = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.glob("panels/*.js"))
    parts = ["data.js", "drawing.js", "panels.js", *panels, "live.js", "shell.js", entry]
    return "\n".join((FOLDER / part).read_text(encoding="utf-8") for part in parts)


@functools.cache
def stylesheet() -> str:
    return (FOLDER / "player.css").read_text(encoding="utf-8")


def blob(
    scene: bytes,
    *,
    address: str = "",
    mode: str = "full",
    opening: int = 0,
    serves: bool = False,
    paints: bool = False,
    resumes: int | None = None,
) -> bytes:
    """What the player is sent: how to show the scene, then the scene.

    address: the parameter that holds its step. opening: another number than before opens the scene anew.
    serves: the page answers when a live scene asks for more. paints: a drag over a panel that can be painted is sent.
    resumes: the step of a live run at which a reader comes back to it.
    """
    asked = {
        "address": address, "mode": mode, "opening": opening, "serves": serves, "paints": paints, "resumes": resumes,
    }  # fmt: skip
    options = json.dumps(asked).encode()
    head = struct.pack("<I", len(options)) + options
    return head.ljust(-(-len(head) // 8) * 8, b"\0") + scene
