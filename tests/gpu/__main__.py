"""Everything that a GPU is needed for, in one go: python -m tests.gpu [--whole] [--json FILE]

First the benchmark, then the tests of correctness: a selection in about a minute, or with --whole all of them in about
five. Needs torch, triton, pytest and hypothesis, and nothing else of requirements.txt. With pytest-xdist the tests run
in 15 processes, since most of their time goes into compiling. Without a GPU, python -m tests.kernels.ahead_of_time
rehearses the compiling.
"""

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

# Ragged shapes, and each kind of launch.
SELECTION = "1023 or log_sum_exp or tuned or varlen or trace or cache or captured or mla_follows"
PROCESSES = 15


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0 if the benchmark ran and every test passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description="Measure and test on a GPU.")
    parser.add_argument("--whole", action="store_true", help="every test, not a selection")
    parser.add_argument("--json", type=Path, default=Path("measured.json"), help="default: measured.json")
    options = parser.parse_args(arguments)
    measured = subprocess.run(
        [sys.executable, "-m", "kernels.bench", "--json", str(options.json)], check=False
    )
    pytest = [sys.executable, "-m", "pytest", "tests/gpu", "--tb=line", "-p", "no:cacheprovider"]
    if not options.whole:
        pytest += ["-k", SELECTION]
    if importlib.util.find_spec("xdist"):
        pytest += ["-n", str(PROCESSES)]
    return max(measured.returncode, subprocess.run(pytest, check=False).returncode)


if __name__ == "__main__":
    sys.exit(main())
