"""What a run becomes before it is shown: bytes for the player and a few numbers. Knows no Streamlit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from explainers.contract.experiment import find
from explainers.contract.result import Check, as_json


@dataclass(frozen=True)
class PreparedRun:
    """A run that is ready to be shown: the player's blob and its steps, the result without its arrays, its checks."""

    scene: bytes
    steps: int
    facts: Mapping[str, Any]
    checks: tuple[Check, ...]


def prepare(name: str, result: Any) -> PreparedRun:
    """A Result of experiment `name`, ready to be shown."""
    scene = find(name).scene(result)
    return PreparedRun(scene.to_bytes(), scene.steps, facts(result), result.checks)


def facts(result: Any) -> dict[str, Any]:
    """The fields of a Result that are not arrays or steps, as JSON types."""
    shown = [item for item in fields(result) if item.metadata.get("shell", True)]
    named = {item.name: getattr(result, item.name) for item in shown}
    small = {name: as_json(value) for name, value in named.items() if not getattr(value, "ndim", 0)}
    return small | ({"passed": result.passed} if hasattr(result, "passed") else {})
