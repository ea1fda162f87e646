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
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from explainers.__main__ import main
from explainers.experiment import as_json, find, read
from explainers.kv_cache import compare as compare_module
from explainers.kv_cache.catalogue import CATALOGUE, FAMILIES, LABELS, find_model
from explainers.kv_cache.compare import CompareParams, compare
from explainers.kv_cache.config import LONGEST_CONFIG, model_of, read_config
from explainers.kv_cache.layers import ELEMENT_TYPES, Model
from explainers.kv_cache.published import PublishedParams, PublishedResult, Row, published
from explainers.kv_cache.real_cache import head_bytes
from explainers.kv_cache.size import BITES, LOST, SizeParams, SizeResult, both_units, size
from explainers.kv_cache.views.compare import compare_card, compare_scene

ROOT = Path(__file__).parents[1]
ORACLES = Path(__file__).parent / "oracles"
MODELS = json.loads((ORACLES / "kv_models.json").read_text(encoding="utf-8"))["models"]
PRINTED = json.loads((ORACLES / "memory.json").read_text(encoding="utf-8"))
BF16 = ELEMENT_TYPES["bf16"]
NAMES = [one["name"] for one in MODELS]

SMALL = {
    "model_type": "llama",
    "num_hidden_layers": 4,
    "hidden_size": 64,
    "intermediate_size": 100,
    "vocab_size": 50,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
}
LATENT = {
    **SMALL,
    "model_type": "deepseek_v3",
    "kv_lora_rank": 24,
    "q_lora_rank": None,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8,
    "v_head_dim": 6,
    "n_routed_experts": 5,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 7,
}


def small(**more: Any) -> dict[str, Any]:
    return {**SMALL, **more}


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in SMALL.items() if name not in names}


def sized(**settings: Any) -> SizeResult:
    return size(SizeParams(**settings))


# ------------------------------------------------------------------------------------------- 28 models


@pytest.mark.parametrize("oracle", MODELS, ids=NAMES)
def test_a_published_model_is_counted_to_the_byte(oracle: dict[str, Any]) -> None:
    model, expected = find_model(oracle["name"]), oracle["expect"]
    assert model.attention == expected["attention"]
    assert model.bytes_per_token(BF16) == expected["kv_bytes_per_token_bf16"]
    assert model.parameters.total == expected["params_exact"]
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
    parameters = find_model(name).parameters
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


def test_every_break_bites_under_its_settings_and_says_what_is_lost() -> None:
    assert set(BITES) == set(LOST) == {"head_dim_from_hidden", "mla_as_mha", "ignore_window"}
    for break_it, settings in BITES.items():
        assert not sized(**settings, break_it=break_it).passed
        assert sized(**settings).passed


def test_a_broken_head_dim_names_the_keys_it_came_from() -> None:
    broken = find_model("gemma-3-27b", "head_dim_from_hidden")
    assert broken.keys["head_dim"] == "hidden_size / num_attention_heads = 5376 / 32 = 168"


# ------------------------------------------------------------------------------- configs never seen


def windows(model: Model) -> list[tuple[str, int, int | None]]:
    return [(kind.name, kind.layers, kind.window) for kind in model.kinds]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"model_type": "mistral", "sliding_window": 9}, [("sliding", 4, 9)]),
        ({"model_type": "mistral", "sliding_window": None}, [("full", 4, None)]),
        ({"model_type": "qwen2", "sliding_window": 9}, [("full", 4, None)]),
        (
            {"model_type": "qwen2", "sliding_window": 9, "use_sliding_window": True, "max_window_layers": 3},
            [("full", 3, None), ("sliding", 1, 9)],
        ),
        ({"model_type": "qwen3", "sliding_window": 9, "use_sliding_window": True}, [("full", 4, None)]),
        ({"model_type": "gemma2", "sliding_window": 9}, [("sliding", 2, 9), ("full", 2, None)]),
        ({"model_type": "gemma2"}, [("full", 4, None)]),
        ({"model_type": "gemma3_text", "sliding_window": 9}, [("sliding", 4, 9)]),
        (
            {"model_type": "gemma3_text", "sliding_window": 9, "sliding_window_pattern": 2},
            [("sliding", 2, 9), ("full", 2, None)],
        ),
        (
            {"model_type": "llama", "layer_types": ["full_attention", "chunked_attention"] * 2}
            | {"attention_chunk_size": 7},
            [("full", 2, None), ("chunked", 2, 7)],
        ),
    ],
)
def test_which_layers_slide(more: dict[str, Any], expected: list[Any]) -> None:
    assert windows(model_of(small(**more))) == expected


