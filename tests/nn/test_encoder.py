"""The encoder: padding, residuals, sizes."""

from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from nn_samples import BERT, PUBLISHED, SMALL, backbone_of, mask_of, seeds
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.nn.attention import GraphAttention
from autobert_zero.nn.encoder import Encoder, initialise
from autobert_zero.nn.layer import EncoderLayer
from autobert_zero.space import Attention, Backbone, Convolution, Layer


def _encoder(backbone: Backbone, config: EncoderConfig = SMALL) -> Encoder:
    torch.manual_seed(0)
    encoder = Encoder(backbone, config).double()
    initialise(encoder, std=0.3)
    return encoder


def _ids(seed: int, tokens: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(SMALL.vocab_size, (2, tokens), generator=generator)


@given(seeds)
@settings(max_examples=100, deadline=None)
def test_padding_is_exact_for_whole_encoders(seed: int) -> None:
    random = Random(seed)
    encoder = _encoder(backbone_of(seed, random.randint(1, 3)))
    tokens, padding = random.randint(1, 30), random.randint(1, 20)
    ids, other = _ids(seed, tokens + padding), _ids(seed + 1, tokens + padding)
    mask = mask_of([tokens, tokens], tokens + padding)
    output = encoder(ids, mask)
    assert output.isfinite().all()
    assert torch.equal(encoder(torch.where(mask, ids, other), mask)[:, :tokens], output[:, :tokens])
    alone = encoder(ids[:, :tokens])
    torch.testing.assert_close(output[:, :tokens], alone, rtol=1e-8, atol=1e-8)


@given(seeds)
@settings(max_examples=50, deadline=None)
def test_no_gradient_flows_from_real_tokens_to_the_embeddings_of_padding(seed: int) -> None:
    random = Random(seed)
    encoder = _encoder(backbone_of(seed, random.randint(1, 3))).train()
    tokens = random.randint(2, 20)
    mask = mask_of([random.randint(1, tokens), random.randint(1, tokens)], tokens)
    embedded: list[Tensor] = []

    def keep(module: nn.Module, args: object, output: Tensor) -> None:
        output.retain_grad()
        embedded.append(output)

    encoder.embeddings.register_forward_hook(keep)
    output = encoder(_ids(seed, tokens), mask)
    weight = torch.randn(output.shape, generator=torch.Generator().manual_seed(seed), dtype=output.dtype)
    (output * weight)[mask].sum().backward()
    (x,) = embedded
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert not x.grad[~mask].any()


@given(seeds)
@settings(max_examples=50, deadline=None)
def test_a_row_of_padding_only_gives_finite_numbers(seed: int) -> None:
    encoder = _encoder(backbone_of(seed)).float()
    mask = mask_of([6, 0], 6)
    output = encoder(_ids(seed, 6), mask)
    assert output.isfinite().all()
    output[mask].sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())  # type: ignore[union-attr]


@pytest.mark.parametrize("layer", [Attention(BERT), Convolution(9)])
def test_the_residual_is_added_once(layer: Layer) -> None:
    """LN(r + FFN(r)), not LN(2 r + FFN(r))."""
    block = EncoderLayer(layer, SMALL).double()
    initialise(block, std=0.3)
    assert isinstance(block.mixing_norm, nn.LayerNorm)
    for norm in (block.mixing_norm, block.output_norm):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    x = torch.randn(2, 7, 8, dtype=torch.float64)
    mixing = block.attention if isinstance(layer, Attention) else block.convolution

    def normalise(norm: nn.LayerNorm, value: Tensor) -> Tensor:
        centred = value - value.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + norm.eps).sqrt()
        return scaled * norm.weight + norm.bias

    r = normalise(block.mixing_norm, x + mixing(x, None))
    inner = F.gelu(r @ block.feed_forward.up.weight.T + block.feed_forward.up.bias)
    expected = r + inner @ block.feed_forward.down.weight.T + block.feed_forward.down.bias
    torch.testing.assert_close(block(x, None), normalise(block.output_norm, expected))


