"""Flash attention, one tile at a time: from the grid of tiles to memory traffic, the backward pass and the race."""

from __future__ import annotations

import streamlit as st

from explainers.experiment import Params, fit
from explainers.flash_attention import backward, online_softmax, race, tiles
from explainers.flash_attention.loop_orders import LoopOrdersParams
from explainers.flash_attention.traffic import TrafficParams, traffic
from kernels.interpreter import interpreter, triton_available
from pages.ui import breaking, charts, checks, controls, page, predict, run, share, source
from pages.ui.player.export import page_of_bytes
from pages.ui.player.mount import Click, play
from pages.ui.prose import prose

words = prose("flash_attention")
page.frame("Attention", "Flash attention, one tile at a time", words["claim"])
settings = controls.settings(
    tiles.TilesParams,
    softmax=online_softmax.OnlineSoftmaxParams,
    traffic=TrafficParams,
    orders=LoopOrdersParams,
    backward=backward.BackwardParams,
    race=race.RaceParams,
)


def follow(click: Click) -> None:
    """A click on the grid follows that query; one beside it, the row at that place of the same query tile."""
    params = settings.params()
    first = params.followed_row // params.block_q * params.block_q if click.action == "follow_row_of_tile" else 0
    settings.apply({"row": first + click.index[0]})


def tiles_section() -> None:
    """The grid of tiles: controls, player, what changed, checks, what to try."""
    names = ["seq_len", "head_dim", "block_q", "block_k", "causal", "backend"]
    params = settings.panel(*names[: None if triton_available() else -1])
    with st.popover("More settings", type="tertiary"):
        settings.panel("kv_len", "score_scale", "outlier", "row", "seed", reset=False)
    breaking.break_it(settings, tiles.BITES, tiles.LOST)
    if not triton_available():
        st.caption(words["no_triton"])
    shown = run.drawn("flash_attention.tiles", params) if not params.needs_button else None
    if params.needs_button:
        shown = run.job("flash_attention.tiles", params, lambda: run.drawing("flash_attention.tiles", params))
    if shown is None:
        return
    play(shown.scene, key="tiles", address="step", on_click=follow)
    facts = shown.facts
    moved = facts["bytes_read"] + facts["bytes_written"]
    settings.changed({"tiles visited": facts["tiles_visited"], "bytes moved": moved, "error": facts["max_abs_error"]})
    left, right = st.columns(2)
    with left, page.card("checked", "Checked"):
        checks.show(shown.checks)
        compare_with_kernel(params)
    with right, page.card("predict", "Predict first"):
        row, met, count = params.followed_row, facts["row_tiles"], facts["row_rescales"]
        answers = [str(number) for number in range(min(met, 8))] or ["0"]
        question = words["predict"].format(row=row, tiles=met)
        because = words["predict_reveal"].format(row=row, tiles=met, count=count)
        predict.predict(f"rescales-{row}-{met}-{count}", question, answers, str(count), because)
    left, right = st.columns(2)
    with left, page.card("try", "Try this"):
        settings.try_this([(label, changes, words[name]) for name, label, changes in TRY])
    with right, page.card("take", "Take it along"):
        take_along("flash_attention.tiles", params, shown)


TRY = (
    ("try_rescale", "A late outlier", {"outlier": 12.0}),
    ("try_one_tile", "One key tile", {"block_k": 64, "causal": False}),
    ("try_uneven", "Uneven blocks", {"seq_len": 100, "row": 99}),
    ("try_cross", "Few queries, many keys", {"seq_len": 32, "kv_len": 96, "row": 20}),
    ("try_sharp", "Sharp softmax", {"score_scale": 4.0}),
)


def compare_with_kernel(params: tiles.TilesParams) -> None:
    """Holds the Triton kernel's own trace against the readable loop, tile by tile, as soon as it is back."""
    if not triton_available():
        return
    asked, adjusted = fit(params.model_copy(update={"backend": "triton"}))
    if adjusted or asked.needs_button:
        st.caption(words["kernel_not_compared"])
        return
    run.later("flash_attention.compare", params, tiles.compare_with_kernel, lambda check: checks.show([check]), words["kernel_waiting"])
    if interpreter.restarts:
        st.caption(words["kernel_restarted"].format(times=interpreter.restarts))


