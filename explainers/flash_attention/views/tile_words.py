"""The words of tiled attention: a sentence and a formula for each step, with the followed row's numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from explainers.contract.messages import LiveMessage, Message
from explainers.drawing.formula import formula
from explainers.drawing.scene import Words
from explainers.flash_attention.tiled import TileStep
from explainers.flash_attention.tiles import TilesResult
from explainers.flash_attention.tiles_params import TilesParams

SYMBOLS = {
    "m": Message("m: running maximum, the largest score that this row has seen so far"),
    "ℓ": Message("ℓ: running denominator, the sum of the row's exponentials, taken under the maximum m"),
    "α": Message(
        "α: rescale factor, exp(old maximum − new maximum); it brings old sums under the new maximum"
    ),
    "S": Message("S: scores, Q times K transposed, times the scale"),
    "P": Message("P: exponentials of the scores under the current maximum, not yet divided by ℓ"),
    "O": Message("O: output accumulator of the query tile, divided by ℓ only at the end"),
    "Q": Message("Q: the query tile, loaded once and kept in fast memory"),
    "K": Message("K: a key tile, loaded for every query tile that needs it"),
    "V": Message("V: a value tile, loaded together with its keys"),
}

# One step's numbers, for the followed row: the tile's place; the row's state before and now; the largest score and the
# sum of the weights that it has in this tile; error, bytes moved and log-sum-exp so far; the size of the tile; the
# correct alpha, which a broken run may not use; the soft cap.
COLUMNS = (
    "query_tile", "key_tile", "row", "m_before", "m", "l_before", "l", "alpha", "row_max", "row_sum", "error", "moved",
    "lse", "rows", "columns", "true_alpha", "cap",
)  # fmt: skip

_MAXIMUM = r"m \leftarrow \max(m, \max_j S_j) = \max(\slot{m_before:.2f}, \slot{row_max:.2f}) = \slot{m:.2f}"
_FACTOR = r"\alpha = e^{\slot{m_before:.2f} - \slot{m:(.2f}} = \slot{alpha:.3g}"

# What can happen at a step: the sentence, and the formula with its numbers.
MOMENTS: dict[str, tuple[LiveMessage, str]] = {
    "scores": (
        LiveMessage(
            "Query tile {query_tile:d} meets key tile {key_tile:d}: K and V come into fast memory and {rows:d} "
            "× {columns:d} scores are computed. The largest that row {row:d} sees here is **{row_max:.2f}**."
        ),
        r"S = \mathrm{scale} \cdot Q K^T",
    ),
    "scores_capped": (
        LiveMessage(
            "Query tile {query_tile:d} meets key tile {key_tile:d}: {rows:d} × {columns:d} scores are computed and "
            "capped, each within ±{cap:.3g}. The largest that row {row:d} sees here is **{row_max:.2f}**."
        ),
        r"S = \slot{cap:.3g} \cdot \tanh(\mathrm{scale} \cdot Q K^T / \slot{cap:.3g})",
    ),
    "scores_unseen": (
        LiveMessage(
            "Query tile {query_tile:d} meets key tile {key_tile:d}: {rows:d} × {columns:d} scores are "
            "computed, but row {row:d} may see **none** of these keys."
        ),
        r"S = -\infty",
    ),
    "maximum_first": (
        LiveMessage(
            "Row {row:d} sees its first scores: its running maximum becomes **{m:.2f}**. There is nothing "
            "gathered yet, so α = 0 has nothing to shrink."
        ),
        r"m \leftarrow \max(-\infty, \slot{row_max:.2f}) = \slot{m:.2f}",
    ),
    "maximum_rises": (
        LiveMessage(
            "In row {row:d} the largest score rises from {m_before:.2f} to {m:.2f}, so all that was gathered "
            "so far must shrink by **α = {alpha:.3g}**."
        ),
        _FACTOR,
    ),
    "maximum_not_rescaled": (
        LiveMessage(
            "In row {row:d} the largest score rises from {m_before:.2f} to {m:.2f}. All that was gathered "
            "should shrink by {true_alpha:.3g}, but the rescale is switched off: **α = 1**."
        ),
        r"\alpha = 1 \neq e^{\slot{m_before:.2f} - \slot{m:(.2f}} = \slot{true_alpha:.3g}",
    ),
    "maximum_skipped": (
        LiveMessage(
            "The maximum is switched off: m stays 0, though row {row:d} sees a score of **{row_max:.2f}** "
            "here. From 88.7 on, exp no longer fits into fp32."
        ),
        r"P = e^{S - 0}",
    ),
    "maximum_stays": (
        LiveMessage(
            "Row {row:d} meets nothing larger than {m:.2f}: **α = {alpha:.3g}**, and what was gathered stays "
            "as it is."
        ),
        _MAXIMUM,
    ),
    "maximum_unseen": (LiveMessage("Row {row:d} has still seen no key: its maximum stays −∞."), ""),
    "weights": (
        LiveMessage(
            "Each score becomes a weight P = exp(S − m). Row {row:d} adds {row_sum:.3f} to what it had: its "
            "denominator is now **ℓ = {l:.3f}**."
        ),
        r"\ell \leftarrow \alpha \ell + \sum_j e^{S_j - m} = "
        r"\slot{alpha:.3g} \times \slot{l_before:.3f} + \slot{row_sum:.3f} = \slot{l:.3f}",
    ),
    "rescale": (
        LiveMessage(
            "The accumulator is brought under the new maximum too: row {row:d} of O is multiplied by **α = "
            "{alpha:.3g}**."
        ),
        r"O \leftarrow \alpha O = \slot{alpha:.3g} \cdot O",
    ),
    "accumulate": (
        LiveMessage(
            "The weighted values are added: O ← O + PV. K{key_tile:d} and V{key_tile:d} are no longer needed. Were it "
            "the last tile, O/ℓ would be off by **{error:.1e}**."
        ),
        r"O \leftarrow O + P V",
    ),
    "accumulate_last": (
        LiveMessage(
            "The weighted values are added: O ← O + PV. It was the last tile of this row of tiles: O/ℓ is "
            "**{error:.1e}** from the exact output."
        ),
        r"O \leftarrow O + P V",
    ),
    "finish": (
        LiveMessage(
            "Query tile {query_tile:d} is done: O is divided by ℓ, once, and written with the log-sum-exp. "
            "Largest error against float64: **{error:.1e}**. {moved:bytes} have moved so far."
        ),
        r"O / \ell, \quad \mathrm{lse} = m + \ln \ell = \slot{m:.2f} + \ln \slot{l:.2f} = \slot{lse:.2f}",
    ),
    "finish_unseen": (
        LiveMessage(
            "Query tile {query_tile:d} is done. Row {row:d} saw no key at all: its output is **0**, its "
            "log-sum-exp −∞."
        ),
        "",
    ),
}
NAMES = tuple(MOMENTS)

_TABLE = LiveMessage(
    "Row {row:d}:  m = **{m:.4f}**,  ℓ = **{l:.4f}**,  α = **{alpha:.3g}**,  log-sum-exp so far **{lse:.4f}**"
)


def tile_words(result: TilesResult) -> tuple[Words, Words]:
    """The sentence of each step, and the line of numbers beside the code."""
    steps = [step for _, step in result.steps]
    numbers = [_numbers(result, number, step) for number, step in enumerate(steps)]
    values = np.array([[row[name] for name in COLUMNS] for row in numbers], np.float32)
    next_phases = [*(step.phase for step in steps[1:]), ""]
    which = np.array(
        [
            NAMES.index(_moment(row, step, next_phase, result.params))
            for row, step, next_phase in zip(numbers, steps, next_phases, strict=True)
        ]
    )
    sentences = tuple(sentence for sentence, _ in MOMENTS.values())
    formulas = tuple(formula(latex) if latex else "" for _, latex in MOMENTS.values())
    table = Words((_TABLE,), np.zeros(len(steps), int), values, columns=COLUMNS)
    return Words(sentences, which, values, formulas, columns=COLUMNS), table


def _moment(numbers: Mapping[str, float], step: TileStep, next_phase: str, params: TilesParams) -> str:
    """Which of MOMENTS this step is for the followed row."""
    unseen = np.isneginf(numbers["m"])
    if step.phase == "maximum":
        return _moment_of_maximum(numbers, params.break_it)
    if step.phase == "scores" and np.isneginf(numbers["row_max"]):
        return "scores_unseen"
    if step.phase == "scores" and params.softcap:
        return "scores_capped"
    if step.phase == "accumulate" and next_phase == "finish":
        return "accumulate_last"
    return "finish_unseen" if step.phase == "finish" and unseen else step.phase


def _moment_of_maximum(numbers: Mapping[str, float], break_it: str) -> str:
    if break_it == "no_max":
        return "maximum_skipped"
    if np.isneginf(numbers["m"]):
        return "maximum_unseen"
    if np.isneginf(numbers["m_before"]):
        return "maximum_first"
    if numbers["m"] <= numbers["m_before"]:
        return "maximum_stays"
    return "maximum_not_rescaled" if break_it == "no_rescale" else "maximum_rises"


def _numbers(result: TilesResult, number: int, step: TileStep) -> dict[str, float]:
    """One step's COLUMNS, of the row of this tile that is in the followed row's place."""
    place = min(result.params.followed_row % result.params.block_q, len(step.m) - 1)
    scores = step.scores[place]
    has_weights = scores.numel() and step.phase not in ("scores", "finish")
    return {
        "query_tile": step.query_tile,
        "key_tile": step.key_tile,
        "row": step.rows[0] + place,
        "m_before": step.m_before[place].item(),
        "m": step.m[place].item(),
        "l_before": step.l_before[place].item(),
        "l": step.l[place].item(),
        "alpha": step.alpha[place].item(),
        "row_max": scores.max().item() if scores.numel() else -np.inf,
        "row_sum": step.weights[place].sum().item() if has_weights else 0.0,
        "error": result.error_so_far[number],
        "moved": step.bytes_read + step.bytes_written,
        "lse": _lse_so_far(step, place),
        "rows": step.rows[1] - step.rows[0],
        "columns": step.columns[1] - step.columns[0],
        "true_alpha": _true_alpha(step.m_before[place].item(), step.m[place].item()),
        "cap": result.params.softcap,
    }


def _lse_so_far(step: TileStep, place: int) -> float:
    """The log-sum-exp of the keys whose weights are in l; before they are, that of the tiles before."""
    if step.phase in ("scores", "maximum"):
        return (step.m_before + step.l_before.log())[place].item()
    return step.lse[place].item()


def _true_alpha(m_before: float, m: float) -> float:
    """The factor that the rescale should use; a broken run may use another."""
    return float(np.exp(m_before - m)) if np.isfinite(m) else 1.0
