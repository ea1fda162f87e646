"""The parts of the flash attention page: charts, the comparison with the kernel, the race."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from explainers.flash_attention import race, tiles
from explainers.flash_attention.measured import MeasuredResult, measured
from explainers.flash_attention.measurements import UnreadableMeasurements
from explainers.flash_attention.traffic import PAPER_SOURCE, TrafficResult, traffic
from explainers.flash_attention.views import measured as measured_figures
from explainers.flash_attention.views import race as race_figures
from explainers.flash_attention.views import traffic as traffic_figures
from kernels.interpreter import interpreter, triton_available
from pages.ui import lesson, page
from pages.ui.cards import charts, checks, share, tables
from pages.ui.cards.commands import command
from pages.ui.chapter import Chapter, Shown
from pages.ui.jobs import background, errors, long_run
from pages.ui.jobs.cache import result_json
from pages.ui.player.mount import Click
from pages.ui.prose import Prose
from pages.ui.settings.controls import Settings

MEASURED = "measured"  # the prefix of the settings of what was measured on a GPU
MEASURED_EXPERIMENT = "flash_attention.measured"


def tile_fields(params: tiles.TilesParams) -> Sequence[str]:
    """The sizes of the grid; what computes it, where Triton is installed."""
    kernel = ("backend",) if triton_available() else ()
    return ("seq_len", "head_dim", "block_q", "block_k", "causal", *kernel)


def tiles_and_bytes(shown: Shown) -> None:
    """What a change did to the tiles and the bytes, and where tiling moves more than it saves."""
    facts = shown.facts
    shown.compare(
        {
            "tiles visited": facts["tiles_visited"],
            "tiles skipped": facts["tiles_skipped"],
            "bytes moved": facts["bytes_moved"],
        }
    )
    if facts["bytes_moved"] > facts["standard_bytes"]:
        st.caption(shown.said("more_traffic"))


def follow_row(settings: Settings, click: Click) -> None:
    """A click on the grid follows that query; a click on the row memory, that row of the same query tile."""
    params = settings.params()
    start = params.followed_row // params.block_q * params.block_q
    settings.open({"row": click.index[0] + (start if click.action == "follow_row_of_tile" else 0)})


def compare_with_kernel(shown: Shown) -> None:
    """Compares the Triton kernel's own trace with the readable loop, tile by tile, once it is computed."""
    if not triton_available():
        st.caption(shown.said("no_triton"))
    elif not shown.params.kernel_can_follow:
        st.caption(shown.said("kernel_not_compared"))
    else:
        background.show_when_ready(
            shown.params, tiles.compare_with_kernel, checks.show, shown.said("kernel_waiting")
        )
    if interpreter.restarts:
        st.caption(shown.said("kernel_restarted").format(times=interpreter.restarts))


@st.fragment
def show_traffic(chapter: Chapter, settings: Settings, words: Prose) -> None:
    """Memory traffic: the bytes counted, beside the theorem."""
    settings.settle()
    result = traffic(settings.params(chapter.prefix))

    def draw() -> TrafficResult:
        charts.pair(
            (traffic_figures.accesses_over_tokens(result), words["traffic.tokens_alt"]),
            (traffic_figures.accesses_over_sram(result), words["traffic.sram_alt"]),
        )
        return result

    lesson.charted(chapter, settings, words, draw, lambda result: _why_it_pays(result, words))


def _why_it_pays(result: TrafficResult, words: Prose) -> None:
    """Rooflines, blocks that fit, the budget of fast memory, and the table in print."""
    st.markdown(words["traffic.roofline"])
    charts.pair(
        (traffic_figures.roofline(result), words["traffic.roofline_alt"]),
        (traffic_figures.legal_blocks(result), words["traffic.blocks_alt"]),
    )
    charts.show(traffic_figures.sram_budget(result), alt=words["traffic.budget_alt"], height=230)
    with page.card("printed", "Printed, and counted here", PAPER_SOURCE):
        st.dataframe(traffic_figures.paper_table(result), hide_index=True)
        st.caption(result.paper_difference)


