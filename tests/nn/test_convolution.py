"""The light convolution against PyTorch's depth-wise convolution."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nn_samples import mask_of, seeds
from torch import Tensor
from torch.nn import functional as F

from autobert_zero.nn import convolution
from autobert_zero.nn.convolution import LightConvolution, convolve
from autobert_zero.nn.encoder import initialise
from autobert_zero.space import KERNEL_SIZES

ALGORITHMS = [convolution._shifted_sum, convolution._banded_product, convolve]


def _reference(x: Tensor, kernel: Tensor) -> Tensor:
    """(B, n, d), (H, k) -> (B, n, d) with PyTorch's own convolution."""
    width, (heads, size) = x.shape[-1], kernel.shape
    weight = kernel.repeat_interleave(width // heads, 0)[:, None]  # (d, 1, k)
    return F.conv1d(x.mT, weight, padding=size // 2, groups=width).mT


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(
    kernel=st.sampled_from(KERNEL_SIZES),
    tokens=st.integers(1, 300),
    heads=st.sampled_from([1, 2, 3]),
    seed=seeds,
)
@settings(max_examples=40, deadline=None)
def test_all_algorithms_are_the_depth_wise_convolution(
    algorithm: Callable[[Tensor, Tensor], Tensor], kernel: int, tokens: int, heads: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, tokens, 2 * heads, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(heads, kernel, generator=generator, dtype=torch.float64, requires_grad=True)
    grad_output = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    expected, got = _reference(x, weight), algorithm(x, weight)
    torch.testing.assert_close(got, expected)
    for ours, theirs in zip(
        torch.autograd.grad(got, (x, weight), grad_output),
        torch.autograd.grad(expected, (x, weight), grad_output),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("tokens", [1, 2, 64, 127, 128, 129, 255, 256, 257, 384])
@pytest.mark.parametrize("kernel", [3, 65])
def test_lengths_around_the_block(tokens: int, kernel: int) -> None:
    generator = torch.Generator().manual_seed(tokens)
    x = torch.randn(1, tokens, 4, generator=generator, dtype=torch.float64)
    weight = torch.randn(2, kernel, generator=generator, dtype=torch.float64)
    for algorithm in ALGORITHMS:
        torch.testing.assert_close(algorithm(x, weight), _reference(x, weight))


def _layer(kernel: int) -> LightConvolution:
    torch.manual_seed(0)
    layer = LightConvolution(kernel, width=8, heads=2).double()
    initialise(layer, std=0.5)
    return layer


def test_the_kernel_of_a_head_sums_to_one() -> None:
    """Far from both ends, a constant sequence stays as it is."""
    layer = _layer(9)
    x = torch.ones(1, 20, 8, dtype=torch.float64)
    mixed = convolve(x, layer.kernel.softmax(-1))
    torch.testing.assert_close(mixed[:, 4:16], x[:, 4:16])


@given(kernel=st.sampled_from(KERNEL_SIZES), tokens=st.integers(2, 150), data=st.data(), seed=seeds)
@settings(max_examples=60, deadline=None)
def test_padding_is_exact(kernel: int, tokens: int, data: st.DataObject, seed: int) -> None:
    layer = _layer(kernel)
    real = data.draw(st.integers(1, tokens - 1))
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, tokens, 8, generator=generator, dtype=torch.float64)
    mask = mask_of([real, real], tokens)
    output = layer(x.requires_grad_(), mask)[:, :real]
    other = torch.where(mask[:, :, None], x, 100 * x.flip(-1))
    assert torch.equal(layer(other, mask)[:, :real], output)
    torch.testing.assert_close(layer(x[:, :real], None), output)
    (gradient,) = torch.autograd.grad((output * output).sum(), x)
    assert not gradient[:, real:].any()


def test_padding_may_be_anywhere() -> None:
    """A masked token is as good as a zero, also in the middle (packed or left-padded sequences)."""
    layer = _layer(7)
    x = torch.randn(1, 12, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(1, 12, dtype=torch.bool)
    mask[0, 5] = False
    other = x.clone()
    other[0, 5] = 100.0
    assert torch.equal(layer(x, mask)[mask], layer(other, mask)[mask])


def test_the_softmax_makes_the_kernel_and_the_gate_opens_by_sigmoid() -> None:
    layer = _layer(5)
    x = torch.randn(2, 11, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    value, gate = layer.projection(x).chunk(2, -1)
    expected = layer.output(_reference(value * torch.sigmoid(gate), layer.kernel.softmax(-1)))
    torch.testing.assert_close(layer(x, None), expected)
