"""The interpreter worker: a separate program in which Triton kernels run on the CPU.

    python -m kernels.worker

It reads requests on standard input and writes answers on standard output (`kernels.protocol`), one at a time,
until standard input closes. Triton's interpreter patches its language module while a kernel runs and is not
thread-safe, and TRITON_INTERPRET decides at import whether kernels are interpreted at all; hence one process,
one thread. The site talks to it through `kernels.interpreter`.
"""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import IO, Any


def main() -> None:
    """Serve requests until standard input closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the site, which then closes standard input
    os.environ.update(
        TRITON_INTERPRET="1", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1"
    )
    # From here on, prints go to standard error; only answers go to the real standard output.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    operations = _load_operations()
    with answers:
        _serve(sys.stdin.buffer, answers, operations)


def _load_operations() -> dict[str, Callable[..., tuple[Any, ...]]]:
    """The operations by name; loads torch and triton, which is slow."""
    import numpy as np
    import torch

    from kernels.flash_attention_backward import backward
    from kernels.flash_attention_forward import forward, forward_trace
    from kernels.flash_decoding_kernel import decode, decode_latent
    from kernels.problem import Problem

    np.seterr(all="ignore")  # some lessons overflow on purpose
    torch.set_num_threads(1)

    def ready() -> tuple[Any, ...]:
        """Run what the pages run once, small: the interpreter rewrites each kernel's source on its first launch."""
        q = torch.zeros(1, 1, 16, 16)
        problem = Problem(16, 16, window_left=-1, window_right=0, scale=1.0)
        output, lse = forward(q, q, q, problem)
        backward(q, q, q, output, lse, q, lse, problem)
        return ()

    def on_problem(launcher: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
        """The launcher, taking the fields of its Problem one by one, as they are sent."""

        def launch(**arguments: Any) -> tuple[Any, ...]:
            problem = Problem(**{field.name: arguments.pop(field.name) for field in fields(Problem)})
            return launcher(**arguments, problem=problem)

        return launch

    launchers = {"forward": forward, "forward_trace": forward_trace, "backward": backward}
    decoding = {"decode": decode, "decode_latent": decode_latent}
    return {"ready": ready, **decoding} | {name: on_problem(launcher) for name, launcher in launchers.items()}


def _serve(
    requests: IO[bytes], answers: IO[bytes], operations: Mapping[str, Callable[..., tuple[Any, ...]]]
) -> None:
    import torch

    from kernels.protocol import read_message, write_message

    while True:
        try:
            header, arrays = read_message(requests)
        except EOFError:
            return
        try:
            tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
            results = operations[header["operation"]](**tensors, **header["options"])
        except Exception as error:  # the caller handles it, the worker goes on
            write_message(answers, {"error": type(error).__name__, "message": str(error)}, {})
        else:
            write_message(answers, {}, {str(index): result.numpy() for index, result in enumerate(results)})


if __name__ == "__main__":
    main()
