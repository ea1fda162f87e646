"""The picture of what a setting costs: a step for each of its values, with the world and the curves."""

from __future__ import annotations

import numpy as np

from explainers.contract.messages import LiveMessage, Message
from explainers.drawing.formula import formula
from explainers.drawing.panels import Axis, Cells, Line, Lines
from explainers.drawing.scene import Column, Scene, Track, Words, patches
from explainers.grid_world.costs import LOOK_AT, NEAR, CostsResult
from explainers.grid_world.views.ground import SYMBOLS, ground, limit

NAMES = {"epsilon": "ε", "length": "L", "sweeps": "j"}
TITLES = {
    "epsilon": Message("What exploring costs"),
    "length": Message("What short episodes cost"),
    "sweeps": Message("What evaluating costs"),
}
WORLDS = {
    "epsilon": (
        Message("The best policy that explores this much"),
        Message("colour and number: v(s) · arrow length: probability"),
    ),
    "length": (
        Message("What episodes of L steps return"),
        Message("colour and number: the return · arrow: the action"),
    ),
    "sweeps": (
        Message("After {sweeps} sweeps with this j", sweeps=LOOK_AT),
        Message("colour and number: v(s) · arrow: the action"),
    ),
}
# setting: the varied one. wrong: cells whose action is not optimal.
COLUMNS = {
    "epsilon": ("setting", "best_soft", "best_made_soft", "wrong"),
    "length": ("setting", "error", "wrong"),
    "sweeps": ("setting", "sweeps", "improvements", "wrong", "backups"),
}
SENTENCES = {
    "epsilon": LiveMessage(
        "With ε = {setting:.2f} the best policy is worth **{best_soft:.3g}** on average over the cells; the best "
        "policy of all, made to explore as much, {best_made_soft:.3g}. Cells whose best action differs from "
        "the one without exploring: {wrong:d}."
    ),
    "length": LiveMessage(
        "Returns of {setting:d} steps are up to **{error:.3g}** from v*. Cells where the policy is not optimal: "
        "{wrong:d}."
    ),
    "sweeps": LiveMessage(
        "With j = {setting:d}, {sweeps:d} sweeps and {improvements:d} improvements bring all values within {near:g} of "
        "v*: **{backups:d}** backups per cell.",
        near=NEAR,
    ),
}
NOT_FOUND = LiveMessage(
    "With j = {setting:d} the values are not within {near:g} of v* when the sweeps run out.", near=NEAR
)
FORMULAS = {
    "epsilon": r"v(s) = (1 - \slot{setting:.2f}) \max_a q(s, a) + \frac{\slot{setting:.2f}}{|A|} \sum_a q(s, a)",
    "length": r"g = r_1 + \gamma r_2 + \ldots + \gamma^{L - 1} r_L , \quad L = \slot{setting:d}",
    "sweeps": r"\slot{sweeps:d} + |A| \cdot \slot{improvements:d} = \slot{backups:d}",
}


def scene(result: CostsResult) -> Scene:
    """The world at each value of the setting, and the measured curves up to it."""
    study, points = result.params.study, len(result.at)
    return Scene(
        name="grid_world.costs",
        title=TITLES[study],
        steps=points,
        columns=(Column(1.15, (_world(result),)), Column(1, (_measured(result), _wrong(result)))),
        words=_words(result),
        start=_start(result.wrong),
        reopens=True,
        rate=3,
        symbols=SYMBOLS,
        step_name=NAMES[study],
    )


def _start(wrong: np.ndarray) -> int:
    """The first point at which half of the wrong cells are right, or others are wrong; without one, a third."""
    differs = wrong <= wrong[0] / 2 if wrong[-1] < wrong[0] else wrong != wrong[0]
    return int(np.argmax(differs)) if differs.any() else len(wrong) // 3


def _world(result: CostsResult) -> Cells:
    """The values and the policy at each value of the setting."""
    world, points = result.params.grid, len(result.at)
    idle = ~world.acting[:, None]
    title, subtitle = WORLDS[result.params.study]
    return Cells(
        name="values",
        title=title,
        subtitle=subtitle,
        height=470,
        values=patches(list(result.values.reshape(points, -1))),
        limit=Track(np.array([[limit(values)] for values in result.values])),
        policy=patches([np.where(idle, np.nan, policy).ravel() for policy in result.policies]),
        decimals=2 if limit(result.values) < 10 else 1,
        **ground(world),
    )


def _measured(result: CostsResult) -> Lines:
    if result.params.study == "epsilon":
        return _worth(result)
    return _error(result) if result.params.study == "length" else _backups(result)


