"""Counts the expressions of every type and size of a set of primitives, and samples them uniformly."""

from bisect import bisect
from collections.abc import Sequence
from functools import cache
from itertools import accumulate, product
from math import inf
from random import Random
from typing import NamedTuple

from autobert_zero.space import types
from autobert_zero.space.graph import INPUT_NODES, Node
from autobert_zero.space.primitives import INPUTS, PRIMITIVES
from autobert_zero.space.types import Type

_ALL_INPUTS = tuple(INPUT_NODES.values())


ANY, GIVEN, SEVERAL = "any", "given", "several"
"""The inputs that an expression uses: any, a given one, or at least two."""

# How the two operands of a binary operation may share this out, and how many choices of the given
# inputs there are: several inputs are several in the first operand; or one there, several in the
# second; or one there and another one in the second.
_SHARES = {
    ANY: ((ANY, ANY, 1),),
    GIVEN: ((GIVEN, GIVEN, 1),),
    SEVERAL: (
        (SEVERAL, ANY, 1),
        (GIVEN, SEVERAL, len(INPUTS)),
        (GIVEN, GIVEN, len(INPUTS) * (len(INPUTS) - 1)),
    ),
}

_State = tuple[Type, int, str]
"""A set of expressions: type, number of operations, inputs in use."""


class _Production(NamedTuple):
    """A way to build an expression: a primitive and the states of its operands.

    Attributes:
        op: The primitive.
        operands: The states that its operands are drawn from.
        names_inputs: Whether given inputs are to be chosen for the operands.
        weight: Number of expressions that are built this way.
    """

    op: str
    operands: tuple[_State, ...]
    names_inputs: bool
    weight: int


class Table:
    """The expressions that a set of primitives makes, counted by type and size.

    Attributes:
        primitives: Names of the primitives, in the order of `PRIMITIVES`.
        rules: For each type, the primitives that result in it, each with the types of its operands.
        least: The fewest operations of an expression, by its type and whether it uses several inputs; inf
            where there is none.
    """

    def __init__(self, primitives: tuple[str, ...]) -> None:
        self.primitives = primitives
        self.rules: dict[Type, list[tuple[str, tuple[Type, ...]]]] = {
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
        self._shares: dict[_State, tuple[list[_Production], list[float]]] = {}
        self._sizes: dict[tuple[Type, int, str], list[int]] = {}
        self.least = self._least_sizes()

    def sample(self, random: Random, state: _State, inputs: Sequence[Node] = _ALL_INPUTS) -> Node:
        """Samples an expression of a state, each as likely as another."""
        wanted, size, _ = state
        if size == 0:
            return inputs[int(random.random() * len(inputs))]
        ways, edges = self._shares.get(state) or self._cumulative_shares(state)
        op, operands, names_inputs, _ = ways[bisect(edges, random.random())]
        if names_inputs:
            pairs = zip(operands, random.sample(inputs, 2), strict=True)
            args = [
                self.sample(random, operand, (name,) if operand[2] == GIVEN else inputs)
                for operand, name in pairs
            ]
        else:
            args = [self.sample(random, operand, inputs) for operand in operands]
        return Node(op, tuple(args), wanted)

    def graph_sizes(self, max_ops: int) -> list[int]:
        """The sizes up to `max_ops` of which there are attention graphs."""
        return self._nonempty(types.ND, max_ops, SEVERAL)

    def sizes(self, wanted: Type, max_size: int) -> list[int]:
        """The sizes up to `max_size` of which there are expressions of a type, inputs among them."""
        return self._nonempty(wanted, max_size, ANY)

    def count_graphs(self, max_ops: int) -> int:
        """Number of attention graphs of up to `max_ops` operations that can be written."""
        return sum(self._count((types.ND, size, SEVERAL)) for size in range(1, max_ops + 1))

    def _nonempty(self, wanted: Type, max_size: int, inputs: str) -> list[int]:
        key = (wanted, max_size, inputs)
        if key not in self._sizes:
            self._sizes[key] = [size for size in range(max_size + 1) if self._count((wanted, size, inputs))]
        return self._sizes[key]

    def _productions(self, state: _State) -> list[_Production]:
        """The ways to build an expression of this state; those that build none are left out."""
        if state not in self._ways:
            wanted, size, inputs = state
            ways = []
            for op, operands in self.rules[wanted]:
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
        """Number of expressions of this state."""
        wanted, size, inputs = state
        if size == 0:
            return {ANY: len(INPUTS), GIVEN: 1, SEVERAL: 0}[inputs] if wanted == types.ND else 0
        if state not in self._counts:
            self._counts[state] = sum([way.weight for way in self._productions(state)])
        return self._counts[state]

    def _cumulative_shares(self, state: _State) -> tuple[list[_Production], list[float]]:
        """The productions of a state, and where the share of each but the last ends."""
        ways, total = self._productions(state), self._count(state)
        # Shares of exact integers: the counts outgrow floats, their ratios do not.
        wheel = ways, [edge / total for edge in accumulate([way.weight for way in ways])][:-1]
        self._shares[state] = wheel
        return wheel

    def _least_sizes(self) -> dict[tuple[Type, bool], float]:
        """Shortest derivations: every pass makes expressions of what the pass before has made."""
        least: dict[tuple[Type, bool], float] = {
            (type_, several): inf for type_ in types.TYPES for several in (False, True)
        }
        least[types.ND, False] = 0
        while True:
            before = dict(least)
            for wanted, ways in self.rules.items():
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
