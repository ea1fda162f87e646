"""Rotor: the least time within a memory budget, by dynamic programming over parts of the chain.

Source: Beaumont, Eyraud-Dubois, Herrmann, Joly and Shilova 2019, "Optimal checkpointing for heterogeneous chains",
theorem 1, without backward times, gradients and overheads (they are the same in every schedule). C(s, t, m) is the
least forward time to take layers s .. t forward and backward in memory m, given x_{s-1}, which is not charged to m:

    C(s, t, m) = min of
      tape        u_s + C(s + 1, t, m - I_s)                                      keep the inside of layer s
      checkpoint  u_s + .. + u_{j-1} + C(j, t, m - B_j) + C(s, j - 1, m)          keep the input of layer j
      hand        u_s + .. + u_t + C(s, j - 1, m)   where I_j + .. + I_t <= m     keep the inside of j .. t

u, B, I: time, boundary and internal activations of a layer; j runs from s + 1 to t. The last line is not in the paper,
which charges the input of the layer in backward like any other; here it is the current activation (see `chain`).

As in the paper, the optimum is among persistent schedules: what is kept stays until its layer's backward. A schedule
that drops what it has kept for something smaller can be better: tests/checkpointing/test_optimal.py has two such
chains.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from explainers.checkpointing.chain import Action, Chain
from explainers.contract.messages import Message

PERSISTENT = Message(
    "It is the best of those schedules in which whatever is kept stays until its layer goes backward."
)

NEVER = 2**28  # the cost of what does not fit; two of them plus a time still fit into int32


class Plan(Protocol):
    """What to do first with layers s .. t in memory m: how, and the layer j of the recurrence (s for "tape")."""

    def decide(self, s: int, t: int, m: int) -> tuple[Literal["tape", "checkpoint", "hand"], int]: ...

    def internal(self, layer: int) -> int: ...

    def boundary(self, layer: int) -> int: ...


def optimal(plan: Plan, s: int, t: int, m: int) -> Generator[Action, None, None]:
    """The schedule of a plan for layers s .. t in memory m, which does not count the input of s."""
    while s <= t:
        choice, j = plan.decide(s, t, m)
        if choice == "tape":
            # u_s + C(s + 1, t, m - I_s)
            yield Action("tape", s)
            yield from optimal(plan, s + 1, t, m - plan.internal(s))
            yield Action("backward", s)
            return
        for l in range(s, j - 1):
            yield Action("forward", l)
        if choice == "checkpoint":
            # C(j, t, m - B_j)
            yield Action("checkpoint", j - 1)
            yield from optimal(plan, j, t, m - plan.boundary(j))
        else:
            # I_j + .. + I_t
            yield Action("forward", j - 1)
            for l in range(j, t + 1):
                yield Action("tape", l)
            for l in range(t, j - 1, -1):
                yield Action("backward", l)
        # C(s, j - 1, m)
        t = j - 1


# ------------------------------------------------------------------------------------------- equal layers


@dataclass(frozen=True, eq=False)
class EqualLayers:
    """The table for equal layers, where only the length n of a part of the chain matters.

    extra: (L + 1, M + 1), extra forwards T(n, m) = C - n of n layers in memory m; NEVER where they do not fit.
    From m = n I on, everything is kept and no layer runs twice.
    """

    extra: np.ndarray
    boundary_size: int
    internal_size: int

    def decide(self, s: int, t: int, m: int) -> tuple[Literal["tape", "checkpoint", "hand"], int]:
        n, m = t - s + 1, min(m, self.extra.shape[1] - 1)
        if m >= self.internal_size and self.extra[n - 1, m - self.internal_size] == self.extra[n, m]:
            return "tape", s
        j = np.arange(1, n)
        if m >= self.boundary_size:
            costs = j + self.extra[n - j, m - self.boundary_size] + self.extra[j, m]
            if costs.min() == self.extra[n, m]:
                return "checkpoint", s + int(j[costs.argmin()])
        costs = np.where((n - j) * self.internal_size <= m, j + self.extra[j, m], NEVER)
        return "hand", s + int(j[costs.argmin()])

    def internal(self, layer: int) -> int:
        return self.internal_size

    def boundary(self, layer: int) -> int:
        return self.boundary_size


@functools.lru_cache(maxsize=4)
def equal_layers(layers: int, boundary: int, internal: int) -> EqualLayers:
    """The table for up to `layers` equal layers and every memory up to the one in which all of them are kept."""
    largest = layers * internal
    T = np.full((layers + 1, largest + 1), NEVER, np.int32)
    T[0] = 0
    T[1, internal:] = 0
    for n in range(2, layers + 1):
        enough = n * internal  # with this memory or more, no layer runs twice
        best = np.full(enough, NEVER, np.int32)

        # T(n, m) = T(n - 1, m - I)
        best[internal:] = T[n - 1, : enough - internal]

        # T(n, m) = j + T(n - j, m - B) + T(j, m)
        j = np.arange(1, n, dtype=np.int32)[:, None]
        costs = j + T[1:n, :enough]
        if boundary < enough:
            split = costs[:, boundary:] + T[n - 1 : 0 : -1, : enough - boundary]
            np.minimum(best[boundary:], split.min(0), out=best[boundary:])

        # T(n, m) = j + T(j, m), where (n - j) I <= m: m in [q I, (q + 1) I) keeps the inside of up to q layers
        for kept in range(1, n):
            part = slice(kept * internal, (kept + 1) * internal)
            np.minimum(best[part], costs[n - kept - 1 :, part].min(0), out=best[part])

        T[n, :enough] = np.minimum(best, NEVER)
        T[n, enough:] = 0
    return EqualLayers(T, boundary, internal)


# ----------------------------------------------------------------------------------------- unequal layers


@dataclass(frozen=True, eq=False)
class UnequalLayers:
    """The table for any chain. time: (s, t) -> C(s, t, m) for m = 0 .. M, in the chain's unit of time."""

    chain: Chain
    time: dict[tuple[int, int], np.ndarray]

    def decide(self, s: int, t: int, m: int) -> tuple[Literal["tape", "checkpoint", "hand"], int]:
        options = candidates(self.chain, self.time, s, t)
        return min(options, key=lambda option: options[option][m])

    def internal(self, layer: int) -> int:
        return int(self.chain.internals[layer - 1])

    def boundary(self, layer: int) -> int:
        return int(self.chain.boundaries[layer - 1])


