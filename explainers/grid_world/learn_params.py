"""The settings of an agent that learns, and what follows from them: its table of moves, its rules, its truth."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from cachetools import LRUCache, cached
from pydantic import ValidationError, create_model

from explainers.contract.breaks import Break, break_field
from explainers.contract.messages import Message, plural
from explainers.contract.params import Adjustment, choice, number, switch
from explainers.grid_world import exact
from explainers.grid_world.episode_limit import limit_of
from explainers.grid_world.memory import Kind, Rules, Schedule, Table
from explainers.grid_world.reach import aims, ends_under, start_reaches_an_aim
from explainers.grid_world.solve import policy_of
from explainers.grid_world.world_params import PRESETS, WorldParams

Algorithm = Literal[
    "q_learning", "sarsa", "expected_sarsa", "double_q_learning", "n_step_sarsa", "sarsa_lambda", "dyna_q",
    "mc_epsilon_greedy", "mc_exploring_starts", "td0",
]  # fmt: skip
AlphaSchedule = Literal["constant", "one_over_n", "polynomial"]
EpsilonSchedule = Literal["constant", "falls"]
Behaviour = Literal["follow", "uniform"]
BreakIt = Literal[
    "none", "bootstrap_through_terminal", "first_index_ties", "bad_initial_value", "forget_discount"
]

LABELS: dict[str, str] = {
    "q_learning": "Q-learning",
    "sarsa": "Sarsa",
    "expected_sarsa": Message("expected Sarsa"),
    "double_q_learning": Message("double Q-learning"),
    "n_step_sarsa": Message("n-step Sarsa"),
    "sarsa_lambda": "Sarsa(λ)",
    "dyna_q": "Dyna-Q",
    "mc_epsilon_greedy": Message("Monte Carlo, ε-greedy"),
    "mc_exploring_starts": Message("Monte Carlo, exploring starts"),
    "td0": Message("TD prediction"),
}
KINDS: dict[str, Kind] = {
    "q_learning": Kind.Q_LEARNING,
    "sarsa": Kind.SARSA,
    "expected_sarsa": Kind.EXPECTED_SARSA,
    "double_q_learning": Kind.DOUBLE_Q_LEARNING,
    "n_step_sarsa": Kind.N_STEP,
    "sarsa_lambda": Kind.LAMBDA,
    "dyna_q": Kind.DYNA,
    "mc_epsilon_greedy": Kind.MONTE_CARLO,
    "mc_exploring_starts": Kind.MONTE_CARLO,
    "td0": Kind.N_STEP,
}
SCHEDULES = {
    "constant": Schedule.CONSTANT,
    "one_over_n": Schedule.ONE_OVER_N,
    "polynomial": Schedule.POLYNOMIAL,
}
OFF_POLICY = ("q_learning", "double_q_learning", "dyna_q")  # learn q* whatever policy they follow
CACHED_BYTES = 50_000_000  # of true values
BAD_OFFSET = 100.0  # added to q0 by the break "bad initial value"

# Settings with which an agent learns each world well; the preset fills them in, too.
LEARNING: dict[str, dict[str, Any]] = {
    "sutton_4x4": {"epsilon": 0.1},
    "windy": {"alpha": 0.5},
    "cliff": {"alpha": 0.5, "epsilon": 0.1, "gamma": 1.0, "q0": 0.0},
}
# The longest episodes of worlds whose source names them (Gymnasium), or never cuts an episode (the random walk).
SOURCE_LIMITS = {"frozen_lake_4x4": 100, "frozen_lake_8x8": 200, "random_walk": 1000}

BREAKS = (
    Break(
        name="bootstrap_through_terminal",
        label="bootstrap through the end",
        consequence=(
            "Nothing follows an end, so its value is 0. Read from the table instead, a terminal cell keeps its "
            "initial value forever: with a hopeful one, holes in the ice look as good as the goal."
        ),
        settings={"preset": "frozen_lake_4x4", "q0": 1.0, "algorithm": "q_learning"},
    ),
    Break(
        name="first_index_ties",
        label="always the first of ties",
        consequence=(
            "In a table of equal numbers the first best action is always the same. If ties are not broken at "
            "random, the agent leans against one wall, finds no reward, and its table stays equal."
        ),
        settings={
            "preset": "frozen_lake_4x4",
            "q0": 0.0,
            "algorithm": "q_learning",
            "epsilon": 0.0,
        },
    ),
    Break(
        name="bad_initial_value",
        label="a bad initial value",
        consequence=(
            "With step sizes 1/(n + 1) the initial value weighs as much as a sample, and bootstrapping spreads "
            "it. An initial value far too high is still there after a hundred thousand steps."
        ),
        settings={"preset": "zhao_5x5", "alpha_schedule": "one_over_n", "algorithm": "q_learning"},
    ),
    Break(
        name="forget_discount",
        label="forget the discount",
        consequence=(
            "In a world that goes on, an undiscounted agent adds up rewards without end: its values grow and "
            "grow, and there is nothing for them to converge to."
        ),
        settings={"preset": "zhao_5x5", "algorithm": "q_learning"},
    ),
)


# `lambda` is a keyword of Python, so that no class body can declare a field of this name.
_LAMBDA: Any = {
    "lambda": (
        float,
        number(
            0.8,
            "Trace decay λ",
            "How far back a TD error reaches (Sarsa(λ))",
            least=0,
            most=1,
            comfort=(0, 1),
            step=0.05,
        ),
    )
}
_WithLambda: Any = create_model("_WithLambda", __base__=WorldParams, **_LAMBDA)


class AgentParams(_WithLambda):
    """The settings of an agent, for all algorithms."""

    fills: ClassVar[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {
        "preset": {name: PRESETS[name] | LEARNING.get(name, {}) for name in PRESETS}
    }
    derived: ClassVar[tuple[str, ...]] = ("episode_length",)

    alpha: float = number(
        0.1,
        "Step size α",
        "How far an estimate moves towards its target",
        least=1e-6,
        most=1,
        comfort=(0.01, 1),
        step=0.01,
    )
    alpha_schedule: AlphaSchedule = choice(
        "constant",
        "Step sizes",
        "How the step size of a pair falls with the number n of its updates",
        {"constant": "constant", "one_over_n": "1/n", "polynomial": "α/n^0.7"},
    )
    epsilon: float = number(
        0.1, "Exploration ε", "Probability of an action at random", least=0, most=1, comfort=(0, 1), step=0.01
    )
    epsilon_schedule: EpsilonSchedule = choice(
        "constant",
        "Exploration",
        "Whether ε falls with the number of episodes",
        {"constant": "constant", "falls": "ε/√episode"},
    )
    n: int = number(
        4,
        "Steps n",
        "Rewards in a target (n-step Sarsa, TD prediction)",
        least=1,
        most=1000,
        comfort=(1, 32),
        step=1,
    )
    q0: float = number(
        0, "Initial value", "Of all estimates", least=-1e6, most=1e6, comfort=(-20, 20), step=1
    )
    episode_length: int = number(
        1000,
        "Longest episode",
        "Steps after which an episode is cut; by default 1.5 times the mean of random walks to the target, or more",
        least=1,
        most=1_000_000,
        comfort=(1, 2000),
        step=1,
    )
    planning_steps: int = number(
        10,
        "Planning steps",
        "Updates from the model for each real step (Dyna-Q)",
        least=0,
        most=50,
        comfort=(0, 50),
        step=1,
    )
    first_visit: bool = switch(
        True, "First visits only", "Whether later visits of a pair in an episode count (Monte Carlo)"
    )
    behaviour: Behaviour = choice(
        "follow",
        "Behaviour",
        "What the agent does while it learns (Q-learning, double Q-learning, Dyna-Q)",
        {"follow": "ε-greedy", "uniform": "at random (off policy)"},
    )
    policy: Literal["uniform", "optimal"] = choice(
        "uniform",
        "Policy",
        "Whose values are predicted (TD prediction)",
        {"uniform": "at random", "optimal": "the best"},
    )
    seed: int = number(0, "Seed", "Of the random draws", least=0, most=10**6, step=1)
    break_it: BreakIt = break_field(BREAKS)

    @classmethod
    def derive(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The longest episode: as the source of a preset has it, else from the world's hitting time."""
        names = WorldParams.model_fields
        try:
            world = WorldParams(**{name: values.get(name, cls.model_fields[name].default) for name in names})
        except ValidationError:  # said of the field itself
            return {}
        is_of_source = world.world == PRESETS[world.preset].get("world", names["world"].default)
        limit = SOURCE_LIMITS.get(world.preset) if is_of_source else None
        default = cls.model_fields["episode_length"].default
        return {"episode_length": limit or limit_of(world.grid) or default}

    def adjustments(self) -> Iterator[Adjustment]:
        yield from super().adjustments()
        reaches = start_reaches_an_aim(self.grid)
        if not reaches and self.actions in ("two", "three"):
            sentence = Message(
                "actions = {actions} never lead from the start to a target; allowed: four or more.",
                actions=self.actions,
            )
            yield Adjustment("actions", "five", sentence)
        if not reaches:
            sentence = Message(
                "world = a start that cannot reach a target; allowed: a way from S to T, or to a jump."
            )
            yield Adjustment("world", WorldParams.model_fields["world"].default, sentence)
        if not self.grid.acting[self.grid.start]:
            sentence = Message(
                "world = a start in which no agent can act; allowed: S in a cell that does not end the episode."
            )
            yield Adjustment("world", WorldParams.model_fields["world"].default, sentence)
        if self.gamma == 1 and self.break_it == "forget_discount":
            sentence = Message(
                "break_it = forget_discount removes a discount that is not there; allowed: gamma below 1."
            )
            yield Adjustment("break_it", "none", sentence)


