"""The agents of `agents.py`, compiled: the same trajectories for the same seeds, about a hundred times as fast.

The equations are there. Here is one loop over time with a branch for each rule; it can record the transitions, and it
releases Python's lock, so that many agents run in parallel. Two things make it several times as fast: the loop unpacks
the arrays from their tuples before it starts, and functions take a table and a row number instead of a row.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from explainers.grid_world import random_numbers
from explainers.grid_world.memory import (
    MOST_TRACES,
    TRACE_UNTIL,
    Kind,
    Schedule,
    Slot,
)
from explainers.grid_world.random_numbers import Use

ODD, FIRST, SECOND = (
    np.uint64(number) for number in (random_numbers.ODD, random_numbers.FIRST, random_numbers.SECOND)
)
MOVE, EXPLORE, WHICH, START, COIN, BEST, PLAN = (int(use) for use in Use)
SARSA, EXPECTED_SARSA, Q_LEARNING, DOUBLE_Q_LEARNING, N_STEP, LAMBDA, DYNA, MONTE_CARLO = (
    int(kind) for kind in Kind
)
CONSTANT, ONE_OVER_N, POLYNOMIAL, ONE_OVER_N_PLUS_ONE = (int(schedule) for schedule in Schedule)
STATE, ACTION, TIME, EPISODE, STEP, TRACES, SEEN, SEED, REACHED, CUT = (int(slot) for slot in Slot)
SHIFTS = tuple(np.uint64(number) for number in (30, 27, 31, 11))
UNIT = 1.0 / (1 << 53)


class Step(NamedTuple):
    """A transition as the update rules see it.

    c: the column of the estimate: 0 for a prediction, else a. ahead: the value of s2 that the rule looks ahead to, 0
    after an end. k: the step of the episode, from 1. goes_on: whether the rule bootstraps from s2. last: of the
    episode, which ended or was cut. key: of this time.
    """

    s: int
    a: int
    c: int
    r: float
    s2: int
    ahead: float
    k: int
    ended: bool
    goes_on: bool
    last: bool
    key: int


@numba.njit(cache=True, inline="always")
def _mixed(x):
    x = x + ODD
    x = (x ^ (x >> SHIFTS[0])) * FIRST
    x = (x ^ (x >> SHIFTS[1])) * SECOND
    return x ^ (x >> SHIFTS[2])


@numba.njit(cache=True, inline="always")
def _key(seed, time):
    """The part of the random numbers that depends only on seed and time."""
    return _mixed(_mixed(np.uint64(seed)) + np.uint64(time))


@numba.njit(cache=True, inline="always")
def _uniform(key, use):
    """As random_numbers.uniform; key: of its seed and time."""
    return (_mixed(key + np.uint64(use)) >> SHIFTS[3]) * UNIT


@numba.njit(cache=True, inline="always")
def _first_above(cumulative, row, number):
    for place in range(cumulative.shape[1]):
        if cumulative[row, place] > number:
            return place
    return 0


@numba.njit(cache=True, inline="always")
def _highest(q, s):
    highest = q[s, 0]
    for a in range(1, q.shape[1]):
        highest = max(highest, q[s, a])
    return highest


@numba.njit(cache=True, inline="always")
def _best(q, s, first_of_ties, key, use):
    highest, equal, first = q[s, 0], 1, 0
    for a in range(1, q.shape[1]):
        if q[s, a] > highest:
            highest, equal, first = q[s, a], 1, a
        elif q[s, a] == highest:
            equal += 1
    if first_of_ties or equal == 1:
        return first
    return _nth_best(q, s, highest, int(_uniform(key, use) * equal))


@numba.njit(cache=True)
def _nth_best(q, s, highest, n):
    for a in range(q.shape[1]):
        if q[s, a] == highest:
            if n == 0:
                return a
            n -= 1
    return 0


@numba.njit(cache=True)
def _best_of_both(q, q2, s, first_of_ties, key):
    """As _best, for the sum of two tables."""
    both = np.empty((1, q.shape[1]))
    for a in range(q.shape[1]):
        both[0, a] = q[s, a] + q2[s, a]
    return _best(both, 0, first_of_ties, key, WHICH)


@numba.njit(cache=True, inline="always")
def _step_size(count, s, c, schedule, alpha):
    count[s, c] += 1
    n = count[s, c]
    if schedule == CONSTANT:
        return alpha
    if schedule == ONE_OVER_N:
        return 1.0 / n
    if schedule == POLYNOMIAL:
        return alpha / n**0.7
    return 1.0 / (n + 1)


@numba.njit(cache=True, inline="always")
def _record_change(log, pair, value):
    """Appends a change to the log (count, positions, values); empty arrays record nothing."""
    if len(log[1]):
        log[1][log[0][0]], log[2][log[0][0]] = pair, value
        log[0][0] += 1


@numba.njit(cache=True)
def _update(rules, memory, s, c, target, log):
    error = target - memory.q[s, c]
    memory.q[s, c] += _step_size(memory.count, s, c, rules.schedule, rules.alpha) * error
    _record_change(log, s * memory.q.shape[1] + c, memory.q[s, c])
    return error


@numba.njit(cache=True, inline="always")
def _expected(q, s, epsilon, first_of_ties):
    actions = q.shape[1]
    highest, total, equal, best = _highest(q, s), 0.0, 0, 0.0
    for a in range(actions):
        value = q[s, a]
        total += value
        if value == highest and not (first_of_ties and equal):
            equal += 1
            best += value
    return epsilon * (total / actions) + (1 - epsilon) * (best / equal)


@numba.njit(cache=True, inline="always")
def _one_step(rules, q, count, step, log):
    s, c = step.s, step.c
    error = step.r + rules.gamma * step.ahead - q[s, c]
    q[s, c] += _step_size(count, s, c, rules.schedule, rules.alpha) * error
    _record_change(log, s * q.shape[1] + c, q[s, c])
    return error


@numba.njit(cache=True)
def _double(rules, memory, step, log):
    first, second = memory.q, memory.q2
    s, a = step.s, step.a
    if _uniform(step.key, COIN) < 0.5:
        first, second = second, first
    ahead = second[step.s2, _best(first, step.s2, rules.first_of_ties, step.key, BEST)]
    error = step.r + (rules.gamma * ahead if step.goes_on else 0.0) - first[s, a]
    first[s, a] += _step_size(memory.count, s, a, rules.schedule, rules.alpha) * error
    _record_change(log, s * memory.q.shape[1] + a, (memory.q[s, a] + memory.q2[s, a]) / 2)
    return error


@numba.njit(cache=True)
def _n_step(rules, memory, step, log):
    n, k, columns = rules.n, step.k, memory.q.shape[1]
    memory.past_pair[(k - 1) % n], memory.past_reward[(k - 1) % n] = step.s * columns + step.c, step.r
    error = np.nan
    for oldest in range(max(k - n, 0), k if step.last else k - n + 1):
        total = step.ahead
        for at in range(k - 1, oldest - 1, -1):
            total = memory.past_reward[at % n] + rules.gamma * total
        pair = memory.past_pair[oldest % n]
        found = _update(rules, memory, pair // columns, pair % columns, total, log)
        if np.isnan(error):
            error = found
    return error


@numba.njit(cache=True)
def _lambda(rules, memory, step, log):
    q, trace, active, where = memory.q, memory.trace, memory.active, memory.where
    s, c, columns, traces = step.s, step.c, q.shape[1], where[TRACES]
    delta = step.r + rules.gamma * step.ahead - q[s, c]
    alpha = _step_size(memory.count, s, c, rules.schedule, rules.alpha)
    if trace[s, c] == 0:
        if traces == MOST_TRACES:
            trace[active[0] // columns, active[0] % columns] = 0
            active[: traces - 1] = active[1:traces].copy()
            traces -= 1
        active[traces] = s * columns + c
        traces += 1
    trace[s, c] += 1
    kept = 0
    for k in range(traces):
        state, column = active[k] // columns, active[k] % columns
        e = trace[state, column]
        q[state, column] += alpha * delta * e
        _record_change(log, active[k], q[state, column])
        e *= rules.gamma * rules.trace_decay
        trace[state, column] = e if e >= TRACE_UNTIL and not step.last else 0
        if trace[state, column] != 0:
            active[kept] = active[k]
            kept += 1
    where[TRACES] = kept
    return delta


@numba.njit(cache=True)
def _dyna(rules, memory, step, log):
    s, a, where, actions = step.s, step.a, memory.where, memory.q.shape[1]
    if memory.model_to[s, a] == 0:
        memory.seen[where[SEEN]] = s * actions + a
        where[SEEN] += 1
    memory.model_to[s, a] = step.s2 + 1
    memory.model_reward[s, a], memory.model_ends[s, a] = step.r, step.ended
    for k in range(rules.planning_steps):
        pair = memory.seen[int(_uniform(step.key, PLAN + k) * where[SEEN])]
        state, action = pair // actions, pair % actions
        goes_on = rules.beyond_the_end or not memory.model_ends[state, action]
        ahead = rules.gamma * _highest(memory.q, memory.model_to[state, action] - 1) if goes_on else 0.0
        _update(rules, memory, state, action, memory.model_reward[state, action] + ahead, log)


@numba.njit(cache=True)
def _monte_carlo(rules, memory, step, log):
    k, first, columns = step.k, memory.first, memory.q.shape[1]
    memory.past_pair[k - 1], memory.past_reward[k - 1] = step.s * columns + step.c, step.r
    if first[step.s, step.c] == 0:
        first[step.s, step.c] = k
    if not step.last:
        return np.nan
    total, error = 0.0, np.nan
    for at in range(k - 1, -1, -1):
        state, column = memory.past_pair[at] // columns, memory.past_pair[at] % columns
        total = rules.gamma * total + memory.past_reward[at]
        if not rules.first_visit or first[state, column] == at + 1:
            error = _update(rules, memory, state, column, total, log)
    for at in range(k):
        first[memory.past_pair[at] // columns, memory.past_pair[at] % columns] = 0
    return error


@numba.njit(cache=True, inline="always")
def _choose(rules, policy, q, q2, s, epsilon, actions, key):
    if policy.size > 0:
        return _first_above(policy, s, _uniform(key, WHICH))
    if rules.uniform_behaviour or _uniform(key, EXPLORE) < epsilon:
        return int(_uniform(key, WHICH) * actions)
    if rules.kind == DOUBLE_Q_LEARNING:
        return _best_of_both(q, q2, s, rules.first_of_ties, key)
    return _best(q, s, rules.first_of_ties, key, WHICH)


@numba.njit(cache=True, inline="always")
def _first_action(rules, policy, q, q2, s, epsilon, actions, key):
    """The first action of an episode, which is random with exploring starts."""
    if rules.exploring_starts:
        return int(_uniform(key, WHICH) * actions)
    return _choose(rules, policy, q, q2, s, epsilon, actions, key)


@numba.njit(cache=True, inline="always")
def _ahead(rules, q, s2, a2, epsilon):
    """The value of s2: of a2 where it is already chosen, else the mean or the maximum over the actions."""
    if rules.kind == EXPECTED_SARSA:
        return _expected(q, s2, epsilon, rules.first_of_ties)
    if a2 >= 0:
        return q[s2, 0 if q.shape[1] == 1 else a2]
    return _highest(q, s2)


@numba.njit(cache=True, inline="always")
def _epsilon(rules, episode):
    return rules.epsilon / np.sqrt(1.0 + episode) if rules.epsilon_falls else rules.epsilon


@numba.njit(cache=True, nogil=True)
def live(table, rules, memory, steps, returns, lengths, record):
    """Takes `steps` transitions, or fewer if all episodes of `returns` are over; returns how many.

    returns, lengths: filled episode by episode; empty arrays ask for none. record: (whole, real, starts, log), filled
    transition by transition; empty arrays ask for none. whole (n, 5): state, action, move, after, end. real (n, 2):
    reward, error. starts (n + 1,): where the changes of each transition begin in the log.
    """
    to, reward, ends, reaching, first_states, policy, target = table
    q, q2, count, visits, where = memory.q, memory.q2, memory.count, memory.visits, memory.where
    whole, real, starts, log = record
    kind, columns, actions, seed = rules.kind, memory.q.shape[1], len(reaching), where[SEED]
    time, s, a, k, episode = where[TIME], where[STATE], where[ACTION], where[STEP], where[EPISODE]
    epsilon, so_far, done, t = _epsilon(rules, episode), memory.sums[0], 0, 0
    chooses_first = kind in (SARSA, N_STEP, LAMBDA)
    next_key = _key(seed, time)
    while t < steps and (done < len(returns) or len(returns) == 0):
        key, next_key = next_key, _key(seed, time + 1)
        m = _first_above(reaching, a, _uniform(key, MOVE))
        r, s2, ended = reward[s, m], to[s, m], ends[s, m]
        k += 1
        visits[s, a] += 1
        so_far += r
        last, goes_on = ended or k >= rules.episode_length, not ended or rules.beyond_the_end
        where[REACHED] += target[s2]
        where[CUT] += last and not ended
        c, a2 = (0 if columns == 1 else a), -1
        if chooses_first:
            a2 = _choose(rules, policy, q, q2, s2, epsilon, actions, next_key)
        ahead = _ahead(rules, q, s2, a2, epsilon) if goes_on else 0.0
        step = Step(s, a, c, r, s2, ahead, k, ended, goes_on, last, key)
        if kind in (SARSA, EXPECTED_SARSA, Q_LEARNING, DYNA):
            error = _one_step(rules, q, count, step, log)
            if kind == DYNA:
                _dyna(rules, memory, step, log)
        elif kind == DOUBLE_Q_LEARNING:
            error = _double(rules, memory, step, log)
        elif kind == N_STEP:
            error = _n_step(rules, memory, step, log)
        elif kind == LAMBDA:
            error = _lambda(rules, memory, step, log)
        else:
            error = _monte_carlo(rules, memory, step, log)
        if len(whole):
            whole[t, 0], whole[t, 1], whole[t, 2], whole[t, 3] = s, a, m, s2
            whole[t, 4] = 1 if ended else (2 if last else 0)
            real[t, 0], real[t, 1], starts[t + 1] = r, error, log[0][0]
        t, time = t + 1, time + 1
        if not last:
            s = s2
            a = a2 if a2 >= 0 else _choose(rules, policy, q, q2, s2, epsilon, actions, next_key)
            continue
        if len(returns):
            returns[done], lengths[done] = so_far, k
        done, episode, k, so_far = done + 1, episode + 1, 0, 0.0
        epsilon = _epsilon(rules, episode)
        s = first_states[int(_uniform(next_key, START) * len(first_states))]
        a = _first_action(rules, policy, q, q2, s, epsilon, actions, next_key)
    where[TIME], where[STATE], where[ACTION], where[STEP], where[EPISODE] = time, s, a, k, episode
    memory.sums[0] = so_far
    return t


@numba.njit(cache=True)
def begin(table, rules, memory):
    """Starts an episode, as agents.begin."""
    memory.first[:] = 0
    memory.trace[:] = 0
    where, q = memory.where, memory.q
    key, actions = _key(where[SEED], where[TIME]), len(table.reaching)
    s = table.starts[int(_uniform(key, START) * len(table.starts))]
    epsilon = _epsilon(rules, where[EPISODE])
    a = _first_action(rules, table.policy, q, memory.q2, s, epsilon, actions, key)
    where[STATE], where[ACTION], where[STEP], where[TRACES] = s, a, 0, 0
    memory.sums[0] = 0


def no_record() -> tuple:
    """An empty record, so that `live` records nothing."""
    log = (np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0))
    return np.zeros((0, 5), np.int32), np.zeros((0, 2)), np.zeros(0, np.int64), log
