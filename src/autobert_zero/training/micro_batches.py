"""The micro-batches of a batch that a process computes, prepared for its device."""

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

import torch

from autobert_zero.training.transfer import pin, prefetch, runs_ahead

if TYPE_CHECKING:
    from accelerate import Accelerator


class Batch(Protocol):
    """The interface of a batch."""

    def __len__(self) -> int:
        """B, the number of sequences."""
        ...

    def slice(self, start: int, stop: int) -> Self:
        """The sequences from `start` up to, but not including, `stop`."""
        ...


B = TypeVar("B", bound=Batch)


def own_micro_batches(
    batches: Iterator[B], accumulation: int, device: torch.device, accelerator: "Accelerator | None"
) -> Generator[tuple[B, list[B]]]:
    """Yields each batch with the micro-batches of it that this process computes one after the other.

    Raises:
        ValueError: A batch cannot be divided evenly.
    """
    processes = accelerator.num_processes if accelerator else 1
    first = (accelerator.process_index if accelerator else 0) * accumulation

    def prepare(batch: B) -> tuple[B, list[B]]:
        if processes * accumulation == 1:
            batch = pin(batch) if runs_ahead(device) else batch
            return batch, [batch]
        share, rest = divmod(len(batch), processes * accumulation)
        if rest:
            raise ValueError(
                f"a batch of {len(batch)} cannot be divided evenly over {processes} processes with "
                f"{accumulation} micro-batches each"
            )
        starts = range(first * share, (first + accumulation) * share, share)
        own = [batch.slice(start, start + share) for start in starts]
        return batch, [pin(micro_batch) for micro_batch in own] if runs_ahead(device) else own

    ready = map(prepare, batches)
    yield from prefetch(ready) if runs_ahead(device) else ready
