"""`python -m explainers`: one JSON object, one line for what is refused, and no traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from explainers.__main__ import main

ROOT = Path(__file__).parents[2]
SOFTMAX, TILES, TRAFFIC = (f"flash_attention.{name}" for name in ("online_softmax", "tiles", "traffic"))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "explainers", *arguments], cwd=ROOT, capture_output=True, text=True
    )


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a refused command line prints."""
    assert main(list(arguments)) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    return output.err


# --------------------------------------------------------------------------------------------- as a program


def test_json_is_one_object_and_nothing_else() -> None:
    done = run(TRAFFIC, "--seq-len", "1024", "--sram_bytes=65536", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    shown = json.loads(done.stdout)
    assert (shown["block_q"], shown["block_k"]) == (64, 128)
    wanted = "standard_accesses tiled_accesses tiled_accesses_fa2 theorem_accesses block_q block_k"
    assert set(wanted.split()) <= set(shown)


def test_a_bad_value_exits_with_2_and_one_line() -> None:
    done = run(SOFTMAX, "--length", "1e9")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "length = '1e9' is not accepted; allowed: a whole number from 2 to 256.\n"


def test_a_reader_that_stops_reading_is_no_error() -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "explainers", TRAFFIC, "--json"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert program.stdout is not None
    assert program.stderr is not None
    program.stdout.close()
    assert (program.wait(60), program.stderr.read()) == (0, b"")
    program.stderr.close()


def test_what_needs_no_torch_does_not_import_it() -> None:
    code = (
        "import sys; from explainers.__main__ import main; "
        f"main([{SOFTMAX!r}, '--json']); main([{TRAFFIC!r}, '--json']); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True).returncode == 0


# ---------------------------------------------------------------------------------------------- in this one


def test_without_arguments_it_lists_every_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    listed = capsys.readouterr().out
    for name in ("backward", "loop_orders", "measured", "online_softmax", "race", "tiles", "traffic"):
        assert f"flash_attention.{name} " in listed
    assert main(["--help"]) == 0
    assert listed in capsys.readouterr().out


def test_help_says_what_every_field_accepts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([TILES, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--seq_len" in shown
    assert "a whole number from 8 to 256; default: 64" in shown
    assert (
        "one of none, no_rescale, no_max, finite_sentinel, top_left, whole_tiles, fp16_accumulator" in shown
    )
    assert "--html FILE" in shown


def test_a_report_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([SOFTMAX, "--scores", "1 2 3", "--block", "2"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"{SOFTMAX} --scores 1 2 3 --block 2\n  ✓ equals exact softmax")
    assert "  m: 2, 3\n" in shown
    assert main([SOFTMAX, "--break_it", "no_max", "--outlier", "100"]) == 0
    assert "  ✗ equals exact softmax" in capsys.readouterr().out


def test_flags_are_the_fields_with_hyphens_or_underscores(capsys: pytest.CaptureFixture[str]) -> None:
    for flags in (
        ["--outlier-at", "0.5"],
        ["--outlier_at", "0.5"],
        ["--outlier-at=0.5"],
        ["--outlier_at=0.5"],
    ):
        assert main([SOFTMAX, *flags, "--outlier", "9", "--json"]) == 0
        scores = json.loads(capsys.readouterr().out)["scores"]
        assert scores.index(max(scores)) == 12


def test_fields_that_were_not_asked_for_give_way(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([TILES, "--seq_len", "8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tiles_total"] == 1  # the default blocks of 16 became 8


def test_a_broken_run_exits_with_0_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "--seq_len 16 --block_q 8 --block_k 8 --outlier 120 --causal false --break_it no_max --json"
    assert main([TILES, *arguments.split()]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["passed"] is False
    assert shown["max_abs_error"] is None  # NaN


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([SOFTMAX, "--length", "-3"], ["length = '-3'", "a whole number from 2 to 256"]),
        ([SOFTMAX, "--length=<script>"], ["length = '<script>'", "a whole number"]),
        ([TILES, "--causal", "maybe"], ["causal = 'maybe'", "true or false"]),
        ([TILES, "--break_it", "everything"], ["break_it = 'everything'", "one of none, no_rescale"]),
        ([TILES, "--seq_len", "16", "--block_q", "32"], ["block_q = 32", "allowed: 4 to 16"]),
        ([TILES, "--backend", "triton", "--block_q", "24"], ["block_q = 24", "allowed: 16, 32, 64"]),
        (
            [SOFTMAX, "--lenght", "5"],
            ["no field 'lenght'", "'5'", "did you mean length?", "allowed: scores, "],
        ),
        ([SOFTMAX, "--zzz", "5\n6"], ["no field 'zzz'", "allowed: scores, "]),
        ([SOFTMAX, "--length"], ["length has no value"]),
        ([SOFTMAX, "--length", "--json"], ["length has no value"]),
        ([SOFTMAX, "--json=1"], ["json = '1'"]),
        ([SOFTMAX, "five"], ["'five' belongs to no field"]),
        ([SOFTMAX, "--scores", "1 cat"], ["scores = '1 cat'", "'cat' is not a number"]),
        ([SOFTMAX, "--scores", "1\0"], ["scores = "]),
        ([SOFTMAX, "--scores", "1 " * 10_000], ["at most 256 numbers"]),
        ([SOFTMAX, "--html", "/no/such/folder/x.html"], ["/no/such/folder/x.html", "cannot be written"]),
        (["flash_attention.race", "--html", "x.html"], ["html = 'x.html'", "has no scene"]),
        (["flash_attention.tile"], ["did you mean flash_attention.tiles?"]),
        (["--json"], ["'--json' is where the name"]),
        (["x" * 5000], ["there is no experiment"]),
    ],
    ids=lambda value: " ".join(value)[:40].replace("\0", "") if isinstance(value, list) else "",
)
def test_what_is_refused(capsys: pytest.CaptureFixture[str], arguments: list[str], says: list[str]) -> None:
    line = refused(capsys, *arguments)
    assert all(words in line for words in says)
    assert len(line) < 600


def test_two_bad_values_are_named_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, SOFTMAX, "--length", "no", "--block", "never")
    assert "length = 'no'" in line
    assert "block = 'never'" in line


def test_a_long_text_may_be_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "row.txt"
    file.write_text("1, 2\n3 4")
    assert main([SOFTMAX, "--scores", str(file), "--block", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scores"] == [1, 2, 3, 4]
    file.write_bytes(b"\xff\xfe cat")
    assert "is not a number" in refused(capsys, SOFTMAX, "--scores", str(file))
    file.write_text("1 " * 600_000)
    assert "a file of at most" in refused(capsys, SOFTMAX, "--scores", str(file))


def test_a_report_shortens_a_long_text_and_json_does_not(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "histogram.json"
    given = json.dumps({"max_length": 512, "count_by_length_from_1": [7] * 512}, indent=1)
    file.write_text(given)
    assert main(["packing.histogram", "--histogram", str(file), "--depth", "2"]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith('packing.histogram --histogram { "max_length": 512, "count_by_length')
    assert first.endswith(f"… ({len(given):,} characters) --depth 2")
    assert len(first) < 150
    assert max(map(len, rest)) < 600
    assert main([TRAFFIC]) == 0
    told = capsys.readouterr().out
    assert main([TRAFFIC, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["paper_difference"] in told  # a sentence stays whole


def test_a_path_is_text_for_every_other_field(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "number.txt"
    file.write_text("5")
    assert "length = " in refused(capsys, SOFTMAX, "--length", str(file))


def test_the_scene_as_a_page(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "softmax.html"
    assert main([SOFTMAX, "--html", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"]
    assert file.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_what_cannot_run_says_so_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from explainers.flash_attention import online_softmax

    def fail(*_: object) -> None:
        raise RuntimeError("Triton is\nnot installed.")

    monkeypatch.setattr(online_softmax, "draw_row", fail)
    assert main([SOFTMAX]) == 1
    assert capsys.readouterr().err == "Triton is not installed.\n"
