"""Checks on the screen: a result compared with an independent reference, green or red, with error and tolerance."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape

import streamlit as st

from explainers.contract.result import Check


def show(checks: Iterable[Check]) -> None:
    """One line a check: symbol and colour, the claim, error and tolerance, and what it was compared with."""
    checks = tuple(checks)
    if not checks:
        st.caption("No reference exists for these settings.")
        return
    st.html("".join(line(check) for check in checks))


def line(check: Check) -> str:
    """A check as HTML, every word of it escaped."""
    symbol, kind, verb = ("✓", "good", "passed") if check.passed else ("✗", "bad", "failed")
    return (
        f'<p class="check"><span class="{kind}"><span role="img" aria-label="{verb}">{symbol}</span> '
        f"<strong>{escape(check.what)}</strong></span> "
        f"max error {scientific(check.error)}, tolerance {scientific(check.tolerance)} "
        f'<span class="muted">against {escape(check.reference)}</span></p>'
    )


def scientific(value: float) -> str:
    """4.2e-7; whole numbers below a thousand as they are."""
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinite"
    if value == int(value) and abs(value) < 1000:
        return str(int(value))
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits.removesuffix('.0')}e{int(exponent)}"
