"""The questions of the grid world's chapters, and what a reader may work out in the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from explainers.contract.messages import Message, joined, plural
from explainers.grid_world.costs import NEAR, SWEEPS, CostsParams
from explainers.grid_world.guesses import step_size, sweeps_until, waits_for_returns
from explainers.grid_world.learn_params import LABELS, rules_of
from explainers.grid_world.live_params import LiveParams
from explainers.grid_world.plan import PlanParams
from explainers.grid_world.race import LAST, RaceParams
from explainers.grid_world.solve import SolveParams
from explainers.grid_world.world import ACTIONS
from pages.parts.mistakes import among, true_minus
from pages.ui.chapter import Asked

SHARES = ("none", "up to 25%", "25% to 50%", "over 50%")
SHARES_OF_SWEEPS = ("up to 10%", "10% to 50%", "over 50%", "never")
ESTIMATE, AHEAD = 1.0, 2.0  # of the update that a reader works out
NTH = 2  # update of its pair
AHEAD_BY = 4  # moves to the reward whose worth a reader works out
EPSILON = 0.5  # of the study of exploration
OFTEN = 0.2  # the same, where a reader works out how often the best action is taken
ROUND = 4  # sweeps of evaluation in the round whose cost a reader works out
LEFT = 0.01  # of the error
IN_A_ROW = 10  # steps without exploring
ALIKE = "about the same"
ALIKE_WITHIN = 0.02  # of the larger of two returns


def one_update(params: LiveParams, facts: Mapping[str, Any]) -> Asked:
    """What an update makes of an estimate of 1; None where all answers look alike, or a break goes on after an end."""
    now = params.now
    waits = waits_for_returns(now)
    if waits and now.break_it == "bootstrap_through_terminal":
        return None
    alpha, gamma, reward = step_size(now, NTH), rules_of(now, now.algorithm).gamma, now.r_target
    target = reward + gamma * AHEAD
    asked = among(
        ESTIMATE + alpha * (target - ESTIMATE),
        target,
        ESTIMATE + alpha * target,
        ESTIMATE + alpha * (reward + AHEAD - ESTIMATE),
    )
    given = {"reward": true_minus(reward), "ahead": AHEAD}
    happened = (
        Message("The episode brings the rewards {reward} and {ahead:g}, and ends.", **given)
        if waits
        else Message("A move earns {reward}, and what comes next is estimated at {ahead:g}.", **given)
    )
    return asked and asked | given | {
        "happened": happened,
        "estimate": ESTIMATE,
        "alpha": alpha,
        "gamma": gamma,
        "target": true_minus(target, ".3g"),
    }


def cells_with_a_choice(params: SolveParams, facts: Mapping[str, Any]) -> Asked:
    """In how many cells more than one action is optimal; None in a world where no agent acts."""
    optimal = [len(actions) for actions in facts["optimal_actions"] if actions]
    if not optimal:
        return None
    several = sum(count > 1 for count in optimal)
    share = several / len(optimal)
    return {
        "cells": len(optimal),
        "several": several,
        "answers": SHARES,
        "right": SHARES[sum(share > limit for limit in (0, 0.25, 0.5))],
    }


def reward_ahead(params: SolveParams, facts: Mapping[str, Any]) -> Asked:
    """What a reward some moves ahead is worth; None where the discount changes nothing."""
    reward, gamma, k = params.r_target or 1.0, params.gamma, AHEAD_BY
    if gamma == 1:
        return None
    asked = among(gamma ** (k - 1) * reward, gamma**k * reward, gamma * reward, reward / k, reward)
    return asked and asked | {"reward": true_minus(reward), "gamma": gamma, "k": k, "discounted": k - 1}


def when_the_policy_is_optimal(params: PlanParams, facts: Mapping[str, Any]) -> Asked:
    """After what share of the sweeps, or of the rounds, the policy is optimal."""
    sweeps, improvements = facts["total_sweeps"], facts["outer_loops"]
    total = sweeps or improvements
    at = facts["policy_optimal_at"]
    if not total:
        return None
    evaluates = params.algorithm in ("policy_iteration", "truncated_policy_iteration")
    if at is None and evaluates:  # the last improvement, which is not evaluated, may be optimal
        return None
    # these report a policy when it is evaluated, one sweep or round after it was found
    done = None if at is None else max(at - 1 - evaluates, 0)
    share = 2.0 if done is None else done / total
    return {
        "total": _counted(total, bool(sweeps)),
        "when": Message("The policy is not optimal in every cell when planning stops.")
        if done is None
        else Message("The policy is optimal after {counted}.", counted=_counted(done, bool(sweeps))),
        "answers": SHARES_OF_SWEEPS,
        "right": SHARES_OF_SWEEPS[sum(share > limit for limit in (0.1, 0.5, 1))],
    }


def _counted(count: int, sweeps: bool) -> Message:
    if sweeps:
        return plural("{count:,} sweep", "{count:,} sweeps", count=count)
    return plural("{count:,} round", "{count:,} rounds", count=count)


def sweeps_to_a_hundredth(params: PlanParams, facts: Mapping[str, Any]) -> Asked:
    """How many sweeps leave a hundredth of the error, by the contraction; None where nothing contracts."""
    k = sweeps_until(LEFT, params.gamma)
    if k is None or params.break_it == "forget_discount":
        return None
    asked = among(k, max(1, round(k / 2)), 2 * k, round(1 / (1 - params.gamma)), form=",.0f")
    return asked and asked | {"gamma": params.gamma, "k": k, "left": params.gamma**k}


def what_it_costs(params: CostsParams, facts: Mapping[str, Any]) -> Asked:
    """The measured cost at one value of the setting that is varied; None where nothing is left to guess."""
    ask = {"epsilon": _worth_of_exploring, "length": _error_of_returns, "sweeps": _cheapest_evaluation}
    return ask[params.study](params, facts["measured"])


def _worth_of_exploring(params: CostsParams, measured: Mapping[str, Any]) -> Asked:
    soft, made_soft = measured["best_soft"], measured["best_made_soft"]
    at = round(EPSILON * len(soft))
    asked = among(soft[at], soft[0], (1 - EPSILON) * soft[0], made_soft[at])
    return asked and asked | {
        "asked": Message(
            "Without exploring, the mean of the best values is {before}. What is it for the best policy that explores "
            "with ε = {epsilon:g}?",
            before=true_minus(soft[0], ".3g"), epsilon=EPSILON,
        ),
        "because": Message(
            "The best policy of all, made to explore as much, has {made_soft}.",
            made_soft=true_minus(made_soft[at], ".3g"),
        ),
    }  # fmt: skip


def _error_of_returns(params: CostsParams, measured: Mapping[str, Any]) -> Asked:
    error, length = measured["error"], (params.longest + 1) // 2
    first = error[0]
    asked = among(error[length - 1], first / length, first / 2, first)
    return asked and asked | {
        "asked": Message(
            "Returns of a single step are up to {first:.3g} from v*. How far from v* are returns of {length} steps, at "
            "most?",
            first=first, length=length,
        ),
        "because": Message(
            "A reward after {length} steps counts {beyond:.2g} times as much: γ to the power of {length}.",
            length=length, beyond=1.0 if params.break_it == "forget_discount" else params.gamma**length,
        ),
    }  # fmt: skip


def _cheapest_evaluation(params: CostsParams, measured: Mapping[str, Any]) -> Asked:
    cost = {j: count for j, count in zip(SWEEPS, measured["backups"], strict=True) if count is not None}
    if not cost:
        return None
    right = min(cost, key=cost.__getitem__)
    others = [j for j in (1, 5, 20, 80) if cost.get(j) != cost[right]]
    asked = among(right, *others, form="d")
    return asked and asked | {
        "asked": Message(
            "j sweeps of evaluation, one improvement, and so on until all values are within {near:g} of v*. Which j "
            "takes the fewest backups?",
            near=NEAR,
        ),
        "because": joined(
            [
                Message("With j = {j} it takes {count:,.0f} backups a cell.", j=j, count=cost[j])
                for j in sorted({right, 1, 80} & cost.keys())
            ],
            " ",
        ),
    }  # fmt: skip


def cost_by_hand(params: CostsParams, facts: Mapping[str, Any]) -> Asked:
    """A number about the setting that is varied, which a reader can work out."""
    ask = {"epsilon": _best_action_by_chance, "length": _seen_by_an_episode, "sweeps": _cost_of_a_round}
    return ask[params.study](params)


def _best_action_by_chance(params: CostsParams) -> Asked:
    actions = len(ACTIONS[params.actions])
    asked = among(1 - OFTEN + OFTEN / actions, 1 - OFTEN, OFTEN, OFTEN / actions, form=".1%")
    return asked and asked | {
        "asked": Message(
            "With ε = {epsilon:g} an agent takes one of its {actions} actions by chance, else the best one. How often "
            "does it take the best?",
            epsilon=OFTEN, actions=actions,
        ),
        "because": Message("1 − ε + ε/{actions}: chance also picks the best action sometimes.", actions=actions),
    }  # fmt: skip


def _seen_by_an_episode(params: CostsParams) -> Asked:
    gamma, k = params.gamma, IN_A_ROW
    if params.break_it == "forget_discount":
        return None
    asked = among(1 - gamma**k, gamma**k, 1 - gamma, gamma ** (k - 1) * (1 - gamma), form=".1%")
    return asked and asked | {
        "asked": Message(
            "A reward of 1 comes at every step, without end. With γ = {gamma:g}, what share of the whole discounted "
            "sum do the first {k} steps bring?",
            gamma=gamma, k=k,
        ),
        "because": Message("1 − γ to the power of {k}: the later rewards add up to the rest.", k=k),
    }  # fmt: skip


def _cost_of_a_round(params: CostsParams) -> Asked:
    actions = len(ACTIONS[params.actions])
    asked = among(ROUND + actions, ROUND * actions, (ROUND + 1) * actions, ROUND + 1, form="d")
    return asked and asked | {
        "asked": Message(
            "A round has {j} sweeps of evaluation and one improvement. With {actions} actions, how many backups does "
            "it take in each cell?",
            j=ROUND, actions=actions,
        ),
        "because": Message(
            "{j} + {actions}: a sweep of evaluation looks ahead from the policy's action, an improvement from all.",
            j=ROUND, actions=actions,
        ),
    }  # fmt: skip


def earns_most(params: RaceParams, facts: Mapping[str, Any]) -> Asked:
    """Which agent earns most in the last episodes of learning; None for an agent alone."""
    earned = {LABELS[name]: median for name, median in facts["earned"].items()}
    if len(earned) < 2:
        return None
    first, second = sorted(earned, key=earned.__getitem__, reverse=True)[:2]
    near = ALIKE_WITHIN * max(abs(earned[first]), abs(earned[second]))
    return {
        "episodes": params.episodes,
        "last": LAST,
        "earned": ", ".join(f"{label} {true_minus(median, '.4g')}" for label, median in earned.items()),
        "answers": (*earned, ALIKE),
        "right": ALIKE if earned[first] - earned[second] <= near else first,
    }


def steps_without_exploring(params: RaceParams, facts: Mapping[str, Any]) -> Asked:
    """How often an agent does not explore in ten steps; None where no agent of the race explores by ε."""
    if set(params.algorithms) == {"mc_exploring_starts"} or params.behaviour == "uniform":
        return None
    epsilon, k = params.epsilon, IN_A_ROW
    asked = among((1 - epsilon) ** k, max(1 - k * epsilon, 0.0), 1 - epsilon, epsilon**k, form=".1%")
    return asked and asked | {"epsilon": epsilon, "k": k}
