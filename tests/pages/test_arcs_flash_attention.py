"""The arcs of flash attention: questions at every kind of setting, and each right answer found another way."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from explainers.contract.experiment import find
from explainers.flash_attention.backward import BackwardParams
from explainers.flash_attention.loop_orders import LoopOrdersParams
from explainers.flash_attention.online_softmax import OnlineSoftmaxParams, draw_row
from explainers.flash_attention.race import RaceParams
from explainers.flash_attention.tiles_params import TilesParams
from explainers.flash_attention.traffic import TrafficParams
from pages.parts import flash_attention_questions as asks
from pages.parts.mistakes import short_bytes
from pages.ui.chapter import Chapter
from pages.ui.jobs.prepared_run import facts
from pages.ui.prose import prose
from tests.pages.chapters import chapters_of
from tests.pages.settings_to_ask import problem_with, settings_of, too_long

CHAPTERS = chapters_of("flash_attention")
SMALL = {"seq_len": 96, "kv_len": 96, "head_dim": 32, "longest": 1024, "length": 64}
WORDS = prose("flash_attention")


def shown(name: str, params: Any) -> dict[str, Any]:
    return facts(find(name)(params))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=[chapter.key for chapter in CHAPTERS])
def test_a_chapter_asks_well_at_every_kind_of_setting(chapter: Chapter) -> None:
    problems = []
    for params in settings_of(chapter, {"seq_len": 2048} if chapter.key == "traffic" else SMALL):
        if getattr(params, "backend", "") == "triton":
            params = params.model_copy(update={"backend": "torch"})
        found = {} if chapter.key == "race" else shown(chapter.experiment, params)
        if problem := problem_with(chapter, params, found, WORDS):
            problems.append(f"{params!r}: {problem}")
    assert not problems


@pytest.mark.parametrize("chapter", CHAPTERS, ids=[chapter.key for chapter in CHAPTERS])
def test_the_sentences_of_an_arc_fit_their_place(chapter: Chapter) -> None:
    assert not too_long(chapter, WORDS)


@pytest.mark.parametrize("values", [{}, {"seq_len": 32, "kv_len": 96}, {"causal": False, "seq_len": 40}])
def test_the_bytes_of_the_scores_are_those_of_a_tensor(values: dict[str, Any]) -> None:
    params = TilesParams(**values)
    S = torch.empty(params.seq_len, params.kv_len or params.seq_len)
    asked = asks.scores_never_written(params, {})
    assert asked
    assert asked["right"] == short_bytes(S.nbytes)


@pytest.mark.parametrize(
    ("scores", "block", "raised"), [("1,2,3,4", 1, 3), ("4,3,2,1", 1, 0), ("1,5,2,3,9,0", 2, 1)]
)
def test_records_are_counted_by_hand(scores: str, block: int, raised: int) -> None:
    asked = asks.records(OnlineSoftmaxParams(scores=scores, block=block), {})
    assert asked
    assert asked["right"] == str(raised)


@pytest.mark.parametrize("values", [{}, {"outlier": 6.0}, {"length": 32, "seed": 4}])
def test_the_largest_weight_is_torchs(values: dict[str, Any]) -> None:
    params = OnlineSoftmaxParams(**values)
    asked = asks.largest_weight(params, shown("flash_attention.online_softmax", params))
    weights = torch.softmax(torch.tensor(draw_row(params), dtype=torch.float64), 0)
    assert asked
    assert asked["right"] == f"{weights.max().item():.1%}"


@pytest.mark.parametrize("values", [{}, {"seq_len": 1024, "sram_bytes": 16384}])
def test_what_is_left_is_counted_with_the_memory_doubled(values: dict[str, Any]) -> None:
    params = TrafficParams(**values)
    now = shown("flash_attention.traffic", params)
    doubled = params.model_copy(update={"sram_bytes": 2 * params.sram_bytes})
    left = shown("flash_attention.traffic", doubled)["tiled_accesses_fa2"] / now["tiled_accesses_fa2"]
    asked = asks.left_when_memory_doubles(params, now)
    assert asked
    assert abs(asks.LEFT[asked["right"]] - left) <= 0.125


def test_standard_attention_moves_the_bytes_of_its_tensors() -> None:
    params = TrafficParams(seq_len=2048, bytes_per_element=2)
    n, d = params.seq_len, params.head_dim
    numbers = 4 * n * n + 4 * n * d  # S and P, each written and read; Q, K and V read, O written
    asked = asks.bytes_of_standard(params, shown("flash_attention.traffic", params))
    assert asked
    assert asked["right"] == short_bytes(2 * numbers)


@pytest.mark.parametrize("values", [{}, {"seq_len": 96, "block_q": 32}, {"block_k": 32}])
def test_larger_key_blocks_are_counted_by_the_experiment(values: dict[str, Any]) -> None:
    params = LoopOrdersParams(**values)
    asked = asks.writes_with_larger_blocks(params, shown("flash_attention.loop_orders", params))
    wider = params.model_copy(update={"block_k": 2 * params.block_k})
    assert asked
    assert asked["right"] == f"{shown('flash_attention.loop_orders', wider)['fa1_output_writes']:,}"


@pytest.mark.parametrize("values", [{}, {"seq_len": 96, "head_dim": 32}])
def test_what_is_saved_is_o_and_a_number_a_row(values: dict[str, Any]) -> None:
    params = BackwardParams(**values)
    O, L = torch.empty(params.seq_len, params.head_dim), torch.empty(params.seq_len)
    asked = asks.saved_for_backward(params, shown("flash_attention.backward", params))
    assert asked
    assert asked["right"] == f"{O.nbytes + L.nbytes:,} B"


def test_the_operations_are_those_that_torch_counts() -> None:
    params = RaceParams(longest=512, heads=2, head_dim=32, causal=False)
    q = torch.empty(2, 512, 32, device="meta")
    with FlopCounterMode(display=False) as counter:
        torch.bmm(torch.bmm(q, q.transpose(1, 2)), q)
    asked = asks.operations(params, {})
    assert asked
    assert asked["right"] == f"{counter.get_total_flops() / 1e9:.3g} GFLOP"
