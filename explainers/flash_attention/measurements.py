"""`measured.json`: what `make gpu` measured on a GPU. Its format, and its reader.

`python -m kernels.bench --json FILE` writes the file. Until it is there, nothing has been measured.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from explainers.contract.messages import Message

FILE = Path(__file__).with_name("measured.json")
COMMAND = "make gpu"  # measures, and writes the file

Direction = Literal["forward", "backward"]
Method = Literal["ours", "flash", "cudnn", "efficient", "math"]

_Count = Annotated[int, Field(gt=0)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Error = Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
_STRICT = ConfigDict(strict=True)  # a number written as text is not one


class UnreadableMeasurements(RuntimeError):
    """The file is not what the benchmark writes; the sentence says where."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Dense:
    """One pass of one method over a batch of equal lengths.

    head_dim, value_dim: numbers in a key and in a value. n: queries and keys of each sequence. batch: sequences.
    tflops: 10^12 operations a second, half of the N^2 pairs counted if causal.
    """

    head_dim: _Count
    value_dim: _Count
    n: _Count
    causal: bool
    direction: Direction = Field(alias="pass")
    dtype: str
    batch: _Count
    heads: _Count
    method: Method
    milliseconds: _Positive
    tflops: _Positive


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Varlen:
    """One pass over a pack of sequences: by our varlen kernel, or padded to the longest by SDPA."""

    pack: str
    causal: bool
    direction: Direction = Field(alias="pass")
    method: Literal["ours", "sdpa padded"]
    milliseconds: _Positive
    max_error: _Error = None


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Decoding:
    """One decode step: a query for each sequence, which reads its whole cache.

    batch: sequences. n_k: keys in the cache of each. splits: parts of a cache that are read in parallel. bytes: all
    that is read and written. copy_bytes_per_second: the same of a plain copy on this card.
    """

    attention: str
    batch: _Count
    query_heads: _Count
    key_heads: _Count
    head_dim: _Count
    n_k: _Count
    splits: _Count | None = None
    method: Literal["ours", "sdpa"]
    milliseconds: _Positive
    bytes: _Positive
    bytes_per_second: _Positive
    max_error: _Error = None
    copy_bytes_per_second: _Positive | None = None


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Machine:
    """Where, when and with what was measured. commit: of this project. command: what was typed."""

    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    device: str
    torch: str
    cuda: str
    triton: str
    commit: str
    command: str


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Measurements(Machine):
    """The whole file."""

    dense: tuple[Dense, ...]
    varlen: tuple[Varlen, ...] = ()
    decoding: tuple[Decoding, ...] = ()

    @property
    def machine(self) -> Machine:
        return Machine(
            date=self.date,
            device=self.device,
            torch=self.torch,
            cuda=self.cuda,
            triton=self.triton,
            commit=self.commit,
            command=self.command,
        )


def read_measurements(file: Path) -> Measurements | None:
    """The measurements in a file; None where there is none. Raises UnreadableMeasurements, with the first problem."""
    if not file.exists():
        return None
    try:
        found = TypeAdapter(Measurements).validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or Message("its beginning")
        raise _unreadable(file, place, first["msg"]) from None
    if problem := _contradiction(found.dense):
        raise _unreadable(file, "dense", problem)
    return found


def _contradiction(rows: tuple[Dense, ...]) -> Message | None:
    """Why the rows cannot be drawn as one line a method; None where they can."""
    if len(types := sorted({row.dtype for row in rows})) > 1:
        return Message("more than one dtype: {types}", types=", ".join(types))
    dims = Counter(head_dim for head_dim, _ in {(row.head_dim, row.value_dim) for row in rows})
    if several := [head_dim for head_dim, count in dims.items() if count > 1]:
        return Message("more than one value_dim with head_dim = {head_dim}", head_dim=several[0])
    points = Counter((row.method, row.n, row.head_dim, row.direction, row.causal) for row in rows)
    if twice := [point for point, count in points.items() if count > 1]:
        method, n, head_dim, direction, _ = twice[0]
        return Message(
            "{method}, {direction}, n = {n}, head_dim = {head_dim} is there twice",
            method=method,
            direction=direction,
            n=n,
            head_dim=head_dim,
        )
    return None


def _unreadable(file: Path, place: str, problem: str) -> UnreadableMeasurements:
    return UnreadableMeasurements(
        Message(
            "{file} cannot be used, at {place}: {problem}. {command} writes it anew.",
            file=file.name,
            place=place,
            problem=problem,
            command=COMMAND,
        )
    )
