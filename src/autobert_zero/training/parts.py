"""The parts of a batch that a process computes, prepared for its device."""

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

import torch

from autobert_zero.training.transfer import ahead, pinned, runs_ahead

if TYPE_CHECKING:
    from accelerate import Accelerator


class Batch(Protocol):
    """The interface of a batch."""

    def __len__(self) -> int:
        """B, the number of sequences."""
        ...

    def part(self, start: int, stop: int) -> Self:
        """Some of the sequences."""
        ...


B = TypeVar("B", bound=Batch)


def own_parts(
    batches: Iterator[B], parts: int, device: torch.device, accelerator: "Accelerator | None"
) -> Generator[tuple[B, list[B]]]:
    """Yields each batch with the parts of it that this process computes one after the other.

    Raises:
        ValueError: A batch cannot be divided evenly.
    """
    processes = accelerator.num_processes if accelerator else 1
    first = (accelerator.process_index if accelerator else 0) * parts

    def prepare(batch: B) -> tuple[B, list[B]]:
        if processes * parts == 1:
            whole = pinned(batch) if runs_ahead(device) else batch
            return whole, [whole]
        share, rest = divmod(len(batch), processes * parts)
        if rest:
            raise ValueError(
                f"a batch of {len(batch)} cannot be divided evenly over {processes} processes with {parts} "
                "parts"
            )
        own = [batch.part(place * share, (place + 1) * share) for place in range(first, first + parts)]
        return batch, [pinned(part) for part in own] if runs_ahead(device) else own

    ready = map(prepare, batches)
    yield from ahead(ready) if runs_ahead(device) else ready
