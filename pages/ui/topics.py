"""The topics of the site, each in one place: app.py makes the pages of them, the home page the cards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SECTIONS = ("Attention", "Training", "Reinforcement learning")


@dataclass(frozen=True)
class Topic:
    """A topic. name: of its page, its explainers and its address. title: in the navigation and on its card.

    card, card_settings: the experiment, and its settings, whose small picture stands on the home page.
    """

    section: str
    name: str
    title: str
    card: str
    card_settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Raises ValueError for a section that the navigation would leave out, its pages with it."""
        if self.section not in SECTIONS:
            raise ValueError(f"{self.name}: {self.section!r} is not one of {SECTIONS}")


TOPICS = (
    Topic(
        "Attention",
        "flash_attention",
        "Flash attention",
        "flash_attention.online_softmax",
        {"length": 16, "block": 4, "outlier": 2.0},
    ),
    Topic(
        "Attention",
        "kv_cache",
        "The KV cache",
        "kv_cache.compare",
        {"models": ("llama-3.1-70b", "gemma-3-27b", "deepseek-v3")},
    ),
    Topic(
        "Training",
        "checkpointing",
        "Gradient checkpointing",
        "checkpointing.schedule",
        {"layers": 12},
    ),
    Topic(
        "Training",
        "packing",
        "Packing",
        "packing.pack",
        {"count": 12},
    ),
    Topic(
        "Reinforcement learning",
        "grid_world",
        "The grid world",
        "grid_world.solve",
        {},
    ),
    Topic(
        "Reinforcement learning",
        "stochastic_approximation",
        "Stochastic approximation",
        "stochastic_approximation.robbins_monro",
        {"sigma": 0.3, "steps": 20},
    ),
)


def topic_named(name: str) -> Topic:
    """The topic of that name. Raises KeyError where none has it."""
    return {topic.name: topic for topic in TOPICS}[name]
