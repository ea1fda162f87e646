"""The settings of stochastic_approximation.robbins_monro: a function, its noise and a start."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import field_validator, model_validator

from explainers.contract.breaks import Break, break_field
from explainers.contract.messages import Message
from explainers.contract.params import Adjustment, choice, number, text
from explainers.stochastic_approximation import expression, roots
from explainers.stochastic_approximation.noise import BIAS, LABELS, Noise
from explainers.stochastic_approximation.steps import Rule, StepParams
from explainers.stochastic_approximation.walks import work

FARTHEST = 1e6  # from 0 that anything may be set

SEEN: dict[str, Any] = {"noise": "normal", "sigma": 1, "seeds": 200}
BREAKS = (
    Break(
        name="as_printed",
        label="as printed: 1/k",
        consequence=(
            "The run takes 1/k instead of the step size above, as the book prints. The first step is then 1, and "
            "where g is as steep as w³ the iterate overshoots, each time farther. The chart of the seeds near the "
            "root shows what 1/(k + 1) and 1/(k + 2) do with the same noise."
        ),
        settings={**SEEN, "function": "cubic", "steps": 50, "step_rule": "c/(k+b)", "c": 1, "b": 2},
    ),
    Break(
        name="constant_step",
        label="constant steps of 0.2",
        consequence=(
            "The run takes 0.2 throughout instead of the step size above. Such steps keep letting noise in: the "
            "iterates come near quickly, and then never stop rattling around the root, with a variance of "
            "a/(2 − a) σ² for a slope of 1."
        ),
        settings={**SEEN, "function": "linear", "steps": 200, "step_rule": "c/k^p"},
    ),
    Break(
        name="biased_noise",
        label="noise with a mean",
        consequence=(
            "Noise does no harm because it cancels. Noise with a mean moves the root: the iterates settle as "
            "surely as before, but in the wrong place."
        ),
        settings={**SEEN, "function": "linear", "steps": 200, "step_rule": "c/k^p"},
    ),
    Break(
        name="too_small_steps",
        label="steps too small: 1/(k+1)²",
        consequence=(
            "The run takes 1/(k + 1)² instead of the step size above. All these steps add up to 0.645: half of the "
            "way to the root is never walked, however many steps are taken."
        ),
        settings={**SEEN, "function": "linear", "w1": 12, "steps": 100, "step_rule": "c/k^p"},
    ),
)

FILLS: dict[str, dict[str, Any]] = {
    "tanh": {"g": "tanh(w - 1)", "w1": 3.0},
    "cubic": {"g": "w^3 - 5", "w1": 0.0},
    "linear": {"g": "w - 2", "w1": -3.0},
    "sine": {"g": "sin(w)", "w1": 3.0},
    "flat": {"g": "w + (abs(w - 1) - abs(w + 1))/2", "w1": 4.0},
    "typed": {"g": "w - cos(w)", "w1": 3.0},
}


class RobbinsMonroParams(StepParams):
    """The function, the noise on it, the start, and how long and how often."""

    fills: ClassVar = {"function": FILLS}

    function: Literal["tanh", "cubic", "linear", "sine", "flat", "typed"] = choice(
        "tanh",
        "Function",
        "Sets g and the start unless they are given; a g that you type is your own",
        {
            "tanh": "tanh(w − 1)",
            "cubic": "w³ − 5",
            "linear": "w − 2",
            "sine": "sin w",
            "flat": "with a flat part",
            "typed": "your own",
        },
    )
    g: str = text(
        "tanh(w - 1)",
        "g(w)",
        Message("The function whose root is sought: {allowed}", allowed=expression.ALLOWED),
        longest=expression.LONGEST,
    )
    noise: Noise = choice("normal", "Noise", "What is added to each observation of g(w)", LABELS)
    sigma: float = number(
        1.0,
        "σ",
        "Scale of the noise: its standard deviation, where it has one",
        least=0,
        most=100,
        comfort=(0, 3),
        step=0.1,
    )
    w1: float = number(3.0, "w₁", "Where the iterates start", least=-1e6, most=1e6, comfort=(-5, 5), step=0.1)
    steps: int = number(50, "Steps", "Of each seed", least=1, most=100_000, comfort=(5, 500), step=5)
    seeds: int = number(
        200, "Seeds", "Runs, each with different noise", least=1, most=100_000, comfort=(1, 1000), step=1
    )
    seed: int = number(0, "Seed", "Of the noise", least=0, most=2**31 - 1)
    low: float = number(
        -5.0, "From w", "Lower end of the interval on which the slope of g is judged", least=-FARTHEST,
        most=FARTHEST, comfort=(-20, 0), step=0.5,
    )  # fmt: skip
    high: float = number(
        5.0, "To w", "Upper end of the interval on which the slope of g is judged", least=-FARTHEST, most=FARTHEST,
        comfort=(0, 20), step=0.5,
    )  # fmt: skip
    break_it: Literal["none", "as_printed", "constant_step", "biased_noise", "too_small_steps"] = break_field(
        BREAKS
    )

    @model_validator(mode="before")
    @classmethod
    def _typed(cls, values: Any) -> Any:
        """A g that differs from the chosen function's is the reader's; the start stays as that function sets it."""
        if not isinstance(values, dict):
            return values
        fill = FILLS.get(values.get("function", cls.model_fields["function"].default), {})
        if not fill or values.get("g", fill["g"]) == fill["g"]:
            return values
        return {"w1": fill["w1"], **values, "function": "typed"}

    @field_validator("g")
    @classmethod
    def _parsed(cls, given: str) -> str:
        expression.parse(given)
        return given

    @cached_property
    def function_of_w(self) -> expression.Expression:
        return expression.parse(self.g)

    @property
    def used(self) -> Rule:
        if self.break_it == "as_printed":
            return Rule("c/k^p", self.c, 1.0)
        return super().used

    @property
    def bias(self) -> float:
        return BIAS if self.break_it == "biased_noise" else 0.0

    @cached_property
    def roots(self) -> tuple[roots.Root, ...]:
        """The roots of g around the stated interval."""
        return roots.around(self.function_of_w, min(self.low, self.w1), max(self.high, self.w1))

    @property
    def attracting(self) -> tuple[roots.Root, ...]:
        """Those that pull the iterates in."""
        return tuple(root for root in self.roots if root.attracts)

    @cached_property
    def root(self) -> float:
        """The root that attracts and is nearest to the start: of a stretch, its nearest point. NaN without one."""
        points = [float(np.clip(self.w1, root.low, root.high)) for root in self.attracting]
        return min(points, key=lambda at: abs(at - self.w1), default=np.nan)

    @property
    def interval(self) -> tuple[float, float]:
        """The stated interval, extended to hold the start and the root."""
        return float(np.fmin(min(self.low, self.w1), self.root)), float(
            np.fmax(max(self.high, self.w1), self.root)
        )

    @cached_property
    def slopes(self) -> tuple[float, float]:
        """The least and greatest slope of g on the interval."""
        return roots.slopes(self.function_of_w, *self.interval)

    @cached_property
    def slopes_everywhere(self) -> tuple[float, float]:
        """The same from -1,000,000 to 1,000,000."""
        return roots.slopes_everywhere(self.function_of_w)

    def adjustments(self) -> Iterator[Adjustment]:
        if self.high <= self.low:
            least = type(self).model_fields["low"].default
            if least < self.high or self.low >= FARTHEST:
                sentence = Message(
                    "low = {low:g} is not below high; allowed: less than {high:g}.",
                    low=self.low,
                    high=self.high,
                )
                yield Adjustment("low", least, sentence)
            else:
                sentence = Message(
                    "high = {high:g} is not above low; allowed: more than {low:g}.",
                    low=self.low,
                    high=self.high,
                )
                yield Adjustment("high", min(self.low + 1, FARTHEST), sentence)
        yield from work(self.seeds, self.steps)
