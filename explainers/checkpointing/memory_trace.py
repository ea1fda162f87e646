"""Every allocation and every free of a training step, seen from the dispatcher: on real tensors or on fake ones.

Each operation of torch passes a `TorchDispatchMode` on its way to its kernel. A storage that it returns and that was
not known before is an allocation; a weak reference reports when the last tensor on that storage is gone. Views and
in-place operations return known storages, so they are not events. Memory that a kernel allocates and frees itself
(scratch memory) is not seen, neither here nor by torch's own MemTracker.

The category of a storage is known only later (a result of the forward pass is an activation if it outlives that pass),
so events are recorded as plain numbers and categorized once at the end.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Category = Literal[
    "parameter", "optimizer_state", "gradient", "kept_activation", "recomputed_activation", "temporary"
]
CATEGORIES: tuple[Category, ...] = get_args(Category)
Phase = Literal["forward", "recompute", "backward", "optimizer"]
PHASES: tuple[Phase, ...] = get_args(Phase)


@dataclass(frozen=True, eq=False)
class Timeline:
    """The events of a step in their order, as columns of length `events`.

    allocates: True where memory is allocated, False where it is freed. sizes: bytes. category: index into CATEGORIES.
    operation: index into `operations`, which allocated the memory, also where it is freed. layer: the block at work,
    counted from 0; -1 for the embedding and `layers` for the last norm, head and loss. phase: index into PHASES.
    resident: bytes alive before the step (weights and tables). forward_ends: the number of events of the forward pass
    and of what precedes it.
    """

    allocates: np.ndarray
    sizes: np.ndarray
    category: np.ndarray
    operation: np.ndarray
    layer: np.ndarray
    phase: np.ndarray
    operations: tuple[str, ...]
    resident: int
    forward_ends: int

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def changes(self) -> np.ndarray:
        """Bytes by which each event changes the live memory."""
        return np.where(self.allocates, self.sizes, -self.sizes)

    @property
    def live_bytes(self) -> np.ndarray:
        """Bytes alive after each event, resident ones included."""
        return self.resident + np.cumsum(self.changes)

    @property
    def by_category(self) -> np.ndarray:
        """(categories, events): bytes alive after each event, by category."""
        changes = np.where(self.category == np.arange(len(CATEGORIES))[:, None], self.changes, 0)
        changes[CATEGORIES.index("parameter"), :1] += self.resident
        return np.cumsum(changes, axis=1)

    def of(self, *categories: Category) -> np.ndarray:
        """Bytes of these categories together that are alive after each event."""
        return self.by_category[[CATEGORIES.index(category) for category in categories]].sum(axis=0)

    @property
    def peak(self) -> int:
        """The first event after which the most memory is alive."""
        return int(self.live_bytes.argmax())

    def differences(self, other: Timeline) -> int:
        """How many events differ in memory, category, operation, layer or phase; 0 for equal timelines."""
        shared = min(len(self), len(other))
        same = np.ones(shared, bool)
        for name in ("allocates", "sizes", "category", "layer", "phase"):
            same &= getattr(self, name)[:shared] == getattr(other, name)[:shared]
        names, others = np.array(self.operations), np.array(other.operations)
        same &= names[self.operation[:shared]] == others[other.operation[:shared]]
        return int((~same).sum()) + abs(len(self) - len(other)) + (self.resident != other.resident)

    def with_gradients_as_activations(self) -> Timeline:
        """The same events with every gradient taken for an activation."""
        gradient, kept = CATEGORIES.index("gradient"), CATEGORIES.index("kept_activation")
        return replace(self, category=np.where(self.category == gradient, kept, self.category))

    def rows(self) -> np.ndarray:
        """(events,) of dicts, as the command line prints them; blocks are counted from 0, as in torch."""
        columns = zip(
            self.allocates.tolist(),
            self.sizes.tolist(),
            self.category.tolist(),
            self.operation.tolist(),
            self.layer.tolist(),
            self.phase.tolist(),
            self.live_bytes.tolist(),
            strict=True,
        )
        rows = np.empty(len(self), object)
        for index, (allocates, size, category, operation, layer, phase, live_bytes) in enumerate(columns):
            rows[index] = {
                "index": index,
                "kind": "alloc" if allocates else "free",
                "bytes": size,
                "category": CATEGORIES[category],
                "operation": self.operations[operation],
                "layer": layer,
                "phase": PHASES[phase],
                "live_bytes": live_bytes,
            }
        return rows


class MemoryTrace(TorchDispatchMode):
    """Records allocations and frees while it is entered, with the phase and layer that the step announces.

    on_change: is called with (phase, layer) whenever either changes.
    """

    def __init__(self, on_change: Callable[[Phase, int], None] = lambda phase, layer: None) -> None:
        super().__init__()
        self.phase: Phase = "forward"
        self.layer = -1
        self.resident = 0
        self.forward_ends = 0
        self._on_change = on_change
        self._before_recompute: tuple[Phase, int] = ("forward", -1)
        self._recomputed_from: int | None = None  # the first storage of a recomputation that has just ended
        self._alive: dict[int, weakref.ref[Any]] = {}  # address of a storage -> its weak reference
        self._number: dict[int, int] = {}  # address of a live storage -> its number
        # One entry per storage, in the order of allocation.
        self._sizes: list[int] = []
        self._operations: list[Any] = []
        self._categories: dict[int, Category] = {}
        # One entry per event: number of the storage, whether it is allocated, and where the step was.
        self._events: list[tuple[int, bool, Phase, int]] = []

    # ------------------------------------------------------------------------------------- what torch calls

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if self._recomputed_from is not None:
            self._resume()
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self._record(result, func)
        elif isinstance(result, (tuple, list)):
            for part in result:
                if isinstance(part, Tensor):
                    self._record(part, func)
        return result

    def _record(self, tensor: Tensor, func: Any) -> None:
        storage = tensor.untyped_storage()
        address = storage._cdata
        if address in self._alive:
            return
        size = storage.nbytes()
        if size == 0:
            return
        self._events.append((self._track(storage, address, size, func), True, self.phase, self.layer))

    def _track(self, storage: Any, address: int, size: int, func: Any) -> int:
        number = len(self._sizes)
        self._sizes.append(size)
        self._operations.append(func)
        self._number[address] = number
        self._alive[address] = weakref.ref(storage, lambda _: self._freed(address))
        return number

    def _freed(self, address: int) -> None:
        del self._alive[address]
        self._events.append((self._number.pop(address), False, self.phase, self.layer))

    # ------------------------------------------------------------------------------------- what the step announces

    def count_as_resident(self, tensors: Iterable[Tensor]) -> None:
        """These tensors existed before the step: their memory is resident, not an event."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            if storage._cdata not in self._alive:
                number = self._track(storage, storage._cdata, storage.nbytes(), "before the step")
                self._categories[number] = "parameter"
                self.resident += storage.nbytes()

    def categorize(self, category: Category, tensors: Iterable[Tensor]) -> None:
        """Puts these tensors into a category, before any rule does."""
        for tensor in tensors:
            self._categories[self._number[tensor.untyped_storage()._cdata]] = category

    def enter(self, phase: Phase, layer: int) -> None:
        """From now on the step is in this phase of this layer."""
        if self._recomputed_from is not None:
            self._resume()
        self.phase, self.layer = phase, layer
        self._on_change(phase, layer)

    def end_forward(self) -> None:
        """The forward pass is over: what is alive and has no category yet is kept for the backward pass."""
        self.forward_ends = len(self._events)
        for number in self._number.values():
            self._categories.setdefault(number, "kept_activation")

    @contextlib.contextmanager
    def recomputing(self) -> Iterator[None]:
        """Around code that recomputes activations: what it has allocated and is alive at its end was recomputed.

        torch ends a recomputation early, by an exception whose frames keep temporaries alive until it is caught, so the
        recomputation ends only with the next operation.
        """
        self._before_recompute = (self.phase, self.layer)
        first = len(self._sizes)
        self.phase = "recompute"
        try:
            yield
        finally:
            self._recomputed_from = first

    def _resume(self) -> None:
        """The backward pass continues after a recomputation."""
        first, self._recomputed_from = self._recomputed_from, None
        for number in self._number.values():
            if first is not None and number >= first:
                self._categories.setdefault(number, "recomputed_activation")
        self.enter(*self._before_recompute)

    # ------------------------------------------------------------------------------------- the result

    def timeline(self) -> Timeline:
        """All events so far, categorized."""
        operations = {func: index for index, func in enumerate(dict.fromkeys(self._operations))}
        sizes = np.array(self._sizes, np.int64)
        operation = np.array([operations[func] for func in self._operations], np.int32)
        category = np.full(len(sizes), CATEGORIES.index("temporary"), np.int8)
        for number, name in self._categories.items():
            category[number] = CATEGORIES.index(name)
        storage = np.array([event[0] for event in self._events], np.int64)
        return Timeline(
            allocates=np.array([event[1] for event in self._events], bool),
            sizes=sizes[storage],
            category=category[storage],
            operation=operation[storage],
            layer=np.array([event[3] for event in self._events], np.int32),
            phase=np.array([PHASES.index(event[2]) for event in self._events], np.int8),
            operations=tuple(_name(func) for func in operations),
            resident=self.resident,
            forward_ends=self.forward_ends,
        )


def _name(func: Any) -> str:
    """aten.mm for aten.mm.default."""
    return func if isinstance(func, str) else str(func).removesuffix(".default")
