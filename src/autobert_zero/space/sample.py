"""Sampling that is valid by construction, and the exact size of the space.

A table counts the expressions of every type and size that a set of primitives makes. Drawing each
production with the probability of its share of that count gives a uniform sample of the expressions of one
size, top down, without rejection: growing at random from the inputs almost never fits a matmul.
"""

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, product
from math import inf
from random import Random
from typing import NamedTuple

from autobert_zero.space import types
from autobert_zero.space.backbone import KERNELS, Attention, Backbone, Convolution, Layer
from autobert_zero.space.errors import SpaceError
from autobert_zero.space.graph import INPUT_NODES, Graph, Node
from autobert_zero.space.primitives import INPUTS, PAPER, PRIMITIVES, choose_primitives
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
        layers: Greatest depth of a backbone.
        max_ops: Largest number of operations in one attention; the published ones have at most 11.
        attention_share: Probability that a sampled layer is an attention.
        primitives: Names of the operations that sampling and mutation draw from; `paper`, `modern` or a list
            in any order, resolved.
        known: Known backbones, by name: a search begins with them, and mutations may put one of their
            attentions anywhere.
        min_layers: Least depth; 0: all have the greatest.

    Raises:
        SpaceError: A bound is out of range, a primitive is unknown, or they make no attention.
    """

    layers: int
    max_ops: int = 12
    attention_share: float = 0.5
    primitives: tuple[str, ...] = PAPER
    known: tuple[tuple[str, Backbone], ...] = ()
    min_layers: int = 0

    def __post_init__(self) -> None:
        if self.layers < 1:
            raise SpaceError(f"a backbone has at least one layer, not {self.layers}")
        if self.min_layers > self.layers:
            raise SpaceError(f"the least depth {self.min_layers} is above the greatest, {self.layers}")
        if not 1 <= self.max_ops <= 64:
            raise SpaceError(f"max_ops is between 1 and 64, not {self.max_ops}")
        if not 0 <= self.attention_share <= 1:
            raise SpaceError(f"attention_share is a probability, not {self.attention_share}")
        for name, backbone in self.known:
            if len(backbone.layers) not in self.depths:
                raise SpaceError(f"the known backbone {name} has another depth than {self.layers}")
        object.__setattr__(self, "primitives", choose_primitives(self.primitives))
        if self.attention_share and not self.table.graph_sizes(self.max_ops):
            names = ", ".join(self.primitives) or "none"
            least = self.table.least[types.ND, True]
            remedy = "add for example add or matmul" if least == inf else f"raise max_ops to {least} or more"
            raise SpaceError(
                f"no attention of up to {self.max_ops} operations can be built of these primitives: {names}; "
                f"an attention makes (n, d) from two inputs at least: {remedy}"
            )

    @property
    def depths(self) -> range:
        """The depths that a backbone may have."""
        return range(self.min_layers or self.layers, self.layers + 1)

    @property
    def known_attentions(self) -> list[Attention]:
        """The different attentions of the known backbones."""
        layers = (layer for _, backbone in self.known for layer in backbone.layers)
        return list(dict.fromkeys(layer for layer in layers if isinstance(layer, Attention)))

    @property
    def table(self) -> "Table":
        """The expressions that the primitives make."""
        return table_of(self.primitives)


class Table:
    """The expressions that a set of primitives makes, counted by type and size.

    Attributes:
        primitives: Names of the primitives, in the order of `PRIMITIVES`.
        operands: For each type, the primitives that result in it and on what.
        least: The fewest operations of an expression, by its type and whether it uses several inputs; inf:
            there is none.

    Args:
        primitives: As the attribute.
    """

    def __init__(self, primitives: tuple[str, ...]) -> None:
        self.primitives = primitives
        self.operands: dict[Type, list[tuple[str, tuple[Type, ...]]]] = {
            wanted: [
                (op, operands)
                for op in primitives
                for operands in product(types.TYPES, repeat=PRIMITIVES[op].arity)
                if PRIMITIVES[op].rule(*operands) == wanted
            ]
            for wanted in types.TYPES
        }
        self._ways: dict[_State, list[_Production]] = {}
        self._counts: dict[_State, int] = {}
        self._wheels: dict[_State, tuple[list[_Production], list[float]]] = {}
        self._sizes: dict[tuple[Type, int, str], list[int]] = {}
        self.least = self._least_sizes()

    def grow(self, random: Random, state: _State, inputs: Sequence[Node] = _ALL_INPUTS) -> Node:
        """Samples an expression of a state, each as likely as another."""
        wanted, size, _ = state
        if size == 0:
            return inputs[int(random.random() * len(inputs))]
        ways, edges = self._wheels.get(state) or self._wheel(state)
        op, operands, names_inputs, _ = ways[bisect(edges, random.random())]
        if names_inputs:
            pairs = zip(operands, random.sample(inputs, 2), strict=True)
            args = [
                self.grow(random, operand, (name,) if operand[2] == _GIVEN else inputs)
                for operand, name in pairs
            ]
        else:
            args = [self.grow(random, operand, inputs) for operand in operands]
        return Node(op, tuple(args), wanted)

    def graph_sizes(self, max_ops: int) -> list[int]:
        """The sizes up to `max_ops` of which there are attention graphs."""
        return self._nonempty(types.ND, max_ops, _SEVERAL)

    def sizes(self, wanted: Type, max_size: int) -> list[int]:
        """The sizes up to `max_size` of which there are expressions of a type, inputs among them."""
        return self._nonempty(wanted, max_size, _ANY)

    def count_graphs(self, max_ops: int) -> int:
        """How many attention graphs of up to `max_ops` operations can be written."""
        return sum(self._count((types.ND, size, _SEVERAL)) for size in range(1, max_ops + 1))

    def _nonempty(self, wanted: Type, most: int, inputs: str) -> list[int]:
        key = (wanted, most, inputs)
        if key not in self._sizes:
            self._sizes[key] = [size for size in range(most + 1) if self._count((wanted, size, inputs))]
        return self._sizes[key]

    def _productions(self, state: _State) -> list[_Production]:
        """The ways to build an expression of this state; those that build none are left out."""
        if state not in self._ways:
            wanted, size, inputs = state
            ways = []
            for op, operands in self.operands[wanted]:
                if len(operands) == 1:
                    smaller = (operands[0], size - 1, inputs)
                    ways.append(_Production(op, (smaller,), False, self._count(smaller)))
                    continue
                for left in range(size):
                    for first, second, choices in _SHARES[inputs]:
                        a, b = (operands[0], left, first), (operands[1], size - 1 - left, second)
                        weight = choices * self._count(a) * self._count(b)
                        ways.append(_Production(op, (a, b), choices > 1, weight))
            self._ways[state] = [way for way in ways if way.weight]
        return self._ways[state]

    def _count(self, state: _State) -> int:
        """How many expressions of this state there are."""
        wanted, size, inputs = state
        if size == 0:
            return {_ANY: len(INPUTS), _GIVEN: 1, _SEVERAL: 0}[inputs] if wanted == types.ND else 0
        if state not in self._counts:
            self._counts[state] = sum([way.weight for way in self._productions(state)])
        return self._counts[state]

    def _wheel(self, state: _State) -> tuple[list[_Production], list[float]]:
        """The productions of a state, and where the share of each but the last ends."""
        ways, total = self._productions(state), self._count(state)
        # Shares of exact integers: the counts outgrow floats, their ratios do not.
        wheel = ways, [edge / total for edge in accumulate([way.weight for way in ways])][:-1]
        self._wheels[state] = wheel
        return wheel

    def _least_sizes(self) -> dict[tuple[Type, bool], float]:
        """Shortest derivations: every pass makes expressions of what the pass before has made."""
        least: dict[tuple[Type, bool], float] = {
            (type_, several): inf for type_ in types.TYPES for several in (False, True)
        }
        least[types.ND, False] = 0
        while True:
            before = dict(least)
            for wanted, ways in self.operands.items():
                for _, operands in ways:
                    size = 1 + sum([least[operand, False] for operand in operands])
                    least[wanted, False] = min(least[wanted, False], size)
                    # Two operands may take different inputs; one has to have several itself.
                    several = size if len(operands) > 1 else 1 + least[operands[0], True]
                    least[wanted, True] = min(least[wanted, True], several)
            if least == before:
                return least


@cache
def table_of(primitives: tuple[str, ...]) -> Table:
    """The table of a set of primitives, filled as it is used and kept."""
    return Table(primitives)


def sample_node(
    random: Random, wanted: Type, max_size: int, primitives: tuple[str, ...] = PAPER
) -> Node | None:
    """Samples an expression of a type, its size uniform among those that exist up to `max_size`.

    Returns:
        The expression, or None where no expression of this type is that small.
    """
    table = table_of(primitives)
    sizes = table.sizes(wanted, max_size)
    return table.grow(random, (wanted, random.choice(sizes), _ANY)) if sizes else None


def sample_graph(random: Random, max_ops: int, primitives: tuple[str, ...] = PAPER) -> Graph:
    """Samples an attention graph: uniform over the sizes up to `max_ops`, then over that size's formulas.

    Args:
        random: The source of every choice.
        max_ops: Largest number of operations.
        primitives: What to draw from, as in `Space`; at least one graph must exist.
    """
    table = table_of(primitives)
    size = random.choice(table.graph_sizes(max_ops))
    return Graph(table.grow(random, (types.ND, size, _SEVERAL)))


def sample_layer(random: Random, space: Space) -> Layer:
    """Samples an attention or a convolution."""
    if random.random() < space.attention_share:
        return Attention(sample_graph(random, space.max_ops, space.primitives))
    return Convolution(random.choice(KERNELS))


def sample_backbone(random: Random, space: Space) -> Backbone:
    """Samples a depth, then every layer independently (the paper's macro space)."""
    depths = space.depths
    depth = random.choice(depths) if len(depths) > 1 else space.layers
    return Backbone(tuple(sample_layer(random, space) for _ in range(depth)))


def count_graphs(max_ops: int, primitives: tuple[str, ...] = PAPER) -> int:
    """Counts the well-typed formulas of up to `max_ops` operations and at least two inputs, exactly.

    Different formulas may be equal by algebra: this counts what can be written, not what differs.
    """
    return table_of(primitives).count_graphs(max_ops)


def count_backbones(space: Space) -> int:
    """Counts the backbones that can be written within the bounds, exactly."""
    graphs = count_graphs(space.max_ops, space.primitives)
    return sum((graphs + len(KERNELS)) ** depth for depth in space.depths)
