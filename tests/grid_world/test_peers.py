"""The grid world compared with other libraries: Gymnasium's tables, quantecon's and pymdptoolbox's planners."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import mdptoolbox.mdp
import numpy as np
import pytest
from hypothesis import given, settings
from quantecon.markov import DiscreteDP

from explainers.grid_world import exact
from explainers.grid_world.compiled_plan import solve_large
from explainers.grid_world.world import Moves
from explainers.grid_world.world_params import WorldParams
from tests.grid_world.worlds import worlds

# Gymnasium's actions are left, down, right, up; of the cliff up, right, down, left. Ours are up, right, down, left.
OF_THE_LAKE = (3, 2, 1, 0)
OF_THE_CLIFF = (0, 1, 2, 3)


def transitions(moves: Moves, s: int, a: int) -> dict[tuple[int, float, bool], float]:
    """(state, reward, ended) -> probability."""
    found: dict[tuple[int, float, bool], float] = {}
    for m in np.flatnonzero(moves.mix[a]):
        key = (int(moves.to[s, m]), float(moves.reward[s, m]), bool(moves.ends[s, m]))
        found[key] = found.get(key, 0.0) + float(moves.mix[a, m])
    return found


def of_gymnasium(entries: list[tuple[float, int, float, bool]]) -> dict[tuple[int, float, bool], float]:
    found: dict[tuple[int, float, bool], float] = {}
    for probability, to, reward, ended in entries:
        key = (int(to), float(reward), bool(ended))
        found[key] = found.get(key, 0.0) + probability
    return found


@pytest.mark.parametrize("side", [4, 8])
def test_the_table_of_the_frozen_lake_is_gymnasiums(side: int) -> None:
    table = gymnasium.make("FrozenLake-v1", map_name=f"{side}x{side}", is_slippery=True).unwrapped.P  # type: ignore[attr-defined]
    world = WorldParams(preset=f"frozen_lake_{side}x{side}").grid  # type: ignore[arg-type]
    for s in range(side * side):
        for ours, theirs in enumerate(OF_THE_LAKE):
            assert_same(transitions(world.moves, s, ours), of_gymnasium(table[s][theirs]))


def test_the_cliff_is_gymnasiums() -> None:
    table = gymnasium.make("CliffWalking-v1").unwrapped.P  # type: ignore[attr-defined]
    world = WorldParams(preset="cliff").grid
    for s in np.flatnonzero(world.acting):
        for ours, theirs in enumerate(OF_THE_CLIFF):
            assert_same(transitions(world.moves, int(s), ours), of_gymnasium(table[int(s)][theirs]))


def assert_same(ours: dict[Any, float], theirs: dict[Any, float]) -> None:
    assert ours.keys() == theirs.keys()
    for key, probability in ours.items():
        assert probability == pytest.approx(theirs[key])


def model(moves: Moves) -> tuple[np.ndarray, np.ndarray]:
    """(R, P): rewards (states, actions), probabilities (states, actions, states); the end is one more state."""
    states, actions = len(moves.to), len(moves.mix)
    P, R = np.zeros((states + 1, actions, states + 1)), np.zeros((states + 1, actions))
    P[states, :, states] = 1
    for s, a, m in np.ndindex(states, *moves.mix.shape):
        P[s, a, states if moves.ends[s, m] else moves.to[s, m]] += moves.mix[a, m]
        R[s, a] += moves.mix[a, m] * moves.reward[s, m]
    return R, P


@given(worlds())
@settings(max_examples=25, deadline=None)
def test_values_of_quantecon_and_pymdptoolbox(params: WorldParams) -> None:
    ours = exact.optimal(params.grid).values
    R, P = model(params.grid.moves)
    theirs = DiscreteDP(R, P, params.gamma).solve(method="policy_iteration").v[:-1]
    size = 1 + np.abs(ours).max()
    np.testing.assert_allclose(ours, theirs, atol=1e-8 * size)
    if params.gamma > 0:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            toolbox = mdptoolbox.mdp.PolicyIteration(P.transpose(1, 0, 2), R, params.gamma)
            toolbox.run()
        np.testing.assert_allclose(ours, np.array(toolbox.V)[:-1], atol=1e-8 * size)


def test_pymdptoolboxs_value_iteration_stops_early() -> None:
    """Its stopping rule bounds the policy, not the values, which are off by 2.39 on its own example (its issue 39)."""
    P, R = (
        np.array([[[0.5, 0.5], [0.8, 0.2]], [[0.0, 1.0], [0.1, 0.9]]]),
        np.array([[5.0, 10.0], [-1.0, 2.0]]),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        toolbox = mdptoolbox.mdp.ValueIteration(P, R, 0.9)
        toolbox.run()
    right = DiscreteDP(R, P.transpose(1, 0, 2), 0.9).solve(method="policy_iteration").v
    assert np.abs(np.array(toolbox.V) - right).max() == pytest.approx(2.39, abs=0.01)


@given(worlds(gamma=0.99))
@settings(max_examples=25, deadline=None)
def test_sweeps_of_large_worlds_keep_their_bound(params: WorldParams) -> None:
    values, bound = solve_large(params.grid)
    assert bound <= 1e-6
    assert np.abs(values - exact.optimal(params.grid).values).max() <= bound + 1e-9


@pytest.mark.parametrize("actions", ["two", "five", "nine"])
def test_a_world_of_many_cells_is_solved_with_all_sets_of_actions(actions: str) -> None:
    world = WorldParams.model_validate(
        {"world": "S29./" + 28 * "30./" + "29.T", "slip": 0.2, "gamma": 0.99, "actions": actions}
    ).grid
    values, bound = solve_large(world)
    assert bound <= 1e-6
    assert np.abs(values - exact.optimal(world).values).max() <= bound + 1e-9


def test_without_a_discount_no_residual_bounds_the_error() -> None:
    with pytest.raises(ValueError, match="discount"):
        solve_large(WorldParams(preset="cliff").grid)
