"""Agents that learn by trial and error, each written as in the book, one transition after another.

Q is an estimate of action values; for the prediction of a given policy it has one column, V. Names follow Sutton and
Barto, Reinforcement Learning, 2nd edition, 2018: sections 5.3 and 5.4 (Monte Carlo control), 6.1 (TD(0)), 6.4 (Sarsa),
6.5 (Q-learning), 6.6 (expected Sarsa), 6.7 (double Q-learning), 7.2 (n-step Sarsa), 8.2 (Dyna-Q), 12.7 (Sarsa(lambda)).
`compiled_loop.py` does the same much faster; a test compares the two transition by transition.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np

from explainers.grid_world.memory import MOST_TRACES, TRACE_UNTIL, Kind, Memory, Rules, Schedule, Slot, Table
from explainers.grid_world.random_numbers import Use, uniform


@dataclass(frozen=True)
class Transition:
    """A transition and the updates that followed from it.

    after: the next state. end: 0 the episode continues, 1 it ended, 2 it was cut. td_error: of the update, NaN without
    one. changes: (position in Q, new value) of every estimate that changed.
    """

    state: int
    action: int
    move: int
    reward: float
    after: int
    end: int
    td_error: float
    changes: tuple[tuple[int, float], ...]


class Agent:
    """What all algorithms share: choosing actions, and moving an estimate towards a target."""

    def __init__(self, table: Table, rules: Rules, memory: Memory) -> None:
        self.table, self.rules, self.memory = table, rules, memory
        self.Q = memory.q
        self.columns = memory.q.shape[1]
        self.predicts = table.policy.size > 0
        self.changed: list[tuple[int, float]] = []

    @property
    def time(self) -> int:
        return int(self.memory.where[Slot.TIME])

    def random(self, time: int, use: int) -> float:
        return uniform(int(self.memory.where[Slot.SEED]), time, use)

    def column(self, action: int) -> int:
        return 0 if self.predicts else action

    def believed(self, s: int) -> np.ndarray:
        """(actions,) the estimates that the policy follows: Q(s, .), for double Q-learning the sum of both."""
        return self.Q[s] + self.memory.q2[s] if self.rules.kind == Kind.DOUBLE_Q_LEARNING else self.Q[s]

    def best(self, estimates: np.ndarray, time: int, use: int) -> int:
        """argmax_a; ties are broken at random, or in favour of the first."""
        equal = np.flatnonzero(estimates == estimates.max())
        return int(equal[0] if self.rules.first_of_ties else equal[int(self.random(time, use) * len(equal))])

    def epsilon(self) -> float:
        falls = math.sqrt(1 + self.memory.where[Slot.EPISODE]) if self.rules.epsilon_falls else 1.0
        return self.rules.epsilon / falls

    def choose(self, s: int, time: int) -> int:
        """The action in s: of the given policy, or epsilon-greedy."""
        actions = len(self.table.reaching)
        if self.predicts:
            return first_above(self.table.policy[s], self.random(time, Use.WHICH))
        if self.rules.uniform_behaviour or self.random(time, Use.EXPLORE) < self.epsilon():
            return int(self.random(time, Use.WHICH) * actions)
        return self.best(self.believed(s), time, Use.WHICH)

    def step_size(self, s: int, c: int) -> float:
        """alpha_n of the n-th update of a pair; counts the update."""
        self.memory.count[s, c] += 1
        n = int(self.memory.count[s, c])
        match self.rules.schedule:
            case Schedule.ONE_OVER_N:
                return 1 / n
            case Schedule.POLYNOMIAL:
                return self.rules.alpha / n**0.7
            case Schedule.ONE_OVER_N_PLUS_ONE:
                return 1 / (n + 1)
        return self.rules.alpha

    def update(self, s: int, c: int, target: float) -> float:
        """Q(s, a) <- Q(s, a) + alpha (target - Q(s, a)); returns the error."""
        error = target - float(self.Q[s, c])
        self.put(s, c, float(self.Q[s, c]) + self.step_size(s, c) * error)
        return error

    def put(self, s: int, c: int, value: float) -> None:
        self.Q[s, c] = value
        self.changed.append((s * self.columns + c, value))

    def discounted(self, value: float, ended: bool) -> float:
        """gamma times the value that follows, which is 0 after an end."""
        goes_on = not ended or self.rules.beyond_the_end
        return self.rules.gamma * value if goes_on else 0.0


@dataclass(frozen=True)
class Step:
    """A transition as the update rules see it.

    a2: the action in s2 if it is chosen before the update (as in Sarsa), else -1. last: of the episode, which ended or
    was cut.
    """

    s: int
    a: int
    r: float
    s2: int
    a2: int
    ended: bool
    last: bool
    time: int


def sarsa(agent: Agent, step: Step) -> float:
    """Q(s, a) <- Q(s, a) + alpha (r + gamma Q(s', a') - Q(s, a))."""
    ahead = float(agent.Q[step.s2, agent.column(step.a2)])
    return agent.update(step.s, agent.column(step.a), step.r + agent.discounted(ahead, step.ended))


def expected_sarsa(agent: Agent, step: Step) -> float:
    """Q(s, a) <- Q(s, a) + alpha (r + gamma sum_a' pi(a'|s') Q(s', a') - Q(s, a))."""
    q = agent.Q[step.s2]
    greedy = q == q.max()
    if agent.rules.first_of_ties:
        greedy = np.arange(len(q)) == greedy.argmax()
    # pi(a|s) = epsilon / |A| + (1 - epsilon) / (number of best actions) where a is one of them
    epsilon = agent.epsilon()
    total = best = 0.0
    for value, is_best in zip(q, greedy, strict=True):
        total += float(value)
        best += float(value) * is_best
    ahead = epsilon * (total / len(q)) + (1 - epsilon) * (best / int(greedy.sum()))
    return agent.update(step.s, step.a, step.r + agent.discounted(ahead, step.ended))


def q_learning(agent: Agent, step: Step) -> float:
    """Q(s, a) <- Q(s, a) + alpha (r + gamma max_a' Q(s', a') - Q(s, a))."""
    ahead = float(agent.Q[step.s2].max())
    return agent.update(step.s, step.a, step.r + agent.discounted(ahead, step.ended))


def double_q_learning(agent: Agent, step: Step) -> float:
    """Q1(s, a) <- Q1(s, a) + alpha (r + gamma Q2(s', argmax_a' Q1(s', a')) - Q1(s, a)), or with Q1 and Q2 exchanged."""
    first, second = agent.memory.q, agent.memory.q2
    if agent.random(step.time, Use.COIN) < 0.5:
        first, second = second, first
    ahead = float(second[step.s2, agent.best(first[step.s2], step.time, Use.BEST)])
    error = step.r + agent.discounted(ahead, step.ended) - float(first[step.s, step.a])
    first[step.s, step.a] += agent.step_size(step.s, step.a) * error
    # the screen shows the mean of both tables, whose sum the policy follows
    mean = (float(agent.memory.q[step.s, step.a]) + float(agent.memory.q2[step.s, step.a])) / 2
    agent.changed.append((step.s * agent.columns + step.a, mean))
    return error


def n_step(agent: Agent, step: Step) -> float:
    """Q(s_tau, a_tau) <- Q + alpha (G - Q), where G = r_1 + .. + gamma^(n-1) r_n + gamma^n Q(s', a')."""
    memory, rules = agent.memory, agent.rules
    n, k = rules.n, int(memory.where[Slot.STEP])  # the k-th step of the episode, from 1
    memory.past_pair[(k - 1) % n] = step.s * agent.columns + agent.column(step.a)
    memory.past_reward[(k - 1) % n] = step.r
    ahead = float(agent.Q[step.s2, agent.column(step.a2)])
    goes_on = not step.ended or rules.beyond_the_end
    error = math.nan
    # the pair n steps ago; at the end of the episode all that still lack an update
    for oldest in range(max(k - n, 0), k if step.last else k - n + 1):
        G = ahead if goes_on else 0.0
        for at in range(k - 1, oldest - 1, -1):
            G = float(memory.past_reward[at % n]) + rules.gamma * G
        s, c = divmod(int(memory.past_pair[oldest % n]), agent.columns)
        found = agent.update(s, c, G)
        error = found if math.isnan(error) else error
    return error


def sarsa_lambda(agent: Agent, step: Step) -> float:
    """delta = r + gamma Q(s', a') - Q(s, a); every Q moves by alpha delta e, and every trace e decays by gamma lambda.

    Traces below TRACE_UNTIL become 0. At most MOST_TRACES pairs have one: the oldest is dropped.
    """
    memory, rules = agent.memory, agent.rules
    c = agent.column(step.a)
    delta = (
        step.r
        + agent.discounted(float(agent.Q[step.s2, agent.column(step.a2)]), step.ended)
        - float(agent.Q[step.s, c])
    )
    alpha = agent.step_size(step.s, c)
    active = [int(pair) for pair in memory.active[: memory.where[Slot.TRACES]]]
    pair = step.s * agent.columns + c
    if memory.trace[step.s, c] == 0:
        if len(active) == MOST_TRACES:
            memory.trace.flat[active.pop(0)] = 0
        active.append(pair)
    # e(s, a) <- e(s, a) + 1
    memory.trace[step.s, c] += 1
    kept = []
    for pair in active:
        s, column = divmod(pair, agent.columns)
        e = float(memory.trace[s, column])
        # Q(s, a) <- Q(s, a) + alpha delta e(s, a);  e(s, a) <- gamma lambda e(s, a)
        agent.put(s, column, float(agent.Q[s, column]) + alpha * delta * e)
        e *= rules.gamma * rules.trace_decay
        memory.trace[s, column] = e if e >= TRACE_UNTIL and not step.last else 0
        if memory.trace[s, column]:
            kept.append(pair)
    memory.active[: len(kept)] = kept
    memory.where[Slot.TRACES] = len(kept)
    return delta


def dyna_q(agent: Agent, step: Step) -> float:
    """Q-learning, then `planning_steps` updates from a model of the transitions seen so far."""
    memory, actions = agent.memory, len(agent.table.reaching)
    error = q_learning(agent, step)
    pair = step.s * actions + step.a
    if memory.model_to[step.s, step.a] == 0:
        memory.seen[memory.where[Slot.SEEN]] = pair
        memory.where[Slot.SEEN] += 1
    # Model(s, a) <- r, s';  stored as s' + 1, where 0 means never seen
    memory.model_to[step.s, step.a] = step.s2 + 1
    memory.model_reward[step.s, step.a], memory.model_ends[step.s, step.a] = step.r, step.ended
    for k in range(agent.rules.planning_steps):
        pair = int(memory.seen[int(agent.random(step.time, Use.PLAN + k) * memory.where[Slot.SEEN])])
        s, a = divmod(pair, actions)
        ahead = float(agent.Q[memory.model_to[s, a] - 1].max())
        # Q(s, a) <- Q(s, a) + alpha (r + gamma max_a' Q(s', a') - Q(s, a)) for a pair seen before
        target = float(memory.model_reward[s, a]) + agent.discounted(ahead, bool(memory.model_ends[s, a]))
        agent.update(s, a, target)
    return error


def monte_carlo(agent: Agent, step: Step) -> float:
    """At the end of an episode, backwards: G <- gamma G + r and Q(s, a) <- Q(s, a) + alpha (G - Q(s, a))."""
    memory, rules = agent.memory, agent.rules
    k = int(memory.where[Slot.STEP])
    pair = step.s * agent.columns + agent.column(step.a)
    memory.past_pair[k - 1], memory.past_reward[k - 1] = pair, step.r
    if memory.first.flat[pair] == 0:
        memory.first.flat[pair] = k
    if not step.last:
        return math.nan
    G, error = 0.0, math.nan
    for at in range(k - 1, -1, -1):
        pair = int(memory.past_pair[at])
        G = rules.gamma * G + float(memory.past_reward[at])
        if not rules.first_visit or memory.first.flat[pair] == at + 1:
            error = agent.update(*divmod(pair, agent.columns), G)
    for at in range(k):
        memory.first.flat[memory.past_pair[at]] = 0
    return error


UPDATE_RULES: dict[Kind, Callable[[Agent, Step], float]] = {
    Kind.SARSA: sarsa,
    Kind.EXPECTED_SARSA: expected_sarsa,
    Kind.Q_LEARNING: q_learning,
    Kind.DOUBLE_Q_LEARNING: double_q_learning,
    Kind.N_STEP: n_step,
    Kind.LAMBDA: sarsa_lambda,
    Kind.DYNA: dyna_q,
    Kind.MONTE_CARLO: monte_carlo,
}
CHOOSES_FIRST = (Kind.SARSA, Kind.N_STEP, Kind.LAMBDA)  # their updates need a'


def begin(table: Table, rules: Rules, memory: Memory) -> None:
    """Starts an episode: places the agent, chooses its first action, and clears what it kept of the last episode."""
    memory.first[:] = 0
    memory.trace[:] = 0
    memory.where[Slot.TRACES] = 0
    _start_episode(Agent(table, rules, memory), 0)


def _start_episode(agent: Agent, time: int) -> None:
    """Places the agent in the start, or with exploring starts in any cell with any action."""
    starts, where = agent.table.starts, agent.memory.where
    s = int(starts[int(agent.random(time, Use.START) * len(starts))])
    where[Slot.STATE], where[Slot.STEP] = s, 0
    agent.memory.sums[0] = 0
    if agent.rules.exploring_starts:
        where[Slot.ACTION] = int(agent.random(time, Use.WHICH) * len(agent.table.reaching))
    else:
        where[Slot.ACTION] = agent.choose(s, time)


def transitions(table: Table, rules: Rules, memory: Memory) -> Generator[Transition, None, None]:
    """Endless transitions, which change memory in place. Call `begin` first."""
    agent, where = Agent(table, rules, memory), memory.where
    rule = UPDATE_RULES[Kind(rules.kind)]
    while True:
        time, s, a = agent.time, int(where[Slot.STATE]), int(where[Slot.ACTION])
        m = first_above(table.reaching[a], agent.random(time, Use.MOVE))
        r, s2, ended = float(table.reward[s, m]), int(table.to[s, m]), bool(table.ends[s, m])
        where[Slot.STEP] += 1
        memory.visits[s, a] += 1
        memory.sums[0] += r
        last = ended or where[Slot.STEP] >= rules.episode_length
        where[Slot.REACHED] += table.target[s2]
        where[Slot.CUT] += last and not ended
        a2 = agent.choose(s2, time + 1) if rules.kind in CHOOSES_FIRST else -1
        agent.changed = []
        error = rule(agent, Step(s, a, r, s2, a2, ended, last, time))
        where[Slot.TIME] = time + 1
        if last:
            where[Slot.EPISODE] += 1
            _start_episode(agent, time + 1)
        else:
            where[Slot.STATE] = s2
            where[Slot.ACTION] = agent.choose(s2, time + 1) if a2 < 0 else a2
        yield Transition(s, a, m, r, s2, 1 if ended else 2 * last, error, tuple(agent.changed))


def first_above(cumulative: np.ndarray, number: float) -> int:
    """The first index whose cumulative probability exceeds the number."""
    return int(np.argmax(cumulative > number))
