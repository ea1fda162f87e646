"""Attention modules that decode, as several tests make them."""

from __future__ import annotations

from typing import Any

import numpy as np

from explainers.drawing.scene import Patches
from explainers.kv_cache.decode import DecodeResult
from explainers.kv_cache.decode_params import DecodeParams

CLAIMS = {"bytes": "bytes of its formula", "cached": "equals computing again", "absorbed": "absorbed equals"}


EXACT = 1e-12


LARGEST = {"heads": 16, "groups": 8, "head_dim": 16, "latent_dim": 64, "rope_dim": 16, "hidden_size": 128}


def of(size: dict[str, Any], **more: Any) -> DecodeParams:
    heads, groups = size["heads_groups"]
    rest = {name: value for name, value in size.items() if name != "heads_groups"}
    return DecodeParams(heads=heads, groups=groups, **rest, **more)


def errors(result: DecodeResult) -> dict[str, bool]:
    """Which claim passed, by its short name."""
    return {
        name: check.passed for name, words in CLAIMS.items() for check in result.checks if words in check.what
    }


def states(values: Patches, steps: int) -> list[np.ndarray]:
    """Every state of Patches, read as the player reads them."""
    now, seen = values.keyframes[0].copy(), []
    for step in range(steps):
        where = slice(values.starts[step], values.starts[step + 1])
        now[values.positions[where]] = values.values[where]
        seen.append(now.copy())
    return seen
