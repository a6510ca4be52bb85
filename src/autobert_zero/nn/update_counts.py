"""The number of updates of each branch of the shared weights, by layer position."""

from collections.abc import Sequence

import torch
from torch import Tensor

from autobert_zero.space import INPUTS, KERNEL_SIZES, Attention, Backbone, Layer

BRANCHES = (*INPUTS, "output", *(f"conv {kernel}" for kernel in KERNEL_SIZES))
"""Parts of a layer that only some candidates train: the input and output projections of an attention, and
the taps of a convolution, where `conv 5` stands for those of a kernel of 5. Every candidate trains the
feed-forward blocks, norms, embeddings and the head."""

_PLACES = {name: index for index, name in enumerate(BRANCHES)}


def branches_of(layer: Layer) -> tuple[str, ...]:
    """The branches that a layer trains; a kernel includes all shorter ones, in its centre."""
    if isinstance(layer, Attention):
        return (*layer.graph.inputs, "output")
    return tuple(f"conv {kernel}" for kernel in KERNEL_SIZES if kernel <= layer.kernel)


def zero_counts(layers: int) -> Tensor:
    """The table of untrained weights: zeros (layers, branches)."""
    return torch.zeros(layers, len(BRANCHES), dtype=torch.int64)


def merged_counts(backbones: Sequence[Backbone], updates: Sequence[int], layers: int) -> Tensor:
    """The updates of candidates that are merged, as a table (layers, branches).

    Merging takes the mean of a branch over its users, which moves it about as far as one of them does: so a
    branch counts the updates of the user that trained longest.
    """
    table = zero_counts(layers)
    for backbone, count in zip(backbones, updates, strict=True):
        for row, layer in zip(table, backbone.layers, strict=True):
            places = [_PLACES[name] for name in branches_of(layer)]
            row[places] = row[places].clamp_min(count)
    return table


def shortfall(counts: Tensor, backbone: Backbone) -> float:
    """The shortfall in training of a backbone's branches against others at their positions, in [0, 1].

    The mean over its layers. A layer counts as trained as the least trained of its branches. Its shortfall is
    1 without any update, and falls to 0 at half of the updates of the most trained branch at its position; it
    is 0 where nothing was trained.

    Args:
        counts: Updates of each branch, (layers, branches).
        backbone: The backbone.
    """
    short = []
    for row, layer in zip(counts.tolist(), backbone.layers, strict=True):
        least, most = min(row[_PLACES[name]] for name in branches_of(layer)), max(row)
        short.append(max(1 - 2 * least / most, 0.0) if most else 0.0)
    return sum(short) / len(short)
