"""How long the trace of a whole model takes, without its memory: `python -m tests.bench.checkpointing`."""

from __future__ import annotations

import time

from explainers.checkpointing.measure_params import ModelParams
from explainers.checkpointing.model import model

BUDGETS = (("llama-3.1-8b", 32, None), ("llama-3.1-70b", 80, 10.0), ("llama-3.1-405b", 126, 20.0))


def main() -> None:
    first = None
    for name, layers, budget in BUDGETS:
        began = time.process_time()
        result = model(ModelParams(model=name))  # type: ignore[arg-type]
        taken = time.process_time() - began
        each = taken / layers
        first = first or each
        verdict = (
            "" if budget is None else f"at most {budget:g} s  {'pass' if taken <= budget else 'falls short'}"
        )
        memory = (result.allocated_bytes + result.warm_up_bytes) / 1e6
        print(
            f"{name:<16}{taken:6.1f} s  a layer {each / first:4.2f} of 8B's  {memory:4.0f} MB  {verdict}",
            flush=True,
        )


if __name__ == "__main__":
    main()
