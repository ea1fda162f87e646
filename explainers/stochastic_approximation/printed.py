"""Numbers in sentences, as they are printed."""

from __future__ import annotations


class Printed(float):
    """A number that a Message writes with the minus sign of print (−)."""

    def __format__(self, form: str) -> str:
        return super().__format__(form).replace("-", "−")