def test_layers_without_a_growing_cache_are_left_out_with_a_note() -> None:
    model = model_of(
        small(layer_types=["linear_attention"] * 3 + ["full_attention"], model_type="qwen3_next")
    )
    assert windows(model) == [("full", 1, None)]
    assert any(note.startswith("3 of 4 layers (linear_attention)") for note in model.notes)
    assert windows(model_of(small(model_type="qwen3_next", full_attention_interval=2))) == [("full", 2, None)]
    hybrid = model_of(small(model_type="granitemoehybrid", layer_types=["mamba", "attention"] * 2))
    assert windows(hybrid) == [("attention", 2, None)]


def test_an_unknown_family_is_counted_as_a_llama_and_says_so() -> None:
    model = model_of(small(model_type="never_heard_of"))
    assert model.parameters == model_of(SMALL).parameters
    assert model.bytes_per_token(BF16) == model_of(SMALL).bytes_per_token(BF16)
    assert model.notes == (
        "model_type never_heard_of is not known here: counted as a Llama-like decoder; cache and parameters "
        "are estimates.",
    )
    assert "model_type is absent" in model_of(without("model_type")).notes[0]
    latent = model_of({**LATENT, "model_type": "never_heard_of"})
    assert (latent.attention, latent.bytes_per_token(BF16)) == ("MLA", 4 * (24 + 4) * 2)


def test_only_the_text_model_of_a_multimodal_config_is_counted() -> None:
    config = {"model_type": "llava", "vision_config": {"hidden_size": -7}, "text_config": SMALL}
    model = model_of(config)
    assert model.bytes_per_token(BF16) == model_of(SMALL).bytes_per_token(BF16)
    assert model.notes == (
        "Only text_config is counted: the other parts of a multimodal model keep no KV cache.",
    )
    assert model.keys["layers"] == "text_config.num_hidden_layers = 4"
    tied = model_of({**config, "tie_word_embeddings": True})
    assert model.parameters.total - tied.parameters.total == 50 * 64


def test_the_published_text_config_of_gemma_3_leaves_half_to_its_family() -> None:
    """google/gemma-3-27b-it: vocab_size, layer_types and the pattern of the windows are absent."""
    text = {
        "model_type": "gemma3_text",
        "hidden_size": 5376,
        "intermediate_size": 21504,
        "sliding_window": 1024,
    }
    heads = {"num_attention_heads": 32, "num_key_value_heads": 16, "head_dim": 128, "num_hidden_layers": 62}
    model = model_of({"model_type": "gemma3", "text_config": text | heads, "vision_config": {}})
    assert model.kinds == find_model("gemma-3-27b").kinds
    assert model.parameters.total == find_model("gemma-3-27b").parameters.total + (262_208 - 262_144) * 5376


