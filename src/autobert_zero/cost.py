"""Parameters and floating-point operations of a backbone: pure arithmetic, no model is built."""

from dataclasses import dataclass

from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.space import PRIMITIVES, Attention, Backbone, Layer, Node

_FLOPS = {"softmax": 5, "rotary": 3}
"""Operations per entry where they are not one: maximum, difference, exponential, sum, division of a softmax;
two products and a sum of a rotation."""

_VIEWS = ("transpose", "previous", "next")
"""Operations that move entries and compute nothing."""


@dataclass(frozen=True)
class LayerCost:
    """Cost of one layer with its feed-forward block.

    Attributes:
        parameters: Number of weights.
        flops: Floating-point operations of a forward pass over one sequence; a multiply-add is two.
    """

    parameters: int
    flops: int


@dataclass(frozen=True)
class Measured:
    """The measured cost of a layer with its feed-forward block, for one batch.

    Attributes:
        forward: Seconds of a forward pass.
        training: Seconds of a forward and a backward pass.
        kept: Bytes that the forward pass keeps for the backward pass, without weights.
    """

    forward: float
    training: float
    kept: int


def layer_cost(layer: Layer, sizes: EncoderConfig, tokens: int) -> LayerCost:
    """Costs of one layer over a sequence of the given number of tokens."""
    width, inner, biases = sizes.width, sizes.inner, sizes.biases
    up = inner if sizes.feed_forward_kind == "gelu" else 2 * inner
    parameters = _linear(width, up, biases) + _linear(inner, width, biases) + 2 * _norm_size(sizes)
    flops = 2 * tokens * width * (up + inner)
    if isinstance(layer, Attention):
        inputs = len(layer.graph.inputs)
        parameters += _linear(width, inputs * width, biases) + _linear(width, width, biases)
        flops += 2 * tokens * width * width * (inputs + 1)
        dims = {"n": tokens, "d": width // sizes.heads}
        flops += sizes.heads * sum(_node_flops(node, dims) for node in layer.graph.nodes)
    else:
        parameters += _linear(width, 2 * width, biases) + _linear(width, width, biases)
        parameters += sizes.heads * layer.kernel
        flops += 2 * tokens * width * width * 3 + 2 * tokens * width * layer.kernel
    return LayerCost(parameters, flops)


def parameters(backbone: Backbone, sizes: EncoderConfig, with_head: bool = True) -> int:
    """Number of weights of the masked language model; the decoder shares the token embedding.

    Args:
        backbone: The token-mixing layers.
        sizes: Sizes and trunk.
        with_head: Whether the head that predicts tokens is counted.
    """
    width, norm = sizes.width, _norm_size(sizes)
    embeddings = (sizes.vocab_size + (sizes.length_limit or 0) + sizes.token_types) * width + norm
    head = _linear(width, width, sizes.biases) + norm + sizes.vocab_size
    layers = sum(layer_cost(layer, sizes, 1).parameters for layer in backbone.layers)
    # With norms before the sub-blocks the first layer has none before its mixing, and one follows the last.
    return embeddings + with_head * head + layers


def flops(backbone: Backbone, sizes: EncoderConfig, tokens: int) -> int:
    """Operations of the encoder's forward pass over one sequence, without embeddings, norms and head."""
    return sum(layer_cost(layer, sizes, tokens).flops for layer in backbone.layers)


def _linear(inputs: int, outputs: int, bias: bool) -> int:
    return inputs * outputs + bias * outputs


def _norm_size(sizes: EncoderConfig) -> int:
    return sizes.width * (1 + sizes.biases)


def _node_flops(node: Node, dims: dict[str, int]) -> int:
    rows, columns = (dims[axis] for axis in node.type)
    if not node.args or node.op in _VIEWS:
        return 0
    if len(node.args) == 2 and not PRIMITIVES[node.op].elementwise:
        # matmul, cosine and euclidean contract the columns of their first operand.
        return 2 * rows * columns * dims[node.args[0].type[1]]
    return rows * columns * _FLOPS.get(node.op, 1)
