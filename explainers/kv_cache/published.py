"""What is printed about KV caches, beside what the configs give: where both agree, where not, and why.

Every computed number comes from a config by way of the same code as the rest of the page, as a whole number or an
exact fraction. Printed figures are rounded; one agrees when it is within half of its last digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from explainers.contract.experiment import experiment
from explainers.contract.messages import Message
from explainers.contract.params import Params
from explainers.contract.result import Check, Checked
from explainers.kv_cache.published_figures import Figure, all_figures


@dataclass(frozen=True)
class Row:
    """A printed figure beside the computed one, as a table shows them."""

    source: str
    what: str
    printed: str
    computed: str
    agrees: bool
    reason: str


class PublishedParams(Params):
    """Nothing to set."""


@dataclass(frozen=True)
class PublishedResult(Checked):
    """rows: every printed figure beside ours. checks: one a source."""

    rows: tuple[Row, ...]
    checks: tuple[Check, ...]


@experiment("kv_cache.published")
def published(params: PublishedParams) -> PublishedResult:
    """Printed KV-cache sizes and parameter counts beside those computed from the configs, and why some differ."""
    figures = all_figures()
    sources = dict.fromkeys(figure.source for figure in figures)
    return PublishedResult(
        rows=tuple(_row(figure) for figure in figures),
        checks=tuple(
            _check(source, [figure for figure in figures if figure.source == source]) for source in sources
        ),
    )


def _check(source: str, figures: list[Figure]) -> Check:
    agreeing = sum(figure.agrees for figure in figures)
    wrong = sum(figure.fits != figure.agrees for figure in figures)
    return Check(
        Message(
            "{source}: {agreeing} of {figures} printed figures agree, as the table says",
            source=source,
            agreeing=agreeing,
            figures=len(figures),
        ),
        wrong,
        0,
        "each within half of its last printed digit",
    )


def _row(figure: Figure) -> Row:
    return Row(
        source=figure.source,
        what=figure.what,
        printed=_written(figure.printed, figure.digit, figure.unit),
        computed=_written(figure.computed, figure.digit, figure.unit, more=2),
        agrees=figure.agrees,
        reason=figure.reason,
    )


def _written(value: Fraction, digit: Fraction, unit: str, *, more: int = 0) -> Message:
    """A number with the decimals of `digit` (none where it is 0), and up to `more` where they are not zero."""
    decimals = len(str(digit.denominator)) - 1
    written = f"{Decimal(value.numerator) / value.denominator:,.{decimals + more}f}"
    whole, _, after = written.partition(".")
    kept = after[:decimals] + after[decimals:].rstrip("0")
    return Message("{number}{unit}", number=f"{whole}.{kept}" if kept else whole, unit=unit)
