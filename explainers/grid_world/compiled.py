"""The agents of `agents.py`, compiled: the same trajectories for the same seeds, some hundred times as fast.

The equations stand there. Here is one loop over time with a branch for each rule; numbers for each transition are
recorded where asked, and many agents run side by side on several cores.
"""

from __future__ import annotations

import threading

import numba
import numpy as np

from explainers.grid_world import dice
from explainers.grid_world.dice import Use
from explainers.grid_world.memory import MOST_TRACES, TRACE_UNTIL, Kind, Memory, Rules, Schedule, Slot, Table

ODD, FIRST, SECOND = (np.uint64(number) for number in (dice.ODD, dice.FIRST, dice.SECOND))
MOVE, EXPLORE, WHICH, START, COIN, BEST, PLAN = (int(use) for use in Use)
SARSA, EXPECTED_SARSA, Q_LEARNING, DOUBLE_Q_LEARNING, N_STEP, LAMBDA, DYNA, MONTE_CARLO = (int(kind) for kind in Kind)
CONSTANT, ONE_OVER_N, POLYNOMIAL, ONE_OVER_N_PLUS_ONE = (int(schedule) for schedule in Schedule)
STATE, ACTION, TIME, EPISODE, STEP, TRACES, SEEN = (int(slot) for slot in Slot)
SHIFTS = tuple(np.uint64(number) for number in (30, 27, 31, 11))
UNIT = 1.0 / (1 << 53)


@numba.njit(cache=True, inline="always")
def _mixed(x):
    x = x + ODD
    x = (x ^ (x >> SHIFTS[0])) * FIRST
    x = (x ^ (x >> SHIFTS[1])) * SECOND
    return x ^ (x >> SHIFTS[2])


@numba.njit(cache=True, inline="always")
def _luck(seed, time):
    """What all numbers of a time have in common."""
    return _mixed(_mixed(np.uint64(seed)) + np.uint64(time))


@numba.njit(cache=True, inline="always")
def _uniform(luck, use):
    """As dice.uniform, of the luck of its seed and time."""
    return (_mixed(luck + np.uint64(use)) >> SHIFTS[3]) * UNIT


# A row is named by its table and number: a slice of its own would cost more than what is done with it.


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
def _best(rules, q, s, luck, use):
    highest, equal, first = q[s, 0], 1, 0
    for a in range(1, q.shape[1]):
        if q[s, a] > highest:
            highest, equal, first = q[s, a], 1, a
        elif q[s, a] == highest:
            equal += 1
    if rules.first_of_ties or equal == 1:
        return first
    return _wanted(q, s, highest, int(_uniform(luck, use) * equal))


@numba.njit(cache=True, inline="always")
def _wanted(q, s, highest, wanted):
    for a in range(q.shape[1]):
        if q[s, a] == highest:
            if wanted == 0:
                return a
            wanted -= 1
    return 0


@numba.njit(cache=True)
def _best_of_both(rules, q, q2, s, luck):
    """As _best, of the sum of two tables."""
    both = np.empty((1, q.shape[1]))
    for a in range(q.shape[1]):
        both[0, a] = q[s, a] + q2[s, a]
    return _best(rules, both, 0, luck, WHICH)


@numba.njit(cache=True, inline="always")
def _epsilon(rules, where):
    return rules.epsilon / np.sqrt(1.0 + where[EPISODE]) if rules.epsilon_falls else rules.epsilon


@numba.njit(cache=True, inline="always")
def _choose(table, rules, memory, s, luck):
    actions = len(table.reaching)
    if table.policy.size > 0:
        return _first_above(table.policy, s, _uniform(luck, WHICH))
    if rules.uniform_behaviour or _uniform(luck, EXPLORE) < _epsilon(rules, memory.where):
        return int(_uniform(luck, WHICH) * actions)
    if rules.kind == DOUBLE_Q_LEARNING:
        return _best_of_both(rules, memory.q, memory.q2, s, luck)
    return _best(rules, memory.q, s, luck, WHICH)


@numba.njit(cache=True, inline="always")
def _step_size(rules, memory, s, c):
    memory.count[s, c] += 1
    n = memory.count[s, c]
    if rules.schedule == ONE_OVER_N:
        return 1.0 / n
    if rules.schedule == POLYNOMIAL:
        return rules.alpha / n**0.7
    if rules.schedule == ONE_OVER_N_PLUS_ONE:
        return 1.0 / (n + 1)
    return rules.alpha


@numba.njit(cache=True, inline="always")
def _learn(rules, memory, s, c, target, log):
    error = target - memory.q[s, c]
    _put(memory, s, c, memory.q[s, c] + _step_size(rules, memory, s, c) * error, log)
    return error


@numba.njit(cache=True, inline="always")
def _put(memory, s, c, value, log):
    memory.q[s, c] = value
    _note(log, s * memory.q.shape[1] + c, value)


