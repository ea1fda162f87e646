"""Online softmax: one row of scores, block by block, with a running maximum and a running denominator.

Source: Milakov and Gimelshein 2018, Algorithm 3, taken in blocks as in FlashAttention (Dao et al. 2022), section 3.1.
Uses NumPy only. The running values are float32, as on a GPU; the exact softmax is float64.
"""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from pydantic import field_validator

from explainers.contract.breaks import Break, break_field
from explainers.contract.experiment import experiment, watch
from explainers.contract.messages import Message
from explainers.contract.params import Adjustment, Params, number, text
from explainers.contract.result import Check, Checked

MOST_SCORES = 256
LARGEST_SCORE = 10_000
TOLERANCE = 1e-6  # a weight is at most 1, and fp32 rounds it, its exponent and its denominator at 2^-24 each

BREAKS = (
    Break(
        name="no_rescale",
        label="skip the rescale",
        consequence=(
            "What was summed under an old, smaller maximum was never shrunk to the new one, so the early blocks"
            " weigh too much."
        ),
        settings={"scores": "", "length": 24, "block": 6, "outlier": 6.0},
    ),
    Break(
        name="no_max",
        label="skip the maximum",
        consequence="exp of a score above 88.7 overflows fp32, and inf divided by inf is NaN.",
        settings={"scores": "", "length": 24, "block": 6, "outlier": 100.0},
    ),
)


# --------------------------------------------------------------------------------------------- the algorithm


@dataclass(frozen=True, eq=False)
class SoftmaxStep:
    """The state after one operation of online softmax.

    phase: "block" (scores loaded), "maximum" (m and alpha known), "rescale" (earlier weights times alpha),
        "denominator" (the block's weights and l known), and once at the end "finish" (all weights divided by l).
    block: its index, -1 at "finish". columns: its (start, stop) in the row.
    m_before, l_before: before this block. m, l, alpha: now.
    weights: (length,) the weights so far, not yet divided by l until "finish"; 0 where no block has been read.
    """

    phase: str
    block: int
    columns: tuple[int, int]
    m_before: float
    l_before: float
    m: float
    l: float
    alpha: float
    weights: np.ndarray


def softmax_in_blocks(
    scores: np.ndarray, block: int, break_it: str = "none"
) -> Generator[SoftmaxStep, None, tuple[np.ndarray, float]]:
    """Softmax of one row (length,) of finite scores, watched. Returns the weights (length,) and the log-sum-exp.

    Yields a SoftmaxStep after every operation. break_it removes one part (see BREAKS).
    """
    p = np.zeros_like(scores)
    # m = -inf, l = 0
    m, l, alpha = 0.0 if break_it == "no_max" else -math.inf, 0.0, 1.0

    for j, start in enumerate(range(0, len(scores), block)):
        stop = min(start + block, len(scores))
        s, place, before = scores[start:stop], (j, (start, stop)), (m, l)
        yield SoftmaxStep("block", *place, *before, m, l, alpha, p.copy())

        # m_new = max(m, max(s)),  alpha = exp(m - m_new)
        m_new = m if break_it == "no_max" else max(m, float(s.max()))
        alpha = 1.0 if break_it == "no_rescale" else float(_exp(np.float32(m - m_new)))
        m = m_new
        yield SoftmaxStep("maximum", *place, *before, m, l, alpha, p.copy())

        # p = alpha p, for every earlier column
        p[:start] *= np.float32(alpha)
        yield SoftmaxStep("rescale", *place, *before, m, l, alpha, p.copy())

        # p = exp(s - m),  l = alpha l + sum(p)
        p[start:stop] = _exp(s - np.float32(m))
        l = float(np.float32(alpha * l) + p[start:stop].sum())
        yield SoftmaxStep("denominator", *place, *before, m, l, alpha, p.copy())

    # softmax = p / l,  lse = m + log l
    p, log_sum_exp = _divide(p, l), m + (math.log(l) if l > 0 else -math.inf)
    yield SoftmaxStep("finish", -1, (0, len(scores)), m, l, m, l, alpha, p.copy())
    return p, log_sum_exp


