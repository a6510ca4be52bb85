"""Everything around the token mixing: norms, feed-forward, positions, biases."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from nn_samples import backbone_of, layers_of, seeds
from strategies import trunks
from torch.nn import functional as F

from autobert_zero.nn import EncoderConfig, MaskedLM, Trained, WeightBank
from autobert_zero.nn.encoder import Encoder, initialise
from autobert_zero.nn.layer import EncoderLayer, FeedForward
from autobert_zero.search.config import SearchConfig
from autobert_zero.settings import ConfigError, resolve
from autobert_zero.space import Backbone, Convolution

SIZES: dict[str, Any] = {"vocab_size": 23, "width": 8, "heads": 2, "max_positions": 24}
BERTS = EncoderConfig(**SIZES)
MODERN = replace(BERTS, norm="pre", feed_forward_kind="geglu", positions="none", biases=False)


def model_of(backbone: Backbone, config: EncoderConfig) -> MaskedLM:
    torch.manual_seed(0)
    return MaskedLM(backbone, config).double().eval()


@settings(max_examples=30, deadline=None)
@given(seeds, trunks(**SIZES))
def test_padding_and_chosen_rows_are_exact_in_every_trunk(seed: int, config: EncoderConfig) -> None:
    model = model_of(backbone_of(seed), config)
    ids = torch.randint(23, (2, 9), generator=torch.Generator().manual_seed(seed))
    mask = torch.arange(9)[None] < torch.tensor([9, 5])[:, None]
    with torch.no_grad():
        hidden = model.encoder(ids, mask)
        alone = model.encoder(ids[1:, :5])
        rows = torch.tensor([0, 4, 9, 13])
        chosen = model.encoder(ids, mask, rows=rows)
    torch.testing.assert_close(hidden[1:, :5], alone)
    torch.testing.assert_close(chosen, hidden.flatten(0, 1)[rows])


@settings(max_examples=20, deadline=None)
@given(seeds, trunks(**SIZES))
def test_checkpointing_changes_no_gradient(seed: int, config: EncoderConfig) -> None:
    model = model_of(backbone_of(seed), config).train()
    ids = torch.randint(23, (2, 9), generator=torch.Generator().manual_seed(seed))
    gradients = []
    for model.encoder.checkpointing in (False, True):
        loss = model.encoder(ids).square().sum()
        gradients.append(torch.autograd.grad(loss, list(model.encoder.parameters()), allow_unused=True))
    for plain, again in zip(*gradients, strict=True):
        assert (plain is None) == (again is None)
        if plain is not None:
            torch.testing.assert_close(plain, again)


def test_pre_norm_by_hand() -> None:
    backbone = Backbone((Convolution(3), Convolution(5)))
    encoder = model_of(backbone, MODERN).encoder
    ids = torch.tensor([[3, 1, 4, 1, 5]])
    x = F.layer_norm(
        encoder.embeddings.token.weight[ids] + encoder.embeddings.segment.weight[0],
        (8,),
        encoder.embeddings.norm.weight,
        eps=1e-12,
    )
    first, second = layers_of(encoder)
    x = x + first.convolution(x, None)  # the embeddings are normalised already
    x = x + first.feed_forward(first.output_norm(x))
    x = x + second.convolution(second.mixing_norm(x), None)
    x = x + second.feed_forward(second.output_norm(x))
    torch.testing.assert_close(encoder(ids), encoder.final_norm(x))


def test_geglu_by_hand() -> None:
    block = FeedForward(MODERN).double()
    x = torch.randn(3, 8, dtype=torch.float64)
    value, gate = (x @ block.up.weight.T).split(block.down.in_features, dim=-1)
    torch.testing.assert_close(block(x), (F.gelu(value) * gate) @ block.down.weight.T)


def test_geglu_has_the_weights_of_gelu() -> None:
    for width in (64, 128, 256, 768):
        blocks = (FeedForward(EncoderConfig(9, width, feed_forward_kind=kind)) for kind in ("gelu", "geglu"))
        plain, gated = (sum(weight.numel() for weight in block.parameters()) for block in blocks)
        assert gated == pytest.approx(plain, rel=0.02)


def test_without_biases_only_the_decoder_has_one() -> None:
    names = [name for name, _ in model_of(backbone_of(0), MODERN).named_parameters() if "bias" in name]
    assert names == ["bias"]


def test_length_is_limited_by_learned_positions_only() -> None:
    backbone = backbone_of(1)
    ids = torch.randint(23, (1, 4 * SIZES["max_positions"]))
    assert model_of(backbone, MODERN).encoder(ids).shape == (1, 96, 8)
    with pytest.raises(ValueError, match="96 tokens are more than the 24 positions"):
        model_of(backbone, BERTS).encoder(ids)


@settings(max_examples=20, deadline=None)
@given(seeds, trunks(**SIZES))
def test_bank_lends_and_takes_back_every_trunk(seed: int, config: EncoderConfig) -> None:
    bank = WeightBank(config, layers=2)
    model = MaskedLM(backbone_of(seed), config)
    bank.inherit(model)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1)
    bank.absorb(Trained.of(model))
    heir = MaskedLM(backbone_of(seed), config)
    bank.inherit(heir)
    for own, taken in zip(model.parameters(), heir.parameters(), strict=True):
        assert torch.equal(own, taken)


@pytest.mark.parametrize(
    "change", [{"norm": "post"}, {"feed_forward_kind": "gelu"}, {"positions": "learned"}, {"biases": True}]
)
def test_bank_of_another_trunk_is_refused(change: dict[str, Any]) -> None:
    other = replace(MODERN, **change)
    bank, stranger = WeightBank(MODERN, layers=2), MaskedLM(backbone_of(0), other)
    with pytest.raises(ValueError, match="the bank holds weights for"):
        bank.inherit(stranger)
    with pytest.raises(ValueError, match="other sizes or another trunk"):
        bank.load_state(WeightBank(other, layers=2).state())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"norm": "both"}, "norm must be post or pre, not 'both'"),
        ({"feed_forward_kind": "relu"}, "feed_forward_kind must be gelu or geglu"),
        ({"positions": "rotary"}, "positions must be learned or none"),
        ({"biases": 1}, "biases must be true or false"),
    ],
)
def test_unknown_trunks_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        EncoderConfig(**SIZES, **change)
    with pytest.raises(ConfigError, match=f"model.{next(iter(change))}"):
        resolve(SearchConfig(), {"model": {"biases": "perhaps"} if "biases" in change else change})


def test_state_of_berts_trunk_has_the_names_of_before() -> None:
    encoder = Encoder(Backbone((Convolution(3),)), BERTS)
    assert not [name for name in encoder.state_dict() if "final_norm" in name]
    layer = EncoderLayer(Convolution(3), BERTS)
    initialise(layer)
    assert {name.split(".")[0] for name in layer.state_dict()} == {
        "convolution",
        "mixing_norm",
        "feed_forward",
        "output_norm",
    }