def take_along(name: str, params: Params, shown: run.Drawn) -> None:
    """The link, the files, and the commands that give the same picture and numbers in a terminal."""
    share.link()
    share.downloads(name, [
        ("Offline HTML", "html", lambda: page_of_bytes(shown.scene, name)),
        ("JSON", "json", lambda: run.result_json(name, params)),
    ])  # fmt: skip
    source.reproduce(name, params)


@st.fragment
def softmax_section() -> None:
    """One row of scores, block by block."""
    st.header("One row first: the online softmax", anchor="softmax")
    st.markdown(words["softmax"])
    params = settings.panel("length", "block", "outlier", "outlier_at", "seed", prefix="softmax")
    settings.panel("scores", prefix="softmax", reset=False)
    breaking.break_it(settings, online_softmax.BITES, online_softmax.LOST, "softmax")
    if shown := run.drawn("flash_attention.online_softmax", params):
        play(shown.scene, key="softmax", address="softmax.step")
        checks.show(shown.checks)


@st.fragment
def traffic_section() -> None:
    """What it is for: bytes, counted, against the theorem."""
    from explainers.flash_attention.views import traffic as figures

    st.header("What it is for: memory traffic", anchor="traffic")
    st.markdown(words["traffic"])
    params = settings.panel("seq_len", "head_dim", "sram_bytes", "bytes_per_element", prefix="traffic")
    result = traffic(params)
    left, right = st.columns(2)
    with left:
        charts.show(figures.accesses_over_tokens(result), alt=words["traffic_tokens_alt"], key="over-tokens")
    with right:
        charts.show(figures.accesses_over_sram(result), alt=words["traffic_sram_alt"], key="over-sram")
    checks.show(result.checks)
    left, right = st.columns(2)
    with left, page.card("roofline", "Roofline"):
        st.markdown(words["roofline"])
        charts.show(figures.roofline(result), alt=words["roofline_alt"], key="roofline")
    with right, page.card("budget", "Blocks that fit"):
        st.markdown(words["budget"])
        charts.show(figures.legal_blocks(result), alt=words["budget_alt"], key="budget")
    with page.card("printed", "Printed, and counted here"):
        st.dataframe(figures.paper_table(result), hide_index=True)
        st.caption(result.paper_difference)


@st.fragment
def player_section(name: str, title: str, fields: tuple[str, ...], breaks: tuple[dict, dict] | None = None) -> None:
    """A section with controls, a player and its checks: the loop orders, the backward pass."""
    prefix = name.removeprefix("loop_")
    st.header(title, anchor=prefix)
    st.markdown(words[prefix])
    params = settings.panel(*fields, prefix=prefix)
    if breaks:
        breaking.break_it(settings, *breaks, prefix)
    if shown := run.drawn(f"flash_attention.{name}", params):
        play(shown.scene, key=prefix, address=f"{prefix}.step")
        checks.show(shown.checks)


@st.fragment
def race_section() -> None:
    """Naive, tiled, SDPA and, compiled, the kernel: measured now, on this machine."""
    st.header("The race, on this machine", anchor="race")
    st.markdown(words["race"])
    params = settings.panel("longest", "heads", "head_dim", "causal", prefix="race")
    result = run.job("flash_attention.race", params, lambda: race.run_race_with_progress(params))
    if result is None:
        return
    from explainers.flash_attention.views import race as figures

    left, right = st.columns(2)
    with left:
        charts.show(figures.seconds_over_tokens(result), alt=words["race_time_alt"], key="race-time")
    with right:
        charts.show(figures.memory_over_tokens(result), alt=words["race_memory_alt"], key="race-memory")
    st.dataframe(figures.table(result), hide_index=True)
    checks.show(result.checks)


tiles_section()
softmax_section()
traffic_section()
player_section("loop_orders", "Two loop orders", ("seq_len", "head_dim", "block_q", "block_k"))
player_section("backward", "Backward", ("seq_len", "head_dim", "block_q", "block_k", "causal", "seed"), (backward.BITES, backward.LOST))
race_section()
with page.card("sources", "Sources"):
    st.markdown(words["sources"])
