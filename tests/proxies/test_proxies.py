"""Proxies: what each measures, against a second way to compute it, and what all of them promise."""

import copy
import math
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from nn_samples import SMALL, backbone_of, layers_of, seeds
from torch import Tensor, nn
from torch.nn import functional as F

from autobert_zero import cost
from autobert_zero.data.masking import MaskedBatch
from autobert_zero.nn import EncoderConfig, MaskedLM
from autobert_zero.proxies import PROXIES, Untrained
from autobert_zero.space import Backbone, Space, sample_backbone
from autobert_zero.zoo import STACKS

EXACT = 1e-9


def batch_of(seed: int = 0, sequences: int = 4, tokens: int = 9) -> MaskedBatch:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(SMALL.vocab_size, (sequences, tokens), generator=generator)
    rows = torch.arange(1, sequences * tokens, 4)
    return MaskedBatch(ids, rows, torch.randint(SMALL.vocab_size, (len(rows),), generator=generator))


def model_of(backbone: Backbone, seed: int = 0, dropout: float = 0.0) -> MaskedLM:
    torch.manual_seed(seed)
    sizes = EncoderConfig(SMALL.vocab_size, SMALL.width, SMALL.heads, max_positions=80, dropout=dropout)
    return MaskedLM(backbone, sizes)


def matrices(model: nn.Module) -> list[Tensor]:
    return [part.weight for part in model.modules() if isinstance(part, nn.Linear)]


@pytest.mark.parametrize("name", PROXIES)
@given(seed=seeds)
@settings(max_examples=8)
def test_not_noise_and_nothing_is_left(name: str, seed: int) -> None:
    """The same in both precisions and every time, hardly moved by rounding the weights; nothing is left."""
    model = model_of(backbone_of(seed, layers=3), dropout=0.5).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    proxy, batch = PROXIES[name], batch_of()
    value = proxy(model, batch)
    assert type(value) is float
    assert math.isfinite(value)
    assert proxy(model, batch) == value
    assert proxy(copy.deepcopy(model).double(), batch) == value
    rounded = copy.deepcopy(model).double()
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in rounded.parameters():
            noise = torch.randn(weight.shape, generator=random, dtype=weight.dtype)
            weight.mul_(1 + 2**-24 * noise)  # the unit roundoff of single precision
    assert proxy(rounded, batch) == pytest.approx(value, rel=1e-4)
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert all(weight.grad is None for weight in model.parameters())
    assert all(part.training for part in model.modules())
    assert not any(part._forward_hooks for part in model.modules())


