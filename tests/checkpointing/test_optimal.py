"""The optimal schedule within a budget, against a brute-force search and against Revolve."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explainers.checkpointing import pareto, revolve, rotor
from explainers.checkpointing.chain import Chain
from explainers.checkpointing.optimal import OptimalParams, optimal
from tests.checkpointing.chains import played, random_chain

# ------------------------------------------------------------------------------------------- the optimum


@dataclass(frozen=True)
class Memory:
    """A state of the search. Sets of layers are bit masks: bit l is layer l.

    due: the layer that must go backward next. current: the layer whose output is the current activation. holder: the
    taped layer that needs it; 0 for none. kept: layers whose input is kept. inside: layers whose internal activations
    are in memory.
    """

    due: int
    current: int = 0
    holder: int = 0
    kept: int = 1 << 1
    inside: int = 0

    def units(self, chain: Chain) -> float:
        sizes = enumerate(zip(chain.boundaries, chain.internals, strict=True), 1)
        return sum(B * (self.kept >> l & 1) + I * (self.inside >> l & 1) for l, (B, I) in sizes)

    def has_input(self, l: int) -> bool:
        """Whether the input of layer l is stored: as a boundary, or in the inside of the layer before."""
        return bool(self.kept >> l & 1 or (l > 1 and self.inside >> (l - 1) & 1))

    def sound(self, layers: int) -> bool:
        """Whether the input of every taped layer is stored or held as the current activation."""
        taped = (l for l in range(1, layers + 1) if self.inside >> l & 1)
        return all(self.holder == l or self.has_input(l) for l in taped)


def actions_from(state: Memory, chain: Chain) -> Iterator[tuple[float, Memory]]:
    """Every forward, checkpoint, tape and backward, with its time and the state after it."""
    L, due, inside = chain.layers, state.due, state.inside
    for l, time in enumerate(chain.times[:due], 1):
        if not (state.has_input(l) or state.current == l - 1):
            continue
        if not state.holder:
            yield time, replace(state, current=l)
            if l < L:
                yield time, replace(state, current=l, kept=state.kept | 1 << (l + 1))
        holder = state.holder if state.has_input(l) else l
        yield time, replace(state, holder=holder, inside=inside | 1 << l)
    if inside >> due & 1:
        holder = 0 if state.holder == due else state.holder
        kept, inside = state.kept & ~(1 << due), inside & ~(1 << due)
        yield 0, replace(state, due=due - 1, holder=holder, kept=kept, inside=inside)


def drops_from(state: Memory, layers: int) -> Iterator[Memory]:
    """Every way to drop something before its backward, to shrink an inside to its output, or to keep the current."""
    for l in range(1, state.due + 1):
        if l > 1 and state.kept >> l & 1:
            yield replace(state, kept=state.kept & ~(1 << l))
        if state.inside >> l & 1:
            holder = 0 if state.holder == l else state.holder
            dropped = replace(state, holder=holder, inside=state.inside & ~(1 << l))
            yield dropped
            if l < layers:
                yield replace(dropped, kept=state.kept | 1 << (l + 1))
    if 0 < state.current < layers:
        yield replace(state, kept=state.kept | 1 << (state.current + 1))


def brute_force(chain: Chain, budget: float, *, persistent: bool) -> float:
    """The least forward time by Dijkstra over all that can be in memory: no recurrence, no schedule.

    persistent: nothing is dropped before its backward; otherwise anything but the input may be.
    """
    start = Memory(due=chain.layers)
    best: dict[Memory, float] = {start: 0}
    order = itertools.count()  # so that equal costs never compare states
    queue = [(0.0, next(order), start)]
    while queue:
        cost, _, state = heapq.heappop(queue)
        if state.due == 0:
            return cost
        if best[state] < cost:
            continue
        moves = list(actions_from(state, chain))
        if not persistent:
            moves += [(0, dropped) for dropped in drops_from(state, chain.layers)]
        for time, after in moves:
            fits = after.units(chain) <= budget and after.sound(chain.layers)
            if fits and cost + time < best.get(after, math.inf):
                best[after] = cost + time
                heapq.heappush(queue, (cost + time, next(order), after))
    return math.inf


def least_time(chain: Chain, budget: int) -> int:
    m = budget - int(chain.boundaries[0])
    return int(rotor.unequal_layers(chain, m).time[1, chain.layers][m])


def test_the_heterogeneous_optimum_equals_brute_force() -> None:
    rng, sizes = random.Random(7), []
    for number in range(60):
        layers = 7 if number % 15 == 0 else rng.randint(1, 6)
        chain = random_chain(rng, layers)
        least = int(rotor.least_budget(chain))
        budget = rng.randint(least, least + int(sum(chain.internals)) // 2 + 3)
        assert least_time(chain, budget) == brute_force(chain, budget, persistent=True), (chain, budget)
        assert brute_force(chain, least - 1, persistent=True) == math.inf
        sizes.append(layers)
    assert sizes.count(7) == 4


@pytest.mark.parametrize(
    ("chain", "budget", "persistent", "free"),
    [
        (Chain((2, 1, 5), (1, 3, 3), (7, 9, 5)), 12, 13, 11),
        (Chain.uniform(6, 1, 2), 5, 12, 11),
    ],
)
def test_dropping_what_was_kept_can_be_better(chain: Chain, budget: int, persistent: int, free: int) -> None:
    assert least_time(chain, budget) == brute_force(chain, budget, persistent=True) == persistent
    assert brute_force(chain, budget, persistent=False) == free


def test_where_one_inside_fits_at_a_time_the_optimum_is_revolve() -> None:
    for l in range(1, 21):
        for c in range(1, l + 1):
            internal = c  # two insides and the input need 2 c + 1, and there are c + c
            chain = Chain.uniform(l, 1, internal)
            assert least_time(chain, c + internal) - l == revolve.extra_forwards(l, c)
            assert pareto.least_extra(l, 1, internal, c + internal) == revolve.extra_forwards(l, c)


@given(st.integers(1, 14), st.integers(1, 6), st.integers(1, 12), st.integers(0, 150))
@settings(max_examples=40, deadline=None)
def test_both_tables_agree_on_equal_layers(layers: int, boundary: int, internal: int, more: int) -> None:
    chain, budget = Chain.uniform(layers, boundary, internal), boundary + internal + more
    assert least_time(chain, budget) - layers == pareto.least_extra(layers, boundary, internal, budget)
    plan = rotor.equal_layers(layers, boundary, internal)
    _, extra, _ = played(chain, rotor.optimal(plan, 1, layers, budget - boundary), budget)
    assert extra == pareto.least_extra(layers, boundary, internal, budget)


@given(st.randoms(use_true_random=False), st.integers(1, 12), st.integers(0, 60))
@settings(max_examples=30, deadline=None)
def test_the_optimal_experiment_plays_its_plan(rng: random.Random, layers: int, more: int) -> None:
    chain = random_chain(rng, layers)
    names = {"times": chain.times, "boundaries": chain.boundaries, "internals": chain.internals}
    result = optimal(OptimalParams(**names, budget=int(rotor.least_budget(chain)) + more))  # type: ignore[arg-type]
    assert result.passed
    assert result.extra_time + result.forward_time == least_time(chain, result.params.budget)
    assert (np.diff(result.least_extra_time) < 0).all()
    assert result.least_extra_time[-1] == 0
    assert result.budgets[0] == result.least_budget
