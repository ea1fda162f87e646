"""Stochastic approximation: a mean by small steps, the root of a noisy function, forgetting, SGD, and the bridge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from explainers.stochastic_approximation import bridge, dvoretzky, mean, question, robbins_monro, sgd
from explainers.stochastic_approximation.steps import StepParams, step_fields
from pages.ui import chapters, page, section
from pages.ui.cards import predict, tables
from pages.ui.prose import prose
from pages.ui.settings import controls

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
    ("sgd", "try_straight", "Straight, then lost", {"step_rule": "constant", "c": 0.1, "steps": 60}),
    ("sgd", "try_floor", "Floors", {"step_rule": "constant", "c": 0.2, "steps": 60}),
    ("bridge", "try_bridge_constant", "Constant 0.1", {"step_rule": "constant", "c": 0.1, "updates": 1000}),
    ("bridge", "try_bridge_small", "Too small", {"step_rule": "1/(k+1)^2"}),
)  # fmt: skip


def offer(chapter: str) -> Callable[[], None]:
    """Draws settings to try, each with what to look for."""
    chosen = [(label, changes, words[name]) for of, name, label, changes in TRY if of == chapter]
    return lambda: settings.try_this(chosen, chapter)


def asking(
    asks: str, reveals: str, about: Callable[[Any, Mapping[str, Any]], question.Asked | None]
) -> Callable[..., Any]:
    """The question of a chapter in these words of the page; None where the settings leave nothing to ask."""

    def asked(params: Any, facts: Mapping[str, Any]) -> predict.Question | None:
        if (numbers := about(params, facts)) is None:
            return None
        plain = {key: tables.plain(one) if isinstance(one, str) else one for key, one in numbers.items()}
        return predict.Question(
            words[asks].format(**plain), numbers["answers"], numbers["right"], words[reveals].format(**plain)
        )

    return asked


QUESTIONS = {
    "mean": asking("predict_mean", "predict_mean_reveal", question.about_mean),
    "search": asking("predict_search", "predict_search_reveal", question.about_search),
    "start": asking("predict_start", "predict_start_reveal", question.about_start),
    "batches": asking("predict_batches", "predict_batches_reveal", question.about_batches),
    "bridge": asking("predict_bridge", "predict_bridge_reveal", question.about_bridge),
}


def with_steps(*others: str, before: Sequence[str] = ()) -> Callable[[StepParams], Sequence[str]]:
    """The controls of the step size that tell for its rule, among others."""
    return lambda params: (*before, *step_fields(params), *others)


def theorem(facts: Mapping[str, Any]) -> None:
    """What a change did, each condition of the theorem, and what it promises."""
    settings.changed(question.told(facts))
    with page.card("conditions", "The theorem, for this choice"):
        st.markdown(words["theorem"])
        for one in facts["conditions"]:
            mark = ":green[**✓**]" if one["holds"] else ":red[**✗**]"
            st.markdown(f"{mark} **{one['name']}**: {tables.plain(one['why'])}.")
        st.markdown(tables.plain(facts["verdict"]))
    section.notes(facts)


def verdict(facts: Mapping[str, Any]) -> None:
    """What the product decides."""
    tables.lines([facts["verdict"]])


match chapters.choose(settings):
    case "mean":
        section.played(
            settings, "stochastic_approximation.mean", "mean", words=words["mean"], fields=with_steps("w1", "sigma"),
            more=("mu", "distribution", "alpha", "steps", "seeds", "seed"),
            question=QUESTIONS["mean"], tries=offer("mean"),
        )  # fmt: skip
    case "search":
        section.played(
            settings, "stochastic_approximation.robbins_monro", title="The root of a function seen through noise",
            words=words["search"], fields=with_steps("noise", "sigma", "w1", before=("function", "g")),
            more=("steps", "seeds", "seed", "low", "high"),
            told=theorem, question=QUESTIONS["search"], tries=offer(""),
        )  # fmt: skip
    case "forgetting":
        section.played(
            settings, "stochastic_approximation.dvoretzky", "forgetting", title="Is the start forgotten?",
            words=words["forgetting"], fields=with_steps("w1", "steps"),
            more=("mu", "sigma", "distribution", "seeds", "seed"),
            told=verdict, question=QUESTIONS["start"], tries=offer("forgetting"),
        )  # fmt: skip
    case "sgd":
        section.played(
            settings, "stochastic_approximation.sgd", "sgd", title="One sample, a few, or all", words=words["sgd"],
            fields=with_steps("problem", "batch_sizes", "steps"), more=("seeds", "start_x", "start_y", "seed"), question=QUESTIONS["batches"], tries=offer("sgd"),
        )  # fmt: skip
    case "bridge":
        section.played(
            settings, "stochastic_approximation.bridge", "bridge", title="One update, three names",
            words=words["bridge"], fields=with_steps("updates", "seeds"), more=("seed",), question=QUESTIONS["bridge"],
            tries=offer("bridge"),
        )  # fmt: skip
page.sources(words["sources"])
