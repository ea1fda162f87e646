"""Which keys a query sees: all, those up to its own position (causal), or a sliding window around it.

A query's position among the keys is its row + offset, where offset is keys minus queries: the last query is at the
last key (bottom-right alignment, as in the flash-attention library). A window is (left, right): how many keys a query
sees on either side of its position, -1 for all (Mistral: Jiang et al. 2023, section 2).
"""

from __future__ import annotations

import torch
from torch import Tensor

Window = tuple[int, int]
UNLIMITED, CAUSAL = (-1, -1), (-1, 0)


def bounds_of(causal: bool, window: Window) -> Window:
    """The window, which a causal mask ends at the query's own position."""
    return window[0], 0 if causal else window[1]


def visible(
    rows: tuple[int, int],
    columns: tuple[int, int],
    offset: int,
    bounds: Window = CAUSAL,
    device: torch.device | None = None,
) -> Tensor:
    """Which keys may be seen: (rows, columns) of bool. rows, columns: the ranges (start, stop) of a tile.

    True where row + offset - left <= column <= row + offset + right.
    """
    left, right = bounds
    position = torch.arange(*rows, device=device)[:, None] + offset
    column = torch.arange(*columns, device=device)[None, :]
    seen = torch.ones(len(position), column.shape[1], dtype=torch.bool, device=device)
    if left >= 0:
        seen &= column >= position - left
    if right >= 0:
        seen &= column <= position + right
    return seen


def key_tiles_visited(rows: tuple[int, int], n_k: int, block_k: int, offset: int, bounds: Window) -> range:
    """The key tiles that a query tile (start, stop) must visit: from the first key of its first row to the last key of
    its last row."""
    left, right = bounds
    first = max(rows[0] + offset - left, 0) if left >= 0 else 0
    last = min(rows[1] - 1 + offset + right, n_k - 1) if right >= 0 else n_k - 1
    return range(first // block_k, last // block_k + 1) if first <= last else range(0)


def query_tiles_visited(
    columns: tuple[int, int], n_q: int, block_q: int, offset: int, bounds: Window
) -> range:
    """The query tiles with a row that sees a key of this tile (start, stop): seen from the keys, the window is turned
    round."""
    left, right = bounds
    return key_tiles_visited(columns, n_q, block_q, -offset, (right, left))
