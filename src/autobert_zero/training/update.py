"""The update of a step: how large the gradient is, whether the weights change, and at which rate."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, get_total_norm

from autobert_zero.training.precision import SMALLEST_SCALE

if TYPE_CHECKING:
    from accelerate import Accelerator


def rate_on_host(optimizer: torch.optim.Optimizer) -> AbstractContextManager[Callable[[float], None]]:
    """The learning rate as a number; yields the function that sets it."""

    def set_rate(rate: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = rate

    return nullcontext(set_rate)


@contextmanager
def rate_on_device(
    optimizer: torch.optim.Optimizer, device: torch.device
) -> Iterator[Callable[[float], None]]:
    """The learning rate as a tensor, which recorded updates read; yields the function that sets it.

    Afterwards the optimiser has a number again: the last one.
    """
    tensor, last = torch.zeros((), device=device), 0.0

    def set_rate(rate: float) -> None:
        nonlocal last
        last = rate
        tensor.fill_(rate)

    for group in optimizer.param_groups:
        group["lr"], group["capturable"] = tensor, True
    try:
        yield set_rate
    finally:
        for group in optimizer.param_groups:
            group["lr"], group["capturable"] = last, False


def judged_norm(norm: Tensor, scaler: torch.amp.GradScaler) -> Tensor:
    """The norm, a scalar; 0 while the loss scale of fp16 can fall: an overflow is no divergence yet."""
    if not scaler.is_enabled():
        return norm
    return torch.where(scaler.scale(torch.ones_like(norm)) > SMALLEST_SCALE, torch.zeros_like(norm), norm)


def update_unless(
    optimizer: torch.optim.Optimizer,
    stopped: Tensor,
    norm: Tensor,
    scale: Tensor | None,
    scaler: torch.amp.GradScaler,
) -> None:
    """Updates the weights, unless the device finds that the training diverged or the gradient overflowed.

    Args:
        optimizer: A fused one, which reads a scale and a flag on the device, as GradScaler sets them.
        stopped: Scalar: 1 if the weights must not change, else 0.
        norm: Scalar: norm of the gradient.
        scale: Scalar: divisor of the gradient; None if it is clipped already.
        scaler: Loss scaler of fp16.
    """
    if scaler.is_enabled():
        stopped = torch.maximum(stopped, norm.isfinite().logical_not().float())
    optimizer.found_inf, optimizer.grad_scale = stopped, scale  # type: ignore[attr-defined]
    try:
        optimizer.step()
    finally:
        del optimizer.found_inf, optimizer.grad_scale  # type: ignore[attr-defined]


def clipped_norm(
    model: nn.Module, limit: float, accelerator: "Accelerator | None", clips_in_update: bool
) -> Tensor:
    """The norm of the gradient, a scalar; clips it to the limit unless the update does."""
    if clips_in_update and accelerator is None:
        return get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    clip: Callable[..., Tensor] = accelerator.clip_grad_norm_ if accelerator else clip_grad_norm_
    norm = clip(model.parameters(), limit)
    whole: Tensor = norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # FSDP's are distributed
    return whole
