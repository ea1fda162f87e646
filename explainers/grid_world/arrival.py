"""Whether an agent has ever arrived at a target, and what to do where it has not."""

from __future__ import annotations

from collections.abc import Iterator

from explainers.contract.messages import Message
from explainers.grid_world.learn_params import AgentParams
from explainers.grid_world.memory import Memory, Slot


def was_always_cut(params: AgentParams, memory: Memory) -> bool:
    """Whether episodes were cut, and the agent has not entered a target in any. A break has other reasons: False."""
    where = memory.where
    return params.break_it == "none" and bool(where[Slot.CUT]) and not where[Slot.REACHED]


def advice(params: AgentParams, memory: Memory) -> Iterator[str]:
    """A sentence for an agent whose episodes were all cut before a target."""
    if was_always_cut(params, memory):
        yield Message(
            "No episode has reached the target within {limit:,} steps; raise the limit (longest episode).",
            limit=params.episode_length,
        )
