"""The families of models that `transformers` knows: the defaults of their config classes, and who keeps no KV cache.

families.json is made from the classes themselves (tests/kv_cache/families.py), so that a config that leaves out what
its class sets is read as the class reads it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explainers.contract.messages import Message


@dataclass(frozen=True)
class Family:
    """defaults: of the keys that decide the cache. keys: of its class. layers: the types that repeat, if any do."""

    defaults: Mapping[str, Any]
    keys: frozenset[str]
    layers: tuple[str, ...]


@functools.cache
def families() -> Mapping[str, Family]:
    """By model_type."""
    written = json.loads((Path(__file__).parent / "families.json").read_text(encoding="utf-8"))
    return {
        name: Family(each["defaults"], frozenset(each["keys"]), tuple(each["layers"] or ()))
        for name, each in written.items()
    }


# Attentions that a model's blocks have, where that is more than one.
ATTENTIONS_A_LAYER: Mapping[str, int] = {"longcat_flash": 2}

_RECURRENT = Message("it keeps a state of fixed size instead of a KV cache")
_ENCODER = Message("an encoder reads all tokens at once and keeps no KV cache")
ENCODER_AND_DECODER = Message(
    "an encoder and a decoder, whose cross-attention caches the encoder's tokens: not counted here"
)
_COMPRESSED = Message(
    "its layers cache compressed and indexed keys of other kinds, which are not counted here"
)
_OTHER = Message("its cache is laid out in a way that is not counted here")

# Families without a KV cache, or with one that is not counted here, by model_type.
_REFUSED: Mapping[str, Message] = {
    **dict.fromkeys(("falcon_mamba", "mamba", "mamba2", "rwkv", "xlstm", "retnet", "hyena"), _RECURRENT),
    **dict.fromkeys(
        (
            *(
                "albert",
                "bert",
                "bert-generation",
                "big_bird",
                "camembert",
                "data2vec-text",
                "deberta",
                "deberta-v2",
            ),
            *("distilbert", "electra", "ernie", "esm", "funnel", "longformer", "megatron-bert", "mobilebert"),
            *("modernbert", "mpnet", "nomic_bert", "rembert", "roberta", "roberta-prelayernorm", "roc_bert"),
            *("roformer", "xlm", "xlm-roberta", "xlm-roberta-xl", "xmod"),
        ),
        _ENCODER,
    ),
    **dict.fromkeys(
        (
            *(
                "bart",
                "bigbird_pegasus",
                "blenderbot",
                "blenderbot-small",
                "fsmt",
                "led",
                "longt5",
                "m2m_100",
            ),
            *(
                "marian",
                "mbart",
                "mt5",
                "musicgen",
                "musicgen_melody",
                "mvp",
                "pegasus",
                "pegasus_x",
                "plbart",
            ),
            *("prophetnet", "switch_transformers", "t5", "trocr", "umt5", "whisper"),
        ),
        ENCODER_AND_DECODER,
    ),
    **dict.fromkeys(("deepseek_v4", "qwen4_exp_text"), _COMPRESSED),
    **dict.fromkeys(
        ("blt", "openai-gpt", "reformer", "xlnet", "inkling_text", "inkling2_text", "zaya"), _OTHER
    ),
}
_RECURRENT_BEGINNINGS = ("rwkv", "mamba")


def refusal(model_type: str) -> Message | None:
    """Why a family has no cache to count here; None where it has."""
    if model_type.startswith(_RECURRENT_BEGINNINGS):
        return _RECURRENT
    return _REFUSED.get(model_type)
