"""What is said at each step of tiled attention: one sentence, and the formula with the followed row's numbers."""

from __future__ import annotations

import numpy as np

from explainers.drawing.formula import formula
from explainers.drawing.scene import Words
from explainers.flash_attention.tiled import TileStep
from explainers.flash_attention.tiles import TilesResult

SYMBOLS = {
    "m": "m: running maximum, the largest score that this row has seen so far",
    "ℓ": "ℓ: running denominator, the sum of the row's exponentials, taken under the maximum m",
    "α": "α: rescale factor, exp(old maximum − new maximum); it brings old sums under the new maximum",
    "S": "S: scores, Q times K transposed, times the scale",
    "P": "P: exponentials of the scores under the current maximum, not yet divided by ℓ",
    "O": "O: output accumulator of the query tile, divided by ℓ only at the end",
    "Q": "Q: the query tile, loaded once and kept in fast memory",
    "K": "K: a key tile, loaded for every query tile that needs it",
    "V": "V: a value tile, loaded together with its keys",
}

# The columns of a step's numbers.
I, J, ROW, M_BEFORE, M, L_BEFORE, L, ALPHA, ROW_MAX, ROW_SUM, ERROR, MOVED, LSE, ROWS, COLUMNS, TRUE_ALPHA = (
    range(16)
)


def _slot(column: int, form: str = ".2f") -> str:
    return f"{{{column}:{form}}}"


def _live(column: int, form: str = ".2f") -> str:
    return rf"\slot{{{column}:{form}}}"


_TILE = f"Query tile {_slot(I, 'd')} meets key tile {_slot(J, 'd')}"
_MAXIMUM = rf"m \leftarrow \max(m, \max_j S_j) = \max({_live(M_BEFORE)}, {_live(ROW_MAX)}) = {_live(M)}"
_FACTOR = rf"\alpha = e^{{{_live(M_BEFORE)} - {_live(M, '(.2f')}}} = {_live(ALPHA, '.3g')}"

# What can happen at a step: the sentence, and the formula with the numbers put in.
MOMENTS: dict[str, tuple[str, str]] = {
    "scores": (
        f"{_TILE}: K and V come into fast memory and {_slot(ROWS, 'd')} × {_slot(COLUMNS, 'd')} scores are computed. "
        f"The largest that row {_slot(ROW, 'd')} sees here is **{_slot(ROW_MAX)}**.",
        r"S = \mathrm{scale} \cdot Q K^T",
    ),
    "scores_unseen": (
        f"{_TILE}: {_slot(ROWS, 'd')} × {_slot(COLUMNS, 'd')} scores are computed, "
        f"but row {_slot(ROW, 'd')} may see **none** of these keys.",
        r"S = -\infty",
    ),
    "maximum_first": (
        f"Row {_slot(ROW, 'd')} sees its first scores: its running maximum becomes **{_slot(M)}**. "
        "There is nothing gathered yet, so α = 0 has nothing to shrink.",
        rf"m \leftarrow \max(-\infty, {_live(ROW_MAX)}) = {_live(M)}",
    ),
    "maximum_rises": (
        f"In row {_slot(ROW, 'd')} the largest score rises from {_slot(M_BEFORE)} to {_slot(M)}, "
        f"so all that was gathered so far must shrink by **α = {_slot(ALPHA, '.3g')}**.",
        _FACTOR,
    ),
    "maximum_not_rescaled": (
        f"In row {_slot(ROW, 'd')} the largest score rises from {_slot(M_BEFORE)} to {_slot(M)}. All that was gathered "
        f"should shrink by {_slot(TRUE_ALPHA, '.3g')}, but the rescale is switched off: **α = 1**.",
        rf"\alpha = 1 \neq e^{{{_live(M_BEFORE)} - {_live(M, '(.2f')}}} = {_live(TRUE_ALPHA, '.3g')}",
    ),
    "maximum_skipped": (
        f"The maximum is switched off: m stays 0, though row {_slot(ROW, 'd')} sees a score of "
        f"**{_slot(ROW_MAX)}** here. From 88.7 on, exp no longer fits into fp32.",
        r"P = e^{S - 0}",
    ),
    "maximum_stays": (
        f"Row {_slot(ROW, 'd')} meets nothing larger than {_slot(M)}: **α = {_slot(ALPHA, '.3g')}**, "
        "and what was gathered stands as it is.",
        _MAXIMUM,
    ),
    "maximum_unseen": (f"Row {_slot(ROW, 'd')} still has seen no key: its maximum stays −∞.", ""),
    "weights": (
        f"Each score becomes a weight P = exp(S − m). Row {_slot(ROW, 'd')} adds {_slot(ROW_SUM, '.3f')} "
        f"to what it had: its denominator is now **ℓ = {_slot(L, '.3f')}**.",
        r"\ell \leftarrow \alpha \ell + \sum_j e^{S_j - m} = "
        rf"{_live(ALPHA, '.3g')} \times {_live(L_BEFORE, '.3f')} + {_live(ROW_SUM, '.3f')} = {_live(L, '.3f')}",
    ),
    "rescale": (
        f"The accumulator is brought under the new maximum too: row {_slot(ROW, 'd')} of O is multiplied by "
        f"**α = {_slot(ALPHA, '.3g')}**.",
        rf"O \leftarrow \alpha O = {_live(ALPHA, '.3g')} \cdot O",
    ),
    "accumulate": (
        f"The weighted values are added: O ← O + PV. K{_slot(J, 'd')} and V{_slot(J, 'd')} are done with. "
        f"Were it the last tile, O/ℓ would be off by **{_slot(ERROR, '.1e')}**.",
        r"O \leftarrow O + P V",
    ),
    "accumulate_last": (
        f"The weighted values are added: O ← O + PV. It was the last tile of this row of tiles: "
        f"O/ℓ is **{_slot(ERROR, '.1e')}** from the exact output.",
        r"O \leftarrow O + P V",
    ),
    "finish": (
        f"Query tile {_slot(I, 'd')} is done: O is divided by ℓ, once, and written with the log-sum-exp. "
        f"Largest error against float64: **{_slot(ERROR, '.1e')}**. {_slot(MOVED, 'bytes')} have moved so far.",
        rf"O / \ell, \quad \mathrm{{lse}} = m + \ln \ell = {_live(M)} + \ln {_live(L)} = {_live(LSE)}",
    ),
    "finish_unseen": (
        f"Query tile {_slot(I, 'd')} is done. Row {_slot(ROW, 'd')} saw no key at all: "
        "its output is **0**, its log-sum-exp −∞.",
        "",
    ),
}
NAMES = tuple(MOMENTS)

