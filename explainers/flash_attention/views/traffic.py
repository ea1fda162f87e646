"""The charts of memory traffic, as Plotly figures: accesses, roofline, legal blocks, SRAM budget."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from explainers.contract.messages import Message
from explainers.flash_attention.machines import GPUS
from explainers.flash_attention.traffic import Curves, TrafficResult

# Okabe-Ito hues that read on a light and on a dark ground alike.
STANDARD, TILED, TILED_2, THEOREM, BOUND = "#8A93A6", "#1FA0A6", "#3D8FE0", "#D9822B", "#B06BD0"


def accesses_over_tokens(result: TrafficResult) -> go.Figure:
    """HBM accesses against the sequence length, log-log, at this SRAM."""
    figure = _curves(
        result, result.over_seq_len, result.params.seq_len, Message("sequence length N, in tokens")
    )
    lengths = [2**power for power in range(7, 18, 2)]
    return figure.update_xaxes(
        tickvals=lengths, ticktext=[f"{n}" if n < 1024 else f"{n // 1024}K" for n in lengths]
    )


def accesses_over_sram(result: TrafficResult) -> go.Figure:
    """HBM accesses against SRAM, log-log, at this sequence length; a line where FlashAttention-2 stops improving."""
    figure = _curves(result, result.over_sram, result.params.sram_bytes, Message("fast memory (SRAM)"))
    saturates = result.fa2_saturates_at_bytes
    figure.add_vline(x=saturates, line={"color": TILED_2, "dash": "dot", "width": 1.5})
    note = Message("query block = d = {head_dim}", head_dim=result.params.head_dim)
    figure.add_annotation(
        x=np.log10(saturates), y=0, yref="paper", text=note, showarrow=False, xanchor="left", yanchor="bottom"
    )
    sizes = {
        2**12: "4 KiB",
        2**14: "16 KiB",
        2**16: "64 KiB",
        2**18: "256 KiB",
        2**20: "1 MiB",
        2**23: "8 MiB",
        2**26: "64 MiB",
    }
    return figure.update_xaxes(tickvals=list(sizes), ticktext=list(sizes.values()))


def _within_range(result: TrafficResult, curves: Curves) -> np.ndarray:
    """The theorem's curve where it holds, for d <= M <= N d; NaN elsewhere."""
    over_sram = curves is result.over_sram
    d = result.params.head_dim
    n = result.params.seq_len if over_sram else curves.x
    m = curves.x / result.params.bytes_per_element if over_sram else result.params.sram_elements
    return np.where((m >= d) & (m <= n * d), curves.theorem, np.nan)


def _curves(result: TrafficResult, curves: Curves, now: float, label: str) -> go.Figure:
    x = curves.x.astype(np.float32)
    lines = (
        (Message("standard"), curves.standard, STANDARD, "solid", 2.5),
        (Message("tiled, FlashAttention-1 order"), curves.tiled, TILED, "solid", 2.5),
        (Message("tiled, FlashAttention-2 order"), curves.tiled_fa2, TILED_2, "dash", 2.5),
        (Message("theorem, Θ(N²d²/M), constant 1"), _within_range(result, curves), THEOREM, "dot", 2.5),
        (Message("inputs and output once, 4Nd"), curves.lower_bound, BOUND, "dashdot", 1.5),
    )
    figure = go.Figure()
    for name, values, colour, dash, width in lines:
        y = np.broadcast_to(values, x.shape).astype(np.float32)
        figure.add_scatter(
            x=x, y=y, name=name, mode="lines", line={"color": colour, "dash": dash, "width": width}
        )
    figure.add_vline(x=now, line={"color": "#D55E00", "width": 1.5})
    figure.update_xaxes(type="log", title=label)
    figure.update_yaxes(type="log", title="numbers read and written, one head", tickformat="~s")
    return figure


