"""Breaks of stochastic approximation, what is told of them, and the questions."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest

from explainers.contract.experiment import find
from explainers.contract.params import choices_of, control_of, fit
from explainers.contract.result import as_json
from explainers.stochastic_approximation import (
    bridge,
    dvoretzky,
    mean,
    robbins_monro,
    sgd,
)
from explainers.stochastic_approximation.robbins_monro_params import RobbinsMonroParams
from tests.breaks import consequences_of, settings_of
from tests.published import ROWS
from tests.stochastic_approximation.runs import searched

# ------------------------------------------------------------------------------------------------------ breaks


@pytest.mark.parametrize(
    ("name", "bites"),
    [
        (module.__name__.rpartition(".")[2], name)
        for module in (robbins_monro, mean, dvoretzky)
        for name in settings_of(module.BREAKS)
    ],
)
def test_every_break_turns_its_check_red(name: str, bites: str) -> None:
    module = {"robbins_monro": robbins_monro, "mean": mean, "dvoretzky": dvoretzky}[name]
    known = find(f"stochastic_approximation.{name}")
    sound = settings_of(module.BREAKS)[bites]
    assert known(known.params.model_validate(sound)).passed
    assert not known(known.params.model_validate({**sound, "break_it": bites})).passed
    assert set(settings_of(module.BREAKS)) == set(consequences_of(module.BREAKS))


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("name", ["robbins_monro", "mean", "dvoretzky", "sgd", "bridge"])
def test_a_break_bites_whatever_the_sliders_said(name: str, place: int) -> None:
    """The settings at their least and at their most, as the page merges what a break needs into them."""
    known = find(f"stochastic_approximation.{name}")
    module = {
        "robbins_monro": robbins_monro,
        "mean": mean,
        "dvoretzky": dvoretzky,
        "sgd": sgd,
        "bridge": bridge,
    }[name]
    fields = known.params.model_fields
    numbers = [field for field in fields if fields[field].annotation in (int, float)]
    corner = {field: control_of(known.params, field).comfort[place] for field in numbers}  # type: ignore[index]
    corner |= {
        field: choices_of(known.params, field)[-place] for field in fields if choices_of(known.params, field)
    }
    for bites, needed in settings_of(module.BREAKS).items():
        filled = {"g", "w1"} if "function" in needed else set()
        kept = {field: value for field, value in corner.items() if field not in filled}
        params = fit(known.params.model_validate({**kept, **needed, "break_it": bites}))[0]
        assert not known(params).passed, bites


@pytest.mark.parametrize("problem", ["mean", "regression"])
def test_an_exact_gradient_that_is_off_is_seen(problem: str) -> None:
    alone = {"problem": problem, "batch_sizes": ("all",), "seeds": 1}
    known = find("stochastic_approximation.sgd")
    assert known(known.params.model_validate(alone)).passed
    assert not known(known.params.model_validate({**alone, "break_it": "biased_noise"})).passed


def test_what_overflows_is_divergence_and_not_a_number_less() -> None:
    found = searched(function="cubic", steps=60, seeds=50)
    assert found.diverged_fraction > 0.9
    assert np.isfinite(found.fan[:, :2]).all()
    assert as_json(found)["iterates"][0][-1] is None
    assert "overflowed" in found.verdict
    scene = find("stochastic_approximation.robbins_monro").scene(found)
    assert set(scene.words.which) == {0, 1, 2}
    assert np.isfinite(scene.words.values).all()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"seeds": 100_000, "steps": 100_000}, "steps = 100000 "),
        ({"low": 3, "high": 1}, "low = 3 "),
        ({"low": 1e6, "high": 5}, "low = 1e+06 "),
        ({"low": -5, "high": -1e6}, "high = -1e+06 "),
    ],
)
def test_what_does_not_fit_is_adjusted(values: dict[str, Any], told: str) -> None:
    params, adjusted = fit(RobbinsMonroParams(**values))
    assert adjusted[0].sentence.startswith(told)
    assert "allowed: " in adjusted[0].sentence
    assert not fit(params)[1]


def test_as_printed_stands_beside_what_the_book_drew() -> None:
    """The oracle's three fractions from one run of 1000 seeds, within four standard errors."""
    row = ROWS["zhao6.3_cubic"]["value"]
    found = searched(function="cubic", break_it="as_printed", seeds=1000, steps=50)
    assert list(found.beside) == ["1/(k + 1)", "1/(k + 2)"]
    for name, fraction in ((name.replace(" ", ""), one[-1]) for name, one in found.beside.items()):
        assert fraction == pytest.approx(
            row[name], abs=4 * math.sqrt(row[name] * (1 - row[name]) / 1000) + 1e-3
        )
    assert found.converged_at[-1] == found.converged_fraction == pytest.approx(row["1/k"], abs=0.01)
    assert searched().beside == {}


@pytest.mark.parametrize(("g", "root"), [("w - 100", 100), ("w + 3000", -3000), ("w^3 - 5", 5 ** (1 / 3))])
def test_a_root_beyond_the_stated_interval_is_found(g: str, root: float) -> None:
    found = searched(g=g, noise="none", steps=2)
    assert found.root == pytest.approx(root)
    low, high = found.params.interval
    assert low - 1e-9 <= root <= high + 1e-9
    if root != 5 ** (1 / 3):
        assert found.converged_fraction == 1


@pytest.mark.parametrize(
    "g",
    ["1e300*w", "exp(exp(w))", "1/(w-w)", "log(w-1e9)", "1e-300*w", "w^99", "0*w", "w/0", "abs(w)/w", "5"],
)
def test_any_function_has_a_picture(g: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = searched(g=g, steps=20)
        scene = find("stochastic_approximation.robbins_monro").scene(found)
    assert scene.steps == 20
    assert scene.to_bytes()
    assert found.verdict


def test_without_a_root_nothing_converges() -> None:
    found = searched(g="exp(w) + 1", steps=20)
    assert math.isnan(found.root)
    assert found.converged_fraction == 0
    assert "g has none that pulls the iterates in" in found.verdict
    find("stochastic_approximation.robbins_monro").scene(found).to_bytes()
