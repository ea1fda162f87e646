"""Other people's configs: what they keep, every model class of `transformers`, and configs with a key gone wrong."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from explainers.contract.experiment import find
from explainers.contract.result import as_json
from explainers.kv_cache.catalogue import CATALOGUE
from explainers.kv_cache.config import model_of, read_model
from explainers.kv_cache.config_text import read_config
from explainers.kv_cache.families import families
from explainers.kv_cache.layers import ELEMENT_TYPES
from tests.kv_cache import families as written_families
from tests.kv_cache import references as written_references
from tests.kv_cache.caches import TOKENS, cache_of, model_without_memory
from tests.kv_cache.models import BF16, ORACLES, SMALL

CASES = json.loads((ORACLES / "kv_configs.json").read_text(encoding="utf-8"))["cases"]
BY_NAME = {case["name"]: case for case in CASES}


def text_of(config: Any) -> str:
    return config if isinstance(config, str) else json.dumps(config)


@pytest.mark.parametrize("name", BY_NAME)
def test_a_config_of_others_is_counted_rightly_or_refused(name: str) -> None:
    case = BY_NAME[name]
    if case["bytes_per_token"] == 0:
        with pytest.raises(ValueError, match=r"model_type is .* no KV cache|instead of a KV cache"):
            read_model(text_of(case["config"]))
        return
    model = read_model(text_of(case["config"]))
    assert model.bytes_per_token(BF16) == case["bytes_per_token"]
    assert model.windowed_bytes(BF16, 32_768, 1) == case["windowed_bytes_32768"]
    assert model.parameters is None or model.parameters.total == case["params"]


@pytest.mark.parametrize("name", [name for name, case in BY_NAME.items() if case["bytes_per_token"]])
def test_all_experiments_count_the_same_bytes(name: str) -> None:
    case = BY_NAME[name]
    settings = {"config": text_of(case["config"]), "seq_len": 32_768, "batch": 1, "break_it": "none"}
    of_gpus = settings | {"tensor_parallel": 1, "block_tokens": 1, "weights_gb": 1.0}
    size, compare, fit, roofline = (
        as_json(find(f"kv_cache.{short}")(find(f"kv_cache.{short}").params(**given)))
        for short, given in (
            ("size", settings),
            ("compare", settings),
            ("fit", of_gpus),
            ("roofline", of_gpus),
        )
    )
    assert size["windowed_bytes"] == case["windowed_bytes_32768"]
    assert compare["sizes"][-1]["windowed_bytes"] == case["windowed_bytes_32768"]
    assert fit["gpu_kv_filled"] == case["windowed_bytes_32768"]
    assert roofline["own"]["cache_bytes"] == case["windowed_bytes_32768"]
    assert size["warnings"] == fit["warnings"] == roofline["warnings"]


# ------------------------------------------------------------------------------------- every class of transformers

# Classes whose defaults `transformers` itself cannot run: with what they can.
RUN_WITH: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [9, 18, 27]},
    "deepseek_v2": {"num_experts_per_tok": 2, "n_routed_experts": 4, "moe_intermediate_size": 1408},
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128, "num_experts": 4, "moe_topk": 2},
    "ministral": {"head_dim": 128},
    "nemotron": {"num_key_value_heads": 8, "head_dim": 128},
}
# Multimodal wholes, whose text models are compared under their own names, and classes that cannot be run without
# memory or show no cache.
NOT_RUN = {
    "dots3_note", "emu3", "gemma3n", "llama4", "qwen3_5", "qwen3_5_moe",
    "cohere_compass_text", "dbrx", "dots1", "granitemoehybrid", "jetmoe", "lfm2_moe", "longcat_flash",
    "recurrent_gemma",
}  # fmt: skip
NOT_BUILT = {"gemma4_assistant"}
NO_ATTENTION = "layer_types names no layer with attention"
REFUSED_AT_THE_DEFAULTS = {
    "granitemoehybrid": NO_ATTENTION,
    "gemma4_unified_assistant": "text_config.num_kv_shared_layers = ",  # the cache of the model that it helps
    "glm4_moe": "num_attention_heads = 96 does not divide hidden_size = 4096",  # its files say head_dim
}


def ours_of_class(model_type: str) -> tuple[int | None, str]:
    """Numbers that are kept of TOKENS tokens by the default config of a class, or why the class is refused."""
    config_class = written_families.config_classes()[model_type]
    config = config_class(**RUN_WITH.get(model_type, {})).to_dict()
    try:
        model = model_of(config)
        kept = model.windowed_bytes(BF16, TOKENS, 1) // 2
        if model.attention == "MLA" and model_type not in NOT_RUN and not _keeps_the_latent(model_type):
            kept = model_of(config, break_it="mla_as_mha").windowed_bytes(BF16, TOKENS, 1) // 2
    except ValueError as refused:
        return None, str(refused)
    return kept, ""


def _keeps_the_latent(model_type: str) -> bool:
    return any(
        kept.vectors[0][0] == 1
        for kept in cache_of(model_without_memory(model_type, RUN_WITH.get(model_type)))
    )


@pytest.mark.exhaustive
@pytest.mark.parametrize("model_type", sorted(families()))
def test_every_class_is_equal_or_refused(model_type: str) -> None:
    if model_type in NOT_BUILT:
        pytest.skip("transformers cannot build the default config of this class")
    ours, refusal = ours_of_class(model_type)
    if ours is None:
        by_name = ("model_type is ", "is_encoder_decoder is ")
        assert refusal.startswith((*by_name, REFUSED_AT_THE_DEFAULTS.get(model_type, by_name[0])))
        return
    if model_type in NOT_RUN:
        pytest.skip("transformers cannot run this class at its defaults without memory")
    theirs = sum(
        kept.numbers for kept in cache_of(model_without_memory(model_type, RUN_WITH.get(model_type)))
    )
    assert ours == theirs * TOKENS


@pytest.mark.exhaustive
def test_the_shipped_files_are_what_transformers_says() -> None:
    assert written_families.FILE.read_text("utf-8") == written_families.as_lines(written_families.families())
    assert written_references.FILE.read_text("utf-8") == written_references.as_lines(
        written_references.references()
    )


# ---------------------------------------------------------------------------------------------- a key gone wrong

KNOWN = [(name, dict(entry.config)) for name, entry in CATALOGUE.items()] + [
    (case["name"], read_config(text_of(case["config"])))
    for case in CASES
    if case["bytes_per_token"] and "text_config" not in case["config"]
]
WAYS = ("renamed", "dropped", "nested", "list", "text")


def mutated(config: dict[str, Any], key: str, way: str, draw: random.Random) -> dict[str, Any]:
    """The config with one key gone wrong."""
    rest = {name: value for name, value in config.items() if name != key}
    if way == "renamed":
        return rest | {f"{draw.choice('abcxyz')}{key[1:]}": config[key]}
    if way == "nested":
        return rest | {draw.choice(("inner", "attn_settings", "model_args")): {key: config[key]}}
    wrong = {"list": [config[key]], "text": str(config[key])}
    return rest | ({key: wrong[way]} if way in wrong else {})


@pytest.mark.parametrize("seed", range(200))
def test_a_key_gone_wrong_is_never_counted_without_a_word(seed: int) -> None:
    draw = random.Random(seed)
    name, config = draw.choice(KNOWN)
    key, way = draw.choice([key for key in config if key != "model_type"]), draw.choice(WAYS)
    right = model_of(config)
    try:
        model = model_of(mutated(config, key, way, draw))
    except ValueError:
        return
    lengths = (1, 999, 99_999)
    ours, before = ([each.windowed_bytes(BF16, length, 1) for length in lengths] for each in (model, right))
    said = set(model.warnings) - set(right.warnings)
    is_doubted = any("is not known here" in warning for warning in model.warnings)
    assert ours == before or said or is_doubted, (name, key, way)


# ----------------------------------------------------------------------------------------------------- real text

JSON = json.dumps(SMALL, indent=2)


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{JSON}\n```",
        f"The config:\n\n```\n{JSON}\n```\nThat is all.",
        f"LlamaConfig {JSON}",
        JSON.replace("{", "{ // of the model", 1),
        JSON.replace("\n}", ",\n}"),
        "\n".join(f"{key}: {value}" for key, value in SMALL.items()),
        JSON.replace("{", '{"time_step_limit": [0.0, Infinity], "unused": NaN,', 1),
        JSON.replace('"', "'"),
    ],
)
def test_what_people_paste_is_read(text: str) -> None:
    assert model_of(read_config(text)).kinds == model_of(SMALL).kinds


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("https://huggingface.co/meta-llama/Llama-3.1-8B/blob/main/config.json", "this is an address"),
        ("meta-llama/Llama-3.1-8B", "this is an address"),
        ("config.json", "the name of a file"),
        ("~/models/llama/config.json", "the name of a file"),
        ("llama_model_loader: - kv 5: llama.block_count u32 = 32", "a log of llama.cpp"),
        ("LlamaConfig(hidden_size=4096)", "this is Python"),
        ("a: &x [1]\nb: *x", "not JSON"),
        ("hidden_size: 1\nhidden_size: 2", "hidden_size appears twice"),
    ],
)
def test_a_habit_is_named(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_config(text)


def test_the_params_json_of_mistral_is_read() -> None:
    params = {
        "dim": 4096,
        "n_layers": 32,
        "head_dim": 128,
        "hidden_dim": 14336,
        "n_heads": 32,
        "n_kv_heads": 8,
    }
    model = model_of({**params, "vocab_size": 32_000, "norm_eps": 1e-5})
    assert model.bytes_per_token(BF16) == 32 * 2 * 8 * 128 * 2
    assert "model_type is absent" in model.warnings[0]


def test_a_longer_context_by_yarn_is_known() -> None:
    yarn = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32_768}
    assert (
        model_of({**SMALL, "max_position_embeddings": 32_768, "rope_scaling": yarn}).max_position == 131_072
    )


def test_a_cache_type_that_the_config_asks_for_is_offered() -> None:
    scheme = {"kv_cache_scheme": {"num_bits": 8, "type": "float"}}
    assert any("choose fp8" in note for note in model_of({**SMALL, "quantization_config": scheme}).notes)


def test_an_element_type_has_every_name_that_people_use() -> None:
    assert ELEMENT_TYPES["fp16"].bytes_of(7) == ELEMENT_TYPES["bf16"].bytes_of(7) == 14
