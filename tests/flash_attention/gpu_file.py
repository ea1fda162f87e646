"""A file as the benchmark writes it on a GPU. No GPU gave these numbers: they are made up to agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LENGTHS = (1024, 4096, 16_384)
# TFLOP/s at LENGTHS. cuDNN is faster than ours twice, at most 300 / 200 times, FlashAttention-2 once.
RATES = {
    "ours": (150.0, 200.0, 400.0),
    "flash": (100.0, 210.0, 300.0),
    "cudnn": (120.0, 300.0, 440.0),
    "efficient": (90.0, 100.0, 110.0),
    "math": (20.0, 25.0, None),
}
BATCHES, KEYS = (1, 8), (4096, 16_384)


def contents() -> dict[str, Any]:
    """The object in the file: forward and backward at d = 64 and 128, three packs, decoding with GQA and MLA."""
    return {
        "date": "2026-11-27",
        "device": "NVIDIA H100 80GB HBM3",
        "torch": "2.11.0+cu130",
        "cuda": "13.0",
        "triton": "3.6.0",
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "command": "make gpu",
        "dense": [
            dense(n, head_dim, causal, direction, method, tflops)
            for head_dim in (64, 128)
            for causal in (False, True)
            for direction in ("forward", "backward")
            for method, rates in RATES.items()
            for n, tflops in zip(LENGTHS, rates, strict=True)
            if tflops is not None
        ],
        "varlen": [
            {"pack": pack, "causal": True, "pass": "forward", "method": method, "milliseconds": milliseconds}
            | ({"max_error": 4e-4} if method == "ours" else {})
            for pack in ("equal", "linear", "one long")
            for method, milliseconds in (("ours", 0.25), ("sdpa padded", 0.5))
        ],
        "decoding": [
            decoding(attention, batch, n_k, method)
            for attention in ("gqa", "mla")
            for batch in BATCHES
            for n_k in KEYS
            for method in ("ours", "sdpa")
        ],
    }


def dense(n: int, head_dim: int, causal: bool, direction: str, method: str, tflops: float) -> dict[str, Any]:
    """One row, whose time follows from its rate. 4 B H N^2 d operations, 2.5 times as many backward."""
    batch, heads = 16_384 // n, 2048 // head_dim
    operations = 4 * batch * heads * n**2 * head_dim
    operations *= (0.5 if causal else 1) * (2.5 if direction == "backward" else 1)
    return {
        "head_dim": head_dim,
        "value_dim": head_dim,
        "n": n,
        "causal": causal,
        "pass": direction,
        "dtype": "float16",
        "batch": batch,
        "heads": heads,
        "method": method,
        "milliseconds": operations / tflops / 1e9,
        "tflops": tflops,
    }


def decoding(attention: str, batch: int, n_k: int, method: str) -> dict[str, Any]:
    """One row: our kernel at 2.4 TB/s, SDPA at 1.2, a copy at 2.9."""
    size, rate = 4096.0 * batch * n_k, 2.4e12 if method == "ours" else 1.2e12
    return {
        "attention": attention,
        "batch": batch,
        "query_heads": 32,
        "key_heads": 8 if attention == "gqa" else 1,
        "head_dim": 128 if attention == "gqa" else 576,
        "n_k": n_k,
        "splits": 8,
        "method": method,
        "milliseconds": size / rate * 1e3,
        "bytes": size,
        "bytes_per_second": rate,
        "max_error": 1e-4,
        "copy_bytes_per_second": 2.9e12,
    }


def write(file: Path, found: dict[str, Any]) -> Path:
    """Writes the object into a file, and returns that."""
    file.write_text(json.dumps(found), encoding="utf-8")
    return file
