"""The step at which a picture opens: chosen from the run, so that something has just happened and nothing is over."""

from __future__ import annotations

import numpy as np

FEWEST = 10  # steps of which a picture shows something; a short run has fewer


def half_way(curve: np.ndarray, log: bool = False) -> int:
    """The first step after which a curve has gone half of its way, but at least FEWEST steps or a third of the run.

    curve: (steps + 1,) from the start on. log: whether the way is counted in decades. What is not finite is left out.
    """
    steps = len(curve) - 1
    first = min(FEWEST, -(-steps // 3))
    with np.errstate(all="ignore"):
        height = np.log(np.abs(curve)) if log else np.asarray(curve, float)
    known = np.flatnonzero(np.isfinite(height))
    if len(known) < 2:
        return first - 1
    begin, end = height[known[0]], height[known[-1]]
    gone = np.abs(height[known] - begin) >= np.abs(end - begin) / 2
    return max(int(known[int(np.argmax(gone))]), first) - 1
