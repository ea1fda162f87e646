"""Configs of models that the page has never seen, and pasted nonsense."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explainers.contract.params import read
from explainers.kv_cache.catalogue import CATALOGUE, find_model
from explainers.kv_cache.config import model_of
from explainers.kv_cache.config_text import LONGEST_CONFIG, read_config
from explainers.kv_cache.layers import ELEMENT_TYPES, Model
from explainers.kv_cache.size import SizeParams, size
from tests.kv_cache.models import BF16, SMALL, sized, small

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


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in SMALL.items() if name not in names}


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
        ({"model_type": "gemma2"}, [("sliding", 2, 4096), ("full", 2, None)]),
        ({"model_type": "gemma2", "sliding_window": None}, [("full", 4, None)]),
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
    assert windows(hybrid) == [("full", 2, None)]


def test_an_unknown_family_is_counted_as_a_llama_and_says_so_in_front() -> None:
    model = model_of(small(model_type="never_heard_of"))
    assert model.parameters is None
    assert model.bytes_per_token(BF16) == model_of(SMALL).bytes_per_token(BF16)
    assert model.warnings == (
        "model_type never_heard_of is not known here: its keys are read as those of a Llama, which may be wrong.",
    )
    assert "model_type is absent" in model_of(without("model_type")).warnings[0]
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
    assert model.known_parameters.total - tied.known_parameters.total == 50 * 64


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
    published = find_model("gemma-3-27b").known_parameters.total
    assert model.known_parameters.total == published + (262_208 - 262_144) * 5376


# --------------------------------------------------------------------------------------- pasted nonsense


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("", "not JSON: line 1, column 1"),
        ('{"a": 1,\n "b": ]', "not JSON: line 2, column 7"),
        ("__import__('os')", "not JSON"),
        ("[1]", "the text is a list; a config is an object"),
        ("7", "a config is an object"),
        ("[" * 100_000, "too deeply"),
        ('{"hidden_size": 1, "hidden_size": 2}', "hidden_size appears twice"),
        ('{"num_hidden_layers": NaN}', "num_hidden_layers is nan; it must be a whole number"),
        ('{"num_hidden_layers": -Infinity}', "num_hidden_layers is -inf; it must be a whole number"),
        ('{"hidden_size": ' + "9" * 5000 + "}", "5,000 digits"),
        ("x" * 5_000_000, f"at most {LONGEST_CONFIG:,}"),
        ({}, "num_hidden_layers is missing (n_layer"),
        (without("hidden_size", "model_type"), "hidden_size is missing"),
        (without("num_attention_heads", "model_type"), "num_attention_heads is missing (n_head"),
        (small(model_type="rwkv7"), "model_type is rwkv7: it keeps a state of fixed size"),
        (small(model_type="roberta"), "model_type is roberta: an encoder"),
        (small(is_encoder_decoder=True), "is_encoder_decoder is true: an encoder and a decoder"),
        (small(model_type="bart"), "model_type is bart: an encoder and a decoder"),
        (small(num_hidden_layers=0), "num_hidden_layers is 0; it must be a whole number from 1 to 10,000"),
        (small(num_hidden_layers=-3), "num_hidden_layers is -3"),
        (small(num_hidden_layers=10**6), "num_hidden_layers is 1000000"),
        (
            small(hidden_size=10**9),
            "hidden_size is 1000000000; it must be a whole number from 1 to 1,000,000",
        ),
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
        (small(full_attn_idxs=[4]), "full_attn_idxs names layer 4; allowed are 0 to 3"),
        (small(num_kv_shared_layers=4), "num_kv_shared_layers = 4; at least one layer must keep"),
        (small(block_configs=[{"attention": 1}] * 4), "attention in block_configs is 1"),
        (small(num_key_value_heads_per_layer=[1, 2]), "num_key_value_heads_per_layer must hold 4 numbers"),
        (small(attn_type_list=[0, 1, 2, 0]), "attn_type_list holds other numbers than 0 and 1"),
        (small(hybrid_override_pattern="M*x*"), "hybrid_override_pattern must be a text of the letters"),
        (small(per_layer_config={"9": {}}), "per_layer_config must be an object of objects"),
        (small(layer_types=["mamba"] * 4), "no layer with attention"),
        (small(layer_types=["sliding_attention"] * 4), "sliding_window is missing"),
        (small(sliding_window=-1), "sliding_window is -1"),
        (small(text_config=3), "text_config is 3"),
        (small(text_config={**SMALL, "hidden_size": -1}), "text_config.hidden_size is -1"),
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


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (without("vocab_size"), "vocab_size is missing"),
        (without("intermediate_size"), "intermediate_size is missing"),
        (small(intermediate_size=[100] * 4), "intermediate_size is a list"),
        (small(vocab_size=10**9), "vocab_size is 1000000000"),
        (small(tie_word_embeddings="no"), "tie_word_embeddings is the text no; it must be true or false"),
        (
            {name: value for name, value in LATENT.items() if name != "n_routed_experts"},
            "num_experts is missing",
        ),
        ({**LATENT, "num_experts_per_tok": 6}, "num_experts_per_tok is 6; it must be at most the 5 experts"),
        (small(model_type="opt"), "no count of parameters is known for this family"),
    ],
)
def test_a_cache_is_counted_without_the_parameters(config: dict[str, Any], says: str) -> None:
    model = model_of(config)
    assert model.parameters is None
    assert says in model.parameters_unknown
    assert model.bytes_per_token(BF16) > 0
    counted = sized(config=json.dumps(config))
    assert (counted.params, counted.active_params) == (None, None)
    assert any(says in note for note in counted.notes)
    with pytest.raises(ValueError, match="are not known"):
        _ = model.known_parameters


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
        assert model.parameters is None or model.parameters.total > 0
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
