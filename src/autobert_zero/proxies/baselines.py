"""Baselines of proxies: plain counts, without any computation."""

from autobert_zero import cost
from autobert_zero.data.masking import MaskedBatch
from autobert_zero.nn import MaskedLM
from autobert_zero.space import Attention, Convolution


def parameter_count(model: MaskedLM, batch: MaskedBatch) -> float:
    """Number of weights."""
    return float(sum(weight.numel() for weight in model.parameters()))


def flop_count(model: MaskedLM, batch: MaskedBatch) -> float:
    """Operations of a forward pass over one sequence of the batch, see `cost.flops`."""
    return float(cost.flops(model.encoder.backbone, model.encoder.config, batch.ids.shape[1]))


def attention_layers(model: MaskedLM, batch: MaskedBatch) -> float:
    """Number of layers that are an attention, not a convolution."""
    return float(sum(isinstance(layer, Attention) for layer in model.encoder.backbone.layers))


def mixing_layers(model: MaskedLM, batch: MaskedBatch) -> float:
    """Number of layers in which tokens see each other: some graphs treat each token alone."""
    backbone = model.encoder.backbone
    convolutions = sum(isinstance(layer, Convolution) for layer in backbone.layers)
    return float(convolutions + backbone.global_attentions)