def exact_softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax (length,) by its definition, in float64."""
    p = np.exp(scores.astype(np.float64) - scores.max())
    return p / p.sum()


def _exp(x: np.ndarray | np.float32) -> np.ndarray:
    """exp, which without the maximum may overflow to inf: NumPy need not warn, the lesson shows it."""
    with np.errstate(over="ignore"):
        return np.exp(x)


def _divide(p: np.ndarray, l: float) -> np.ndarray:
    """p / l, which without the maximum may be inf / inf or 0 / 0, both NaN."""
    with np.errstate(invalid="ignore"):
        return p / np.float32(l)


# -------------------------------------------------------------------------------------------- the experiment


class OnlineSoftmaxParams(Params):
    scores: str = text(
        "",
        "Your own row",
        Message("at most {most} numbers separated by commas or spaces; empty draws a row", most=MOST_SCORES),
        longest=8_000,
        long_text=True,
    )
    length: int = number(
        24,
        "Row length",
        "Scores in a drawn row",
        least=2,
        most=MOST_SCORES,
        comfort=(4, 64),
        step=1,
        unit="scores",
    )
    block: int = number(
        6, "Block size", "Scores taken at a time", least=1, most=64, comfort=(1, 32), step=1, unit="scores"
    )
    outlier: float = number(0.0, "Outlier", "Added to one score", least=0, most=100, comfort=(0, 100), step=1)
    outlier_at: float = number(
        0.7,
        "Outlier's place",
        "Where in the row: 0 is the first score, 1 the last",
        least=0,
        most=1,
        step=0.05,
    )
    seed: int = number(0, "Seed", "Draws the row", least=0, most=2**31 - 1, comfort=(0, 99), step=1)
    break_it: Literal["none", "no_rescale", "no_max"] = break_field(BREAKS)

    @field_validator("scores", mode="before")
    @classmethod
    def _only_numbers(cls, typed: Any) -> Any:
        if isinstance(typed, str):
            parse_scores(typed)
        return typed

    @property
    def row_length(self) -> int:
        """Scores in the row: as many as were typed, or `length`."""
        return len(parse_scores(self.scores)) or self.length

    def adjustments(self) -> Iterator[Adjustment]:
        if self.block > self.row_length:
            sentence = Message(
                "block = {block} is longer than the row; allowed: 1 to {most}.",
                block=self.block,
                most=self.row_length,
            )
            yield Adjustment("block", self.row_length, sentence)


def parse_scores(typed: str) -> list[float]:
    """The numbers of a typed row. Raises ValueError, which says what is allowed and what is wrong."""
    parts = re.split(r"[,\s]+", typed.strip().strip(","))
    if parts == [""]:
        return []
    if len(parts) > MOST_SCORES:
        raise ValueError(
            Message("at most {most} numbers, and these are {count:,}", most=MOST_SCORES, count=len(parts))
        )
    return [_parse_score(part) for part in parts]


def _parse_score(part: str) -> float:
    shown = repr(part if len(part) <= 20 else f"{part[:17]}...")
    try:
        score = float(part)
    except ValueError:
        raise ValueError(
            Message("numbers separated by commas or spaces, and {part} is not a number", part=shown)
        ) from None
    if not abs(score) <= LARGEST_SCORE:
        raise ValueError(
            Message(
                "finite numbers from {least:,} to {most:,}, and {part} is not one",
                least=-LARGEST_SCORE,
                most=LARGEST_SCORE,
                part=shown,
            )
        )
    return score


@dataclass(frozen=True, eq=False)
class OnlineSoftmaxResult(Checked):
    """Online softmax, compared with the exact one. m, l, alpha: (blocks,); weights: (length,)."""

    scores: np.ndarray
    m_before: np.ndarray
    m: np.ndarray
    l_before: np.ndarray
    l: np.ndarray
    alpha: np.ndarray
    partial_weights: np.ndarray  # (blocks, length): after each block, not yet divided by l
    weights: np.ndarray
    exact: np.ndarray
    log_sum_exp: float
    max_abs_error: float
    tolerance: float
    checks: tuple[Check, ...]
    params: OnlineSoftmaxParams = field(metadata={"shell": False})
    steps: list[tuple[int, SoftmaxStep]] = field(metadata={"shell": False})  # (source line, step)


@experiment("flash_attention.online_softmax", breaks=BREAKS)
def online_softmax(params: OnlineSoftmaxParams) -> OnlineSoftmaxResult:
    """Softmax of one row in blocks: the running maximum, the running denominator and every rescale."""
    scores = draw_row(params)
    steps, (weights, log_sum_exp) = watch(softmax_in_blocks(scores, params.block, params.break_it))
    exact = exact_softmax(scores)
    error = float(np.abs(weights - exact).max())
    after = [step for _, step in steps if step.phase == "denominator"]
    return OnlineSoftmaxResult(
        scores=scores,
        m_before=np.array([step.m_before for step in after]),
        m=np.array([step.m for step in after]),
        l_before=np.array([step.l_before for step in after]),
        l=np.array([step.l for step in after]),
        alpha=np.array([step.alpha for step in after]),
        partial_weights=np.stack([step.weights for step in after]),
        weights=weights,
        exact=exact,
        log_sum_exp=log_sum_exp,
        max_abs_error=error,
        tolerance=TOLERANCE,
        checks=(Check("equals exact softmax", error, TOLERANCE, "softmax of the whole row in float64"),),
        params=params,
        steps=steps,
    )


def draw_row(params: OnlineSoftmaxParams) -> np.ndarray:
    """The row (length,) in fp32: as typed, or normal with standard deviation 1.5; the outlier is added."""
    typed = parse_scores(params.scores)
    normal = np.random.default_rng(params.seed).normal(0, 1.5, params.length)
    scores = np.array(typed or normal, dtype=np.float32)
    scores[round(params.outlier_at * (len(scores) - 1))] += np.float32(params.outlier)
    return scores
