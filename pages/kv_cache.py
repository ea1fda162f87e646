"""The KV cache: models compared, the sharing at work, what fits on which GPUs, how fast it can be read, and print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from explainers.contract.experiment import find
from explainers.kv_cache import compare, decode_params, published
from explainers.kv_cache.fit import FitParams
from explainers.kv_cache.roofline import RooflineParams
from explainers.kv_cache.views import size as size_tables
from pages.ui import chapters, page, section
from pages.ui.cards import predict, tables
from pages.ui.prose import prose
from pages.ui.settings import breaks, controls

words = prose("kv_cache")
page.frame("Attention", "The KV cache, counted and measured", words["claim"])
CHAPTERS = {
    "compare": "Compare models",
    "sharing": "Share heads",
    "fit": "Fit on GPUs",
    "roofline": "Speed",
    "published": "In print",
}
settings = controls.settings(
    compare.CompareParams,
    _page=chapters.params_of(CHAPTERS),
    sharing=decode_params.DecodeParams,
    fit=FitParams,
    roofline=RooflineParams,
)
TRY = (
    ("try_mha", "MHA to GQA", {"models": ("llama-65b", "llama-2-70b"), "seq_len": 4096}),
    ("try_windows", "Windows", {"models": ("gemma-3-27b", "gpt-oss-20b")}),
    ("try_ranks", "32 ranks", {"tensor_parallel": 32}),
    ("try_quantized", "Four bits", {"dtype": "q4_0"}),
    ("try_batch", "64 readers", {"batch": 64}),
)


@st.fragment
def compare_section() -> None:
    """Models side by side: the picture, the three numbers, and where every number comes from."""
    st.markdown(words["compare"])
    if (shown := section.steered(settings, "kv_cache.compare", compare_controls)) is None:
        return
    sizes = shown.facts["sizes"]
    tables.show(size_tables.SIZE_NAMES, size_tables.size_rows(sizes), numbers=range(2, 7))
    tables.lines(f"{one['title']}: {note}" for one in sizes for note in one["notes"])
    settings.changed(size_tables.both_counts(sizes))
    with page.card("where", "Where the numbers come from"):
        where(sizes)
    section.cards(
        "kv_cache.compare",
        settings.params(),
        shown.checks,
        shown.scene,
        question=question(shown.facts["on_ranks"]),
        tries=lambda: settings.try_this([(label, changes, words[name]) for name, label, changes in TRY]),
    )


def compare_controls() -> None:
    """The models and the request, the switches, and behind buttons the engine and a config of one's own."""
    settings.panel("models", "seq_len", "batch", "dtype")
    with st.container(horizontal=True, vertical_alignment="center", key="switches-"):
        breaks.switches(settings, find("kv_cache.compare").breaks)
        with st.popover("Engine", type="tertiary"):
            settings.panel("tensor_parallel", "block_tokens", reset=False)
        with st.popover("Paste a config.json", type="tertiary"):
            settings.panel("config", reset=False)
    breaks.loss(settings, find("kv_cache.compare").breaks)


def where(sizes: Sequence[Mapping[str, Any]]) -> None:
    """Each model's formula with its numbers, and the config keys behind them, side by side."""
    st.markdown(words["where"])
    for column, one in zip(st.columns(len(sizes)), sizes, strict=True):
        with column:
            st.markdown(f"**{tables.plain(one['title'])}**")
            st.caption(tables.plain(one["config_from"]))
            st.text(size_tables.formula_words(one))
            tables.show(size_tables.KEY_NAMES, size_tables.key_rows(one))


def question(on_ranks: Mapping[str, Any]) -> predict.Question:
    """What sharing costs on many ranks: from one copy to one on each."""
    right = str(on_ranks["factor"])
    answers = sorted({"1", "4", str(on_ranks["ranks"]), right}, key=int)
    return predict.Question(
        words["predict"].format(**on_ranks), answers, right, words["predict_reveal"].format(**on_ranks)
    )


def on_gpus(facts: Mapping[str, Any]) -> None:
    """What fits at most, the sum with its numbers, and what was assumed."""
    tables.show(size_tables.FIT_NAMES, [size_tables.fit_row(facts)])
    sum_and_notes(facts)


def sum_and_notes(facts: Mapping[str, Any]) -> None:
    """The formula with its numbers, and a line for each thing that was assumed or left out."""
    st.text(size_tables.formula_words(facts))
    tables.lines(facts["notes"])


@st.fragment
def published_section() -> None:
    """Figures in print, beside the same figures counted here."""
    section.heading("What has been printed", words["published"])
    params = published.PublishedParams()
    result = published.published(params)
    for agree, name in ((False, "differ"), (True, "agree")):
        rows = [row for row in result.rows if row.agrees == agree]
        with page.card(name, f"{len(rows)} figures that {name}"):
            tables.show(size_tables.PUBLISHED_NAMES, size_tables.published_rows(rows), numbers=(2, 3))
    section.cards("kv_cache.published", params, result.checks)


match chapters.choose(settings):
    case "compare":
        compare_section()
    case "sharing":
        section.played(
            settings, "kv_cache.decode", "sharing", title="Who shares what", words=words["sharing"],
            fields=decode_params.telling_fields,
            more=("heads", "hidden_size", "prefill", "dtype", "seed"),
        )  # fmt: skip
    case "fit":
        section.played(
            settings, "kv_cache.fit", "fit", title="What fits on which GPUs", words=words["fit"],
            fields=("model", "gpu", "tensor_parallel", "seq_len", "batch", "weight_dtype", "dtype"),
            more=("memory_share", "block_tokens"), paragraph="config", told=on_gpus,
        )  # fmt: skip
    case "roofline":
        section.played(
            settings, "kv_cache.roofline", "roofline", title="How fast it can be read", words=words["roofline"],
            fields=("model", "gpu", "tensor_parallel", "seq_len", "batch", "weight_dtype", "dtype"), paragraph="config",
            told=sum_and_notes,
        )  # fmt: skip
    case "published":
        published_section()
page.sources(words["sources"])
