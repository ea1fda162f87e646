"""The KV cache: what attention keeps of earlier tokens while it decodes, as real tensors."""

from __future__ import annotations

import torch
from torch import Tensor


class Cache:
    """Named tensors (..., T, width) of the T tokens so far: keys and values, or latents and RoPE keys.

    New tokens are concatenated, so that the storage has exactly the tokens held and its size can be measured.
    """

    def __init__(self, **parts: Tensor) -> None:
        self.parts = parts

    def append(self, **new: Tensor) -> None:
        """Append n more tokens: the same names, (..., n, width) each. Tensors that were read earlier do not change."""
        parts = self.parts
        self.parts = {
            name: torch.cat([parts[name], new[name]], -2) if parts else new[name].clone() for name in new
        }

    @property
    def tokens(self) -> int:
        """T, the number of tokens held."""
        return next(iter(self.parts.values())).shape[-2] if self.parts else 0

    @property
    def nbytes(self) -> int:
        """Bytes of the storage behind all parts."""
        return sum(part.untyped_storage().nbytes() for part in self.parts.values())