@numba.njit(cache=True, inline="always")
def _note(log, pair, value):
    """Records a change, where changes are recorded: log is (count, positions, values), of length 0 where not."""
    if len(log[1]):
        log[1][log[0][0]], log[2][log[0][0]] = pair, value
        log[0][0] += 1


@numba.njit(cache=True, inline="always")
def _worth(rules, value, ended):
    return 0.0 if ended and not rules.beyond_the_end else rules.gamma * value


@numba.njit(cache=True)
def _expected(rules, memory, s):
    q, actions = memory.q, memory.q.shape[1]
    highest, total, equal, best = _highest(q, s), 0.0, 0, 0.0
    for a in range(actions):
        value = q[s, a]
        total += value
        if value == highest and not (rules.first_of_ties and equal):
            equal += 1
            best += value
    epsilon = _epsilon(rules, memory.where)
    return epsilon * (total / actions) + (1 - epsilon) * (best / equal)


@numba.njit(cache=True)
def _double(rules, memory, s, a, r, s2, ended, luck, log):
    first, second = memory.q, memory.q2
    if _uniform(luck, COIN) < 0.5:
        first, second = second, first
    ahead = second[s2, _best(rules, first, s2, luck, BEST)]
    error = r + _worth(rules, ahead, ended) - first[s, a]
    first[s, a] += _step_size(rules, memory, s, a) * error
    _note(log, s * memory.q.shape[1] + a, (memory.q[s, a] + memory.q2[s, a]) / 2)
    return error


