"""Formulas with live numbers: LaTeX in, a MathML template for the player out (browsers draw MathML themselves)."""

from __future__ import annotations

import functools
import re

from latex2mathml.converter import convert

_SLOT = re.compile(r"\\slot\{([^}]+)\}")
_PRIME = re.compile(r"<msup>(<mi>[^<]*</mi>)<mi>&#x02032;</mi></msup>")
_STAND_IN = 770000  # a number that no formula of ours contains; it becomes one <mn> of MathML


def product(*factors: str | float) -> str:
    """LaTeX of a product."""
    return r" \times ".join(f"{factor:g}" if isinstance(factor, float) else str(factor) for factor in factors)


@functools.cache
def formula(latex: str) -> str:
    r"""MathML of `latex`, in which `\slot{3:.2f}` becomes a place for column 3 of a step's numbers.

    `\slot` takes the formats of scene.Words. The player writes the numbers in; nothing else of a formula changes.
    Raises ValueError for a command that the converter does not know, which it would print.
    """
    slots = _SLOT.findall(latex)
    stand_ins = iter(range(_STAND_IN, _STAND_IN + len(slots)))
    markup = convert(_SLOT.sub(lambda _: f" {next(stand_ins)} ", latex))
    if unknown := re.search(r"\\\w+", markup):
        raise ValueError(f"latex2mathml knows no {unknown.group()}")
    # A prime stands at its own height; raised once more it floats far above its letter.
    markup = _PRIME.sub(r'<mrow>\1<mo lspace="0" rspace="0">&#x02032;</mo></mrow>', markup)
    for number, slot in enumerate(slots, _STAND_IN):
        markup = markup.replace(f"<mn>{number}</mn>", f"<mn>{{{slot}}}</mn>")
    return markup
