"""The kernel's own trace, held against the readable loop."""

from __future__ import annotations

from explainers.experiment import Check
from explainers.flash_attention.tiles import TilesParams, _how, _run_torch, compare_traces, draw
from kernels.flash_attention import flash_attention_trace


def compare(params: TilesParams) -> Check:
    """Runs both on the Q, K and V of `params` and compares m, l, alpha and O of every tile."""
    q, k, v = draw(params)
    steps, _, _ = _run_torch(params, q, k, v)
    return compare_traces(steps, flash_attention_trace(q, k, v, **_how(params)))
