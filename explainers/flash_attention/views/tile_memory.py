"""Panels of tiled attention's memory: the bytes moved, and the tiles that are in fast memory."""

from __future__ import annotations

import numpy as np

from explainers.contract.messages import Message
from explainers.drawing.panels import Axis, Layer, Marks
from explainers.drawing.scene import Hue, Panel, Track
from explainers.flash_attention.tiled import TileStep
from explainers.flash_attention.tiles import TilesResult

NAN = float("nan")


def traffic_panel(result: TilesResult, steps: list[TileStep]) -> Panel:
    """The bytes that tiling has moved so far, and what the standard algorithm moves in all."""
    moved = np.array([step.bytes_read + step.bytes_written for step in steps], float)
    standard = float(result.standard_bytes)
    longest = max(moved[-1], standard) * 2.2  # the numbers stand to the right of the bars
    upper, lower = np.array([1.0]), np.array([0.0])  # the middles of the two bars
    layers = (
        Layer(
            "rect",
            x=np.zeros(1),
            y=upper - 0.3,
            x2=Track(moved[:, None]),
            y2=upper + 0.3,
            hue="output",
            names=("tiled, so far",),
            numbers=Track(moved[:, None]),
            format="bytes",
        ),
        Layer(
            "rect",
            x=np.zeros(1),
            y=lower - 0.3,
            x2=np.array([standard]),
            y2=lower + 0.3,
            hue="parameter",
            names=("standard",),
            numbers=np.array([standard]),
            format="bytes",
        ),
        Layer(
            "label",
            x=Track(moved[:, None] + longest * 0.02),
            y=upper,
            numbers=Track(moved[:, None]),
            format="bytes",
            names=("tiled so far ",),
            hue="output",
            size=4,
        ),
        Layer(
            "label",
            x=np.array([standard + longest * 0.02]),
            y=lower,
            numbers=np.array([standard]),
            format="bytes",
            names=("standard ",),
            hue="muted",
            size=4,
        ),
    )
    return Marks(
        name="traffic",
        title="Slow-memory traffic, fp32",
        height=48,
        x=Axis(0, longest),
        y=Axis(-0.6, 1.6),
        layers=layers,
        frame=False,
    )


def sram_panel(result: TilesResult, steps: list[TileStep]) -> Panel:
    """Which tiles are in fast memory, above, and which in slow memory, below; a tile is as wide as its bytes."""
    block_q, block_k, width = result.params.block_q, result.params.block_k, result.params.head_dim
    sizes = {
        "Q": block_q * width,
        "K": block_k * width,
        "V": block_k * width,
        "S": block_q * block_k,
        "O": block_q * width,
    }
    hues: dict[str, Hue] = {"Q": "query", "K": "key", "V": "value", "S": "score", "O": "output"}
    gap = sum(sizes.values()) * 0.02
    layers: list[Layer] = []
    left = 0.0
    for name, size in sizes.items():
        inside = np.array([_in_sram(name, step) for step in steps])
        y = np.where(inside, 1.0, 0.0)[:, None]
        if name == "S":
            y = np.where(inside, 1.0, NAN)[:, None]  # S never exists outside
        layers += _tile_layers(name, left, size, y, hues[name])
        left += size + gap
    labels = Layer(
        "label",
        x=np.zeros(2),
        y=np.array([1.62, -0.62]),
        hue="muted",
        size=3.5,
        style="faint",
        names=("fast memory (SRAM)", "slow memory (HBM)"),
    )
    return Marks(
        name="sram",
        title="",
        height=96,
        x=Axis(0, left - gap),
        y=Axis(-0.95, 1.95),
        layers=(labels, *layers),
        frame=True,
    )


def _tile_layers(name: str, left: float, size: float, y: np.ndarray, hue: Hue) -> list[Layer]:
    """A tile of `size` numbers in fp32 as a box with its letter. y: (steps, 1) its middle."""
    left_edge, right_edge = np.array([left]), np.array([left + size])
    box = Layer(
        "rect",
        x=left_edge,
        y=Track(y - 0.34),
        x2=right_edge,
        y2=Track(y + 0.34),
        hue=hue,
        names=(Message("{matrix}, bytes", matrix=name),),
        numbers=np.array([4.0 * size]),
        format="bytes",
    )
    letter = Layer(
        "label",
        x=(left_edge + right_edge) / 2,
        y=Track(y),
        hue=hue,
        style="hollow",
        names=(name,),
        anchor="middle",
        size=3.5,
    )
    return [box, letter]


def _in_sram(name: str, step: TileStep) -> bool:
    if name in "QO":
        return step.phase != "finish"
    return step.phase in ("scores", "maximum", "weights", "rescale")
