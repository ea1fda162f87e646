"""Models as several tests of the KV cache need them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from explainers.kv_cache.layers import ELEMENT_TYPES
from explainers.kv_cache.size import SizeParams, SizeResult, size

BF16 = ELEMENT_TYPES["bf16"]


SMALL = {
    "model_type": "llama",
    "num_hidden_layers": 4,
    "hidden_size": 64,
    "intermediate_size": 100,
    "vocab_size": 50,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
}


def small(**more: Any) -> dict[str, Any]:
    return {**SMALL, **more}


def sized(**settings: Any) -> SizeResult:
    return size(SizeParams(**settings))


ORACLES = Path(__file__).parents[1] / "oracles"