def _worth(result: CostsResult) -> Lines:
    soft, made_soft = result.measured.values()
    lowest, highest = float(np.min([soft, made_soft])), float(soft.max())
    return _curves(
        result,
        title="What the policies are worth",
        subtitle="mean of v(s) over the cells",
        y=_axis(lowest, highest),
        lines=(
            Line(result.at, soft, hue="current", label="best that explores"),
            Line(result.at, made_soft, hue="score", label="best of all, made to explore"),
        ),
    )


def _error(result: CostsResult) -> Lines:
    (error,) = result.measured.values()
    lines, subtitle = [Line(result.at, error, hue="current", label="|v − v*|")], ""
    if result.params.target != "end":
        # the target pays a reward at every step; what comes after L steps is worth gamma^L of the whole
        beyond = result.params.gamma**result.at * np.abs(result.best.values).max()
        lines.append(Line(result.at, beyond, hue="muted", label="γᴸ max |v*|", dashed=True))
        subtitle = Message("dashed: the part of the largest value that comes after L steps")
    highest = float(max(line.y.max() for line in lines))
    return _curves(
        result,
        title="The largest error of the returns",
        subtitle=subtitle,
        y=_axis(0, highest),
        lines=tuple(lines),
    )


def _backups(result: CostsResult) -> Lines:
    sweeps, improvements, backups = result.measured.values()
    actions = len(result.params.grid.moves.mix)
    found = backups[np.isfinite(backups)]
    return _curves(
        result,
        title=Message("What it takes to come within {near:g} of v*", near=NEAR),
        subtitle="backups per cell",
        y=_axis(0, float(found.max(initial=1))),
        lines=(
            Line(
                result.at,
                backups,
                hue="current",
                label=Message("backups: sweeps + {actions} × improvements", actions=actions),
            ),
            Line(result.at, sweeps, hue="output", label="sweeps"),
            Line(result.at, improvements, hue="score", label="improvements"),
        ),
    )


def _wrong(result: CostsResult) -> Lines:
    titles = {
        "epsilon": Message("Cells whose action is not optimal without exploring"),
        "length": Message("Cells in which the policy is not optimal"),
        "sweeps": Message("Cells in which the policy is not optimal after {sweeps} sweeps", sweeps=LOOK_AT),
    }
    return _curves(
        result,
        title=titles[result.params.study],
        y=_axis(0, max(float(result.wrong.max()), 1.0)),
        lines=(Line(result.at, result.wrong.astype(float), hue="bad"),),
        name="wrong",
        height=130,
    )


def _curves(
    result: CostsResult,
    *,
    title: str,
    y: Axis,
    lines: tuple[Line, ...],
    subtitle: str = "",
    name: str = "costs",
    height: int = 230,
) -> Lines:
    """Curves over the setting, which appear point by point."""
    return Lines(
        name=name,
        title=title,
        subtitle=subtitle,
        height=height,
        x=_across(result),
        y=y,
        lines=lines,
        shown=Track(np.arange(1, len(result.at) + 1)[:, None]),
        ahead=True,
    )


def _across(result: CostsResult) -> Axis:
    """j on a log axis, as it is spaced; the others from end to end."""
    name, study = NAMES[result.params.study], result.params.study
    first, last = float(result.at[0]), float(result.at[-1])
    if study == "sweeps":
        return Axis(first, last, log=True, label=name, ticks=(1, 5, 20), format="d")
    ticks = (
        (0, 0.25, 0.5, 0.75)
        if study == "epsilon"
        else tuple(float(round(last * k / 4)) for k in (0.25, 1, 2, 3))
    )
    return Axis(first, last, label=name, ticks=ticks, format=".3g")


def _axis(lowest: float, highest: float) -> Axis:
    room = 0.05 * max(highest - lowest, 1e-9)
    ticks = (lowest, 0.0, highest) if lowest < 0 < highest else (lowest, highest)
    return Axis(lowest - room, highest + room, ticks=ticks, format=".3g")


def _words(result: CostsResult) -> Words:
    study = result.params.study
    numbers = {
        "setting": result.at,
        **result.measured,
        "wrong": result.wrong,
    }
    values = np.stack([numbers[name] for name in COLUMNS[study]], axis=1).astype(float)
    not_found = np.isnan(values).any(axis=1)
    return Words(
        sentences=(SENTENCES[study], NOT_FOUND),
        which=not_found.astype(int),
        values=np.nan_to_num(values),
        formulas=(formula(FORMULAS[study]), ""),
        columns=COLUMNS[study],
    )
