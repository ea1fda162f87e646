"""How many heads may share another: the rule that groups divide the query heads, and its sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from explainers.contract.params import Adjustment


def whole_groups(name: str, groups: int, heads: int, allowed: str = "") -> Iterator[Adjustment]:
    """The rule that the field `name` (key/value heads) divides `heads`: the next lower divisor, where it does not.

    allowed: what is said to be allowed; the divisors of heads, when left out.
    """
    if heads % groups:
        yield Adjustment(
            name,
            max(divisors(heads, groups)),
            f"{name} = {groups} does not divide heads = {heads}; allowed: {allowed or f'divisors of {heads}'}.",
        )


def divisors(number: int, most: int) -> list[int]:
    """The divisors of a number up to `most`, the least first."""
    return [one for one in range(1, min(number, most) + 1) if number % one == 0]


def one_of(values: Sequence[int]) -> str:
    """The values as a person lists them: '1, 2 or 4'."""
    *rest, last = (str(value) for value in values)
    return f"{', '.join(rest)} or {last}" if rest else last
