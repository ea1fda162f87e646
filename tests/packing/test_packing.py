"""Packing: the published values, every promise of every strategy, brute force, and the fast twin."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ortools.sat.python import cp_model

from explainers.contract.params import fit, read
from explainers.packing import fast, measures
from explainers.packing import pack as pack_module
from explainers.packing.lengths import MOST_DOCUMENTS, Source, stream
from explainers.packing.pack import Outcome, PackParams, PackResult, pack
from explainers.packing.strategies import Strategy
from tests.breaks import consequences_of, settings_of

ROOT = Path(__file__).parents[2]
ORACLE = json.loads((ROOT / "tests" / "oracles" / "packing.json").read_text(encoding="utf-8"))
STRATEGIES = get_args(Strategy)
WHOLE = tuple(strategy for strategy in STRATEGIES if strategy != "wrap")  # those that cut no document


def packed(lengths: list[int] | None = None, **values: Any) -> PackResult:
    pasted = {} if lengths is None else {"lengths": ",".join(map(str, lengths))}
    return pack(fit(PackParams(**pasted, **values))[0])


def tokens(outcome: Outcome) -> list[list[int]]:
    """The lengths of the pieces in each pack."""
    return [[piece.length for piece in run] for run in outcome.runs]


# ------------------------------------------------------------------------------------------- published values


@pytest.mark.parametrize(
    ("strategy", "name"),
    [
        ("next_fit", "next_fit_packs"),
        ("first_fit", "first_fit_packs"),
        ("first_fit_decreasing", "ffd_packs"),
        ("best_fit_decreasing", "bfd_packs"),
    ],
)
def test_small_oracle(strategy: str, name: str) -> None:
    case = ORACLE["small"]
    assert packed(case["lengths"], capacity=case["capacity"], strategy=strategy).n_packs == case[name]


LOGNORMAL: dict[str, Any] = {
    "count": 2000,
    "mu": 5.5,
    "sigma": 1,
    "longest": 4096,
    "capacity": 4096,
    "seed": 0,
}


@pytest.mark.parametrize(
    ("strategy", "name"),
    [
        ("next_fit", "next_fit"),
        ("first_fit", "first_fit"),
        ("best_fit", "best_fit"),
        ("first_fit_decreasing", "ffd"),
        ("best_fit_decreasing", "bfd"),
    ],
)
def test_lognormal_oracle(strategy: str, name: str) -> None:
    result = packed(**LOGNORMAL, strategy=strategy)
    assert result.n_packs == ORACLE["lognormal"][name]
    assert result.lower_bound == ORACLE["lognormal"]["lower_bound"]
    assert result.passed


def test_the_lognormal_stream_is_numpys() -> None:
    drawn = np.clip(np.rint(np.random.default_rng(0).lognormal(5.5, 1, 2000)), 1, 4096)
    assert np.array_equal(stream(PackParams(**LOGNORMAL)), drawn)


@pytest.mark.parametrize("batch", [8, 16])
def test_pad_to_longest_oracle(batch: int) -> None:
    expected = ORACLE["lognormal"]["pad_to_longest_padding_percent"][f"batch_{batch}"]
    result = packed(**LOGNORMAL, strategy="pad_to_longest", batch=batch)
    assert round(result.padding_percent, 2) == expected


@pytest.mark.parametrize(
    ("overlong", "name", "lost"), [("truncate", "bfd_truncating", 1), ("cut", "bfd_split", 0)]
)
def test_trl_oracle(overlong: str, name: str, lost: int) -> None:
    case = ORACLE["trl_bfd"]
    result = packed(
        case["lengths"], capacity=case["capacity"], strategy="best_fit_decreasing", overlong=overlong
    )
    assert tokens(result) == case[name]
    assert (result.tokens_lost, result.documents_cut) == (lost, 1)


def test_over_long_documents_dropped_and_alone() -> None:
    dropped = packed([5, 2, 3, 1], capacity=4, strategy="next_fit", overlong="drop")
    assert (dropped.packs, dropped.documents_dropped, dropped.tokens_lost) == (((1,), (2, 3)), (0,), 5)
    alone = packed([5, 2, 3, 1], capacity=4, strategy="next_fit", overlong="alone")
    assert (alone.packs, alone.widths, alone.lower_bound) == (((0,), (1,), (2, 3)), (5, 4, 4), 3)
    assert alone.padding_percent == pytest.approx(100 * 2 / 13)
    assert alone.attention_waste_percent == pytest.approx(100 * (1 - (25 + 4 + 9 + 1) / (25 + 16 + 16)))
    only = packed([9, 9], capacity=4, strategy="nnlshp", overlong="alone")
    assert only.passed
    assert only.n_packs == 2


# ------------------------------------------------------------------------------------ promises of all strategies


streams = st.lists(st.integers(1, 40), min_size=1, max_size=24)
settings_of_a_run = st.fixed_dictionaries(
    {
        "capacity": st.integers(1, 40),
        "overlong": st.sampled_from(("drop", "cut", "truncate", "alone")),
        "buckets": st.integers(1, 5),
        "threshold": st.sampled_from((0.5, 0.9, 1.0)),
        "batch": st.integers(1, 5),
        "window": st.integers(1, 12),
        "depth": st.integers(0, 4),
        "ranks": st.integers(1, 5),
    }
)


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=25, deadline=None)
@given(lengths=streams, values=settings_of_a_run)
def test_promises(strategy: str, lengths: list[int], values: dict[str, Any]) -> None:
    result = packed(lengths, strategy=strategy, **values)
    params = result.params
    assert result.passed
    # counted here again, by tokens rather than by pieces
    held = [(p.document, t) for run in result.runs for p in run for t in range(p.start, p.start + p.length)]
    due = {"truncate": params.capacity, "drop": 0}
    wanted = {
        (document, token)
        for document, length in enumerate(lengths)
        for token in range(length if length <= params.capacity else due.get(params.overlong, length))
    }
    assert len(held) == len(wanted)
    assert set(held) == wanted
    assert result.tokens_lost == sum(lengths) - len(held)
    assert result.packs == tuple(tuple(piece.document for piece in run) for run in result.runs)
    for run, width in zip(result.runs, result.widths, strict=True):
        assert sum(piece.length for piece in run) <= width
        assert width <= params.capacity or (params.overlong == "alone" and len(run) == 1)
    assert result.lower_bound <= result.proven_bound <= result.n_packs
    closed = [number for placement in result.placements for number in placement.closed]
    assert sorted(closed) == list(range(result.n_packs))
    if strategy in ("lpfhp", "spfhp", "nnlshp", "lp") and params.depth:
        assert result.max_depth <= params.depth
    if strategy == "next_fit" and params.overlong != "alone":
        assert result.displacement_most == 0


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=20), data=st.data())
def test_equal_lengths_may_change_places(lengths: list[int], data: st.DataObject) -> None:
    """What a strategy makes of a stream depends on lengths alone: a decreasing one on no order of the stream either."""
    shuffled = data.draw(st.permutations(lengths))
    for strategy in ("first_fit_decreasing", "best_fit_decreasing", "balanced", "lpfhp", "spfhp", "lp"):
        one, other = (packed(each, capacity=30, strategy=strategy) for each in (lengths, shuffled))
        assert tokens(one) == tokens(other)


def fewest_packs(lengths: list[int], capacity: int) -> int:
    """The optimum, by a constraint solver that shares no code with ours."""
    model, documents = cp_model.CpModel(), range(len(lengths))
    lies = {(d, p): model.new_bool_var(f"{d} in {p}") for d in documents for p in documents}
    used = [model.new_bool_var(f"pack {p}") for p in documents]
    for d in documents:
        model.add_exactly_one(lies[d, p] for p in documents)
    for p in documents:
        model.add(sum(lengths[d] * lies[d, p] for d in documents) <= capacity * used[p])
    model.minimize(sum(used))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    assert solver.solve(model) == cp_model.OPTIMAL
    return round(solver.objective_value)


def by_brute_force(lengths: list[int], capacity: int) -> int:
    """The optimum, by trying every pack for every document."""
    best = len(lengths)

    def rest(place: int, used: list[int]) -> None:
        nonlocal best
        if len(used) >= best:
            return
        if place == len(lengths):
            best = len(used)
            return
        for p in range(len(used)):
            if used[p] + lengths[place] <= capacity:
                rest(place + 1, [*used[:p], used[p] + lengths[place], *used[p + 1 :]])
        rest(place + 1, [*used, lengths[place]])

    rest(0, [])
    return best


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=8))
def test_nothing_beats_the_optimum(lengths: list[int]) -> None:
    optimum = by_brute_force(lengths, 20)
    assert measures.proven_bound(np.array(lengths), 20) <= optimum
    for strategy in WHOLE:
        assert packed(lengths, capacity=20, strategy=strategy).n_packs >= optimum
    decreasing = packed(lengths, capacity=20, strategy="first_fit_decreasing").n_packs
    assert decreasing <= 11 / 9 * optimum + 6 / 9


@pytest.mark.parametrize("seed", range(4))
def test_ortools_agrees_with_brute_force_and_the_bounds(seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(3, 21, 8).tolist()
    optimum = fewest_packs(lengths, 30)
    assert optimum == by_brute_force(lengths, 30)
    assert measures.proven_bound(np.array(lengths), 30) <= optimum


# ------------------------------------------------------------------------------------------------- the counts


def test_counts_by_hand() -> None:
    # packs of 8: (6), (5, 3), (2); ranks take (6) and (5, 3), then (2)
    result = packed([6, 5, 3, 2], capacity=8, strategy="next_fit", ranks=2)
    assert tokens(result) == [[6], [5, 3], [2]]
    assert result.padding_percent == pytest.approx(100 * 8 / 24)
    assert result.attention_waste_percent == pytest.approx(100 * (1 - (36 + 25 + 9 + 4) / (3 * 64)))
    assert result.imbalance_tokens_percent == pytest.approx(100 * (1 - 16 / (2 * (8 + 2))))
    assert result.imbalance_attention_percent == pytest.approx(100 * (1 - 74 / (2 * (36 + 4))))
    assert (result.lower_bound, result.max_depth) == (2, 2)


def test_displacement_by_hand() -> None:
    assert measures.displacement([[2], [0, 3]]).tolist() == [1, 1, 0]  # document 1 was left out


def test_proven_bound_is_sharper_than_tokens() -> None:
    assert measures.lower_bound(np.full(10, 51), 100) == 6
    assert measures.proven_bound(np.full(10, 51), 100) == 10
    assert measures.proven_bound(np.full(10, 34), 100) == 5
    assert measures.proven_bound(np.array([60, 60, 30, 30]), 100) == 2
    assert measures.proven_bound(np.array([60, 60, 45, 45]), 100) == 3  # beside each 60 there are 40 only


@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=7), capacity=st.integers(12, 24))
def test_no_bound_goes_above_the_optimum(lengths: list[int], capacity: int) -> None:
    assert measures.proven_bound(np.array(lengths), capacity) <= by_brute_force(lengths, capacity)


@pytest.mark.parametrize("break_it", settings_of(pack_module.BREAKS))
def test_every_break_turns_a_check_red(break_it: str) -> None:
    values = settings_of(pack_module.BREAKS)[break_it]
    assert packed(**values).passed
    assert not packed(**values, break_it=break_it).passed
    assert break_it in consequences_of(pack_module.BREAKS)


def test_two_strategies_on_the_same_stream() -> None:
    result = packed(strategy="next_fit", versus="best_fit_decreasing")
    assert result.other is not None
    assert result.other.packs == packed(strategy="best_fit_decreasing").packs
    assert len(result.checks) == 6
    assert [check.error for check in packed([3, 2], capacity=8, versus="none").checks] == [0, 0, 0]


def test_a_document_whose_end_is_lost_counts_as_cut() -> None:
    values = settings_of(pack_module.BREAKS)["lose_last_pack"]
    result = packed(**values, break_it="lose_last_pack")
    # of a document of 1,089 tokens, the first 1,024 were handed on
    assert (result.documents_cut, result.tokens_lost) == (1, 65)
    assert "1 document of 1,089 tokens is longer" in result.notes[0]
    gone = packed([3, 2], capacity=4, strategy="next_fit", break_it="lose_last_pack")
    assert (gone.packs, gone.tokens_lost) == (((0,),), 2)
    assert gone.documents_cut == 0  # one that is lost whole is not cut


# --------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("typed", "part"),
    [
        ("5,two,3", "'two'"),
        ("5,-2", "'-2'"),
        ("5,0,1", "'0'"),
        ("1.5", "'1.5'"),
        ("9" * 400, "from 1 to"),
        ("5," * 1_000_000, "at most 20,000 "),
    ],
)
def test_bad_lengths_are_one_sentence(typed: str, part: str) -> None:
    _, [problem] = read(PackParams, {"lengths": typed})
    assert problem.sentence.startswith("lengths = ")
    assert part in problem.sentence
    assert len(problem.sentence) < 250


def test_longer_than_the_capacity_is_said() -> None:
    result = packed([5, 2, 3, 1], capacity=4)
    assert result.notes[0].startswith("1 document of 5 tokens is longer than the capacity of 4: it is cut")
    _, [adjustment] = fit(PackParams(lengths="5,6", capacity=4, overlong="drop"))
    assert adjustment.field == "overlong"
    assert "allowed: " in adjustment.sentence
    _, [adjustment] = fit(PackParams(lengths="1000000,1000000", capacity=1))
    assert adjustment.field == "capacity"


@pytest.mark.parametrize("source", get_args(Source))
def test_every_source_keeps_within_its_bounds(source: Source) -> None:
    lengths = stream(PackParams(source=source, count=MOST_DOCUMENTS, longest=700))
    assert len(lengths) == MOST_DOCUMENTS
    assert lengths.min() >= 1
    assert lengths.max() <= 700


def test_zipf_falls_as_its_exponent_says() -> None:
    lengths = stream(PackParams(source="zipf", count=20_000, exponent=2.0, longest=1000))
    ones, twos = (lengths == 1).sum(), (lengths == 2).sum()
    assert ones / twos == pytest.approx(4, rel=0.1)


# -------------------------------------------------------------------------------------------------------- speed


@settings(max_examples=150, deadline=None)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=80), more=st.integers(0, 30))
def test_the_fast_twin_equals_the_readable_one(lengths: list[int], more: int) -> None:
    capacity = max(lengths) + more
    pack_of = np.empty(len(lengths), dtype=np.int64)
    for placement in packed(lengths, capacity=capacity, strategy="best_fit_decreasing").placements:
        pack_of[placement.piece.document] = placement.pack
    assert np.array_equal(fast.best_fit_decreasing(np.array(lengths), capacity), pack_of)


def test_the_fast_twin_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="within 1 and 4"):
        fast.best_fit_decreasing(np.array([3, 5]), 4)


def test_a_million_lengths_in_under_two_seconds() -> None:
    drawn = np.random.default_rng(0).lognormal(5.5, 1, 1_000_000)
    lengths = np.clip(np.rint(drawn), 1, 4096).astype(np.int64)
    fast.best_fit_decreasing(lengths[:10], 4096)  # compiles
    start = time.perf_counter()
    pack_of = fast.best_fit_decreasing(lengths, 4096)
    assert time.perf_counter() - start < 2
    assert np.bincount(pack_of, lengths).max() <= 4096
    assert pack_of.max() + 1 <= math.ceil(1.01 * lengths.sum() / 4096)
