"""How long each branch of the shared weights was trained, in updates, by layer position."""

from collections.abc import Sequence

import torch
from torch import Tensor

from autobert_zero.space import INPUTS, KERNELS, Attention, Backbone, Layer

BRANCHES = (*INPUTS, "output", *(f"conv {kernel}" for kernel in KERNELS))
"""Parts of a layer that some candidates train and others do not: an attention's projections of its inputs
and of its output, and the taps of a convolution, where `conv 5` stands for those that a kernel of 5 has.
Feed-forward blocks, norms, embeddings and head are trained by every candidate."""

_PLACES = {name: place for place, name in enumerate(BRANCHES)}


def branches_of(layer: Layer) -> tuple[str, ...]:
    """The branches that training a layer trains; a kernel's centre holds all shorter kernels."""
    if isinstance(layer, Attention):
        return (*layer.graph.inputs, "output")
    return tuple(f"conv {kernel}" for kernel in KERNELS if kernel <= layer.kernel)


def no_practice(layers: int) -> Tensor:
    """The table of weights that were not trained: zeros (layers, branches)."""
    return torch.zeros(layers, len(BRANCHES), dtype=torch.int64)


def practised(backbones: Sequence[Backbone], updates: Sequence[int], layers: int) -> Tensor:
    """What candidates that are merged have practised, as a table (layers, branches).

    Merging takes the mean of a branch over its users, which moves it about as far as one of them does: a
    branch counts the updates of the one that trained longest.
    """
    table = no_practice(layers)
    for backbone, count in zip(backbones, updates, strict=True):
        for row, layer in zip(table, backbone.layers, strict=True):
            places = [_PLACES[name] for name in branches_of(layer)]
            row[places] = row[places].clamp_min(count)
    return table


def shortfall(practice: Tensor, backbone: Backbone) -> float:
    """How much less a backbone's branches were trained than the most trained ones beside them, in [0, 1].

    The mean over its layers. A layer is as practised as the least trained of its branches. Its shortfall is
    0 from half of the updates of the most trained branch at its position on, and 1 without any; 0 where
    nothing was trained.
    """
    short = []
    for row, layer in zip(practice.tolist(), backbone.layers, strict=True):
        least, most = min(row[_PLACES[name]] for name in branches_of(layer)), max(row)
        short.append(max(1 - 2 * least / most, 0.0) if most else 0.0)
    return sum(short) / len(short)
