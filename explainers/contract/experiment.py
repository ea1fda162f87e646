"""The contract between a computation and its callers: a page, the command line or a test.

    Params (frozen, validated)  ->  experiment: a pure function  ->  Result (frozen dataclass)  ->  view: a Scene

An experiment `<topic>.<name>` lives in `explainers/<topic>/<name>.py`, so that `find` imports one module only:

    class CoinParams(Params):
        tosses: int = number(10, "Tosses", "How often the coin is thrown", least=1, most=1000, comfort=(1, 100))

    @dataclass(frozen=True)
    class CoinResult(Checked):
        heads: int
        checks: tuple[Check, ...]

    @experiment("probability.coin")
    def coin(params: CoinParams) -> CoinResult: ...

Its pictures are found by their place: `scene(result)` and, for the home page, `card(result)` of
`explainers/<topic>/views/<name>.py`.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib
import importlib.util
import pkgutil
import re
import typing
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from explainers.contract.breaks import Break
from explainers.contract.messages import Message
from explainers.contract.params import Params, ParamsT

# --------------------------------------------------------------------------------------------------- results


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
    """A named pure function of its Params, with its breaks; its views draw its Result, whole and as a small card."""

    name: str
    params: type[Params]
    function: Callable[[Any], Any]
    breaks: tuple[Break, ...]

    @property
    def summary(self) -> str:
        return (self.function.__doc__ or "").strip().split("\n")[0]

    def __call__(self, params: Params) -> Any:
        return self.function(params)

    @property
    def has_scene(self) -> bool:
        """Whether there is a picture for the player."""
        return self._view("scene") is not None

    @property
    def has_card(self) -> bool:
        """Whether there is a small picture for the home page."""
        return self._view("card") is not None

    def scene(self, result: Any) -> Any:
        """The Scene (explainers/drawing/scene.py) of a Result. Views load late: computing needs none of them."""
        return self._draw("scene", result)

    def card(self, result: Any) -> Any:
        """The small Scene of a Result, for the home page."""
        return self._draw("card", result)

    def _draw(self, kind: str, result: Any) -> Any:
        if (view := self._view(kind)) is None:
            raise ValueError(f"{self.name} has no {kind} for the player")
        return view(result)

    def _view(self, kind: str) -> Callable[[Any], Any] | None:
        topic, _, short = self.name.partition(".")
        module = f"explainers.{topic}.views.{short}"
        if importlib.util.find_spec(module) is None:
            return None
        return getattr(importlib.import_module(module), kind, None)


class UnknownExperiment(ValueError):
    """No experiment has that name; the sentence suggests the nearest."""


_registry: dict[str, Experiment] = {}


def experiment(
    name: str, *, breaks: Sequence[Break] = ()
) -> Callable[[Callable[[ParamsT], ReturnT]], Callable[[ParamsT], ReturnT]]:
    """Registers the decorated function as experiment `name`; its first argument's annotation is its Params.

    Raises ValueError for another module than that of its name, and for a break that sets a field it does not have.
    """

    def register(function: Callable[[ParamsT], ReturnT]) -> Callable[[ParamsT], ReturnT]:
        if not function.__module__.endswith(name):
            raise ValueError(f"experiment {name} must be defined in explainers/{name.replace('.', '/')}.py")
        params_type = next(iter(typing.get_type_hints(function).values()))
        for each in breaks:
            if unknown := each.settings.keys() - params_type.model_fields.keys():
                raise ValueError(
                    f"the break {each.name} of {name} sets {', '.join(unknown)}, which it does not have"
                )
        _registry[name] = Experiment(name, params_type, function, tuple(breaks))
        return function

    return register


def find(name: str) -> Experiment:
    """The experiment of that name. Raises UnknownExperiment, which names the nearest."""
    if name in _registry:
        return _registry[name]
    topic, _, short = name.partition(".")
    if re.fullmatch(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*", name) and short in _modules(topic):
        importlib.import_module(f"explainers.{topic}.{short}")
    if name in _registry:
        return _registry[name]
    names = [known.name for known in experiments()]
    nearest = max(names, key=lambda known: _likeness(name, known))
    close = _likeness(name, nearest) >= 0.6
    if close:
        sentence = Message(
            "there is no experiment {name}; did you mean {nearest}?", name=repr(name[:60]), nearest=nearest
        )
    else:
        sentence = Message(
            "there is no experiment {name}; there are {topics} (without a name all are listed)",
            name=repr(name[:60]),
            topics=", ".join(f"{topic}.*" for topic in topics()),
        )
    raise UnknownExperiment(sentence)


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
    """The packages of explainers that have views; the others are shared rooms."""
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
