"""The Triton kernels of `triton_convolution` as an operation of PyTorch, which `convolution` may choose.

An operation with gradients of its own stays whole where a model is compiled or captured. Triton, which
PyTorch's builds for CUDA bring, is imported when it first runs.
"""

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from autobert_zero.nn.convolution import FUSED


@torch.library.custom_op(
    "autobert_zero::gated_convolution",
    mutates_args=(),
    schema="(Tensor projected, Tensor kernel, Tensor? mask) -> Tensor",
)
def fused_gated_convolution(projected: Tensor, kernel: Tensor, mask: Tensor | None) -> Tensor:
    """Opens the gates of (B, n, 2 d) and convolves, see `convolution.open_and_convolve`."""
    from autobert_zero.nn import triton_convolution

    return triton_convolution.forward(projected, kernel, mask)


@torch.library.custom_op(
    "autobert_zero::gated_convolution_backward",
    mutates_args=(),
    schema="(Tensor grad_output, Tensor projected, Tensor kernel, Tensor? mask) -> (Tensor, Tensor)",
)
def _backward(
    grad_output: Tensor, projected: Tensor, kernel: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The gradients of (B, n, 2 d) states and (H, k) taps."""
    from autobert_zero.nn import triton_convolution

    return triton_convolution.backward(grad_output, projected, kernel, mask)


@fused_gated_convolution.register_fake
def _fake_result(projected: Tensor, kernel: Tensor, mask: Tensor | None) -> Tensor:
    batch, tokens, width = projected.shape
    return projected.new_empty(batch, tokens, width // 2)


@_backward.register_fake
def _fake_gradients(
    grad_output: Tensor, projected: Tensor, kernel: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    return projected.new_empty(projected.shape), kernel.new_empty(kernel.shape)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gradients(ctx: Any, grad_output: Tensor) -> tuple[Tensor, Tensor, None]:
    return *_backward(grad_output, *ctx.saved_tensors), None


fused_gated_convolution.register_autograd(_gradients, setup_context=_keep)


if find_spec("triton") is not None:
    FUSED["triton"] = fused_gated_convolution
