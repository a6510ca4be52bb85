"""The Triton kernels of the convolution against its plain form: on a GPU, else in Triton's interpreter."""

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from unittest import mock

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from autobert_zero.nn import convolution
from autobert_zero.nn.convolution import FormChoice, LightConvolution, convolve, open_and_convolve
from autobert_zero.nn.encoder import initialise
from autobert_zero.nn.fused_convolution import fused_gated_convolution as fused

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
CARD = torch.cuda.is_available()
DEVICE = "cuda" if CARD else "cpu"


def triton_version() -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in version("triton").split(".")[:2])
    except PackageNotFoundError:
        return ()


computed = pytest.mark.skipif(not (INTERPRETED or CARD), reason="run by test_in_the_interpreter, or on a GPU")


@pytest.mark.slow
@pytest.mark.skipif(not triton_version(), reason="Triton is not installed")
@pytest.mark.skipif(
    (0,) < triton_version() < (3, 8), reason="the interpreter of this Triton fails with NumPy 2.4"
)
@pytest.mark.skipif(INTERPRETED or CARD, reason="the tests below run in this process")
def test_in_the_interpreter() -> None:
    """The tests of this file, in a process where kernels are interpreted on the CPU."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def reference(projected: Tensor, kernel: Tensor, mask: Tensor | None) -> Tensor:
    gated = F.glu(projected, -1)
    return convolve(gated if mask is None else gated.masked_fill(~mask[:, :, None], 0.0), kernel)


def sample(size: int, tokens: int, width: int, heads: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """States (2, n, 2 d), taps before their softmax, a mask with padding in the middle, and a gradient."""
    generator = torch.Generator().manual_seed(size * tokens)
    shapes = (2, tokens, 2 * width), (heads, size), (2, tokens), (2, tokens, width)
    projected, taps, draws, slope = (torch.randn(shape, generator=generator) for shape in shapes)
    return projected, taps, draws < 0.8, slope


# Widths of a head: 16, 12 and 5, no power of 2, and 80, which takes two programs.
CASES = [
    *[(size, 130, 32, 2) for size in (1, 3, 5, 31, 33, 65)],
    *[(size, tokens, 24, 2) for size in (9, 65) for tokens in (1, 7, 128)],
    *[(15, 70, 10, 2), (7, 65, 80, 1)],
]
SINGLE, HALF = (torch.float32, 1e-5), (torch.bfloat16, 2**-6)


@computed
@pytest.mark.parametrize(
    ("case", "masked", "precision"),
    [
        *[(case, True, SINGLE) for case in CASES],
        *[(case, False, SINGLE) for case in CASES[1::4]],
        *[(case, True, HALF) for case in CASES[::4]],
    ],
    ids=str,
)
def test_result_and_gradients(
    case: tuple[int, int, int, int], masked: bool, precision: tuple[torch.dtype, float]
) -> None:
    """To an error relative to the largest entry; what is read of padding makes no difference."""
    dtype, error = precision
    projected, taps, mask, slope = sample(*case)
    results = []
    for form, kind, device in ((reference, torch.float64, "cpu"), (fused, dtype, DEVICE)):
        states = projected.to(dtype).to(kind)
        if masked and form is fused:
            states[~mask] = torch.nan
        states, weights = states.to(device).requires_grad_(), taps.to(device).requires_grad_()
        mixed = form(states, weights.softmax(-1), mask.to(device) if masked else None)
        assert mixed.dtype == kind
        found = torch.autograd.grad(mixed, (states, weights), slope.to(dtype).to(device, kind))
        results.append([each.double().cpu() for each in (mixed.detach(), *found)])
    for expected, got in zip(*results, strict=True):
        assert (got - expected).abs().max() <= error * expected.abs().max().clamp_min(0.1)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA cards")
def test_the_second_card_computes_the_same() -> None:
    projected, taps, mask, _ = sample(9, 130, 32, 2)
    given = projected.float(), taps.float().softmax(-1), mask
    first, second = (fused(*(each.to(f"cuda:{card}") for each in given)).cpu() for card in (0, 1))
    torch.testing.assert_close(first, second)


@computed
def test_a_layer_chooses_it_and_compiles_whole() -> None:
    """Also with a gradient that is not contiguous, in a model that is compiled, and without gradients."""
    torch.manual_seed(0)
    layer = LightConvolution(5, 16, 2)
    initialise(layer, std=0.5)
    layer.to(DEVICE, torch.bfloat16)
    x = torch.randn(2, 20, 16, device=DEVICE, dtype=torch.bfloat16, requires_grad=True)
    mask = torch.arange(20, device=DEVICE) < torch.tensor([[20], [13]], device=DEVICE)
    slope = torch.randn(2, 16, 20, device=DEVICE, dtype=torch.bfloat16).mT
    parameters = [x, *layer.parameters()]
    expected = layer(x, mask)
    gradients = torch.autograd.grad(expected, parameters, slope)
    triton = (FormChoice("triton"),)
    with mock.patch.dict(convolution.CHOICES, {DEVICE: triton, f"{DEVICE} compiled": triton}):
        for run in (layer, torch.compile(layer, backend="aot_eager", fullgraph=True)):
            with mock.patch.object(convolution, "convolve", None):
                got = run(x, mask)
                torch.testing.assert_close(got, expected, rtol=0.02, atol=0.02)
                found = torch.autograd.grad(got, parameters, slope)
            for ours, theirs in zip(found, gradients, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.05)
        with torch.inference_mode():
            torch.testing.assert_close(layer(x, mask), expected, rtol=0.02, atol=0.02)


@computed
def test_the_operation_is_sound() -> None:
    projected, taps, mask, _ = sample(3, 5, 4, 1)
    given = projected.to(DEVICE).requires_grad_(), taps.to(DEVICE).requires_grad_(), mask.to(DEVICE)
    torch.library.opcheck(fused, given)


def test_without_the_kernels_the_plain_form_is_computed() -> None:
    """Where Triton is missing, and in a format that the kernels do not take."""
    projected, taps, mask, _ = sample(3, 9, 4, 2)
    with mock.patch.dict(convolution.CHOICES, cpu=(FormChoice("triton"),)):
        single = open_and_convolve(projected, taps, mask)
        with mock.patch.dict(convolution.FUSED, clear=True):
            half = open_and_convolve(projected.bfloat16(), taps, mask)
    torch.testing.assert_close(single, reference(projected, taps, mask))
    torch.testing.assert_close(half, reference(projected.bfloat16(), taps, mask))


def test_an_exported_program_has_the_operation_of_pytorch() -> None:
    layer = LightConvolution(3, 8, 2).eval()
    initialise(layer, std=0.5)
    x = torch.randn(1, 9, 8)
    with mock.patch.dict(convolution.CHOICES, cpu=(FormChoice("triton"),)):
        program = torch.export.export(layer, (x, None))
    assert not any("autobert_zero" in str(node.target) for node in program.graph.nodes)
    torch.testing.assert_close(program.module()(x, None), layer(x, None), rtol=1e-4, atol=1e-5)
