"""The picture of planning: a step for each sweep or improvement, with the error and the bound that theory promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from explainers.contract.messages import LiveMessage, Message
from explainers.drawing.formula import formula
from explainers.drawing.panels import Axis, Cells, Code, Line, Lines
from explainers.drawing.scene import Column, Scene, Track, Words, patches
from explainers.drawing.source_code import code_panel
from explainers.grid_world import planners
from explainers.grid_world.plan import LABELS, PlanResult
from explainers.grid_world.views.ground import SYMBOLS, ground, limit
from explainers.grid_world.world import WALL

SMALLEST = 1e-12  # of the error axis: smaller errors are rounding
PLANNERS: dict[str, Callable[..., Any]] = {
    "value_iteration": planners.value_iteration,
    "policy_iteration": planners.policy_iteration,
    "truncated_policy_iteration": planners.truncated_policy_iteration,
    "mc_basic": planners.mc_basic,
}


def scene(result: PlanResult) -> Scene:
    """The values and the policy of every stage, with the curve of their error."""
    world, stages = result.params.grid, result.stages
    walls = world.cells.ravel() == WALL
    values = patches([np.where(walls, np.nan, stage.values) for stage in stages])
    shown = patches(_policies(result))
    distance = _distances(result)
    label = LABELS[result.params.algorithm]
    return Scene(
        name="grid_world.plan",
        title=Message("Planning by {algorithm}", algorithm=label),
        steps=len(stages),
        columns=(
            Column(
                1.15,
                (
                    Cells(
                        name="values",
                        title="The values so far, and the policy",
                        subtitle="colour and number: v(s) · arrow: the action that the policy takes",
                        height=470,
                        values=values,
                        limit=max(limit(result.best.values), limit(stages[-1].values)),
                        policy=shown,
                        decimals=2,
                        **ground(world),
                    ),
                ),
            ),
            Column(1, (_error_lines(result, distance), *_zigzag(result), _wrong_lines(result))),
        ),
        words=_words(result, distance),
        start=_start(result, distance),
        reopens=True,
        rate=max(2.0, len(stages) / 20),
        symbols=SYMBOLS,
        below=(Column(1, (_code(result),)),),
    )


def _start(result: PlanResult, distance: np.ndarray) -> int:
    """The first stage at which half of the cells that were wrong are right, or half of the error is gone."""
    wrong = _wrong(result)
    halved = wrong <= wrong[0] / 2 if wrong[0] else distance <= distance[0] / 2
    halved[0] = False
    return int(np.argmax(halved)) if halved.any() else len(halved) - 1


def _wrong(result: PlanResult) -> np.ndarray:
    """(stages,) the number of cells whose action is not optimal."""
    acting = np.flatnonzero(result.params.grid.acting)
    return np.array([(~result.best.best[acting, stage.chosen[acting]]).sum() for stage in result.stages])


def _policies(result: PlanResult) -> list[np.ndarray]:
    """For each stage (cells * actions,) the chosen actions, one-hot; NaN where no agent acts."""
    world = result.params.grid
    one_hot = np.eye(len(world.moves.mix))
    idle = ~world.acting[:, None]
    return [np.where(idle, np.nan, one_hot[stage.chosen]).ravel() for stage in result.stages]


def _distances(result: PlanResult) -> np.ndarray:
    """(stages,) the largest distance of each stage's values to v*."""
    acting, best = result.params.grid.acting, result.best.values
    return np.array([np.abs(stage.values - best)[acting].max(initial=0.0) for stage in result.stages])


def _sweeps_before(result: PlanResult) -> np.ndarray:
    """(stages,) the sweeps up to each stage; in policy iteration and MC Basic the rounds."""
    counted = "improved" if result.params.algorithm in ("policy_iteration", "mc_basic") else "sweep"
    return np.cumsum([stage.what == counted for stage in result.stages])


