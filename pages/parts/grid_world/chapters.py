"""The fields of each chapter of the grid world, the chapter of the live agent, and its question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from explainers.contract.messages import Message
from explainers.grid_world.costs import CostsParams
from explainers.grid_world.first_reward import first_reward
from explainers.grid_world.learn_params import LABELS, OneAgentParams
from explainers.grid_world.live_params import MOST_CHUNKS, TRANSITIONS, LiveParams
from explainers.grid_world.plan import PlanParams
from explainers.grid_world.world_params import WorldParams
from pages.parts.grid_world import painting, world_file
from pages.ui import lesson
from pages.ui.chapter import Asked, Chapter, Shown
from pages.ui.jobs.live_run import LiveRun
from pages.ui.player.mount import Click
from pages.ui.prose import Prose
from pages.ui.settings.controls import Settings

WORLD = ("world", "actions", "forbidden", "target", "bump", "r_target", "r_step", "slip")
OF_ALGORITHM: Mapping[str, tuple[str, ...]] = {
    "n_step_sarsa": ("n",),
    "sarsa_lambda": ("lambda",),
    "dyna_q": ("planning_steps",),
    "td0": ("n", "policy"),
}
LESS_OFTEN: Mapping[str, tuple[str, ...]] = {
    "q_learning": ("behaviour",),
    "mc_epsilon_greedy": ("first_visit",),
    "mc_exploring_starts": ("first_visit",),
}
OF_PLANNER: Mapping[str, tuple[str, ...]] = {
    "value_iteration": ("sweeps",),
    "policy_iteration": (),
    "truncated_policy_iteration": ("j", "sweeps"),
    "mc_basic": ("episode_length", "episodes"),
}
SCHEDULES = ("alpha_schedule", "epsilon_schedule")
ANSWERS = ("none", "one", "two to five", "more")


def learn_fields(params: OneAgentParams) -> Sequence[str]:
    """The settings of the agent, with those that only its algorithm has."""
    explores = () if params.algorithm in ("td0", "mc_exploring_starts") else ("epsilon",)
    own = OF_ALGORITHM.get(params.algorithm, ())
    return ("preset", "algorithm", "alpha", *explores, *own, "gamma", "r_forbidden")


def further_learn_fields(params: OneAgentParams) -> Sequence[str]:
    """The fields that are set less often."""
    return ("seed", "q0", "episode_length", *SCHEDULES, *LESS_OFTEN.get(params.algorithm, ()))


def plan_fields(params: PlanParams) -> Sequence[str]:
    return ("preset", "algorithm", *OF_PLANNER[params.algorithm], "gamma", "r_forbidden")


def costs_fields(params: CostsParams) -> Sequence[str]:
    return ("study", "preset", *(("longest",) if params.study == "length" else ()), "gamma", "r_forbidden")


def estimates_of_first_reward(params: LiveParams, facts: Mapping[str, Any]) -> Asked:
    """How many estimates the first positive reward makes positive; None if it does not come soon."""
    if (reward := first_reward(params)) is None:
        return None
    index = 0 if reward.positive == 0 else 1 if reward.positive == 1 else 2 if reward.positive <= 5 else 3
    return {
        "label": LABELS[params.algorithm],
        "estimates": reward.estimates,
        "transition": reward.transition,
        "where": reward.where,
        "positive": reward.positive,
        "answers": ANSWERS,
        "right": ANSWERS[index],
    }


def brushes(chapter: Chapter, settings: Settings, words: Prose) -> None:
    """What a drag over the cells paints."""
    painting.brushes()


def world_and_undo(settings: Settings) -> None:
    """Behind a button the settings of the world; and a button that undoes the last painting."""
    with st.popover("The world", type="tertiary"):
        settings.panel(*WORLD)
        world_file.import_and_export(settings)
    painting.undo_button(settings)


@st.fragment
def show_learning(chapter: Chapter, settings: Settings, words: Prose) -> None:
    """An agent that keeps learning while the reader changes its settings and its world."""
    live_run = LiveRun(settings, chapter.prefix, TRANSITIONS, MOST_CHUNKS)

    def answer(click: Click) -> None:
        if click.action == "more":
            live_run.more(click)
        elif click.action == "paint":
            painting.painted(settings, click)

    lesson.play_run(
        chapter,
        settings,
        words,
        on_click=answer,
        chunk=live_run.chunk,
        paints=painting.brush_taken(),
        resumes=live_run.resumes,
    )


def after_change(shown: Shown) -> None:
    """What a new setting did to the run, and its notes; they report changes during the run, which the picture shows."""
    if not shown.params.changes:
        distance = f"{shown.facts['distance']:.3g}"
        label = Message("distance to the truth, after the last computed transition")
        shown.compare({label: distance, Message("episodes"): shown.facts["episodes"]})
    lesson.notes(shown)


def after_plan(shown: Shown) -> None:
    """What a change did to the plan, and its notes."""
    facts = shown.facts
    shown.compare(
        {
            Message("sweeps"): facts["total_sweeps"],
            Message("policy optimal at"): facts["policy_optimal_at"] or Message("never"),
            Message("improvements"): facts["outer_loops"],
        }
    )
    lesson.notes(shown)


def offer_agents_world(chapter: Chapter, settings: Settings, words: Prose) -> None:
    """If this chapter's world is not the agent's, says so and offers the agent's."""
    main, here = settings.params().now, settings.params(chapter.prefix)
    names = [name for name in WorldParams.model_fields if getattr(main, name) != getattr(here, name)]
    if not names:
        return
    titles = ", ".join(settings.title(name, chapter.prefix) for name in names)
    with st.container(gap=None, key=f"borrowing-{chapter.prefix}"):
        st.caption(words["another_world"].format(fields=titles))
        changes = {name: getattr(main, name) for name in names}
        st.button("Take the agent's", type="tertiary", on_click=settings.open, args=(changes, chapter.prefix))
