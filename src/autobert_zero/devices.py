"""Finds a device to compute on, checks it, and sets what some devices need."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from autobert_zero.cudnn_attention import avoid_cudnn_fault
from autobert_zero.errors import UserError, counted

_MEMORY_WORDS = (
    "can't allocate memory",  # PyTorch on a CPU
    "not enough memory: you tried to allocate",  # the same on Windows
    "Storage size calculation overflowed",  # more bytes than a number can count
    "out of memory",  # drivers of CUDA and ROCm, and Apple's
    "_STATUS_ALLOC_FAILED",  # cuBLAS, and cuDNN before version 9
    "_ALLOCATION_FAILED",  # cuDNN
    "CUBLAS_STATUS_NOT_INITIALIZED",  # a full card has no room for its workspace
    "OUT_OF_DEVICE_MEMORY",  # Intel's
)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the model is too large; in most places PyTorch says so in words only."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _MEMORY_WORDS)


_TOO_OLD = ("no kernel image", "not compatible with the current PyTorch installation")

VISIBLE_CARDS = "CUDA_VISIBLE_DEVICES"


def find_device(name: str) -> torch.device:
    """Finds a device, and computes something on it.

    On Hopper cards it also switches cuDNN's attention off in releases of PyTorch where it may give NaN.

    Args:
        name: `auto` (a CUDA card where there is one, else Apple's GPU, else the CPU), or a name of PyTorch's.

    Raises:
        UserError: It cannot be used: there is none, it is full, or too old for this build of PyTorch.
    """
    advice = "try cpu" if name == "auto" else "try auto or cpu"
    try:
        device = torch.device(_automatic() if name == "auto" else name)
        if device.type == "meta":
            raise RuntimeError("it computes nothing")
        with warnings.catch_warnings(record=True) as caught:  # PyTorch says in a page why a card is too old
            torch.zeros(1, device=device).add_(1).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        shown = f"auto ({_automatic()})" if name == "auto" else name
        raise UserError(f"device {shown!r} cannot be used: {_device_error(error)}; {advice}") from None
    for warning in caught:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    avoid_cudnn_fault(device)
    return device


def _automatic() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _device_error(error: BaseException) -> str:
    """Why a device cannot be used, in a few words."""
    text = str(error)
    if out_of_memory(error):
        return "its memory is full, other processes use it (nvidia-smi lists those of NVIDIA cards)"
    if any(words in text for words in _TOO_OLD):
        cards = ", ".join(dict.fromkeys(map(torch.cuda.get_device_name, range(card_count()))))
        kernels = " ".join(torch.cuda.get_arch_list())
        return f"this build of PyTorch has no kernels for {cards}, only for {kernels}"
    if "invalid device ordinal" in text:
        last = card_count() - 1
        names = f"cuda:0 to cuda:{last}" if last else "cuda:0"
        return f"PyTorch sees {counted(card_count(), 'CUDA card')}, {names}"
    return text.splitlines()[0].split(". ")[0] if text else type(error).__name__


def card_count() -> int:
    """Number of CUDA cards that this process sees."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def cards_of(device: torch.device) -> tuple[str, ...]:
    """The cards that workers are spread over, each as a value of `CUDA_VISIBLE_DEVICES`.

    Returns:
        All that this process sees, or all slices of cards (MIG) that are named; none where the device is no
        CUDA card or names a single one.
    """
    if str(device) != "cuda":
        return ()
    names = [name.strip() for name in os.environ.get(VISIBLE_CARDS, "").split(",") if name.strip()]
    if names and all(name.startswith("MIG-") for name in names):
        return tuple(names)  # a process sees one slice of a card, however many are named
    return tuple((names or [str(index) for index in range(card_count())])[: card_count()])


def make_deterministic() -> None:
    """Restricts this process to kernels that give the same bits in every run; call it before any product."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


def release_cached_memory() -> None:
    """Gives the memory that PyTorch keeps for later back to the GPU.

    After a model that did not fit, the next large one may otherwise fail for want of one whole piece.
    """
    torch.cuda.empty_cache()  # does nothing where CUDA was not used
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def describe_device(device: torch.device) -> str:
    """A device in words, for people who compare measurements."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device}, threads: {torch.get_num_threads()}" if device.type == "cpu" else str(device)


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Lets PyTorch compute with the given number of threads on the CPU; None leaves it as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
