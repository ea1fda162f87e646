"""The words of a learning agent: what it did in each transition, and the update in numbers."""

from __future__ import annotations

import numpy as np

from explainers.contract.messages import LiveMessage, Message, joined
from explainers.drawing.axes import rounded_off
from explainers.drawing.formula import formula
from explainers.drawing.scene import Words
from explainers.grid_world.learn_params import KINDS, rules_of, truth
from explainers.grid_world.live import LiveResult
from explainers.grid_world.live_params import TRANSITIONS, LiveParams
from explainers.grid_world.memory import Kind
from explainers.grid_world.views.ground import limit
from explainers.grid_world.views.live_steps import (
    LEARNS_LATER,
    NOTHING,
    constant_alpha,
    episode_of_step,
    executed,
    learned_update,
    phase_of_step,
    return_so_far,
)

# error: the TD error. earned: the return so far. before, after: of the updated estimate. ahead: the value of what comes
# next. learned_row, learned_column: the cell of the updated estimate. target: the return G that it moves towards.
COLUMNS = (
    "row", "column", "reward", "error", "earned", "before", "alpha", "gamma", "ahead", "after", "episode",
    "learned_row", "learned_column", "target",
)  # fmt: skip

# Outcomes of a transition.
AS_INTENDED, SLIPPED, ENDED, CUT, NOT_LEARNED = range(5)
OUTCOMES = 5

WAITS = {
    Kind.MONTE_CARLO: LiveMessage("Reward {reward:.3g}. Monte Carlo learns when the episode is over."),
    Kind.N_STEP: LiveMessage(
        "Reward {reward:.3g}. The first target of this episode is not complete yet: it needs n rewards."
    ),
}
NOTHING_LEARNED = LiveMessage("Reward {reward:.3g}.")

ONE_STEP = (
    r"Q(s, a) \leftarrow \slot{before:.4g} + \slot{alpha:.3g} "
    r"(\slot{reward:(.3g} + \slot{gamma:.3g} \cdot \slot{ahead:(.4g} - \slot{before:(.4g}) = \slot{after:.4g}"
)
WITH_RETURN = (
    r"Q(s, a) \leftarrow \slot{before:.4g} + \slot{alpha:.3g} (\slot{target:(.4g} - \slot{before:(.4g})"
    r" = \slot{after:.4g}"
)
FORMULAS = {
    Kind.DOUBLE_Q_LEARNING: r"\delta = r + \gamma Q_2(s', \operatorname{argmax}_a Q_1(s', a)) - Q_1(s, a) "
    r"= \slot{error:.4g}, \quad (Q_1 + Q_2) / 2 \leftarrow \slot{after:.4g}",
    Kind.N_STEP: r"G = r_1 + \gamma r_2 + \dots + \gamma^n Q(s', a'), \quad "
    r"Q(s, a) \leftarrow \slot{before:.4g} + \slot{alpha:.3g} (\slot{target:(.4g} - \slot{before:(.4g})"
    r" = \slot{after:.4g}",
    Kind.LAMBDA: r"\delta = \slot{reward:(.3g} + \slot{gamma:.3g} \cdot \slot{ahead:(.4g} - \slot{before:(.4g} "
    r"= \slot{error:.4g}, \quad Q \leftarrow Q + \alpha \delta e",
    Kind.MONTE_CARLO: WITH_RETURN,
}


def live_words(result: LiveResult) -> Words:
    """A sentence for each action and outcome, with the formula of the update."""
    params, chunk = result.params, result.chunk
    sentences = [
        joined([_went(name), outcome], " ")
        for name in params.grid.action_names
        for outcome in _outcomes(params)
    ]
    outcome = np.where(executed(params, chunk) != chunk.action, SLIPPED, AS_INTENDED)
    outcome = np.where(chunk.end > 0, ENDED + (chunk.end - 1), outcome)
    outcome = np.where(np.isnan(chunk.error), NOT_LEARNED, outcome)
    update = formula(_update(params))
    formulas = ["" if each == NOT_LEARNED else update for each in range(OUTCOMES)]
    return Words(
        sentences=tuple(sentences),
        which=chunk.action * OUTCOMES + outcome,
        values=np.nan_to_num(_numbers(result)),
        formulas=tuple(formulas * len(params.grid.action_names)),
        columns=COLUMNS,
    )