class OneAgentParams(AgentParams):
    """An agent with its algorithm. TD prediction is TD(0) unless another n is given."""

    fills: ClassVar = {**AgentParams.fills, "algorithm": {"td0": {"n": 1}}}

    algorithm: Algorithm = choice("q_learning", "Algorithm", "How the agent learns", LABELS)

    def adjustments(self) -> Iterator[Adjustment]:
        yield from super().adjustments()
        if self.behaviour == "uniform" and self.algorithm not in OFF_POLICY:
            sentence = Message(
                "behaviour = uniform does not work with {algorithm}, which learns on policy; allowed: follow.",
                algorithm=LABELS[self.algorithm],
            )
            yield Adjustment("behaviour", "follow", sentence)
        if self.algorithm == "td0" and self.gamma == 1 and self.policy == "uniform":
            ending = ends_under(self.grid, policy_of(self.grid, "uniform"))
            stuck = int((self.grid.acting & ~ending).sum())
            if stuck:
                sentence = plural(
                    "gamma = 1 has no finite values for a policy that never ends from {count} cell; allowed: below 1.",
                    "gamma = 1 has no finite values for a policy that never ends from {count} cells; allowed: below 1.",
                    count=stuck,
                )
                yield Adjustment("gamma", 0.99, sentence)


