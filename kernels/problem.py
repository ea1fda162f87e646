"""The problem of an attention kernel, apart from the values of q, k and v: lengths, mask and scale."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Problem:
    """The lengths of the sequences, the mask and the scale, as the launchers take them: already checked.

    max_seqlen_q, max_seqlen_k: rows of q and of k, in a pack at least those of its longest sequence.
    causal: whether row i sees only the keys j <= i + Nk - Nq. scale: factor of the scores.
    cu_seqlens_q, cu_seqlens_k: (S + 1,) int32, contiguous, where each of the S sequences of a pack starts;
    None where q, k and v are a batch of sequences of one length.
    """

    max_seqlen_q: int
    max_seqlen_k: int
    causal: bool
    scale: float
    cu_seqlens_q: torch.Tensor | None = None
    cu_seqlens_k: torch.Tensor | None = None

    @property
    def packed(self) -> bool:
        """Whether q, k and v hold the sequences of a pack one after another."""
        return self.cu_seqlens_q is not None

    def sequences(self, batch: int) -> int:
        """How many sequences there are: S of a pack, else the batch size."""
        return batch if self.cu_seqlens_q is None else self.cu_seqlens_q.numel() - 1