@st.fragment
def show_race(chapter: Chapter, settings: Settings, words: Prose) -> None:
    """Naive, tiled, SDPA and, compiled, the kernel: measured now, on this machine; beside it what a GPU measured."""
    settings.settle()
    on_a_gpu = _measurements(settings)

    def draw() -> race.RaceResult | None:
        left, right = st.columns(2)
        with left:
            st.markdown(words["race.here"])
            result = _race_here(chapter, settings, words)
        with right:
            st.markdown(words["race.on_a_gpu"])
            if on_a_gpu and on_a_gpu.dense:
                charts.show(
                    measured_figures.throughput_over_tokens(on_a_gpu), alt=words["race.throughput_alt"]
                )
        return result

    def below(result: race.RaceResult | None) -> None:
        if result:
            charts.show(race_figures.memory_over_tokens(result), alt=words["race.memory_alt"])
            st.dataframe(race_figures.table(result), hide_index=True)
        if on_a_gpu:
            _measured_race(on_a_gpu, settings, words)

    lesson.charted(chapter, settings, words, draw, below)


def _race_here(chapter: Chapter, settings: Settings, words: Prose) -> race.RaceResult | None:
    """The race on this machine: its times once it has been run, a button before."""
    params = settings.params(chapter.prefix)
    result = long_run.result_of(chapter.experiment, params, lambda: race.run_race_with_progress(params))
    if result:
        charts.show(race_figures.seconds_over_tokens(result), alt=words["race.time_alt"])
    return result


def _measurements(settings: Settings) -> MeasuredResult | None:
    """What was measured on a GPU; None, with a sentence on the page, where that cannot be read."""
    try:
        return measured(settings.params(MEASURED))
    except UnreadableMeasurements as error:
        errors.report(error, MEASURED)
        return None


def _measured_race(result: MeasuredResult, settings: Settings, words: Prose) -> None:
    """What was measured on a GPU: the chosen pass as a table, packs of sequences, and decoding."""
    st.subheader("On a GPU", anchor=False)
    if result.machine is None:
        st.caption(" ".join(result.notes))
        return
    st.caption(tables.plain(measured_figures.provenance(result.machine)))
    st.markdown(words["race.measured"])
    with st.container(key="_measured"):
        settings.panel("direction", "causal", "head_dim", prefix=MEASURED)
    tables.lines((*result.notes, *((measured_figures.printed_note(result),) if result.printed else ())))
    if result.dense:
        st.dataframe(measured_figures.throughput_table(result), hide_index=True)
    if result.varlen:
        st.markdown(words["race.packs"])
        st.dataframe(measured_figures.varlen_table(result), hide_index=True)
    if result.decoding:
        _measured_decoding(result, words)
    left, right = st.columns(2)
    with left, page.card("measured-checked", "Checked"):
        checks.show(result.checks)
    with right, page.card("measured-take", "Take it along"):
        st.code(command(MEASURED_EXPERIMENT, result.params, "--json"), language=None, wrap_lines=True)
        numbers = ("JSON", "json", lambda: result_json(MEASURED_EXPERIMENT, result.params))
        share.downloads(MEASURED_EXPERIMENT, (numbers,))


def _measured_decoding(result: MeasuredResult, words: Prose) -> None:
    st.markdown(words["race.decoding"])
    models = list(measured_figures.decoding_models(result))
    for column, model in zip(st.columns(len(models)), models, strict=True):
        with column:
            st.markdown(f"**{tables.plain(measured_figures.model_name(model))}**")
            charts.show(measured_figures.bandwidth_over_keys(result, model), alt=words["race.decoding_alt"])
    st.dataframe(measured_figures.decoding_table(result), hide_index=True)
