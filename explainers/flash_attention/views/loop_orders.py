"""The scene of the two loop orders: both grids filled at the same pace, and what each has moved so far."""

from __future__ import annotations

import numpy as np

from explainers.contract.messages import LiveMessage, Message
from explainers.drawing.panels import Axis, Band, Layer, Marks, Matrix, Tiles
from explainers.drawing.scene import Column, Panel, Scene, Track, Words
from explainers.flash_attention.loop_orders import LoopOrder, LoopOrdersResult

# One step's numbers: tiles computed and all tiles; numbers of O written and all numbers read, by each order.
COLUMNS = ("done", "tiles", "fa1_output", "fa2_output", "fa1_reads", "fa2_reads")

_BEFORE = LiveMessage(
    "Before the first tile FlashAttention-1 has written **{fa1_output:d}** numbers of O already: it "
    "starts with O = 0 in slow memory. FlashAttention-2 has written none."
)
_SENTENCE = LiveMessage(
    "After {done:d} of {tiles:d} tiles FlashAttention-1 has written **{fa1_output:d}** numbers of O, "
    "FlashAttention-2 **{fa2_output:d}**; read: {fa1_reads:d} and {fa2_reads:d}. The same tiles in "
    "another order, and O need not be moved."
)


def scene(result: LoopOrdersResult) -> Scene:
    """Both orders, tile by tile; the last step is after the last tile."""
    orders = (result.fa1, result.fa2)
    steps = len(result.fa1.tiles) + 1
    tiles = np.arange(steps)
    columns = [tiles, np.full(steps, steps - 1)]
    columns += [order.output_writes for order in orders] + [order.reads for order in orders]
    return Scene(
        name="flash_attention.loop_orders",
        title="Two loop orders, side by side",
        steps=steps,
        columns=(
            Column(1, (_grid(result, result.fa1, Message("key tile by key tile")),)),
            Column(1, (_grid(result, result.fa2, Message("query tile by query tile")),)),
            Column(
                1.15,
                (
                    _bars(orders, "output_writes", Message("Numbers of O written")),
                    _bars(orders, "writes", Message("All numbers written")),
                    _bars(orders, "reads", Message("All numbers read")),
                ),
            ),
        ),
        words=Words((_BEFORE, _SENTENCE), np.minimum(tiles, 1), np.stack(columns, axis=1), columns=COLUMNS),
        start=steps // 2,
        rate=3.0,
    )


def _grid(result: LoopOrdersResult, order: LoopOrder, pace: str) -> Panel:
    n, params = result.params.seq_len, result.params
    visited_at = np.full(tuple(order.tiles.max(axis=0) + 1), -1)
    visited_at[order.tiles[:, 0], order.tiles[:, 1]] = np.arange(len(order.tiles))
    # Cells are coloured by when their tile is computed, which shows the order.
    order_of_cells = np.repeat(np.repeat(visited_at, params.block_q, axis=0), params.block_k, axis=1)[:n, :n]
    current = np.concatenate([order.tiles, [[-1, -1]]])
    return Matrix(
        name=order.name,
        title=order.name,
        subtitle=Message("outer loop: {outer}, {pace}", outer=order.outer, pace=pace),
        height=250,
        shape=(n, n),
        values=order_of_cells + 1.0,
        high=float(len(order.tiles) * 1.3),
        tiles=Tiles((params.block_q, params.block_k), visited_at, current),
        bands=(Band("left", "Q", "query"), Band("top", "K", "key")),
        reveal=True,
        row_name="query",
        column_name="key",
    )


def _bars(orders: tuple[LoopOrder, LoopOrder], quantity: str, title: str) -> Panel:
    counts = [getattr(order, quantity).astype(float)[:, None] for order in orders]
    longest = max(float(count.max()) for count in counts)
    layers: list[Layer] = []
    for order, count, y in zip(orders, counts, (1.0, 0.0), strict=True):
        middle, name = np.array([y]), order.name
        hue = "muted" if y else "output"
        layers.append(
            Layer(
                "rect",
                x=np.zeros(1),
                y=middle - 0.32,
                x2=Track(count),
                y2=middle + 0.32,
                hue=hue,
                names=(name,),
                numbers=Track(count),
                format="d",
            )
        )
        layers.append(
            Layer(
                "label",
                x=Track(count + longest * 0.02),
                y=middle,
                hue=hue,
                size=4,
                names=(f"{'FA-1' if y else 'FA-2'} ",),
                numbers=Track(count),
                format="d",
            )
        )
    return Marks(
        name=quantity,
        title=title,
        height=50,
        x=Axis(0, longest * 1.55),
        y=Axis(-0.6, 1.6),
        layers=tuple(layers),
        frame=False,
    )
