"""`stochastic_approximation.bridge`: one update with three names, side by side: SGD, TD(0), Q-learning.

    w <- w - a_k (w - target)        k: how often this w has been updated

    SGD, of a mean:  w = the estimate,  target = x
    TD(0):           w = v(s),          target = r + v(s')
    Q-learning:      w = q(s, a),       target = r + gamma max_a' q(s', a')

The world is a walk on five states between two ends, of which the right one pays 1 (Sutton and Barto 2018, example 6.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from explainers.contract.breaks import Break, break_field
from explainers.contract.experiment import experiment
from explainers.contract.messages import Message, plural
from explainers.contract.params import Adjustment, number
from explainers.contract.result import Check, Checked
from explainers.stochastic_approximation.noise import BIAS
from explainers.stochastic_approximation.steps import StepParams
from explainers.stochastic_approximation.walks import ROUNDING, STANDARD_ERRORS

STATES = 5
MIDDLE = STATES // 2
START = 0.0  # of every estimate
GAMMA = 0.9  # of Q-learning; TD(0) predicts without a discount
SLIP = 0.2  # chance that a chosen direction turns round
LABELS = {"sgd": "SGD", "td": "TD(0)", "q_learning": "Q-learning"}
TITLES = {
    "sgd": Message("SGD: a mean"),
    "td": Message("TD(0): v of a walk"),
    "q_learning": Message("Q-learning: q"),
}
MOST_WORK = 5_000_000
ENOUGH_TARGETS = 100  # the fewest whose mean is checked

BREAKS = (
    Break(
        name="biased_noise",
        label="noise with a mean",
        consequence=(
            "Every target is too high by 0.5 on average. The mean moves by as much, values and action values by more, "
            "because they learn from targets that contain earlier errors."
        ),
        settings={"updates": 400, "seeds": 50},
    ),
)


class BridgeParams(StepParams):
    """How long, and how often."""

    updates: int = number(
        400, "Updates", "Of each learner", least=1, most=50_000, comfort=(50, 1000), step=50
    )
    seeds: int = number(
        50, "Seeds", "Runs, each with different random draws", least=1, most=5000, comfort=(1, 200), step=1
    )
    seed: int = number(0, "Seed", "Of the random draws", least=0, most=2**31 - 1)
    break_it: Literal["none", "biased_noise"] = break_field(BREAKS)

    def adjustments(self) -> Iterator[Adjustment]:
        if self.updates * self.seeds > MOST_WORK:
            most = MOST_WORK // self.seeds
            sentence = Message(
                "updates = {updates} is too many for {seeds}; allowed: 1 to {most}.",
                updates=self.updates,
                seeds=plural("{count} seed", "{count} seeds", count=self.seeds),
                most=most,
            )
            yield Adjustment("updates", most, sentence)


def truth() -> dict[str, np.ndarray]:
    """What each learner should find: the mean, the five values, and the action values (5 states x left, right)."""
    v = np.arange(1, STATES + 1) / (STATES + 1)
    q = np.zeros((STATES, 2))
    reward = np.eye(STATES)[-1]  # a move to the right from the last state pays 1, and ends
    for _ in range(1000):  # gamma^1000 is nothing
        best = np.concatenate([[0.0], q.max(axis=1), [0.0]])
        left, right = GAMMA * best[:-2], reward + GAMMA * best[2:]
        q = np.stack([(1 - SLIP) * left + SLIP * right, (1 - SLIP) * right + SLIP * left], axis=1)
    return {"sgd": np.array([v[MIDDLE]]), "td": v, "q_learning": q.ravel()}


class Learner:
    """Estimates of all seeds, moved by the one update. w: (seeds, entries). taken: how often each has been updated."""

    def __init__(self, seeds: int, right: np.ndarray, a: np.ndarray) -> None:
        self.w = np.full((seeds, len(right)), START)
        self.taken = np.zeros(self.w.shape, int)
        self.rows, self.right, self.a = np.arange(seeds), right, a
        self.rmse, self.first = [self._rmse()], [self.w[0].copy()]
        self.noise: list[np.ndarray] = []

    def move(self, at: np.ndarray, target: np.ndarray, target_if_right: np.ndarray) -> None:
        """at: (seeds,) which entry. target: (seeds,). target_if_right: the target, were all estimates right."""
        k = self.taken[self.rows, at]
        with np.errstate(over="ignore", invalid="ignore"):
            # w <- w - a_k (w - target)
            self.w[self.rows, at] -= self.a[k] * (self.w[self.rows, at] - target)
        self.taken[self.rows, at] += 1
        self.rmse.append(self._rmse())
        self.first.append(self.w[0].copy())
        self.noise.append(target_if_right - self.right[at])

    def _rmse(self) -> float:
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.sqrt(((self.w - self.right) ** 2).mean()))

    @property
    def bias_in_standard_errors(self) -> float:
        """How far the targets' noise is from a mean of 0, were all estimates right."""
        noise = np.concatenate(self.noise)
        return float(abs(noise.mean()) / (noise.std() / np.sqrt(len(noise)) + 1e-12))


@dataclass(frozen=True, eq=False)
class BridgeResult(Checked):
    """How the three learn. names -> arrays: sgd (1 estimate), td (5 values), q_learning (5 x left, right).

    rmse: (updates + 1,) root mean square error over estimates and seeds. final: (estimates,) mean over the seeds.
    truth: (estimates,).
    """

    rmse: dict[str, np.ndarray]
    final: dict[str, np.ndarray]
    truth: dict[str, np.ndarray]
    checks: tuple[Check, ...]
    params: BridgeParams = field(metadata={"shell": False})
    first: dict[str, np.ndarray] = field(metadata={"shell": False})
    moves: np.ndarray = field(metadata={"shell": False})


