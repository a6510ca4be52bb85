"""Losses and gradient norms: judged on the device, and read by the host from time to time."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

MAX_STEPS_AHEAD = 10
"""Maximum number of steps that a device runs ahead of what the host has read."""


class Diverged(RuntimeError):
    """The loss left the range in which training makes sense; the message says when and how."""


class Readings:
    """The losses and norms of the steps since the host last read them.

    Attributes:
        stopped: Scalar on the device, changed in place: 1 from the first diverged step on, else 0. An
            optimiser that gets it as `found_inf` keeps the weights from before that step.

    Args:
        loss_limit: A loss above it counts as divergence.
        grace_steps: Number of first steps for which the limit does not hold.
        device: Device of the model.
    """

    def __init__(self, loss_limit: float, grace_steps: int, device: torch.device) -> None:
        largest = torch.finfo(torch.float32).max
        self._grace_steps = grace_steps
        self._strict = False
        # Rounded as on the device, so that host and device decide alike.
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
        """Sets the limits for a step, counted from 0, before it is computed."""
        if step >= self._grace_steps and not self._strict:
            self._limits[0].fill_(self._limit)
            self._strict = True

    def judge(self, loss: Tensor, norm: Tensor, *, decide: bool) -> Tensor:
        """Collects the figures of a step without the host.

        Args:
            loss: Scalar on the device.
            norm: Scalar on the device.
            decide: Whether the device decides if the training diverged.

        Returns:
            (3,) loss, norm, and `stopped` as it was before the step.
        """
        row = torch.stack([loss, norm.to(loss.dtype), self.stopped.to(loss.dtype)])
        if decide:
            # A NaN is not below a limit.
            torch.where((row <= self._limits).all(), self._no, self._yes, out=self.stopped)
        return row

    def add(self, step: int, row: Tensor) -> None:
        """Adds the result of `judge` for a step, counted from 0."""
        self._unread.append((step, row))

    def read(self) -> None:
        """Reads the steps that were not read yet; only here the host waits for the device.

        Raises:
            Diverged: A step diverged; those before it were read.
        """
        if not self._unread:
            return
        steps, rows = zip(*self._unread, strict=True)
        self._unread.clear()
        for step, (loss, norm, _) in zip(steps, torch.stack(rows).tolist(), strict=True):
            if not math.isfinite(loss):
                raise Diverged(f"loss is {loss} at step {step + 1}")
            if loss > self._limit and step >= self._grace_steps:
                raise Diverged(f"loss {loss:.1f} at step {step + 1} is more than twice a uniform guess's")
            if not math.isfinite(norm):
                raise Diverged(f"gradient is {norm} at step {step + 1}")
            self._unreported.append((step + 1, loss))

    def report(self, on_step: Callable[[int, float], None]) -> None:
        """Reads, and calls `on_step` with steps done and loss for every step that was not reported yet.

        Raises:
            Diverged: A step diverged; those before it were reported.
        """
        try:
            self.read()
        finally:
            while self._unreported:
                on_step(*self._unreported.pop(0))
