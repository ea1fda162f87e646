"""The scene of online softmax: one row of scores, the weights so far beside the exact ones, and m, l, alpha."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np

from explainers.contract.messages import LiveMessage, Message
from explainers.drawing.formula import formula
from explainers.drawing.panels import Axis, Layer, Marks
from explainers.drawing.scene import Column, Hue, Panel, Row, Scene, Track, Words
from explainers.drawing.source_code import code_panel
from explainers.flash_attention.online_softmax import OnlineSoftmaxResult, SoftmaxStep, softmax_in_blocks
from explainers.flash_attention.views.parts import bars, dumbbells

SYMBOLS: Mapping[str, str] = {
    "m": Message("m: running maximum, the largest score so far"),
    "ℓ": Message("ℓ: running denominator, the sum of the exponentials so far, taken under the maximum m"),
    "α": Message("α: rescale factor, exp(old maximum − new maximum)"),
    "p": Message("p: weights so far, not yet divided by ℓ"),
    "s": Message("s: the scores of this block"),
}

# One step's numbers: the block, its first and last score; m and l before and now; the rescale factor; the block's
# largest score and the sum of its weights; the error in the end; the log-sum-exp; the correct alpha, which a broken run
# may not use.
COLUMNS = (
    "block", "first", "last", "m_before", "m", "l_before", "l", "alpha", "block_max", "block_sum", "error", "lse",
    "true_alpha",
)  # fmt: skip

MOMENTS: dict[str, tuple[LiveMessage, str]] = {
    "block": (
        LiveMessage(
            "Block {block:d} comes: scores {first:d} to {last:d}. The largest of them is **{block_max:.2f}**; "
            "the scores to the right are not known yet."
        ),
        "",
    ),
    "maximum_first": (
        LiveMessage("The first maximum: **m = {m:.2f}**. Nothing has been gathered yet."),
        r"m \leftarrow \slot{block_max:.2f}",
    ),
    "maximum_rises": (
        LiveMessage(
            "A larger score: m rises from {m_before:.2f} to {m:.2f}. All weights so far were taken under the "
            "old maximum, so they must shrink by **α = {alpha:.3g}**."
        ),
        r"\alpha = e^{\slot{m_before:.2f} - \slot{m:(.2f}} = \slot{alpha:.3g}",
    ),
    "maximum_not_rescaled": (
        LiveMessage(
            "A larger score: m rises from {m_before:.2f} to {m:.2f}. The weights so far should shrink by "
            "{true_alpha:.3g}, but the rescale is switched off: **α = 1**."
        ),
        r"\alpha = 1 \neq e^{\slot{m_before:.2f} - \slot{m:(.2f}} = \slot{true_alpha:.3g}",
    ),
    "maximum_skipped": (
        LiveMessage(
            "The maximum is switched off: m stays 0, though this block holds a score of **{block_max:.2f}**. "
            "From 88.7 on, exp no longer fits into fp32."
        ),
        "",
    ),
    "maximum_stays": (
        LiveMessage(
            "Nothing larger than m = {m:.2f} in this block: **α = {alpha:.3g}**, the weights so far stay as they are."
        ),
        r"m \leftarrow \max(\slot{m_before:.2f}, \slot{block_max:.2f}) = \slot{m:.2f}",
    ),
    "rescale_none": (LiveMessage("There are no earlier weights yet to rescale."), ""),
    "rescale": (
        LiveMessage("All earlier weights are multiplied by **α = {alpha:.3g}**."),
        r"p \leftarrow \alpha p = \slot{alpha:.3g} \cdot p",
    ),
    "denominator": (
        LiveMessage("The block's own weights are added, and the denominator follows: **ℓ = {l:.3f}**."),
        r"\ell \leftarrow \alpha \ell + \sum e^{s - m} = "
        r"\slot{alpha:.3g} \times \slot{l_before:.3f} + \slot{block_sum:.3f} = \slot{l:.3f}",
    ),
    "finish": (
        LiveMessage(
            "Once all blocks have passed, every weight is divided by ℓ. Largest difference from the exact "
            "softmax: **{error:.1e}**."
        ),
        r"p / \ell, \quad \mathrm{lse} = m + \ln \ell = \slot{lse:.2f}",
    ),
}
NAMES = tuple(MOMENTS)


def scene(result: OnlineSoftmaxResult) -> Scene:
    """The scene of all steps of the row."""
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
        start=_start(steps),
        symbols=SYMBOLS,
        below=(Column(1, (code_panel(softmax_in_blocks, lines),)),),
    )


def card(result: OnlineSoftmaxResult) -> Scene:
    """Scores and weights alone, small: the card of this topic on the home page."""
    steps = [step for _, step in result.steps]
    panels = (_scores(result, steps), _weights(result, steps))
    small = tuple(replace(panel, height=104, title="", subtitle="") for panel in panels)
    return Scene(
        name="flash_attention.card",
        title="Weights growing block by block",
        steps=len(steps),
        columns=(Column(1, small),),
        words=_words(result, steps),
        start=_start(steps),
        rate=3.0,
    )


def _start(steps: list[SoftmaxStep]) -> int:
    """The first step to show: the rescale after the greatest rise of the maximum, once a quarter of the steps is done.

    The end where it does not rise later.
    """
    filled = len(steps) // 4
    rises = [
        step.m - step.m_before if step.phase == "rescale" and np.isfinite(step.m_before) else 0.0
        for step in steps[filled:]
    ]
    return filled + int(np.argmax(rises)) if max(rises) > 0 else len(steps) - 1


def _seen(step: SoftmaxStep, length: int) -> np.ndarray:
    return np.arange(length) < (length if step.phase == "finish" else step.columns[1])


def _scores(result: OnlineSoftmaxResult, steps: list[SoftmaxStep]) -> Panel:
    scores = result.scores.astype(float)
    length = len(scores)
    low, high = float(min(0.0, scores.min())), float(max(0.0, scores.max()))
    margin = 0.1 * (high - low or 1)
    seen = np.stack([_seen(step, length) for step in steps])
    blocks = np.array([step.columns if step.block >= 0 else (np.nan, np.nan) for step in steps], float) - 0.5
    maximum = Track(np.array([[step.m if np.isfinite(step.m) else np.nan] for step in steps]))
    end = np.array([length - 0.4])
    names = tuple(Message("score {number}", number=k) for k in range(length))
    layers = (
        Layer(
            "rect",
            x=Track(blocks[:, :1]),
            y=np.array([low - margin]),
            x2=Track(blocks[:, 1:]),
            y2=np.array([high + margin]),
            hue="current",
            style="faint",
            names=("this block ends at",),
        ),
        _columns(np.where(seen, np.nan, scores), "muted", "faint", names, scores),
        _columns(np.where(seen, scores, np.nan), "key", "solid", names, scores),
        Layer(
            "segment",
            x=np.array([-0.6]),
            y=maximum,
            x2=end,
            y2=maximum,
            hue="current",
            size=3,
            names=("m",),
            numbers=maximum,
        ),
        Layer(
            "label",
            x=end,
            y=Track(maximum.values + 1.3 * margin),
            hue="current",
            numbers=maximum,
            names=("m = ",),
            anchor="right",
        ),
    )
    return Marks(
        name="scores",
        title="One row of scores s",
        subtitle="the current block is shaded; pale: not seen yet; line: running maximum m",
        height=150,
        x=Axis(-1, length),
        y=Axis(low - margin, high + 2.4 * margin),
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
    """A bar from zero for each score. heights: (steps, length), or (length,) when they never change."""
    at = np.arange(len(names), dtype=float)
    moving = Track(heights) if heights.ndim == 2 else heights
    shown = Track(numbers) if numbers.ndim == 2 else numbers
    zero = np.zeros(len(names))
    return Layer(
        "rect",
        x=at - 0.36,
        y=zero,
        x2=at + 0.36,
        y2=moving,
        hue=hue,
        style=style,
        numbers=shown,
        format=format,
        names=names,
    )


def _weights(result: OnlineSoftmaxResult, steps: list[SoftmaxStep]) -> Panel:
    length = len(result.scores)
    with np.errstate(invalid="ignore", divide="ignore"):
        now = np.stack(
            [step.weights / (1.0 if step.phase == "finish" or step.l == 0 else step.l) for step in steps]
        )
    now = np.where(np.isfinite(now), now, np.nan)
    highest = max(float(np.nanmax(np.minimum(now, 1.2), initial=0.0)), float(result.exact.max()))
    names = tuple(Message("weight {number}", number=k) for k in range(length))
    layers = (
        _columns(now, "score", "solid", names, now, ".5f"),
        _columns(
            result.exact,
            "muted",
            "hollow",
            tuple(Message("exact {weight}", weight=name) for name in names),
            result.exact,
            ".5f",
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
    """m, l and alpha of every block so far, one line a block."""
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
    panel_options = {"height": 330, "row_name": "block"}
    return Row(
        (
            dumbbells("m", "m  maximum", values["m_before"], values["m"], current, **panel_options),
            dumbbells("l", "ℓ  denominator", values["l_before"], values["l"], current, **panel_options),
            bars("alpha", "α  rescale", values["alpha"], current, **panel_options),
        ),
        title="What is remembered, block by block",
        subtitle="hollow: before the block · solid: after",
    )


def _words(result: OnlineSoftmaxResult, steps: list[SoftmaxStep]) -> Words:
    numbers = [_numbers(result, step) for step in steps]
    values = np.array([[row[name] for name in COLUMNS] for row in numbers])
    which = np.array([NAMES.index(_moment(step, result.params.break_it)) for step in steps])
    formulas = tuple(formula(latex) if latex else "" for _, latex in MOMENTS.values())
    sentences = tuple(sentence for sentence, _ in MOMENTS.values())
    return Words(sentences, which, values, formulas, columns=COLUMNS)


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


def _numbers(result: OnlineSoftmaxResult, step: SoftmaxStep) -> dict[str, float]:
    """One step's COLUMNS."""
    start, stop = step.columns
    return {
        "block": step.block,
        "first": start,
        "last": stop - 1,
        "m_before": step.m_before,
        "m": step.m,
        "l_before": step.l_before,
        "l": step.l,
        "alpha": step.alpha,
        "block_max": float(result.scores[start:stop].max()),
        "block_sum": float(step.weights[start:stop].sum()),
        "error": result.max_abs_error,
        "lse": result.log_sum_exp,
        "true_alpha": float(np.exp(step.m_before - step.m)) if np.isfinite(step.m) else 1.0,
    }