@experiment("stochastic_approximation.bridge", breaks=BREAKS)
def bridge(params: BridgeParams) -> BridgeResult:
    """SGD, TD(0) and Q-learning by the one update, on one walk, with one step size."""
    right = truth()
    a = params.used.at(np.arange(1, params.updates + 1))
    learners = {name: Learner(params.seeds, right[name], a) for name in TITLES}
    moves = np.array(list(_learn(params, learners)))
    return BridgeResult(
        rmse={name: np.array(learner.rmse) for name, learner in learners.items()},
        final={name: learner.w.mean(axis=0) for name, learner in learners.items()},
        truth=right,
        checks=tuple(_checks(params, learners, moves)),
        params=params,
        first={name: np.array(learner.first) for name, learner in learners.items()},
        moves=moves,
    )


def _checks(params: BridgeParams, learners: dict[str, Learner], moves: np.ndarray) -> Iterator[Check]:
    again = one_by_one(params, moves)
    for name, learner in learners.items():
        label, first = LABELS[name], learner.first[-1]
        with np.errstate(invalid="ignore"):
            off = float(np.max(np.abs(first - again[name]) / (1 + np.abs(first))))
        if np.isfinite(first).all():
            yield Check(
                Message("{learner}: the first seed's estimates", learner=label),
                off,
                ROUNDING,
                "its textbook line, move by move",
            )
        if params.updates * params.seeds >= ENOUGH_TARGETS:
            yield Check(
                Message("{learner}: targets are right on average, in standard errors", learner=label),
                learner.bias_in_standard_errors,
                STANDARD_ERRORS,
                Message("the true mean")
                if name == "sgd"
                else Message("the Bellman equation at the true values"),
            )


def one_by_one(params: BridgeParams, moves: np.ndarray) -> dict[str, np.ndarray]:
    """The three textbook lines on what the first seed saw, each estimate by itself."""
    mean, v, q = 0.0, [0.0] * STATES, [[0.0, 0.0] for _ in range(STATES)]
    taken: dict[tuple[str, int, int], int] = {}

    def step(name: str, s: int = 0, a: int = 0) -> float:
        taken[name, s, a] = taken.get((name, s, a), 0) + 1
        return float(params.used.at(np.array(taken[name, s, a])))

    def inside(s: int) -> bool:
        return 0 <= s < STATES

    for x, s, r, s_next, at, action, reward, at_next in moves.tolist():
        s, s_next, at, action, at_next = (int(number) for number in (s, s_next, at, action, at_next))
        mean = mean - step("sgd") * (mean - x)
        v[s] = v[s] - step("td", s) * (v[s] - (r + (v[s_next] if inside(s_next) else 0.0)))
        best = max(q[at_next]) if inside(at_next) else 0.0
        q[at][action] -= step("q_learning", at, action) * (q[at][action] - (reward + GAMMA * best))
    return {"sgd": np.array([mean]), "td": np.array(v), "q_learning": np.array(q).ravel()}


def _learn(params: BridgeParams, learners: dict[str, Learner]) -> Iterator[tuple[float, ...]]:
    """One update of each learner at a time; yields what the first seed saw: x, then s, r, s', then s, a, r, s'."""
    random = np.random.default_rng(params.seed)
    bias = BIAS if params.break_it == "biased_noise" else 0.0
    sgd, td, q_learning = learners.values()
    s = at = np.full(params.seeds, MIDDLE)
    for _ in range(params.updates):
        dice = random.random((5, params.seeds))
        # the mean of what a walk from the middle earns
        x = (dice[0] < 0.5) + bias
        sgd.move(np.zeros(params.seeds, int), x, x)
        # TD(0): one step of the walk
        s_next = s + np.where(dice[1] < 0.5, -1, 1)
        r = (s_next == STATES) + bias
        td.move(s, r + _valued(td.w, s_next), r + _valued(td.right[None], s_next))
        # Q-learning: a step in a direction chosen at random, which may turn round
        action = (dice[2] < 0.5).astype(int)
        turned = np.where(dice[3] < SLIP, 1 - action, action)
        at_next = at + 2 * turned - 1
        reward = (at_next == STATES) + bias
        best, best_if_right = (
            table.reshape(-1, STATES, 2).max(axis=2) for table in (q_learning.w, q_learning.right[None])
        )
        later, later_if_right = GAMMA * _valued(best, at_next), GAMMA * _valued(best_if_right, at_next)
        q_learning.move(2 * at + action, reward + later, reward + later_if_right)
        yield x[0], s[0], r[0], s_next[0], at[0], action[0], reward[0], at_next[0]
        s, at = _again(s_next), _again(at_next)


def _valued(table: np.ndarray, s: np.ndarray) -> np.ndarray:
    """(seeds,) the values of states; 0 at both ends. table: (seeds or 1, states)."""
    rows = np.arange(len(s)) if len(table) > 1 else np.zeros(len(s), int)
    inside = (s >= 0) & (s < STATES)
    return np.where(inside, table[rows, np.clip(s, 0, STATES - 1)], 0.0)


def _again(s: np.ndarray) -> np.ndarray:
    """Walks that have come to an end start again in the middle."""
    return np.where((s >= 0) & (s < STATES), s, MIDDLE)