# --------------------------------------------------------------------------------------- pasted nonsense


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("", "not JSON: line 1, column 1"),
        ('{"a": 1,\n "b": }', "not JSON: line 2, column 7"),
        ("__import__('os')", "not JSON"),
        ("[1]", "the text is a list; a config is an object"),
        ("7", "a config is an object"),
        ("[" * 100_000, "too deeply"),
        ('{"hidden_size": 1, "hidden_size": 2}', "hidden_size stands twice"),
        ('{"hidden_size": NaN}', "NaN"),
        ('{"hidden_size": -Infinity}', "-Infinity"),
        ('{"hidden_size": ' + "9" * 5000 + "}", "5,000 digits"),
        ("x" * 5_000_000, f"at most {LONGEST_CONFIG:,}"),
        ({}, "num_hidden_layers is missing (n_layer"),
        (without("hidden_size"), "hidden_size is missing"),
        (without("num_attention_heads"), "num_attention_heads is missing (n_head"),
        (without("vocab_size"), "vocab_size is missing"),
        (without("intermediate_size"), "intermediate_size is missing"),
        (
            {name: value for name, value in LATENT.items() if name != "kv_lora_rank"},
            "kv_lora_rank is missing",
        ),
        ({name: value for name, value in LATENT.items() if name != "v_head_dim"}, "v_head_dim is missing"),
        (small(num_hidden_layers=0), "num_hidden_layers is 0; it must be a whole number from 1 to 10,000"),
        (small(num_hidden_layers=-3), "num_hidden_layers is -3"),
        (small(num_hidden_layers=10**6), "num_hidden_layers is 1000000"),
        (
            small(hidden_size=10**9),
            "hidden_size is 1000000000; it must be a whole number from 1 to 1,000,000",
        ),
        (small(vocab_size=10**9), "vocab_size is 1000000000"),
        (small(hidden_size="64"), "hidden_size is the text 64"),
        (small(hidden_size=64.0), "hidden_size is 64.0"),
        (small(hidden_size=True), "hidden_size is true"),
        (small(hidden_size={"a": 1}), "hidden_size is an object"),
        (small(num_key_value_heads=3), "num_key_value_heads = 3 does not divide num_attention_heads = 8"),
        (small(num_attention_heads=6), "num_attention_heads = 6 does not divide hidden_size = 64"),
        (small(model_type="<script>"), "model_type is the text ?script?"),
        (small(model_type=["llama"]), "model_type is a list"),
        (small(layer_types=["full_attention"]), "layer_types has 1 entries"),
        (small(layer_types="full_attention"), "layer_types is the text full_attention"),
        (small(layer_types=[1, 2, 3, 4]), "layer_types holds 1"),
        (small(layer_types=["<b>"] * 4), "layer_types names ?b?"),
        (small(layer_types=["mamba"] * 4), "no layer with attention"),
        (small(layer_types=["sliding_attention"] * 4), "sliding_window is missing"),
        (small(sliding_window=-1), "sliding_window is -1"),
        (small(tie_word_embeddings="no"), "tie_word_embeddings is the text no; it must be true or false"),
        (small(text_config=3), "text_config is 3"),
        (small(text_config={**SMALL, "hidden_size": -1}), "text_config.hidden_size is -1"),
        ({**LATENT, "num_experts_per_tok": 6}, "num_experts_per_tok is 6; it must be at most the 5 experts"),
    ],
)
def test_what_cannot_be_counted_is_refused_in_one_sentence(config: Any, says: str) -> None:
    text = config if isinstance(config, str) else json.dumps(config)
    with pytest.raises(ValueError) as refused:
        model_of(read_config(text))
    sentence = str(refused.value)
    assert says in sentence
    assert "\n" not in sentence
    assert len(sentence) < 200
    if text and len(text) <= LONGEST_CONFIG:
        _, (problem,) = read(SizeParams, {"config": text})
        assert problem.field == "config"
        assert says in problem.sentence


def test_a_config_that_is_too_long_is_refused_by_its_length() -> None:
    _, (problem,) = read(SizeParams, {"config": "x" * 5_000_000})
    assert "text of at most 200,000 characters" in problem.sentence
    assert len(problem.sentence) < 300


def test_an_empty_config_is_none() -> None:
    assert sized(config=" \n", model="gpt-2").model == "gpt-2"


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
names = st.sampled_from([*LATENT, "layer_types", "sliding_window", "head_dim", "text_config", "multi_query"])
types = st.sampled_from(["llama", "falcon", "gpt2", "gpt_oss", "qwen3_moe", "deepseek_v2", "mixtral", "x"])


def one_sentence_or_a_model(text: str) -> None:
    sentence = ""
    try:
        model = model_of(read_config(text))
    except ValueError as refused:
        sentence = str(refused)
    else:
        assert model.windowed_bytes(BF16, 1024, 1) > 0
        assert model.parameters.total > 0
        assert size(SizeParams(config=text, seq_len=100)).passed
    assert len(sentence) < 200
    assert not set(sentence) & set("<>\n\r\u2028`*")


@given(st.text() | junk.map(json.dumps))
def test_any_text_is_refused_in_a_sentence(text: str) -> None:
    one_sentence_or_a_model(text)


@given(st.sampled_from([SMALL, LATENT]), types, st.dictionaries(names, junk | st.integers(1, 64), max_size=3))
def test_any_key_may_hold_nonsense(base: dict[str, Any], family: str, wrong: dict[str, Any]) -> None:
    one_sentence_or_a_model(json.dumps({**base, "model_type": family, **wrong}))


