"""Settled charts with Plotly: one look, light and dark."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas  # noqa: F401  (Plotly looks for it in sys.modules, and fails on one that another thread half imported)
import plotly.graph_objects as go
import streamlit as st

# The frame of a chart, as in .streamlit/config.toml; the curves' own colours read on either ground.
LIGHT = {"ink": "#18202E", "ground": "#FFFFFF", "line": "#E1E6EE"}
DARK = {"ink": "#E6EAF0", "ground": "#0F1216", "line": "#2A313B"}
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', Arial, sans-serif"


def colors() -> dict[str, str]:
    """The colours of a chart's frame in the theme that the reader sees."""
    return DARK if st.context.theme.type == "dark" else LIGHT


def show(made: go.Figure, *, alt: str, height: int = 380) -> None:
    """Draws a figure in the site's one look. alt: what it shows, in a sentence, for readers who do not see it."""
    made.for_each_trace(_halve)
    made.update_layout(**_layout(), height=height)
    made.update_xaxes(**_axis())
    made.update_yaxes(**_axis())
    st.plotly_chart(made, theme=None, config={"displayModeBar": False, "responsive": True}, alt=alt)


def pair(*drawn: tuple[go.Figure, str]) -> None:
    """Figures side by side, each with its alt text."""
    for column, (made, alt) in zip(st.columns(len(drawn)), drawn, strict=True):
        with column:
            show(made, alt=alt)


def _layout() -> dict[str, Any]:
    color = colors()
    return {
        "template": "none",
        "font": {"family": _FONT, "size": 13, "color": color["ink"]},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 8, "t": 12, "b": 8},
        "hoverlabel": {
            "bgcolor": color["ground"],
            "bordercolor": color["line"],
            "font": {"color": color["ink"]},
        },
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"size": 12}},
    }


def _axis() -> dict[str, Any]:
    line = colors()["line"]
    return {"gridcolor": line, "linecolor": line, "zeroline": False, "ticks": "", "automargin": True}


def _halve(trace: Any) -> None:
    """Sends single precision, which is more than a screen shows."""
    for name in ("x", "y", "z"):
        values = getattr(trace, name, None)
        if isinstance(values, np.ndarray) and values.dtype == np.float64:
            trace[name] = values.astype(np.float32)