def _numbers(result: LiveResult) -> np.ndarray:
    """(steps, columns) the numbers of COLUMNS."""
    params, chunk = result.params, result.chunk
    columns = params.grid.columns
    settings = [phase for _, phase in params.phases]
    discounts = [1.0 if phase.break_it == "forget_discount" else phase.gamma for phase in settings]
    gamma = np.array(discounts)[phase_of_step(params)]
    cell, before, after = learned_update(result)
    # error = r + gamma V(s') - Q(s, a), and after = before + alpha error
    ahead = np.divide(chunk.error + before - chunk.reward, gamma, out=np.zeros(TRANSITIONS), where=gamma > 0)
    alpha = np.divide(
        after - before, chunk.error, out=constant_alpha(params), where=np.abs(chunk.error) > 1e-12
    )
    most = limit(truth(settings[-1], params.algorithm))
    numbers = {
        "row": chunk.state // columns + 1,
        "column": chunk.state % columns + 1,
        "reward": chunk.reward,
        "error": rounded_off(chunk.error, NOTHING * most),
        "earned": return_so_far(chunk),
        "before": before,
        "alpha": alpha,
        "gamma": gamma,
        "ahead": ahead,
        "after": after,
        "episode": episode_of_step(chunk),
        "learned_row": cell // columns + 1,
        "learned_column": cell % columns + 1,
        "target": before + chunk.error,
    }
    return np.stack([numbers[name] for name in COLUMNS], axis=1)


def _is_one_step(params: LiveParams) -> bool:
    """Whether n is 1, so that an n-step method updates the pair just tried."""
    return KINDS[params.algorithm] == Kind.N_STEP and rules_of(params, params.algorithm).n == 1


def _went(action: str) -> Message:
    if action == "stay":
        return LiveMessage(
            "Episode {episode:d}, row {row:d}, column {column:d}: the agent chooses to **{action}**.",
            action=action,
        )
    return LiveMessage(
        "Episode {episode:d}, row {row:d}, column {column:d}: the agent goes **{action}**.", action=action
    )


def _outcomes(params: LiveParams) -> tuple[Message, ...]:
    """The sentence of each outcome, in the order of their numbers."""
    kind, learned = KINDS[params.algorithm], _learned(params)
    return (
        LiveMessage("Reward {reward:.3g}, {learned}.", learned=learned),
        LiveMessage("It slips, and goes another way. Reward {reward:.3g}, {learned}.", learned=learned),
        LiveMessage(
            "Reward {reward:.3g}, {learned}; the episode ends here with return {earned:.4g}.", learned=learned
        ),
        LiveMessage(
            "Reward {reward:.3g}, {learned}; the episode is cut here, with return {earned:.4g}.",
            learned=learned,
        ),
        WAITS.get(kind, NOTHING_LEARNED),
    )


def _learned(params: LiveParams) -> Message:
    """The TD error, and of agents that learn later the cell of the estimate that it belongs to."""
    kind = KINDS[params.algorithm]
    if kind not in LEARNS_LATER or _is_one_step(params):
        return LiveMessage("TD error **{error:.3g}**")
    if kind == Kind.MONTE_CARLO:
        return LiveMessage(
            "learned for row {learned_row:d}, column {learned_column:d} last of all: TD error **{error:.3g}**"
        )
    return LiveMessage("learned for row {learned_row:d}, column {learned_column:d}: TD error **{error:.3g}**")


def _update(params: LiveParams) -> str:
    """LaTeX of the update; of a prediction in values of states, which it learns."""
    latex = ONE_STEP if _is_one_step(params) else FORMULAS.get(KINDS[params.algorithm], ONE_STEP)
    if params.algorithm == "td0":
        return latex.replace("Q", "V").replace("(s, a)", "(s)").replace("(s', a')", "(s')")
    return latex
