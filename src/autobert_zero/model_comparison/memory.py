"""Measures the peak memory of an encoder in a new process, since memory is never returned completely."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np

from autobert_zero.errors import UserError
from autobert_zero.model_comparison import engines
from autobert_zero.model_comparison.models import load_encoder
from autobert_zero.progress import quiet_transformers


def peak_memory(name: str, file: Path | None, batch: int, length: int, vocabulary: int) -> float:
    """Measures the memory that loading an encoder and running one batch add to a process, on the CPU.

    Args:
        name: Name of the model, for PyTorch.
        file: ONNX file of the model, for ONNX Runtime; None: PyTorch.
        batch: Number of sequences.
        length: Tokens in a sequence.
        vocabulary: Number of token ids.

    Returns:
        Megabytes.

    Raises:
        UserError: The process was killed, as by a system whose memory runs out.
    """
    # Not a worker of `training.pool`, which keeps freed memory: its peak would be higher than a user's.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        try:
            return executor.submit(_peak, name, file, batch, length, vocabulary).result()
        except BrokenProcessPool:
            raise UserError(
                f"{name}: the process that measured its memory with {batch} x {length} tokens was killed, "
                "perhaps because memory ran out; choose a smaller --batch-size or --length"
            ) from None


def _peak(name: str, file: Path | None, batch: int, length: int, vocabulary: int) -> float:
    quiet_transformers()
    ids = np.random.default_rng(0).integers(0, vocabulary, (batch, length))
    if file is None:
        before = _resident()
        run = engines.run_with_pytorch(load_encoder(name), "cpu")
    else:
        import onnxruntime  # noqa: F401  # the library itself does not count

        before = _resident()
        run = engines.run_with_onnx(file)
    run(ids, np.ones_like(ids))
    return _resident() - before


def _resident() -> float:
    """The largest resident set of this process so far, in megabytes."""
    status = Path("/proc/self/status")
    if status.exists():  # rusage also counts the program that the process ran before this one
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes on macOS
