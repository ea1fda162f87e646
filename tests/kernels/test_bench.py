"""The attention benchmark on a CPU, with a clock that stands still: its rows, its counts, its file."""

from __future__ import annotations

import json

import pytest
import torch

from kernels import bench, bench_decoding
from kernels.interpreter import triton_available

pytestmark = [
    pytest.mark.skipif(not triton_available(), reason="Triton exists for Linux only"),
    pytest.mark.filterwarnings("ignore::UserWarning"),  # SDPA says which backends do not take a problem
]


@pytest.fixture
def small(monkeypatch):
    """Tiny problems on the CPU, each timed as 2 ms."""
    import triton.testing

    def two_milliseconds(run, **_options):
        run()
        return 2.0

    monkeypatch.setattr(triton.testing, "do_bench", two_milliseconds)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (1e9, 1e9))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a device")
    settings = {"DEVICE": "cpu", "TOKENS": 64, "HIDDEN": 64, "LENGTHS": (32,), "QUICK_LENGTHS": (32,)}
    settings |= {"HEAD_DIMS": ((32, 32),), "SKEWS": {"linear": [16, 32]}}
    for name, value in settings.items():
        monkeypatch.setattr(bench, name, value)
    monkeypatch.setattr(bench_decoding, "rows", lambda _milliseconds: iter(()))


def test_operations_are_counted_product_by_product(small):
    forward, backward = bench.dense_rows(32, (32, 16), True, torch.float32, 5)
    pairs = 2 * 2 * 32 * 32 / 2  # sequences, heads, half of the pairs of rows
    products = {
        "forward": [32, 16],
        "backward": [32, 32, 32, 16, 16],
    }  # numbers in a product's inner or outer side
    for rows in (forward, backward):
        ours = next(row for row in rows if row["method"] == "ours")
        operations = sum(2 * pairs * numbers for numbers in products[ours["pass"]])
        assert ours["tflops"] == pytest.approx(operations / 2e-3 / 1e12)
        assert {row["method"] for row in rows} >= {"ours", "math"}


def test_the_file_holds_every_row(small, tmp_path, capsys):
    from explainers.flash_attention.measurements import read_measurements

    file = tmp_path / "measured.json"
    assert bench.main(["--json", str(file), "--dtype", "float16", "--quick"]) == 0
    content = json.loads(file.read_text(encoding="utf-8"))
    assert len(content["dense"]) == 2 * 2 * len({row["method"] for row in content["dense"]})
    assert {row["method"] for row in content["varlen"]} == {"ours", "sdpa padded"}
    measured = read_measurements(file)
    assert measured is not None
    assert measured.device == "a device"
    printed = capsys.readouterr().out
    assert printed.count("| 32, 32 | 32 |") == 4
    assert printed.count("| linear |") == 4
