"""The settings of checkpointing.schedule, and the rules that they obey."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import field_validator

from explainers.contract.breaks import Break, break_field
from explainers.contract.messages import Message
from explainers.contract.params import Adjustment, Params, choice, number, several

MOST_LAYERS = 256

Strategy = Literal["none", "every_k", "sqrt", "full", "chen", "revolve", "optimal", "custom"]

BREAKS = (
    Break(
        name="forget_boundaries",
        label="forget the boundaries",
        consequence=(
            "A prediction that counts only the internal activations keeps falling as segments get shorter. "
            "Each segment also keeps its input, and shorter segments have more inputs."
        ),
        settings={"strategy": "every_k", "layers": 24, "k": 2},
    ),
    Break(
        name="never_free",
        label="free nothing after its use",
        consequence=(
            "What a layer's backward has used must be freed at once, as autograd does. Left in memory, the "
            "recomputed activations pile up until there are as many as without checkpointing, and more."
        ),
        settings={"strategy": "every_k", "layers": 24, "k": 5},
    ),
)


class ScheduleParams(Params):
    layers: int = number(
        24,
        "Layers",
        "Length of the chain (L)",
        least=1,
        most=MOST_LAYERS,
        comfort=(4, 128),
        step=1,
        unit="layers",
    )
    strategy: Strategy = choice(
        "sqrt",
        "Strategy",
        "What is kept for the backward pass, and what is computed again",
        {
            "none": "none",
            "every_k": "every k",
            "sqrt": "√L",
            "full": "full",
            "chen": "Chen",
            "revolve": "Revolve",
            "optimal": "optimal",
            "custom": "yours",
        },
    )
    k: int = number(
        4, "k", "Layers per segment", least=1, most=MOST_LAYERS, comfort=(1, 64), step=1, unit="layers"
    )
    snapshots: int = number(
        4,
        "Snapshots",
        "Boundaries that Revolve may keep at a time (c); the input counts as one",
        least=1,
        most=MOST_LAYERS,
        comfort=(1, 32),
        step=1,
    )
    budget: int = number(
        10,
        "Memory budget",
        "Memory that the optimal schedule may use",
        least=2,
        most=17_000,
        comfort=(2, 256),
        step=1,
        unit="units",
    )
    boundary: int = number(
        1,
        "Boundary",
        "Memory of one boundary activation, a layer's input kept as a checkpoint (B)",
        least=1,
        most=16,
        comfort=(1, 8),
        step=1,
        unit="units",
    )
    internal: int = number(
        1,
        "Inside of a layer",
        "Memory of one layer's internal activations, all that its backward needs, its output included (I)",
        least=1,
        most=64,
        comfort=(1, 34),
        step=1,
        unit="units",
    )
    kept: tuple[int, ...] = several(
        (1,),  # type: ignore[arg-type]
        "Layers kept",
        "numbers of the layers whose input is kept, separated by commas; the input of layer 1 is always kept",
        most=MOST_LAYERS,
    )
    break_it: Literal["none", "forget_boundaries", "never_free"] = break_field(BREAKS)

    @field_validator("kept", mode="before")
    @classmethod
    def _layer_numbers(cls, given: Any) -> Any:
        return tuple(sorted({1, *parse_kept(given)}))

    @property
    def starts(self) -> tuple[int, ...]:
        """The first layer of each segment of a custom schedule."""
        return tuple(sorted({1, *self.kept}))

    def adjustments(self) -> Iterator[Adjustment]:
        least = self.boundary + self.internal
        if self.strategy == "every_k" and self.k > self.layers:
            sentence = Message(
                "k = {k} is more than the number of layers; allowed: 1 to {layers}.",
                k=self.k,
                layers=self.layers,
            )
            yield Adjustment("k", self.layers, sentence)
        if self.strategy == "optimal" and self.budget < least:
            sentence = Message(
                "budget = {budget} is below the least possible, {least}: the input and the inside of one layer; "
                "allowed: {least} or more.",
                budget=self.budget,
                least=least,
            )
            yield Adjustment("budget", least, sentence)
        beyond = [layer for layer in self.kept if layer > self.layers]
        if self.strategy == "custom" and beyond:
            within = tuple(layer for layer in self.kept if layer <= self.layers)
            sentence = Message(
                "kept = {layer} is not a layer of this chain; allowed: layers 1 to {layers}.",
                layer=beyond[0],
                layers=self.layers,
            )
            yield Adjustment("kept", within, sentence)


def parse_kept(given: Any) -> tuple[int, ...]:
    """Layer numbers in ascending order, each once. Raises ValueError with what is allowed and what was given."""
    parts = (given,) if isinstance(given, (int, str)) else tuple(given)
    for part in parts:
        if not (str(part).isdecimal() and 1 <= int(part) <= MOST_LAYERS):
            raise ValueError(
                Message(
                    "layer numbers from 1 to {most} separated by commas; {given} is not one",
                    most=MOST_LAYERS,
                    given=repr(str(part)[:20]),
                )
            )
    return tuple(sorted({int(part) for part in parts}))
