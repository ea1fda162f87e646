"""The cache of attention: its storage and what was read from it."""

from __future__ import annotations

import torch

from explainers.models.cache import Cache


def test_a_cache_holds_exactly_its_tokens_and_leaves_what_was_read_alone() -> None:
    cache = Cache()
    assert (cache.tokens, cache.nbytes) == (0, 0)
    whole = torch.arange(24.0).reshape(2, 6, 2)
    cache.append(K=whole[:, :4])
    before = cache.parts["K"]
    assert (cache.tokens, cache.nbytes) == (
        4,
        2 * 4 * 2 * 4,
    )  # not the storage of the whole that it was cut from
    cache.append(K=whole[:, 4:5])
    assert (cache.tokens, cache.nbytes) == (5, 2 * 5 * 2 * 4)
    assert torch.equal(cache.parts["K"], whole[:, :5])
    assert torch.equal(before, whole[:, :4])
