"""The race as charts and as a table."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from explainers.contract.messages import Message
from explainers.flash_attention.race import RaceResult

COLOURS = {"naive": "#8A93A6", "tiles": "#1FA0A6", "sdpa": "#D9822B", "triton": "#3D8FE0"}
NAMES = {
    "naive": Message("naive"),
    "tiles": Message("torch tiles (fast twin)"),
    "sdpa": "PyTorch SDPA",
    "triton": Message("our Triton kernel"),
}


def seconds_over_tokens(result: RaceResult) -> go.Figure:
    """Time against the sequence length, log-log."""
    return _over_tokens(result, "seconds", 1e3, Message("milliseconds"))


def memory_over_tokens(result: RaceResult) -> go.Figure:
    """Peak extra memory against the sequence length, log-log."""
    return _over_tokens(result, "peak_extra_bytes", 1e-6, Message("peak extra memory, MB"))


def _over_tokens(result: RaceResult, quantity: str, factor: float, label: str) -> go.Figure:
    figure = go.Figure()
    for method, colour in COLOURS.items():
        rows = [row for row in result.rows if row.method == method and getattr(row, quantity) is not None]
        if rows:
            x, y = [row.seq_len for row in rows], [getattr(row, quantity) * factor for row in rows]
            figure.add_scatter(
                x=x, y=y, name=NAMES[method], mode="lines+markers", line={"color": colour, "width": 2.5}
            )
    lengths = sorted({row.seq_len for row in result.rows})
    figure.update_xaxes(type="log", title="sequence length N", tickvals=lengths)
    return figure.update_yaxes(type="log", title=label, tickformat="~g", dtick="D2")


def table(result: RaceResult) -> dict[str, list[Any]]:
    """The measurements by column; times in milliseconds, memory in MB (10^6 bytes)."""
    return {
        Message("method"): [NAMES[row.method] for row in result.rows],
        "N": [row.seq_len for row in result.rows],
        "ms": [None if row.seconds is None else round(row.seconds * 1e3, 2) for row in result.rows],
        Message("peak extra MB"): [
            None if row.peak_extra_bytes is None else round(row.peak_extra_bytes / 1e6, 2)
            for row in result.rows
        ],
        Message("max error"): [
            None if row.max_abs_error is None else f"{row.max_abs_error:.1e}" for row in result.rows
        ],
        Message("note"): [row.note for row in result.rows],
    }