@pytest.mark.parametrize("name", PROXIES)
def test_weights_that_are_frozen(name: str) -> None:
    model = model_of(STACKS["hybrid"](2))
    value = PROXIES[name](model, batch_of())
    assert PROXIES[name](model.requires_grad_(False), batch_of()) == value
    assert not any(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize("name", [name for name, proxy in PROXIES.items() if hasattr(proxy, "__wrapped__")])
def test_what_is_not_finite_is_the_lowest(name: str) -> None:
    model = model_of(STACKS["hybrid"](2))
    nn.init.constant_(layers_of(model)[0].feed_forward.up.weight, math.nan)
    assert PROXIES[name](model, batch_of()) == -math.inf


def test_synflow_of_a_deep_stack_of_cubes() -> None:
    """Each layer raises what it gets to the third power or so: out of range in the end, and said so."""
    cube = "(Q @ K.T) @ V"
    shallow, deep = (model_of(Backbone.parse("\n".join([cube] * layers))) for layers in (2, 40))
    nn.init.constant_(layers_of(deep)[0].attention.projection.weight, 9.0)
    assert math.isfinite(PROXIES["synflow"](shallow, batch_of()))
    assert PROXIES["synflow"](deep, batch_of()) == -math.inf


@given(seed=seeds)
@settings(max_examples=30)
def test_counts(seed: int) -> None:
    backbone = sample_backbone(Random(seed), Space(layers=4))
    model, batch = model_of(backbone), batch_of(tokens=11)
    sizes = model.encoder.config
    assert PROXIES["parameters"](model, batch) == cost.parameters(backbone, sizes)
    assert PROXIES["flops"](model, batch) == cost.flops(backbone, sizes, 11)
    named = sum(not str(layer).startswith("conv") for layer in backbone.layers)
    assert PROXIES["attention_layers"](model, batch) == named


@given(seed=seeds)
@settings(max_examples=60)
def test_layers_mix_where_another_token_changes_the_output(seed: int) -> None:
    """By the types, and by trying."""
    backbone = sample_backbone(Random(seed), Space(layers=1))
    model = model_of(backbone, seed).double()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(10)  # far from linear, so that what depends on a token shows
        x = torch.randn(1, 6, SMALL.width, dtype=torch.float64)
        other = x.clone()
        other[:, 3] = torch.randn(SMALL.width, dtype=torch.float64)
        layer = model.encoder.layers[0]
        change = (layer(x, None) - layer(other, None))[:, [0, 1, 2, 4, 5]].abs().max()
    assert PROXIES["mixing_layers"](model, batch_of()) == float(change > 0)


@given(seed=seeds)
@settings(max_examples=8)
def test_gradients_as_by_a_backward_pass(seed: int) -> None:
    model, batch = model_of(backbone_of(seed)).double(), batch_of()
    norm, snip = (PROXIES[name](model, batch) for name in ("grad_norm", "snip"))
    F.cross_entropy(model(batch.ids, batch.rows), batch.labels).backward()
    slopes = [weight.grad for weight in matrices(model) if weight.grad is not None]
    assert norm == pytest.approx(sum(slope.norm().item() for slope in slopes), rel=1e-5)
    products = zip(matrices(model), slopes, strict=True)
    assert snip == pytest.approx(sum((w * slope).abs().sum().item() for w, slope in products), rel=1e-5)


def test_synflow_is_a_derivative_where_all_is_positive() -> None:
    """Of convolutions only, the sum of weight * dR/dweight is the slope of R as the weights grow together."""
    model = model_of(STACKS["convolution"](3)).double()

    def flow(growth: float) -> float:
        positive = copy.deepcopy(model)
        with torch.no_grad():
            for parameter in positive.parameters():
                parameter.abs_()
            for weight in matrices(positive.encoder):
                weight.mul_(1 + growth)
            x = torch.ones(1, 9, SMALL.width, dtype=torch.float64)
            for layer in layers_of(positive):
                x = x + layer.convolution(x, None)
                x = x + layer.feed_forward(x)
        return x.sum().item()

    slope = (flow(1e-5) - flow(-1e-5)) / 2e-5
    assert PROXIES["synflow"](model, batch_of()) == pytest.approx(math.log(slope), rel=1e-6)


def test_synflow_does_not_see_the_text() -> None:
    model = model_of(STACKS["hybrid"](2))
    assert PROXIES["synflow"](model, batch_of(0)) == PROXIES["synflow"](model, batch_of(1))


def test_jacov_of_equal_sequences_is_known() -> None:
    """The correlation is all ones then: its eigenvalues are B and 0."""
    ids = torch.arange(7).repeat(4, 1)
    batch = MaskedBatch(ids, torch.arange(2), torch.arange(2))
    wanted = -(math.log(4 + 1e-5) + 1 / (4 + 1e-5) + 3 * (math.log(1e-5) + 1e5))
    found = PROXIES["jacov"](model_of(STACKS["hybrid"](2)), batch)
    assert found == pytest.approx(wanted, rel=1e-6)
    assert PROXIES["jacov"](model_of(STACKS["hybrid"](2)), batch_of()) > found


@given(seed=seeds)
@settings(max_examples=8)
def test_jacov_a_sequence_at_a_time(seed: int) -> None:
    model, batch = model_of(backbone_of(seed)).double(), batch_of()
    direction = torch.randn(SMALL.width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def response(embedded: Tensor) -> Tensor:
        x = embedded[None]
        for layer in layers_of(model):
            x = layer(x, None)
        return (x[0] @ direction).sum()

    embedded = model.encoder.embeddings(batch.ids)
    rows = [torch.func.grad(response)(each).flatten().detach().numpy() for each in embedded]
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(rows)) + 1e-5
    wanted = -(np.log(eigenvalues) + 1 / eigenvalues).sum()
    assert PROXIES["jacov"](model, batch) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(("sequences", "tokens"), [(2, 7), (9, 11)], ids=["fewer tokens", "more tokens"])
@given(seed=seeds)
@settings(max_examples=8)
def test_w_pca_by_singular_values(sequences: int, tokens: int, seed: int) -> None:
    """Fewer and more tokens than the 32 values that enter the activation function."""
    model, batch = model_of(backbone_of(seed)).double(), batch_of(seed, sequences, tokens)
    counts = []
    x = model.encoder.embeddings(batch.ids)
    for layer in layers_of(model):
        branch = layer.attention if hasattr(layer, "attention") else layer.convolution
        entering = layer.feed_forward.up(layer.mixing_norm(x + branch(x, None)))
        points = entering.detach().numpy().reshape(sequences * tokens, -1)
        variances = np.linalg.svd(points - points.mean(0), compute_uv=False) ** 2
        shares = np.cumsum(variances) / variances.sum()
        counts.append(next(number for number, share in enumerate(shares, start=1) if share >= 0.99))
        x = layer(x, None)
    weights = sum(weight.numel() for weight in model.parameters())
    assert PROXIES["w_pca"](model, batch) == pytest.approx(np.mean(counts) * weights, rel=EXACT)


def test_untrained_is_a_function_of_the_backbone_and_the_seed() -> None:
    backbone, batch = STACKS["hybrid"](2), batch_of()
    measured = Untrained(PROXIES["snip"], SMALL, batch, seed=3)
    torch.manual_seed(1)
    expected_next = torch.rand(3)
    torch.manual_seed(1)
    value = measured(backbone)
    assert torch.equal(torch.rand(3), expected_next)
    torch.manual_seed(3)
    assert value == PROXIES["snip"](MaskedLM(backbone, SMALL), batch) == measured(backbone)
    assert Untrained(PROXIES["snip"], SMALL, batch, seed=4)(backbone) != value