def unequal_layers(chain: Chain, memory: int) -> UnequalLayers:
    """The table for every memory from 0 to `memory`, without the input of the chain. Costs must be whole numbers."""
    L = chain.layers
    # a part without layers takes no time
    time = {(s, s - 1): np.zeros(memory + 1, np.int64) for s in range(1, L + 2)}
    for n in range(1, L + 1):
        for s in range(1, L - n + 2):
            options = candidates(chain, time, s, s + n - 1)
            time[s, s + n - 1] = np.minimum(np.min(list(options.values()), 0), NEVER)
    return UnequalLayers(chain, time)


def candidates(
    chain: Chain, time: dict[tuple[int, int], np.ndarray], s: int, t: int
) -> dict[tuple[Literal["tape", "checkpoint", "hand"], int], np.ndarray]:
    """The lines of the recurrence for C(s, t, m), each for m = 0 .. M."""
    u, B, I = chain.times, chain.boundaries, chain.internals
    forward_time = [0, *itertools.accumulate(u[s - 1 : t])]  # [n]: u_s + .. + u_{s+n-1}

    # u_s + C(s + 1, t, m - I_s)
    options = {("tape", s): u[s - 1] + in_less(time[s + 1, t], I[s - 1])}
    for j in range(s + 1, t + 1):
        # u_s + .. + u_{j-1} + C(j, t, m - B_j) + C(s, j - 1, m)
        options["checkpoint", j] = forward_time[j - s] + in_less(time[j, t], B[j - 1]) + time[s, j - 1]
        # u_s + .. + u_t + C(s, j - 1, m), where I_j + .. + I_t <= m
        fits = np.arange(len(time[s, j - 1])) >= sum(I[j - 1 : t])
        options["hand", j] = np.where(fits, forward_time[-1] + time[s, j - 1], NEVER)
    return options  # type: ignore[return-value]


def in_less(cost: np.ndarray, taken: float) -> np.ndarray:
    """cost(m - taken) for m = 0 .. M; NEVER where that is below zero."""
    moved = np.full_like(cost, NEVER)
    if taken < len(cost):
        moved[int(taken) :] = cost[: len(cost) - int(taken)]
    return moved


def least_budget(chain: Chain) -> float:
    """B_1 + max I: the input stays to the end, and each layer's internal activations must fit in once."""
    return chain.boundaries[0] + max(chain.internals)
