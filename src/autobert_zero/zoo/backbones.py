"""Published backbones, as literals with their source."""

from itertools import chain, repeat

from autobert_zero.space import Attention, Backbone, Convolution
from autobert_zero.zoo.layers import LINEAR, attention
from autobert_zero.zoo.stacks import alternating

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


def attention_only() -> Backbone:
    """The attentions of the published backbone, each also in place of the convolution before it."""
    return _each_twice(Attention)


def convolution_only() -> Backbone:
    """The convolutions of the published backbone, each also in place of the attention after it."""
    return _each_twice(Convolution)


def lite_transformer(layers: int) -> Backbone:
    """Short range, then long range: kernels that grow with depth alternate with standard attention.

    Lite Transformer (Wu et al. 2020) has both as parallel branches of one layer, each on half of the
    channels; a backbone has one mixing per layer, so here they take turns. The kernels are those of its
    encoder: 3, 7, 15, then 31.
    """
    return alternating(layers, chain((3, 7, 15), repeat(31)))


def efficient_attention(layers: int) -> Backbone:
    """Linear attention (Shen et al. 2021): keys normalised over the tokens, queries over the channels.

    No (n, n) matrix: the cost grows linearly with the length.
    """
    return Backbone((attention(LINEAR),) * layers)


def _each_twice(kind: type[Attention] | type[Convolution]) -> Backbone:
    chosen = [layer for layer in autobert_zero_base().layers if isinstance(layer, kind)]
    return Backbone(tuple(layer for layer in chosen for _ in range(2)))
