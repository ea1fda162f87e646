"""The contract between what is computed and whoever asks for it: a page, the shell or a test.

    Params (frozen, validated)  ->  experiment: a pure function  ->  Result (frozen dataclass)  ->  view: a Scene

An experiment `<topic>.<name>` lives in `explainers/<topic>/<name>.py`, so that `find` imports one module only:

    class CoinParams(Params):
        tosses: int = number(10, "Tosses", "How often the coin is thrown", least=1, most=1000, comfort=(1, 100))

    @dataclass(frozen=True)
    class CoinResult(Checked):
        heads: int
        checks: tuple[Check, ...]

    @experiment("probability.coin", view="explainers.probability.views.coin:coin_scene")
    def coin(params: CoinParams) -> CoinResult: ...
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib
import math
import pkgutil
import re
import typing
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from explainers.contract.params import Params, ParamsT
from explainers.drawing.scene import Scene

# --------------------------------------------------------------------------------------------------- results


@dataclass(frozen=True)
class Check:
    """A result held against an independent reference.

    what: the claim ("equals exact attention"). error, tolerance: in the same unit; passes when error <= tolerance.
    reference: what it was compared with.
    """

    what: str
    error: float
    tolerance: float
    reference: str

    @property
    def passed(self) -> bool:
        return bool(self.error <= self.tolerance)  # an error that is NaN fails


class Checked:
    """What every Result is: it has checks, and has passed when all of them have."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


def as_json(result: Any) -> Any:
    """A Result as JSON types: arrays as nested lists; numbers that are not finite become null.

    A dataclass field with metadata {"shell": False} (the steps of a scene) is left out.
    """
    if is_dataclass(result):
        shown = [field for field in fields(result) if field.metadata.get("shell", True)]
        named = {field.name: as_json(getattr(result, field.name)) for field in shown}
        passed = getattr(result, "passed", None)
        return named if passed is None else named | {"passed": passed}
    if hasattr(result, "tolist"):  # NumPy arrays and scalars, torch tensors
        return as_json(result.tolist())
    if isinstance(result, Mapping):
        return {str(key): as_json(value) for key, value in result.items()}
    if isinstance(result, Sequence) and not isinstance(result, str):
        return [as_json(value) for value in result]
    if isinstance(result, float):
        return result if math.isfinite(result) else None
    return result


StepT = TypeVar("StepT")
ReturnT = TypeVar("ReturnT")


def watch(run: Generator[StepT, None, ReturnT]) -> tuple[list[tuple[int, StepT]], ReturnT]:
    """Runs a watched algorithm to its end: each step with the source line on which it paused, and the result."""
    steps: list[tuple[int, StepT]] = []
    while True:
        try:
            step = next(run)
        except StopIteration as end:
            return steps, end.value
        steps.append((cast(Any, run).gi_frame.f_lineno, step))


# -------------------------------------------------------------------------------------------------- registry


@dataclass(frozen=True)
class Experiment:
    """A named pure function of its Params, with the views that draw its Result, whole and as a small card."""

    name: str
    params: type[Params]
    function: Callable[[Any], Any]
    view: str | None
    card_view: str | None

    @property
    def summary(self) -> str:
        return (self.function.__doc__ or "").strip().split("\n")[0]

    def __call__(self, params: Params) -> Any:
        return self.function(params)

    def scene(self, result: Any) -> Scene:
        """The Scene of a Result. Views load late: computing needs none of them."""
        return self._view(self.view, result)

    def card(self, result: Any) -> Scene:
        """The small Scene of a Result, for the home page."""
        return self._view(self.card_view, result)

    def _view(self, view: str | None, result: Any) -> Scene:
        if view is None:
            raise ValueError(f"{self.name} has no picture for the player")
        module, function = view.split(":")
        return getattr(importlib.import_module(module), function)(result)


class UnknownExperiment(ValueError):
    """No experiment has that name; the sentence suggests the nearest."""


_registry: dict[str, Experiment] = {}


def experiment(
    name: str, *, view: str | None = None, card: str | None = None
) -> Callable[[Callable[[ParamsT], ReturnT]], Callable[[ParamsT], ReturnT]]:
    """Registers the decorated function as experiment `name`; its first argument's annotation is its Params.

    view, card: "module:function" that makes the Scene of a Result, whole and small.
    """

    def register(function: Callable[[ParamsT], ReturnT]) -> Callable[[ParamsT], ReturnT]:
        if not function.__module__.endswith(name):
            raise ValueError(f"experiment {name} must stand in explainers/{name.replace('.', '/')}.py")
        params_type = next(iter(typing.get_type_hints(function).values()))
        _registry[name] = Experiment(name, params_type, function, view, card)
        return function

    return register


def find(name: str) -> Experiment:
    """The experiment of that name. Raises UnknownExperiment, which names the nearest."""
    topic, _, short = name.partition(".")
    if re.fullmatch(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*", name) and short in _modules(topic):
        importlib.import_module(f"explainers.{topic}.{short}")
    if name in _registry:
        return _registry[name]
    names = [known.name for known in experiments()]
    nearest = max(names, key=lambda known: _likeness(name, known))
    close = _likeness(name, nearest) >= 0.6
    topics = ", ".join(f"{topic}.*" for topic in dict.fromkeys(name.partition(".")[0] for name in names))
    hint = f"; did you mean {nearest}?" if close else f"; there are {topics} (without a name all are listed)"
    raise UnknownExperiment(f"there is no experiment {name[:60]!r}{hint}")


def _likeness(name: str, known: str) -> float:
    """How like `name` is to a known experiment's whole name or to its last part, from 0 to 1."""
    whole_and_last = (known, known.partition(".")[2])
    return max(difflib.SequenceMatcher(None, name, part).ratio() for part in whole_and_last)


def experiments() -> list[Experiment]:
    """Every experiment, in the order of names. Imports all topics."""
    for topic in topics():
        for module in _modules(topic):
            importlib.import_module(f"explainers.{topic}.{module}")
    return [_registry[name] for name in sorted(_registry)]


def topics() -> list[str]:
    """The packages of explainers that have views; the others are rooms that topics share."""
    return sorted(folder.parent.name for folder in Path(__file__).parents[1].glob("*/views"))


def _modules(topic: str) -> list[str]:
    return [module.name for module in pkgutil.iter_modules([str(Path(__file__).parents[1] / topic)])]


@functools.cache
def code_version() -> str:
    """A fingerprint of all code that computes; a cached scene of other code is never shown."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for path in sorted([*root.glob("explainers/**/*.py"), *root.glob("kernels/**/*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
