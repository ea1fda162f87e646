"""How long the noisy root takes: `python -m tests.bench.stochastic_approximation`."""

from __future__ import annotations

import statistics
import time

from explainers.stochastic_approximation.robbins_monro import robbins_monro
from explainers.stochastic_approximation.robbins_monro_params import RobbinsMonroParams
from explainers.stochastic_approximation.walks import Problem, run, walk

TIMES = 5
BUDGET = 2.0


def seconds(params: RobbinsMonroParams) -> float:
    """The median of some runs, after a first."""
    robbins_monro(params)
    taken = []
    for _ in range(TIMES):
        began = time.perf_counter()
        robbins_monro(params)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def main() -> None:
    params = RobbinsMonroParams(function="cubic", seeds=100_000, steps=200)
    taken = seconds(params)
    verdict = "pass" if taken <= BUDGET else "falls short"
    print(f"w^3 - 5, 100,000 seeds x 200 steps{taken:>25.2f} s    at most {BUDGET:g} s   {verdict}")
    page = seconds(RobbinsMonroParams())
    print(f"the page's defaults, 200 seeds x 50 steps{1000 * page:>18.1f} ms")
    problem = Problem(params.function_of_w.value, 0.0, "normal", 0.1, 0.0, 0, params.attracting)
    began = time.perf_counter()
    for _ in walk(problem, params.rule, 2000):
        pass
    alone = (time.perf_counter() - began) / 2000
    began = time.perf_counter()
    run(problem, params.rule, 200, 10_000)
    together = (time.perf_counter() - began) / (200 * 10_000)
    print(f"a step of all seeds together, of one alone{alone / together:>17.0f} times faster")


if __name__ == "__main__":
    main()
