"""What was measured on a GPU: reading the file, its checks, the sentences, the charts, and the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

from explainers.__main__ import main
from explainers.contract.result import as_json
from explainers.flash_attention import measurements
from explainers.flash_attention.measured import PRINTED, MeasuredParams, MeasuredResult, measured, over_ours
from explainers.flash_attention.measurements import FILE, UnreadableMeasurements, read_measurements
from explainers.flash_attention.race import RaceParams, RaceResult, RaceRow
from explainers.flash_attention.views import measured as figures
from explainers.flash_attention.views import race as race_figures
from explainers.hardware.gpus import GPUS
from pages.ui.jobs import long_run
from tests.flash_attention.gpu_file import BATCHES, KEYS, LENGTHS, RATES, contents, write
from tests.flash_attention.runs import ORACLE
from tests.pages.without_browser import open_page, run, sentences

Give = Callable[[dict[str, Any]], None]


@pytest.fixture
def give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Give:
    """Gives the experiment a file with these contents."""
    monkeypatch.setattr(measurements, "FILE", tmp_path / "measured.json")
    return lambda found: write(tmp_path / "measured.json", found) and None


@pytest.fixture
def made_up(give: Give) -> dict[str, Any]:
    """The made-up file, given; what it holds."""
    give(found := contents())
    return found


# ------------------------------------------------------------------------------------------------------- reading


def test_what_is_shipped_can_be_read_and_passes() -> None:
    found = read_measurements(FILE)
    assert (found is not None) == FILE.exists()
    for head_dim in (64, 128):
        assert measured(MeasuredParams(head_dim=head_dim)).passed


def test_every_row_is_read(made_up: dict[str, Any]) -> None:
    found = read_measurements(measurements.FILE)
    assert found
    assert (found.date, found.device, found.command) == ("2026-11-27", "NVIDIA H100 80GB HBM3", "make gpu")
    for name in ("dense", "varlen", "decoding"):
        read = as_json(getattr(found, name))
        for row, written in zip(read, made_up[name], strict=True):
            row["pass"] = row.pop("direction", None)
            assert {key: row[key] for key in written} == written


def test_what_a_later_benchmark_adds_is_no_error(give: Give) -> None:
    found = contents()
    found["driver"] = "580.1"
    found["dense"][0]["max_error"] = 1e-3
    del found["varlen"], found["decoding"]
    give(found)
    assert measured(MeasuredParams()).passed


def _twice(found: dict[str, Any]) -> None:
    found["dense"].append(dict(found["dense"][0]))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda found: found.pop("device"), "at device"),
        (lambda found: found.update(date="yesterday"), "at date"),
        (lambda found: found["dense"][3].update(milliseconds=0), "at dense.3.milliseconds"),
        (lambda found: found["dense"][3].update(milliseconds="1.2"), "at dense.3.milliseconds"),
        (lambda found: found["dense"][3].update(tflops=float("nan")), "at dense.3.tflops"),
        (lambda found: found["dense"][3].update(method="theirs"), "at dense.3.method"),
        (lambda found: found["dense"][3].pop("pass"), "at dense.3.pass"),
        (lambda found: found["dense"][3].update(dtype="bfloat16"), "more than one dtype: bfloat16, float16"),
        (lambda found: found["dense"][3].update(value_dim=32), "more than one value_dim with head_dim = 64"),
        (_twice, "ours, forward, n = 1024, head_dim = 64 is there twice"),
        (lambda found: found["varlen"][1].update(max_error=-1), "at varlen.1.max_error"),
        (lambda found: found["decoding"][2].update(n_k=0.5), "at decoding.2.n_k"),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_one_sentence(
    give: Give, capsys: pytest.CaptureFixture[str], spoil: Callable[[dict[str, Any]], Any], says: str
) -> None:
    found = contents()
    spoil(found)
    give(found)
    assert main(["flash_attention.measured"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("measured.json cannot be used, at ")
    assert says in printed.err
    assert "make gpu writes it anew" in printed.err


@pytest.mark.parametrize("text", [b"", b"[]", b"not json", b"\xff\xfe"])
def test_what_is_no_such_file_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "measured.json").write_bytes(text)
    with pytest.raises(UnreadableMeasurements, match="at its beginning"):
        read_measurements(tmp_path / "measured.json")


# ------------------------------------------------------------------------------------------------ the experiment


@pytest.mark.usefixtures("give")
def test_without_a_file_it_says_what_measures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flash_attention.measured", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["machine"], shown["dense"], shown["checks"]) == (None, [], [])
    assert len(shown["notes"]) == 1
    assert "`make gpu`" in shown["notes"][0]


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("head_dim", [64, 128])
def test_the_rows_are_those_of_the_settings(direction: Any, causal: bool, head_dim: int) -> None:
    result = measured(MeasuredParams(direction=direction, causal=causal, head_dim=head_dim))
    assert len(result.dense) == 14
    assert {(row.direction, row.causal, row.head_dim) for row in result.dense} == {
        (direction, causal, head_dim)
    }
    assert len(result.varlen) == (6 if (direction, causal) == ("forward", True) else 0)
    assert result.passed
    assert len(result.checks) == 4


@pytest.mark.usefixtures("made_up")
def test_who_is_faster_is_said() -> None:
    assert measured(MeasuredParams()).notes == (
        "FlashAttention-2 in PyTorch is 1.05 times as fast as our kernel at N = 4,096, and at no other length faster.",
        "cuDNN is 1.50 times as fast as our kernel at N = 4,096, and faster at 2 of 3.",
    )


@pytest.mark.parametrize("share", [0.99, 1.004])  # the last is 1.00 in print
def test_where_nobody_is_faster_that_is_said(give: Give, share: float) -> None:
    found = contents()
    ours = {row["n"]: row["milliseconds"] for row in found["dense"][:3]}
    chosen = [row for row in found["dense"] if row["method"] in ("ours", "flash") and row["head_dim"] == 64]
    found["dense"] = [row for row in chosen if not row["causal"] and row["pass"] == "forward"]
    for row in found["dense"][3:]:
        row["milliseconds"] = ours[row["n"]] / share
    give(found)
    result = measured(MeasuredParams(causal=False))
    assert result.notes == ("No other method is faster than our kernel at any length.",)


@pytest.mark.usefixtures("made_up")
def test_settings_that_were_not_measured_are_named() -> None:
    result = measured(MeasuredParams(head_dim=192))
    assert result.dense == result.printed == ()
    assert result.notes == ("Not measured at these settings: the forward pass has head dimensions 64, 128.",)


# ------------------------------------------------------------------------------------------------------ the checks


def failed(result: MeasuredResult) -> list[str]:
    return [check.what for check in result.checks if not check.passed]


@pytest.mark.parametrize("number", [0, 13, 17, 55])  # forward and backward, causal and not, the last
def test_a_falsified_time_turns_the_check_red(give: Give, number: int) -> None:
    found = contents()
    found["dense"][number]["milliseconds"] *= 0.98
    give(found)
    assert failed(measured(MeasuredParams())) == ["TFLOP/s are operations divided by time"]


def test_what_no_card_can_do_turns_a_check_red(give: Give) -> None:
    found = contents()
    row = found["dense"][0]
    row["milliseconds"], row["tflops"] = row["milliseconds"] * row["tflops"] / 1000, 1000.0
    give(found)
    assert failed(measured(MeasuredParams())) == ["no method is faster than the card's arithmetic"]
    found["device"] = "another card"
    give(found)
    unknown = measured(MeasuredParams())
    assert unknown.passed
    assert (unknown.bandwidth, unknown.printed) == (None, ())


def test_a_falsified_time_of_decoding_turns_the_check_red(give: Give) -> None:
    found = contents()
    found["decoding"][5]["milliseconds"] *= 1.05
    give(found)
    assert failed(measured(MeasuredParams())) == ["bytes a second are bytes divided by time"]


@pytest.mark.parametrize("name", ["varlen", "decoding"])
def test_a_large_error_of_ours_turns_the_check_red(give: Give, name: str) -> None:
    found = contents()
    found[name][0]["max_error"] = 0.1
    give(found)
    assert failed(measured(MeasuredParams())) == [
        "our kernel's errors for packs and in decoding are rounding"
    ]


def test_values_narrower_than_keys_are_counted(give: Give) -> None:
    found = contents()
    row = found["dense"][0]
    assert (row["pass"], row["causal"]) == ("forward", False)
    # Q K^T takes 2 B H N^2 192, P V takes 2 B H N^2 128.
    operations = row["batch"] * row["heads"] * row["n"] ** 2 * (384 + 256)
    found["dense"] = [row | {"head_dim": 192, "value_dim": 128, "milliseconds": operations / 150e9}]
    give(found)
    assert measured(MeasuredParams(head_dim=192, causal=False)).passed


# ------------------------------------------------------------------------------------------------------- the charts


def traces(figure: go.Figure) -> dict[str, Any]:
    return {trace.name: trace for trace in figure.data}  # type: ignore[attr-defined]


@pytest.mark.usefixtures("made_up")
def test_the_lines_are_the_rows() -> None:
    result = measured(MeasuredParams())
    drawn = traces(figures.throughput_over_tokens(result))
    for method, rates in RATES.items():
        measured_at = [(n, rate) for n, rate in zip(LENGTHS, rates, strict=True) if rate is not None]
        trace = drawn[figures.NAMES[method]]
        assert list(zip(trace.x, trace.y, strict=True)) == measured_at
    assert drawn["cuDNN"].marker.symbol == ("circle", "triangle-up", "triangle-up")
    assert drawn[figures.NAMES["flash"]].marker.symbol == ("circle", "triangle-up", "circle")
    assert drawn["our Triton kernel"].marker.symbol == ("circle",) * 3


@pytest.mark.usefixtures("made_up")
def test_figures_in_print_are_dashed_and_named_so() -> None:
    result = measured(MeasuredParams(head_dim=128, causal=True))
    drawn = traces(figures.throughput_over_tokens(result))
    lines = {name: trace for name, trace in drawn.items() if name.endswith(", in print")}
    assert len(lines) == len(result.printed) == 4
    for printed in result.printed:
        line = lines[f"{printed.name}, in print"]
        assert line.line.dash == "dash"
        assert set(line.y) == {printed.tflops}
    assert "N = 16,384" in figures.printed_note(result)
    assert measured(MeasuredParams(direction="backward")).printed == ()


def test_the_figures_in_print_are_those_of_the_oracle() -> None:
    names = {"FlashAttention-2": "fa2", "Triton": "triton", "cuDNN": "cudnn", "FlashAttention-3": "fa3"}
    published = ORACLE["throughput_h100_fwd_16k_tflops"]
    assert len(PRINTED) == 4
    for (head_dim, causal), rows in PRINTED.items():
        printed = {names[row.name]: row.tflops for row in rows}
        assert printed == {name: both[causal] for name, both in published[f"hd{head_dim}"].items()}


@pytest.mark.usefixtures("made_up")
def test_the_tables_are_the_rows() -> None:
    result = measured(MeasuredParams())
    table = figures.throughput_table(result)
    assert table["N"] == list(LENGTHS)
    assert table["cuDNN"] == list(RATES["cudnn"])
    assert table["plain attention"] == [20.0, 25.0, None]
    assert table["fastest other / ours"] == [0.8, 1.5, 1.1]
    packs = figures.varlen_table(result)
    assert packs["pack"] == ["equal", "linear", "one long"]
    assert (packs["ours, ms"], packs["SDPA, padded, ms"]) == ([0.25] * 3, [0.5] * 3)
    assert packs["padded / ours"] == [2.0] * 3


def test_without_our_kernel_nothing_is_compared(give: Give) -> None:
    found = contents()
    found["dense"] = [row for row in found["dense"] if row["method"] != "ours"]
    found["varlen"] = [row for row in found["varlen"] if row["method"] != "ours"]
    give(found)
    result = measured(MeasuredParams())
    assert over_ours(result.dense) == {}
    assert figures.throughput_table(result)["fastest other / ours"] == [None] * 3
    assert figures.varlen_table(result)["ours, ms"] == [None] * 3
    assert not [note for note in result.notes if "faster" in note]


@pytest.mark.usefixtures("made_up")
def test_decoding_is_drawn_under_the_bandwidth() -> None:
    result = measured(MeasuredParams())
    gqa, mla = figures.decoding_models(result)
    assert (gqa, mla) == (("gqa", 32, 8, 128), ("mla", 32, 1, 576))
    drawn = traces(figures.bandwidth_over_keys(result, gqa))
    for batch in BATCHES:
        for name, rate in (("our Triton kernel", 2.4), ("PyTorch SDPA", 1.2)):
            trace = drawn[f"{name}, batch {batch}"]
            assert list(trace.x) == list(KEYS)
            assert list(trace.y) == [rate] * 2
    sheet = GPUS["h100-80gb"].bandwidth
    assert set(drawn["data sheet"].y) == {sheet / 1e12}
    assert set(drawn["a copy, measured"].y) == {2.9}
    table = figures.decoding_table(result)
    assert len(table["ms"]) == len(result.decoding) == 16
    # 4096 bytes a key: 8 x 16,384 of them at 3.35 TB/s
    at = table["batch"].index(8) + table["keys"][table["batch"].index(8) :].index(16_384)
    assert table["bytes / bandwidth, ms"][at] == pytest.approx(0.160, abs=1e-3)
    assert table["of the bandwidth"][at] == "72%"


# --------------------------------------------------------------------------------------------------------- the page


def open_race(**query: str) -> AppTest:
    return open_page("pages/flash_attention.py", chapter="race", **query)


def said(page: AppTest) -> str:
    return "\n".join(part.value for part in (*page.caption, *page.markdown))


@pytest.mark.usefixtures("own_navigation", "give")
def test_the_page_says_that_nothing_was_measured() -> None:
    page = open_race()
    assert said(page).count("Nothing has been measured on a GPU yet; `make gpu` does it.") == 1
    assert "measured.direction" not in [control.key for control in page.button_group]
    assert not page.dataframe


@pytest.mark.usefixtures("own_navigation", "made_up")
def test_the_page_shows_what_was_measured() -> None:
    page = open_race(**{"measured.causal": "false", "measured.direction": "backward"})
    assert "2026-11-27, NVIDIA H100 80GB HBM3" in said(page)
    assert "cuDNN is 1.50 times as fast" in said(page)
    assert len(page.get("plotly_chart")) == 3
    table = page.dataframe[0].value
    assert list(table["N"]) == list(LENGTHS)
    assert list(table["cuDNN"]) == list(RATES["cudnn"])
    page = run(page.select_slider(key="measured.head_dim").set_value(192))
    assert "Not measured at these settings" in said(page)
    assert len(page.get("plotly_chart")) == 2


@pytest.mark.usefixtures("own_navigation", "made_up")
def test_the_live_race_stays_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tuple(RaceRow(method, 256, 0.001, 10**6, 1e-7) for method in ("naive", "tiles", "sdpa", "triton"))
    live = RaceResult("cuda", "float16", 2, rows, (), RaceParams())
    monkeypatch.setattr(long_run, "result_of", lambda *_: live)
    page = open_race()
    assert len(page.get("plotly_chart")) == 2 + 3
    first, second, *_ = [table.value for table in page.dataframe]
    assert list(first["method"]) == [race_figures.NAMES[row.method] for row in live.rows]
    assert list(second["N"]) == list(LENGTHS)


@pytest.mark.usefixtures("own_navigation")
def test_the_page_outlives_a_file_that_is_wrong(give: Give) -> None:
    give(contents() | {"device": 3})
    told = [line for line in sentences(open_race()) if "cannot be used" in line]
    assert len(told) == 1
    assert "at device" in told[0]
