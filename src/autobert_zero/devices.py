"""Where to compute."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from autobert_zero.errors import UserError


def find_device(name: str) -> torch.device:
    """Finds a device that can be used.

    Args:
        name: `auto` (a GPU where there is one), or a name of PyTorch's.

    Raises:
        UserError: It cannot be used.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise UserError(f"device {name!r} cannot be used: {reason}; try auto or cpu") from None
    if device.type == "meta":
        raise UserError("device 'meta' cannot be used: it computes nothing; try auto or cpu")
    return device


def describe_device(device: torch.device) -> str:
    """A device in words, for people who compare measurements."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device}, threads: {torch.get_num_threads()}" if device.type == "cpu" else str(device)


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Lets PyTorch compute with the given number of threads on the CPU; None leaves it as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
