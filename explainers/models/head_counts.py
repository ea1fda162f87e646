"""Head counts of grouped queries: the key/value heads must divide the query heads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from explainers.contract.messages import Message
from explainers.contract.params import Adjustment


def whole_groups(name: str, groups: int, heads: int, allowed: str = "") -> Iterator[Adjustment]:
    """If `groups`, the value of the field `name`, does not divide `heads`: an adjustment to the next lower divisor.

    allowed: the allowed values as the sentence names them; "divisors of {heads}" when empty.
    """
    if heads % groups:
        yield Adjustment(
            name,
            max(divisors(heads, groups)),
            Message(
                "{name} = {groups} does not divide heads = {heads}; allowed: {allowed}.",
                name=name,
                groups=groups,
                heads=heads,
                allowed=allowed or Message("divisors of {heads}", heads=heads),
            ),
        )


def divisors(number: int, most: int) -> list[int]:
    """The divisors of a number up to `most`, ascending."""
    return [divisor for divisor in range(1, min(number, most) + 1) if number % divisor == 0]


def one_of(values: Sequence[int]) -> str:
    """The values as a list in words: '1, 2 or 4'."""
    *rest, last = (str(value) for value in values)
    return Message("{rest} or {last}", rest=", ".join(rest), last=last) if rest else last
