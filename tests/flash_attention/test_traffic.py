"""Memory traffic of attention: our counts against the theorem and the printed table."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explainers.contract.params import fit
from explainers.flash_attention import (
    machines,
    moves,
    traffic,
)
from explainers.flash_attention.loop_orders import LoopOrdersParams, loop_orders
from explainers.flash_attention.traffic import TrafficParams
from tests.flash_attention.runs import ORACLE

# -------------------------------------------------------------------------------------------------- traffic


@given(n=st.integers(1, 60), d=st.integers(1, 20), block_q=st.integers(1, 70), block_k=st.integers(1, 70))
def test_the_counting_twins_equal_the_loops(n: int, d: int, block_q: int, block_k: int) -> None:
    size = (n, d, block_q, block_k)
    assert moves.total(moves.flash_attention_1_moves(*size)) == moves.flash_attention_1_traffic(*size)
    assert moves.total(moves.flash_attention_2_moves(*size)) == moves.flash_attention_2_traffic(*size)
    assert moves.total(moves.standard_moves(n, d)) == moves.standard_traffic(n, n, d)


@pytest.mark.parametrize(("n", "d"), [(4096, 64), (16_384, 64), (131_072, 128)])
def test_the_flash_attention_1_count_halves_when_sram_doubles(n: int, d: int) -> None:
    memory = 16 * d
    while memory <= n * d // 8:
        result, doubled = (
            traffic.traffic(TrafficParams(seq_len=n, head_dim=d, sram_bytes=2 * elements))
            for elements in (memory, 2 * memory)
        )
        assert doubled.tiled_accesses / result.tiled_accesses == pytest.approx(0.5, rel=0.05)
        assert result.tiled_when_sram_doubles == doubled.tiled_accesses / result.tiled_accesses
        # the theorem's growth: the ratio to N^2 d^2 / M settles (12 + 16 / d, and less where outer loads matter)
        assert 11 < result.tiled_accesses / result.theorem_accesses < 16
        memory *= 4


def test_the_flash_attention_2_count_stops_once_a_query_block_holds_d_rows() -> None:
    n, d = 8192, 64
    saturated = traffic.traffic(TrafficParams(seq_len=n, head_dim=d)).fa2_saturates_at_bytes
    at, below, far = (
        traffic.traffic(TrafficParams(seq_len=n, head_dim=d, sram_bytes=sram_bytes))
        for sram_bytes in (saturated, saturated - 1, 2**24)
    )
    assert at.block_q == d
    assert below.block_q == d - 1
    assert below.tiled_accesses_fa2 > at.tiled_accesses_fa2 == far.tiled_accesses_fa2
    assert at.tiled_accesses_fa2 == 2 * n * d * (n // d) + 2 * n * d + n
    assert far.tiled_accesses < at.tiled_accesses


def test_blocks_bounds_and_intensity_at_one_setting() -> None:
    result = traffic.traffic(
        TrafficParams(seq_len=1000, head_dim=64, sram_bytes=100_000, bytes_per_element=2)
    )
    assert (result.block_q, result.block_k) == (64, math.ceil(50_000 / 256))  # min(Bc, d), ceil(M / 4d)
    assert result.standard_accesses == 4 * 1000**2 + 4 * 1000 * 64
    assert result.lower_bound_accesses == 4 * 1000 * 64
    assert result.theorem_accesses == pytest.approx(1000**2 * 64**2 / 50_000)
    assert result.standard_intensity == pytest.approx(4 * 1000**2 * 64 / (2 * result.standard_accesses))
    assert result.passed
    assert result.lower_bound_accesses < result.tiled_accesses < result.standard_accesses


def test_the_longest_sequence_is_counted_at_once() -> None:
    result = traffic.traffic(
        TrafficParams(seq_len=131_072, head_dim=256, sram_bytes=2048, bytes_per_element=2)
    )
    assert result.block_k == 1
    assert result.tiled_accesses == 2 * 131_072 * 256 + 131_072**2 * (3 * 256 + 4) + 131_072 * (256 + 2)


def test_curves_pass_through_the_chosen_point() -> None:
    result = traffic.traffic(TrafficParams())
    at = result.over_seq_len.x.tolist().index(4096)
    assert result.over_seq_len.tiled[at] == result.tiled_accesses
    at = result.over_sram.x.tolist().index(131_072)
    assert result.over_sram.tiled_fa2[at] == result.tiled_accesses_fa2
    assert result.over_sram.theorem[at] == result.theorem_accesses
    assert (np.diff(result.over_seq_len.standard) > 0).all()


def test_the_papers_table_beside_our_count() -> None:
    printed, counted = ORACLE["table_gpt2_attention"]["printed"], ORACLE["flops_example"]["matmul_gflop"]
    standard, flash = traffic.paper_table()
    for row, name in ((standard, "standard"), (flash, "flash")):
        assert (row.printed_gflops, row.printed_hbm_gb, row.printed_ms) == tuple(printed[name].values())
    assert standard.counted_gflops == pytest.approx(counted["forward_backward"], abs=0.05)
    assert flash.counted_gflops == pytest.approx(counted["forward_backward_with_recompute"], abs=0.05)
    assert flash.counted_hbm_gb == pytest.approx(flash.printed_hbm_gb, rel=0.1)
    # 11 passes over N x N (2.147 GB each) and 12 over N x d
    one_pass = ORACLE["flops_example"]["one_fp16_pass_over_NxN_gigabytes"]
    assert standard.counted_hbm_gb == pytest.approx(11 * one_pass + 12 * one_pass / 16, rel=1e-3)


def test_legal_blocks_and_rooflines() -> None:
    legal = {(block.gpu, block.block_q, block.block_k): block for block in machines.legal_blocks(128, 2)}
    a100, h100 = (gpu.name for gpu in machines.GPUS)
    assert legal[a100, 128, 128].bytes_used == 3 * 128 * 128 * 2
    assert legal[a100, 128, 256].bytes_used == 163_840
    assert legal[a100, 128, 256].fits  # 160 KiB of 163
    assert not legal[a100, 256, 256].fits
    assert legal[h100, 256, 256].bytes_used == 196_608
    assert legal[h100, 256, 256].fits
    roof = traffic.traffic(TrafficParams()).rooflines[0]
    assert roof.standard == pytest.approx(2039e9 * traffic.traffic(TrafficParams()).standard_intensity)
    assert roof.tiled == roof.peak
    assert 100 < roof.ridge < 200


def test_sram_must_hold_a_row_of_each_tile() -> None:
    params, made = fit(TrafficParams(head_dim=256, sram_bytes=1024, bytes_per_element=4))
    assert (params.sram_bytes, made[0].field) == (4096, "sram_bytes")
    assert traffic.traffic(params).block_k == 1


@pytest.mark.parametrize("settings_of", [{}, {"seq_len": 50, "block_q": 16, "block_k": 12}])
def test_loop_orders_side_by_side(settings_of: dict[str, int]) -> None:
    params = LoopOrdersParams(**settings_of)
    result = loop_orders(params)
    n, d = params.seq_len, params.head_dim
    columns = math.ceil(n / params.block_k)
    assert result.passed
    assert result.fa2_output_writes == n * d
    assert result.fa1_output_writes == n * d * (columns + 1)  # zeroed once, then once a key tile
    assert sorted(map(tuple, result.fa1.tiles)) == sorted(map(tuple, result.fa2.tiles))
    assert result.fa1.tiles[:2].tolist() == [[0, 0], [1, 0]]
    assert result.fa2.tiles[:2].tolist() == [[0, 0], [0, 1]]
    for order, accesses in ((result.fa1, result.fa1_accesses), (result.fa2, result.fa2_accesses)):
        assert len(order.reads) == len(order.tiles) + 1
        assert order.reads[-1] + order.writes[-1] == accesses == sum(move.elements for move in order.moves)
        assert (np.diff(order.reads) > 0).all()
        assert (np.diff(order.writes) >= 0).all()
    assert result.fa1.writes[0] == n * d + 2 * n  # O, l and m are set up before the first tile
    assert result.fa2.writes[0] == 0
