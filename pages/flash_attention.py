"""Flash attention, one tile at a time: the grid of tiles, then one row, traffic, loop orders, backward, the race."""

from __future__ import annotations

import streamlit as st

from explainers.contract.experiment import find
from explainers.flash_attention import backward, online_softmax, race, tiles
from explainers.flash_attention.loop_orders import LoopOrdersParams
from explainers.flash_attention.traffic import PAPER_SOURCE, TrafficParams, traffic
from explainers.flash_attention.views import race as race_figures
from explainers.flash_attention.views import traffic as traffic_figures
from kernels.interpreter import interpreter, triton_available
from pages.ui import chapters, page, section
from pages.ui.cards import charts, checks, predict
from pages.ui.jobs import run
from pages.ui.player.mount import Click
from pages.ui.prose import prose
from pages.ui.settings import breaks, controls

words = prose("flash_attention")
page.frame("Attention", "Flash attention, one tile at a time", words["claim"])
CHAPTERS = {
    "tiles": "Tile by tile", "softmax": "One row", "traffic": "Memory traffic", "orders": "Loop orders",
    "backward": "Backward", "race": "Race",
}  # fmt: skip
settings = controls.settings(
    tiles.TilesParams,
    _page=chapters.params_of(CHAPTERS),
    softmax=online_softmax.OnlineSoftmaxParams,
    traffic=TrafficParams,
    orders=LoopOrdersParams,
    backward=backward.BackwardParams,
    race=race.RaceParams,
)
TRY = (
    ("try_rescale", "A late outlier", {"outlier": 12.0}),
    ("try_one_tile", "One key tile", {"block_k": 64, "causal": False}),
    ("try_uneven", "Uneven blocks", {"seq_len": 100, "row": 99}),
    ("try_cross", "Few queries, many keys", {"seq_len": 32, "kv_len": 96, "row": 20}),
    ("try_sharp", "Sharp softmax", {"score_scale": 4.0}),
)


@st.fragment
def tiles_section() -> None:
    """The grid of tiles: controls, player, what changed, checks, what to try."""
    st.markdown(words["tiles"])
    if (shown := section.steered(settings, "flash_attention.tiles", tiles_controls, on_click=follow)) is None:
        return
    params, facts = settings.params(), {**shown.facts, "row": settings.params().followed_row}
    settings.changed({"tiles visited": facts["tiles_visited"], "bytes moved": facts["bytes_moved"]})
    if facts["bytes_moved"] > facts["standard_bytes"]:
        st.caption(words["more_traffic"])
    asked, because = words["predict"].format(**facts), words["predict_reveal"].format(**facts)
    section.cards(
        "flash_attention.tiles",
        params,
        shown.checks,
        shown.scene,
        compare=lambda: compare_with_kernel(params),
        question=predict.how_many(asked, facts["row_rescales"], max(0, facts["row_tiles"] - 1), because),
        tries=lambda: settings.try_this([(label, changes, words[name]) for name, label, changes in TRY]),
    )


def tiles_controls() -> None:
    """The sizes of the grid and the switches, and what is asked for less often behind a button."""
    kernel = ("backend",) if triton_available() else ()
    settings.panel("seq_len", "head_dim", "block_q", "block_k", "causal", *kernel)
    with st.container(horizontal=True, vertical_alignment="center", key="switches-"):
        breaks.switches(settings, find("flash_attention.tiles").breaks)
        with st.popover("More settings", type="tertiary"):
            settings.panel("kv_len", "score_scale", "outlier", "row", "seed", reset=False)
    breaks.loss(settings, find("flash_attention.tiles").breaks)


def follow(click: Click) -> None:
    """A click on the grid follows that query; one beside it, the row at that place of the same query tile."""
    params = settings.params()
    start = params.followed_row // params.block_q * params.block_q
    settings.open({"row": click.index[0] + (start if click.action == "follow_row_of_tile" else 0)})


def compare_with_kernel(params: tiles.TilesParams) -> None:
    """Holds the Triton kernel's own trace against the readable loop, tile by tile, as soon as it is back."""
    if not triton_available():
        st.caption(words["no_triton"])
    elif not params.kernel_can_follow:
        st.caption(words["kernel_not_compared"])
    else:
        run.later(params, tiles.compare_with_kernel, checks.show, words["kernel_waiting"])
    if interpreter.restarts:
        st.caption(words["kernel_restarted"].format(times=interpreter.restarts))


@st.fragment
def traffic_section() -> None:
    """What it is for: bytes, counted, against the theorem."""
    section.heading("What it is for: memory traffic", words["traffic"])
    params = settings.panel("seq_len", "head_dim", "sram_bytes", "bytes_per_element", prefix="traffic")
    result = traffic(params)
    charts.pair(
        (traffic_figures.accesses_over_tokens(result), words["traffic_tokens_alt"]),
        (traffic_figures.accesses_over_sram(result), words["traffic_sram_alt"]),
    )
    st.markdown(words["roofline"])
    charts.pair(
        (traffic_figures.roofline(result), words["roofline_alt"]),
        (traffic_figures.legal_blocks(result), words["blocks_alt"]),
    )
    charts.show(traffic_figures.sram_budget(result), alt=words["budget_alt"], height=230)
    with page.card("printed", "Printed, and counted here", PAPER_SOURCE):
        st.dataframe(traffic_figures.paper_table(result), hide_index=True)
        st.caption(result.paper_difference)
    section.cards("flash_attention.traffic", params, result.checks)


@st.fragment
def race_section() -> None:
    """Naive, tiled, SDPA and, compiled, the kernel: measured now, on this machine."""
    section.heading("The race, on this machine", words["race"])
    params = settings.panel("longest", "heads", "head_dim", "causal", prefix="race")
    result = run.job("flash_attention.race", params, lambda: race.run_race_with_progress(params))
    if result is None:
        return
    charts.pair(
        (race_figures.seconds_over_tokens(result), words["race_time_alt"]),
        (race_figures.memory_over_tokens(result), words["race_memory_alt"]),
    )
    st.dataframe(race_figures.table(result), hide_index=True)
    section.cards("flash_attention.race", params, result.checks)


match chapters.choose(settings):
    case "tiles":
        tiles_section()
    case "softmax":
        section.played(
            settings, "flash_attention.online_softmax", "softmax", title="One row: the online softmax",
            words=words["softmax"], fields=("length", "block", "outlier", "outlier_at", "seed"), paragraph="scores",
        )  # fmt: skip
    case "traffic":
        traffic_section()
    case "orders":
        section.played(
            settings, "flash_attention.loop_orders", "orders", title="Two loop orders", words=words["orders"],
            fields=("seq_len", "head_dim", "block_q", "block_k"),
        )  # fmt: skip
    case "backward":
        section.played(
            settings, "flash_attention.backward", "backward", title="Backward",
            words=words["backward"], fields=("seq_len", "head_dim", "block_q", "block_k", "causal", "seed"),
        )  # fmt: skip
    case "race":
        race_section()
page.sources(words["sources"])
