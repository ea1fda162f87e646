"""The arc of each chapter of flash attention: its words, its questions, and the step on which it opens."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from explainers.contract.experiment import find
from explainers.flash_attention.backward import BackwardParams, backward
from explainers.flash_attention.moves import flash_attention_1_moves, flash_attention_2_moves, total
from explainers.flash_attention.online_softmax import OnlineSoftmaxParams, online_softmax
from explainers.flash_attention.tiles import tiles
from explainers.flash_attention.tiles_params import TilesParams
from explainers.flash_attention.traffic import TrafficParams, traffic
from tests.pages import attention_arcs as arcs
from tests.pages.chapters import chapter_of, chapters_of

TOPIC = "flash_attention"
CHAPTERS = pytest.mark.parametrize("key", [chapter.key for chapter in chapters_of(TOPIC)])


@CHAPTERS
def test_every_question_can_be_answered(key: str) -> None:
    chapter = chapter_of(TOPIC, key)
    found = [
        problem for params in arcs.settings_of(chapter) for problem in arcs.problems(TOPIC, chapter, params)
    ]
    assert not found


@CHAPTERS
def test_every_chapter_asks_at_its_defaults_and_its_words_fit(key: str) -> None:
    chapter = chapter_of(TOPIC, key)
    assert not [field for field, *_ in arcs.QUESTIONS if arcs.never_asked(chapter, field)]
    assert not arcs.too_long(TOPIC, chapter)


# ------------------------------------------------------------------------------- the right answers, computed anew


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"causal": False},
        {"window": 16},
        {"seq_len": 40, "kv_len": 96, "block_q": 16, "block_k": 8},
        {"seq_len": 96, "kv_len": 40, "causal": False},
    ],
)
def test_tiles_with_the_other_mask(values: dict[str, Any]) -> None:
    params = TilesParams.model_validate(values)
    visited = 0
    for first in range(0, params.seq_len, params.block_q):
        for left in range(0, params.keys, params.block_k):
            visited += any(
                seen(params, query, key)
                for query in range(first, min(first + params.block_q, params.seq_len))
                for key in range(left, min(left + params.block_k, params.keys))
            )
    assert arcs.right(chapter_of(TOPIC, "tiles"), **values) == f"{visited}"


def seen(params: TilesParams, query: int, key: int) -> bool:
    """Whether a query sees a key once Causal is switched."""
    position = query + params.keys - params.seq_len
    too_late = not params.causal and key > position
    return not too_late and (params.window < 0 or key >= position - params.window)


@pytest.mark.parametrize(("values", "other"), [({}, 1), ({"seed": 7, "length": 60}, 1), ({"block": 1}, 4)])
def test_rises_in_other_blocks(values: dict[str, Any], other: int) -> None:
    steps = online_softmax(OnlineSoftmaxParams.model_validate({**values, "block": other})).steps
    rescaled = [step for _, step in steps if step.phase == "maximum" and step.alpha < 1]
    assert arcs.right(chapter_of(TOPIC, "softmax"), **values) == f"{len(rescaled) - 1}"  # the first has α = 0


@pytest.mark.parametrize("values", [{}, {"head_dim": 128}, {"head_dim": 16, "bytes_per_element": 4}])
def test_the_fast_memory_of_a_full_query_block(values: dict[str, Any]) -> None:
    d = TrafficParams.model_validate(values).head_dim
    sizes = range(1024, 512 * 1024, 256)
    least = next(
        size for size in sizes if traffic_at(values, size) == d and traffic_at(values, size - 256) < d
    )
    number, unit = arcs.right(chapter_of(TOPIC, "traffic"), **values).split()
    assert float(number) * {"B": 1, "KiB": 1024}[unit] == pytest.approx(least, rel=0.05, abs=256)


def traffic_at(values: dict[str, Any], size: int) -> int:
    """The rows of a query block at a size of fast memory; 0 where it is too small for a row."""
    params = TrafficParams.model_validate({**values, "sram_bytes": max(1024, size)})
    return 0 if next(params.adjustments(), None) else -(-params.sram_elements // (4 * params.head_dim))


@pytest.mark.parametrize("values", [{}, {"seq_len": 120, "block_q": 32}, {"block_q": 64, "block_k": 8}])
def test_reads_of_keys(values: dict[str, Any]) -> None:
    params = chapter_of(TOPIC, "orders").params.model_validate(values)
    sizes = (params.seq_len, params.head_dim, params.block_q, params.block_k)  # type: ignore[attr-defined]
    reads = [move for move in flash_attention_2_moves(*sizes) if (move.matrix, move.key_tile) == ("K", 0)]
    assert arcs.right(chapter_of(TOPIC, "orders"), **values) == f"{len(reads)}"


@pytest.mark.parametrize("values", [{}, {"seq_len": 32, "head_dim": 64}, {"seq_len": 16, "head_dim": 16}])
def test_what_is_kept_at_twice_the_length(values: dict[str, Any]) -> None:
    n = 2 * BackwardParams.model_validate(values).seq_len
    kept = backward(BackwardParams.model_validate({**values, "seq_len": n})).saved_bytes
    assert arcs.right(chapter_of(TOPIC, "backward"), **values) == f"{kept:,} B"


@pytest.mark.parametrize("heads", [1, 4, 8, 16])
def test_the_longest_naive_run(heads: int) -> None:
    def matrices(n: int) -> int:
        return torch.empty((2, heads, n, n), dtype=torch.float32, device="meta").nbytes

    longest = int(arcs.right(chapter_of(TOPIC, "race"), heads=heads).replace(",", ""))
    assert matrices(longest) <= 2**30 < matrices(2 * longest)


# ----------------------------------------------------------------------------------------- the step it opens on


@pytest.mark.parametrize("values", [{}, {"seq_len": 16}, {"causal": False}, {"block_q": 64, "block_k": 64}])
def test_backward_opens_where_p_is_computed_a_second_time(values: dict[str, Any]) -> None:
    result = backward(BackwardParams.model_validate(values))
    start = find("flash_attention.backward").scene(result).start
    step = result.steps[start][1]
    assert (step.owner, step.phase) == ("query", "recompute")
    earlier = [each for _, each in result.steps[:start] if each.phase == "recompute"]
    assert any(
        (each.query_tile, each.key_tile) == (step.query_tile, step.key_tile) and each.owner == "key"
        for each in earlier
    )


@pytest.mark.parametrize("scores", ["5, 4, 3, 2, 1, 0", "1 1 1 1"])
def test_a_row_that_never_rises_opens_at_its_end(scores: str) -> None:
    result = online_softmax(OnlineSoftmaxParams(scores=scores, block=2))
    scene = find("flash_attention.online_softmax").scene(result)
    assert scene.start == scene.steps - 1


@pytest.mark.parametrize("values", [{"row": 0}, {"block_k": 64, "causal": False}])
def test_a_row_that_is_never_rescaled_opens_on_the_whole_grid(values: dict[str, Any]) -> None:
    scene = find("flash_attention.tiles").scene(tiles(TilesParams.model_validate(values)))
    assert scene.start == scene.steps - 1


BROKEN = [{**each.settings, "break_it": each.name} for each in find("flash_attention.tiles").breaks]


@pytest.mark.parametrize(
    "values", [*BROKEN, {"causal": False, "row": 5}, {"seq_len": 32, "kv_len": 96, "row": 20}]
)
def test_tiles_never_open_on_a_nearly_empty_grid(values: dict[str, Any]) -> None:
    result = tiles(TilesParams.model_validate(values))
    start = find("flash_attention.tiles").scene(result).start
    computed = [number for number, (_, step) in enumerate(result.steps) if step.phase == "scores"]
    assert sum(number <= start for number in computed) >= len(computed) / 4


def test_tiles_open_early_where_only_an_early_tile_is_wrong() -> None:
    values = {"seq_len": 64, "kv_len": 56, "causal": True, "break_it": "finite_sentinel"}
    result = tiles(TilesParams.model_validate(values))
    start = find("flash_attention.tiles").scene(result).start
    assert (result.steps[start][1].query_tile, result.steps[start][1].phase) == (0, "finish")


@pytest.mark.parametrize("scores", ["0 9 10 1 2 3 4 5 6 7 8 9", "0 9 1 2 3 4 5 6 7 8 9 10"])
def test_a_row_never_opens_in_its_first_quarter(scores: str) -> None:
    result = online_softmax(OnlineSoftmaxParams(scores=scores, block=1))
    start = find("flash_attention.online_softmax").scene(result).start
    assert result.steps[start][1].block >= 12 / 4 or start == len(result.steps) - 1


def test_no_answer_has_more_tiles_than_there_are() -> None:
    chapter = chapter_of(TOPIC, "tiles")
    for params in arcs.settings_of(chapter):
        if found := arcs.asked(chapter, "check_yourself", params):
            assert max(int(answer.replace(",", "")) for answer in found["answers"]) <= found["total"]


# --------------------------------------------------------------------------------------------- the surprises


def test_with_much_fast_memory_flash_attention_2_moves_more() -> None:
    n, d = 2048, 64
    moved = [
        total(moves(n, d, 64, 512)).total for moves in (flash_attention_1_moves, flash_attention_2_moves)
    ]
    assert moved[0] < moved[1]


def test_flash_attention_2_writes_each_number_of_o_once() -> None:
    moves = flash_attention_2_moves(120, 32, 32, 16)
    assert sum(move.elements for move in moves if (move.kind, move.matrix) == ("write", "O")) == 120 * 32


def test_the_weight_of_the_first_block() -> None:
    chapter = chapter_of(TOPIC, "softmax")
    found = arcs.asked(chapter, "question", OnlineSoftmaxParams())
    assert found is not None
    result = online_softmax(OnlineSoftmaxParams())
    assert found["right"] == f"{100 * result.weights[:6].sum():.0f}%"
    assert found["share"] == pytest.approx(100 * float(result.weights[:6].sum()), rel=1e-4)


def test_fewer_accesses_are_those_that_the_page_draws() -> None:
    chapter = chapter_of(TOPIC, "traffic")
    found, result = arcs.asked(chapter, "question", TrafficParams()), traffic(TrafficParams())
    assert found is not None
    assert float(found["right"].removesuffix("×")) == pytest.approx(
        result.standard_accesses / result.tiled_accesses, rel=0.06
    )
    assert math.isfinite(found["tiled"])
    assert np.isclose(found["standard"], result.standard_accesses)
