"""Sampling that is valid by construction, and the exact size of the space.

A table counts the expressions of every type and size. Drawing each production with the probability
of its share of that count gives a uniform sample of the expressions of one size, top down, without
rejection: growing at random from the inputs almost never fits a matmul.
"""

from bisect import bisect
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, product
from math import prod
from random import Random

from autobert_zero.space import types
from autobert_zero.space.backbone import KERNELS, Attention, Backbone, Convolution, Layer
from autobert_zero.space.errors import SpaceError
from autobert_zero.space.graph import INPUT_NODES, Graph, Node
from autobert_zero.space.primitives import INPUTS, MIN_INPUTS, PRIMITIVES
from autobert_zero.space.types import Type

_INPUT_LIST = [INPUT_NODES[name] for name in INPUTS]

# (type, size, whether at least one binary operation is needed, so that two inputs fit)
_State = tuple[Type, int, bool]


@dataclass(frozen=True)
class Space:
    """The bounds of a search.

    Attributes:
        layers: Depth of every backbone.
        max_ops: Largest number of operations in one attention; the published ones have at most 11.
        attention_share: Probability that a sampled layer is an attention.

    Raises:
        SpaceError: A bound is out of range.
    """

    layers: int
    max_ops: int = 12
    attention_share: float = 0.5

    def __post_init__(self) -> None:
        if self.layers < 1:
            raise SpaceError(f"a backbone has at least one layer, not {self.layers}")
        if not 1 <= self.max_ops <= 64:
            raise SpaceError(f"max_ops is between 1 and 64, not {self.max_ops}")
        if not 0 <= self.attention_share <= 1:
            raise SpaceError(f"attention_share is a probability, not {self.attention_share}")


def _operand_types(op: str, wanted: Type) -> list[tuple[Type, ...]]:
    primitive = PRIMITIVES[op]
    return [
        operands
        for operands in product(types.TYPES, repeat=primitive.arity)
        if primitive.rule(*operands) == wanted
    ]


@cache
def _productions(state: _State) -> list[tuple[str, tuple[_State, ...]]]:
    """The ways to build an expression of this state: a primitive and the states of its operands."""
    wanted, size, branching = state
    ways: list[tuple[str, tuple[_State, ...]]] = []
    for op, primitive in PRIMITIVES.items():
        for operands in product(types.TYPES, repeat=primitive.arity):
            if primitive.rule(*operands) != wanted:
                continue
            if primitive.arity == 1:
                ways.append((op, ((operands[0], size - 1, branching),)))
            else:
                ways.extend(
                    (op, ((operands[0], left, False), (operands[1], size - 1 - left, False)))
                    for left in range(size)
                )
    return ways


@cache
def _count(state: _State, names: int = len(INPUTS)) -> int:
    """How many expressions of this state there are over so many inputs."""
    wanted, size, branching = state
    if size == 0:
        return names if wanted == types.ND and not branching else 0
    return sum(_ways(operands, names) for _, operands in _productions(state))


def _ways(operands: tuple[_State, ...], names: int = len(INPUTS)) -> int:
    return prod(_count(operand, names) for operand in operands)


@cache
def _wheel(state: _State) -> tuple[list[tuple[str, tuple[_State, ...]]], list[float]]:
    ways = [way for way in _productions(state) if _ways(way[1])]
    counts = [_ways(operands) for _, operands in ways]
    total = sum(counts)
    # Shares of exact integers: the counts outgrow floats, their ratios do not.
    edges = [edge / total for edge in accumulate(counts)]
    return ways, edges[:-1]


def _grow(random: Random, state: _State) -> Node:
    if state[1] == 0:
        return _INPUT_LIST[int(random.random() * len(_INPUT_LIST))]
    ways, edges = _wheel(state)
    op, operands = ways[bisect(edges, random.random())]
    return Node(op, tuple([_grow(random, operand) for operand in operands]), state[0])


def sample_node(random: Random, wanted: Type, max_size: int) -> Node | None:
    """Samples an expression of a type, its size uniform among those that exist up to `max_size`.

    Returns:
        The expression, or None where no expression of this type is that small.
    """
    sizes = [size for size in range(max_size + 1) if _count((wanted, size, False))]
    return _grow(random, (wanted, random.choice(sizes), False)) if sizes else None


def sample_graph(random: Random, max_ops: int) -> Graph:
    """Samples an attention graph: uniform over sizes 1 to `max_ops`, then over the formulas of that size.

    Formulas that use one input only are mapped to a neighbour by renaming one occurrence.
    """
    root = _grow(random, (types.ND, random.randint(1, max_ops), True))
    digits = [character for character in root.code if character.isdigit()]
    if len(set(digits)) < MIN_INPUTS:
        other = random.choice([name for index, name in enumerate(INPUTS) if str(index) != digits[0]])
        root = _with_leaf(root, random.randrange(len(digits)), INPUT_NODES[other])
    return Graph(root)


def _with_leaf(node: Node, index: int, leaf: Node) -> Node:
    """Replaces the index-th input of an expression, counted from the left."""
    if not node.args:
        return leaf
    args = []
    for arg in node.args:
        leaves = sum(map(str.isdigit, arg.code))
        args.append(_with_leaf(arg, index, leaf) if 0 <= index < leaves else arg)
        index -= leaves
    return Node(node.op, tuple(args), node.type)


def sample_layer(random: Random, space: Space) -> Layer:
    """Samples an attention or a convolution."""
    if random.random() < space.attention_share:
        return Attention(sample_graph(random, space.max_ops))
    return Convolution(random.choice(KERNELS))


def sample_backbone(random: Random, space: Space) -> Backbone:
    """Samples every layer independently (the paper's macro space)."""
    return Backbone(tuple(sample_layer(random, space) for _ in range(space.layers)))


def count_graphs(max_ops: int) -> int:
    """Counts the well-typed formulas of up to `max_ops` operations and at least two inputs, exactly.

    Different formulas may be equal by algebra: this counts what can be written, not what differs.
    """
    names = len(INPUTS)
    return sum(
        _count((types.ND, size, True)) - names * _count((types.ND, size, True), 1)
        for size in range(1, max_ops + 1)
    )


def count_backbones(space: Space) -> int:
    """Counts the backbones that can be written within the bounds, exactly."""
    return (count_graphs(space.max_ops) + len(KERNELS)) ** space.layers