def roofline(result: TrafficResult) -> go.Figure:
    """What each algorithm can reach on an A100 and an H100: the smaller of peak and bandwidth times intensity."""
    figure = go.Figure()
    intensity = np.logspace(0, 4.5, 60).astype(np.float32)
    for roof, dash in zip(result.rooflines, ("dash", "solid"), strict=True):
        reach = np.minimum(roof.peak, roof.bandwidth * intensity) / 1e12
        figure.add_scatter(
            x=intensity,
            y=reach,
            name=roof.gpu,
            mode="lines",
            line={"color": STANDARD, "dash": dash, "width": 2},
        )
    algorithms = (
        (Message("standard"), result.standard_intensity, "standard", STANDARD, "circle"),
        (Message("FlashAttention-1 order"), result.tiled_intensity, "tiled", TILED, "diamond"),
        (Message("FlashAttention-2 order"), result.tiled_fa2_intensity, "tiled_fa2", TILED_2, "square"),
    )
    for name, at, field, colour, symbol in algorithms:
        reach = [getattr(roof, field) / 1e12 for roof in result.rooflines]
        marker = {"color": colour, "size": 12, "symbol": symbol, "line": {"width": 1.5, "color": "white"}}
        figure.add_scatter(x=[at] * len(reach), y=reach, name=name, mode="markers", marker=marker)
    figure.update_xaxes(type="log", title="FLOP per byte of HBM traffic")
    figure.update_yaxes(type="log", title="reachable TFLOP/s, fp16", tickformat="~g")
    return figure


def legal_blocks(result: TrafficResult) -> go.Figure:
    """Bytes of the Q, K and V tiles for each pair of block sizes; the cells that fit are marked."""
    sizes = sorted({block.block_q for block in result.legal_blocks})
    used = np.zeros((len(sizes), len(sizes)))
    legal = np.zeros((len(sizes), len(sizes)))
    for block in result.legal_blocks:
        place = sizes.index(block.block_q), sizes.index(block.block_k)
        used[place] = block.bytes_used
        legal[place] += block.fits
    words = {0: Message("too large"), 1: Message("H100 only"), 2: "A100, H100"}
    text = [
        [
            Message("{kib:.0f} KiB<br>{gpus}", kib=used[i, j] / 1024, gpus=words[int(legal[i, j])])
            for j in range(len(sizes))
        ]
        for i in range(len(sizes))
    ]
    colours = [[0, "#7C8598"], [0.5, "#A85B0C"], [1, "#12777C"]]
    names = [str(size) for size in sizes]
    figure = go.Figure(
        go.Heatmap(
            x=names,
            y=names,
            z=legal,
            text=text,
            texttemplate="%{text}",
            colorscale=colours,
            zmin=0,
            zmax=2,
            showscale=False,
            textfont={"color": "#FFFFFF", "size": 12},
            xgap=2,
            ygap=2,
            hoverinfo="skip",
        )
    )
    figure.update_xaxes(title="key block", type="category", showgrid=False)
    figure.update_yaxes(title="query block", type="category", showgrid=False)
    return figure


def sram_budget(result: TrafficResult) -> go.Figure:
    """The bytes of the tiles that the paper's blocks put into fast memory, beside its size."""
    colours = {"Q": "#3D8FE0", "K": "#D9822B", "V": "#1F9E78", "O": "#1FA0A6"}
    figure = go.Figure()
    for name, size in result.sram_budget.items():
        label = Message("{matrix}: {kib:.0f} KiB", matrix=name, kib=size / 1024)
        figure.add_bar(y=[""], x=[size / 1024], name=label, orientation="h", marker={"color": colours[name]})
    limits = {gpu.name.split()[0]: gpu.shared_bytes for gpu in GPUS} | {
        Message("set above"): result.params.sram_bytes
    }
    for number, (name, size) in enumerate(limits.items()):
        figure.add_vline(
            x=size / 1024, line={"color": STANDARD if number < len(GPUS) else "#D55E00", "width": 2}
        )
        note = {"text": name, "showarrow": False, "yref": "paper", "yanchor": "bottom", "xanchor": "left"}
        figure.add_annotation(x=size / 1024, y=number / 4, **note)
    title = Message(
        "KiB of fast memory, blocks of {block_q} queries and {block_k} keys",
        block_q=result.block_q,
        block_k=result.block_k,
    )
    return figure.update_layout(barmode="stack").update_xaxes(title=title)


def paper_table(result: TrafficResult) -> dict[str, list[str | float]]:
    """The paper's Figure 2 (left) beside our counts, by column."""
    rows = result.paper_table
    return {
        Message("algorithm"): [row.algorithm for row in rows],
        Message("GFLOP, printed in the paper"): [row.printed_gflops for row in rows],
        Message("GFLOP, counted"): [round(row.counted_gflops, 1) for row in rows],
        Message("HBM GB, printed in the paper"): [row.printed_hbm_gb for row in rows],
        Message("HBM GB, counted"): [round(row.counted_hbm_gb, 1) for row in rows],
        Message("ms on an A100, printed in the paper"): [row.printed_ms for row in rows],
    }
