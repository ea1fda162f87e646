"""Memory against extra work: families of schedules as small points, with the chosen schedule highlighted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from explainers.contract.messages import Message
from explainers.drawing.panels import Axis, Layer, Marks
from explainers.drawing.scene import Hue

FAMILIES: dict[str, tuple[str, Hue]] = {
    "every_k": (Message("every k"), "key"),
    "revolve": (Message("Revolve"), "score"),
    "optimal": (Message("optimal"), "good"),
    "named": (Message("others"), "muted"),
}
MOST_POINTS = 90  # of a family; more are thinned evenly along the memory axis


@dataclass(frozen=True)
class Dot:
    """One schedule: its family, its name, its peak memory, and its work beyond the least."""

    family: str
    name: str
    memory: float
    extra: float


def plane(
    name: str,
    title: str,
    subtitle: str,
    dots: Sequence[Dot],
    chosen: Dot,
    highest: float,
    work: Message,
) -> Marks:
    """The panel. highest: of the vertical axis, unless the chosen dot lies above; points above it are left out.

    work: what a label calls the extra work.
    """
    low = min(dot.memory for dot in (*dots, chosen)) * 0.9
    high = max(dot.memory for dot in (*dots, chosen)) * 1.1
    top = max(highest, chosen.extra * 1.25, 1.0)
    shown = [dot for dot in dots if dot.extra <= top]
    families = [family for family in FAMILIES if any(dot.family == family for dot in shown)]
    return Marks(
        name=name,
        title=title,
        subtitle=subtitle,
        height=262,
        x=Axis(low, high, log=True, ticks=_doublings(low, high), format="d"),
        y=Axis(-0.06 * top, 1.44 * top, ticks=_steps(top), format=".4g"),
        layers=(
            *(_points([dot for dot in shown if dot.family == family], family, work) for family in families),
            _chosen(chosen, work),
            *_legend(families, _label(chosen, work), low, high, top),
        ),
    )


def _points(dots: list[Dot], family: str, work: Message) -> Layer:
    if len(dots) > MOST_POINTS:
        places = np.log([dot.memory for dot in dots])
        wanted = np.linspace(places.min(), places.max(), MOST_POINTS)
        nearest = {int(np.abs(places - place).argmin()) for place in wanted}
        dots = [dots[index] for index in sorted(nearest)]
    hue = FAMILIES[family][1]
    return Layer(
        "point",
        x=np.array([dot.memory for dot in dots], float),
        y=np.array([dot.extra for dot in dots], float),
        hue=hue,
        style="hollow" if family == "named" else "solid",
        size=3.4 if family == "named" else 2.4,
        numbers=np.array([dot.extra for dot in dots], float),
        format=".6g",
        names=tuple(
            Message(
                "{schedule}: {memory:,.6g} units, {work}", schedule=dot.name, memory=dot.memory, work=work
            )
            for dot in dots
        ),
    )


def _chosen(dot: Dot, work: Message) -> Layer:
    x, y = np.array([float(dot.memory)]), np.array([float(dot.extra)])
    name = Message("{schedule}: ", schedule=_label(dot, work))
    return Layer("point", x=x, y=y, hue="current", size=5.5, numbers=y, format=".6g", names=(name,))


def _label(dot: Dot, work: Message) -> Message:
    return Message(
        "{schedule}: {memory:,.6g} units, {extra:,.6g} {work}",
        schedule=dot.name,
        memory=dot.memory,
        extra=dot.extra,
        work=work,
    )


def _legend(families: list[str], chosen: Message, low: float, high: float, top: float) -> list[Layer]:
    """Above the points: the chosen schedule, and the families below it."""

    def x_at(share: float) -> np.ndarray:
        return np.array([low * (high / low) ** share])

    y = np.array([1.36 * top])
    layers = [
        Layer("point", x=x_at(0.02), y=y, hue="current", size=5, names=("chosen",)),
        Layer("label", x=x_at(0.06), y=y, hue="current", names=(chosen,)),
    ]
    for number, family in enumerate(families):
        name, hue = FAMILIES[family]
        left, y = 0.02 + 0.26 * number, np.array([1.2 * top])
        style = "hollow" if family == "named" else "solid"
        layers += [
            Layer("point", x=x_at(left), y=y, hue=hue, style=style, size=3, names=(name,)),
            Layer("label", x=x_at(left + 0.03), y=y, hue="muted", style="faint", size=3, names=(name,)),
        ]
    return layers


def _doublings(low: float, high: float) -> tuple[float, ...]:
    """Powers of two between the ends, at most six; none where no power of two lies between them."""
    ticks = [2.0**power for power in range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)]
    return tuple(ticks[:: math.ceil(len(ticks) / 6) or 1])


def _steps(top: float) -> tuple[float, ...]:
    """Four or five round numbers from 0 to the top."""
    rough = top / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= rough)
    return tuple(float(tick) for tick in np.arange(0, top + step / 2, step) if tick <= top * 1.02)
