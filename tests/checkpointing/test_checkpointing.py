"""Schedules of gradient checkpointing, against published counts, another program and real gradients."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_schedules import Forward, MultistageCheckpointSchedule, Revolve
from checkpoint_schedules.schedule import EndReverse
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from explainers.checkpointing import law as law_module
from explainers.checkpointing import optimal as optimal_module
from explainers.checkpointing import pareto, revolve, rotor, schedules
from explainers.checkpointing import schedule as schedule_module
from explainers.checkpointing.chain import Action, Chain, Illegal, play
from explainers.checkpointing.law import LawParams, law
from explainers.checkpointing.optimal import OptimalParams
from explainers.checkpointing.schedule import actions_of, schedule
from explainers.checkpointing.schedule_params import ScheduleParams
from explainers.checkpointing.schedule_prediction import predict
from explainers.contract.experiment import find
from explainers.contract.params import choices_of, fit, read
from tests.breaks import consequences_of, settings_of
from tests.checkpointing.chains import STRATEGIES, fitted, played, random_chain

ROOT = Path(__file__).parents[2]
ORACLE = json.loads(
    (Path(__file__).parents[1] / "oracles" / "checkpointing.json").read_text(encoding="utf-8")
)
EXTRA = {tuple(map(int, pair.split(","))): t for pair, t in ORACLE["revolve"]["t_extra_forwards"].items()}
SEGMENTS = ("every_k", "sqrt", "full", "chen", "custom")


settings_of_a_schedule = st.fixed_dictionaries(
    {
        "layers": st.integers(1, 40),
        "strategy": st.sampled_from(STRATEGIES),
        "k": st.integers(1, 50),
        "snapshots": st.integers(1, 50),
        "budget": st.integers(2, 300),
        "boundary": st.integers(1, 16),
        "internal": st.integers(1, 64),
        "kept": st.lists(st.integers(1, 50), max_size=8).map(tuple),
    }
)


# ------------------------------------------------------------------------------------------------- Revolve


def test_extra_forwards_of_every_pair_of_the_oracle() -> None:
    assert len(EXTRA) > 500
    assert {pair: revolve.extra_forwards(*pair) for pair in EXTRA} == EXTRA


def test_revolve_played_needs_that_many_in_c_snapshots() -> None:
    for (l, c), t in EXTRA.items():
        if c == 1 and l > 64:
            continue  # 32,640 forwards for l = 256; the test above compares the formula with the oracle
        peak, extra, _ = played(Chain.uniform(l, 2, 7), revolve.revolve(1, l, c))
        assert (peak, extra) == (revolve.revolve_peak(l, c, 2, 7), t), (l, c)


@pytest.mark.parametrize("package", [Revolve, lambda l, c: MultistageCheckpointSchedule(l, c, 0)])
def test_revolve_equals_checkpoint_schedules_on_random_pairs(package: Any) -> None:
    rng = random.Random(4)
    for _ in range(40):
        l = rng.randint(2, 200)
        c = rng.randint(1, min(l - 1, 24))
        theirs = 0
        for action in package(l, c):
            if isinstance(action, Forward):
                theirs += action.n1 - action.n0
            if isinstance(action, EndReverse):
                break
        assert revolve.extra_forwards(l, c) + l == theirs, (l, c)


# ------------------------------------------------------------------------------------ peaks, and the front


@pytest.mark.parametrize(("boundary", "internal"), [(1, 1), (3, 5), (5, 2)])
def test_every_formula_is_the_peak_as_played(boundary: int, internal: int) -> None:
    for L in (*range(1, 40), 64, 100, 128):
        chain, sizes = Chain.uniform(L, boundary, internal), (L, boundary, internal)
        assert played(chain, schedules.keep_all(L))[:2] == (schedules.none_peak(*sizes), 0)
        assert played(chain, schedules.in_segments(1, L, *schedules.chen_levels(L)))[:2] == (
            schedules.chen_peak(*sizes),
            2 * L,
        )
        for k in range(1, L + 1):
            actions = schedules.in_segments(1, L, schedules.every(k, 1, L))
            expected = math.ceil(L / k) * boundary + k * internal
            assert played(chain, actions)[:2] == (expected, L)
            assert schedules.every_k_peak(L, k, boundary, internal) == expected


def test_sqrt_is_the_best_k_at_unit_cost_and_chen_needs_three_cube_roots() -> None:
    for L in range(1, 257):
        assert schedules.every_k_peak(L, schedules.sqrt_length(L), 1, 1) == min(
            schedules.every_k_peak(L, k, 1, 1) for k in range(1, L + 1)
        )
        assert schedules.chen_length(L) ** 2 <= L
        assert schedules.chen_peak(L, 1, 1) <= 3 * L ** (1 / 3) + 2


def test_every_point_of_the_front_is_what_its_schedule_costs() -> None:
    L, B, I = 17, 2, 5
    for point in pareto.front(L, B, I):
        if point.family == "every_k":
            params = fitted(layers=L, strategy="every_k", k=int(point.label.split()[-1]))
        elif point.family == "revolve":
            params = fitted(layers=L, strategy="revolve", snapshots=int(point.label.split()[-1]))
        elif point.family == "optimal":
            params = fitted(layers=L, strategy="optimal", budget=point.peak_units, boundary=B, internal=I)
        else:
            params = fitted(layers=L, strategy={"√L": "sqrt", "Chen": "chen"}.get(point.label, point.label))
        result = schedule(params.model_copy(update={"boundary": B, "internal": I}))
        assert (result.peak_units, result.extra_forwards) == (point.peak_units, point.extra_forwards), point
    assert {point.family for point in pareto.front(L, B, I)} == {"named", "every_k", "revolve", "optimal"}


# ------------------------------------------------------------------------------------------ the executor


@pytest.mark.parametrize(
    ("actions", "reason"),
    [
        ([("forward", 2)], "its input is not in memory"),
        ([("tape", 1), ("backward", 1)], "layer 2 is due"),
        ([("checkpoint", 1), ("forward", 2), ("backward", 2)], "its internal activations are not in memory"),
        ([("tape", 1), ("tape", 1)], "its internal activations are already in memory"),
        ([("forward", 1), ("checkpoint", 2)], "no boundary to keep"),
        ([("forward", 1), ("tape", 2), ("forward", 1)], "held by layer 2"),
        ([("tape", 1), ("tape", 2)], "over the budget of 6"),
        ([("tape", 1)], "ends before the backward of layer 2"),
    ],
)
def test_the_executor_refuses(actions: list[Any], reason: str) -> None:
    with pytest.raises(Illegal, match=reason):
        list(play(Chain.uniform(2, 1, 3), [Action(*action) for action in actions], budget=6))


class TorchChain:
    """The rules of a chain with tensors: a boundary is a detached tensor, an inside the autograd graph of a layer."""

    def __init__(self, layers: int) -> None:
        generator = torch.Generator().manual_seed(layers)
        self.weights = [
            torch.randn(3, 3, generator=generator, dtype=torch.float64).requires_grad_()
            for _ in range(layers)
        ]
        self.x_0 = torch.randn(2, 3, generator=generator, dtype=torch.float64)

    def f(self, l: int, x: Tensor) -> Tensor:
        return torch.tanh(x @ self.weights[l - 1]) + 0.5 * x

    def plain_gradients(self) -> tuple[Tensor, ...]:
        x = self.x_0
        for l in range(1, len(self.weights) + 1):
            x = self.f(l, x)
        return torch.autograd.grad(x.square().sum(), self.weights)

    def gradients(
        self, actions: Iterable[Action], boundaries: Sequence[float], internals: Sequence[float]
    ) -> tuple[list[Tensor], float]:
        """Gradients of the weights, and peak memory. boundaries, internals: the sizes of layers 1, 2, ..."""
        L, peak = len(self.weights), 0.0
        kept, inside = {1: self.x_0}, {}
        current, x = 0, self.x_0
        gradients: dict[int, Tensor] = {}
        upstream: Tensor | None = None
        for kind, l in actions:
            if kind == "backward":
                given, output = inside.pop(l)
                g = 2 * output.detach() if upstream is None else upstream
                gradients[l], upstream = torch.autograd.grad(output, (self.weights[l - 1], given), g)
                kept.pop(l, None)
                continue
            source = kept.get(l)
            if source is None:
                source = inside[l - 1][1].detach() if l - 1 in inside else x
                assert l - 1 in inside or current == l - 1
            if kind == "tape":
                given = source.detach().requires_grad_()
                inside[l] = (given, self.f(l, given))
            else:
                with torch.no_grad():
                    current, x = l, self.f(l, source)
                if kind == "checkpoint":
                    kept[l + 1] = x
            memory = sum(boundaries[layer - 1] for layer in kept)
            memory += sum(internals[layer - 1] for layer in inside)
            peak = max(peak, memory)
        assert not inside
        return [gradients[l] for l in range(1, L + 1)], peak


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("layers", [1, 2, 7, 24])
def test_every_schedule_gives_the_right_gradient_within_its_peak(strategy: str, layers: int) -> None:
    settings_ = {"k": 3, "snapshots": 3, "budget": 14, "kept": (3, 4, 7)}
    params = fitted(layers=layers, strategy=strategy, boundary=2, internal=3, **settings_)
    chain = TorchChain(layers)
    ours, peak = chain.gradients(actions_of(params), [params.boundary] * layers, [params.internal] * layers)
    assert len(ours) == layers
    for gradient, plain in zip(ours, chain.plain_gradients(), strict=True):
        assert (gradient - plain).abs().max() <= 1e-12 * max(1.0, float(plain.abs().max()))
    assert peak == schedule(params).peak_units
    assert peak <= predict(params).peak_units


@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(0, 60))
@settings(max_examples=25, deadline=None)
def test_the_optimum_of_unequal_layers_gives_the_right_gradient_within_its_budget(
    seed: int, layers: int, more: int
) -> None:
    chain = random_chain(random.Random(seed), layers)
    budget = int(rotor.least_budget(chain)) + more
    plan = rotor.unequal_layers(chain, budget)
    tensors = TorchChain(chain.layers)
    actions = rotor.optimal(plan, 1, chain.layers, budget - int(chain.boundaries[0]))
    ours, peak = tensors.gradients(actions, chain.boundaries, chain.internals)
    for gradient, plain in zip(ours, tensors.plain_gradients(), strict=True):
        assert (gradient - plain).abs().max() <= 1e-12 * max(1.0, float(plain.abs().max()))
    assert peak <= budget


# --------------------------------------------------------------------------------------- the experiments


@given(settings_of_a_schedule)
@settings(max_examples=60, deadline=None)
def test_whatever_is_accepted_runs_and_passes(values: dict[str, Any]) -> None:
    params = fit(ScheduleParams(**values))[0]
    result = schedule(params)
    assert result.passed
    assert (
        result.least_budget
        <= result.peak_units
        <= params.boundary * params.layers + sum([params.internal] * params.layers)
    )
    assert result.peak_units <= params.budget or params.strategy != "optimal"
    assert result.forward_runs == sum(result.runs) == params.layers + result.extra_forwards
    assert result.backward_runs == params.layers
    assert result.forward_runs + result.backward_runs == len(result.steps)
    assert max(step["memory"] for step in result.steps) == result.peak_units
    assert result.kept[0] == 1
    for moment in result.moments:
        assert moment.boundary_units == params.boundary * moment.boundary_count
        assert moment.internal_units == params.internal * moment.internal_count


def test_what_is_kept_when_the_forward_pass_ends() -> None:
    assert schedule(fitted(layers=8, strategy="none")).kept_internals == tuple(range(1, 9))
    assert schedule(fitted(layers=8, strategy="full")).kept == tuple(range(1, 9))
    # the short segment is the first
    assert schedule(fitted(layers=10, strategy="every_k", k=4)).kept == (1, 3, 7)
    assert schedule(fitted(layers=8, strategy="custom", kept=(6, 3))).kept == (1, 3, 6)
    assert len(schedule(fitted(layers=40, strategy="revolve", snapshots=5)).kept) == 5


@pytest.mark.parametrize("strategy", SEGMENTS)
def test_what_was_dropped_is_recomputed_the_last_segment_too(strategy: str) -> None:
    result = schedule(fitted(layers=9, strategy=strategy, kept=(4,)))
    assert result.extra_forwards == (18 if strategy == "chen" else 9)
    assert "the last segment too" in " ".join(result.notes)


def test_what_does_not_apply_changes_nothing() -> None:
    for strategy in STRATEGIES:
        unfit = ScheduleParams(layers=4, k=200, budget=2, internal=9, kept=(77,), strategy=strategy)
        changed = {adjustment.field for adjustment in fit(unfit)[1]}
        assert changed == {"every_k": {"k"}, "optimal": {"budget"}, "custom": {"kept"}}.get(strategy, set())


@pytest.mark.parametrize(
    ("name", "flags", "sentence"),
    [
        ("schedule", "--layers 8 --strategy every_k --k 9", "k = 9 is more than the number of layers; allowed: 1"),
        ("schedule", "--snapshots 0", "snapshots = '0' is not accepted; allowed: a whole number from 1 to 256."),
        ("schedule", "--strategy optimal --budget 4 --internal 5", "budget = 4 is below the least possible, 6:"),
        ("schedule", "--layers 8 --strategy custom --kept 2,9", "kept = 9 is not a layer of this chain; allowed:"),
        ("schedule", "--kept 2,x", "kept = '2,x' is not accepted; allowed: layer numbers from 1 to 256"),
        ("schedule", "--kept 0", "'0' is not one"),
        ("schedule", "--layers 257", "layers = '257' is not accepted; allowed: a whole number from 1 to 256."),
        ("optimal", "--budget 5", "budget = 5 is below the least possible, 32:"),
        ("optimal", "--times 1,2", ""),
        ("optimal", "--boundaries 1,2", "boundaries has 2 numbers for 8 layers"),
        ("optimal", "--times 1,-2", "whole numbers from 1 to 1,000 separated by commas; '-2' is not one"),
        ("optimal", "--internals " + ",".join("1" * 33), "1 to 32 numbers separated by commas; these are 33"),
        ("law", "--ratio 65", "ratio = '65' is not accepted; allowed: a number from 0.25 to 64."),
    ],
)  # fmt: skip
def test_bad_input_gives_one_clear_sentence(name: str, flags: str, sentence: str) -> None:
    parts = flags.split()
    raw = dict(zip((flag[2:] for flag in parts[::2]), parts[1::2], strict=True))
    params, problems = read(find(f"checkpointing.{name}").params, raw)
    sentences = [problem.sentence for problem in problems]
    sentences += [adjustment.sentence for adjustment in fit(params)[1] if adjustment.field in raw]
    assert len(sentences) == (1 if sentence else 0)
    assert sentence in " ".join(sentences)


def test_the_law_is_played_for_every_k() -> None:
    for layers, ratio in ((1, 1.0), (24, 1.0), (64, 17.0), (80, 34.0), (50, 0.25), (31, 2.5)):
        result = law(LawParams(layers=layers, ratio=ratio))
        assert result.passed
        assert (result.peak == np.ceil(layers / result.k) + result.k * ratio).all()
    assert law(LawParams(layers=64, ratio=1.0)).best_k == 8
    assert law(LawParams(layers=64, ratio=17.0)).best_k == 2
    assert law(LawParams(layers=32, ratio=34.0)).best_k == 1
    assert LawParams(ratio=3.3).ratio == 3.25


@pytest.mark.parametrize(
    ("module", "params_type"),
    [(schedule_module, ScheduleParams), (optimal_module, OptimalParams), (law_module, LawParams)],
)
def test_each_break_turns_its_check_red(module: Any, params_type: Any) -> None:
    assert (
        set(choices_of(params_type, "break_it")) - {"none"}
        == set(settings_of(module.BREAKS))
        == set(consequences_of(module.BREAKS))
    )
    experiment = getattr(module, module.__name__.split(".")[-1])
    for name, visible in settings_of(module.BREAKS).items():
        assert experiment(params_type(**visible)).passed
        broken = experiment(params_type(**visible, break_it=name))
        assert not broken.passed
        assert not broken.checks[0].passed


def test_without_boundaries_memory_seems_to_keep_falling() -> None:
    predicted = [
        schedule(ScheduleParams(strategy="every_k", k=k, break_it="forget_boundaries")).predicted_peak_units
        for k in (8, 4, 2, 1)
    ]
    assert predicted == [8, 4, 2, 1]
    assert law(LawParams(layers=64, ratio=1.0, break_it="forget_boundaries")).predicted_best_k == 1


@pytest.mark.parametrize("name", ["schedule", "optimal", "law"])
def test_the_shell_prints_one_object(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "explainers", f"checkpointing.{name}", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    shown = json.loads(done.stdout)
    assert shown["passed"] is True
    wanted = {
        "schedule": "peak_units forward_runs extra_forwards backward_runs kept steps front",
        "optimal": "extra_time peak schedule baselines",
        "law": "k peak predicted best_k",
    }
    assert set(wanted[name].split()) <= set(shown)
