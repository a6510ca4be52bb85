"""Backbones as sequences of choices, which REINFORCE and TPE make.

A layer is its kind and, for an attention, one symbol per node in prefix order. A symbol is an input or a
way to expand a place of the wanted type; which ones are legal follows from the type, from the operations
that are left, and from the rule that an attention uses two inputs. Every sequence of legal choices is a
backbone, and every backbone of the space is a sequence of choices.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from autobert_zero.space import (
    LAYER_KINDS,
    PRIMITIVES,
    Attention,
    Backbone,
    Convolution,
    Graph,
    Layer,
    Node,
    Space,
    types,
)
from autobert_zero.space.graph import INPUT_NODES, apply
from autobert_zero.space.primitives import INPUTS
from autobert_zero.space.table import table_of
from autobert_zero.space.types import Type

ATTENTION = LAYER_KINDS[0]


def _symbol(op: str, operands: Sequence[Type]) -> str:
    """The operation, with the axis that its operands share if there are two possible axes."""
    return f"{op} over {operands[0][1]}" if op in _BY_AXIS else op


_EVERYTHING = table_of(tuple(PRIMITIVES))
_BY_AXIS = {
    op for ways in _EVERYTHING.rules.values() for op, _ in ways if sum(other == op for other, _ in ways) > 1
}


@cache
def expansions(primitives: tuple[str, ...]) -> dict[Type, dict[str, tuple[str, tuple[Type, ...]]]]:
    """For each type, by symbol: the primitive that results in it and the types of its operands."""
    return {
        wanted: {_symbol(op, operands): (op, operands) for op, operands in ways}
        for wanted, ways in table_of(primitives).rules.items()
    }


SYMBOLS: tuple[str, ...] = tuple(
    dict.fromkeys(
        [
            *INPUTS,
            *(_symbol(op, operands) for ways in _EVERYTHING.rules.values() for op, operands in ways),
        ]
    )
)
"""The symbols of expressions of any type, from all primitives."""


@cache
def alphabet(primitives: tuple[str, ...]) -> tuple[str, ...]:
    """The symbols of expressions from these primitives."""
    own = {*INPUTS, *(symbol for ways in expansions(primitives).values() for symbol in ways)}
    return tuple([symbol for symbol in SYMBOLS if symbol in own])


class ChoicePoint(NamedTuple):
    """A point where a choice is made.

    Attributes:
        layer: Position of the layer, from 0.
        step: Number of choices made before in the layer.
        wanted: Type of the expression; empty for the kind of the layer.
        parent: The symbol above and the index of this operand; empty at the root.
    """

    layer: int
    step: int
    wanted: Type = ""
    parent: tuple[str, int] = ("", 0)


Choose = Callable[[ChoicePoint, Sequence[str]], str]
"""Chooses one of the legal symbols for a choice point."""


def symbols(layer: Layer) -> list[str]:
    """The choices that make a layer."""
    if isinstance(layer, Convolution):
        return [str(layer)]
    nodes = layer.graph.root.walk()
    return [ATTENTION, *(_symbol(node.op, [arg.type for arg in node.args]) for node in nodes)]


def derive(space: Space, choose: Choose) -> Backbone:
    """Makes a backbone of the space by choices."""
    return Backbone(tuple(derive_layer(space, index, choose) for index in range(space.layers)))


def derive_layer(space: Space, index: int, choose: Choose) -> Layer:
    """Makes one layer by choices; the length of an expression is at most 2 `max_ops` + 1 symbols."""
    kinds = {0.0: LAYER_KINDS[1:], 1.0: LAYER_KINDS[:1]}.get(space.attention_share, LAYER_KINDS)
    kind = choose(ChoicePoint(index, 0), kinds)
    if kind != ATTENTION:
        return Convolution(int(kind.split()[1]))
    return Attention(Graph(_Expression(space, index, choose).grow()))


class _Expression:
    """Grows one expression, in prefix order."""

    def __init__(self, space: Space, layer: int, choose: Choose) -> None:
        self._layer = layer
        self._choose = choose
        self._expansions = expansions(space.primitives)
        self._least = space.table.least
        self._left = space.max_ops
        self._step = 0
        self._open: list[Type] = []  # types that are still wanted elsewhere
        self._branched = False  # some operation above has two operands
        self._inputs: set[str] = set()

    def grow(self, wanted: Type = types.ND, parent: tuple[str, int] = ("", 0)) -> Node:
        self._step += 1
        symbol = self._choose(ChoicePoint(self._layer, self._step, wanted, parent), self._legal(wanted))
        if symbol in INPUT_NODES:
            self._inputs.add(symbol)
            return INPUT_NODES[symbol]
        op, operands = self._expansions[wanted][symbol]
        self._left -= 1
        self._branched |= len(operands) > 1
        self._open.extend(reversed(operands))
        return apply(op, *[self.grow(self._open.pop(), (symbol, index)) for index in range(len(operands))])

    def _legal(self, wanted: Type) -> list[str]:
        """The symbols after which the expression can still be finished, with two inputs, within its size."""
        room = self._left - sum([self._least[type_, False] for type_ in self._open])
        legal = []
        if wanted == types.ND and self._branched:
            # At the last place a second input is needed.
            taken = self._inputs if not self._open and len(self._inputs) == 1 else ()
            legal += [name for name in INPUTS if name not in taken]
        for symbol, (_, operands) in self._expansions[wanted].items():
            several = len(operands) == 1 and not self._branched
            if 1 + sum([self._least[operand, several] for operand in operands]) <= room:
                legal.append(symbol)
        return legal
