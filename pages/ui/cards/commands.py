"""The commands that reproduce in a terminal what a page shows."""

from __future__ import annotations

import shlex

from explainers.contract.params import Params, as_text


def command(experiment: str, params: Params, *ending: str) -> str:
    """The command for this run: python -m explainers flash_attention.tiles --seq_len 64.

    Omits defaults and whatever the preset sets.
    """
    defaults, filled = type(params)(), params.baseline()
    words = ["python", "-m", "explainers", experiment]
    for name in type(params).model_fields:
        value = getattr(params, name)
        if value != getattr(defaults if name in params.fills else filled, name):
            words += [f"--{name}", as_text(value)]
    return shlex.join([*words, *ending])


def reproducing(experiment: str, params: Params, *, picture: bool) -> str:
    """The lines that reproduce the numbers, and the picture where there is one, in a terminal."""
    lines = [command(experiment, params, "--html", "figure.html")] if picture else []
    lines.append(command(experiment, params, "--json"))
    return "\n".join(lines)
