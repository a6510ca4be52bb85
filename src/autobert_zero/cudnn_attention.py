"""Switches the attention of cuDNN off where its backward pass may give NaN."""

import torch

from autobert_zero.tracing import called_while_compiling

_HOPPER = 9
"""Major compute capability of H100 and H200."""
_FAULT = (2, 11), (2, 14)
"""Releases of PyTorch, from and before, with the fault (pytorch/pytorch#196678)."""


@called_while_compiling
def avoid_cudnn_fault(device: torch.device) -> None:
    """Switches cuDNN's attention off, for the whole process, if it has a fault on this device.

    In the releases of `_FAULT` it is the first choice on Hopper, and its backward pass may give NaN: with a
    mask, at 64 tokens more than a multiple of 128, where a row's logsumexp is below -88.
    """
    if _is_faulty(device):
        torch.backends.cuda.enable_cudnn_sdp(False)


def _is_faulty(device: torch.device) -> bool:
    release = tuple(int(number) for number in torch.__version__.split("+")[0].split(".")[:2])
    since, before = _FAULT
    return (
        device.type == "cuda"
        and since <= release < before
        and torch.cuda.get_device_capability(device)[0] == _HOPPER
    )
