"""Caches laid out in arrays, of the layers that `transformers` keeps: with them the sums of the page are compared.

references.json says what the model classes of `transformers` keep of a token in each layer; it was read off their own
caches (tests/kv_cache/references.py), so that nothing here reads a config. One head's cache is written page by page, in
the layout that an engine stores, and its bytes are read off the arrays. Heads, layers and sequences hold the same, so
their number multiplies it.

Layouts: bf16 as the upper 16 bits of a float; q8_0 and q4_0 as in llama.cpp, ggml-common.h: a scale d (fp16) and the
32 numbers qs that share it, one byte or half a byte each.
"""

from __future__ import annotations

import functools
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

LAYOUTS: Mapping[str, tuple[int, np.dtype[Any]]] = {  # numbers in a block, and the block
    "fp32": (1, np.dtype("<f4")),
    "bf16": (1, np.dtype("<u2")),
    "fp16": (1, np.dtype("<f2")),
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


@dataclass(frozen=True)
class Reference:
    """What another program keeps of a token. made_by: its class. layers: number, (copies, length), and window."""

    made_by: str
    layers: tuple[tuple[int, tuple[tuple[int, int], ...], int | None], ...]

    def real_bytes(self, dtype: str, seq_len: int, batch: int) -> int:
        """Bytes of the caches of all heads, layers and sequences, laid out in arrays."""
        return batch * sum(
            layers * copies * head_bytes(length, dtype, seq_len, window)
            for layers, vectors, window in self.layers
            for copies, length in vectors
        )


@functools.cache
def references() -> Mapping[str, Reference]:
    """By the name of a model in the catalogue."""
    written = json.loads((Path(__file__).parent / "references.json").read_text(encoding="utf-8"))
    return {
        name: Reference(
            each["class"],
            tuple(
                (layers, tuple((copies, length) for copies, length in vectors), window)
                for layers, vectors, window in each["layers"]
            ),
        )
        for name, each in written.items()
    }
