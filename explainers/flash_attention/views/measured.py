"""What was measured on a GPU, as charts and as tables."""

from __future__ import annotations

import statistics
from typing import Any

import plotly.graph_objects as go

from explainers.contract.messages import Message, plural
from explainers.flash_attention.measured import (
    FASTER,
    NAMES,
    PRINTED_N,
    PRINTED_SOURCE,
    MeasuredResult,
    over_ours,
)
from explainers.flash_attention.measurements import Decoding, Machine
from explainers.flash_attention.views.race import COLOURS as RACE_COLOURS
from explainers.flash_attention.views.race import NAMES as RACE_NAMES

COLOURS = {
    "ours": RACE_COLOURS["triton"],
    "flash": RACE_COLOURS["sdpa"],
    "cudnn": "#1F9E78",
    "efficient": "#B06BD0",
    "math": RACE_COLOURS["naive"],
}
PRINT_COLOUR = "#D55E00"
DECODING_COLOURS = {"ours": RACE_COLOURS["triton"], "sdpa": RACE_COLOURS["sdpa"]}
DECODING_NAMES = {"ours": NAMES["ours"], "sdpa": RACE_NAMES["sdpa"]}
DASHES = ("solid", "dash", "dot", "dashdot")

Model = tuple[str, int, int, int]  # attention, query heads, key heads, head dimension


def provenance(machine: Machine) -> Message:
    """When, where and with what."""
    return Message(
        "{date}, {device}: PyTorch {torch}, CUDA {cuda}, Triton {triton}, commit {commit}, {command}",
        date=machine.date,
        device=machine.device,
        torch=machine.torch,
        cuda=machine.cuda,
        triton=machine.triton,
        commit=machine.commit[:10],
        command=machine.command,
    )


# -------------------------------------------------------------------------------------------------- throughput


def throughput_over_tokens(result: MeasuredResult) -> go.Figure:
    """TFLOP/s against the sequence length, a line a method: triangles where one is faster than ours."""
    figure, ratios = go.Figure(), over_ours(result.dense)
    lengths = sorted({row.n for row in result.dense})
    for method, colour in COLOURS.items():
        rows = sorted((row for row in result.dense if row.method == method), key=lambda row: row.n)
        if not rows:
            continue
        faster = [ratios.get((method, row.n), 1.0) >= FASTER for row in rows]
        figure.add_scatter(
            x=[row.n for row in rows],
            y=[row.tflops for row in rows],
            name=NAMES[method],
            mode="lines+markers",
            line={"color": colour, "width": 3.5 if method == "ours" else 2},
            marker={
                "symbol": ["triangle-up" if each else "circle" for each in faster],
                "size": [11 if each else 6 for each in faster],
                "opacity": 1,
                "line": {"width": 0},
            },
            hovertext=[
                Message(
                    "N = {n:,}: {tflops:.0f} TFLOP/s, {milliseconds:.3g} ms",
                    n=row.n,
                    tflops=row.tflops,
                    milliseconds=row.milliseconds,
                )
                for row in rows
            ],
            hoverinfo="text+name",
        )
    _add_printed(figure, result, (lengths[0], lengths[-1]))
    figure.update_xaxes(type="log", title="sequence length N", tickvals=lengths, ticktext=_ticks(lengths))
    return figure.update_yaxes(title="TFLOP/s", rangemode="tozero")


def _add_printed(figure: go.Figure, result: MeasuredResult, ends: tuple[int, int]) -> None:
    """A dashed line for each figure in print, labelled at its left and right end in turn: neighbours are close."""
    for number, printed in enumerate(sorted(result.printed, key=lambda printed: printed.tflops)):
        label = Message("{name}, in print", name=printed.name)
        left = number % 2 == 0
        figure.add_scatter(
            x=list(ends),
            y=[printed.tflops] * 2,
            name=label,
            mode="lines+text",
            text=[label, ""] if left else ["", label],
            textposition="top right" if left else "top left",
            textfont={"size": 11, "color": PRINT_COLOUR},
            line={"color": PRINT_COLOUR, "dash": "dash", "width": 1},
            showlegend=False,
            hoverinfo="y+name",
        )


def printed_note(result: MeasuredResult) -> Message:
    """Where the dashed lines come from."""
    return Message("Dashed: in print, at N = {n:,} ({source}).", n=PRINTED_N, source=PRINTED_SOURCE)


def _ticks(lengths: list[int]) -> list[str]:
    """1024 as 1k: six lengths fit on a narrow screen."""
    return [f"{n // 1024}k" if n % 1024 == 0 else str(n) for n in lengths]


def throughput_table(result: MeasuredResult) -> dict[str, list[Any]]:
    """TFLOP/s by length and method, and the fastest other method over ours."""
    rates = {(row.method, row.n): round(row.tflops, 1) for row in result.dense}
    ratios = over_ours(result.dense)
    lengths = sorted({row.n for row in result.dense})
    methods = [method for method in NAMES if any(row.method == method for row in result.dense)]
    columns: dict[str, list[Any]] = {"N": lengths}
    columns |= {NAMES[method]: [rates.get((method, n)) for n in lengths] for method in methods}
    fastest = [
        max((ratio for (method, at), ratio in ratios.items() if at == n and method != "ours"), default=None)
        for n in lengths
    ]
    return columns | {
        Message("fastest other / ours"): [None if ratio is None else round(ratio, 2) for ratio in fastest]
    }


