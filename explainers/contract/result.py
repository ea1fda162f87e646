"""What an experiment returns: a Result with checks against independent references, and its form as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any


@dataclass(frozen=True)
class Check:
    """A result compared with an independent reference.

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

    A dataclass field with metadata {"shell": False} (the steps of a scene) is left out. Raises TypeError for a value
    that has no form in JSON, with the name of its field.
    """
    if is_dataclass(result):
        shown = [field for field in fields(result) if field.metadata.get("shell", True)]
        named = {field.name: _field_as_json(result, field.name) for field in shown}
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
    if result is None or isinstance(result, (str, int)):
        return result
    raise TypeError(f"a {type(result).__name__} has no form in JSON")


def _field_as_json(result: Any, name: str) -> Any:
    try:
        return as_json(getattr(result, name))
    except TypeError as error:
        raise TypeError(
            f'{type(result).__name__}.{name}: {error}; field(metadata={{"shell": False}}) keeps it out'
        ) from None
