"""How fast agents learn and worlds are solved here, next to Gymnasium, quantecon and pymdptoolbox, in one run.

    python tests/bench/grid_world.py [--side 1000]

All are warm, and the construction of the models is apart. Gymnasium's loop is Q-learning as its tutorials write it, on
FrozenLake 4 x 4, with a NumPy table and with Python lists; ours learns the same world with the same settings.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import gymnasium
import mdptoolbox.mdp
import numpy as np
from quantecon.markov import DiscreteDP
from scipy.sparse import csr_array, csr_matrix, vstack

from explainers.grid_world import compiled, exact
from explainers.grid_world.compiled_plan import solve_large
from explainers.grid_world.learn_params import OneAgentParams
from explainers.grid_world.learning import NO_LENGTHS, NO_RETURNS, newborn, phase_of
from explainers.grid_world.race import RaceParams, race
from explainers.grid_world.world import FLOOR, FORBIDDEN, TARGET, WALL, World

ALPHA, EPSILON, GAMMA = 0.1, 0.1, 0.99
OURS, THEIRS = 5_000_000, 30_000  # transitions


def seconds(run: Callable[[], Any], rounds: int = 3) -> float:
    """The least of several times."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        taken.append(time.perf_counter() - began)
    return min(taken)


# --------------------------------------------------------------------------------------------------- learning


def ours() -> float:
    """Agent-steps a second of compiled Q-learning on the ice, one agent on each core."""
    params = OneAgentParams(preset="frozen_lake_4x4", alpha=ALPHA, epsilon=EPSILON, gamma=GAMMA)
    phase, cores = phase_of(params), os.cpu_count() or 1
    agents = [newborn(phase, params, seed) for seed in range(cores)]

    def one(memory: Any) -> int:
        table, rules = phase.table, phase.rules
        return compiled.live(table, rules, memory, OURS, NO_RETURNS, NO_LENGTHS, compiled.no_record())

    with ThreadPoolExecutor(cores) as pool:
        return cores * OURS / seconds(lambda: list(pool.map(one, agents)))


def with_numpy() -> None:
    """Gymnasium's loop, as its tutorials write it."""
    env, dice = gymnasium.make("FrozenLake-v1", is_slippery=True), np.random.default_rng(0)
    q = np.zeros((16, 4))
    s, _ = env.reset(seed=0)
    for _ in range(THEIRS):
        a = (
            int(dice.integers(4))
            if dice.random() < EPSILON
            else int(dice.choice(np.flatnonzero(q[s] == q[s].max())))
        )
        s2, r, ended, cut, _ = env.step(a)
        q[s, a] += ALPHA * (float(r) + GAMMA * (not ended) * q[s2].max() - q[s, a])
        s = env.reset()[0] if ended or cut else s2


def with_lists() -> None:
    """The same with Python lists, which are faster for single numbers."""
    env, dice = gymnasium.make("FrozenLake-v1", is_slippery=True).unwrapped, random.Random(0)
    q = [[0.0] * 4 for _ in range(16)]
    s, steps = env.reset(seed=0)[0], 0
    for _ in range(THEIRS):
        row = q[s]
        best = max(row)
        a = (
            dice.randrange(4)
            if dice.random() < EPSILON
            else dice.choice([k for k in range(4) if row[k] == best])
        )
        s2, r, ended, _, _ = env.step(a)
        row[a] += ALPHA * (float(r) + (0.0 if ended else GAMMA * max(q[s2])) - row[a])
        steps = 0 if ended else steps + 1
        s = env.reset()[0] if ended or steps >= 100 else s2


# --------------------------------------------------------------------------------------------------- planning


def slippery(side: int) -> World:
    """A random world with a tenth of walls, slip 0.2 and gamma 0.99; the target in the far corner."""
    drawn = np.random.default_rng(0).random((side, side))
    cells = np.select([drawn < 0.1, drawn < 0.15], [WALL, FORBIDDEN], FLOOR).astype(np.uint8)
    cells[0, 0], cells[-1, -1] = FLOOR, TARGET
    return World(cells, 0, slip=0.2, gamma=0.99, actions="four", target="end")


