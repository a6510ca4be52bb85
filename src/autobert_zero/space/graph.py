"""Typed attention graphs: immutable expressions in which equal sub-expressions are one node."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from autobert_zero.space import types
from autobert_zero.space.errors import SpaceError
from autobert_zero.space.primitives import INPUTS, MIN_INPUTS, PRIMITIVES
from autobert_zero.space.types import Type

_SYMBOLS = {name: primitive.symbol for name, primitive in PRIMITIVES.items()}
_INPUT_CODES = {name: str(index) for index, name in enumerate(INPUTS)}
_BY_SYMBOL = {primitive.symbol: primitive for primitive in PRIMITIVES.values()}


class Node:
    """An input or an operation on other nodes; a value: equal code means equal node.

    Attributes:
        op: The name of a primitive or of an input.
        args: The operands, in order.
        type: Symbolic type of the result, see `space.types`.
        size: Number of operations in the expression, written out as a tree.
        code: Prefix notation, one character per node (inputs are digits): `@s/@0t12` is
            `softmax(scale(Q @ K.T)) @ V`. Identifies the expression exactly.
    """

    __slots__ = ("args", "code", "op", "size", "type")

    def __init__(self, op: str, args: tuple[Node, ...], type_: Type) -> None:
        self.op = op
        self.args = args
        self.type = type_
        self.size: int
        self.code: str
        if len(args) == 1:
            (a,) = args
            self.size = a.size + 1
            self.code = _SYMBOLS[op] + a.code
        elif args:
            a, b = args
            self.size = a.size + b.size + 1
            self.code = _SYMBOLS[op] + a.code + b.code
        else:
            self.size = 0
            self.code = _INPUT_CODES[op]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self.code == other.code

    def __hash__(self) -> int:
        return hash(self.code)

    def __repr__(self) -> str:
        return f"Node({self.code!r})"

    def walk(self) -> Iterator[Node]:
        """Yields every node of the expression tree, the root first, shared ones as often as they occur."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.args))


INPUT_NODES: dict[str, Node] = {name: Node(name, (), types.ND) for name in INPUTS}
INPUT_CODES: dict[str, Node] = {node.code: node for node in INPUT_NODES.values()}
"""The input nodes by code, in the order of `INPUTS`."""


def apply(op: str, *args: Node) -> Node:
    """Applies a primitive to operands.

    Raises:
        SpaceError: The primitive is unknown, or the operands' number or types do not fit.
    """
    primitive = PRIMITIVES.get(op)
    if primitive is None:
        raise SpaceError(f"unknown primitive {op!r}; known: {', '.join(PRIMITIVES)}")
    if len(args) != primitive.arity:
        raise SpaceError(f"{op} takes {primitive.arity} operand(s), got {len(args)}")
    result = primitive.rule(*(arg.type for arg in args))
    if result is None:
        got = ", ".join(types.show(arg.type) for arg in args)
        raise SpaceError(f"{op} expects {primitive.expects}, got {got}")
    return Node(op, args, result)


def decode(code: str) -> Node:
    """Builds the expression that a code identifies, the inverse of `Node.code`."""
    done: list[Node] = []
    for symbol in reversed(code):
        if symbol in INPUT_CODES:
            done.append(INPUT_CODES[symbol])
            continue
        primitive = _BY_SYMBOL[symbol]
        args = (done.pop(),) if primitive.arity == 1 else (done.pop(), done.pop())
        type_ = primitive.rule(*[arg.type for arg in args])
        assert type_ is not None
        done.append(Node(primitive.name, args, type_))
    (root,) = done
    return root


@dataclass(frozen=True)
class Graph:
    """An attention head: a directed acyclic graph from two to four inputs to one (n, d) output.

    Raises:
        SpaceError: The output is not (n, d), or fewer than two inputs are used.
    """

    root: Node

    def __post_init__(self) -> None:
        if self.root.type != types.ND:
            raise SpaceError(
                f"the output must be (n, d) so that layers stack, got {types.show(self.root.type)}"
            )
        if len(self.inputs) < MIN_INPUTS:
            raise SpaceError(
                f"an attention uses at least {MIN_INPUTS} of the inputs {', '.join(INPUTS)}, "
                f"this one uses {', '.join(self.inputs)}"
            )

    @property
    def code(self) -> str:
        """Prefix code of the expression, see `Node.code`."""
        return self.root.code

    @property
    def inputs(self) -> tuple[str, ...]:
        """The inputs in use, in the order Q, K, V, P."""
        code = self.root.code
        return tuple([node.op for digit, node in INPUT_CODES.items() if digit in code])

    @property
    def operations(self) -> frozenset[str]:
        """Names of the primitives that occur."""
        return frozenset([_BY_SYMBOL[symbol].name for symbol in set(self.root.code).difference(INPUT_CODES)])

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The distinct nodes, operands before what uses them; the last is the output."""
        distinct: dict[str, Node] = {}

        def visit(node: Node) -> None:
            if node.code not in distinct:
                for arg in node.args:
                    visit(arg)
                distinct[node.code] = node

        visit(self.root)
        return tuple(distinct.values())
