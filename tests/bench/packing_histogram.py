"""How the histogram packers compare on one histogram: packs, efficiency and time of each.

    python tests/bench/packing_histogram.py [--histogram FILE] [--depth 3] [--rounds 5]

Without a file: Wikipedia's lengths for BERT (Krell et al. 2021), where the project's shared data are present, else the
built-in lognormal lengths. Least squares, which takes half a minute, runs once.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from explainers.packing.histogram import lower_bound
from explainers.packing.histogram_packing import (
    linear_plan,
    linear_program,
    longest_pack_first,
    nnls,
    number_of,
    shortest_pack_first,
)
from explainers.packing.histogram_params import built_in, read_histogram

WIKIPEDIA = Path(__file__).parents[3] / "shared" / "data" / "wikipedia_bert_512.json"
PACKERS = {"lpfhp": longest_pack_first, "spfhp": shortest_pack_first, "nnlshp": nnls, "lp": linear_program}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--histogram", type=Path, default=WIKIPEDIA)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    known = chosen.histogram.is_file()
    lengths = read_histogram(chosen.histogram.read_text(encoding="utf-8")) if known else built_in()
    least = lower_bound(lengths, chosen.depth)
    plan = linear_plan(lengths.counts, lengths.capacity, chosen.depth)

    print(
        f"{lengths.sequences:,} sequences, capacity {lengths.capacity}, depth {chosen.depth or 'unlimited'}; "
        f"at least {least:,} packs, relaxation {plan.packs:,.1f}, proven {plan.bound:,.1f}"
    )
    print(f"{'':8}{'packs':>14}{'efficiency':>12}{'median s':>10}")
    for name, packer in PACKERS.items():
        seconds = []
        packs = 0
        for _ in range(1 if name == "nnlshp" else chosen.rounds):
            start = time.perf_counter()
            packs = number_of(packer(lengths.counts, lengths.capacity, chosen.depth))
            seconds.append(time.perf_counter() - start)
        efficiency = lengths.tokens / (packs * lengths.capacity)
        print(f"{name:8}{packs:14,}{efficiency:12.3%}{statistics.median(seconds):10.3f}")


if __name__ == "__main__":
    main()
