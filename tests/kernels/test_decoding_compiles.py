"""The decoding kernels compiled ahead of time for an H100 (sm_90), as they would be launched: no GPU is needed.

Triton's interpreter runs programs that its compiler refuses, such as a loop that changes the shape of a variable.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kernels.interpreter import triton_available
from tests.gpu.decoding_reference import Cache, Latents

pytestmark = pytest.mark.skipif(not triton_available(), reason="Triton exists for Linux only")

SHARED_MEMORY_OF_AN_H100 = 227 * 1024  # bytes that one program may have
POINTERS = {
    torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16", torch.int32: "*i32",
}  # fmt: skip


@pytest.fixture
def launched(monkeypatch):
    """What the launchers would launch: (kernel, arguments), collected instead of run."""
    from kernels import tuning

    found: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(
        tuning, "launch_decoding", lambda kernel, programs, arguments: found.append((kernel, {**arguments}))
    )
    monkeypatch.setattr(
        tuning,
        "launch_untuned",
        lambda kernel, programs, arguments, options: found.append((kernel, arguments | options)),
    )
    return found


def shared_memory(kernel: Any, arguments: dict[str, Any], num_warps: int, num_stages: int) -> int:
    """Compile the kernel for these arguments, with what Triton's launcher would know of them; bytes it shares."""
    import triton
    from triton.backends.compiler import GPUTarget

    signature, constants, known = {}, {}, {}
    for index, parameter in enumerate(kernel.params):
        value = arguments[parameter.name]
        specialized = isinstance(value, int) and not parameter.do_not_specialize
        if parameter.is_constexpr or value is None or (specialized and value == 1):
            signature[parameter.name], constants[index,] = "constexpr", value
        elif torch.is_tensor(value):
            signature[parameter.name], known[index,] = POINTERS[value.dtype], [["tt.divisibility", 16]]
        else:
            signature[parameter.name] = "fp32" if isinstance(value, float) else "i32"
            if specialized and value % 16 == 0:
                known[index,] = [["tt.divisibility", 16]]
    source = triton.compiler.ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=known)
    options = {"num_warps": num_warps, "num_stages": num_stages, "enable_fp_fusion": True}
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options).metadata.shared


def launch(rows: int, width: int, rope_dim: int, dtype: torch.dtype, lengths: torch.Tensor | None) -> None:
    """Decode with tiles of `rows` heads and keys or latents of `width` numbers."""
    from kernels.flash_decoding_kernel import decode, decode_latent

    if rope_dim:
        q_latent, q_rope, latents, rope_keys = Latents(64, rows, width, rope_dim).random(dtype)
        decode_latent(q_latent, q_rope, latents, rope_keys, lengths, scale=0.1, splits=3)
    else:
        decode(*Cache(64, rows * 2, 2, width, width).random(dtype), lengths, scale=0.1, splits=3)


@pytest.mark.parametrize("lengths", [None, torch.zeros(3, dtype=torch.int32)], ids=["full", "ragged"])
@pytest.mark.parametrize("rope_dim", [0, 64], ids=["gqa", "mla"])
def test_both_kernels_compile(launched, rope_dim, lengths):
    launch(16, 128, rope_dim, torch.float16, lengths)
    (decoding, arguments), (merging, merged) = launched
    assert 0 < shared_memory(decoding, arguments | {"BLOCK_K": 64}, 4, 2) <= SHARED_MEMORY_OF_AN_H100
    assert shared_memory(merging, merged, 4, 3) <= SHARED_MEMORY_OF_AN_H100


@pytest.mark.exhaustive
@pytest.mark.parametrize("rope_dim", [0, 64, 256], ids=["gqa", "mla", "mla, wide RoPE"])
def test_every_candidate_fits_an_h100(launched, rope_dim):
    from kernels import tuning

    for (rows, element_size, width), tilings in tuning.DECODING_CANDIDATES.items():
        if width > 256 and not rope_dim:
            continue
        launched.clear()
        launch(rows, width, rope_dim, torch.bfloat16 if element_size == 2 else torch.float32, None)
        decoding, arguments = launched[0]
        assert arguments["BLOCK_Q"] == rows
        # The widest RoPE keys are rare: there the tuner may find that a later candidate does not fit.
        for tiling in tilings[:1] if rope_dim == 256 else tilings:
            block = {"BLOCK_K": tiling.block_k}
            used = shared_memory(decoding, arguments | block, tiling.num_warps, tiling.num_stages)
            assert used <= SHARED_MEMORY_OF_AN_H100
