"""Checks that every correct agent passes, whatever it has learned so far."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from explainers.contract.messages import Message
from explainers.contract.result import Check
from explainers.grid_world import agents, compiled
from explainers.grid_world.exact import ROUNDING
from explainers.grid_world.learn_params import OneAgentParams, converges_to_optimum, truth
from explainers.grid_world.learning import Chunk, Phase
from explainers.grid_world.memory import Kind, Rules, Schedule, Slot, new_memory
from explainers.grid_world.random_numbers import Use
from explainers.grid_world.world import Moves

COMPARED = 256  # transitions that the readable agents repeat
TRIALS = 1000
MOST_CELLS = 40  # in which the expected update is computed
# Rules that learn from a single transition: their own code computes the TD error. For the others we use the equation of
# their target.
ONE_TRANSITION = (
    Kind.SARSA,
    Kind.EXPECTED_SARSA,
    Kind.Q_LEARNING,
    Kind.DOUBLE_Q_LEARNING,
    Kind.LAMBDA,
    Kind.DYNA,
)


def checks_of(
    params: OneAgentParams, phase: Phase, chunk: Chunk, until: int | None = None
) -> Iterator[Check]:
    """The checks of a phase. chunk: its first `until` transitions (None: all) are in this phase."""
    if compiled.ready():  # until then the readable agents take the chunk themselves
        in_phase = len(chunk.state) if until is None else until
        # many planning updates make a transition slow
        planned = phase.rules.planning_steps if phase.rules.kind == Kind.DYNA else 0
        yield _same_transitions(phase, chunk, min(COMPARED // (1 + planned // 10), in_phase))
    yield _no_expected_update(params, phase)
    if params.algorithm != "td0":
        yield _breaks_ties_uniformly(phase)
    if params.alpha_schedule == "one_over_n":
        yield _forgets_initial_value(phase)


def _same_transitions(phase: Phase, chunk: Chunk, n: int) -> Check:
    """The compiled and the readable agent take the same transitions with the same TD errors, bit for bit."""
    memory = chunk.before.memory.copy()
    if phase.first == chunk.before.time and not phase.acting[memory.where[Slot.STATE]]:
        agents.begin(phase.table, phase.rules, memory)
    transitions = list(islice(agents.transitions(phase.table, phase.rules, memory), n))
    readable = np.array([(each.state, each.action, each.move, each.after) for each in transitions])
    fast = np.stack([chunk.state, chunk.action, chunk.move, chunk.after], axis=1)[:n]
    errors = np.array([each.td_error for each in transitions])
    same = (readable == fast).all(axis=1)
    same &= (errors == chunk.error[:n]) | (np.isnan(errors) & np.isnan(chunk.error[:n]))
    return Check(
        what=Message("the readable agent takes the same {count} transitions", count=n),
        error=float((~same).sum()),
        tolerance=0.0,
        reference="agents.py, one step after another",
    )


def _no_expected_update(params: OneAgentParams, phase: Phase) -> Check:
    """For an agent that knows the truth, the expected TD error is 0 in every state and action."""
    moves, rules, acting = params.grid.moves, phase.rules, params.grid.acting
    true_q = truth(params, params.algorithm)
    # a terminal cell is never updated: an agent that bootstraps from it reads the initial value
    q = np.where(acting[:, None], true_q, params.q0 if rules.beyond_the_end else 0.0)
    states = np.flatnonzero(acting)
    cells = states[:: -(-len(states) // MOST_CELLS)]
    if rules.kind in ONE_TRANSITION:
        errors = np.array([_expected_errors(phase, moves, q, s) for s in cells])
        what = Message("an agent that knew the truth would learn nothing, relative")
    else:
        # target(s, a) = sum_m mix[a, m] (r(s, m) + gamma V(s'))
        goes_on = ~moves.ends | rules.beyond_the_end
        target = (moves.reward + rules.gamma * goes_on * _value(params, phase, q)[moves.to]) @ moves.mix.T
        if params.algorithm == "td0":
            target = (_policy(phase) * target).sum(axis=1, keepdims=True)
        errors = (target - true_q)[cells]
        what = Message("the truth solves the equation of the agent's target, relative")
    size = max(1.0, float(np.abs(true_q[acting]).max(initial=0.0)))
    return Check(
        what=what,
        error=float(np.abs(errors).max()) / size,
        tolerance=ROUNDING,
        reference="the exact answer, by linear equations",
    )


def _expected_errors(phase: Phase, moves: Moves, q: np.ndarray, s: int) -> np.ndarray:
    """(actions,) the TD error of the agent's own rule in s, averaged over the moves and the next actions."""
    rules = phase.rules._replace(schedule=int(Schedule.CONSTANT), alpha=0.0, planning_steps=0)
    if rules.epsilon_falls:  # in the limit the agent no longer explores
        rules = rules._replace(epsilon=0.0)
    memory = new_memory(rules, len(q), q.shape[1], q.shape[1], 0.0, 0)
    memory.q[:] = q
    if memory.q2.size:
        memory.q2[:] = q
    agent, rule = agents.Agent(phase.table, rules, memory), agents.UPDATE_RULES[Kind(rules.kind)]
    found = np.zeros(len(moves.mix))
    for a, m in np.argwhere(moves.mix > 0):
        s2, r, ended = int(moves.to[s, m]), float(moves.reward[s, m]), bool(moves.ends[s, m])
        for a2, likely in _next_actions(rules, q[s2]):
            error = rule(agent, agents.Step(s, int(a), r, s2, a2, ended, True, 0))
            found[a] += moves.mix[a, m] * likely * error
    return found


