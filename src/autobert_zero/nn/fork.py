"""A state that goes two ways under autocast: on as it is, and in half precision into a product."""

from typing import Any

import torch
from torch import Tensor


def fork(x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns a tensor of any shape to keep, and the same for a product.

    Off the CPU under autocast the second is the half-precision copy that the product would make; the two
    gradients are then added as they come, without a copy of the second in single precision.
    """
    kind = x.device.type
    if kind == "cpu" or torch.compiler.is_compiling() or not torch.amp.is_autocast_available(kind):
        return x, x
    if not torch.is_autocast_enabled(kind) or x.dtype != torch.float32:
        return x, x
    kept, half = _Fork.apply(x, torch.get_autocast_dtype(kind))
    return kept, half


class _Fork(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        return x.view_as(x), x.to(dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, kept: Tensor, half: Tensor) -> tuple[Tensor, None]:
        return kept + half, None