def sparse_model(world: World) -> tuple[np.ndarray, list[csr_array]]:
    """R (states, actions) and for each action P (states, states); ends lead to a state of their own."""
    moves, states = world.moves, world.states
    R = np.vstack([moves.reward @ moves.mix.T, np.zeros(len(moves.mix))])
    after = np.where(moves.ends, states, moves.to)
    row = np.repeat(np.arange(states + 1), moves.to.shape[1])
    column = np.vstack([after, np.full((1, after.shape[1]), states)]).ravel()
    P = []
    for odds in moves.mix:
        likely = np.tile(odds, states + 1)
        P.append(csr_array((likely, (row, column)), shape=(states + 1, states + 1)))
    return R, P


def with_quantecon(world: World) -> tuple[float, float]:
    """Seconds of modified policy iteration, and its error."""
    R, P = sparse_model(world)
    states, actions = R.shape
    order = np.arange(states * actions).reshape(actions, states).T.ravel()
    Q = csr_matrix(vstack(P))[order]
    pairs = np.repeat(np.arange(states), actions), np.tile(np.arange(actions), states)
    ddp = DiscreteDP(R.ravel(), Q, world.gamma, *pairs)

    def solve() -> Any:
        return ddp.solve(method="modified_policy_iteration", epsilon=1e-6, k=20)

    return seconds(solve), float(np.abs(solve().v[:-1] - exact.optimal(world).values).max())


def with_pymdptoolbox(world: World) -> tuple[float, float]:
    """Seconds of value iteration till it stops, and its error."""
    R, P = sparse_model(world)
    matrices = [csr_matrix(p) for p in P]

    def solve() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = mdptoolbox.mdp.ValueIteration(matrices, R, world.gamma, epsilon=1e-6, max_iter=100_000)
            found.run()
        return found

    taken = seconds(solve, 1)
    return taken, float(np.abs(np.array(solve().V)[:-1] - exact.optimal(world).values).max())


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--side", type=int, default=1000, help="of the large world")
    side = parser.parse_args().side
    compiled.wait()
    speed = ours()
    print(
        f"compiled Q-learning, {os.cpu_count()} cores: {speed / 1e6:.1f} M agent-steps a second (asked: 20)"
    )
    for name, loop in (("a NumPy table", with_numpy), ("Python lists", with_lists)):
        theirs = THEIRS / seconds(loop, 1)
        times = f"ours is {speed / theirs:,.0f} times as fast (asked: 100)"
        print(f"Gymnasium's FrozenLake with {name}: {theirs / 1e6:.3f} M; {times}")
    race(RaceParams(seeds=2, episodes=2))
    taken = seconds(lambda: race(RaceParams(algorithms=("q_learning",), seeds=1000, episodes=500)), 2)
    print(f"1000 seeds x 500 episodes on the cliff: {taken:.2f} s with the greedy episodes (asked: 3)")
    hundred = slippery(100)
    solve_large(hundred)
    own = seconds(lambda: solve_large(hundred))
    print(f"v* of 100 x 100 to 1e-6, proven: {own:.3f} s")
    rivals = {
        "quantecon, modified policy iteration": with_quantecon,
        "pymdptoolbox, value iteration": with_pymdptoolbox,
    }
    for name, rival in rivals.items():
        taken, error = rival(hundred)
        faster = "ours" if taken > own else "theirs"
        ratio = max(taken, own) / min(taken, own)
        print(f"{name}: {taken:.3f} s, error {error:.1e}: {faster} is {ratio:.1f} times as fast")
    large = slippery(side)
    _ = large.moves
    began = time.perf_counter()
    _, bound = solve_large(large)
    print(
        f"v* of {side} x {side}: {time.perf_counter() - began:.1f} s, proven to {bound:.1e} (asked: 15 s at side 1000)"
    )


if __name__ == "__main__":
    main()
