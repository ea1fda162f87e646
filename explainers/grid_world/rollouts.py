"""Sampled episodes from every state and action at once, which estimate the returns of a policy for MC Basic."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from explainers.grid_world.world import Moves


def returns_of(moves: Moves, length: int, episodes: int, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function from chosen (states,) to the mean return of `episodes` episodes of `length` steps: (states, actions).

    An episode starts with a state and an action, then takes chosen[s]. Every policy sees the same random draws.
    """
    states, actions = len(moves.to), len(moves.mix)
    reaching = moves.mix.cumsum(axis=1)

    def rollout(chosen: np.ndarray) -> np.ndarray:
        generator = np.random.default_rng(seed)
        s = np.tile(np.arange(states)[:, None], (episodes, 1, actions))
        a = np.tile(np.arange(actions), (episodes, states, 1))
        G, discount = np.zeros(s.shape), np.ones(s.shape)
        for _ in range(length):
            m = (generator.random(s.shape)[..., None] >= reaching[a]).sum(axis=-1)
            # G = r_1 + gamma r_2 + gamma^2 r_3 + ..
            G += discount * moves.reward[s, m]
            discount *= moves.gamma * ~moves.ends[s, m]
            s = moves.to[s, m]
            a = chosen[s]
        return G.mean(axis=0)

    return rollout
