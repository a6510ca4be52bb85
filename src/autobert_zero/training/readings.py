"""Losses and gradient norms: whether a training may go on, decided where they are, and read when it suits."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

LATE = 10
"""Maximum number of steps that a device is ahead of what its host has read."""


class Diverged(RuntimeError):
    """The loss left the range in which training makes sense; the message says when and how."""


class Readings:
    """The losses and norms of the steps since the host last read them.

    Attributes:
        stopped: A scalar on the device, changed in place: 1 from the first step on that diverged, else 0. An
            optimiser that is given it as `found_inf` leaves the weights as they were before that step.

    Args:
        loss_limit: A loss above it is divergence.
        lenient: Steps, the first ones, for which that limit does not hold.
        device: Device of the model.
    """

    def __init__(self, loss_limit: float, lenient: int, device: torch.device) -> None:
        largest = torch.finfo(torch.float32).max
        self._lenient = lenient
        self._strict = False
        # Rounded as the device rounds it: host and device decide alike.
        self._limit = torch.tensor(min(loss_limit, largest), dtype=torch.float32).item()
        self._limits = torch.full((3,), largest, device=device)
        self._limits[2].fill_(0.5)
        self._no, self._yes = torch.zeros((), device=device), torch.ones((), device=device)
        self.stopped = torch.zeros((), device=device)
        self._unread: list[tuple[int, Tensor]] = []
        self._unreported: list[tuple[int, float]] = []

    def __len__(self) -> int:
        return len(self._unread)

    def begin(self, step: int) -> None:
        """Called before a step is computed, with its number counted from 0: which limits hold for it."""
        if step >= self._lenient and not self._strict:
            self._limits[0].fill_(self._limit)
            self._strict = True

    def judge(self, loss: Tensor, norm: Tensor, *, decide: bool) -> Tensor:
        """Puts together what is read of a step; nothing of it depends on the host.

        Args:
            loss: A scalar on the device.
            norm: A scalar on the device.
            decide: Whether the device is to find out if the training diverged.

        Returns:
            (3,) loss, norm, and `stopped` as it was before the step.
        """
        row = torch.stack([loss, norm.to(loss.dtype), self.stopped.to(loss.dtype)])
        if decide:
            # What is no number is not below a limit.
            torch.where((row <= self._limits).all(), self._no, self._yes, out=self.stopped)
        return row

    def add(self, step: int, row: Tensor) -> None:
        """Takes the result of `judge` for a step, counted from 0."""
        self._unread.append((step, row))

    def read(self) -> None:
        """Reads what was not read yet: the one moment at which the host waits for the device.

        Raises:
            Diverged: At a step; those before it were read.
        """
        if not self._unread:
            return
        steps, rows = zip(*self._unread, strict=True)
        self._unread.clear()
        for step, (loss, norm, _) in zip(steps, torch.stack(rows).tolist(), strict=True):
            if not math.isfinite(loss):
                raise Diverged(f"loss is {loss} at step {step + 1}")
            if loss > self._limit and step >= self._lenient:
                raise Diverged(f"loss {loss:.1f} at step {step + 1} is more than twice a uniform guess's")
            if not math.isfinite(norm):
                raise Diverged(f"gradient is {norm} at step {step + 1}")
            self._unreported.append((step + 1, loss))

    def report(self, on_step: Callable[[int, float], None]) -> None:
        """Reads, and tells the number of steps done and the loss of every step that was not reported yet.

        Raises:
            Diverged: At a step; those before it were reported.
        """
        try:
            self.read()
        finally:
            while self._unreported:
                on_step(*self._unreported.pop(0))