def _error_lines(result: PlanResult, distance: np.ndarray) -> Lines:
    steps = np.arange(len(distance), dtype=float)
    shown = np.maximum(distance, SMALLEST)
    gamma, sweeping = result.params.gamma, result.params.algorithm == "value_iteration"
    lines = [Line(steps, shown, hue="current", label="error")]
    if sweeping and gamma < 1:
        # |v_k - v*| <= gamma^k |v_0 - v*|
        promised = np.maximum(gamma**steps * distance[0], SMALLEST)
        lines.append(Line(steps, promised, hue="muted", label="γᵏ", dashed=True))
    lowest = int(np.floor(np.log10(max(shown.min(), SMALLEST))))
    highest = int(np.ceil(np.log10(max(shown.max(), 10.0 ** (lowest + 1))) + 0.02))
    ticks = tuple(10.0**power for power in range(lowest, highest + 1, max(1, (highest - lowest) // 4)))
    promise = Message("dashed: γᵏ times the first error, which theory promises")
    return Lines(
        name="error",
        title="The largest error, |v − v*|",
        subtitle=promise if len(lines) > 1 else "",
        height=160 if len(result.gaps) else 210,
        x=_step_axis(result),
        y=Axis(10.0**lowest, 10.0**highest, log=True, ticks=ticks, format=".0e"),
        lines=tuple(lines),
        shown=Track(steps[:, None] + 1),
    )


def _zigzag(result: PlanResult) -> tuple[Lines, ...]:
    """Policy iteration in the plane of its two gaps: evaluation closes one and opens the other."""
    if not len(result.gaps):
        return ()
    evaluation, improvement = result.gaps.T
    across, up = max(float(evaluation.max()), SMALLEST), max(float(improvement.max()), SMALLEST)
    lines = Lines(
        name="zigzag",
        title="Evaluation and improvement in turn, down to 0",
        subtitle="up: max q − q(s, π(s)), closed by improvement; across: |v − v_π|, closed by evaluation",
        height=180,
        x=Axis(0, 1.05 * across, label="|v − v_π|", ticks=(0, across / 2), format=".2g"),
        y=Axis(0, 1.05 * up, ticks=(0, up), format=".2g"),
        lines=(Line(evaluation, improvement, hue="current"),),
        shown=Track(np.arange(1, len(evaluation) + 1)[:, None]),
    )
    return (lines,)


def _wrong_lines(result: PlanResult) -> Lines:
    """The number of cells in which the policy is not yet optimal."""
    wrong = _wrong(result).astype(float)
    steps, highest = np.arange(len(wrong), dtype=float), max(float(wrong.max()), 1.0)
    return Lines(
        name="wrong",
        title="Cells in which the policy is not yet optimal",
        subtitle="often none are left long before the values are right",
        height=110 if len(result.gaps) else 150,
        x=_step_axis(result),
        y=Axis(0, 1.05 * highest, ticks=(0, highest), format="d"),
        lines=(Line(steps, wrong, hue="bad"),),
        shown=Track(steps[:, None] + 1),
    )


def _step_axis(result: PlanResult) -> Axis:
    last = max(len(result.stages) - 1, 1)
    word = Message("sweep") if result.params.algorithm == "value_iteration" else Message("step")
    ticks = range(0, int(0.9 * last) + 1, max(1, last // 5))  # the label needs the end
    return Axis(0, last, label=word, ticks=tuple(ticks), format="d")


def _code(result: PlanResult) -> Code:
    return code_panel(
        PLANNERS[result.params.algorithm],
        np.array(result.lines),
        note="marked: the line on which it paused",
        height=320,
    )


# number: of the sweep or round. error: the largest distance to v*. wrong: cells whose action is not optimal. changed:
# cells whose action differs from the step before.
COLUMNS = ("number", "error", "wrong", "changed", "gamma")
SENTENCES: dict[str, Message] = {
    "start": LiveMessage(
        "Before any sweep every value is 0, up to **{error:.3g}** from v*. The policy takes the best first reward."
    ),
    "sweep": LiveMessage(
        "After sweep {number:d} all values are within **{error:.3g}** of v*; cells where the policy is not yet "
        "optimal: {wrong:d}."
    ),
    "evaluated": LiveMessage(
        "Round {number:d}: the policy is evaluated exactly. Its values are up to **{error:.3g}** from v*."
    ),
    "improved": LiveMessage(
        "After sweep {number:d} the policy improves; cells with another action: {changed:d}, not yet optimal: "
        "{wrong:d}."
    ),
}
ROUND_IMPROVED = LiveMessage(
    "Round {number:d}: the policy improves; cells with another action: {changed:d}, not yet optimal: {wrong:d}."
)
SETTLED = LiveMessage(
    "Round {number:d}: no action is better than the policy's own: it stays as it is. Not optimal: {wrong:d}."
)
SAMPLED = LiveMessage(
    "Round {number:d}: an episode from every cell and action; cells with another action: {changed:d}. The returns are "
    "up to **{error:.3g}** from v*."
)
FORMULAS = {
    "start": "",
    "sweep": r"v_{k+1}(s) = \max_a \sum_{s', r} p(s', r | s, a) (r + \slot{gamma:.3g} \, v_k(s'))",
    "evaluated": r"v_\pi = r_\pi + \slot{gamma:.3g} \, P_\pi v_\pi",
    "improved": r"\pi'(s) = \operatorname{argmax}_a q_\pi(s, a)",
}
TRUNCATED_SWEEP = r"v_{j+1}(s) = \sum_{s', r} p(s', r | s, \pi(s)) (r + \slot{gamma:.3g} \, v_j(s'))"


def _words(result: PlanResult, distance: np.ndarray) -> Words:
    algorithm, stages = result.params.algorithm, result.stages
    sentences, formulas = _sentences(algorithm)
    kinds = tuple(sentences)
    acting = np.flatnonzero(result.params.grid.acting)
    before = [stages[max(k - 1, 0)].chosen for k in range(len(stages))]
    changed = [(stage.chosen != old)[acting].sum() for stage, old in zip(stages, before, strict=True)]
    number = _sweeps_before(result)
    gamma = 1.0 if result.params.break_it == "forget_discount" else result.params.gamma
    happened: list[str] = [stage.what for stage in stages]
    if algorithm == "policy_iteration":
        number = number + np.array([stage.what == "evaluated" for stage in stages])
        happened = [
            "settled" if what == "improved" and not cells else what
            for what, cells in zip(happened, changed, strict=True)
        ]
    values = np.stack(
        [number, distance, _wrong(result), np.array(changed), np.full(len(stages), gamma)],
        axis=1,
    ).astype(float)
    return Words(
        sentences=tuple(sentences.values()),
        which=np.array([kinds.index(what) for what in happened]),
        values=values,
        formulas=tuple(formula(latex) if latex else "" for latex in formulas.values()),
        columns=COLUMNS,
    )


def _sentences(algorithm: str) -> tuple[dict[str, Message], dict[str, str]]:
    """The sentence and the formula (LaTeX) of each kind of stage."""
    sentences, formulas = dict(SENTENCES), dict(FORMULAS)
    if algorithm == "truncated_policy_iteration":
        formulas["sweep"] = TRUNCATED_SWEEP
    if algorithm == "policy_iteration":
        sentences["improved"], sentences["settled"], formulas["settled"] = ROUND_IMPROVED, SETTLED, ""
    if algorithm == "mc_basic":
        sentences["improved"] = SAMPLED
    return sentences, formulas
