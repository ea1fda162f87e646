"""The contract: what Params, checks, Results and the registry promise; then every experiment against it."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError, field_validator

from explainers.contract.breaks import Break
from explainers.contract.experiment import (
    Experiment,
    UnknownExperiment,
    experiment,
    experiments,
    find,
    watch,
)
from explainers.contract.params import (
    Adjustment,
    Params,
    allowed,
    as_text,
    bounds_of,
    choice,
    choices_of,
    control_of,
    fit,
    number,
    read,
    several_of,
    switch,
    text,
)
from explainers.contract.result import Check, as_json

ROOT = Path(__file__).parents[2]


class CakeParams(Params):
    layers: int = number(
        3, "Layers", "Layers of cake", least=1, most=10, comfort=(2, 6), step=2, unit="layers"
    )
    sugar: float = number(0.5, "Sugar", "Share of sugar", least=0, most=1)
    icing: Literal["none", "lemon"] = choice("none", "Icing", "What is on top", {"none": "nothing"})
    candles: bool = switch(False, "Candles", "Whether it has candles")
    words: str = text("", "Words", "What is written on it", longest=12, long_text=True)
    guests: tuple[int, ...] = Field(default=(), title="Guests", description="Ages of the guests")

    @field_validator("words")
    @classmethod
    def _no_shouting(cls, words: str) -> str:
        if words.isupper():
            raise ValueError("words that are not shouted")
        return words

    def adjustments(self) -> Iterator[Adjustment]:
        if self.candles and self.icing == "none":
            yield Adjustment("icing", "lemon", "icing = none holds no candles; allowed: lemon.")
        if self.icing == "lemon" and self.layers > 5:
            yield Adjustment("layers", 5, f"layers = {self.layers} is too high for icing; allowed: 1 to 5.")


# -------------------------------------------------------------------------------------------------- settings


def test_params_are_frozen_and_closed() -> None:
    with pytest.raises(ValidationError):
        CakeParams().layers = 4  # type: ignore[misc]
    with pytest.raises(ValidationError):
        CakeParams(sprinkles=1)  # type: ignore[call-arg]
    for value in (math.nan, math.inf):
        with pytest.raises(ValidationError):
            CakeParams(sugar=value)


def test_one_declaration_tells_everything_about_a_field() -> None:
    assert bounds_of(CakeParams, "layers") == (1, 10)
    assert control_of(CakeParams, "layers").comfort == (2, 6)
    assert control_of(CakeParams, "sugar").comfort == (0, 1)
    assert choices_of(CakeParams, "icing") == ("none", "lemon")
    assert choices_of(CakeParams, "layers") == ()
    assert control_of(CakeParams, "words").long_text
    assert allowed(CakeParams, "layers") == "a whole number from 1 to 10"
    assert allowed(CakeParams, "sugar") == "a number from 0 to 1"
    assert allowed(CakeParams, "icing") == "one of none, lemon"
    assert allowed(CakeParams, "candles") == "true or false"
    assert allowed(CakeParams, "words").startswith("text of at most 12 characters")
    assert allowed(CakeParams, "guests").startswith("a list separated by commas")


def test_good_text_is_read() -> None:
    raw = {
        "layers": "10",
        "sugar": "0.25",
        "icing": "lemon",
        "candles": "true",
        "words": "hi",
        "guests": "3, 40,",
    }
    params, problems = read(CakeParams, raw)
    assert not problems
    assert params == CakeParams(
        layers=10, sugar=0.25, icing="lemon", candles=True, words="hi", guests=(3, 40)
    )


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("layers", "11", "a whole number from 1 to 10"),
        ("layers", "1e9", "a whole number from 1 to 10"),
        ("layers", "2.5", "a whole number from 1 to 10"),
        ("layers", "<script>", "a whole number from 1 to 10"),
        ("layers", "", "a whole number from 1 to 10"),
        ("sugar", "nan", "a number from 0 to 1"),
        ("sugar", "inf", "a number from 0 to 1"),
        ("icing", "Lemon", "one of none, lemon"),
        ("candles", "maybe", "true or false"),
        ("words", "x" * 5000, "text of at most 12 characters"),
        ("words", "LOUD", "words that are not shouted"),
        ("guests", "1,two", "a list separated by commas"),
        ("sprinkles", "1", "one of layers, sugar"),
    ],
)
def test_bad_text_keeps_the_default_and_is_named(name: str, value: str, says: str) -> None:
    other = "layers" if name == "sugar" else "sugar"
    params, problems = read(CakeParams, {name: value, other: "1"})
    assert params == CakeParams.model_validate({other: 1})
    (problem,) = problems
    assert (problem.field, problem.value) == (name, value)
    assert says in problem.sentence
    assert problem.sentence.startswith(f"{name} = ")
    assert len(problem.sentence) < 200


@given(
    st.builds(
        CakeParams,
        layers=st.integers(1, 10),
        sugar=st.floats(0, 1),
        icing=st.sampled_from(["none", "lemon"]),
        candles=st.booleans(),
        guests=st.lists(st.integers(0, 120), max_size=4).map(tuple),
    )
)
def test_a_value_survives_being_written_and_read(params: CakeParams) -> None:
    raw = {name: as_text(value) for name, value in params.model_dump().items()}
    assert read(CakeParams, raw) == (params, [])


def test_rules_are_applied_one_after_the_other_until_all_hold() -> None:
    params, made = fit(CakeParams(candles=True, layers=9))
    assert (params.icing, params.layers) == ("lemon", 5)
    assert [one.field for one in made] == ["icing", "layers"]
    assert fit(params) == (params, [])
    assert fit(CakeParams()) == (CakeParams(), [])


def test_rules_that_contradict_each_other_are_an_error() -> None:
    class Restless(Params):
        side: int = number(0, "Side", "Left or right", least=0, most=1)

        def adjustments(self) -> Iterator[Adjustment]:
            yield Adjustment("side", 1 - self.side, "the other side")

    with pytest.raises(RuntimeError, match="never settle"):
        fit(Restless())


# --------------------------------------------------------------------------------------------------- results


@pytest.mark.parametrize(
    ("error", "passed"), [(0.0, True), (1e-6, True), (1.1e-6, False), (math.nan, False), (math.inf, False)]
)
def test_a_check_passes_up_to_its_tolerance_and_never_with_nan(error: float, passed: bool) -> None:
    assert Check("it holds", error, 1e-6, "the truth").passed is passed


@dataclass(frozen=True)
class Inner:
    values: np.ndarray


@dataclass(frozen=True)
class Outer:
    whole: int
    tensor: torch.Tensor
    inner: Inner
    listed: tuple[float, ...]
    named: dict[str, Any]
    steps: list[int] = field(metadata={"shell": False})

    @property
    def passed(self) -> bool:
        return False


def test_a_result_becomes_json() -> None:
    result = Outer(
        1,
        torch.tensor([[1.0, -math.inf]]),
        Inner(np.array([True, False])),
        (math.nan, 2.0),
        {"a": np.float32(0.5)},
        [1],
    )
    assert as_json(result) == {
        "whole": 1,
        "tensor": [[1.0, None]],
        "inner": {"values": [True, False]},
        "listed": [None, 2.0],
        "named": {"a": 0.5},
        "passed": False,
    }
    json.dumps(as_json(result), allow_nan=False)


def test_watching_gives_every_pause_with_its_line_and_the_result() -> None:
    def walk() -> Generator[str, None, int]:
        yield "first"
        for _ in range(2):
            yield "again"
        return 7

    first = walk.__code__.co_firstlineno
    assert watch(walk()) == ([(first + 1, "first"), (first + 3, "again"), (first + 3, "again")], 7)


# -------------------------------------------------------------------------------------------------- registry


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownExperiment, match=r"did you mean flash_attention\.tiles\?"):
        find("flash_attention.tile")
    with pytest.raises(UnknownExperiment, match=r"there are .*flash_attention"):
        find("zzz")


@pytest.mark.parametrize(
    "name", ["", ".", "os.path", "../x.y", "flash_attention.", "a" * 10_000, "flash_attention.views"]
)
def test_no_name_imports_what_is_no_experiment(name: str) -> None:
    with pytest.raises(UnknownExperiment) as refused:
        find(name)
    assert len(str(refused.value)) < 1000


def fingerprint(root: Path) -> str:
    """code_version as a program sees it whose sources stand under `root`."""
    script = "from explainers.contract.experiment import code_version; print(code_version())"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_fingerprint_of_the_code_changes_with_any_byte_of_it(tmp_path: Path) -> None:
    copies = [tmp_path / "one", tmp_path / "two"]
    for copy in copies:
        for folder in ("explainers", "kernels"):
            shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    first, second = map(fingerprint, copies)
    assert first == second
    assert len(first) == 16
    with (copies[1] / "kernels" / "protocol.py").open("a", encoding="utf-8") as source:
        source.write("\n")
    assert fingerprint(copies[1]) != first


ALL = {one.name: one for one in experiments()}


@pytest.mark.parametrize("known", ALL.values(), ids=list(ALL))
def test_every_experiment_keeps_the_contract(known: Experiment) -> None:
    assert find(known.name) is known
    assert known.summary.endswith(".")
    topic, _, module = known.name.partition(".")
    assert known.function.__module__ == f"explainers.{topic}.{module}"
    for name, one in known.params.model_fields.items():
        assert one.title, name
        assert one.description, name
        if one.annotation in (int, float):
            least, most = bounds_of(known.params, name)
            control = control_of(known.params, name)
            assert least <= one.default <= most, name
            assert all(
                least <= value <= most for value in (*(control.comfort or ()), *(control.options or ()))
            ), name
        if labels := control_of(known.params, name).labels:
            assert set(labels) == {*choices_of(known.params, name), *several_of(known.params, name)}, name
    assert fit(known.params()) == (known.params(), [])


def accepted(params: type[Params]) -> st.SearchStrategy[Params]:
    """Any Params within the bounds of every field, whether or not the fields fit together."""
    values: dict[str, st.SearchStrategy[Any]] = {}
    for name, one in params.model_fields.items():
        if choices := choices_of(params, name):
            values[name] = st.sampled_from(choices)
        elif one.annotation is bool:
            values[name] = st.booleans()
        elif one.annotation in (int, float):
            least, most = bounds_of(params, name)
            strategy = st.integers if one.annotation is int else st.floats
            values[name] = strategy(least, most)  # type: ignore[arg-type]
    return st.fixed_dictionaries(values).map(lambda chosen: params(**chosen))


@pytest.mark.parametrize("known", ALL.values(), ids=list(ALL))
@given(data=st.data())
@settings(max_examples=30)
def test_the_rules_of_every_experiment_settle(known: Experiment, data: st.DataObject) -> None:
    params = data.draw(accepted(known.params))
    fitted, made = fit(params)
    assert fit(fitted) == (fitted, [])
    for adjustment in made:
        assert adjustment.sentence.startswith(f"{adjustment.field} = ")
        assert "allowed: " in adjustment.sentence
    raw = {name: as_text(value) for name, value in params.model_dump().items()}
    assert read(known.params, raw) == (params, [])


# They measure time: the tests of their topics hold the rest of their results.
TIMED = (
    "flash_attention.race",
    "checkpointing.model",
    "packing.histogram",
    "packing.run",
    "grid_world.race",
)


@pytest.mark.parametrize("name", [name for name in ALL if name not in TIMED])
def test_every_experiment_is_sound_at_its_defaults_and_the_same_twice(name: str) -> None:
    known = ALL[name]
    first, second = (as_json(known(known.params())) for _ in range(2))
    assert first == second
    assert first["passed"]
    json.dumps(first, allow_nan=False)


def test_a_break_that_sets_a_field_of_another_experiment_is_refused() -> None:
    def baked(params: CakeParams) -> None: ...

    baked.__module__ = "explainers.cake.bake"
    wrong = Break("raw", "raw", "It stays raw.", {"minutes": 0})
    with pytest.raises(ValueError, match=r"the break raw of cake\.bake sets minutes"):
        experiment("cake.bake", breaks=(wrong,))(baked)
