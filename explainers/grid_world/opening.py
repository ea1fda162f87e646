"""The transition at which the picture of a live run opens: something is learned, and more is about to be."""

from __future__ import annotations

import numpy as np

from explainers.grid_world.learning import Chunk, believed

FEWEST = 4  # estimates that have changed, of which a picture shows something


def opening(chunk: Chunk) -> int:
    """The transition before the first positive reward, if enough estimates have changed by then.

    Else the first transition by which enough have, after that reward or, where none is positive, after the first end of
    an episode; where it never comes, the one by which most have changed. Where nothing is learned, after a fifth of the
    chunk, which shows where the agent went.
    """
    changed = estimates_changed(chunk)
    if not changed[-1]:
        return len(changed) // 5
    gained = np.flatnonzero(chunk.reward > 0)
    if len(gained) and gained[0] and changed[gained[0] - 1] >= FEWEST:
        return int(gained[0]) - 1
    ended = np.flatnonzero(chunk.end == 1)
    begun = gained if len(gained) else ended
    first = int(begun[0]) if len(begun) else 0
    enough = min(FEWEST, int(changed[-1]))
    return max(first, int(np.argmax(changed >= enough)))


def estimates_changed(chunk: Chunk) -> np.ndarray:
    """(n,) how many estimates have had another value than before the chunk, after each transition."""
    before = believed(chunk.before.memory).ravel()
    moved = np.flatnonzero(chunk.values != before[chunk.positions])
    _, firsts = np.unique(chunk.positions[moved], return_index=True)
    first_changes = np.sort(moved[firsts])
    return np.searchsorted(first_changes, chunk.starts[1:], side="left")
