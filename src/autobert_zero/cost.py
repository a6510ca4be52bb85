"""Parameters and floating-point operations of a backbone: pure arithmetic, no model is built."""

from dataclasses import dataclass

from autobert_zero.space import PRIMITIVES, Attention, Backbone, Layer, Node

_SOFTMAX_FLOPS = 5
"""Operations per entry of a softmax: maximum, difference, exponential, sum, division."""


@dataclass(frozen=True)
class Sizes:
    """The sizes that costs depend on.

    Attributes:
        width: d.
        heads: H.
        inner: Inner width of the feed-forward block.
        vocab_size: Tokens in the vocabulary.
        max_positions: Longest sequence.
        token_types: Number of segments.
    """

    width: int
    heads: int
    inner: int
    vocab_size: int
    max_positions: int
    token_types: int = 2


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
    """What a layer with its feed-forward block takes on some machine, for one batch.

    Attributes:
        forward: Seconds of a forward pass.
        training: Seconds of a forward and a backward pass.
        kept: Bytes that the forward pass keeps for the backward pass, without weights.
    """

    forward: float
    training: float
    kept: int


def layer_cost(layer: Layer, sizes: Sizes, tokens: int) -> LayerCost:
    """Costs of one layer over a sequence of so many tokens."""
    width, inner = sizes.width, sizes.inner
    parameters = _linear(width, inner) + _linear(inner, width) + 4 * width  # feed-forward, two norms
    flops = 4 * tokens * width * inner
    if isinstance(layer, Attention):
        inputs = len(layer.graph.inputs)
        parameters += _linear(width, inputs * width) + _linear(width, width)
        flops += 2 * tokens * width * width * (inputs + 1)
        dims = {"n": tokens, "d": width // sizes.heads}
        flops += sizes.heads * sum(_node_flops(node, dims) for node in layer.graph.nodes)
    else:
        parameters += _linear(width, 2 * width) + _linear(width, width) + sizes.heads * layer.kernel
        flops += 2 * tokens * width * width * 3 + 2 * tokens * width * layer.kernel
    return LayerCost(parameters, flops)


def parameters(backbone: Backbone, sizes: Sizes) -> int:
    """Number of weights of the masked language model; the decoder shares the token embedding."""
    width = sizes.width
    embeddings = (sizes.vocab_size + sizes.max_positions + sizes.token_types) * width + 2 * width
    head = _linear(width, width) + 2 * width + sizes.vocab_size
    return embeddings + head + sum(layer_cost(layer, sizes, 1).parameters for layer in backbone.layers)


def flops(backbone: Backbone, sizes: Sizes, tokens: int) -> int:
    """Operations of the encoder's forward pass over one sequence, without embeddings, norms and head."""
    return sum(layer_cost(layer, sizes, tokens).flops for layer in backbone.layers)


def _linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def _node_flops(node: Node, dims: dict[str, int]) -> int:
    rows, columns = (dims[axis] for axis in node.type)
    if not node.args or node.op == "transpose":
        return 0
    if len(node.args) == 2 and not PRIMITIVES[node.op].elementwise:
        # matmul, cosine and euclidean contract the columns of their first operand.
        return 2 * rows * columns * dims[node.args[0].type[1]]
    return rows * columns * (_SOFTMAX_FLOPS if node.op == "softmax" else 1)
