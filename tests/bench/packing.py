"""How fast best-fit-decreasing is: ours for a million lengths, and next to the PyPI package `binpacking`.

    python tests/bench/packing.py [--documents 1000000] [--beside 20000] [--rounds 5]

`binpacking` (to_constant_volume) looks through all its bins for every document, so a million takes it hours: both are
measured in turn at `--beside` lengths, ours alone at `--documents`. TRL's packer joins where `trl` can be imported.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
from binpacking.to_constant_volume import to_constant_volume

from explainers.packing import fast


def lognormal(documents: int, capacity: int) -> np.ndarray:
    """Lengths (documents,) of web text: log l ~ N(5.5, 1), clipped to 1 .. capacity."""
    drawn = np.random.default_rng(0).lognormal(5.5, 1, documents)
    return np.clip(np.rint(drawn), 1, capacity).astype(np.int64)


def ways(lengths: np.ndarray, capacity: int) -> dict[str, Callable[[], int]]:
    """Each packer as a call that returns how many packs it made."""
    listed = lengths.tolist()
    packers: dict[str, Callable[[], int]] = {
        "ours": lambda: int(fast.best_fit_decreasing(lengths, capacity).max()) + 1,
        "binpacking": lambda: len(to_constant_volume(listed, capacity)),
    }
    if importlib.util.find_spec("trl"):
        packers["trl"] = _trl(listed, capacity)
    return packers


def _trl(lengths: list[int], capacity: int) -> Callable[[], int]:
    datasets: Any = importlib.import_module("datasets")
    trl: Any = importlib.import_module("trl")
    rows = datasets.Dataset.from_dict({"input_ids": [[0] * length for length in lengths]})
    return lambda: len(trl.pack_dataset(rows, seq_length=capacity, strategy="bfd"))


def timed(run: Callable[[], int], rounds: int) -> tuple[float, int]:
    """The median of the seconds that a call takes, and what it returned."""
    seconds, packs = [], 0
    for _ in range(rounds):
        start = time.perf_counter()
        packs = run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), packs


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--beside", type=int, default=20_000)
    parser.add_argument("--capacity", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    fast.best_fit_decreasing(np.array([1]), 1)  # compiles

    print(f"best-fit-decreasing, lognormal lengths, capacity {chosen.capacity}")
    print(f"{'':12}{'documents':>12}{'median ms':>12}{'/ ours':>10}{'packs':>12}{'bound':>12}")
    lengths = lognormal(chosen.beside, chosen.capacity)
    found = {name: timed(run, chosen.rounds) for name, run in ways(lengths, chosen.capacity).items()}
    for name, (seconds, packs) in found.items():
        _line(name, lengths, chosen.capacity, seconds, seconds / found["ours"][0], packs)
    lengths = lognormal(chosen.documents, chosen.capacity)
    seconds, packs = timed(ways(lengths, chosen.capacity)["ours"], chosen.rounds)
    _line("ours", lengths, chosen.capacity, seconds, 1.0, packs)


def _line(name: str, lengths: np.ndarray, capacity: int, seconds: float, ratio: float, packs: int) -> None:
    bound = -(-int(lengths.sum()) // capacity)
    print(f"{name:12}{len(lengths):12,}{seconds * 1e3:12.1f}{ratio:10.2f}{packs:12,}{bound:12,}")


if __name__ == "__main__":
    main()