@pytest.mark.parametrize("backbone", [Backbone.parse("conv 3\nQ @ K.T @ V"), backbone_of(3, 4)])
def test_every_parameter_is_named_once_and_moves_the_output(backbone: Backbone) -> None:
    encoder = _encoder(backbone)
    assert set(encoder.state_dict()) == {name for name, _ in encoder.named_parameters()}
    generator = torch.Generator().manual_seed(1)
    output = encoder(_ids(1, 9), segments=torch.ones(2, 9, dtype=torch.long))
    (output * torch.randn(output.shape, generator=generator, dtype=output.dtype)).sum().backward()
    still = {name for name, parameter in encoder.named_parameters() if not parameter.grad.any()}  # type: ignore[union-attr]
    # A softmax ignores what is constant along its axis, so biases that only shift it may be still.
    assert all(".bias" in name for name in still)


def test_only_the_inputs_in_use_are_projected() -> None:
    attention = GraphAttention(PUBLISHED["layer 6"], width=8, heads=2)
    assert attention.inputs == ("Q", "K")
    assert attention.projection.weight.shape == (16, 8)


def test_heads_do_not_see_each_other() -> None:
    attention = GraphAttention(BERT, width=8, heads=4).double()
    nn.init.eye_(attention.output.weight)
    nn.init.zeros_(attention.output.bias)
    x = torch.randn(1, 5, 8, dtype=torch.float64)
    before = attention(x, None)
    with torch.no_grad():
        attention.projection.weight[2:4].add_(1.0)  # head 1 of Q
    changed = (attention(x, None) != before).any(1).any(0)
    assert changed.tolist() == [False, False, True, True, False, False, False, False]


def test_no_segments_means_segment_zero() -> None:
    encoder, ids = _encoder(backbone_of(1)), _ids(1, 6)
    assert torch.equal(encoder(ids), encoder(ids, segments=torch.zeros_like(ids)))
    assert not torch.equal(encoder(ids), encoder(ids, segments=torch.ones_like(ids)))


def test_a_full_mask_is_no_mask() -> None:
    encoder, ids = _encoder(backbone_of(5, 4)), _ids(1, 6)
    torch.testing.assert_close(encoder(ids, torch.ones_like(ids, dtype=torch.bool)), encoder(ids))


def test_dropout_acts_in_training_only() -> None:
    config = EncoderConfig(vocab_size=23, width=8, heads=2, dropout=0.5)
    encoder, ids = _encoder(backbone_of(1), config), _ids(1, 6)
    assert not torch.equal(encoder(ids), encoder(ids))
    encoder.eval()
    assert torch.equal(encoder(ids), encoder(ids))


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_random_numbers_are_kept_for_layers_that_are_computed_again_where_any_are_drawn(
    rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[bool] = []

    def recorded(*given: Any, preserve_rng_state: bool, **options: Any) -> Any:
        kept.append(preserve_rng_state)
        return checkpoint(*given, preserve_rng_state=preserve_rng_state, **options)

    monkeypatch.setattr("autobert_zero.nn.encoder.checkpoint", recorded)
    config = EncoderConfig(vocab_size=23, width=8, heads=2, dropout=rate)
    encoder, ids = _encoder(backbone_of(1), config), _ids(1, 6)
    gradients = []
    for encoder.checkpointing in (False, True):
        torch.manual_seed(3)
        loss = encoder(ids).square().sum()
        gradients.append(torch.autograd.grad(loss, list(encoder.parameters()), allow_unused=True))
    assert kept == [rate > 0] * len(encoder.layers)
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, again)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 10, "heads": 4}, "width 10 is not divisible by 4 heads"),
        ({"width": 0}, "width must be at least 1, not 0"),
        ({"heads": 0}, "heads must be at least 1, not 0"),
        ({"max_positions": 0}, "max_positions must be at least 1, not 0"),
        ({"feed_forward": -1}, "feed_forward must be at least 0, not -1"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), not 1.0"),
        ({"norm_epsilon": 0.0}, "norm_epsilon must be above 0, not 0.0"),
    ],
)
def test_sizes_are_checked(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EncoderConfig(vocab_size=10, **arguments)  # type: ignore[arg-type]


def test_too_long_a_sequence_is_named() -> None:
    with pytest.raises(ValueError, match="81 tokens are more than the 80 positions"):
        _encoder(backbone_of(1))(_ids(1, 81))
