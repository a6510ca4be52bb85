"""Sampling that is valid by construction, and the exact size of the space.

A table counts the expressions of every type and size. Drawing each production with the probability
of its share of that count gives a uniform sample of the expressions of one size, top down, without
rejection: growing at random from the inputs almost never fits a matmul.
"""

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, product
from random import Random
from typing import NamedTuple

from autobert_zero.space import types
from autobert_zero.space.backbone import KERNELS, Attention, Backbone, Convolution, Layer
from autobert_zero.space.errors import SpaceError
from autobert_zero.space.graph import INPUT_NODES, Graph, Node
from autobert_zero.space.primitives import INPUTS, PRIMITIVES
from autobert_zero.space.types import Type

_ALL_INPUTS = tuple(INPUT_NODES.values())

# Which inputs an expression uses: any, one that is given, or at least two.
_ANY, _GIVEN, _SEVERAL = "any", "given", "several"

# How the two operands of a binary operation may share this out, and how many choices of the given
# inputs there are: several inputs are several in the first operand; or one there, several in the
# second; or one there and another one in the second.
_SHARES = {
    _ANY: ((_ANY, _ANY, 1),),
    _GIVEN: ((_GIVEN, _GIVEN, 1),),
    _SEVERAL: (
        (_SEVERAL, _ANY, 1),
        (_GIVEN, _SEVERAL, len(INPUTS)),
        (_GIVEN, _GIVEN, len(INPUTS) * (len(INPUTS) - 1)),
    ),
}

_State = tuple[Type, int, str]
"""A set of expressions: type, number of operations, inputs in use."""


class _Production(NamedTuple):
    """A way to build an expression: a primitive and the states of its operands.

    Attributes:
        op: The primitive.
        operands: What its operands are drawn from.
        names_inputs: Whether given inputs are to be chosen for the operands.
        weight: How many expressions are built this way.
    """

    op: str
    operands: tuple[_State, ...]
    names_inputs: bool
    weight: int


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


OPERANDS: dict[Type, list[tuple[str, tuple[Type, ...]]]] = {
    wanted: [
        (op, operands)
        for op, primitive in PRIMITIVES.items()
        for operands in product(types.TYPES, repeat=primitive.arity)
        if primitive.rule(*operands) == wanted
    ]
    for wanted in types.TYPES
}
"""For each type, the primitives that result in it and on what."""


@cache
def _productions(state: _State) -> list[_Production]:
    """The ways to build an expression of this state; those that build none are left out."""
    wanted, size, inputs = state
    ways = []
    for op, operands in OPERANDS[wanted]:
        if len(operands) == 1:
            smaller = (operands[0], size - 1, inputs)
            ways.append(_Production(op, (smaller,), False, _count(smaller)))
            continue
        for left in range(size):
            for first, second, choices in _SHARES[inputs]:
                a, b = (operands[0], left, first), (operands[1], size - 1 - left, second)
                ways.append(_Production(op, (a, b), choices > 1, choices * _count(a) * _count(b)))
    return [way for way in ways if way.weight]


@cache
def _count(state: _State) -> int:
    """How many expressions of this state there are."""
    wanted, size, inputs = state
    if size == 0:
        return {_ANY: len(INPUTS), _GIVEN: 1, _SEVERAL: 0}[inputs] if wanted == types.ND else 0
    return sum([way.weight for way in _productions(state)])


@cache
def _wheel(state: _State) -> tuple[list[_Production], list[float]]:
    """The productions of a state, and where the share of each but the last ends."""
    ways, total = _productions(state), _count(state)
    # Shares of exact integers: the counts outgrow floats, their ratios do not.
    return ways, [edge / total for edge in accumulate([way.weight for way in ways])][:-1]


def _grow(random: Random, state: _State, inputs: Sequence[Node] = _ALL_INPUTS) -> Node:
    """Samples an expression of a state, each as likely as another."""
    wanted, size, _ = state
    if size == 0:
        return inputs[int(random.random() * len(inputs))]
    ways, edges = _wheel(state)
    op, operands, names_inputs, _ = ways[bisect(edges, random.random())]
    if names_inputs:
        pairs = zip(operands, random.sample(inputs, 2), strict=True)
        args = [
            _grow(random, operand, (name,) if operand[2] == _GIVEN else inputs) for operand, name in pairs
        ]
    else:
        args = [_grow(random, operand, inputs) for operand in operands]
    return Node(op, tuple(args), wanted)


def sample_node(random: Random, wanted: Type, max_size: int) -> Node | None:
    """Samples an expression of a type, its size uniform among those that exist up to `max_size`.

    Returns:
        The expression, or None where no expression of this type is that small.
    """
    sizes = [size for size in range(max_size + 1) if _count((wanted, size, _ANY))]
    return _grow(random, (wanted, random.choice(sizes), _ANY)) if sizes else None


@cache
def least_size(wanted: Type, several: bool = False) -> int:
    """The fewest operations of an expression of a type, of any inputs or of several."""
    size = 0
    while not _count((wanted, size, _SEVERAL if several else _ANY)):
        size += 1
    return size


def sample_graph(random: Random, max_ops: int) -> Graph:
    """Samples an attention graph: uniform over sizes 1 to `max_ops`, then over the formulas of that size."""
    return Graph(_grow(random, (types.ND, random.randint(1, max_ops), _SEVERAL)))


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
    return sum(_count((types.ND, size, _SEVERAL)) for size in range(1, max_ops + 1))


def count_backbones(space: Space) -> int:
    """Counts the backbones that can be written within the bounds, exactly."""
    return (count_graphs(space.max_ops) + len(KERNELS)) ** space.layers
