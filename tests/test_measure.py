"""Measurements of layers: what can be known of them without a clock."""

import torch

from autobert_zero.measure import measure_backbone, measure_layer
from autobert_zero.nn.encoder import EncoderConfig
from autobert_zero.space import Backbone

CPU = torch.device("cpu")
BACKBONE = Backbone.parse("conv 3\nsoftmax(scale(Q @ K.T)) @ V\nconv 3\n(Q @ K.T + euclidean(Q, K)) @ V")


def test_each_distinct_layer_is_measured_once() -> None:
    measured = measure_backbone(BACKBONE, 8, 2, 16, 2, CPU)
    assert list(measured) == list(dict.fromkeys(BACKBONE.canonical().layers))
    assert len(measured) == 3
    assert all(found.forward > 0 and found.training > 0 for found in measured.values())


def test_kept_memory_by_hand() -> None:
    """What a layer keeps grows with the batch; (n, n) matrices make it grow with the square of n."""
    config = EncoderConfig(vocab_size=1, width=8, heads=2)

    def kept(index: int, batch: int, tokens: int) -> int:
        return measure_layer(BACKBONE.layers[index], config, batch, tokens, CPU).kept

    # At least the feed-forward block's input, the value in it, and that after GELU: d + 4d + 4d floats.
    assert kept(0, 1, 64) >= 64 * 9 * 8 * 4
    assert 1.9 < kept(0, 4, 64) / kept(0, 2, 64) < 2.1
    assert 1.9 < kept(1, 2, 256) / kept(1, 2, 128) < 2.1  # fused attention keeps no map
    assert 3.5 < kept(3, 2, 512) / kept(3, 2, 256) < 4.1
