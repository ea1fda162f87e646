"""Kinds of cache that are fitted onto GPUs."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from explainers.drawing.panels import Marks
from explainers.drawing.scene import Scene, Track
from explainers.kv_cache.layers import ELEMENT_TYPES, LayerKind, Model, Parameters, Vector

BF16 = ELEMENT_TYPES["bf16"]


PARAMETERS_70B = 70_553_706_496  # config of Llama-3.1-70B; the same on Hugging Face


def model_of(*kinds: LayerKind, parameters: int = 0) -> Model:
    return Model("small", "Small", "llama", 8, kinds, Parameters(parameters))


def heads_kind(
    layers: int, kv_heads: int, head_dim: int, window: int | None = None, query_heads: int = 8
) -> LayerKind:
    vectors = (Vector("key", kv_heads, head_dim), Vector("value", kv_heads, head_dim))
    return LayerKind("full" if window is None else "sliding", "GQA", layers, query_heads, vectors, window)


def latent_kind(layers: int, latent: int, rope: int) -> LayerKind:
    return LayerKind("full", "MLA", layers, 8, (Vector("latent", 1, latent), Vector("RoPE key", 1, rope)))


kinds = st.one_of(
    st.builds(
        heads_kind, st.integers(1, 3), st.sampled_from((1, 2, 8)), st.sampled_from((4, 8)), st.integers(1, 40)
    ),
    st.builds(heads_kind, st.integers(1, 3), st.sampled_from((1, 2, 8)), st.sampled_from((4, 8)), st.none()),
    st.builds(latent_kind, st.integers(1, 3), st.sampled_from((8, 16)), st.just(4)),
)


def check_scene(scene: Scene) -> None:
    """The scene can be packed, and no mark lies outside its axes."""
    assert len(scene.to_bytes()) < 200_000
    for panel in scene.panels():
        assert isinstance(panel, Marks)
        assert all(panel.x.low <= tick <= panel.x.high for tick in panel.x.ticks)
        for layer in panel.layers:
            for values, axis in (
                (layer.x, panel.x),
                (layer.y, panel.y),
                (layer.x2, panel.x),
                (layer.y2, panel.y),
            ):
                shown = values.values if isinstance(values, Track) else values
                shown = shown[np.isfinite(shown)] if shown is not None else np.zeros(0)
                edge = 1e-6 * abs(axis.high)
                assert not shown.size or (shown.min() >= axis.low - edge and shown.max() <= axis.high + edge)
