"""Published and reference backbones, as literals with their source."""

from collections.abc import Callable
from itertools import cycle, islice

from autobert_zero.space import Attention, Backbone, Convolution, Layer, parse_formula

STANDARD = "softmax(scale(Q @ K.T)) @ V"
"""Scaled dot-product attention (Vaswani et al. 2017), the only layer of BERT."""

_AUTOBERT_ZERO_BASE = """\
conv 65
softmax(scale(Q @ -logsigmoid(-K).T)) @ (Q + K)
conv 9
softmax(scale(Q @ -logsigmoid(logsigmoid(Q) + (Q + K)).T)) @ Q
conv 3
softmax(scale(Q @ -logsigmoid(K).T)) @ Q
conv 7
softmax(scale(Q @ -logsigmoid(K).T)) @ Q
conv 7
softmax(scale(Q @ (scale(K) + (softsign(scale(softsign(K))) + V)).T)) @ V
conv 3
softmax(scale(Q @ (scale(K) + V).T)) @ V
"""


def autobert_zero_base() -> Backbone:
    """The published backbone of 12 layers (paper, the figure of AutoBERT-Zero-base).

    The figure draws "sqrt" on K in layers 10 and 12; the formula in the text reads K / sqrt(d_h), so it
    is `scale` here.
    """
    return Backbone.parse(_AUTOBERT_ZERO_BASE)


def bert(layers: int) -> Backbone:
    """Standard attention in every layer."""
    return Backbone((_standard(),) * layers)


def hybrid(layers: int) -> Backbone:
    """The hand-made opponent: convolutions of 9, 7, 3, ... alternate with standard attention."""
    kernels = cycle((9, 7, 3))
    return Backbone(
        tuple(Convolution(next(kernels)) if index % 2 == 0 else _standard() for index in range(layers))
    )


def convolution(layers: int) -> Backbone:
    """Convolutions only, of 9, 7, 3, ..."""
    return Backbone(tuple(Convolution(kernel) for kernel in islice(cycle((9, 7, 3)), layers)))


OPPONENTS: dict[str, Callable[[int], Backbone]] = {
    "bert": bert,
    "hybrid": hybrid,
    "convolution": convolution,
}
"""What every search compares its winner with, at the same depth."""


def _standard() -> Layer:
    return Attention(parse_formula(STANDARD))
