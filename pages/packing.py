"""Packing: documents placed into packs, histograms packed, padding removed, and a decoder run three ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from explainers.contract.experiment import find
from explainers.packing import histogram_params, pack_params, question, run_params, unpad_params
from pages.ui import chapters, page, section
from pages.ui.cards import predict, tables
from pages.ui.jobs import run
from pages.ui.prose import prose
from pages.ui.settings import breaks, controls

words = prose("packing")
page.frame("Training", "Packing: every token earns its place", words["claim"])
CHAPTERS = {
    "pack": "Pack documents",
    "histogram": "Pack millions",
    "unpad": "Remove padding",
    "run": "Run it",
}
settings = controls.settings(
    pack_params.PackParams,
    _page=chapters.params_of(CHAPTERS),
    histogram=histogram_params.HistogramParams,
    unpad=unpad_params.UnpadParams,
    run=run_params.RunParams,
)
TRY = (
    ("try_pad", "Pad to the longest", {"strategy": "pad_to_longest", "versus": "next_fit"}),
    ("try_next_fit", "One open pack", {"strategy": "next_fit", "versus": "best_fit"}),
    (
        "try_decreasing", "Longest first",
        {"strategy": "best_fit_decreasing", "versus": "best_fit", "source": "uniform", "shortest": 200, "longest": 700,
         "seed": 3},
    ),
    (
        "try_wrap", "Concatenate and cut",
        {"strategy": "wrap", "versus": "best_fit", "source": "uniform", "shortest": 400, "longest": 900, "count": 32},
    ),
    ("try_bimodal", "Chats", {"source": "bimodal", "strategy": "best_fit", "versus": "next_fit"}),
)  # fmt: skip
TRY_RUN = (
    ("try_run_empty", "Empty documents", {"lengths": "12,0,5,0,9"}),
    ("try_run_long", "One long document", {"lengths": "64,3,2,5,4,2"}),
    ("try_run_equal", "Equal lengths", {"lengths": "9,9,9,9,9,9"}),
)


@st.fragment
def pack_section() -> None:
    """Documents placed one by one by two strategies: the picture, what each wastes, checks, what to try."""
    st.markdown(words["pack"])
    if (shown := section.steered(settings, "packing.pack", pack_controls)) is None:
        return
    params, facts = settings.params(), shown.facts
    settings.changed(question.told(facts), sound=unbroken(params))
    tables.show(question.COUNT_NAMES, question.count_rows(facts), numbers=range(1, len(question.COUNT_NAMES)))
    tables.lines(facts["notes"])
    section.cards(
        "packing.pack",
        params,
        shown.checks,
        shown.scene,
        question=packs_twice_as_long(facts, params) if question.can_be_asked(params) else None,
        tries=lambda: settings.try_this([(label, changes, words[name]) for name, label, changes in TRY]),
    )


def pack_controls() -> None:
    """The two strategies and the documents, the switches, and behind buttons what is set less often."""
    params = settings.params()
    settings.panel("strategy", "versus", *question.telling_fields(params))
    with st.container(horizontal=True, vertical_alignment="center", key="switches-"):
        breaks.switches(settings, find("packing.pack").breaks)
        with st.popover("More settings", type="tertiary"):
            settings.panel(*question.further_fields(params), reset=False)
        with st.popover(settings.title("lengths"), type="tertiary"):
            settings.panel("lengths", reset=False)
    breaks.loss(settings, find("packing.pack").breaks)


def unbroken(params: pack_params.PackParams) -> Mapping[str, Any] | None:
    """What a broken run is compared with: the numbers of the same settings, sound; None where nothing is broken."""
    if params.break_it == "none" or params.needs_button:
        return None
    sound = run.drawn("packing.pack", params.model_copy(update={"break_it": "none"}))
    return sound and question.told(sound.facts)


def packs_twice_as_long(facts: Mapping[str, Any], params: pack_params.PackParams) -> predict.Question:
    """How much of the attention arithmetic is wasted in packs of twice the capacity."""
    asked = question.asked(facts, params)
    return predict.Question(
        words["predict"].format(**asked),
        asked["answers"],
        asked["right"],
        words["predict_reveal"].format(**asked),
    )


def after_histogram(facts: Mapping[str, Any]) -> None:
    """What a change did to the packs, and their notes."""
    numbers = {"packs": facts["packs"], "full": f"{facts['efficiency_percent']:.2f}%"}
    settings.changed(numbers, "histogram")
    section.notes(facts)


def after_run(facts: Mapping[str, Any]) -> None:
    """What a change did to the three ways, their notes, and lengths to try."""
    numbers = {
        "loss, unpadded": "loss_unpadded",
        "logits off by": "max_abs_logit_error",
        "leak": "leak_unpadded",
    }
    settings.changed({label: facts[name] for label, name in numbers.items()}, "run")
    section.notes(facts)
    settings.try_this([(label, changes, words[name]) for name, label, changes in TRY_RUN], "run")


match chapters.choose(settings):
    case "pack":
        pack_section()
    case "histogram":
        section.played(
            settings, "packing.histogram", "histogram", title="Millions of documents at once",
            words=words["histogram"], fields=("strategy", "depth"), paragraph="histogram", told=after_histogram,
        )  # fmt: skip
    case "unpad":
        section.played(
            settings, "packing.unpad", "unpad", title="Padding removed, tensor by tensor", words=words["unpad"],
            fields=("lengths", "images", "model"),
            more=("pad_again", "heads", "kv_heads", "head_size", "block_q", "block_k"),
        )  # fmt: skip
    case "run":
        section.played(
            settings, "packing.run", "run", title="The same decoder, three ways", words=words["run"],
            fields=("lengths", "layers", "hidden", "positions"),
            more=("heads", "kv_heads", "head_dim", "vocab", "backend", "seed"), told=after_run,
        )  # fmt: skip
page.sources(words["sources"])
