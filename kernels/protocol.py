"""How the site and its interpreter worker speak: a JSON header and the raw bytes of arrays, in one message.

A message is the length of the header as four little-endian bytes, the header as JSON, then every array's
bytes in the order of header["arrays"]. Nothing in a message is code, so nothing can be run by reading it.
"""

import json
import math
import struct
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

LENGTH = struct.Struct("<I")
ALLOWED_DTYPES = ("float16", "float32", "int32")


def check_dtypes(arrays: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError for an array of a type that does not travel."""
    for name, array in arrays.items():
        if str(array.dtype) not in ALLOWED_DTYPES:
            raise ValueError(
                f"{name} must have one of the dtypes {', '.join(ALLOWED_DTYPES)}, got {array.dtype}."
            )


def write_message(stream: IO[bytes], header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write one message. `header` must be representable as JSON; it gets the key "arrays"."""
    described = [
        {"name": name, "dtype": str(array.dtype), "shape": array.shape} for name, array in arrays.items()
    ]
    text = json.dumps({**header, "arrays": described}).encode()
    stream.write(LENGTH.pack(len(text)))
    stream.write(text)
    stream.writelines(np.ascontiguousarray(array).data.cast("B") for array in arrays.values() if array.size)
    stream.flush()


def read_message(stream: IO[bytes]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read one message: its header and its arrays. Raises EOFError where the stream ends first."""
    (length,) = LENGTH.unpack(_read_exactly(stream, LENGTH.size))
    header = json.loads(bytes(_read_exactly(stream, length)))
    arrays = {}
    for described in header.pop("arrays"):
        dtype, shape = np.dtype(described["dtype"]), described["shape"]
        content = _read_exactly(stream, dtype.itemsize * math.prod(shape))
        arrays[described["name"]] = np.frombuffer(content, dtype=dtype).reshape(shape)
    return header, arrays


def _read_exactly(stream: IO[bytes], size: int) -> bytearray:
    """`size` bytes, in memory that may be written to (torch insists on that)."""
    content = bytearray(stream.read(size))
    if len(content) < size:
        raise EOFError("the stream ended inside a message")
    return content
