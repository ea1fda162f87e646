"""Checks that hold for a sound agent, whatever it has learned so far."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from explainers.contract.messages import Message
from explainers.contract.result import Check
from explainers.grid_world import agents, compiled
from explainers.grid_world.dice import Use
from explainers.grid_world.exact import ROUNDING
from explainers.grid_world.learn_params import OneAgentParams, comes_to_the_best, truth
from explainers.grid_world.learning import Chunk, Phase
from explainers.grid_world.memory import Kind, Rules, Schedule, Slot, new_memory
from explainers.grid_world.world import Moves

COMPARED = 256  # transitions that are taken again, by the readable agents
THROWS = 1000
MOST_ASKED = 40  # cells
# the rules that learn from one transition alone; the others are asked for their target by its equation
ASKED = (Kind.SARSA, Kind.EXPECTED_SARSA, Kind.Q_LEARNING, Kind.DOUBLE_Q_LEARNING, Kind.LAMBDA, Kind.DYNA)


def checks_of(
    params: OneAgentParams, phase: Phase, chunk: Chunk, until: int | None = None
) -> Iterator[Check]:
    """The checks of a phase of a run. chunk: transitions of it, of which `until` lie in this phase."""
    if compiled.ready():  # until then the chunk was taken by the readable agents themselves
        lie_here = len(chunk.state) if until is None else until
        # a transition with many planned updates takes as long as several
        planned = phase.rules.planning_steps if phase.rules.kind == Kind.DYNA else 0
        yield _same_steps(phase, chunk, min(COMPARED // (1 + planned // 10), lie_here))
    yield _at_rest(params, phase)
    if params.algorithm != "td0":
        yield _fair(phase)
    if params.alpha_schedule == "one_over_n":
        yield _forgets(phase)


def _same_steps(phase: Phase, chunk: Chunk, n: int) -> Check:
    """The loop that is compiled and the agents of the book: the same places, the same errors, to the bit."""
    memory = chunk.before.memory.copy()
    if phase.first == chunk.before.time and not phase.lived_in[memory.where[Slot.STATE]]:
        agents.begin(phase.table, phase.rules, memory)
    running = agents.live(phase.table, phase.rules, memory)
    taken = [next(running) for _ in range(n)]
    places = np.array([(one.state, one.action, one.move, one.after) for one in taken])
    ran = np.stack([chunk.state, chunk.action, chunk.move, chunk.after], axis=1)[:n]
    errors = np.array([one.td_error for one in taken])
    same = (places == ran).all(axis=1)
    same &= (errors == chunk.error[:n]) | (np.isnan(errors) & np.isnan(chunk.error[:n]))
    return Check(
        what=Message("the readable agent takes the same {count} transitions", count=n),
        error=float((~same).sum()),
        tolerance=0.0,
        reference="agents.py, one step after another",
    )


def _at_rest(params: OneAgentParams, phase: Phase) -> Check:
    """An agent that knows the truth has nothing to learn: over the moves of the world its errors cancel."""
    moves, rules, acting = params.grid.moves, phase.rules, params.grid.lived_in
    known = truth(params, params.algorithm)
    # a terminal cell is never updated: where an agent looks at it, it finds what was there at first
    q = np.where(acting[:, None], known, params.q0 if rules.beyond_the_end else 0.0)
    states = np.flatnonzero(acting)
    asked = states[:: -(-len(states) // MOST_ASKED)]
    if rules.kind in ASKED:
        errors = np.array([_expected_errors(phase, moves, q, s) for s in asked])
        what = Message("an agent that knew the truth would learn nothing, relative")
    else:
        # target(s, a) = sum_m mix[a, m] (r(s, m) + gamma V(s'))
        goes_on = ~moves.ends | rules.beyond_the_end
        target = (moves.reward + rules.gamma * goes_on * _value(params, phase, q)[moves.to]) @ moves.mix.T
        if params.algorithm == "td0":
            target = (_policy(phase) * target).sum(axis=1, keepdims=True)
        errors = (target - known)[asked]
        what = Message("the truth solves the equation of the agent's target, relative")
    size = max(1.0, float(np.abs(known[acting]).max(initial=0.0)))
    return Check(
        what=what,
        error=float(np.abs(errors).max()) / size,
        tolerance=ROUNDING,
        reference="the exact answer, by linear equations",
    )


def _expected_errors(phase: Phase, moves: Moves, q: np.ndarray, s: int) -> np.ndarray:
    """(actions,) the TD error that the agent's own rule finds in s, on average over the moves and the next actions."""
    rules = phase.rules._replace(schedule=int(Schedule.CONSTANT), alpha=0.0, planning_steps=0)
    if rules.epsilon_falls:  # what it comes to no longer explores
        rules = rules._replace(epsilon=0.0)
    memory = new_memory(rules, len(q), q.shape[1], q.shape[1], 0.0, 0)
    memory.q[:] = q
    if memory.q2.size:
        memory.q2[:] = q
    agent, rule = agents.Agent(phase.table, rules, memory), agents.LEARN[Kind(rules.kind)]
    found = np.zeros(len(moves.mix))
    for a, m in np.argwhere(moves.mix > 0):
        s2, r, ended = int(moves.to[s, m]), float(moves.reward[s, m]), bool(moves.ends[s, m])
        for a2, likely in _next_actions(rules, q[s2]):
            error = rule(agent, agents.Step(s, int(a), r, s2, a2, ended, True, 0))
            found[a] += moves.mix[a, m] * likely * error
    return found


