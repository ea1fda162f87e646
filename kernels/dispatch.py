"""What every launch has in common: Triton must be there, the rows contiguous; CPU tensors go to the worker."""

from typing import Any

import torch

from kernels.interpreter import interpreter, triton_available


def ready_for_kernels(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors with their last dimension contiguous, since kernels take strides for all others.

    Raises RuntimeError where Triton is not installed.
    """
    if not triton_available():
        raise RuntimeError(
            "Triton is not installed here, so its kernels cannot run; it exists for Linux only."
        )
    return {
        name: tensor if tensor.stride(-1) == 1 else tensor.contiguous() for name, tensor in tensors.items()
    }


def interpreted(operation: str, arguments: dict[str, Any]) -> tuple[torch.Tensor, ...]:
    """What the worker's operation returns for these arguments, tensors on the CPU and values that JSON knows."""
    arrays = {name: value.detach().numpy() for name, value in arguments.items() if torch.is_tensor(value)}
    settings = {name: value for name, value in arguments.items() if name not in arrays}
    return tuple(torch.from_numpy(result) for result in interpreter.run(operation, arrays, settings))
