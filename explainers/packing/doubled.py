"""The same documents in packs of twice the capacity."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from cachetools import LRUCache, cached

from explainers.contract.messages import Message, plural
from explainers.packing.lengths import stream
from explainers.packing.pack import outcome_of
from explainers.packing.pack_params import PackParams


@dataclass(frozen=True)
class Doubled:
    """What packs of twice the capacity cost. label: of the strategy. packs: how many, in words."""

    label: str
    packs: Message
    padding_percent: float
    attention_waste_percent: float


@cached(LRUCache(256), lock=threading.Lock())
def doubled_capacity(params: PackParams) -> Doubled:
    """The strategy of these params, at twice their capacity, with nothing broken."""
    changes = {"capacity": 2 * params.capacity, "break_it": "none"}
    outcome = outcome_of(params.strategy, stream(params), params.model_copy(update=changes))
    return Doubled(
        label=outcome.label,
        packs=plural("{count:,} pack", "{count:,} packs", count=outcome.n_packs),
        padding_percent=outcome.padding_percent,
        attention_waste_percent=outcome.attention_waste_percent,
    )
