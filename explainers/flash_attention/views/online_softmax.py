"""The picture of online softmax: one row of scores, the weights so far against the exact ones, and m, l, alpha."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np

from explainers.drawing.formula import formula
from explainers.drawing.panels import Axis, Layer, Marks
from explainers.drawing.scene import Column, Hue, Panel, Row, Scene, Track, Words
from explainers.drawing.source_code import code_panel
from explainers.flash_attention.online_softmax import OnlineSoftmaxResult, SoftmaxStep, softmax_in_blocks
from explainers.flash_attention.views.parts import bars, dumbbells

SYMBOLS: Mapping[str, str] = {
    "m": "m: running maximum, the largest score so far",
    "ℓ": "ℓ: running denominator, the sum of the exponentials so far, taken under the maximum m",
    "α": "α: rescale factor, exp(old maximum − new maximum)",
    "p": "p: weights so far, not yet divided by ℓ",
    "s": "s: the scores of this block",
}

# The columns of a step's numbers: 0 block, 1 its first and 2 its last score, 3 m before, 4 m, 5 l before, 6 l, 7 alpha,
# 8 the block's largest score, 9 the sum of its weights, 10 error, 11 log-sum-exp, 12 the alpha that is right.
MOMENTS: dict[str, tuple[str, str]] = {
    "block": (
        "Block {0:d} comes: scores {1:d} to {2:d}. The largest of them is **{8:.2f}**; "
        "the scores to the right are not known yet.",
        "",
    ),
    "maximum_first": (
        "The first maximum: **m = {4:.2f}**. Nothing has been gathered yet.",
        r"m \leftarrow \slot{8:.2f}",
    ),
    "maximum_rises": (
        "A larger score: m rises from {3:.2f} to {4:.2f}. All weights so far were taken under the old maximum, "
        "so they must shrink by **α = {7:.3g}**.",
        r"\alpha = e^{\slot{3:.2f} - \slot{4:(.2f}} = \slot{7:.3g}",
    ),
    "maximum_not_rescaled": (
        "A larger score: m rises from {3:.2f} to {4:.2f}. The weights so far should shrink by {12:.3g}, "
        "but the rescale is switched off: **α = 1**.",
        r"\alpha = 1 \neq e^{\slot{3:.2f} - \slot{4:(.2f}} = \slot{12:.3g}",
    ),
    "maximum_skipped": (
        "The maximum is switched off: m stays 0, though this block holds a score of **{8:.2f}**. "
        "From 88.7 on, exp no longer fits into fp32.",
        "",
    ),
    "maximum_stays": (
        "Nothing larger than m = {4:.2f} in this block: **α = {7:.3g}**, the weights so far stand.",
        r"m \leftarrow \max(\slot{3:.2f}, \slot{8:.2f}) = \slot{4:.2f}",
    ),
    "rescale_none": ("There are no earlier weights yet to rescale.", ""),
    "rescale": (
        "All earlier weights are multiplied by **α = {7:.3g}**.",
        r"p \leftarrow \alpha p = \slot{7:.3g} \cdot p",
    ),
    "denominator": (
        "The block's own weights are added, and the denominator follows: **ℓ = {6:.3f}**.",
        r"\ell \leftarrow \alpha \ell + \sum e^{s - m} = "
        r"\slot{7:.3g} \times \slot{5:.3f} + \slot{9:.3f} = \slot{6:.3f}",
    ),
    "finish": (
        "Once all blocks have passed, every weight is divided by ℓ. "
        "Largest difference from the exact softmax: **{10:.1e}**.",
        r"p / \ell, \quad \mathrm{lse} = m + \ln \ell = \slot{11:.2f}",
    ),
}
NAMES = tuple(MOMENTS)


def scene(result: OnlineSoftmaxResult) -> Scene:
    """Every step of the row, ready to be played."""
    steps = [step for _, step in result.steps]
    lines = np.array([line for line, _ in result.steps])
    return Scene(
        name="flash_attention.online_softmax",
        title="Online softmax, one block at a time",
        steps=len(steps),
        columns=(
            Column(2.2, (_scores(result, steps), _weights(result, steps))),
            Column(1, (_memory(steps),)),
        ),
        words=_words(result, steps),
        stops=tuple(number for number, step in enumerate(steps) if step.phase == "denominator"),
        start=_telling_step(steps),
        symbols=SYMBOLS,
        below=(Column(1, (code_panel(softmax_in_blocks, lines),)),),
    )


def card(result: OnlineSoftmaxResult) -> Scene:
    """Scores and weights alone, small: the picture of this topic on the home page."""
    steps = [step for _, step in result.steps]
    panels = (_scores(result, steps), _weights(result, steps))
    small = tuple(replace(panel, height=104, title="", subtitle="") for panel in panels)
    return Scene(
        name="flash_attention.card",
        title="Weights growing block by block",
        steps=len(steps),
        columns=(Column(1, small),),
        words=_words(result, steps),
        start=_telling_step(steps),
        rate=3.0,
    )


def _telling_step(steps: list[SoftmaxStep]) -> int:
    """The step after the greatest rise of the maximum: the rescale at work."""
    rises = [
        step.m - step.m_before if step.phase == "rescale" and np.isfinite(step.m_before) else 0.0
        for step in steps
    ]
    return int(np.argmax(rises))


def _seen(step: SoftmaxStep, length: int) -> np.ndarray:
    return np.arange(length) < (length if step.phase == "finish" else step.columns[1])


def _scores(result: OnlineSoftmaxResult, steps: list[SoftmaxStep]) -> Panel:
    scores = result.scores.astype(float)
    length = len(scores)
    low, high = float(min(0.0, scores.min())), float(max(0.0, scores.max()))
    margin = 0.08 * (high - low or 1)
    seen = np.stack([_seen(step, length) for step in steps])
    blocks = np.array([step.columns if step.block >= 0 else (np.nan, np.nan) for step in steps], float) - 0.5
    maximum = Track(np.array([[step.m if np.isfinite(step.m) else np.nan] for step in steps]))
    end = np.array([length - 0.4])
    names = tuple(f"score {k}" for k in range(length))
    layers = (
        Layer(
            "rect",
            Track(blocks[:, :1]),
            np.array([low - margin]),
            Track(blocks[:, 1:]),
            np.array([high + margin]),
            "current",
            "faint",
            names=("this block ends at",),
        ),
        _columns(np.where(seen, np.nan, scores), "muted", "faint", names, scores),
        _columns(np.where(seen, scores, np.nan), "key", "solid", names, scores),
        Layer(
            "segment",
            np.array([-0.6]),
            maximum,
            end,
            maximum,
            "current",
            size=3,
            names=("m",),
            numbers=maximum,
        ),
        Layer(
            "label",
            end,
            Track(maximum.values + 0.6 * margin),
            None,
            None,
            "current",
            "solid",
            4,
            maximum,
            ".2f",
            ("m = ",),
            "right",
        ),
    )
    return Marks(
        name="scores",
        title="One row of scores s",
        subtitle="the block at hand is shaded; pale: not seen yet; line: running maximum m",
        height=150,
        x=Axis(-1, length),
        y=Axis(low - margin, high + 2 * margin),
        layers=layers,
    )


def _columns(
    heights: np.ndarray,
    hue: Hue,
    style: Literal["solid", "hollow", "faint"],
    names: tuple[str, ...],
    numbers: np.ndarray,
    format: str = ".4f",
) -> Layer:
    """Columns that stand on zero, one a score. heights: (steps, length), or (length,) when they never change."""
    at = np.arange(len(names), dtype=float)
    moving = Track(heights) if heights.ndim == 2 else heights
    shown = Track(numbers) if numbers.ndim == 2 else numbers
    zero = np.zeros(len(names))
    return Layer(
        "rect", at - 0.36, zero, at + 0.36, moving, hue, style, numbers=shown, format=format, names=names
    )


def _weights(result: OnlineSoftmaxResult, steps: list[SoftmaxStep]) -> Panel:
    length = len(result.scores)
    with np.errstate(invalid="ignore", divide="ignore"):
        now = np.stack(
            [step.weights / (1.0 if step.phase == "finish" or step.l == 0 else step.l) for step in steps]
        )
    now = np.where(np.isfinite(now), now, np.nan)
    highest = max(float(np.nanmax(np.minimum(now, 1.2), initial=0.0)), float(result.exact.max()))
    names = tuple(f"weight {k}" for k in range(length))
    layers = (
        _columns(now, "score", "solid", names, now, ".5f"),
        _columns(
            result.exact, "muted", "hollow", tuple(f"exact {name}" for name in names), result.exact, ".5f"
        ),
    )
    return Marks(
        name="weights",
        title="Weights so far, divided by ℓ so far",
        subtitle="outlined: the exact softmax of the whole row",
        height=160,
        x=Axis(-1, length),
        y=Axis(0, highest * 1.06),
        layers=layers,
    )


def _memory(steps: list[SoftmaxStep]) -> Row:
    """m, l and alpha of every block passed so far, one row a block."""
    blocks = max(step.block for step in steps) + 1
    values = {
        name: np.full((len(steps), blocks), np.nan) for name in ("m_before", "m", "l_before", "l", "alpha")
    }
    for number, step in enumerate(steps):
        if number:
            for column in values.values():
                column[number] = column[number - 1]
        if step.block >= 0:
            for name, column in values.items():
                column[number, step.block] = getattr(step, name)
            if step.phase == "block" or np.isneginf(step.m_before):
                values["alpha"][number, step.block] = np.nan  # not known yet, or nothing to rescale
    current = np.array([step.block if step.block >= 0 else blocks - 1 for step in steps])
    look = {"height": 330, "row_name": "block"}
    return Row(
        (
            dumbbells("m", "m  maximum", values["m_before"], values["m"], current, **look),
            dumbbells("l", "ℓ  denominator", values["l_before"], values["l"], current, **look),
            bars("alpha", "α  rescale", values["alpha"], current, **look),
        ),
        title="What is remembered, block by block",
        subtitle="hollow: before the block · solid: after",
    )


def _words(result: OnlineSoftmaxResult, steps: list[SoftmaxStep]) -> Words:
    values = np.array([_numbers(result, step) for step in steps])
    which = np.array([NAMES.index(_moment(step, result.params.break_it)) for step in steps])
    formulas = tuple(formula(latex) if latex else "" for _, latex in MOMENTS.values())
    return Words(tuple(sentence for sentence, _ in MOMENTS.values()), which, values, formulas)


def _moment(step: SoftmaxStep, break_it: str) -> str:
    if step.phase != "maximum":
        return "rescale_none" if step.phase == "rescale" and step.block == 0 else step.phase
    if break_it == "no_max":
        return "maximum_skipped"
    if np.isneginf(step.m_before):
        return "maximum_first"
    if step.m <= step.m_before:
        return "maximum_stays"
    return "maximum_not_rescaled" if break_it == "no_rescale" else "maximum_rises"


def _numbers(result: OnlineSoftmaxResult, step: SoftmaxStep) -> list[float]:
    start, stop = step.columns
    return [
        step.block,
        start,
        stop - 1,
        step.m_before,
        step.m,
        step.l_before,
        step.l,
        step.alpha,
        float(result.scores[start:stop].max()),
        float(step.weights[start:stop].sum()),
        result.max_abs_error,
        result.log_sum_exp,
        float(np.exp(step.m_before - step.m)) if np.isfinite(step.m) else 1.0,
    ]
