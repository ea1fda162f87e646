"""The cache that attention fills while it decodes: what it keeps of earlier tokens, as real tensors."""

from __future__ import annotations

import torch
from torch import Tensor


class Cache:
    """What is kept of the tokens so far, by name: tensors (..., T, width), concatenated as tokens come.

    Concatenation gives storage of exactly the tokens held, so that its size can be measured.
    """

    def __init__(self, **parts: Tensor) -> None:
        self.parts = parts

    def append(self, **new: Tensor) -> None:
        """Adds the same parts (..., n, width) of n more tokens. Tensors that were read before stay as they were."""
        parts = self.parts
        self.parts = {
            name: torch.cat([parts[name], new[name]], -2) if parts else new[name].clone() for name in new
        }

    @property
    def tokens(self) -> int:
        return next(iter(self.parts.values())).shape[-2] if self.parts else 0

    @property
    def nbytes(self) -> int:
        """Bytes of the storage behind all parts."""
        return sum(part.untyped_storage().nbytes() for part in self.parts.values())
