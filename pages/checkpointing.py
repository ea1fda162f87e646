"""Gradient checkpointing: schedules played on a chain, the law, a real training step traced, full-size models."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import streamlit as st

from explainers.checkpointing import law, measure_params, optimal, question, schedule
from explainers.contract.experiment import find
from pages.ui import chapters, page, section
from pages.ui.cards import predict, tables
from pages.ui.jobs import packed_result, run
from pages.ui.player.mount import Click
from pages.ui.prose import prose
from pages.ui.settings import breaks, controls

words = prose("checkpointing")
page.frame("Training", "Gradient checkpointing, to the byte", words["claim"])
CHAPTERS = {
    "schedule": "Play a schedule",
    "law": "The law",
    "measure": "A real model",
    "model": "Full size",
    "optimal": "Unequal layers",
}
settings = controls.settings(
    schedule.ScheduleParams,
    _page=chapters.params_of(CHAPTERS),
    law=law.LawParams,
    measure=measure_params.MeasureParams,
    model=measure_params.ModelParams,
    optimal=optimal.OptimalParams,
)
SCHEDULE = "checkpointing.schedule"
TRY = (
    ("try_none", "Keep everything", {"strategy": "none"}),
    ("try_full", "Every layer", {"strategy": "full", "internal": 4}),
    ("try_inside", "Real insides", {"strategy": "full", "internal": 17}),
    ("try_revolve", "Revolve, 3 kept", {"strategy": "revolve", "snapshots": 3}),
    ("try_optimal", "A budget of 9", {"strategy": "optimal", "budget": 9}),
)


@st.fragment
def schedule_section() -> None:
    """A schedule on a chain: controls, player, what changed, checks, what to try."""
    st.markdown(words["schedule"])
    if (shown := section.steered(settings, SCHEDULE, schedule_controls, on_click=keep)) is None:
        return
    params = settings.params()
    settings.changed({"peak": shown.facts["peak_units"], "extra forwards": shown.facts["extra_forwards"]})
    tables.lines(shown.facts["notes"])
    section.cards(
        SCHEDULE,
        params,
        shown.checks,
        shown.scene,
        question=which_segment(params),
        tries=lambda: settings.try_this([(label, changes, words[name]) for name, label, changes in TRY]),
    )


def schedule_controls() -> None:
    """The strategy with the settings that tell for it, and the switches."""
    settings.panel("strategy", *question.telling_fields(settings.params()))
    breaks.switches(settings, find("checkpointing.schedule").breaks)
    breaks.loss(settings, find("checkpointing.schedule").breaks)


def which_segment(params: schedule.ScheduleParams) -> predict.Question | None:
    """Which segments have the lowest peak; None where all that could be asked about are as good."""
    if (best := question.best_segment(params)) is None:
        return None
    asked, because = words["predict"].format(**params.model_dump()), words["predict_reveal"]
    return predict.Question(asked, list(best.answers), best.right, because.format(why=best.why))


def keep(click: Click) -> None:
    """A click on a layer keeps its input for the backward pass, or no longer does: the schedule is then your own."""
    params = settings.params()
    shown = run.drawn(SCHEDULE, params)
    if shown is not None and 1 <= click.index[0] <= params.layers:
        kept = {*shown.facts["kept"]} ^ {click.index[0]}
        settings.apply({"strategy": "custom", "kept": tuple(sorted(kept))})


@st.fragment
def model_section() -> None:
    """A whole Llama on fake tensors: by a button, since it takes seconds."""
    section.heading("Full size, without the memory", words["model"])
    settings.settle()
    of_strategy = measure_params.strategy_fields(settings.params("model"))
    params = settings.panel("model", *of_strategy, "seq_len", "batch", "attention", "layers", prefix="model")
    shown = run.job("checkpointing.model", params, lambda: traced(params))
    if shown is None:
        return
    section.picture(settings, shown, "model")
    st.markdown(f"**{tables.plain(shown.facts['verdict'])}**")
    in_bytes(shown.facts)
    section.cards("checkpointing.model", params, shown.checks, shown.scene)


def traced(params: measure_params.ModelParams) -> Generator[run.Progress, None, packed_result.Drawn]:
    """The trace with its progress, and its picture. torch is loaded here, when it is asked for."""
    from explainers.checkpointing.model import model_with_progress

    result = yield from model_with_progress(params)
    return packed_result.packed("checkpointing.model", result)


def in_bytes(facts: Mapping[str, Any]) -> None:
    """What the strategy saves and costs, the sum with its numbers, and what was assumed."""
    st.markdown(tables.plain(facts["saving"]))
    st.text(facts["formula"])
    tables.lines(facts["notes"])


def measured(facts: Mapping[str, Any]) -> None:
    """The same, and where it applies the count of the paper, term by term, beside what was measured."""
    in_bytes(facts)
    if rows := facts["count_rows"]:
        with page.card("count", "Korthikanti's count and what is measured"):
            tables.show(
                ("what", "how", "bytes"),
                [(row["name"], row["formula"], f"{row['bytes']:,}") for row in rows],
                [2],
            )


match chapters.choose(settings):
    case "schedule":
        schedule_section()
    case "law":
        section.played(
            settings, "checkpointing.law", "law", title="How long should a segment be?", words=words["law"],
            fields=("layers", "ratio"),
        )  # fmt: skip
    case "measure":
        section.played(
            settings, "checkpointing.measure", "measure", title="A training step, traced", words=words["measure"],
            fields=lambda params: ("block", *measure_params.strategy_fields(params), "layers", "seq_len", "batch"),
            more=("hidden", "heads", "kv_heads", "attention", "dropout", "dtype", "seed", "fake"), told=measured,
        )  # fmt: skip
    case "model":
        model_section()
    case "optimal":
        section.played(
            settings, "checkpointing.optimal", "optimal", title="Layers that differ", words=words["optimal"],
            fields=("budget", "times", "boundaries", "internals"),
        )  # fmt: skip
page.sources(words["sources"])
