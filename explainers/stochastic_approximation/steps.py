"""The step size a_k, k = 1, 2, ...: one control for the whole page, and what is known of its sums without adding up.

Source: Zhao 2025, section 6.2 (conditions of Robbins and Monro); sums by the Hurwitz zeta function (DLMF 25.11).
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from scipy.special import zeta

from explainers.contract.messages import Message
from explainers.contract.params import Params, choice, number

Kind = Literal["c/k^p", "c/(k+b)", "constant", "1/(k+1)^2"]
CONSTANT_OF_BREAK = 0.2  # the step size of the break constant_step
FACTORS = 100_000  # of an infinite product that are multiplied; the rest of its logarithm is a tail of zeta
TERMS = 8  # of the series of that logarithm


class Rule(NamedTuple):
    """A step rule with its numbers."""

    kind: Kind
    c: float = 1.0
    p: float = 1.0
    b: float = 0.0

    def at(self, k: np.ndarray) -> np.ndarray:
        """a_k, of the shape of k."""
        k = np.asarray(k, float)
        if self.kind == "c/k^p":
            return self.c / k**self.p
        if self.kind == "c/(k+b)":
            return self.c / (k + self.b)
        return np.full(k.shape, self.c) if self.kind == "constant" else 1 / (k + 1) ** 2

    @property
    def words(self) -> str:
        """The rule with its numbers, in a line of text."""
        if self.kind == "c/k^p" and self.p == 1:
            return Message("{c:g}/k", c=self.c)
        if self.kind == "c/k^p":
            return Message("{c:g}/k^{p:g}", c=self.c, p=self.p)
        if self.kind == "c/(k+b)":
            return Message("{c:g}/(k + {b:g})", c=self.c, b=self.b)
        return Message("{c:g}", c=self.c) if self.kind == "constant" else "1/(k + 1)^2"

    @property
    def is_running_mean(self) -> bool:
        """Whether a_k = 1/k."""
        return self in (Rule("c/k^p", 1, 1, self.b), Rule("c/(k+b)", 1, self.p, 0))

    @property
    def _series(self) -> tuple[float, float, float]:
        """(c, p, b) so that a_k = c / (k + b)^p."""
        return {
            "c/k^p": (self.c, self.p, 0.0),
            "c/(k+b)": (self.c, 1.0, self.b),
            "constant": (self.c, 0.0, 0.0),
            "1/(k+1)^2": (1.0, 2.0, 1.0),
        }[self.kind]

    def sum_of_powers(self, power: int) -> float:
        """The limit of sum_k a_k^power: inf where the series diverges, as p power <= 1 says."""
        c, p, b = self._series
        return math.inf if p * power <= 1 else c**power * float(zeta(p * power, 1 + b))

    @property
    def product_limit(self) -> float:
        """The limit of prod_k (1 - a_k): 0 where the start is forgotten, NaN where there is none."""
        c, p, b = self._series
        if p == 0:
            return 0.0 if abs(1 - c) < 1 else math.nan
        if p <= 1:
            return (
                0.0  # from some k on all factors are below 1, and their logarithms add up to minus infinity
            )
        sign, logarithm = self.product(FACTORS)
        # log(1 - a) = -a - a^2/2 - ... for the factors that are left, where a is below 0.001
        rest = sum(c**n / n * float(zeta(p * n, FACTORS + 1 + b)) for n in range(1, TERMS + 1))
        return sign * math.exp(logarithm - rest)

    def product(self, steps: int) -> tuple[int, float]:
        """prod_{k <= steps} (1 - a_k), as its sign and the logarithm of its size: 0 and -inf where a factor is 0."""
        factors = 1 - self.at(np.arange(1, steps + 1))
        if not factors.all():
            return 0, -math.inf
        return (-1 if np.count_nonzero(factors < 0) % 2 else 1), math.fsum(np.log(np.abs(factors)).tolist())

    @property
    def constant(self) -> float | None:
        """The step size of a rule that is the same at every k; None for others."""
        return self.c if self.kind == "constant" or (self.kind == "c/k^p" and self.p == 0) else None


class StepParams(Params):
    """The step size, which all experiments of the page share."""

    shared: ClassVar[tuple[str, ...]] = ("step_rule", "c", "p", "b")

    step_rule: Kind = choice(
        "c/k^p",
        "Step size",
        "How the step size a_k falls with k = 1, 2, ...",
        {"c/k^p": "c / kᵖ", "c/(k+b)": "c / (k + b)", "constant": "constant c", "1/(k+1)^2": "1 / (k + 1)²"},
    )
    c: float = number(1.0, "c", "Factor of the step size", least=0.001, most=100, comfort=(0.1, 3), step=0.1)
    p: float = number(1.0, "p", "Power of k in the step size", least=0, most=5, comfort=(0, 2), step=0.05)
    b: float = number(1.0, "b", "Added to k in the step size", least=0, most=1000, comfort=(0, 10), step=1)

    @property
    def rule(self) -> Rule:
        """The step size as it is set."""
        return Rule(self.step_rule, self.c, self.p, self.b)

    @property
    def used(self) -> Rule:
        """The step size of the run: as it is set, unless a break replaces it."""
        return broken(self.rule, getattr(self, "break_it", "none"))


def broken(rule: Rule, break_it: str) -> Rule:
    """The rule that a break puts in place of `rule`; `rule` itself for other breaks."""
    if break_it == "constant_step":
        return Rule("constant", CONSTANT_OF_BREAK)
    if break_it == "too_small_steps":
        return Rule("1/(k+1)^2")
    return rule


def is_broken(params: StepParams) -> bool:
    """Whether a break is set. The laws that a run is compared with are those without it."""
    return getattr(params, "break_it", "none") != "none"


def step_fields(params: StepParams) -> tuple[str, ...]:
    """The fields of the step size that the chosen rule uses."""
    numbers = {"c/k^p": ("c", "p"), "c/(k+b)": ("c", "b"), "constant": ("c",), "1/(k+1)^2": ()}
    return ("step_rule", *numbers[params.step_rule])
