"""The KV cache that a model class of `transformers` keeps, read off a model without memory (torch's meta device)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

TOKENS = 48  # fewer than any window


@dataclass(frozen=True)
class Kept:
    """What one layer keeps of a token: (copies, length) of its keys and of its values; window: None keeps all."""

    vectors: tuple[tuple[int, int], ...]
    window: int | None

    @property
    def numbers(self) -> int:
        return sum(copies * length for copies, length in self.vectors)


class _Answers(TorchFunctionMode):
    """Lets a model ask for the value of a tensor without memory: the answer is yes, or 1."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in ("item", "__bool__", "__int__", "__index__") and getattr(args[0], "is_meta", False):
            return True if name == "__bool__" else 1
        return func(*args, **(kwargs or {}))


@contextmanager
def _half_precision() -> Iterator[None]:
    """As models are published; some kernels take nothing else."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def model_without_memory(model_type: str, config: Mapping[str, Any] | None = None) -> Any:
    """The causal language model of that type, on the meta device. config: keys of its class; the defaults if None."""
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    made = CONFIG_MAPPING[model_type](**(config or {}))
    name = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[model_type]
    model_class = getattr(transformers, name if isinstance(name, str) else name[0])
    with warnings.catch_warnings(), _half_precision(), torch.device("meta"):
        warnings.simplefilter("ignore")
        return model_class(made).eval()


def cache_of(model: Any) -> list[Kept]:
    """What each layer keeps after TOKENS tokens; layers without keys and values are left out."""
    tokens = torch.zeros(1, TOKENS, dtype=torch.long, device="meta")
    with torch.no_grad(), _half_precision(), torch.device("meta"), _Answers():
        cache = model(input_ids=tokens, use_cache=True).past_key_values
    if cache is None:
        return []
    return [kept for layer in cache.layers if (kept := _kept(layer)) is not None]


def _kept(layer: Any) -> Kept | None:
    keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
    if keys is None or values is None:
        return None
    vectors = tuple((tensor.shape[1], tensor.shape[-1]) for tensor in (keys, values))
    return Kept(vectors, getattr(layer, "sliding_window", None))
