"""What is said at each step of tiled attention: one sentence, and the formula with the followed row's numbers."""

from __future__ import annotations

import numpy as np

from explainers.flash_attention.tiled import TileStep
from explainers.flash_attention.tiles import TilesResult
from explainers.formula import formula
from explainers.scene import Words

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
I, J, ROW, M_BEFORE, M, L_BEFORE, L, ALPHA, ROW_MAX, ROW_SUM, ERROR, MOVED, LSE, ROWS, COLUMNS = range(15)


def _slot(column: int, form: str = ".2f") -> str:
    return f"{{{column}:{form}}}"


def _live(column: int, form: str = ".2f") -> str:
    return rf"\slot{{{column}:{form}}}"


_TILE = f"Query tile {_slot(I, 'd')} meets key tile {_slot(J, 'd')}"
_MAXIMUM = rf"m \leftarrow \max(m, \max_j S_j) = \max({_live(M_BEFORE)}, {_live(ROW_MAX)}) = {_live(M)}"
_FACTOR = rf"\alpha = e^{{{_live(M_BEFORE)} - {_live(M, '(.2f')}}} = {_live(ALPHA)}"

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
        f"so all that was gathered so far must shrink by **α = {_slot(ALPHA)}**.",
        _FACTOR,
    ),
    "maximum_stays": (
        f"Row {_slot(ROW, 'd')} meets nothing larger than {_slot(M)}: **α = {_slot(ALPHA, '.3g')}**, "
        "and what was gathered stands as it is.",
        _MAXIMUM,
    ),
    "maximum_unseen": (f"Row {_slot(ROW, 'd')} still has seen no key: its maximum stays −∞.", ""),
    "weights": (
        f"Each score becomes a weight P = exp(S − m). Row {_slot(ROW, 'd')} adds {_slot(ROW_SUM)} "
        f"to what it had: its denominator is now **ℓ = {_slot(L)}**.",
        r"\ell \leftarrow \alpha \ell + \sum_j e^{S_j - m} = "
        rf"{_live(ALPHA)} \times {_live(L_BEFORE)} + {_live(ROW_SUM)} = {_live(L)}",
    ),
    "rescale": (
        f"The accumulator is brought under the new maximum too: row {_slot(ROW, 'd')} of O is multiplied by "
        f"**α = {_slot(ALPHA)}**.",
        rf"O \leftarrow \alpha O = {_live(ALPHA)} \cdot O",
    ),
    "accumulate": (
        f"The weighted values are added: O ← O + PV. K{_slot(J, 'd')} and V{_slot(J, 'd')} are done with. "
        f"Were it the last tile, O/ℓ would be off by **{_slot(ERROR, '.1e')}**.",
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
    f"Row {_slot(ROW, 'd')}:  m = **{_slot(M, '.4f')}**,  ℓ = **{_slot(L, '.4f')}**,  α = **{_slot(ALPHA, '.4f')}**,  "
    f"log-sum-exp so far **{_slot(LSE, '.4f')}**"
)


def tile_words(result: TilesResult) -> tuple[Words, Words]:
    """The sentence of each step, and the line of numbers that stands beside the code."""
    steps = [step for _, step in result.steps]
    values = np.array([_numbers(result, number, step) for number, step in enumerate(steps)], np.float32)
    which = np.array([NAMES.index(_moment(row, step)) for row, step in zip(values, steps, strict=True)])
    sentences = tuple(sentence for sentence, _ in MOMENTS.values())
    formulas = tuple(formula(latex) if latex else "" for _, latex in MOMENTS.values())
    table = Words((_TABLE,), np.zeros(len(steps), int), values)
    return Words(sentences, which, values, formulas), table


def _moment(numbers: np.ndarray, step: TileStep) -> str:
    """Which of MOMENTS this step is for the followed row."""
    unseen = np.isneginf(numbers[M])
    if step.phase == "maximum":
        if unseen:
            return "maximum_unseen"
        if np.isneginf(numbers[M_BEFORE]):
            return "maximum_first"
        return "maximum_rises" if numbers[M] > numbers[M_BEFORE] else "maximum_stays"
    if step.phase == "scores" and np.isneginf(numbers[ROW_MAX]):
        return "scores_unseen"
    return "finish_unseen" if step.phase == "finish" and unseen else step.phase


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
        step.lse[place].item(),
        step.rows[1] - step.rows[0],
        step.columns[1] - step.columns[0],
    ]