def table_of(params: AgentParams, algorithm: str) -> Table:
    """The world as the agent's loop reads it."""
    world = params.grid
    starts = np.flatnonzero(world.acting) if algorithm == "mc_exploring_starts" else np.array([world.start])
    policy = predicted_policy(params) if algorithm == "td0" else np.zeros((0, 0))
    moves = world.moves
    return Table(moves.to, moves.reward, moves.ends, _summed(moves.mix), starts, _summed(policy), aims(world))


def _summed(likely: np.ndarray) -> np.ndarray:
    """Cumulative probabilities, exactly 1 from the last possible choice on."""
    summed = likely.cumsum(axis=-1)
    later = likely[:, ::-1].cumsum(axis=-1)[:, ::-1]
    summed[(later - likely) <= 0] = 1.0
    return summed


def predicted_policy(params: AgentParams) -> np.ndarray:
    """(states, actions) the policy whose values TD prediction learns."""
    world = params.grid
    if params.policy == "uniform":
        return policy_of(world, "uniform")
    best = exact.optimal(world).best
    none = ~best.any(axis=1, keepdims=True)  # no agent acts there, but the rows must still sum to 1
    return (best | none) / (best | none).sum(axis=1, keepdims=True)


def rules_of(params: AgentParams, algorithm: str) -> Rules:
    """The rules of the algorithm, without what a break removes."""
    broken = params.break_it
    schedule = SCHEDULES[params.alpha_schedule]
    if broken == "bad_initial_value" and schedule == Schedule.ONE_OVER_N:
        schedule = Schedule.ONE_OVER_N_PLUS_ONE
    return Rules(
        kind=int(KINDS[algorithm]),
        gamma=1.0 if broken == "forget_discount" else params.gamma,
        alpha=params.alpha,
        schedule=int(schedule),
        # only the starts explore; the rest of the episode is greedy
        epsilon=0.0 if algorithm == "mc_exploring_starts" else params.epsilon,
        epsilon_falls=params.epsilon_schedule == "falls",
        trace_decay=getattr(params, "lambda"),
        n=params.n if algorithm in ("n_step_sarsa", "td0") else 1,
        planning_steps=params.planning_steps,
        first_visit=params.first_visit,
        exploring_starts=algorithm == "mc_exploring_starts",
        uniform_behaviour=params.behaviour == "uniform" and algorithm in OFF_POLICY,
        first_of_ties=broken == "first_index_ties",
        beyond_the_end=broken == "bootstrap_through_terminal",
        episode_length=params.episode_length,
    )


