"""Stochastic approximation: a mean by small steps, the root of a noisy function, forgetting, SGD, and the bridge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from explainers.stochastic_approximation import bridge, dvoretzky, mean, question, robbins_monro, sgd
from explainers.stochastic_approximation.steps import StepParams, step_fields
from pages.ui import breaking, chapters, controls, page, predict, section, tables
from pages.ui.prose import prose

words = prose("stochastic_approximation")
page.frame("Reinforcement learning", "Stochastic approximation: a little towards each sample", words["claim"])
CHAPTERS = {
    "mean": "A running mean", "search": "A noisy root", "forgetting": "Forgetting", "sgd": "SGD",
    "bridge": "The bridge",
}  # fmt: skip
settings = controls.settings(
    robbins_monro.RobbinsMonroParams, _page=chapters.params_of(CHAPTERS),
    mean=mean.MeanParams, forgetting=dvoretzky.DvoretzkyParams, sgd=sgd.SgdParams, bridge=bridge.BridgeParams,
)  # fmt: skip
SEARCH = "stochastic_approximation.robbins_monro"
TRY = (
    ("mean", "try_mean_forgets", "A constant step", {"step_rule": "constant", "c": 0.1}),
    ("mean", "try_mean_slow", "Slower: 1/√k", {"p": 0.5}),
    ("mean", "try_mean_stuck", "Too small", {"step_rule": "1/(k+1)^2"}),
    ("", "try_printed", "As printed", {"function": "cubic"}),
    ("", "try_mended", "As drawn", {"function": "cubic", "step_rule": "c/(k+b)", "b": 1}),
    ("", "try_heavy", "Heavy tails", {"noise": "heavy_tailed", "steps": 200}),
    ("", "try_sine", "Several roots", {"function": "sine", "steps": 200, "low": -8, "high": 12}),
    ("", "try_flat", "A flat part", {"function": "flat", "steps": 200}),
    ("forgetting", "try_half", "Half way", {"step_rule": "1/(k+1)^2"}),
    ("forgetting", "try_once", "At once", {}),
    ("forgetting", "try_patience", "Patience", {"c": 0.5, "steps": 200}),
    ("sgd", "try_all", "One against all", {"batch_sizes": ("1", "all")}),
    ("sgd", "try_line", "A line", {"problem": "regression", "batch_sizes": ("1", "5", "all"), "steps": 100}),
    ("sgd", "try_floor", "Floors", {"step_rule": "constant", "c": 0.2, "steps": 60}),
    ("bridge", "try_bridge_constant", "Constant 0.1", {"step_rule": "constant", "c": 0.1, "updates": 1000}),
    ("bridge", "try_bridge_small", "Too small", {"step_rule": "1/(k+1)^2"}),
)  # fmt: skip


def offer(chapter: str) -> None:
    """Settings to try, each with what to look for."""
    settings.try_this(
        [(label, changes, words[name]) for of, name, label, changes in TRY if of == chapter], chapter
    )


@st.fragment
def search_section() -> None:
    """The root of a function seen through noise: the picture, what the theorem says, a question."""
    section.heading("The root of a function seen through noise", words["search"])
    if (shown := section.steered(settings, SEARCH, search_controls)) is None:
        return
    params, facts = settings.params(), shown.facts
    settings.changed(question.told(facts))
    with page.card("conditions", "The theorem, for this choice"):
        for one in facts["conditions"]:
            mark = ":green[**✓**]" if one["holds"] else ":red[**✗**]"
            st.markdown(f"{mark} **{one['name']}**: {tables.plain(one['why'])}.")
        st.markdown(tables.plain(facts["verdict"]))
    section.notes(facts)
    section.cards(
        SEARCH, params, shown.checks, shown.scene, question=how_many(params, facts), tries=lambda: offer("")
    )


def search_controls() -> None:
    """The function, the noise and the steps, the switches, and what is set less often."""
    params = settings.params()
    settings.panel("function", "g", *step_fields(params), "noise", "sigma", "w1")
    with st.container(horizontal=True, vertical_alignment="center"):
        breaking.switches(settings, robbins_monro.BITES)
        with st.popover("More settings", type="tertiary"):
            settings.panel("steps", "seeds", "seed", "low", "high", reset=False)
    breaking.loss(settings, robbins_monro.BITES, robbins_monro.LOST)


def how_many(params: robbins_monro.RobbinsMonroParams, facts: Mapping[str, Any]) -> predict.Question:
    """How many seeds end near the root."""
    asked = {
        "seeds": params.seeds,
        "steps": params.steps,
        "rule": params.used.words,
        "g": tables.plain(params.g),
    }
    because = words["predict_reveal"].format(converged=facts["converged_fraction"], verdict=facts["verdict"])
    right = question.share_in_words(facts["converged_fraction"])
    return predict.Question(words["predict"].format(**asked), question.ANSWERS, right, tables.plain(because))


def with_steps(*others: str) -> Callable[[StepParams], Sequence[str]]:
    """The controls of the step size that tell for its rule, and others behind them."""
    return lambda params: (*step_fields(params), *others)


def with_tries(chapter: str) -> Callable[[Mapping[str, Any]], None]:
    """Says what the result's notes and verdict say, and offers settings to try."""

    def told(facts: Mapping[str, Any]) -> None:
        tables.lines([*([facts["verdict"]] if "verdict" in facts else []), *facts.get("notes", ())])
        offer(chapter)

    return told


match chapters.choose(settings):
    case "mean":
        section.played(
            settings, "stochastic_approximation.mean", "mean", title="A mean, in one go and by small steps",
            words=words["mean"], fields=with_steps("w1", "sigma"),
            more=("mu", "distribution", "steps", "seeds", "seed"),
            breaks=(mean.BITES, mean.LOST), told=with_tries("mean"),
        )  # fmt: skip
    case "search":
        search_section()
    case "forgetting":
        section.played(
            settings, "stochastic_approximation.dvoretzky", "forgetting", title="Is the start forgotten?",
            words=words["forgetting"], fields=with_steps("w1", "steps"),
            more=("mu", "sigma", "distribution", "seeds", "seed"),
            breaks=(dvoretzky.BITES, dvoretzky.LOST), told=with_tries("forgetting"),
        )  # fmt: skip
    case "sgd":
        section.played(
            settings, "stochastic_approximation.sgd", "sgd", title="One sample, a few, or all", words=words["sgd"],
            fields=with_steps("problem", "batch_sizes", "steps"), more=("seeds", "start_x", "start_y", "seed"),
            breaks=(sgd.BITES, sgd.LOST), told=with_tries("sgd"),
        )  # fmt: skip
    case "bridge":
        section.played(
            settings, "stochastic_approximation.bridge", "bridge", title="One update, three names",
            words=words["bridge"], fields=with_steps("updates", "seeds"), more=("seed",),
            breaks=(bridge.BITES, bridge.LOST), told=with_tries("bridge"),
        )  # fmt: skip
page.sources(words["sources"])