_TABLE = (
    f"Row {_slot(ROW, 'd')}:  m = **{_slot(M, '.4f')}**,  ℓ = **{_slot(L, '.4f')}**,  α = **{_slot(ALPHA, '.3g')}**,  "
    f"log-sum-exp so far **{_slot(LSE, '.4f')}**"
)


def tile_words(result: TilesResult) -> tuple[Words, Words]:
    """The sentence of each step, and the line of numbers that stands beside the code."""
    steps = [step for _, step in result.steps]
    values = np.array([_numbers(result, number, step) for number, step in enumerate(steps)], np.float32)
    coming = [*(step.phase for step in steps[1:]), ""]
    which = np.array(
        [
            NAMES.index(_moment(row, step, after, result.params.break_it))
            for row, step, after in zip(values, steps, coming, strict=True)
        ]
    )
    sentences = tuple(sentence for sentence, _ in MOMENTS.values())
    formulas = tuple(formula(latex) if latex else "" for _, latex in MOMENTS.values())
    table = Words((_TABLE,), np.zeros(len(steps), int), values)
    return Words(sentences, which, values, formulas), table


def _moment(numbers: np.ndarray, step: TileStep, after: str, break_it: str) -> str:
    """Which of MOMENTS this step is for the followed row. after: the phase of the next step."""
    unseen = np.isneginf(numbers[M])
    if step.phase == "maximum":
        return _moment_of_maximum(numbers, break_it)
    if step.phase == "scores" and np.isneginf(numbers[ROW_MAX]):
        return "scores_unseen"
    if step.phase == "accumulate" and after == "finish":
        return "accumulate_last"
    return "finish_unseen" if step.phase == "finish" and unseen else step.phase


def _moment_of_maximum(numbers: np.ndarray, break_it: str) -> str:
    if break_it == "no_max":
        return "maximum_skipped"
    if np.isneginf(numbers[M]):
        return "maximum_unseen"
    if np.isneginf(numbers[M_BEFORE]):
        return "maximum_first"
    if numbers[M] <= numbers[M_BEFORE]:
        return "maximum_stays"
    return "maximum_not_rescaled" if break_it == "no_rescale" else "maximum_rises"


def _numbers(result: TilesResult, number: int, step: TileStep) -> list[float]:
    place = min(result.params.followed_row % result.params.block_q, len(step.m) - 1)
    scores = step.scores[place]
    return [
        step.query_tile,
        step.key_tile,
        step.rows[0] + place,
        step.m_before[place].item(),
        step.m[place].item(),
        step.l_before[place].item(),
        step.l[place].item(),
        step.alpha[place].item(),
        scores.max().item() if scores.numel() else -np.inf,
        step.weights[place].sum().item()
        if scores.numel() and step.phase not in ("scores", "finish")
        else 0.0,
        result.error_so_far[number],
        step.bytes_read + step.bytes_written,
        _lse_so_far(step, place),
        step.rows[1] - step.rows[0],
        step.columns[1] - step.columns[0],
        _true_alpha(step.m_before[place].item(), step.m[place].item()),
    ]


def _lse_so_far(step: TileStep, place: int) -> float:
    """The log-sum-exp of the keys whose weights are in l; while m alone is new, that of the tiles before."""
    if step.phase in ("scores", "maximum"):
        return (step.m_before + step.l_before.log())[place].item()
    return step.lse[place].item()


def _true_alpha(m_before: float, m: float) -> float:
    """The factor that the rescale should use, whatever a broken run used."""
    return float(np.exp(m_before - m)) if np.isfinite(m) else 1.0
