"""Runs of torch that must not meet: the process has one random state and one number of threads for all readers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch

_one_at_a_time = threading.Lock()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One run at a time, on one thread of torch.

    Afterwards the random state, from which dropout draws, and the number of threads are as before. Tensors as small as
    a page's gain nothing from more threads, and lose much where readers fight for the processors.
    """
    with _one_at_a_time, torch.random.fork_rng(devices=[]):
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
