"""The grid world: agents that learn, exact solutions, planning sweep by sweep, costs of settings, and races."""

from __future__ import annotations

from explainers.grid_world.costs import CostsParams
from explainers.grid_world.live_params import LiveParams
from explainers.grid_world.plan import PlanParams
from explainers.grid_world.race import RaceParams
from explainers.grid_world.solve import SolveParams
from pages.parts.grid_world import chapters as parts
from pages.parts.grid_world import questions
from pages.ui import lesson
from pages.ui.chapter import MORE, Chapter, Try

TURNS = "3000:r_forbidden=-10|8000:world=S..../.xx../..x../.x.x./.xT.."
BLOCKED = {"algorithm": "dyna_q", "planning_steps": 50, "seed": 1}
COSTLY = {"preset": "aima_4x3", "r_step": -2, "r_boundary": -2}
BERKELEY = {"preset": "cs188_bridge", "gamma": 0.85, "slip": 0.1}
RULES = ("forbidden", "target", "bump")
WORLD = {"World": ("world",)}

LEARN = Chapter(
    key="learn",
    title="Watch it learn",
    experiment="grid_world.live",
    params=LiveParams,
    main=True,
    fields=parts.learn_fields,
    behind={MORE: parts.further_learn_fields},
    above=parts.brushes,
    tools=parts.world_and_undo,
    question=parts.estimates_of_first_reward,
    check_yourself=questions.one_update,
    tries=(
        Try("cliff", "The cliff", {"preset": "cliff", "algorithm": "sarsa"}),
        Try("ice", "Slippery ice", {"preset": "frozen_lake_4x4"}),
        Try("traces", "Traces", {"preset": "zhao_3x3", "algorithm": "sarsa_lambda", "lambda": 0.9}),
        Try("dyna", "A learned model", {"preset": "dyna_maze", "algorithm": "dyna_q", "planning_steps": 50}),
        Try("blocked", "The wall moves", {"preset": "blocking_maze", **BLOCKED}),
        Try("change", "The world turns", {"preset": "zhao_5x5", "changes": TURNS}),
    ),
    below=parts.after_change,
    show=parts.show_learning,
)
SOLVE = Chapter(
    key="solve",
    title="The exact answer",
    experiment="grid_world.solve",
    params=SolveParams,
    heading="Every value, exactly",
    fields=("preset", "policy", "gamma", "slip", "r_forbidden"),
    behind={MORE: ("r_step", "r_boundary", "actions", *RULES), **WORLD},
    question=questions.cells_with_a_choice,
    check_yourself=questions.reward_ahead,
    tries=(
        Try("utilities", "Utilities", {"preset": "aima_4x3"}),
        Try("costly", "A costly life", COSTLY),
        Try("discount", "Two exits", {"preset": "cs188_discount"}),
        Try("bridge", "The bridge", BERKELEY),
    ),
    above=parts.offer_agents_world,
)
PLAN = Chapter(
    key="plan",
    title="Plan",
    experiment="grid_world.plan",
    params=PlanParams,
    heading="Planning, sweep by sweep",
    fields=parts.plan_fields,
    behind={MORE: ("tolerance", "in_place", "slip", *RULES), **WORLD},
    question=questions.when_the_policy_is_optimal,
    check_yourself=questions.sweeps_to_a_hundredth,
    tries=(
        Try("policy", "Policy iteration", {"algorithm": "policy_iteration", "r_forbidden": -10}),
        Try("short", "Short episodes", {"algorithm": "mc_basic", "episode_length": 4, "r_forbidden": -10}),
        Try("patient", "A patient agent", {"gamma": 0.99, "sweeps": 2000}),
    ),
    below=parts.after_plan,
    above=parts.offer_agents_world,
)
COSTS = Chapter(
    key="costs",
    title="What it costs",
    experiment="grid_world.costs",
    params=CostsParams,
    heading="What it costs",
    fields=parts.costs_fields,
    behind={MORE: ("slip", *RULES), **WORLD},
    question=questions.what_it_costs,
    check_yourself=questions.cost_by_hand,
    tries=(
        Try("epsilon", "A timid agent", {"study": "epsilon", "preset": "cliff", "gamma": 0.99}),
        Try("length", "How far an episode sees", {"study": "length", "r_forbidden": -10}),
        Try("sweeps", "How often to improve", {"study": "sweeps", "r_forbidden": -10}),
    ),
    above=parts.offer_agents_world,
)
RACERS = ("gamma", "lambda", "n", "q0", "planning_steps", "episode_length", "slip", *parts.SCHEDULES)
ICE = {"algorithms": ("q_learning", "double_q_learning", "dyna_q"), "episodes": 2000}
WIND = {"algorithms": ("sarsa", "n_step_sarsa", "sarsa_lambda", "dyna_q"), "episodes": 300}
RACE = Chapter(
    key="race",
    title="Race",
    experiment="grid_world.race",
    params=RaceParams,
    heading="Many agents, the same random draws",
    fields=("preset", "algorithms", "alpha", "epsilon", "seeds", "episodes"),
    behind={MORE: RACERS},
    question=questions.earns_most,
    check_yourself=questions.steps_without_exploring,
    tries=(
        Try("cliff", "On the cliff", {"algorithms": ("sarsa", "q_learning", "expected_sarsa")}),
        Try("ice", "On the ice", {"preset": "frozen_lake_4x4", **ICE}),
        Try("wind", "In the wind", {"preset": "windy", **WIND}),
    ),
)

lesson.show("grid_world", (LEARN, SOLVE, PLAN, COSTS, RACE))
