"""Runs of stochastic approximation as several tests make them."""

from __future__ import annotations

from typing import Any

from explainers.contract.params import fit
from explainers.stochastic_approximation import (
    robbins_monro,
)
from explainers.stochastic_approximation.robbins_monro import RobbinsMonroResult
from explainers.stochastic_approximation.robbins_monro_params import RobbinsMonroParams


def searched(**values: Any) -> RobbinsMonroResult:
    return robbins_monro.robbins_monro(fit(RobbinsMonroParams.model_validate(values))[0])
