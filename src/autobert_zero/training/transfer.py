"""Copies to a device that runs ahead of the host, without making the host wait."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

T = TypeVar("T")

_WAIT_FOR = {"cpu", "mps"}
"""Types of devices that do not run ahead: a CPU is the host; Apple's AdamW cannot skip an update."""

_END = object()


def runs_ahead(device: torch.device) -> bool:
    """Whether the host queues work for the device without waiting for it."""
    return device.type not in _WAIT_FOR


def to_device(values: T, device: torch.device) -> T:
    """Copies tensors, or containers of them (see `map_tensors`), to a device.

    Where the device runs ahead, copies start from pinned memory and the host does not wait; tensors that
    `pin` placed side by side are one copy.
    """
    if not runs_ahead(device):
        return map_tensors(values, lambda tensor: tensor.to(device))
    copies: dict[tuple[int, torch.dtype], Tensor] = {}

    def move(tensor: Tensor) -> Tensor:
        if not tensor.is_pinned():
            return _pinned(tensor).to(device, non_blocking=True)
        memory = tensor.untyped_storage()
        key = memory.data_ptr(), tensor.dtype
        if key not in copies:
            whole = torch.empty(0, dtype=tensor.dtype).set_(memory)
            copies[key] = whole.to(device, non_blocking=True)
        return copies[key].as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())

    return map_tensors(values, move)


def pin(values: T) -> T:
    """Copies tensors, or containers of them, into memory that a device reads while the host goes on.

    Tensors of one format are placed side by side.
    """
    if not torch.accelerator.is_available():
        return values
    tensors: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors_in(values):
        tensors.setdefault(tensor.dtype, []).append(tensor)
    parts = {dtype: _side_by_side(same) for dtype, same in tensors.items()}
    # Each in its own shape again.
    return map_tensors(values, lambda tensor: next(parts[tensor.dtype]).view(tensor.shape))


def _side_by_side(tensors: list[Tensor]) -> Iterator[Tensor]:
    """The same numbers as flat tensors in one block of pinned memory."""
    memory = torch.cat([tensor.flatten() for tensor in tensors]).pin_memory()  # (all numbers,)
    return iter(memory.split([tensor.numel() for tensor in tensors]))


def _pinned(tensor: Tensor) -> Tensor:
    can = tensor.is_cpu and torch.accelerator.is_available()
    return tensor.pin_memory() if can and not tensor.is_pinned() else tensor


def map_tensors(values: T, change: Callable[[Tensor], Tensor]) -> T:
    """Applies a function to the tensors in dataclasses, dicts, tuples and lists; other values are kept."""
    result: Any = values
    if isinstance(values, Tensor):
        result = change(values)
    elif is_dataclass(values) and not isinstance(values, type):
        result = replace(
            values, **{f.name: map_tensors(getattr(values, f.name), change) for f in fields(values)}
        )
    elif isinstance(values, dict):
        result = {name: map_tensors(value, change) for name, value in values.items()}
    elif isinstance(values, tuple | list):
        result = type(values)(map_tensors(value, change) for value in values)
    return cast(T, result)


def tensors_in(values: object) -> list[Tensor]:
    """The tensors that `map_tensors` visits, in its order."""
    tensors: list[Tensor] = []

    def collect(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor

    map_tensors(values, collect)
    return tensors


def prefetch(values: Iterator[T]) -> Iterator[T]:
    """Yields the same values; a thread computes the next one while the current one is in use.

    When the generator is closed, the thread has computed one value more than were yielded.
    """
    with ThreadPoolExecutor(1, "batches") as thread:
        coming = thread.submit(next, values, _END)
        while (value := coming.result()) is not _END:
            coming = thread.submit(next, values, _END)
            yield cast(T, value)
