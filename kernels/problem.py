"""The problem of an attention kernel, apart from the values of q, k and v: lengths, mask, scale and cap."""

from dataclasses import dataclass

import torch

LOG2_E = 1.4426950408889634
LARGEST_FACTOR = 1e38  # times log2(e) it is still a float32


@dataclass(frozen=True)
class Problem:
    """The lengths of the sequences, the mask, the scale and the cap, as the launchers take them: already checked.

    max_seqlen_q, max_seqlen_k: rows of q and of k, in a pack at least those of its longest sequence.
    window_left, window_right: row i sees only the keys i + Nk - Nq - window_left <= j <= i + Nk - Nq + window_right;
    -1: no bound on that side. A causal mask is window_right = 0.
    scale: positive factor of the scores. softcap: c, where a score s becomes c tanh(s / c); 0: scores stay as they
    are.
    cu_seqlens_q, cu_seqlens_k: (S + 1,) int32, contiguous, where each of the S sequences of a pack starts;
    None where q, k and v are a batch of sequences of one length.
    """

    max_seqlen_q: int
    max_seqlen_k: int
    window_left: int
    window_right: int
    scale: float
    softcap: float = 0.0
    cu_seqlens_q: torch.Tensor | None = None
    cu_seqlens_k: torch.Tensor | None = None

    @property
    def packed(self) -> bool:
        """Whether q, k and v hold the sequences of a pack one after another."""
        return self.cu_seqlens_q is not None

    def sequences(self, batch: int) -> int:
        """How many sequences there are: S of a pack, else the batch size."""
        return batch if self.cu_seqlens_q is None else self.cu_seqlens_q.numel() - 1

    @property
    def cap_scale(self) -> float:
        """What a score is multiplied by before tanh: scale / softcap; 0 without a cap."""
        return min(self.scale / self.softcap, LARGEST_FACTOR) if self.softcap else 0.0

    @property
    def scale_log2(self) -> float:
        """The last factor of a score, in units of ln 2: the cap where there is one, else the scale."""
        return (self.softcap or self.scale) * LOG2_E
