"""The attention kernels compiled ahead of time for an H100: they fit, spill little, and do not serialize products.

Gluon cannot be interpreted, so on a CPU this is all that is known of the kernel for Hopper; tests/gpu runs it.
"""

from __future__ import annotations

import pytest
import torch

from kernels import tuning
from kernels.interpreter import triton_available
from tests.kernels.ahead_of_time import Compiled, compiled_for_hopper, compiled_with

pytestmark = pytest.mark.skipif(not triton_available(), reason="Triton exists for Linux only")
SHARED_MEMORY_OF_AN_H100 = 227 * 1024  # bytes that one program may have
FIRST = [(*row, tilings[0]) for row, tilings in tuning.CANDIDATES.items() if row[1] == 2 and row[2] <= 128]
OTHERS = [(*row, tiling) for row, tilings in tuning.CANDIDATES.items() for tiling in tilings[1:]]


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
@pytest.mark.parametrize("n", [4096, 4000], ids=["even", "ragged"])
@pytest.mark.parametrize("head_dim", [64, 128])
def test_the_kernel_for_hopper(head_dim: int, n: int, causal: bool) -> None:
    found = compiled_for_hopper(head_dim, n, causal)
    assert found.shared_bytes <= SHARED_MEMORY_OF_AN_H100
    assert not found.serialized
    # Without a causal mask the same mask ends every query tile, and the compiler keeps it from one to the next.
    kept_mask = head_dim == 64 and n == 4000 and not causal
    assert found.spilled_bytes <= (320 if kept_mask else 64)


def test_the_kernel_for_hopper_takes_bfloat16() -> None:
    assert not compiled_for_hopper(64, 1024, causal=True, dtype=torch.bfloat16).serialized


@pytest.mark.parametrize(("name", "size", "head_dim", "tiling"), FIRST, ids=str)
def test_the_tilings_that_hopper_takes(name: str, size: int, head_dim: int, tiling: tuning.Tiling) -> None:
    found = compiled_with(name, head_dim, tiling, causal=True, dtype=torch.float16)
    assert found.shared_bytes <= SHARED_MEMORY_OF_AN_H100
    assert not found.serialized


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "size", "head_dim", "tiling"), OTHERS, ids=str)
def test_every_tiling_fits(name: str, size: int, head_dim: int, tiling: tuning.Tiling) -> None:
    dtype = torch.float32 if size == 4 else torch.float16
    assert (
        compiled_with(name, head_dim, tiling, causal=True, dtype=dtype).shared_bytes
        <= SHARED_MEMORY_OF_AN_H100
    )


def test_a_kernel_that_cannot_be_good_is_found_out() -> None:
    """Three pipeline stages are known to serialize the products, and 255 registers not to be enough here."""
    found = compiled_with("forward", 128, tuning.Tiling(128, 64, 4, 3), causal=True, dtype=torch.float16)
    assert found.serialized
    assert found.spilled_bytes > 0
    assert isinstance(found, Compiled)