def _next_actions(rules: Rules, q: np.ndarray) -> list[tuple[int, float]]:
    """The actions that may follow, with their probabilities: of an epsilon-greedy policy where the rule needs one."""
    if rules.kind not in agents.CHOOSES_FIRST:
        return [(-1, 1.0)]
    # pi(a|s) = epsilon / |A| + (1 - epsilon) [a = a*]
    likely = rules.epsilon / len(q) + (1 - rules.epsilon) * (np.arange(len(q)) == q.argmax())
    return [(int(a), float(likely[a])) for a in np.flatnonzero(likely)]


def _value(params: OneAgentParams, phase: Phase, q: np.ndarray) -> np.ndarray:
    """(states,) V(s) that the agent's rule looks ahead to."""
    if params.algorithm == "td0":
        return q[:, 0]
    if comes_to_the_best(params, params.algorithm):
        return q.max(axis=1)
    epsilon = phase.rules.epsilon
    # V(s) = epsilon mean_a Q(s, a) + (1 - epsilon) max_a Q(s, a)
    return epsilon * q.mean(axis=1) + (1 - epsilon) * q.max(axis=1)


def _policy(phase: Phase) -> np.ndarray:
    """(states, actions) the probabilities of the given policy, from its sums."""
    return np.diff(phase.table.policy, axis=1, prepend=0)


def _fair(phase: Phase) -> Check:
    """Of equal actions each is chosen as often as the others, within five standard deviations."""
    actions = len(phase.table.reaching)
    agent = agents.Agent(phase.table, phase.rules, new_memory(phase.rules, 1, actions, actions, 0.0, 1))
    chosen = [agent.best(np.zeros(actions), time, Use.WHICH) for time in range(THROWS)]
    often = np.bincount(chosen, minlength=actions) / THROWS
    tolerance = 5 * float(np.sqrt((1 / actions) * (1 - 1 / actions) / THROWS))
    error = float(np.abs(often - 1 / actions).max())
    return Check(
        what="of equal actions each is chosen equally often",
        error=error,
        tolerance=tolerance,
        reference=Message("1/{actions} of {throws}", actions=actions, throws=THROWS),
    )


def _forgets(phase: Phase) -> Check:
    """With steps of 1/n the first update puts the target in the place of the initial value."""
    actions = len(phase.table.reaching)
    agent = agents.Agent(phase.table, phase.rules, new_memory(phase.rules, 1, actions, actions, 1.0, 1))
    agent.learn(0, 0, 0.0)
    error = abs(float(agent.Q[0, 0]))
    return Check(
        what="one update with 1/n forgets the initial value 1",
        error=error,
        tolerance=ROUNDING,
        reference="the mean of one sample",
    )
