"""Reference backbones of any depth, built by hand."""

from collections.abc import Callable, Iterator
from itertools import cycle, islice

from autobert_zero.space import Backbone, Convolution
from autobert_zero.zoo.layers import GATED_CONVOLUTION, ROTARY, STANDARD, attention


def bert(layers: int) -> Backbone:
    """Standard attention in every layer."""
    return Backbone((attention(STANDARD),) * layers)


def hybrid(layers: int) -> Backbone:
    """The hand-made opponent: convolutions of 9, 7, 3, ... alternate with standard attention."""
    return alternating(layers, cycle((9, 7, 3)))


def convolution(layers: int) -> Backbone:
    """Convolutions only, of 9, 7, 3, ..."""
    return Backbone(tuple(Convolution(kernel) for kernel in islice(cycle((9, 7, 3)), layers)))


def rotary(layers: int) -> Backbone:
    """Rotary attention in every layer: in a modern trunk, ModernBERT with all layers global."""
    return Backbone((attention(ROTARY),) * layers)


def rotary_hybrid(layers: int) -> Backbone:
    """Convolutions of 9, 7, 3, ... alternate with rotary attention."""
    return alternating(layers, cycle((9, 7, 3)), ROTARY)


def wide_hybrid(layers: int) -> Backbone:
    """Convolutions of 15, 31, ... alternate with rotary attention."""
    return alternating(layers, cycle((15, 31)), ROTARY)


def gated_convolution(layers: int) -> Backbone:
    """Two gated convolutions, then one rotary attention, and so on: about LFM2's ratio."""
    return Backbone(
        tuple(attention(ROTARY if index % 3 == 2 else GATED_CONVOLUTION) for index in range(layers))
    )


def alternating(layers: int, kernels: Iterator[int], formula: str = STANDARD) -> Backbone:
    """Convolutions of these kernels alternate with one attention, the convolutions first."""
    return Backbone(
        tuple(attention(formula) if index % 2 else Convolution(next(kernels)) for index in range(layers))
    )


STACKS: dict[str, Callable[[int], Backbone]] = {
    "bert": bert,
    "hybrid": hybrid,
    "convolution": convolution,
    "rotary": rotary,
    "rotary-hybrid": rotary_hybrid,
    "wide-hybrid": wide_hybrid,
    "gated-convolution": gated_convolution,
}
"""Reference backbones of any depth, by the names that commands take."""
