"""Serialise torch runs: the random state and the number of threads belong to the whole process."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch

_one_at_a_time = threading.Lock()


@contextlib.contextmanager
def exclusive_torch() -> Iterator[None]:
    """Hold torch exclusively, on one thread, and restore the CPU random state and the number of threads on exit.

    Other threads that ask for it wait. Dropout draws from the random state. Tensors as small as a page's gain nothing
    from more threads, and are much slower when readers compete for the processors. Not reentrant.
    """
    with _one_at_a_time, torch.random.fork_rng(devices=[]):
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
