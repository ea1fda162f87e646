"""Checks that hold for a sound agent, whatever it has learned so far."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from explainers.experiment import Check
from explainers.grid_world import agents
from explainers.grid_world.dice import Use
from explainers.grid_world.learn_params import OFF_POLICY, OneAgentParams, truth
from explainers.grid_world.learning import Chunk, Phase
from explainers.grid_world.memory import Slot, new_memory

COMPARED = 256  # transitions that are taken again, by the readable agents
THROWS = 1000
ROUNDING = 1e-9


def checks_of(
    params: OneAgentParams, phase: Phase, chunk: Chunk, until: int | None = None
) -> Iterator[Check]:
    """The checks of a phase of a run. chunk: transitions of it, of which `until` lie in this phase."""
    yield _same_steps(phase, chunk, min(COMPARED, len(chunk.state) if until is None else until))
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
    compiled = np.stack([chunk.state, chunk.action, chunk.move, chunk.after], axis=1)[:n]
    errors = np.array([one.td_error for one in taken])
    same = (places == compiled).all(axis=1)
    same &= (errors == chunk.error[:n]) | (np.isnan(errors) & np.isnan(chunk.error[:n]))
    what = f"the readable agent takes the same {n} transitions"
    return Check(what, float((~same).sum()), 0.0, "agents.py, one step after another")


def _at_rest(params: OneAgentParams, phase: Phase) -> Check:
    """An agent that knows the truth has nothing to learn: the mean of its target is what it knows."""
    moves, rules, acting = params.grid.moves, phase.rules, params.grid.lived_in
    known = truth(params, params.algorithm)
    # a terminal cell is never updated: where an agent looks at it, it finds what was there at first
    q = np.where(acting[:, None], known, params.q0 if rules.beyond_the_end else 0.0)
    ahead = _value(params, phase, q)
    goes_on = ~moves.ends | rules.beyond_the_end
    # target(s, a) = sum_m mix[a, m] (r(s, m) + gamma V(s'))
    target = (moves.reward + rules.gamma * goes_on * ahead[moves.to]) @ moves.mix.T
    if params.algorithm == "td0":
        target = (_odds(phase) * target).sum(axis=1, keepdims=True)
    size = max(1.0, float(np.abs(known[acting]).max(initial=0.0)))
    error = float(np.abs(target - known)[acting].max(initial=0.0)) / size
    what = "an agent that knew the truth would learn nothing, relative"
    return Check(what, error, ROUNDING, "the exact answer, by linear equations")


def _value(params: OneAgentParams, phase: Phase, q: np.ndarray) -> np.ndarray:
    """(states,) V(s) that the agent's rule looks ahead to."""
    if params.algorithm == "td0":
        return q[:, 0]
    if params.algorithm in OFF_POLICY or phase.rules.epsilon == 0 or phase.rules.epsilon_falls:
        return q.max(axis=1)
    epsilon = 1.0 if phase.rules.uniform_behaviour else phase.rules.epsilon
    # V(s) = epsilon mean_a Q(s, a) + (1 - epsilon) max_a Q(s, a)
    return epsilon * q.mean(axis=1) + (1 - epsilon) * q.max(axis=1)


def _odds(phase: Phase) -> np.ndarray:
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
        "of equal actions each is chosen equally often", error, tolerance, f"1/{actions} of {THROWS}"
    )


def _forgets(phase: Phase) -> Check:
    """With steps of 1/n the first update puts the target in the place of the initial value."""
    actions = len(phase.table.reaching)
    agent = agents.Agent(phase.table, phase.rules, new_memory(phase.rules, 1, actions, actions, 1.0, 1))
    agent.learn(0, 0, 0.0)
    error = abs(float(agent.Q[0, 0]))
    return Check("one update with 1/n forgets the initial value 1", error, ROUNDING, "the mean of one sample")
