"""The picture of the best schedule of a chain of unequal layers: played, and its cost at every budget."""

from __future__ import annotations

from explainers.checkpointing import rotor
from explainers.checkpointing.optimal import OptimalResult
from explainers.checkpointing.views.lanes import chain_panel
from explainers.checkpointing.views.plane import Dot, plane
from explainers.checkpointing.views.playing import condensed
from explainers.checkpointing.views.schedule import SYMBOLS, memory_panel, schedule_code, so_far, words
from explainers.drawing.panels import Marks
from explainers.drawing.scene import Column, Scene


def scene(result: OptimalResult) -> Scene:
    """Every action of the best schedule, ready to be played."""
    params = result.params
    playing = condensed(
        result.moments, result.lines, params.boundaries, params.internals, predicted=params.budget
    )
    end = (
        f"All layers have gone backward. The peak was **{result.peak:,} units** of {params.budget:,}; forward runs "
        f"took {result.extra_time:,} longer than the {result.forward_time:,} that one run of every layer takes."
    )
    return Scene(
        name="checkpointing.optimal",
        title=f"The best schedule of {len(params.times)} unequal layers in {params.budget:,} units",
        steps=playing.steps,
        columns=(
            Column(1.9, (chain_panel(playing, clickable=False), memory_panel(playing, "the budget"))),
            Column(1, (_front(result), so_far(playing))),
        ),
        words=words(playing, r"M = \slot{3:d}", end, rf"\max M = {result.peak}"),
        stops=playing.turns(),
        start=playing.peak,
        reopens=True,
        rate=3.0,
        symbols={"M": SYMBOLS["M"]},
        below=(Column(1, (schedule_code(rotor.optimal, playing.lines),)),),
    )


def _front(result: OptimalResult) -> Marks:
    dots = [Dot(_family(one.label), one.label, one.peak, one.extra_time) for one in result.baselines]
    curve = zip(result.budgets.tolist(), result.least_extra_time.tolist(), strict=True)
    dots += [Dot("optimal", f"optimal in {budget}", budget, extra) for budget, extra in curve]
    chosen = Dot("chosen", f"optimal in {result.params.budget}", result.peak, result.extra_time)
    return plane(
        "front",
        "Peak memory against extra time",
        "across: units of memory · up: extra forward time",
        dots,
        chosen,
        highest=2.3 * result.forward_time,
        work="longer",
    )


def _family(label: str) -> str:
    return "every_k" if label.startswith("every") else "revolve" if label.startswith("Revolve") else "named"
