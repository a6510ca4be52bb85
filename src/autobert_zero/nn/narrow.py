"""Narrower feed-forward blocks from wider ones: the inner units that matter most stay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.nn.inherit import LAYERS


@dataclass(frozen=True)
class InnerUnits:
    """Activations of the inner units of a feed-forward block, over the tokens of some text.

    Attributes:
        mean: (inner,) means, in double precision.
        variance: (inner,) variances.
    """

    mean: Tensor
    variance: Tensor


@torch.no_grad()
def narrow_feed_forward(
    weights: Mapping[str, Tensor], sizes: EncoderConfig, units: Sequence[InnerUnits], inner: int
) -> dict[str, Tensor]:
    """Keeps the inner units whose loss changes the output of their block most.

    A unit that is dropped is replaced by its mean, which moves into the bias of the output. The squared error
    of that, for independent units, is the sum of variance x squared norm of the unit's output weights; the
    units with the largest products stay. Without biases the mean is lost too, and counts as error.

    Args:
        weights: Weights of a model by the names of `MaskedLM`.
        sizes: Sizes of the model.
        units: The activations in each layer.
        inner: Number of units to keep in each layer, at most `sizes.inner`.

    Returns:
        All weights, those of the feed-forward blocks narrowed: `up` to (inner, d), or with `geglu`
        (2 inner, d), and `down` to (d, inner).
    """
    narrowed = dict(weights)
    for index, layer_units in enumerate(units):
        block = f"{LAYERS}{index}.feed_forward"
        down, mean, error = weights[f"{block}.down.weight"], layer_units.mean, layer_units.variance
        if not sizes.biases:
            error = error + mean**2
        kept = (error * down.double().pow(2).sum(0)).topk(inner).indices.sort().values  # (inner,)
        rows = torch.cat([kept, kept + sizes.inner]) if sizes.feed_forward_kind == "geglu" else kept
        narrowed[f"{block}.up.weight"] = weights[f"{block}.up.weight"][rows]
        narrowed[f"{block}.down.weight"] = down[:, kept]
        if sizes.biases:
            dropped = mean.clone()
            dropped[kept] = 0
            bias = weights[f"{block}.down.bias"]
            narrowed[f"{block}.up.bias"] = weights[f"{block}.up.bias"][rows]
            narrowed[f"{block}.down.bias"] = bias + (down.double() @ dropped).to(bias.dtype)
    return narrowed
