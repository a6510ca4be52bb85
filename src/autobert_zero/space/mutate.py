"""Mutations, valid by construction: each proposes only what the types of its place allow.

A graph mutation is one entry of `GRAPH_MUTATIONS`: it takes a `Site` and returns the expression to put
there, or None where it has nothing to offer at that place. The file is long because strategies of users
import all mutations, of graphs and of layers, from here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from autobert_zero.space.backbone import KERNEL_SIZES, Attention, Backbone, Convolution, Layer
from autobert_zero.space.errors import SpaceError
from autobert_zero.space.graph import INPUT_NODES, Graph, Node, apply
from autobert_zero.space.primitives import INPUTS, PAPER, PRIMITIVES
from autobert_zero.space.sample import Space, sample_graph, sample_layer, sample_node
from autobert_zero.space.types import Type, swap

DrawOperation = Callable[[Random, Sequence[str]], str]
"""Chooses one of the primitives that fit a place; OP-NAS draws by priority, see `search.strategies`."""

_ATTEMPTS = 64
"""Maximum number of places tried before a mutation gives up and samples again."""

_COMPARISONS = ("matmul", "cosine", "euclidean")


def draw_uniformly(random: Random, operations: Sequence[str]) -> str:
    """Draws every operation that fits with equal probability."""
    return random.choice(operations)


@dataclass(frozen=True)
class Site:
    """A place in an attention graph.

    Attributes:
        node: The expression that stands there.
        root: The whole graph's expression.
        room: Number of operations that may be added.
        primitives: Names of the primitives that may be inserted there.
    """

    node: Node
    root: Node
    room: int
    primitives: tuple[str, ...] = PAPER


def replace_operation(random: Random, site: Site, draw: DrawOperation) -> Node | None:
    """Another primitive on the same operands.

    Matmul, cosine and euclidean take each other's place with the second operand transposed as needed.
    """
    node = site.node
    options: dict[str, tuple[Node, ...]] = {}
    for op in site.primitives:
        primitive = PRIMITIVES[op]
        if op == node.op or primitive.arity != len(node.args):
            continue
        if primitive.rule(*(arg.type for arg in node.args)) == node.type:
            options[op] = node.args
        elif op in _COMPARISONS and node.op in _COMPARISONS:
            second = node.args[1]
            if second.op == "transpose" or "transpose" in site.primitives:
                options[op] = (node.args[0], _transposed(second))
    if not options:
        return None
    op = draw(random, list(options))
    return apply(op, *options[op])


def insert_operation(random: Random, site: Site, draw: DrawOperation) -> Node | None:
    """A primitive applied to the expression; a second operand is sampled (at most two operations)."""
    node = site.node
    options = [
        (op, operands)
        for op in site.primitives
        for operands in _partners(op, PRIMITIVES[op].arity, node.type)
    ]
    if not options:
        return None
    op = draw(random, list(dict.fromkeys(op for op, _ in options)))
    partner = random.choice([partner for name, partner in options if name == op])
    if partner is None:
        return apply(op, node)
    other = sample_node(random, partner, min(2, site.room - 1), site.primitives)
    if other is None:
        return None
    return apply(op, node, other)


def delete_operation(random: Random, site: Site, draw: DrawOperation) -> Node | None:
    """An operand in place of the operation."""
    kept = [arg for arg in site.node.args if arg.type == site.node.type]
    return random.choice(kept) if kept else None


def rewire(random: Random, site: Site, draw: DrawOperation) -> Node | None:
    """Another sub-expression of the same graph and type."""
    others = {
        node.code: node
        for node in site.root.walk()
        if node.type == site.node.type and node.code != site.node.code
    }
    return random.choice(list(others.values())) if others else None


def swap_input(random: Random, site: Site, draw: DrawOperation) -> Node | None:
    """Another input in place of an input."""
    if site.node.args:
        return None
    return INPUT_NODES[random.choice([name for name in INPUTS if name != site.node.op])]


def regrow(random: Random, site: Site, draw: DrawOperation) -> Node | None:
    """A freshly sampled expression of the same type."""
    return sample_node(random, site.node.type, site.room + site.node.size, site.primitives)


GRAPH_MUTATIONS: dict[str, Callable[[Random, Site, DrawOperation], Node | None]] = {
    "replace": replace_operation,
    "insert": insert_operation,
    "delete": delete_operation,
    "rewire": rewire,
    "swap input": swap_input,
    "regrow": regrow,
}


def mutate_graph(
    random: Random,
    graph: Graph,
    max_ops: int,
    draw: DrawOperation = draw_uniformly,
    primitives: tuple[str, ...] = PAPER,
) -> tuple[Graph, str]:
    """Applies one mutation at one place.

    Args:
        random: Source of all random choices.
        graph: The parent; operations that it has from elsewhere may stay.
        max_ops: Maximum number of operations.
        draw: Chooses among the operations that fit a place.
        primitives: Primitives that may be put anywhere, as in `Space`.

    Returns:
        A different graph of at most `max_ops` operations, and the mutation's name. Where no attempt
        out of `_ATTEMPTS` fits (a graph as tight as `max_ops` allows), a fresh sample.
    """
    for _ in range(_ATTEMPTS):
        name = random.choice(list(GRAPH_MUTATIONS))
        node = random.choice(list(graph.root.walk()))
        site = Site(node, graph.root, max_ops - graph.root.size, primitives)
        new = GRAPH_MUTATIONS[name](random, site, draw)
        if new is None or new == node:
            continue
        root = _substituted(graph.root, node, new)
        try:
            mutated = Graph(root)
        except SpaceError:
            continue  # fewer than two inputs remain: the only condition that is not local
        if root.size <= max_ops:
            return mutated, name
    return sample_graph(random, max_ops, primitives), "sample"


def mutate_layer_type(random: Random, backbone: Backbone, space: Space) -> tuple[Backbone, str]:
    """Changes one layer: a convolution's kernel, or its kind (the paper's inter-layer mutation).

    A convolution becomes an attention with the probability `space.attention_share`, an attention becomes
    a convolution, but where the space is of attentions only, it gets another graph. A layer that becomes
    an attention takes a copy of another layer's graph or a fresh sample. In a space with known backbones
    every second change puts one of their attentions in the layer's place instead. In a space of several
    depths every third change adds a sampled layer or takes one out.
    """
    if len(space.depths) > 1 and random.random() < 1 / 3:
        return _mutate_depth(random, backbone, space)
    index = random.randrange(len(backbone.layers))
    layer = backbone.layers[index]
    known = [other for other in space.known_attentions if other != layer]
    if known and random.random() < 0.5:
        grafted = random.choice(known)
        return _with_layer(backbone, index, grafted), f"layer {index + 1}, known layer: {layer} -> {grafted}"
    if isinstance(layer, Attention):
        attends = space.attention_share == 1
    else:
        attends = random.random() < space.attention_share
    if attends:
        others = [other for other in backbone.layers if isinstance(other, Attention) and other != layer]
        copied = others and random.random() < 0.5
        new: Layer = (
            random.choice(others)
            if copied
            else Attention(sample_graph(random, space.max_ops, space.primitives))
        )
    else:
        kernels = [Convolution(kernel) for kernel in KERNEL_SIZES]
        new = random.choice([kernel for kernel in kernels if kernel != layer])
    return _with_layer(backbone, index, new), f"layer {index + 1}: {layer} -> {new}"


def _mutate_depth(random: Random, backbone: Backbone, space: Space) -> tuple[Backbone, str]:
    """One layer more or one less, within the bounds."""
    layers, depth = backbone.layers, len(backbone.layers)
    if random.choice([other > depth for other in (depth - 1, depth + 1) if other in space.depths]):
        index = random.randrange(depth + 1)  # before any layer, or after the last
        new = sample_layer(random, space)
        return Backbone((*layers[:index], new, *layers[index:])), f"layer {index + 1}, added: {new}"
    index = random.randrange(depth)
    shorter = Backbone((*layers[:index], *layers[index + 1 :]))
    return shorter, f"layer {index + 1}, taken out: {layers[index]}"


def mutate_attention(
    random: Random, backbone: Backbone, space: Space, draw: Callable[[int], DrawOperation]
) -> tuple[Backbone, str]:
    """Mutates the graph of one attention layer (the paper's intra-layer mutation).

    Args:
        random: Source of all random choices.
        backbone: The parent; returned as it is where it has no attention.
        space: The bounds.
        draw: Returns how operations are drawn at a layer position, from 0.
    """
    places = [index for index, layer in enumerate(backbone.layers) if isinstance(layer, Attention)]
    if not places:
        return backbone, ""
    index = random.choice(places)
    layer = backbone.layers[index]
    assert isinstance(layer, Attention)
    graph, name = mutate_graph(random, layer.graph, space.max_ops, draw(index), space.primitives)
    new = Attention(graph)
    return _with_layer(backbone, index, new), f"layer {index + 1}, {name}: {layer} -> {new}"


def _with_layer(backbone: Backbone, index: int, layer: Layer) -> Backbone:
    return Backbone((*backbone.layers[:index], layer, *backbone.layers[index + 1 :]))


def _transposed(node: Node) -> Node:
    return node.args[0] if node.op == "transpose" else apply("transpose", node)


def _partners(op: str, arity: int, type_: Type) -> list[Type | None]:
    """Types of a second operand with which `op` keeps the type of the first; None: it needs no second."""
    if arity == 1:
        return [None] if PRIMITIVES[op].rule(type_) == type_ else []
    candidates = (type_, swap(type_), type_[0] * 2, type_[1] * 2)
    return [other for other in dict.fromkeys(candidates) if PRIMITIVES[op].rule(type_, other) == type_]


def _substituted(root: Node, old: Node, new: Node) -> Node:
    """Replaces every occurrence of `old`: a shared node is one node."""
    if root == old:
        return new
    if not root.args or old.code not in root.code:
        return root
    return Node(root.op, tuple([_substituted(arg, old, new) for arg in root.args]), root.type)
