"""The models that can be chosen by name: their configs as published, and the parameter counts that others print.

catalogue.json holds what the counts need of each config.json, where it was seen, and how sure that is.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from explainers.contract.messages import Message
from explainers.kv_cache.config import model_of
from explainers.kv_cache.config_vectors import BreakSize
from explainers.kv_cache.layers import Model


@dataclass(frozen=True)
class Published:
    """A parameter count in print. exact: to the last digit, so that ours must equal it.

    beyond: what it counts besides the parameters, a name of BEYOND.
    """

    value: int
    exact: bool
    what: str
    source: str
    beyond: str = ""


@dataclass(frozen=True)
class Entry:
    """A model of the catalogue. config_status: where the config was seen."""

    name: str
    title: str
    family: str
    repo: str
    config: Mapping[str, Any]
    config_status: str
    published: tuple[Published, ...]


# What catalogue.json says in words: where a config was seen, and what a printed count is called.
_WORDS = {
    str(words): words
    for words in (
        Message("verified in source"),
        Message("verified in source (+exact total)"),
        Message("from memory, agreed with public copies of the config; exact total cross-checks the shape"),
        Message("memory (total cross-checked)"),
        Message(
            "verified in secondary source (shape fields); tie_word_embeddings/model_type/max_position from memory, "
            "exact total cross-checks tying"
        ),
        Message("rounded in the paper"),
        Message("rounded in the model card"),
        Message("parameter count"),
        Message("safetensors total on Hugging Face"),
        Message("main model parameters"),
        Message("parameters without the embedding"),
        Message("without the embedding, rounded"),
    )
}


def _entry(written: Mapping[str, Any]) -> Entry:
    published = tuple(Published(**{**count, "what": _WORDS[count["what"]]}) for count in written["published"])
    named = {"name": written["title"].lower(), "config_status": _WORDS[written["config_status"]]}
    return Entry(**{**written, **named, "published": published})


def _read() -> dict[str, Entry]:
    written = json.loads((Path(__file__).parent / "catalogue.json").read_text(encoding="utf-8"))
    entries = [_entry(model) for model in written]
    return {entry.name: entry for entry in entries}


CATALOGUE: Mapping[str, Entry] = _read()
LABELS: Mapping[str, str] = {name: entry.title for name, entry in CATALOGUE.items()}
FAMILIES: tuple[str, ...] = tuple(dict.fromkeys(entry.family for entry in CATALOGUE.values()))

if TYPE_CHECKING:
    ModelName = str
else:
    ModelName = Literal[tuple(CATALOGUE)]


@functools.cache
def find_model(name: str, break_it: BreakSize = "none") -> Model:
    """The model of that name, in any letter case. Raises KeyError for a name that the catalogue does not have."""
    entry = CATALOGUE[name.lower()]
    model = model_of(entry.config, entry.name, break_it)
    return replace(model, title=entry.title, warnings=())  # checked against the class and against print


# What printed counts hold that is no parameter, or leave out.
BEYOND: Mapping[str, str] = {
    "": Message("nothing else"),
    "inv_freq": Message("the RoPE frequencies that old checkpoints saved, head_dim / 2 a layer"),
    "lm_head": Message("the output matrix, a second copy of the embedding"),
    "e_score_correction_bias": Message("one routing bias an expert, a buffer"),
    "embedding": Message("the embedding left out"),
}


def beyond(what: str, model: Model) -> int:
    """How many numbers a name of BEYOND means for that model; negative where a count leaves them out."""
    embedding = model.config["vocab_size"] * model.hidden_size if what in ("lm_head", "embedding") else 0
    return {
        "": 0,
        "inv_freq": model.layers * model.kinds[0].vectors[0].length // 2,
        "lm_head": embedding,
        "e_score_correction_bias": model.known_parameters.experts * model.known_parameters.expert_layers,
        "embedding": -embedding,
    }[what]
