"""Flash attention, one tile at a time: the grid of tiles, then one row, traffic, loop orders, backward, the race."""

from __future__ import annotations

from explainers.flash_attention.backward import BackwardParams
from explainers.flash_attention.loop_orders import LoopOrdersParams
from explainers.flash_attention.measured import MeasuredParams
from explainers.flash_attention.online_softmax import OnlineSoftmaxParams
from explainers.flash_attention.race import RaceParams
from explainers.flash_attention.tiles_params import TilesParams
from explainers.flash_attention.traffic import TrafficParams
from pages.parts import flash_attention as parts
from pages.parts import flash_attention_questions as asks
from pages.ui import lesson
from pages.ui.chapter import MORE, Chapter, Try

TILES = Chapter(
    key="tiles",
    title="Tile by tile",
    experiment="flash_attention.tiles",
    params=TilesParams,
    main=True,
    fields=parts.tile_fields,
    behind={MORE: ("window", "softcap", "kv_len", "score_scale", "outlier", "row", "seed")},
    question=asks.how_many_rescales,
    check_yourself=asks.scores_never_written,
    tries=(
        Try("rescale", "A late outlier", {"outlier": 12.0}),
        Try("one_tile", "One key tile", {"block_k": 64, "causal": False}),
        Try("window", "A sliding window", {"window": 16}),
        Try("cross", "Few queries, many keys", {"seq_len": 32, "kv_len": 96, "row": 20}),
        Try("capped", "An outlier, capped", {"outlier": 60.0, "softcap": 5.0}),
    ),
    below=parts.tiles_and_bytes,
    on_click=parts.follow_row,
    verify=parts.compare_with_kernel,
)
SOFTMAX = Chapter(
    key="softmax",
    title="One row",
    experiment="flash_attention.online_softmax",
    params=OnlineSoftmaxParams,
    heading="One row: the online softmax",
    fields=("length", "block", "outlier", "outlier_at", "seed"),
    behind={"Your own row": ("scores",)},
    question=asks.records,
    check_yourself=asks.largest_weight,
)
TRAFFIC = Chapter(
    key="traffic",
    title="Memory traffic",
    experiment="flash_attention.traffic",
    params=TrafficParams,
    heading="What it is for: memory traffic",
    fields=("seq_len", "head_dim", "sram_bytes", "bytes_per_element"),
    question=asks.left_when_memory_doubles,
    check_yourself=asks.bytes_of_standard,
    show=parts.show_traffic,
)
ORDERS = Chapter(
    key="orders",
    title="Loop orders",
    experiment="flash_attention.loop_orders",
    params=LoopOrdersParams,
    heading="Two loop orders",
    fields=("seq_len", "head_dim", "block_q", "block_k"),
    question=asks.writes_of_output,
    check_yourself=asks.writes_with_larger_blocks,
)
BACKWARD = Chapter(
    key="backward",
    title="Backward",
    experiment="flash_attention.backward",
    params=BackwardParams,
    heading="Backward",
    fields=("seq_len", "head_dim", "block_q", "block_k", "causal", "seed"),
    question=asks.tiles_computed_again,
    check_yourself=asks.saved_for_backward,
)
RACE = Chapter(
    key="race",
    title="Race",
    experiment="flash_attention.race",
    params=RaceParams,
    heading="The race, on this machine",
    fields=("longest", "heads", "head_dim", "causal"),
    question=asks.scores_in_memory,
    check_yourself=asks.operations,
    show=parts.show_race,
    further={parts.MEASURED: MeasuredParams},
)

lesson.show("flash_attention", (TILES, SOFTMAX, TRAFFIC, ORDERS, BACKWARD, RACE))
