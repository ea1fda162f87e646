"""A cache laid out in arrays, with which the formulas are compared.

One head's cache is written page by page, in the layout that an engine stores, and its bytes are read off the arrays.
Heads, layers and sequences hold the same, so their number multiplies it. What is independent of the formulas: the
layout of the numbers, whole blocks, windows, and that nothing of layers.py and of `break_it` reaches it. The keys of
the config are read by the same code; that they are read rightly is for the tests against `transformers`.

Layouts: bf16 as the upper 16 bits of a float; q8_0 and q4_0 as in llama.cpp, ggml-common.h: a scale d (fp16) and the
32 numbers qs that share it, one byte or half a byte each.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from explainers.kv_cache.config import NO_CACHE, WINDOW_KEYS, keys_of, kv_heads, layer_types
from explainers.kv_cache.config_keys import Keys
from explainers.kv_cache.parameters import has_latent

LAYOUTS: Mapping[str, tuple[int, np.dtype[Any]]] = {  # numbers in a block, and the block
    "fp32": (1, np.dtype("<f4")),
    "bf16": (1, np.dtype("<u2")),
    "fp8": (1, np.dtype("u1")),
    "int8": (1, np.dtype("i1")),
    "q8_0": (32, np.dtype([("d", "<f2"), ("qs", "i1", 32)])),
    "q4_0": (32, np.dtype([("d", "<f2"), ("qs", "u1", 16)])),
}

PAGE_BYTES, LEAST_PAGE_TOKENS = 2**20, 256


def head_bytes(numbers: int, dtype: str, seq_len: int, window: int | None) -> int:
    """Bytes that one head holds of `seq_len` tokens, each leaving a vector of `numbers`; the oldest are forgotten.

    The tokens come in pages of about PAGE_BYTES. Only one page has separate memory, and every token is written
    into it: the cache is a queue of views of it, so that ten million tokens fit.
    """
    block, layout = LAYOUTS[dtype]
    token = np.zeros(-(-numbers // block), layout)
    page_tokens = min(seq_len, max(LEAST_PAGE_TOKENS, PAGE_BYTES // token.nbytes))
    page = np.tile(token, (page_tokens, 1))
    first_bytes = page.view(np.uint8)[:, 0]  # of each token's vector

    cache: deque[np.ndarray] = deque()
    held = 0
    for start in range(0, seq_len, page_tokens):
        arriving = page[: seq_len - start]
        first_bytes[: len(arriving)] = start // page_tokens % 256
        cache.append(arriving)
        held += len(arriving)
        while window is not None and held > window:
            held -= _forget(cache, held - window)
    return sum(tokens.nbytes for tokens in cache)


def _forget(cache: deque[np.ndarray], excess: int) -> int:
    """Drops the oldest tokens, at most `excess` and no more than a page; how many went."""
    oldest = cache.popleft()
    if len(oldest) > excess:
        cache.appendleft(oldest[excess:])
        return excess
    return len(oldest)


def real_bytes(config: Mapping[str, Any], dtype: str, seq_len: int, batch: int) -> int:
    """Bytes of the caches of all heads, layers and sequences of the model that `config` describes."""
    keys = keys_of(config)
    if has_latent(keys):
        vectors = Counter([keys.whole("kv_lora_rank"), keys.whole("qk_rope_head_dim")])
    else:
        query_heads = keys.whole("num_attention_heads")
        head_dim = keys.whole("head_dim", keys.whole("hidden_size") // query_heads)
        vectors = Counter({head_dim: 2 * kv_heads(keys, query_heads)})  # a key and a value a head
    layers = Counter(layer_type for layer_type in layer_types(keys) if layer_type not in NO_CACHE)
    return batch * sum(
        in_layers * heads * head_bytes(numbers, dtype, seq_len, _window(keys, layer_type))
        for layer_type, in_layers in layers.items()
        for numbers, heads in vectors.items()
    )


def _window(keys: Keys, layer_type: str) -> int | None:
    return keys.whole(WINDOW_KEYS[layer_type]) if layer_type in WINDOW_KEYS else None
