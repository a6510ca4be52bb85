"""Recording what a function launches on a CUDA card, to replay it with one launch."""

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import TypeVar

import torch

T = TypeVar("T")


class CudaGraphs:
    """Records functions of a card with CUDA graphs."""

    def __init__(self, device: torch.device) -> None:
        index = torch.cuda.current_device() if device.index is None else device.index
        self._stream = _recorded_stream(index)

    def aside(self, run: Callable[[], T]) -> T:
        """Runs a function on the stream that is recorded, as PyTorch requires before a recording."""
        main = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(main)
        with torch.cuda.stream(self._stream):
            result = run()
        main.wait_stream(self._stream)
        return result

    def record(self, run: Callable[[], T]) -> tuple[T, Callable[[], None]]:
        """Records a function without computing it, while other threads may use the card, to pin memory.

        Returns:
            The function's result, which is computed by each replay, and the function that replays.

        Raises:
            RuntimeError: The function cannot be recorded, for example because it waits for the card. What
                follows runs as if it had not been tried.
        """
        graph, pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
        main = torch.cuda.current_stream(self._stream.device)
        recording = torch.cuda.graph(graph, pool, self._stream, "thread_local")
        try:
            with torch.cuda.stream(main), recording:  # a failed recording would leave its stream current
                result = run()
        except BaseException:
            _end_failed_recording(self._stream.device.index, pool)
            raise
        return result, graph.replay


def _end_failed_recording(card: int, pool: tuple[int, int]) -> None:
    """Ends what older releases of PyTorch leave in the state of a recording that failed."""
    # Until 2.11 the generator: dropout would fail.
    generator = torch.cuda.default_generators[card]
    generator.graphsafe_set_state(generator.clone_state())
    # Until 2.12 the allocator: releasing cached memory, and so the next recording, would fail. Until 2.7 the
    # function had another name.
    names = ("_cuda_endAllocateToPool", "_cuda_endAllocateCurrentStreamToPool")
    end = next(getattr(torch._C, name) for name in names if hasattr(torch._C, name))  # noqa: SLF001 - no public one
    with suppress(RuntimeError):  # it is ended already
        end(card, pool)


@cache
def _recorded_stream(card: int) -> torch.cuda.Stream:
    """The one stream of all recordings of a card: cuBLAS keeps memory for each stream it has computed on."""
    return torch.cuda.Stream(card)
