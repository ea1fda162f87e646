"""Stochastic approximation: a mean by small steps, the root of a noisy function, forgetting, SGD, and the bridge."""

from __future__ import annotations

from explainers.stochastic_approximation.bridge import BridgeParams
from explainers.stochastic_approximation.dvoretzky import DvoretzkyParams
from explainers.stochastic_approximation.mean import MeanParams
from explainers.stochastic_approximation.robbins_monro_params import RobbinsMonroParams
from explainers.stochastic_approximation.sgd import SgdParams
from pages.parts import stochastic_approximation as parts
from pages.ui import lesson
from pages.ui.chapter import MORE, Chapter, Try

CONSTANT = {"step_rule": "constant"}
TOO_SMALL = {"step_rule": "1/(k+1)^2"}

MEAN = Chapter(
    key="mean",
    title="A running mean",
    experiment="stochastic_approximation.mean",
    params=MeanParams,
    fields=parts.with_steps("w1", "sigma"),
    behind={MORE: ("mu", "distribution", "alpha", "steps", "seeds", "seed")},
    question=parts.counts_most,
    check_yourself=parts.spread_of_the_estimate,
    tries=(
        Try("forgets", "A constant step", {**CONSTANT, "c": 0.1}),
        Try("slow", "Slower: 1/√k", {"p": 0.5}),
        Try("stuck", "Too small", TOO_SMALL),
    ),
)
SEARCH = Chapter(
    key="search",
    title="A noisy root",
    experiment="stochastic_approximation.robbins_monro",
    params=RobbinsMonroParams,
    main=True,
    heading="The root of a function seen through noise",
    fields=parts.with_steps("noise", "sigma", "w1", before=("function", "g")),
    behind={MORE: ("steps", "seeds", "seed", "low", "high")},
    question=parts.seeds_near_the_root,
    check_yourself=parts.one_step_down,
    tries=(
        Try("printed", "As printed", {"function": "cubic"}),
        Try("mended", "As drawn", {"function": "cubic", "step_rule": "c/(k+b)", "b": 1}),
        Try("heavy", "Heavy tails", {"noise": "heavy_tailed", "steps": 200}),
        Try("sine", "Several roots", {"function": "sine", "steps": 200, "low": -8, "high": 12}),
        Try("flat", "A flat part", {"function": "flat", "steps": 200}),
    ),
    below=parts.theorem,
)
FORGETTING = Chapter(
    key="forgetting",
    title="Forgetting",
    experiment="stochastic_approximation.dvoretzky",
    params=DvoretzkyParams,
    heading="Is the start forgotten?",
    fields=parts.with_steps("w1", "steps"),
    behind={MORE: ("mu", "sigma", "distribution", "seeds", "seed")},
    question=parts.left_of_the_start,
    check_yourself=parts.expected_after_three,
    tries=(
        Try("half", "Half way", TOO_SMALL),
        Try("once", "At once", {}),
        Try("patience", "Patience", {"c": 0.5, "steps": 200}),
    ),
    below=parts.verdict,
)
SGD = Chapter(
    key="sgd",
    title="SGD",
    experiment="stochastic_approximation.sgd",
    params=SgdParams,
    heading="One sample, a few, or all",
    fields=parts.with_steps("problem", "batch_sizes", "steps"),
    behind={MORE: ("seeds", "start_x", "start_y", "seed")},
    question=parts.nearest_batch_size,
    check_yourself=parts.error_of_a_batch,
    tries=(
        Try("all", "One against all", {"batch_sizes": ("1", "all")}),
        Try("line", "A line", {"problem": "regression", "batch_sizes": ("1", "5", "all"), "steps": 100}),
        Try("straight", "Straight, then lost", {**CONSTANT, "c": 0.1, "steps": 60}),
        Try("floor", "Floors", {**CONSTANT, "c": 0.2, "steps": 60}),
    ),
)
BRIDGE = Chapter(
    key="bridge",
    title="The bridge",
    experiment="stochastic_approximation.bridge",
    params=BridgeParams,
    heading="One update, three names",
    fields=parts.with_steps("updates", "seeds"),
    behind={MORE: ("seed",)},
    question=parts.shrinks_most,
    check_yourself=parts.one_td_update,
    tries=(
        Try("constant", "Constant 0.1", {**CONSTANT, "c": 0.1, "updates": 1000}),
        Try("small", "Too small", TOO_SMALL),
    ),
)

lesson.show("stochastic_approximation", (MEAN, SEARCH, FORGETTING, SGD, BRIDGE))
