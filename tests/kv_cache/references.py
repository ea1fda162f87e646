"""What `transformers` keeps of a token in each layer of the catalogue's models: explainers/kv_cache/references.json.

    python -m tests.kv_cache.references        writes the file anew

The page compares its bytes with these. Read off the cache of the model class, built without memory; a class that
multiplies MLA's latent out before it caches is asked for the width of its down-projection instead. A slow test makes
the file again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from explainers.kv_cache.catalogue import CATALOGUE
from tests.kv_cache.caches import cache_of, model_without_memory

FILE = Path(__file__).parents[2] / "explainers" / "kv_cache" / "references.json"
CLASS_OF = {"kimi_k2": "deepseek_v3"}  # its files name this class


def reference(config: dict[str, Any]) -> dict[str, Any]:
    """The class, and [layers, vectors, window] of each kind of layers; vectors: [copies, length] of one token."""
    named = str(config["model_type"])
    model_type = CLASS_OF.get(named, named)
    keys = {"sliding_window": None} if config["model_type"] == "mistral" else {}  # where a file leaves it out
    keys |= {name: value for name, value in config.items() if name != "model_type"}
    model = model_without_memory(model_type, keys)
    made_by: dict[str, Any] = {"class": type(model).__name__}
    projections = [part for name, part in model.named_modules() if name.endswith("kv_a_proj_with_mqa")]
    if projections:
        rope = model.config.qk_rope_head_dim
        width = projections[0].out_features
        return made_by | {"layers": [[len(projections), [[1, width - rope], [1, rope]], None]]}
    kinds: dict[tuple[Any, Any], int] = {}
    for kept in cache_of(model):
        kinds[kept.vectors, kept.window] = kinds.get((kept.vectors, kept.window), 0) + 1
    layers = [[count, [list(each) for each in vectors], window] for (vectors, window), count in kinds.items()]
    return made_by | {"layers": layers}


def references() -> dict[str, Any]:
    """By the name in the catalogue."""
    return {name: reference(dict(entry.config)) for name, entry in CATALOGUE.items()}


def as_lines(found: dict[str, Any]) -> str:
    """One model a line."""
    return (
        "{\n"
        + ",\n".join(f"{json.dumps(name)}: {json.dumps(each)}" for name, each in found.items())
        + "\n}\n"
    )


if __name__ == "__main__":
    FILE.write_text(as_lines(references()), encoding="utf-8")
