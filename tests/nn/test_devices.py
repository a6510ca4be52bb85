"""Half precision, compilation and GPUs: the same layers, near the same numbers."""

import pytest
import torch
from torch import nn

from autobert_zero import zoo
from autobert_zero.nn import EncoderConfig
from autobert_zero.nn.encoder import Encoder, initialise
from autobert_zero.nn.layer import EncoderLayer
from autobert_zero.space import Backbone, Convolution, Layer

SIZES = EncoderConfig(vocab_size=50, width=32, heads=4, max_positions=256)
LAYERS = list(dict.fromkeys([*zoo.autobert_zero_base().layers, *zoo.efficient_attention(1).layers]))
BACKBONE = Backbone(tuple(LAYERS))


def layer_of(layer: Layer) -> EncoderLayer:
    torch.manual_seed(0)
    module = EncoderLayer(layer, SIZES)
    initialise(module, std=0.2)
    return module


def encoder() -> Encoder:
    torch.manual_seed(0)
    model = Encoder(BACKBONE, SIZES)
    initialise(model, std=0.2)
    return model


def batch(device: str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, (2, 150): longer than a block of the convolution, padded in the second sequence."""
    ids = torch.randint(50, (2, 150), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(150) < torch.tensor([[150], [70]])
    return ids.to(device), mask.to(device)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_a_block_compiles_without_a_break(layer: Layer) -> None:
    torch.compiler.reset()
    module = layer_of(layer)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    x = torch.randn(2, 150, 32, generator=torch.Generator().manual_seed(2))
    for mask in (None, batch()[1]):
        expected, got = module(x, mask), compiled(x, mask)
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
        parameters = list(module.parameters())
        toward = torch.randn_like(expected)
        for a, b in zip(
            torch.autograd.grad(got, parameters, toward),
            torch.autograd.grad(expected, parameters, toward),
            strict=True,
        ):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("layer", [*LAYERS, Convolution(31)], ids=str)
def test_half_precision_is_near_single(layer: Layer, dtype: torch.dtype) -> None:
    module = layer_of(layer).eval()
    x, (_, mask) = torch.randn(2, 150, 32), batch()
    with torch.no_grad():
        expected = module(x, mask)[mask]
        got = module.to(dtype)(x.to(dtype), mask)[mask]
    assert got.dtype == dtype
    error = (got.float() - expected).abs().mean() / expected.abs().mean()
    assert error < (0.03 if dtype == torch.bfloat16 else 0.004)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_gradients_in_half_precision_are_near_single(dtype: torch.dtype) -> None:
    """Through all published layers at once, under autocast."""
    ids, mask = batch()
    model = encoder()

    def gradient(enabled: bool) -> torch.Tensor:
        model.zero_grad()
        with torch.autocast("cpu", dtype, enabled=enabled):
            hidden = model(ids, mask)
        hidden[mask].float().square().sum().div(1000).backward()
        parts = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        return torch.cat(parts)

    expected, got = gradient(False), gradient(True)
    assert got.isfinite().all()
    assert nn.functional.cosine_similarity(got, expected, 0) > (0.98 if dtype == torch.bfloat16 else 0.999)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_gpu_gives_the_same(dtype: torch.dtype) -> None:
    ids, mask = batch()
    model = encoder().eval()
    with torch.no_grad():
        expected = model(ids, mask)[mask]
        model.cuda().to(dtype)
        got = model(*batch("cuda"))[mask.cuda()].float().cpu()
    error = (got - expected).abs().mean() / expected.abs().mean()
    assert error < {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}[dtype]


def test_nothing_is_made_on_another_device() -> None:
    """On the meta device: a tensor that a layer makes on the CPU would not fit."""
    model = encoder().to("meta")
    ids, mask = batch("meta")
    assert model(ids, mask).device.type == "meta"
    assert model(ids).shape == (2, 150, 32)
