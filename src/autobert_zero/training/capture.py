"""A training step as one CUDA graph: recorded once, then replayed with one launch in place of hundreds."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from autobert_zero.errors import first_line
from autobert_zero.shared_config import Compile
from autobert_zero.training.cuda_graphs import CudaGraphs
from autobert_zero.training.precision import Precision, resolve_precision
from autobert_zero.training.transfer import map_tensors, tensors_in, to_device

_WARM_UP = 3
"""Steps that run normally before one is recorded: they create the optimiser's state and choose kernels."""
FEWEST_STEPS = 16
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
    wanted = captures(mode) and steps >= FEWEST_STEPS and capture_refusal(device, precision) is None
    return CudaGraphs(device) if wanted else None


class CapturedStep(Generic[B]):
    """A step that is recorded once several batches in a row have the same shapes.

    These steps run on the memory that the graph will read, so that what `torch.compile` and the choice of
    kernels depend on is settled before the recording. Batches of other shapes run normally. A step that
    cannot be recorded runs normally from then on, with a warning.

    Args:
        step: From a batch and its micro-batches to a result on the device. Everything else that it reads and
            writes, such as weights, the optimiser's state and the learning rate, has to keep its memory. It
            may read only shapes of the batch, unless the batch is its only micro-batch.
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
        self._next: _Inputs[B] | None = None
        self._alike_steps = 0
        self._recorded: _Recorded[B] | None = None

    def __call__(self, batch: B, micro_batches: Sequence[B]) -> Tensor:
        """Runs a step; the caller owns the result."""
        if self._failed:
            return self._graphs.aside(partial(self._step, batch, micro_batches))
        shapes = _shapes(batch, micro_batches)
        if self._recorded is not None and shapes == self._recorded.inputs.shapes:
            self._next = None
            self._recorded.inputs.fill(micro_batches, self._device)
            return self._recorded.replayed()
        if self._next is None or shapes != self._next.shapes:
            self._next, self._alike_steps = _Inputs.like(batch, micro_batches, self._device), 0
        else:
            self._next.fill(micro_batches, self._device)
        self._alike_steps += 1
        run = partial(self._step, self._next.batch, self._next.micro_batches)
        if self._alike_steps <= _WARM_UP:
            return self._graphs.aside(run)
        self._recorded = None  # frees the memory of the previous graph
        self._recorded = self._record(run, self._next)
        return self._graphs.aside(run) if self._recorded is None else self._recorded.replayed()

    def _record(self, run: Callable[[], Tensor], inputs: "_Inputs[B]") -> "_Recorded[B] | None":
        """Records a step; None if that fails."""
        try:
            return _Recorded(inputs, *self._graphs.record(run))
        except RuntimeError as error:
            self._failed, self._next = True, None
            self._reset()
            warnings.warn(f"the step cannot be captured and runs as it is: {first_line(error)}", stacklevel=3)
            return None


_Shapes = list[tuple[torch.Size, torch.dtype]]


def _shapes(batch: object, micro_batches: Sequence[object]) -> _Shapes:
    return [(tensor.shape, tensor.dtype) for tensor in tensors_in([batch, *micro_batches])]


@dataclass(frozen=True)
class _Inputs(Generic[B]):
    """A batch in memory of its own on the device, which later batches are copied into."""

    shapes: _Shapes
    batch: B
    micro_batches: Sequence[B]

    @classmethod
    def like(cls, batch: B, micro_batches: Sequence[B], device: torch.device) -> "_Inputs[B]":
        copies = to_device(list(micro_batches), device)
        own = [map_tensors(micro_batch, Tensor.clone) for micro_batch in copies]
        only = len(micro_batches) == 1 and micro_batches[0] is batch
        return cls(_shapes(batch, micro_batches), own[0] if only else batch, own)

    def fill(self, micro_batches: Sequence[B], device: torch.device) -> None:
        # First to the device without waiting, as in a normal step, then to where the graph reads.
        copies = to_device(list(micro_batches), device)
        torch._foreach_copy_(tensors_in(self.micro_batches), tensors_in(copies))


@dataclass(frozen=True)
class _Recorded(Generic[B]):
    """A recorded step."""

    inputs: _Inputs[B]
    result: Tensor
    replay: Callable[[], None]

    def replayed(self) -> Tensor:
        self.replay()
        return self.result.clone()
