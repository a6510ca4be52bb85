"""A training step as one CUDA graph: recorded once, then replayed with one launch in place of hundreds."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from autobert_zero.errors import first_line
from autobert_zero.shared_config import Compile
from autobert_zero.training.cuda_graphs import CudaGraphs
from autobert_zero.training.precision import Precision, resolve_precision
from autobert_zero.training.transfer import each_tensor, moved, tensors_in

_WARM_UP = 3
"""Steps that run normally before one is recorded: they create the optimiser's state and choose kernels."""
_FEWEST_STEPS = 16
"""A training of fewer steps is not worth a recording."""

B = TypeVar("B")


def compiles(mode: Compile) -> bool:
    """Whether `torch.compile` compiles the model."""
    return mode in ("default", "reduce-overhead")


def captures(mode: Compile) -> bool:
    """Whether steps are replayed from a CUDA graph."""
    return mode in ("capture", "reduce-overhead")


def capture_refusal(device: torch.device, precision: Precision, processes: int = 1) -> str | None:
    """Why the steps of a training cannot be captured; None where they can."""
    if device.type != "cuda":
        return f"{device} has no CUDA graphs"
    if processes > 1:
        return "several processes exchange their gradients"
    if resolve_precision(precision, device) == "fp16":
        return "the loss of fp16 has a scale that changes"
    return None


class Graphs(Protocol):
    """Records steps; a protocol, so that tests can replay on a CPU."""

    def aside(self, run: Callable[[], Tensor]) -> Tensor:
        """Runs a function on the stream that will be recorded; other work waits for it."""
        ...

    def record(self, run: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]:
        """Records what a function launches, without computing it.

        Returns:
            The function's result, which is computed by each replay, and the function that replays.

        Raises:
            RuntimeError: The function cannot be recorded, for example because it waits for the device.
        """
        ...


def graphs_for(mode: Compile, device: torch.device, precision: Precision, steps: int) -> Graphs | None:
    """The recorder for a training in a single process; None where its steps run normally."""
    wanted = captures(mode) and steps >= _FEWEST_STEPS and capture_refusal(device, precision) is None
    return CudaGraphs(device) if wanted else None


class CapturedStep(Generic[B]):
    """A step that is recorded once several batches in a row have the same shapes.

    Batches of other shapes run normally. A step that cannot be recorded runs normally from then on, with a
    warning.

    Args:
        step: From a batch and its parts to a result on the device. Everything else that it reads and writes,
            such as weights, the optimiser's state and the learning rate, has to keep its memory. It may read
            only shapes of the batch, unless the batch is its single part.
        graphs: The recorder.
        device: Device of the model.
        reset: Cleans up after a failed recording.
    """

    def __init__(
        self,
        step: Callable[[B, Sequence[B]], Tensor],
        graphs: Graphs,
        device: torch.device,
        reset: Callable[[], None],
    ) -> None:
        self._step = step
        self._graphs = graphs
        self._device = device
        self._reset = reset
        self._failed = False
        self._next_shapes: list[tuple[torch.Size, torch.dtype]] | None = None
        self._alike_steps = 0
        self._recorded: list[tuple[torch.Size, torch.dtype]] | None = None
        self._replay: Callable[[], None] | None = None
        self._result: Tensor | None = None
        self._inputs: list[Tensor] = []

    def __call__(self, whole: B, parts: Sequence[B]) -> Tensor:
        """Runs a step; the caller owns the result."""
        shapes = [(tensor.shape, tensor.dtype) for tensor in tensors_in([whole, *parts])]
        if shapes == self._recorded:
            self._next_shapes = None
            # First to the device without waiting, as in a normal step, then to where the graph reads.
            torch._foreach_copy_(self._inputs, tensors_in(moved(list(parts), self._device)))
            return self._replayed()
        if shapes != self._next_shapes:
            self._next_shapes, self._alike_steps = shapes, 0
        self._alike_steps += 1
        if self._failed or self._alike_steps <= _WARM_UP or not self._record(whole, parts):
            return self._graphs.aside(partial(self._step, whole, parts))
        self._recorded = shapes
        return self._replayed()

    def _record(self, whole: B, parts: Sequence[B]) -> bool:
        """Records a step with a batch; returns whether that succeeded."""
        self._replay = self._recorded = self._result = None  # frees the previous graph's memory
        own = [each_tensor(part, Tensor.clone) for part in moved(list(parts), self._device)]
        only = len(parts) == 1 and parts[0] is whole
        try:
            recording = partial(self._step, own[0] if only else whole, own)
            self._result, self._replay = self._graphs.record(recording)
        except RuntimeError as error:
            self._failed = True
            self._reset()
            warnings.warn(f"the step cannot be captured and runs as it is: {first_line(error)}", stacklevel=2)
            return False
        self._inputs = tensors_in(own)
        return True

    def _replayed(self) -> Tensor:
        assert self._replay is not None
        assert self._result is not None
        self._replay()
        return self._result.clone()
