"""The KV cache's size: 28 published models, configs never seen, nonsense pasted, and the figures that are in print."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from explainers.__main__ import main
from explainers.contract.result import as_json
from explainers.kv_cache.catalogue import CATALOGUE, FAMILIES, LABELS, find_model
from explainers.kv_cache.config import model_of
from explainers.kv_cache.real_cache import head_bytes
from explainers.kv_cache.size import BREAKS, SizeParams
from explainers.kv_cache.size_formula import both_units
from tests.kv_cache.models import BF16, ORACLES, SMALL, sized, small

ROOT = Path(__file__).parents[2]
MODELS = json.loads((ORACLES / "kv_models.json").read_text(encoding="utf-8"))["models"]
NAMES = [one["name"] for one in MODELS]


# ------------------------------------------------------------------------------------------- 28 models


@pytest.mark.parametrize("oracle", MODELS, ids=NAMES)
def test_a_published_model_is_counted_to_the_byte(oracle: dict[str, Any]) -> None:
    model, expected = find_model(oracle["name"]), oracle["expect"]
    assert model.attention == expected["attention"]
    assert model.bytes_per_token(BF16) == expected["kv_bytes_per_token_bf16"]
    assert model.known_parameters.total == expected["params_exact"]
    assert sum(kind.layers for kind in model.kinds if kind.window) == expected["n_sliding_layers"]
    assert {str(n): model.windowed_bytes(BF16, int(n), 1) for n in expected["kv_bytes_bf16_at"]} == expected[
        "kv_bytes_bf16_at"
    ]


@pytest.mark.parametrize("oracle", MODELS, ids=NAMES)
def test_the_experiment_says_the_same_of_the_catalogue_and_of_a_pasted_config(oracle: dict[str, Any]) -> None:
    by_name = sized(model=oracle["name"], seq_len=8192)
    pasted = sized(config=json.dumps(oracle["config"]), seq_len=8192)
    assert by_name.windowed_bytes == pasted.windowed_bytes == oracle["expect"]["kv_bytes_bf16_at"]["8192"]
    assert by_name.params == pasted.params == oracle["expect"]["params_exact"]
    assert (by_name.title, pasted.model) == (oracle["name"], "config.json")
    assert by_name.passed
    assert pasted.passed


def test_the_catalogue_has_the_configs_of_the_oracle_and_more() -> None:
    for oracle in MODELS:
        entry = CATALOGUE[oracle["name"].lower()]
        assert (entry.config, entry.repo) == (oracle["config"], oracle["hf_repo"])
        assert {int(one["value"]) for one in oracle["published"]} <= {one.value for one in entry.published}
    assert len(CATALOGUE) == len(MODELS) + 4
    assert all(entry.config_status and entry.published for entry in CATALOGUE.values())


def test_the_catalogue_stands_by_family() -> None:
    families = [entry.family for entry in CATALOGUE.values()]
    assert families == [family for family in FAMILIES for one in families if one == family]
    assert LABELS["llama-3.1-70b"] == "Llama-3.1-70B"
    assert find_model("DEEPSEEK-V3").name == "deepseek-v3"


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_exact_total_in_print_is_ours_and_what_it_counts_besides(name: str) -> None:
    checks = sized(model=name, seq_len=1024).checks
    exact = [one for one in CATALOGUE[name].published if one.exact]
    assert len(checks) == 1 + len(exact)
    assert all(check.passed for check in checks)


@pytest.mark.parametrize(
    ("name", "billions", "embedding_counts"),
    [
        ("mixtral-8x7b-v0.1", "12.88", True),
        ("deepseek-v2", "21", True),
        (
            "deepseek-v3",
            "37",
            False,
        ),  # 37.55 with the embedding; the paper leaves out what a token does not read
        ("gpt-oss-20b", "3.61", False),  # the card says so: the output matrix counts, the embedding does not
        ("gpt-oss-120b", "5.13", False),
        ("qwen3-235b-a22b", "22", True),
        ("kimi-k2-instruct", "32", False),
    ],
)
def test_active_parameters_round_to_the_printed_figure(
    name: str, billions: str, embedding_counts: bool
) -> None:
    parameters = find_model(name).known_parameters
    active = parameters.active - (0 if embedding_counts else parameters.embedding)
    decimals = len(billions.partition(".")[2])
    assert round(Fraction(active, 10**9), decimals) == Fraction(billions)


# ------------------------------------------------------------------------------------------- by hand


def test_element_types_by_hand() -> None:
    """Llama-3.1-8B: 2 x 8 x 32 vectors of 128 numbers; in q8_0 four blocks of 34 bytes each, in q4_0 of 18."""
    vectors = 2 * 8 * 32
    expected = {"fp32": 512, "bf16": 256, "fp8": 128, "int8": 128, "q8_0": 4 * 34, "q4_0": 4 * 18}
    for dtype, each in expected.items():
        assert sized(model="llama-3.1-8b", dtype=dtype).bytes_per_token == vectors * each
        assert head_bytes(128, dtype, 1000, None) == 1000 * each
    assert head_bytes(80, "q8_0", 7, None) == 7 * 3 * 34  # the last block counts in full


def test_a_window_keeps_its_last_tokens_and_reserves_the_blocks_that_hold_them() -> None:
    config = json.dumps(small(model_type="mistral", sliding_window=10))
    counted = sized(config=config, seq_len=25, block_tokens=8)
    token = 4 * 2 * 2 * 8 * 2  # layers, K and V, KV heads, numbers, bytes
    assert counted.bytes_per_token == token
    assert counted.logical_bytes == 25 * token
    assert counted.windowed_bytes == 10 * token
    assert counted.reserved_bytes == 24 * token  # tokens 15 to 24 lie in the blocks 8-15, 16-23 and 24-31
    assert (
        sized(config=config, seq_len=26, block_tokens=8).reserved_bytes == 16 * token
    )  # 16 to 25: two blocks
    assert sized(config=config, seq_len=9, block_tokens=8).reserved_bytes == 16 * token
    assert sized(config=config, seq_len=9, block_tokens=1).reserved_bytes == 9 * token


@pytest.mark.parametrize(
    ("ranks", "heads_a_rank"), [(1, 8), (2, 4), (4, 2), (8, 1), (16, 1), (64, 1), (3, 3)]
)
def test_whole_kv_heads_stand_on_each_rank(ranks: int, heads_a_rank: int) -> None:
    counted = sized(model="llama-3.1-70b", seq_len=16, batch=3, tensor_parallel=ranks)
    one_head = 3 * 16 * 80 * 2 * 128 * 2
    assert counted.per_rank_bytes == heads_a_rank * one_head
    assert counted.reserved_bytes == ranks * counted.per_rank_bytes
    assert counted.logical_bytes == 8 * one_head
    assert ("an engine would refuse" in " ".join(counted.notes)) == (ranks == 3)
    assert any("held more than once" in note for note in counted.notes) == (ranks > 8)


def test_mla_stands_whole_on_every_rank() -> None:
    one, eight = (sized(model="deepseek-v3", tensor_parallel=ranks) for ranks in (1, 8))
    assert one.per_rank_bytes == eight.per_rank_bytes == one.reserved_bytes
    assert eight.reserved_bytes == 8 * one.reserved_bytes
    assert any("each of the 8 ranks holds both" in note for note in eight.notes)


def test_every_count_is_a_whole_number() -> None:
    for model in ("gpt-oss-20b", "deepseek-v3", "llama-3.1-405b"):
        counted = as_json(
            sized(model=model, seq_len=9_999_999, batch=65_536, dtype="q4_0", tensor_parallel=1024)
        )
        for name in (
            "bytes_per_token",
            "logical_bytes",
            "windowed_bytes",
            "reserved_bytes",
            "per_rank_bytes",
        ):
            assert type(counted[name]) is int, name
        assert type(counted["params"]) is type(counted["active_params"]) is int
        assert counted["passed"]


@pytest.mark.parametrize(
    ("settings", "formula"),
    [
        (
            {"model": "llama-3.1-70b"},
            "2 (K and V) x 8 KV heads x 128 numbers x 2 B = 4,096 B a layer; x 80 layers = 327,680 B a token; "
            "x 131,072 tokens x 1 sequence = 42,949,672,960 B",
        ),
        (
            {"model": "deepseek-v3", "dtype": "q8_0", "batch": 2},
            "1 latent x 16 blocks of 32 numbers x 34 B + 1 RoPE key x 2 blocks of 32 numbers x 34 B = 612 B a layer; "
            "x 61 layers = 37,332 B a token; x 131,072 tokens x 2 sequences = 9,786,359,808 B",
        ),
        (
            {"model": "mistral-7b-v0.1"},
            "2 (K and V) x 8 KV heads x 128 numbers x 2 B = 4,096 B a layer; x 32 layers = 131,072 B a token; "
            "x min(131,072, 4,096) tokens x 1 sequence = 536,870,912 B",
        ),
        (
            {"model": "gpt-oss-20b"},
            "2 (K and V) x 8 KV heads x 64 numbers x 2 B = 2,048 B a layer; 12 sliding layers x min(131,072, 128) "
            "tokens x 2,048 B = 3,145,728 B; 12 full layers x 131,072 tokens x 2,048 B = 3,221,225,472 B; "
            "together x 1 sequence = 3,224,371,200 B for 131,072 tokens",
        ),
    ],
)
def test_the_formula_has_the_numbers_in_it(settings: dict[str, Any], formula: str) -> None:
    assert sized(**settings).formula == formula


def test_gigabytes_and_gibibytes_are_both_named() -> None:
    assert both_units(42_949_672_960) == "42.95 GB = 40.00 GiB"
    assert both_units(36_864) == "36.86 kB = 36.00 KiB"
    assert both_units(999) == "999 B = 999 B"
    assert sized().in_words["logical_bytes"] == "42.95 GB = 40.00 GiB"


def test_the_keys_behind_the_numbers() -> None:
    keys = find_model("gemma-3-27b").keys
    assert keys["head_dim"] == "head_dim = 128"
    assert keys["window"] == "sliding_window = 1024"
    assert keys["layer_kinds"] == "layer_types: 52 sliding, 10 full"
    assert (
        find_model("llama-3.1-70b").keys["head_dim"] == "hidden_size / num_attention_heads = 8192 / 64 = 128"
    )
    assert find_model("falcon-7b").keys["kv_heads"] == "multi_query = true, so 1"
    assert find_model("gpt-2").keys["kv_heads"] == "n_head = 12, one each"
    assert find_model("deepseek-v3").keys["latent"] == "kv_lora_rank = 512"
    absent = model_of(
        {key: value for key, value in CATALOGUE["mistral-7b-v0.3"].config.items() if "value" not in key}
    )
    assert absent.keys["kv_heads"] == "num_key_value_heads = 8 (mistral, where the key is absent)"


def test_a_length_past_the_maximum_is_counted_with_a_note() -> None:
    counted = sized(model="llama-2-7b", seq_len=4097)
    assert counted.logical_bytes == 4097 * 524_288
    assert counted.notes == (
        "4,097 tokens are past max_position_embeddings = 4096; they are counted as asked, "
        "the model was not made for them.",
    )
    assert not sized(model="llama-2-7b", seq_len=4096).notes


def test_size_is_quick() -> None:
    sized()
    longest = []
    for settings in ({}, {"model": "gemma-3-27b"}, {"model": "deepseek-v3", "batch": 7}):
        began = time.perf_counter()
        sized(**settings)
        longest.append(time.perf_counter() - began)
    assert min(longest) < 0.005
    began = time.perf_counter()
    sized(model="gemma-3-27b", seq_len=1_048_576)
    assert time.perf_counter() - began < 0.1  # 5 ms where nothing else runs


def test_the_first_numbers_need_no_torch() -> None:
    code = (
        "import sys; from explainers.kv_cache.size import SizeParams, size; size(SizeParams()); "
        "from explainers.kv_cache import published; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'pandas', 'streamlit')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


# ------------------------------------------------------------------------------------------- break it


@pytest.mark.parametrize(
    ("break_it", "settings", "error"),
    [
        (
            "head_dim_from_hidden",
            {"model": "gemma-3-27b", "seq_len": 1024},
            1024 * 62 * 2 * 16 * (168 - 128) * 2,
        ),
        ("head_dim_from_hidden", {"model": "gpt-oss-20b", "seq_len": 128}, 128 * 24 * 2 * 8 * (64 - 45) * 2),
        ("mla_as_mha", {"model": "deepseek-v3", "seq_len": 1}, 4_997_120 - 70_272),
        ("mla_as_mha", {"model": "deepseek-v2", "seq_len": 10, "batch": 2}, 20 * 60 * 2 * (128 * 320 - 576)),
        ("ignore_window", {"model": "gpt-oss-20b"}, (131_072 - 128) * 12 * 2 * 8 * 64 * 2),
        ("ignore_window", {"model": "mistral-7b-v0.1", "seq_len": 8192}, 4096 * 131_072),
    ],
)
def test_a_break_is_red_by_the_bytes_it_makes(break_it: str, settings: dict[str, Any], error: int) -> None:
    broken = sized(**settings, break_it=break_it)
    cache, *totals = broken.checks
    assert (cache.error, cache.passed) == (error, False)
    assert all(check.passed for check in totals)
    assert not broken.passed
    assert sized(**settings).passed
    assert broken.params == sized(**settings).params


def test_every_break_shows_under_its_settings_and_says_what_is_lost() -> None:
    assert {each.name for each in BREAKS} == {"head_dim_from_hidden", "mla_as_mha", "ignore_window"}
    for each in BREAKS:
        assert each.consequence
        assert not sized(**each.settings, break_it=each.name).passed
        assert sized(**each.settings).passed


def test_a_broken_head_dim_names_the_keys_it_came_from() -> None:
    broken = find_model("gemma-3-27b", "head_dim_from_hidden")
    assert broken.keys["head_dim"] == "hidden_size / num_attention_heads = 5376 / 32 = 168"


# ------------------------------------------------------------------------------------------- the shell


def shell(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["kv_cache.size", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_shell_counts_a_model_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    shown = shell(capsys, "--model", "llama-3.1-8b", "--seq_len", "8192")
    assert shown["model"] == "llama-3.1-8b"
    assert shown["attention"] == "GQA"
    assert (shown["bytes_per_token"], shown["logical_bytes"]) == (131_072, 1_073_741_824)
    assert shown["params"] == 8_030_261_248
    assert shown["keys"]["kv_heads"] == "num_key_value_heads = 8"
    assert shown["passed"] is True
    wanted = "windowed_bytes reserved_bytes per_rank_bytes formula notes checks"
    assert set(wanted.split()) <= set(shown)
    assert shell(capsys, "--model", "Llama-3.1-8B", "--seq_len", "8192") == shown


def test_the_shell_reads_a_config_from_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(SMALL, indent=2), encoding="utf-8")
    shown = shell(capsys, "--config", str(file), "--model", "gpt-2", "--seq_len", "10")
    assert (shown["model"], shown["logical_bytes"]) == ("config.json", 10 * 4 * 2 * 2 * 8 * 2)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "llama-9"], "model = 'llama-9' is not accepted; allowed: one of llama-7b"),
        (["--seq_len", "0"], "a whole number from 1 to 10,000,000"),
        (["--batch", "65537"], "a whole number from 1 to 65,536"),
        (["--dtype", "int4"], "one of fp32, bf16"),
        (["--tensor_parallel", "1025"], "a whole number from 1 to 1"),
        (
            ["--config", "{"],
            "config = '{' is not accepted; allowed: the text of a config.json; here the text is not",
        ),
        (["--config", json.dumps(small(num_hidden_layers=-1))], "num_hidden_layers is -1; it must be"),
        (["--break_it", "all"], "one of none, head_dim_from_hidden, mla_as_mha, ignore_window"),
    ],
)
def test_the_shell_refuses_with_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert main(["kv_cache.size", *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert says.replace(",", "") in output.err.replace(",", "")


def test_a_name_that_is_no_model_is_refused() -> None:
    with pytest.raises(ValidationError):
        SizeParams(model="llama-9")
    with pytest.raises(ValidationError):
        SizeParams.model_validate({"model": 3})
