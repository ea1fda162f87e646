"""The optimal schedule under a budget, against search by brute force, and against the least that theory allows."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Generator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explainers.checkpointing import pareto, revolve, rotor
from explainers.checkpointing.chain import Chain
from explainers.checkpointing.optimal import OptimalParams, optimal
from tests.checkpointing.runs import drawn_chain, played

# ------------------------------------------------------------------------------------------- the optimum


def brute_force(chain: Chain, budget: float, *, persistent: bool) -> float:
    """The least forward time by Dijkstra over all that can be in memory: no recurrence, no schedule.

    A state: the layer whose backward is due, the activation at hand, the taped layer that holds it, and the sets of
    kept boundaries and internal activations (bit l for layer l). persistent: nothing is dropped before its backward;
    otherwise anything but the input may be, an inside may shrink to its output, and what is at hand may be kept.
    """
    L = chain.layers
    u, B, I = ((0, *numbers) for numbers in (chain.times, chain.boundaries, chain.internals))
    start = (L, 0, 0, 1 << 1, 0)
    best: dict[tuple[int, ...], float] = {start: 0}
    queue: list[tuple[float, tuple[int, ...]]] = [(0, start)]

    def memory(kept: int, inside: int) -> float:
        return sum(B[l] * (kept >> l & 1) + I[l] * (inside >> l & 1) for l in range(1, L + 1))

    def moves(
        due: int, hand: int, holder: int, kept: int, inside: int
    ) -> Generator[tuple[float, tuple[int, ...]]]:
        for l in range(1, due + 1):
            stored = kept >> l & 1 or (l > 1 and inside >> (l - 1) & 1)
            if stored or hand == l - 1:
                if not holder:
                    yield u[l], (due, l, 0, kept, inside)
                    if l < L:
                        yield u[l], (due, l, 0, kept | 1 << (l + 1), inside)
                yield u[l], (due, hand, holder if stored else l, kept, inside | 1 << l)
            if persistent:
                continue
            freed = 0 if holder == l else holder
            if l > 1 and kept >> l & 1:
                yield 0, (due, hand, holder, kept & ~(1 << l), inside)
            if inside >> l & 1:
                yield 0, (due, hand, freed, kept, inside & ~(1 << l))
                if l < L:
                    yield 0, (due, hand, freed, kept | 1 << (l + 1), inside & ~(1 << l))
        if not persistent and 0 < hand < L:
            yield 0, (due, hand, holder, kept | 1 << (hand + 1), inside)
        if inside >> due & 1:
            bit = 1 << due
            yield 0, (due - 1, hand, 0 if holder == due else holder, kept & ~bit, inside & ~bit)

    def sound(holder: int, kept: int, inside: int) -> bool:
        """Every taped layer's input is kept, lies in the inside of the layer before, or is held at hand."""
        taped = (l for l in range(1, L + 1) if inside >> l & 1)
        return all(holder == l or kept >> l & 1 or inside >> (l - 1) & 1 for l in taped)

    while queue:
        cost, state = heapq.heappop(queue)
        if state[0] == 0:
            return cost
        if best[state] < cost:
            continue
        for time_, after in moves(*state):
            if (
                memory(*after[3:]) <= budget
                and sound(*after[2:])
                and cost + time_ < best.get(after, math.inf)
            ):
                best[after] = cost + time_
                heapq.heappush(queue, (cost + time_, after))
    return math.inf


def least_time(chain: Chain, budget: int) -> int:
    m = budget - int(chain.boundaries[0])
    return int(rotor.unequal_layers(chain, m).time[1, chain.layers][m])


def test_the_heterogeneous_optimum_equals_brute_force() -> None:
    rng, sizes = random.Random(7), []
    for number in range(60):
        layers = 7 if number % 15 == 0 else rng.randint(1, 6)
        chain = drawn_chain(rng, layers)
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
    chain = drawn_chain(rng, layers)
    names = {"times": chain.times, "boundaries": chain.boundaries, "internals": chain.internals}
    result = optimal(OptimalParams(**names, budget=int(rotor.least_budget(chain)) + more))  # type: ignore[arg-type]
    assert result.passed
    assert result.extra_time + result.forward_time == least_time(chain, result.params.budget)
    assert (np.diff(result.least_extra_time) < 0).all()
    assert result.least_extra_time[-1] == 0
    assert result.budgets[0] == result.least_budget
