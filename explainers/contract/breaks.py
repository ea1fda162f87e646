"""Breaks: parts that an experiment can do without, so that a check turns red and a reader sees why each is there.

BREAKS = (Break("no_rescale", "skip the rescale", "Early keys weigh too much.", {"block_k": 16}),)

class TilesParams(Params):
    break_it: Literal["none", "no_rescale"] = break_field(BREAKS)

@experiment("flash_attention.tiles", breaks=BREAKS)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from explainers.contract.params import choice


@dataclass(frozen=True)
class Break:
    """One part to remove.

    name: the value of `break_it`. label: of its switch. consequence: what is lost, in a sentence. settings: the other
    settings that make the break visible; they are applied with it.
    """

    name: str
    label: str
    consequence: str
    settings: Mapping[str, Any] = field(default_factory=dict)


def break_field(breaks: Sequence[Break], description: str = "Removes one necessary part") -> Any:
    """The field `break_it`, whose annotation is a Literal of "none" and the names of the breaks."""
    labels = {"none": "nothing"} | {each.name: each.label for each in breaks}
    return choice("none", "Break it", description, labels)
