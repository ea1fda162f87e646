"""Schedules that cut the chain into segments and recompute what was dropped, segment by segment.

none, every k, sqrt(L) (Chen, Xu, Zhang and Guestrin 2016, section 4), full recomputation, one level of recursion
(the same section), and boundaries picked by hand. As in torch.utils.checkpoint, the last segment is dropped and
recomputed like the others, so a chain in segments runs every layer twice; only torch's checkpoint_sequential keeps
the last segment. See `revolve` and `rotor` for schedules that recompute no more than they must.

Each schedule is a generator of Actions. Its peak in closed form is below.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence

from explainers.checkpointing.chain import Action


def keep_all(layers: int) -> Generator[Action, None, None]:
    """No checkpointing: the internal activations of all layers are kept, and no layer runs twice."""
    for l in range(1, layers + 1):
        yield Action("tape", l)
    for l in range(layers, 0, -1):
        yield Action("backward", l)


def in_segments(first: int, last: int, *levels: Sequence[int]) -> Generator[Action, None, None]:
    """Layers first .. last in segments: keep the segments' inputs, then recompute each segment and go backward.

    levels: the layers at which segments start; a second level cuts each segment once more, and so on.
    """
    starts = [first] + [start for start in levels[0] if first < start <= last]
    ends = [start - 1 for start in starts[1:]] + [last]

    # forward: keep x at the ends of all segments but the last
    for l in range(first, last + 1):
        yield Action("checkpoint" if l in ends[:-1] else "forward", l)

    # backward: segment by segment, the last one first
    for start, end in zip(reversed(starts), reversed(ends), strict=True):
        if levels[1:]:
            yield from in_segments(start, end, *levels[1:])
            continue
        for l in range(start, end + 1):
            yield Action("tape", l)
        for l in range(end, start - 1, -1):
            yield Action("backward", l)


def every(k: int, first: int, last: int) -> tuple[int, ...]:
    """The first layers of segments of k, counted from the end: where k does not divide, the first segment is short.

    So the last segment, which is recomputed while all boundaries are in memory, always has k layers, and the peak is
    exactly ceil(L / k) boundaries plus the internal activations of k layers.
    """
    return (first, *sorted(range(last - k + 1, first, -k)))


def sqrt_length(layers: int) -> int:
    """k = sqrt(L), rounded to the nearest whole number."""
    return round(math.sqrt(layers))


def chen_length(layers: int) -> int:
    """Layers of the inner segments, k = cbrt(L) rounded; the outer segments have k^2 layers."""
    return round(math.cbrt(layers))


def chen_levels(layers: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where the outer segments start, and where the inner ones do."""
    k = chen_length(layers)
    outer = every(k * k, 1, layers)
    ends = [*(start - 1 for start in outer[1:]), layers]
    inner = [start for first, last in zip(outer, ends, strict=True) for start in every(k, first, last)]
    return outer, tuple(inner)


# ------------------------------------------------------------------------------------------- peaks, in units


def none_peak(layers: int, boundary: float, internal: float) -> float:
    """B + L I: the input, and the internal activations of all layers."""
    return boundary + layers * internal


def every_k_peak(layers: int, k: int, boundary: float, internal: float) -> float:
    """ceil(L / k) B + k I: all boundaries, and the internal activations of one segment."""
    return math.ceil(layers / k) * boundary + k * internal


def chen_peak(layers: int, boundary: float, internal: float) -> float:
    """(ceil(L / k^2) + k - 1) B + k I: outer boundaries, those inside one outer segment, and one inner segment."""
    k = chen_length(layers)
    return (math.ceil(layers / k**2) + k - 1) * boundary + k * internal


def custom_peak(layers: int, starts: Sequence[int], boundary: float, internal: float) -> float:
    """max over segments s of s B + (its layers) I: when segment s goes backward, the boundaries after it are gone."""
    ends = [*(start - 1 for start in starts[1:]), layers]
    sizes = [end - start + 1 for start, end in zip(starts, ends, strict=True)]
    return max(number * boundary + size * internal for number, size in enumerate(sizes, 1))
