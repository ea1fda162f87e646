"""The grid world: agents that learn, worlds that are solved, plans that are made sweep by sweep, races."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from explainers.contract.experiment import find
from explainers.grid_world import costs, live_params, plan, question, race, solve
from explainers.grid_world.world_params import WorldParams
from pages.parts import painting, world_file
from pages.ui import chapters, page, section
from pages.ui.cards import predict
from pages.ui.jobs import live_run
from pages.ui.player.mount import Click
from pages.ui.prose import prose
from pages.ui.settings import breaks, controls

words = prose("grid_world")
page.frame("Reinforcement learning", "The grid world: agents that learn while you watch", words["claim"])
CHAPTERS = {
    "learn": "Watch it learn", "solve": "The exact answer", "plan": "Plan", "costs": "What it costs", "race": "Race",
}  # fmt: skip
settings = controls.settings(
    live_params.LiveParams, _page=chapters.params_of(CHAPTERS),
    solve=solve.SolveParams, plan=plan.PlanParams, costs=costs.CostsParams, race=race.RaceParams,
)  # fmt: skip
WORLD = ("world", "actions", "forbidden", "target", "bump", "r_target", "r_step", "slip")
TRY = (
    ("", "try_cliff", "The cliff", {"preset": "cliff", "algorithm": "sarsa"}),
    ("", "try_ice", "Slippery ice", {"preset": "frozen_lake_4x4"}),
    ("", "try_traces", "Traces", {"preset": "zhao_3x3", "algorithm": "sarsa_lambda", "lambda": 0.9}),
    ("", "try_dyna", "A model in its head", {"preset": "windy", "algorithm": "dyna_q", "planning_steps": 30}),
    ("", "try_change", "The world turns",
     {"preset": "zhao_5x5", "changes": "3000:r_forbidden=-10|8000:world=S..../.xx../..x../.x.x./.xT.."}),
    ("plan", "try_plan_policy", "Policy iteration", {"algorithm": "policy_iteration", "r_forbidden": -10}),
    ("plan", "try_plan_short", "Short episodes", {"algorithm": "mc_basic", "episode_length": 4, "r_forbidden": -10}),
    ("plan", "try_plan_patient", "A patient agent", {"gamma": 0.99, "sweeps": 2000}),
    ("costs", "try_costs_epsilon", "A timid agent", {"study": "epsilon", "preset": "cliff", "gamma": 0.99}),
    ("costs", "try_costs_length", "How far an episode sees", {"study": "length", "r_forbidden": -10}),
    ("costs", "try_costs_sweeps", "How often to improve", {"study": "sweeps", "r_forbidden": -10}),
    ("race", "try_race_cliff", "On the cliff", {"algorithms": ("sarsa", "q_learning", "expected_sarsa")}),
    ("race", "try_race_ice", "On the ice",
     {"preset": "frozen_lake_4x4", "algorithms": ("q_learning", "double_q_learning", "dyna_q"), "episodes": 2000}),
    ("race", "try_race_wind", "In the wind",
     {"preset": "windy", "algorithms": ("sarsa", "n_step_sarsa", "sarsa_lambda", "dyna_q"), "episodes": 300}),
)  # fmt: skip


def offer(chapter: str) -> None:
    """Settings to try, each with what to look for."""
    settings.try_this(
        [(label, changes, words[name]) for of, name, label, changes in TRY if of == chapter], chapter
    )


@st.fragment
def learn_section() -> None:
    """An agent that goes on learning while the reader changes its settings and its world."""
    st.markdown(words["learn"])
    run = live_run.Running(settings, "", live_params.TRANSITIONS, live_params.MOST_CHUNKS)

    def answer(click: Click) -> None:
        if click.action == "more":
            run.more(click)
        elif click.action == "paint":
            painting.painted(settings, click)

    shown = section.steered(
        settings, "grid_world.live", learn_controls, on_click=answer, chunk=run.chunk,
        paints=painting.brush_taken(), resumes=run.resumes,
    )  # fmt: skip
    if shown is None:
        return
    params = settings.params()
    if not params.changes:  # a change on the way is seen in the picture, and told by the notes
        settings.changed(question.told(shown.facts))
    section.notes(shown.facts)
    section.cards(
        "grid_world.live",
        run.chunk(params),
        shown.checks,
        shown.scene,
        question=after_one_reward(params),
        tries=lambda: offer(""),
    )


def learn_controls() -> None:
    """The world and the agent, what may change while it runs, the brush, the switches, and what is set less often."""
    params = settings.params()
    settings.panel("preset", "algorithm", "alpha", *question.telling_fields(params), "gamma", "r_forbidden")
    with st.container(horizontal=True, vertical_alignment="center", key="switches-"):
        painting.brushes(settings)
        with st.popover("More settings", type="tertiary"):
            settings.panel("seed", "q0", "episode_length", *question.further_fields(params), reset=False)
        with st.popover("The world", type="tertiary"):
            settings.panel(*WORLD, reset=False)
            world_file.import_and_export(settings)
    breaks.switches(settings, find("grid_world.live").breaks)
    breaks.loss(settings, find("grid_world.live").breaks)


def after_one_reward(params: live_params.LiveParams) -> predict.Question | None:
    """How many estimates change when the agent first meets a reward; None where none comes soon."""
    if (asked := question.asked(params)) is None:
        return None
    asking, because = words["predict"].format(**asked), words["predict_reveal"].format(**asked)
    return predict.Question(asking, asked["answers"], asked["right"], because)


def after_plan(facts: Mapping[str, Any]) -> None:
    """What a change did to the plan, and its notes."""
    numbers = {"sweeps": facts["total_sweeps"], "policy optimal at": facts["policy_optimal_at"] or "never"}
    settings.changed(numbers | {"improvements": facts["outer_loops"]}, "plan")
    section.notes(facts)


chapter = chapters.choose(settings)
if chapter in ("solve", "plan", "costs"):
    fields = WorldParams.model_fields
    section.borrowing(settings, fields, chapter, words["another_world"], "Take the agent's")
match chapter:
    case "learn":
        learn_section()
    case "solve":
        section.played(
            settings, "grid_world.solve", "solve", title="Every value, exactly", words=words["solve"],
            fields=("preset", "policy", "gamma", "slip", "r_forbidden"),
            more=("actions", "forbidden", "target", "bump"), paragraph="world",
        )  # fmt: skip
    case "plan":
        section.played(
            settings, "grid_world.plan", "plan", title="Planning, sweep by sweep", words=words["plan"],
            fields=question.planning_fields, more=("tolerance", "in_place", "slip", "forbidden", "target", "bump"),
            paragraph="world", told=after_plan, tries=lambda: offer("plan"),
        )  # fmt: skip
    case "costs":
        section.played(
            settings, "grid_world.costs", "costs", title="What it costs", words=words["costs"],
            fields=question.costs_fields, more=("slip", "forbidden", "target", "bump"), paragraph="world", tries=lambda: offer("costs"),
        )  # fmt: skip
    case "race":
        section.played(
            settings, "grid_world.race", "race", title="Many agents, the same dice", words=words["race"],
            fields=("preset", "algorithms", "alpha", "epsilon", "seeds", "episodes"),
            more=("gamma", "lambda", "n", "q0", "planning_steps", "episode_length", "slip", *question.SCHEDULES), tries=lambda: offer("race"),
        )  # fmt: skip
page.sources(words["sources"])
