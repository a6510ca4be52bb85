"""BERT's formula in our encoder is BERT, by the numbers of `transformers`."""

import pytest
import torch
from nn_samples import BERT, layers_of, mask_of
from torch import Tensor, nn
from transformers import BertConfig, BertModel
from transformers.models.bert.modeling_bert import BertLayer

from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.nn.encoder import Encoder
from autobert_zero.nn.layer import EncoderLayer
from autobert_zero.space import Attention, Backbone

CONFIG = EncoderConfig(vocab_size=50, width=32, heads=4, feed_forward=64, max_positions=20)
LAYERS = 3


@pytest.fixture(scope="module")
def bert() -> BertModel:
    """A BertModel of random weights, layer norms included."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=CONFIG.vocab_size,
        hidden_size=CONFIG.width,
        num_hidden_layers=LAYERS,
        num_attention_heads=CONFIG.heads,
        intermediate_size=CONFIG.inner,
        max_position_embeddings=CONFIG.max_positions,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="eager",
    )
    model = BertModel(config, add_pooling_layer=False).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def _copy_layer(ours: EncoderLayer, theirs: BertLayer) -> None:
    attention = theirs.attention
    projections = [getattr(attention.self, name) for name in ("query", "key", "value")]
    ours.load_state_dict(
        {
            "attention.projection.weight": torch.cat([part.weight for part in projections]),
            "attention.projection.bias": torch.cat([part.bias for part in projections]),
            "attention.output.weight": attention.output.dense.weight,
            "attention.output.bias": attention.output.dense.bias,
            "mixing_norm.weight": attention.output.LayerNorm.weight,
            "mixing_norm.bias": attention.output.LayerNorm.bias,
            "feed_forward.up.weight": theirs.intermediate.dense.weight,
            "feed_forward.up.bias": theirs.intermediate.dense.bias,
            "feed_forward.down.weight": theirs.output.dense.weight,
            "feed_forward.down.bias": theirs.output.dense.bias,
            "output_norm.weight": theirs.output.LayerNorm.weight,
            "output_norm.bias": theirs.output.LayerNorm.bias,
        }
    )


@pytest.fixture(scope="module")
def encoder(bert: BertModel) -> Encoder:
    """Our encoder with the weights of `bert`."""
    encoder = Encoder(Backbone((Attention(BERT),) * LAYERS), CONFIG)
    encoder.embeddings.load_state_dict(
        {
            "token.weight": bert.embeddings.word_embeddings.weight,
            "position.weight": bert.embeddings.position_embeddings.weight,
            "segment.weight": bert.embeddings.token_type_embeddings.weight,
            "norm.weight": bert.embeddings.LayerNorm.weight,
            "norm.bias": bert.embeddings.LayerNorm.bias,
        }
    )
    for ours, theirs in zip(layers_of(encoder), bert.encoder.layer, strict=True):
        _copy_layer(ours, theirs)
    return encoder.eval()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask and segments, each (3, 12)."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(CONFIG.vocab_size, (3, 12), generator=generator)
    segments = torch.randint(2, (3, 12), generator=generator)
    return ids, mask_of([12, 7, 1], 12), segments


@torch.no_grad()
def test_one_layer_is_bert_layer(bert: BertModel, encoder: Encoder) -> None:
    x = torch.randn(3, 12, CONFIG.width, generator=torch.Generator().manual_seed(2))
    mask = mask_of([12, 7, 1], 12)
    additive = torch.zeros(3, 1, 1, 12).masked_fill(~mask[:, None, None], torch.finfo(torch.float32).min)
    expected = bert.encoder.layer[1](x, additive)
    torch.testing.assert_close(encoder.layers[1](x, mask)[mask], expected[mask], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_the_encoder_is_bert_model(
    bert: BertModel, encoder: Encoder, batch: tuple[Tensor, Tensor, Tensor]
) -> None:
    ids, mask, segments = batch
    expected = bert(input_ids=ids, attention_mask=mask, token_type_ids=segments).last_hidden_state
    torch.testing.assert_close(encoder(ids, mask, segments)[mask], expected[mask], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_without_mask_and_segments(bert: BertModel, encoder: Encoder, batch: tuple[Tensor, ...]) -> None:
    expected = bert(input_ids=batch[0]).last_hidden_state
    torch.testing.assert_close(encoder(batch[0]), expected, rtol=1e-5, atol=1e-5)


def test_gradients_are_those_of_bert(
    bert: BertModel, encoder: Encoder, batch: tuple[Tensor, Tensor, Tensor]
) -> None:
    ids, mask, segments = batch
    bert.zero_grad()
    encoder.zero_grad()
    theirs = bert(input_ids=ids, attention_mask=mask, token_type_ids=segments).last_hidden_state
    theirs[mask].square().sum().backward()
    encoder(ids, mask, segments)[mask].square().sum().backward()
    expected = bert.embeddings.word_embeddings.weight.grad
    torch.testing.assert_close(encoder.embeddings.token.weight.grad, expected, rtol=1e-3, atol=1e-3)
