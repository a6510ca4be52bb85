"""Watches a candidate's training: its progress, and limits of its time and of its memory on a card."""

import time
from collections.abc import Callable

import torch

from autobert_zero.training.loop import OnStep

OnProgress = Callable[[int, int, float], None]
"""Called with steps done, steps in all, and the loss."""


class OverLimit(Exception):
    """A candidate takes more time or memory than it may."""


def offset_progress(on_step: OnProgress, before: int, total: int) -> OnStep:
    """Reports the steps of one rung as steps of the whole training, of which `before` were done earlier."""
    return lambda step, loss: on_step(before + step, total, loss)


def within_time(limit: float | None, start: float, on_step: OnProgress) -> OnProgress:
    """Stops a candidate after a number of seconds from `start` (of `time.perf_counter`); None: never.

    The returned function raises `OverLimit`.
    """
    if limit is None:
        return on_step

    def checked(done: int, total: int, loss: float) -> None:
        if time.perf_counter() - start > limit:
            raise OverLimit(f"trained for more than {limit:g} s after {done} of {total} steps")
        on_step(done, total, loss)

    return checked


def within_memory(limit: float, device: torch.device, on_step: OnProgress) -> OnProgress:
    """Stops a candidate that takes more gigabytes of a card, which counts what its own kernels allocate.

    The returned function raises `OverLimit`.
    """
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)

    def checked(done: int, total: int, loss: float) -> None:
        taken = (torch.cuda.max_memory_allocated(device) - before) / 1e9
        if taken > limit:
            raise OverLimit(f"took {taken:.3g} GB of memory, more than {limit:.3g}")
        on_step(done, total, loss)

    return checked
