"""The line that says what the last change of a setting did to the result: each number before and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from explainers.contract.params import Control, Params, as_text, control_of
from pages.ui.cards.checks import scientific
from pages.ui.settings.link import short


def change_sentence(before: Params, after: Params, then: Mapping[str, str], now: Mapping[str, str]) -> str:
    """ "Query block 16 → 32: tiles visited 10 → 3, read 51 kB → 30 kB"."""
    return f"{_settings_changed(before, after)}: {_numbers_changed(then, now)}"


def changed_fields(before: Params, after: Params) -> list[str]:
    """The fields that differ."""
    return [name for name in type(after).model_fields if getattr(before, name) != getattr(after, name)]


def _settings_changed(before: Params, after: Params) -> str:
    fields = type(after).model_fields
    words = []
    for name in changed_fields(before, after):
        control = control_of(type(after), name)
        if control.long_text:
            words.append(f"{fields[name].title or name} changed")
            continue
        old, new = (named(control, getattr(params, name)) for params in (before, after))
        words.append(f"{fields[name].title or name} {old} → {new}")
    return ", ".join(words)


def named(control: Control, value: Any) -> str:
    """A value as its control shows it."""
    if isinstance(value, tuple):
        return short(", ".join(named(control, part) for part in value))
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    text = as_text(value)
    return short((control.labels or {}).get(text, text))


def _numbers_changed(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    changed = [
        f"{label} {then[label]} → {new}" if label in then else f"{label} {new}"
        for label, new in now.items()
        if then.get(label) != new
    ]
    return ", ".join(changed) if changed else ", ".join(now) + " unchanged"


def readable(number: Any) -> str:
    """A number of a result in a few characters; text as it is."""
    if isinstance(number, int):
        return f"{number:,}"
    if isinstance(number, float):
        return f"{number:.3g}" if 1e-3 <= abs(number) < 1e6 else scientific(number)
    return str(number)
