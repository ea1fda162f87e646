"""The defaults of the configuration classes of `transformers`, as explainers/kv_cache/families.json ships them.

    python -m tests.kv_cache.families        writes the file anew

A published config.json may leave out what its class sets by itself. For each family that generates text the file has
the keys of its class, the defaults of those that decide the cache, and how its layers follow each other where no key
says so. A slow test makes it again.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import warnings
from pathlib import Path
from typing import Any

from explainers.kv_cache.config_keys import DECIDING, SPELLINGS

FILE = Path(__file__).parents[2] / "explainers" / "kv_cache" / "families.json"
LONGEST_PERIOD = 12  # layers after which a pattern must repeat
LAYERS = (5, 29, 48)  # with which a class is asked for its layers


@functools.cache
def config_classes() -> dict[str, Any]:
    """The configuration class of each model_type that has a causal language model."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return {name: CONFIG_MAPPING[name] for name in sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)}


def family(config_class: Any) -> dict[str, Any]:
    """What the file says of one family: keys, defaults, and layers, the period of their types."""
    fields = {field.name: field.default for field in dataclasses.fields(config_class)}
    spelled = {theirs: ours for ours, theirs in (config_class.attribute_map or {}).items()}
    canonical = {spelling: name for name, spellings in SPELLINGS.items() for spelling in spellings}
    defaults = {}
    for name, default in fields.items():
        ours = spelled.get(name, canonical.get(name, name))
        if ours in DECIDING and isinstance(default, (bool, int, str)):
            defaults[ours] = default
    named = sorted(set(fields) - common_keys() | set(config_class.attribute_map or {}))
    return {"defaults": defaults, "keys": named, "layers": layer_period(config_class)}


@functools.cache
def common_keys() -> frozenset[str]:
    """The keys that every class has."""
    names = [{field.name for field in dataclasses.fields(each)} for each in config_classes().values()]
    return frozenset(set.intersection(*names))


def layer_period(config_class: Any) -> list[str] | None:
    """The types of layers that repeat, if the class makes them by such a rule; None where it has no types."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            made = [list(config_class(num_hidden_layers=layers).layer_types) for layers in LAYERS]
        except Exception:  # the class has no such key, or other keys do not go with that many layers
            return None
    longest = made[-1]
    for period in range(1, LONGEST_PERIOD + 1):
        repeated = [longest[layer % period] for layer in range(max(LAYERS))]
        if all(types == repeated[: len(types)] for types in made):
            return longest[:period]
    return None


def families() -> dict[str, Any]:
    """The whole file."""
    return {name: family(config_class) for name, config_class in config_classes().items()}


def as_lines(found: dict[str, Any]) -> str:
    """One family a line, so that a difference can be read."""
    return (
        "{\n"
        + ",\n".join(f"{json.dumps(name)}: {json.dumps(each)}" for name, each in found.items())
        + "\n}\n"
    )


if __name__ == "__main__":
    FILE.write_text(as_lines(families()), encoding="utf-8")
