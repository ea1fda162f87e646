"""The picture of what a setting costs: a step for each of its values, the world beside the curves."""

from __future__ import annotations

import numpy as np

from explainers.drawing.formula import formula
from explainers.drawing.panels import Axis, Cells, Line, Lines
from explainers.drawing.scene import Column, Scene, Track, Words, patches
from explainers.grid_world.costs import LOOK_AT, NEAR, CostsResult
from explainers.grid_world.views.ground import SYMBOLS, ground, limit

NAMES = {"epsilon": "ε", "length": "L", "sweeps": "j"}
TITLES = {
    "epsilon": "What exploring costs",
    "length": "What short episodes cost",
    "sweeps": "What evaluating costs",
}
WORLDS = {
    "epsilon": (
        "The best policy that explores so much",
        "colour and number: v(s) · arrows: as long as probable",
    ),
    "length": ("What episodes of L steps return", "colour and number: the return · arrow: the action"),
    "sweeps": (f"After {LOOK_AT} sweeps with this j", "colour and number: v(s) · arrow: the action"),
}
SENTENCES = {
    "epsilon": "With ε = {0:.2f} the best policy is worth **{1:.3g}** on average over the cells; the best policy of "
    "all, made to explore as much, {2:.3g}. Cells whose best action is another than without exploring: {3:d}.",
    "length": "Returns of {0:d} steps are up to **{1:.3g}** from v*. Cells with a policy not optimal: {3:d}.",
    "sweeps": f"With j = {{0:d}}, {{1:d}} sweeps and {{2:d}} improvements bring all values within {NEAR:g} of v*: "
    "**{4:d}** backups a cell.",
}
UNFOUND = f"With j = {{0:d}} the values are not within {NEAR:g} of v* when the sweeps run out."
FORMULAS = {
    "epsilon": r"v(s) = (1 - \slot{0:.2f}) \max_a q(s, a) + \frac{\slot{0:.2f}}{|A|} \sum_a q(s, a)",
    "length": r"g = r_1 + \gamma r_2 + \ldots + \gamma^{L - 1} r_L , \quad L = \slot{0:d}",
    "sweeps": r"\slot{1:d} + |A| \cdot \slot{2:d} = \slot{4:d}",
}


def scene(result: CostsResult) -> Scene:
    """The world at each value of the setting, and the measured curves up to it."""
    world, study, points = result.params.grid, result.params.study, len(result.at)
    idle = ~world.lived_in[:, None]
    title, subtitle = WORLDS[study]
    return Scene(
        name="grid_world.costs",
        title=TITLES[study],
        steps=points,
        columns=(
            Column(
                1.15,
                (
                    Cells(
                        "values",
                        title,
                        subtitle,
                        height=470,
                        values=patches(list(result.values.reshape(points, -1))),
                        limit=Track(np.array([[limit(one)] for one in result.values])),
                        policy=patches([np.where(idle, np.nan, one).ravel() for one in result.policies]),
                        decimals=2 if limit(result.values) < 10 else 1,
                        **ground(world),
                    ),
                ),
            ),
            Column(1, (_measured(result), _wrong(result))),
        ),
        words=_words(result),
        start=points // 3,
        reopens=True,
        rate=3,
        symbols=SYMBOLS,
        step_name=NAMES[study],
    )


def _measured(result: CostsResult) -> Lines:
    if result.params.study == "epsilon":
        return _worth(result)
    return _error(result) if result.params.study == "length" else _backups(result)


def _worth(result: CostsResult) -> Lines:
    soft, made_soft = result.measured.values()
    lowest, highest = float(np.min([soft, made_soft])), float(soft.max())
    lines = (
        Line(result.at, soft, "current", "best that explores"),
        Line(result.at, made_soft, "score", "best of all, made to explore"),
    )
    y = _axis(lowest, highest)
    return _curves(result, "What the policies are worth", "mean of v(s) over the cells", lines, y)


def _error(result: CostsResult) -> Lines:
    (error,) = result.measured.values()
    lines, subtitle = [Line(result.at, error, "current", "|v − v*|")], ""
    if result.params.target != "end":
        # a reward for ever, of which the first L are seen: gamma^L of its worth is not
        beyond = result.params.gamma**result.at * np.abs(result.best.values).max()
        lines.append(Line(result.at, beyond, "muted", "γᴸ max |v*|", dashed=True))
        subtitle = "dashed: the part of the largest value that comes after L steps"
    highest = float(max(line.y.max() for line in lines))
    return _curves(result, "The largest error of the returns", subtitle, tuple(lines), _axis(0, highest))


def _backups(result: CostsResult) -> Lines:
    sweeps, improvements, backups = result.measured.values()
    actions = len(result.params.grid.moves.mix)
    lines = (
        Line(result.at, backups, "current", f"backups: sweeps + {actions} × improvements"),
        Line(result.at, sweeps, "output", "sweeps"),
        Line(result.at, improvements, "score", "improvements"),
    )
    found = backups[np.isfinite(backups)]
    y = _axis(0, float(found.max(initial=1)))
    return _curves(result, f"What it takes to come within {NEAR:g} of v*", "backups a cell", lines, y)


def _wrong(result: CostsResult) -> Lines:
    title = "Cells whose action is not optimal without exploring"
    if result.params.study != "epsilon":
        after = f" after {LOOK_AT} sweeps" if result.params.study == "sweeps" else ""
        title = f"Cells in which the policy is not optimal{after}"
    lines = (Line(result.at, result.wrong.astype(float), "bad"),)
    return _curves(result, title, "", lines, _axis(0, max(float(result.wrong.max()), 1.0)), "wrong", 130)


def _curves(
    result: CostsResult,
    title: str,
    subtitle: str,
    lines: tuple[Line, ...],
    y: Axis,
    name: str = "costs",
    height: int = 230,
) -> Lines:
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
    """The columns: 0 the setting, 1 and 2 what was measured, 3 cells not optimal, 4 backups."""
    study = result.params.study
    measured = list(result.measured.values())
    nothing = np.zeros(len(result.at))
    columns = [result.at, *measured[:2], *[nothing] * (2 - len(measured[:2])), result.wrong, *measured[2:]]
    values = np.stack(columns, axis=1).astype(float)
    unfound = np.isnan(values).any(axis=1)
    return Words(
        (SENTENCES[study], UNFOUND),
        unfound.astype(int),
        np.nan_to_num(values),
        (formula(FORMULAS[study]), ""),
    )