@numba.njit(cache=True)
def _n_step(rules, memory, s, c, r, ahead, ended, last, log):
    n, k, columns = rules.n, memory.where[STEP], memory.q.shape[1]
    memory.past_pair[(k - 1) % n], memory.past_reward[(k - 1) % n] = s * columns + c, r
    error = np.nan
    for oldest in range(max(k - n, 0), k if last else k - n + 1):
        total = 0.0 if ended and not rules.beyond_the_end else ahead
        for at in range(k - 1, oldest - 1, -1):
            total = memory.past_reward[at % n] + rules.gamma * total
        pair = memory.past_pair[oldest % n]
        found = _learn(rules, memory, pair // columns, pair % columns, total, log)
        if np.isnan(error):
            error = found
    return error


@numba.njit(cache=True)
def _lambda(rules, memory, s, c, delta, last, log):
    columns, active, where = memory.q.shape[1], memory.active, memory.where
    alpha, held = _step_size(rules, memory, s, c), where[TRACES]
    if memory.trace[s, c] == 0:
        if held == MOST_TRACES:
            memory.trace[active[0] // columns, active[0] % columns] = 0
            active[: held - 1] = active[1:held].copy()
            held -= 1
        active[held] = s * columns + c
        held += 1
    memory.trace[s, c] = 1 if rules.replacing else memory.trace[s, c] + 1
    kept = 0
    for k in range(held):
        one, column = active[k] // columns, active[k] % columns
        e = memory.trace[one, column]
        _put(memory, one, column, memory.q[one, column] + alpha * delta * e, log)
        e *= rules.gamma * rules.trace_decay
        memory.trace[one, column] = e if e >= TRACE_UNTIL and not last else 0
        if memory.trace[one, column] != 0:
            active[kept] = active[k]
            kept += 1
    where[TRACES] = kept


@numba.njit(cache=True)
def _dyna(rules, memory, s, a, r, s2, ended, luck, log):
    where, actions = memory.where, memory.q.shape[1]
    if memory.model_to[s, a] == 0:
        memory.seen[where[SEEN]] = s * actions + a
        where[SEEN] += 1
    memory.model_to[s, a], memory.model_reward[s, a], memory.model_ends[s, a] = s2 + 1, r, ended
    for k in range(rules.planning_steps):
        pair = memory.seen[int(_uniform(luck, PLAN + k) * where[SEEN])]
        one, action = pair // actions, pair % actions
        ahead = _highest(memory.q, memory.model_to[one, action] - 1)
        target = memory.model_reward[one, action] + _worth(rules, ahead, memory.model_ends[one, action])
        _learn(rules, memory, one, action, target, log)


@numba.njit(cache=True)
def _monte_carlo(rules, memory, s, c, r, last, log):
    k, columns = memory.where[STEP], memory.q.shape[1]
    memory.past_pair[k - 1], memory.past_reward[k - 1] = s * columns + c, r
    if memory.first[s, c] == 0:
        memory.first[s, c] = k
    if not last:
        return np.nan
    total, error = 0.0, np.nan
    for at in range(k - 1, -1, -1):
        one, column = memory.past_pair[at] // columns, memory.past_pair[at] % columns
        total = rules.gamma * total + memory.past_reward[at]
        if not rules.first_visit or memory.first[one, column] == at + 1:
            error = _learn(rules, memory, one, column, total, log)
    for at in range(k):
        memory.first[memory.past_pair[at] // columns, memory.past_pair[at] % columns] = 0
    return error


@numba.njit(cache=True, inline="always")
def _enter(table, rules, memory, luck):
    where = memory.where
    s = table.starts[int(_uniform(luck, START) * len(table.starts))]
    where[STATE], where[STEP] = s, 0
    if rules.exploring_starts:
        where[ACTION] = int(_uniform(luck, WHICH) * len(table.reaching))
    else:
        where[ACTION] = _choose(table, rules, memory, s, luck)


@numba.njit(cache=True, inline="always")
def _act(table, rules, memory, log):
    """One transition: (state, action, move, reward, after, end, error)."""
    where = memory.where
    time, s, a = where[TIME], where[STATE], where[ACTION]
    luck, next_luck = _luck(rules.seed, time), _luck(rules.seed, time + 1)
    m = _first_above(table.reaching, a, _uniform(luck, MOVE))
    r, s2, ended = table.reward[s, m], table.to[s, m], table.ends[s, m]
    where[STEP] += 1
    memory.sums[0] += r
    last = ended or where[STEP] >= rules.episode_length
    kind, predicts = rules.kind, table.policy.size > 0
    c, a2, ahead = 0 if predicts else a, -1, 0.0
    if kind == SARSA or kind == N_STEP or kind == LAMBDA:
        a2 = _choose(table, rules, memory, s2, next_luck)
        ahead = memory.q[s2, 0 if predicts else a2]
    error = 0.0
    if kind == SARSA:
        error = _learn(rules, memory, s, c, r + _worth(rules, ahead, ended), log)
    elif kind == EXPECTED_SARSA:
        error = _learn(rules, memory, s, c, r + _worth(rules, _expected(rules, memory, s2), ended), log)
    elif kind == Q_LEARNING or kind == DYNA:
        error = _learn(rules, memory, s, c, r + _worth(rules, _highest(memory.q, s2), ended), log)
        if kind == DYNA:
            _dyna(rules, memory, s, a, r, s2, ended, luck, log)
    elif kind == DOUBLE_Q_LEARNING:
        error = _double(rules, memory, s, a, r, s2, ended, luck, log)
    elif kind == N_STEP:
        error = _n_step(rules, memory, s, c, r, ahead, ended, last, log)
    elif kind == LAMBDA:
        error = r + _worth(rules, ahead, ended) - memory.q[s, c]
        _lambda(rules, memory, s, c, error, last, log)
    else:
        error = _monte_carlo(rules, memory, s, c, r, last, log)
    where[TIME] = time + 1
    if last:
        where[EPISODE] += 1
        memory.sums[0] = 0
        _enter(table, rules, memory, next_luck)
    else:
        where[STATE] = s2
        where[ACTION] = _choose(table, rules, memory, s2, next_luck) if a2 < 0 else a2
    return s, a, m, r, s2, 1 if ended else (2 if last else 0), error


@numba.njit(cache=True)
def record(table, rules, memory, n, whole, real, starts, log):
    """n transitions, each recorded: whole (n, 5) state, action, move, after, end; real (n, 2) reward, error; starts
    (n + 1,) where the changes of each transition begin in the log."""
    for t in range(n):
        starts[t] = log[0][0]
        s, a, m, r, s2, end, error = _act(table, rules, memory, log)
        whole[t, 0], whole[t, 1], whole[t, 2], whole[t, 3], whole[t, 4] = s, a, m, s2, end
        real[t, 0], real[t, 1] = r, error
    starts[n] = log[0][0]


@numba.njit(cache=True)
def episodes(table, rules, memory, returns, lengths, most):
    """Whole episodes, len(returns) of them or until `most` transitions; how many transitions there were."""
    log = (np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0))
    done, total, length, steps = 0, 0.0, 0, 0
    while done < len(returns) and steps < most:
        _, _, _, r, _, end, _ = _act(table, rules, memory, log)
        total += r
        length += 1
        steps += 1
        if end:
            returns[done], lengths[done] = total, length
            done, total, length = done + 1, 0.0, 0
    return steps


@numba.njit(cache=True)
def run(table, rules, memory, n):
    """n transitions, without a record."""
    log = (np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0))
    for _ in range(n):
        _act(table, rules, memory, log)


begin = numba.njit(cache=True)(lambda table, rules, memory: _enter(table, rules, memory, _luck(rules.seed, 0)))

_ready = threading.Event()
_started = threading.Lock()


def ready() -> bool:
    """Whether the loop is compiled; the first call starts that in the background."""
    if _started.acquire(blocking=False):
        threading.Thread(target=_compile, name="compile agents", daemon=True).start()
    return _ready.is_set()


def wait() -> None:
    """Returns once the loop is compiled."""
    ready()
    _ready.wait()


def _compile() -> None:
    raise NotImplementedError


__all__ = ["Memory", "Rules", "Table", "begin", "episodes", "ready", "record", "run", "wait"]