@given(
    st.fixed_dictionaries(
        {
            "model": st.sampled_from(list(CATALOGUE)),
            "seq_len": st.integers(1, 10_000),
            "batch": st.integers(1, 65_536),
            "dtype": st.sampled_from(list(ELEMENT_TYPES)),
            "tensor_parallel": st.integers(1, 1024),
            "block_tokens": st.integers(1, 65_536),
        }
    )
)
def test_the_numbers_keep_their_order(settings: dict[str, Any]) -> None:
    counted = sized(**settings)
    assert counted.passed
    assert counted.windowed_bytes <= counted.logical_bytes
    assert counted.windowed_bytes <= counted.reserved_bytes
    assert counted.reserved_bytes == settings["tensor_parallel"] * counted.per_rank_bytes
    assert counted.logical_bytes == settings["batch"] * settings["seq_len"] * counted.bytes_per_token


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


# ------------------------------------------------------------------------------------------- in print


@pytest.fixture(scope="module")
def in_print() -> PublishedResult:
    return published(PublishedParams())


def rows(result: PublishedResult, words: str) -> list[Row]:
    found = [row for row in result.rows if words in f"{row.source}: {row.what}"]
    assert found, words
    return found


def test_the_tables_of_deepseek_v2(in_print: PublishedResult) -> None:
    sizes = PRINTED["deepseek_v2_table7_elements_per_token"]
    for pair in ("small", "large"):
        for kind, printed in zip(("MHA", "MLA"), sizes[f"{pair}_moe"]["printed"], strict=True):
            (row,) = rows(in_print, f"{pair} MoE with {kind}")
            computed = Fraction(row.computed.removesuffix("K numbers a token"))
            assert row.printed == f"{printed} numbers a token"
            assert 1000 * computed == sizes[f"{pair}_moe"][kind]
            assert row.agrees
    formulas = rows(in_print, "Table 1: M") + rows(in_print, "Table 1: GQA")
    assert all(row.agrees and row.printed == row.computed for row in formulas)
    assert len(formulas) == 5


def test_the_saving_of_deepseek_v2_needs_its_six_bits(in_print: PublishedResult) -> None:
    saved = PRINTED["deepseek_v2_93_3pct"]
    wanted = (("itself in 6 bits", "value", True), ("both in bf16", "bf16_vs_bf16", False))
    for words, name, agrees in wanted:
        row = rows(in_print, words)[0]
        assert row.agrees is agrees
        assert row.computed == f"{100 * saved[name]:.3f}%"


def test_the_table_of_isca_2025(in_print: PublishedResult) -> None:
    table = PRINTED["isca25_table1_bytes_per_token"]
    for title in ("DeepSeek-V3", "Qwen2.5-72B", "Llama-3.1-405B"):
        row = rows(in_print, f"Table 1: {title} a token")[0]
        assert row.agrees
        assert 1000 * Fraction(row.computed.removesuffix(" kB")) == table[title]
    times = [row for row in in_print.rows if row.what.endswith("times DeepSeek-V3")]
    assert [Fraction(row.printed.removesuffix(" ×")) for row in times] == [
        Fraction(str(one)) for one in table["printed_multipliers"]
    ]
    assert [(row.computed, row.agrees) for row in times] == [
        ("1 ×", True),
        ("4.663 ×", True),
        ("7.3443 ×", False),
    ]


def test_the_cache_of_all_heads(in_print: PublishedResult) -> None:
    (row,) = rows(in_print, "keys and values of all heads")
    assert row.computed == row.printed == f"{PRINTED['hf_naive_mla_cache_bytes_per_token_v3']['value']:,} B"


def test_the_llama_table_is_right_but_for_its_last_row(in_print: PublishedResult) -> None:
    table = PRINTED["llama31_blog_gib"]
    for title in ("Llama-3.1-8B", "Llama-3.1-70B", "Llama-3.1-405B"):
        cells = [row for row in rows(in_print, "Hugging Face blog") if row.what.startswith(f"{title} at")]
        assert [row.printed.removesuffix(" GiB") for row in cells] == table[title]
        assert {row.agrees for row in cells} == {title != "Llama-3.1-405B"}
        if title == "Llama-3.1-405B":  # what 16 KV heads would take is what was printed
            taken = [float(row.reason.split("take ")[1].split(" GiB")[0]) for row in cells]
            assert taken == pytest.approx([float(cell) for cell in table[title]], abs=0.006)


