"""Numbers as a language writes them: the digits of Python's formats, with the separators of Babel's locale data.

The forms are those of Python's `format` (",d", ".2f", ".3g", ".1%"), and for sizes "bytes" (42.9 GB, powers of 1000)
and "ibytes" (40 GiB, powers of 1024). The digits never depend on the language, so that a number stays exact.
"""

from __future__ import annotations

import functools
from typing import Any

from babel import Locale
from babel.numbers import get_decimal_symbol, get_group_symbol

ENGLISH = "en"
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def formatted(value: Any, form: str = "", language: str = ENGLISH) -> str:
    """`value` in this form. Text and values without a form are written as they are.

    Raises ValueError for a form that the value does not have.
    """
    if form == "bytes":
        return sized(value, 1000, UNITS, language)
    if form == "ibytes":
        return sized(value, 1024, BINARY_UNITS, language)
    return localized(format(value, form), language) if form else str(value)


def sized(size: float, step: int, units: tuple[str, ...], language: str = ENGLISH) -> str:
    """A size in bytes with three digits and the largest unit that leaves at least one before the point."""
    power = 0
    while size >= step - 0.5 and power < len(units) - 1:
        size /= step
        power += 1
    digits = f"{round(size)}" if power == 0 else f"{float(f'{size:.{4 if size >= 1000 else 3}g}'):g}"
    return f"{localized(digits, language)} {units[power]}"


def localized(digits: str, language: str) -> str:
    """English digits with the decimal and group separators of the language."""
    decimal, group = _separators(language)
    return digits if language == ENGLISH else digits.translate({ord("."): decimal, ord(","): group})


@functools.cache
def _separators(language: str) -> tuple[str, str]:
    locale = Locale.parse(language)
    return get_decimal_symbol(locale), get_group_symbol(locale)
