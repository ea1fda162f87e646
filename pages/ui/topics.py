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
        section="Attention",
        name="flash_attention",
        title="Flash attention",
        card="flash_attention.online_softmax",
        card_settings={"length": 16, "block": 4, "outlier": 2.0},
    ),
    Topic(
        section="Attention",
        name="kv_cache",
        title="The KV cache",
        card="kv_cache.compare",
        card_settings={"models": ("llama-3.1-70b", "gemma-3-27b", "deepseek-v3")},
    ),
    Topic(
        section="Training",
        name="checkpointing",
        title="Gradient checkpointing",
        card="checkpointing.schedule",
        card_settings={"layers": 12},
    ),
    Topic(
        section="Training", name="packing", title="Packing", card="packing.pack", card_settings={"count": 12}
    ),
    Topic(
        section="Reinforcement learning",
        name="grid_world",
        title="The grid world",
        card="grid_world.solve",
        card_settings={},
    ),
    Topic(
        section="Reinforcement learning",
        name="stochastic_approximation",
        title="Stochastic approximation",
        card="stochastic_approximation.robbins_monro",
        card_settings={"sigma": 0.3, "steps": 20},
    ),
)


def topic_named(name: str) -> Topic:
    """The topic of that name. Raises KeyError where none has it."""
    return {topic.name: topic for topic in TOPICS}[name]
