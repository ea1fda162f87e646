"""The picture of the best schedule of a chain of unequal layers: played, and its cost at every budget."""

from __future__ import annotations

from explainers.checkpointing import rotor
from explainers.checkpointing.optimal import OptimalResult
from explainers.checkpointing.pareto import optimal_label
from explainers.checkpointing.views.lanes import chain_panel
from explainers.checkpointing.views.latex import MAX_M
from explainers.checkpointing.views.plane import Dot, plane
from explainers.checkpointing.views.playing import condensed
from explainers.checkpointing.views.schedule import SYMBOLS, memory_panel, schedule_code, so_far, words
from explainers.contract.messages import Message
from explainers.drawing.panels import Marks
from explainers.drawing.scene import Column, Scene


def scene(result: OptimalResult) -> Scene:
    """Every action of the best schedule, ready to be played."""
    params = result.params
    playing = condensed(
        result.moments, result.lines, params.boundaries, params.internals, predicted=params.budget
    )
    end = Message(
        "All layers have gone backward. The peak was **{peak:,} units** of {budget:,}; forward runs took {extra:,} "
        "longer than the {forward:,} that one run of every layer takes.",
        peak=result.peak,
        budget=params.budget,
        extra=result.extra_time,
        forward=result.forward_time,
    )
    return Scene(
        name="checkpointing.optimal",
        title=Message(
            "The best schedule of {layers} unequal layers in {budget:,} units",
            layers=len(params.times),
            budget=params.budget,
        ),
        steps=playing.steps,
        columns=(
            Column(
                1.9, (chain_panel(playing, clickable=False), memory_panel(playing, Message("the budget")))
            ),
            Column(1, (_front(result), so_far(playing))),
        ),
        words=words(playing, r"M = \slot{memory:d}", end, f"{MAX_M} = {result.peak}"),
        stops=playing.turns(),
        start=playing.peak,
        reopens=True,
        rate=3.0,
        symbols={"M": SYMBOLS["M"]},
        below=(Column(1, (schedule_code(rotor.optimal, playing.lines),)),),
    )


def _front(result: OptimalResult) -> Marks:
    """Peak memory against extra time: the usual schedules, the optimum at every budget, and the chosen one."""
    dots = [Dot(usual.family, usual.label, usual.peak, usual.extra_time) for usual in result.baselines]
    curve = zip(result.budgets.tolist(), result.least_extra_time.tolist(), strict=True)
    dots += [Dot("optimal", optimal_label(budget), budget, extra) for budget, extra in curve]
    chosen = Dot("chosen", optimal_label(result.params.budget), result.peak, result.extra_time)
    return plane(
        name="front",
        title="Peak memory against extra time",
        subtitle="across: units of memory · up: extra forward time",
        dots=dots,
        chosen=chosen,
        highest=2.3 * result.forward_time,
        work=Message("longer"),
    )