def varlen_table(result: MeasuredResult) -> dict[str, list[Any]]:
    """Milliseconds for packs of unequal lengths: our kernel, and SDPA on the same sequences padded."""
    rows = {(row.pack, row.method): row for row in result.varlen}
    packs = list(dict.fromkeys(row.pack for row in result.varlen))
    ours, padded = ([rows.get((pack, method)) for pack in packs] for method in ("ours", "sdpa padded"))
    errors = [_error(row and row.max_error) for row in ours]
    columns: dict[str, list[Any]] = {
        Message("pack"): packs,
        Message("ours, ms"): [row and round(row.milliseconds, 3) for row in ours],
        Message("SDPA, padded, ms"): [row and round(row.milliseconds, 3) for row in padded],
        Message("padded / ours"): [
            round(theirs.milliseconds / mine.milliseconds, 2) if mine and theirs else None
            for mine, theirs in zip(ours, padded, strict=True)
        ],
    }
    return columns | ({Message("our max error"): errors} if any(errors) else {})


def _error(error: float | None) -> str | None:
    return None if error is None else f"{error:.1e}"


# ---------------------------------------------------------------------------------------------------- decoding


def decoding_models(result: MeasuredResult) -> dict[Model, tuple[Decoding, ...]]:
    """The rows of each shape of attention that was measured, each of which gets a chart."""
    rows: dict[Model, tuple[Decoding, ...]] = {}
    for row in result.decoding:
        model = (row.attention, row.query_heads, row.key_heads, row.head_dim)
        rows[model] = (*rows.get(model, ()), row)
    return rows


def bandwidth_over_keys(result: MeasuredResult, model: Model) -> go.Figure:
    """TB/s against the length of the cache, a line for each method and batch, under what the card can move."""
    rows = decoding_models(result)[model]
    batches, lengths = sorted({row.batch for row in rows}), sorted({row.n_k for row in rows})
    figure = go.Figure(layout={"meta": model_name(model)})  # Streamlit refuses equal charts
    for method, colour in DECODING_COLOURS.items():
        for number, batch in enumerate(batches):
            line = sorted(
                (row for row in rows if (row.method, row.batch) == (method, batch)), key=lambda row: row.n_k
            )
            if line:
                figure.add_scatter(
                    x=[row.n_k for row in line],
                    y=[row.bytes_per_second / 1e12 for row in line],
                    name=Message("{method}, batch {batch}", method=DECODING_NAMES[method], batch=batch),
                    mode="lines+markers",
                    line={"color": colour, "width": 2.5, "dash": DASHES[number % len(DASHES)]},
                )
    copies = [row.copy_bytes_per_second for row in rows if row.copy_bytes_per_second is not None]
    if copies:
        _add_limit(figure, lengths, statistics.median(copies), Message("a copy, measured"))
    if result.bandwidth:
        _add_limit(figure, lengths, result.bandwidth, Message("data sheet"))
    figure.update_xaxes(type="log", title="keys in the cache", tickvals=lengths, ticktext=_ticks(lengths))
    return figure.update_yaxes(title="TB/s", rangemode="tozero")


def _add_limit(figure: go.Figure, lengths: list[int], bandwidth: float, label: str) -> None:
    figure.add_scatter(
        x=[lengths[0], lengths[-1]],
        y=[bandwidth / 1e12] * 2,
        name=label,
        mode="lines+text",
        text=[label, ""],
        textposition="top right",
        textfont={"size": 11, "color": PRINT_COLOUR},
        line={"color": PRINT_COLOUR, "dash": "dash", "width": 1},
        showlegend=False,
        hoverinfo="y+name",
    )


def model_name(model: Model) -> Message:
    """What a chart of decoding is about."""
    attention, query_heads, key_heads, head_dim = model
    return plural(
        "{attention}, {query_heads} query heads and {count} KV head, d = {head_dim}",
        "{attention}, {query_heads} query heads and {count} KV heads, d = {head_dim}",
        count=key_heads,
        attention=attention.upper(),
        query_heads=query_heads,
        head_dim=head_dim,
    )


def decoding_table(result: MeasuredResult) -> dict[str, list[Any]]:
    """Each decode step beside its bound: the same bytes at the bandwidth of the data sheet."""
    rows, bandwidth = result.decoding, result.bandwidth
    bounds = [row.bytes / bandwidth * 1e3 if bandwidth else None for row in rows]
    return {
        Message("attention"): [row.attention.upper() for row in rows],
        Message("batch"): [row.batch for row in rows],
        Message("keys"): [row.n_k for row in rows],
        Message("method"): [DECODING_NAMES[row.method] for row in rows],
        Message("splits"): [row.splits for row in rows],
        "ms": [round(row.milliseconds, 3) for row in rows],
        Message("bytes / bandwidth, ms"): [bound and round(bound, 3) for bound in bounds],
        Message("of the bandwidth"): [
            bound and f"{bound / row.milliseconds:.0%}" for bound, row in zip(bounds, rows, strict=True)
        ],
        Message("max error"): [_error(row.max_error) for row in rows],
    }
