"""Parts of the checkpointing page: the fields of a strategy, sums in bytes, the full-size trace."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import streamlit as st

from explainers.checkpointing import measure_params
from explainers.checkpointing.schedule_params import ScheduleParams
from pages.ui import lesson, page
from pages.ui.cards import tables
from pages.ui.chapter import Chapter, Shown
from pages.ui.jobs import long_run, prepared_run
from pages.ui.jobs.experiment_run import prepared_or_offered
from pages.ui.player.mount import Click
from pages.ui.prose import Prose
from pages.ui.settings.controls import Settings

OF_STRATEGY: Mapping[str, tuple[str, ...]] = {
    "every_k": ("k",),
    "revolve": ("snapshots",),
    "optimal": ("budget",),
    "custom": ("kept",),
}


def schedule_fields(params: ScheduleParams) -> Sequence[str]:
    """The strategy and the fields that affect its schedule."""
    return ("strategy", *OF_STRATEGY.get(params.strategy, ()), "layers", "boundary", "internal")


def measure_fields(params: measure_params.MeasureParams) -> Sequence[str]:
    return ("block", *measure_params.strategy_fields(params), "layers", "seq_len", "batch")


def model_fields(params: measure_params.ModelParams) -> Sequence[str]:
    return ("model", *measure_params.strategy_fields(params), "seq_len", "batch", "attention", "layers")


def peak_and_forwards(shown: Shown) -> None:
    """How the last change affected the peak and the extra forwards, and the notes."""
    shown.compare({"peak": shown.facts["peak_units"], "extra forwards": shown.facts["extra_forwards"]})
    lesson.notes(shown)


def keep_layer(settings: Settings, click: Click) -> None:
    """A click on a layer keeps or drops its input; the strategy becomes the reader's own ("custom")."""
    params = settings.params()
    shown = prepared_or_offered("checkpointing.schedule", params)
    if shown is not None and 1 <= click.index[0] <= params.layers:
        kept = {*shown.facts["kept"]} ^ {click.index[0]}
        settings.apply({"strategy": "custom", "kept": tuple(sorted(kept))})


def in_bytes(shown: Shown) -> None:
    """What the strategy saves and costs, the sum of what is kept, and the notes."""
    st.markdown(tables.plain(shown.facts["saving"]))
    st.text(shown.facts["formula"])
    lesson.notes(shown)


def bytes_and_count(shown: Shown) -> None:
    """The same, and for GPT blocks without checkpoints the paper's count, term by term, next to the measurement."""
    in_bytes(shown)
    if rows := shown.facts["count_rows"]:
        with page.card("count", "Korthikanti's count and what is measured"):
            tables.show(
                ("what", "how", "bytes"),
                [(row["name"], row["formula"], f"{row['bytes']:,}") for row in rows],
                [2],
            )


@st.fragment
def show_model(chapter: Chapter, settings: Settings, words: Prose) -> None:
    """A whole Llama on fake tensors; it starts by a button, because it takes seconds."""

    def run(params: Any) -> prepared_run.PreparedRun | None:
        return long_run.result_of(chapter.experiment, params, lambda: traced(params))

    lesson.play_run(chapter, settings, words, run=run)


def verdict_and_bytes(shown: Shown) -> None:
    """Whether the model fits, and the same in bytes as of a small one."""
    st.markdown(f"**{tables.plain(shown.facts['verdict'])}**")
    in_bytes(shown)


def traced(
    params: measure_params.ModelParams,
) -> Generator[long_run.Progress, None, prepared_run.PreparedRun]:
    """The trace with its progress, and its picture. Loads torch, which the page otherwise does without."""
    from explainers.checkpointing.model import model_with_progress

    result = yield from model_with_progress(params)
    return prepared_run.prepare("checkpointing.model", result)
