"""Weights of one model in another, layer by layer."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from autobert_zero.nn.heads import MaskedLM
from autobert_zero.space import Attention, Backbone
from autobert_zero.space.inheritance import LayerInheritance

_LAYERS = "encoder.layers."
_ALWAYS = ("attention.output.", "convolution.output.", "mixing_norm.", "feed_forward.", "output_norm.")
"""Parts of a layer that fit whatever mixes the tokens."""


@torch.no_grad()
def inherit_weights(
    model: MaskedLM, weights: Mapping[str, Tensor], source: Backbone, plan: Sequence[LayerInheritance]
) -> None:
    """Copies what fits; the rest stays as it is.

    Args:
        model: The heir. Its sizes are those of the source.
        weights: Weights of the source, by the names of `MaskedLM`; those of the head may be missing.
        source: Backbone of the source.
        plan: Result of `plan_inheritance` for the two backbones.

    Raises:
        ValueError: Tensors are of other sizes.
    """
    for name, own in model.named_parameters():
        if name.startswith(_LAYERS):
            continue
        if name in weights:
            _copy(own, weights[name], name)
    width = model.encoder.config.width
    for index, (layer, each) in enumerate(zip(model.encoder.layers, plan, strict=True)):
        theirs = {
            name.removeprefix(f"{_LAYERS}{each.source}."): tensor
            for name, tensor in weights.items()
            if name.startswith(f"{_LAYERS}{each.source}.")
        }
        for name, own in layer.named_parameters():
            whole = each.whole or (each.kernel and name.startswith("convolution.projection."))
            if whole:
                _copy(own, theirs[name], name)
            elif name.startswith(_ALWAYS):
                _copy(own, _of_any_branch(theirs, name), name)
            elif name == "convolution.kernel" and each.kernel:
                kernel, size = theirs[name], own.shape[-1]
                _copy(own, kernel.narrow(-1, (kernel.shape[-1] - size) // 2, size), name)
            elif name.startswith("attention.projection."):
                mixing, other = model.encoder.backbone.layers[index], source.layers[each.source]
                for mine, their in each.inputs.items():
                    assert isinstance(mixing, Attention)
                    assert isinstance(other, Attention)
                    at, there = mixing.graph.inputs.index(mine), other.graph.inputs.index(their)
                    _copy(
                        own.narrow(0, at * width, width),
                        theirs[name].narrow(0, there * width, width),
                        name,
                    )


def _of_any_branch(theirs: Mapping[str, Tensor], name: str) -> Tensor:
    """A tensor of a layer, whose output projection is named after its branch."""
    branch, dot, rest = name.partition(".")
    if name in theirs or branch not in ("attention", "convolution"):
        return theirs[name]
    return theirs[("convolution" if branch == "attention" else "attention") + dot + rest]


def _copy(own: Tensor, other: Tensor, name: str) -> None:
    if own.shape != other.shape:
        raise ValueError(f"{name} is {tuple(own.shape)}, not {tuple(other.shape)}")
    own.copy_(other)