def first_value(params: AgentParams) -> float:
    """The initial value of every estimate."""
    return params.q0 + (BAD_OFFSET if params.break_it == "bad_initial_value" else 0.0)


def truth_in_words(params: AgentParams, algorithm: str) -> str:
    """The policy whose values `truth` returns."""
    if algorithm == "td0":
        return Message("the policy that it follows")
    if converges_to_optimum(params, algorithm):
        return Message("the best policy")
    return Message("the best policy that explores with ε = {epsilon:g}", epsilon=params.epsilon)


def converges_to_optimum(params: AgentParams, algorithm: str) -> bool:
    """Whether the estimates converge to q*: the agent learns off policy, or its exploration vanishes."""
    if algorithm in (*OFF_POLICY, "mc_exploring_starts"):
        return True
    return algorithm != "td0" and (params.epsilon == 0 or params.epsilon_schedule == "falls")


def _truth_key(params: AgentParams, algorithm: str) -> tuple[Any, ...]:
    names = (*WorldParams.model_fields, "epsilon", "epsilon_schedule", "policy")
    return algorithm, *(getattr(params, name) for name in names)


# Each chunk of a run asks for it four times.
@cached(LRUCache(CACHED_BYTES, lambda values: values.nbytes), _truth_key, threading.Lock())
def truth(params: AgentParams, algorithm: str) -> np.ndarray:
    """(states, actions) what the agent's estimates converge to; for a prediction v_pi, (states, 1). Read-only.

    q*; for agents that learn the values of the policy with which they explore, q of the best policy with that epsilon.
    """
    values = _truth(params, algorithm)
    values.setflags(write=False)
    return values


def _truth(params: AgentParams, algorithm: str) -> np.ndarray:
    world = params.grid
    if algorithm == "td0":
        return exact.value_of(world.moves, predicted_policy(params))[:, None]
    if converges_to_optimum(params, algorithm):
        return exact.optimal(world).q
    return world.moves.backup(exact.optimal_soft(world, params.epsilon)[1])
