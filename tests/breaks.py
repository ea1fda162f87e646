"""Breaks as the tests ask for them: by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from explainers.contract.breaks import Break


def settings_of(breaks: Iterable[Break]) -> dict[str, dict[str, Any]]:
    """By the name of a break, the settings that make it visible."""
    return {each.name: dict(each.settings) for each in breaks}


def consequences_of(breaks: Iterable[Break]) -> dict[str, str]:
    """By the name of a break, what is lost."""
    return {each.name: each.consequence for each in breaks}