def test_totals_that_hold_more_than_parameters(in_print: PublishedResult) -> None:
    more = {"Llama-2-7B": 2048, "Llama-2-70B": 5120, "Falcon-7B": 295_469_056, "DeepSeek-V3": 14_848}
    for title, count in more.items():
        (row,) = rows(in_print, f"than parameters: {title}:")
        assert row.agrees
        assert f"+{count:,}" in row.reason


def test_every_row_is_as_it_says(in_print: PublishedResult) -> None:
    assert in_print.passed
    assert len(in_print.checks) == len({row.source for row in in_print.rows})
    assert all(row.reason for row in in_print.rows)


# ------------------------------------------------------------------------------- what stands beside size


@pytest.mark.parametrize("break_it", sorted(compare_module.BITES))
def test_every_break_of_the_comparison_bites_under_its_settings(break_it: str) -> None:
    settings = compare_module.BITES[break_it]
    assert not compare(CompareParams(**settings, break_it=break_it)).passed  # type: ignore[arg-type]
    assert compare(CompareParams(**settings)).passed


def test_the_comparison_grows_to_the_length_asked_for() -> None:
    result = compare(CompareParams(models=("gemma-3-27b", "deepseek-v3"), seq_len=100_003, tensor_parallel=4))
    assert (result.lengths[0], result.lengths[-1]) == (0, 100_003)
    for size_at_end, growth in zip(result.sizes, result.growth, strict=True):
        assert growth.logical[-1] == size_at_end.logical_bytes
        assert (
            growth.windowed[-1]
            == size_at_end.windowed_bytes
            == sum(part[-1] for part in growth.parts.values())
        )
        assert growth.reserved[-1] == size_at_end.reserved_bytes
        assert growth.logical[0] == growth.windowed[0] == growth.reserved[0] == 0


@pytest.mark.parametrize(
    ("model", "factor"),
    [("llama-65b", 1), ("gemma-3-27b", 2), ("llama-3.1-70b", 4), ("falcon-7b", 32), ("deepseek-v3", 32)],
)
def test_what_query_heads_share_stands_on_every_rank(model: str, factor: int) -> None:
    result = compare(CompareParams(models=(model,)))
    assert (result.on_ranks.ranks, result.on_ranks.factor) == (32, factor)


def test_the_picture_of_the_comparison() -> None:
    for models in (("llama-3.1-70b",), ("llama-65b", "falcon-7b", "gemma-3-27b", "deepseek-v2-lite")):
        result = compare(CompareParams(models=models))  # type: ignore[arg-type]
        scene = compare_scene(result)
        assert scene.steps == len(result.lengths)
        assert scene.start == scene.steps - 1
        assert scene.to_bytes()
        assert compare_card(result).to_bytes()
        last = scene.words.sentences[scene.words.which[-1]]
        assert all(
            size.title in last for size in result.sizes if size.title in (result.largest, result.smallest)
        )


LAYOUTS_NOT_READ = {
    "attn_layer_period": 8,
    "hybrid_override_pattern": "M-M*",
    "num_global_key_value_heads": 4,
    "is_encoder_decoder": True,
    "attention_chunk_size": 8192,
}


@pytest.mark.parametrize("key", LAYOUTS_NOT_READ)
def test_a_layout_that_is_not_read_is_named(key: str) -> None:
    config = {**CATALOGUE["llama-3.1-8b"].config, "model_type": "some_new_model", key: LAYOUTS_NOT_READ[key]}
    notes = model_of(config).notes
    assert any(note.startswith(key) for note in notes), notes
    assert any("estimates" in note for note in notes)


@pytest.mark.parametrize(
    "config",
    [
        {"num_hidden_layers": 10_000, "num_attention_heads": 100_000, "hidden_size": 100_000},
        {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 4, "kv_lora_rank": 1,
         "qk_rope_head_dim": 2, "qk_nope_head_dim": 1, "v_head_dim": 1, "intermediate_size": 4},
    ],
)  # fmt: skip
def test_every_experiment_counts_an_extreme_config_at_once(config: dict[str, int]) -> None:
    text = json.dumps({"model_type": "new", "vocab_size": 10, "intermediate_size": 8, **config})
    started = time.perf_counter()
    for name in ("size", "compare", "fit", "roofline"):
        known = find(f"kv_cache.{name}")
        result = known(known.params(config=text))  # type: ignore[call-arg]
        assert as_json(result)
        if known.view:
            assert known.scene(result).to_bytes()
    assert time.perf_counter() - started < 5