def _next_actions(rules: Rules, q: np.ndarray) -> list[tuple[int, float]]:
    """The possible next actions with their probabilities, for rules that need one; else -1."""
    if rules.kind not in agents.CHOOSES_FIRST:
        return [(-1, 1.0)]
    # pi(a|s) = epsilon / |A| + (1 - epsilon) [a = a*]
    likely = rules.epsilon / len(q) + (1 - rules.epsilon) * (np.arange(len(q)) == q.argmax())
    return [(int(a), float(likely[a])) for a in np.flatnonzero(likely)]


def _value(params: OneAgentParams, phase: Phase, q: np.ndarray) -> np.ndarray:
    """(states,) the values V(s) in the target of the agent's rule."""
    if params.algorithm == "td0":
        return q[:, 0]
    if converges_to_optimum(params, params.algorithm):
        return q.max(axis=1)
    epsilon = phase.rules.epsilon
    # V(s) = epsilon mean_a Q(s, a) + (1 - epsilon) max_a Q(s, a)
    return epsilon * q.mean(axis=1) + (1 - epsilon) * q.max(axis=1)


def _policy(phase: Phase) -> np.ndarray:
    """(states, actions) the probabilities of the given policy, from the cumulative ones."""
    return np.diff(phase.table.policy, axis=1, prepend=0)


def _breaks_ties_uniformly(phase: Phase) -> Check:
    """Ties between actions are broken uniformly, within five standard deviations."""
    actions = len(phase.table.reaching)
    agent = agents.Agent(phase.table, phase.rules, new_memory(phase.rules, 1, actions, actions, 0.0, 1))
    chosen = [agent.best(np.zeros(actions), time, Use.WHICH) for time in range(TRIALS)]
    often = np.bincount(chosen, minlength=actions) / TRIALS
    tolerance = 5 * float(np.sqrt((1 / actions) * (1 - 1 / actions) / TRIALS))
    error = float(np.abs(often - 1 / actions).max())
    return Check(
        what="of equal actions each is chosen equally often",
        error=error,
        tolerance=tolerance,
        reference=Message("1/{actions} of {trials}", actions=actions, trials=TRIALS),
    )


def _forgets_initial_value(phase: Phase) -> Check:
    """With step sizes 1/n the first update replaces the initial value by the target."""
    actions = len(phase.table.reaching)
    agent = agents.Agent(phase.table, phase.rules, new_memory(phase.rules, 1, actions, actions, 1.0, 1))
    agent.update(0, 0, 0.0)
    error = abs(float(agent.Q[0, 0]))
    return Check(
        what="one update with 1/n forgets the initial value 1",
        error=error,
        tolerance=ROUNDING,
        reference="the mean of one sample",
    )
