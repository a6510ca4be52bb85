"""Weights of one model in another, layer by layer."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from autobert_zero.nn.heads import MaskedLM
from autobert_zero.space import Attention, Backbone
from autobert_zero.space.inheritance import LayerInheritance

LAYERS = "encoder.layers."
"""Start of the names of parameters of layers."""
_ALWAYS = ("attention.output.", "convolution.output.", "mixing_norm.", "feed_forward.", "output_norm.")
"""Parts of a layer that fit whatever mixes the tokens."""


@torch.no_grad()
def inherit_weights(
    model: MaskedLM, weights: Mapping[str, Tensor], source: Backbone, plan: Sequence[LayerInheritance]
) -> None:
    """Copies what fits; the rest stays as it is.

    Args:
        model: The model to copy into, of the same sizes as the source.
        weights: Weights of the source, by the names of `MaskedLM`; those of the head may be missing.
        source: Backbone of the source.
        plan: Result of `plan_inheritance` for the two backbones.

    Raises:
        ValueError: Tensors are of other sizes.
    """
    for name, own in model.named_parameters():
        if name in weights and not name.startswith(LAYERS):
            _copy(own, weights[name], name)
    width = model.encoder.config.width
    for index, (layer, inheritance) in enumerate(zip(model.encoder.layers, plan, strict=True)):
        layer_weights = {
            name.removeprefix(f"{LAYERS}{inheritance.source}."): tensor
            for name, tensor in weights.items()
            if name.startswith(f"{LAYERS}{inheritance.source}.")
        }
        for name, own in layer.named_parameters():
            if inheritance.whole or (inheritance.kernel and name.startswith("convolution.projection.")):
                _copy(own, layer_weights[name], name)
            elif name.startswith(_ALWAYS):
                _copy(own, _tensor_of_either_branch(layer_weights, name), name)
            elif name == "convolution.kernel" and inheritance.kernel:
                kernel, size = layer_weights[name], own.shape[-1]
                _copy(own, kernel.narrow(-1, (kernel.shape[-1] - size) // 2, size), name)
            elif name.startswith("attention.projection."):
                mixing, other = model.encoder.backbone.layers[index], source.layers[inheritance.source]
                for letter, source_letter in inheritance.inputs.items():
                    assert isinstance(mixing, Attention)
                    assert isinstance(other, Attention)
                    offset, source_offset = (
                        mixing.graph.inputs.index(letter),
                        other.graph.inputs.index(source_letter),
                    )
                    block = layer_weights[name].narrow(0, source_offset * width, width)
                    _copy(own.narrow(0, offset * width, width), block, name)


def _tensor_of_either_branch(layer_weights: Mapping[str, Tensor], name: str) -> Tensor:
    """A tensor of a layer, whose output projection is named after its branch."""
    branch, dot, rest = name.partition(".")
    if name in layer_weights or branch not in ("attention", "convolution"):
        return layer_weights[name]
    return layer_weights[("convolution" if branch == "attention" else "attention") + dot + rest]


def _copy(own: Tensor, other: Tensor, name: str) -> None:
    if own.shape != other.shape:
        raise ValueError(f"{name} is {tuple(own.shape)}, not {tuple(other.shape)}")
    own.copy_(other)
