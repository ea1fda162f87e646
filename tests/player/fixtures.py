"""Scenes for Node's tests, with what Python says they hold: `python -m tests.player.fixtures FOLDER`.

Each is a blob as the player gets it, and beside it the numbers of every step, found without the blob.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from explainers.contract.messages import LiveMessage
from explainers.contract.numbers import formatted
from explainers.drawing.panels import Axis, Layer, Line, Lines, Marks, Matrix
from explainers.drawing.scene import KEYFRAME_EVERY, Column, Live, Patches, Scene, Track, Words, patches
from explainers.player.source import Options, blob

STEPS = 150  # more than two keyframes
CHUNK = 128  # steps of a live chunk, two keyframes
SIZES = (0, 1, 999, 999.4, 1000, 1024, 12_345.678, 123_456.5, 999_499, 4.29e10, 40 * 2**30, 7.5e14)


def states(steps: int) -> list[np.ndarray]:
    """A large array that changes at a few places at a step, NaN among them; nothing at every fifth step."""
    random = np.random.default_rng(7)
    state, found = random.normal(size=40).astype(np.float32), []
    for step in range(steps):
        if step % 5:
            state = state.copy()
            state[random.integers(0, 40, 3)] = random.normal(size=3)
            state[random.integers(0, 40)] = np.nan
        found.append(state)
    return found


def chunk_of(whole: Patches, first: int) -> Patches:
    """The Patches from step `first` on, with the changes of that step itself."""
    begin = whole.starts[first]
    starts = (whole.starts[first:] - begin).astype(np.int32)
    return Patches(
        whole.keyframes[first // KEYFRAME_EVERY :], starts, whole.positions[begin:], whole.values[begin:]
    )


def scene(name: str, steps: int, first: int = 0, live: Live | None = None) -> Scene:
    """A matrix with patches, a Track with rows of its own and one with shared rows, a constant, a curve, words."""
    each = np.arange(first, first + steps)
    shared = Track(np.array([[1.0, 2.0], [3.0, 4.0]]), (each % 2).astype(np.int32))
    own = Track(np.stack([each, each**2], axis=1).astype(float))
    values = chunk_of(patches(states(first + steps)), first)
    curve = Line(each.astype(float), (each / 2).astype(float), "output")
    return Scene(
        name=name,
        title=f"{name}, with an é",
        steps=steps,
        columns=(
            Column(1, (Matrix(name="m", title="", shape=(5, 8), values=values),)),
            Column(
                1,
                (
                    Marks(
                        name="k",
                        title="",
                        x=Axis(0, 1),
                        y=Axis(0, 1),
                        layers=(Layer("point", x=shared, y=own), Layer("point", x=np.zeros(2), y=np.ones(2))),
                    ),
                    Lines(
                        name="l",
                        title="",
                        x=Axis(first, first + steps, ticks=(float(first),)),
                        y=Axis(0, first + steps),
                        lines=(curve,),
                        shown=Track(np.arange(1, steps + 1)[:, None].astype(np.int32)),
                    ),
                ),
            ),
        ),
        words=Words(
            sentences=(LiveMessage("even {number:d}"), LiveMessage("odd {half:.2f}")),
            which=each % 2,
            values=np.stack([each, each / 2], axis=1),
            columns=("number", "half"),
        ),
        stops=(1, steps // 2),
        live=live,
    )


def expected(steps: int) -> dict[str, Any]:
    """The numbers of every step of `scene`, as lists; NaN as null."""
    each = np.arange(steps)
    numbers = [[None if np.isnan(value) else float(value) for value in state] for state in states(steps)]
    return {
        "steps": steps,
        "patches": numbers,
        "shared": [[1.0, 2.0] if step % 2 == 0 else [3.0, 4.0] for step in each.tolist()],
        "own": [[step, step**2] for step in each.tolist()],
        "words": [[step, step / 2] for step in each.tolist()],
        "sentences": ["even {0:d}", "odd {1:.2f}"],
    }


def write(folder: Path) -> None:
    """Writes all fixtures."""
    whole = scene("whole", STEPS)
    options = Options(address="step", opening=3, paints=True, resumes=7, plays=True)
    (folder / "whole.bin").write_bytes(blob(whole.to_bytes(), options))
    (folder / "whole.json").write_text(json.dumps(expected(STEPS)))
    for number in range(3):
        live = Live(lineage="run", changes=(), first=number * CHUNK, ahead=100, kept=2 * CHUNK)
        chunk = scene("live", CHUNK, number * CHUNK, live)
        (folder / f"chunk{number}.bin").write_bytes(blob(chunk.to_bytes(), Options(serves=True)))
    (folder / "live.json").write_text(json.dumps(expected(3 * CHUNK)))
    written = [[size, form, formatted(size, form)] for size in SIZES for form in ("bytes", "ibytes")]
    (folder / "sizes.json").write_text(json.dumps(written))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
