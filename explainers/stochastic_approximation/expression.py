"""A function g(w) that a reader typed, its value and its slope: parsed by a small grammar, never run as Python."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from lark import Lark, Token, Tree, UnexpectedInput

from explainers.contract.messages import Message

LONGEST = 120  # characters
WHOLE_UP_TO = 16  # powers that are multiplied out: faster than logarithms, and right for a negative base
GRAMMAR = r"""
    ?sum: product
        | sum "+" product     -> add
        | sum "-" product     -> subtract
    ?product: signed
        | product "*" signed  -> multiply
        | product "/" signed  -> divide
    ?signed: power
        | "-" signed          -> negate
        | "+" signed
    ?power: atom
        | atom "^" signed     -> raised
    ?atom: NUMBER             -> number
        | "w"                 -> variable
        | FUNCTION "(" sum ")" -> apply
        | "(" sum ")"
    FUNCTION: "sin" | "cos" | "tanh" | "exp" | "log" | "abs"
    %import common.NUMBER
    %import common.WS
    %ignore WS
"""
ALLOWED = Message("numbers, w, + - * / ^, brackets, and sin, cos, tanh, exp, log, abs of a bracket")
# what people write elsewhere, and how it is written here
HINTS = (
    (r"\*\*", Message("a power is written w^3, not w**3")),
    (r"[\d.)]\s*(?:w|\(|sin|cos|tanh|exp|log|abs)", Message("a product needs its sign, as in 2*w")),
    (r"sqrt", Message("a root is written as a power, as in w^0.5")),
    (r"\bln\b", Message("the natural logarithm is log")),
)
_PARSER = Lark(GRAMMAR, start="sum", parser="lalr")

# f -> f, and f' where the chain rule asks for it
FUNCTIONS: dict[str, tuple[Any, Any]] = {
    "sin": (np.sin, np.cos),
    "cos": (np.cos, lambda u: -np.sin(u)),
    "tanh": (np.tanh, lambda u: 1 / np.cosh(u) ** 2),
    "exp": (np.exp, np.exp),
    "log": (np.log, lambda u: 1 / u),
    "abs": (np.abs, np.sign),
}


@dataclass(frozen=True)
class Expression:
    """A parsed g(w). What overflows is infinite, what has no real value NaN; neither warns."""

    text: str
    tree: Any

    def value(self, w: np.ndarray) -> np.ndarray:
        """g(w), of the shape of w."""
        with np.errstate(all="ignore"):
            return np.zeros_like(w) + _value(self.tree, w)

    def slope(self, w: np.ndarray) -> np.ndarray:
        """g'(w) by the rules of calculus, of the shape of w."""
        with np.errstate(all="ignore"):
            return np.zeros_like(w) + _slope(self.tree, w)


@lru_cache(maxsize=256)
def parse(text: str) -> Expression:
    """The function that `text` writes. Raises ValueError with what is allowed, and where the text is wrong.

    The minus sign of print (−), which the page shows, is one too.
    """
    try:
        return Expression(text, _PARSER.parse(text.replace("−", "-")))
    except UnexpectedInput as error:
        raise ValueError(
            Message("{allowed}; {problem}", allowed=ALLOWED, problem=_problem(error, text))
        ) from None


def _problem(error: UnexpectedInput, text: str) -> Message:
    """Where the text ends or goes on wrongly, or how what it means is written here."""
    token = getattr(error, "token", None)
    if token is not None and token.type == "$END":
        return Message("it ends too early")
    at = error.pos_in_stream or 0
    for pattern, hint in HINTS:
        if re.search(pattern, text):
            return hint
    return Message(
        "character {place}, {character}, does not belong there",
        place=at + 1,
        character=repr(str(token or text[at])),
    )


def _value(node: Tree[Token], w: Any) -> Any:
    if node.data == "number":
        return np.float64(str(node.children[0]))  # which, unlike Python's, may be divided by 0
    if node.data == "variable":
        return w
    if node.data == "apply":
        name, inner = node.children
        return FUNCTIONS[str(name)][0](_value(inner, w))  # type: ignore[arg-type]
    u, *rest = (_value(child, w) for child in node.children)  # type: ignore[arg-type]
    match node.data:
        case "negate":
            return -u
        case "add":
            return u + rest[0]
        case "subtract":
            return u - rest[0]
        case "multiply":
            return u * rest[0]
        case "divide":
            return np.divide(u, rest[0])
    return _power(u, rest[0])


def _power(u: Any, exponent: Any) -> Any:
    if isinstance(exponent, float) and 0 < exponent <= WHOLE_UP_TO and exponent == round(exponent):
        made, square, left = None, u, int(exponent)
        while left:
            if left % 2:
                made = square if made is None else made * square
            square, left = square * square, left // 2
        return made
    return np.power(u, exponent, dtype=float)


def _slope(node: Tree[Token], w: Any) -> Any:
    if node.data == "number":
        return 0.0
    if node.data == "variable":
        return 1.0
    if node.data == "apply":
        name, inner = node.children
        return FUNCTIONS[str(name)][1](_value(inner, w)) * _slope(inner, w)  # type: ignore[arg-type]
    pairs = [(_value(child, w), _slope(child, w)) for child in node.children]  # type: ignore[arg-type]
    u, du = pairs[0]
    v, dv = pairs[-1]
    match node.data:
        case "negate":
            return -du
        case "add":
            return du + dv
        case "subtract":
            return du - dv
        case "multiply":
            return du * v + u * dv
        case "divide":
            return np.divide(du * v - u * dv, v * v)
    if not any(node.children[-1].find_data("variable")):  # type: ignore[union-attr]
        # a constant exponent, for which a negative base has a slope too
        return v * (_power(u, v - 1) if v != 1 else 1.0) * du
    return _power(u, v) * (dv * np.log(u) + v * du / u)
