"""The models of AutoBERT-Zero in one file, which needs torch, transformers and safetensors only.

Written by `autobert-zero export` from the modules named below. Licence: Apache-2.0.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import torch
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache, reduce
from itertools import permutations
from pathlib import Path
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedModel, initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling, MaskedLMOutput, MultipleChoiceModelOutput, QuestionAnsweringModelOutput, SequenceClassifierOutput, TokenClassifierOutput
from transformers.utils import ModelOutput, can_return_tuple
from typing import Any, Self, cast


# autobert_zero.space.types: Symbolic shapes: a type is (rows, columns) over n = tokens and d = head dimension.


Type = str


ND: Type = "nd"


NN: Type = "nn"


def show(type_: Type) -> str:
    """Writes a type as a person reads it: `(n, d)`."""
    return f"({type_[0]}, {type_[1]})"


def keep(a: Type) -> Type:
    """Elementwise operations and softmax keep the type."""
    return a


def swap(a: Type) -> Type:
    """(a, b) -> (b, a)."""
    return a[1] + a[0]


def same(a: Type, b: Type) -> Type | None:
    """(a, b), (a, b) -> (a, b)."""
    return a if a == b else None


def contract(a: Type, b: Type) -> Type | None:
    """(a, b), (b, c) -> (a, c)."""
    return a[0] + b[1] if a[1] == b[0] else None


def pairwise(a: Type, b: Type) -> Type | None:
    """(a, c), (b, c) -> (a, b): every row of the first is compared with every row of the second."""
    return a[0] + b[0] if a[1] == b[1] else None


# autobert_zero.errors: The base of all errors that a user can mend.


class UserError(ValueError):
    """A mistake in what the user gave: names the thing, the place and the remedy.

    The command line prints it as one message and exits with code 2; any other exception is a bug.
    """


# autobert_zero.space.errors: Errors of the search space: all are `ValueError`s that name the thing, the place and the remedy.


_MARGIN = 80
"""How many characters of a long formula are shown on either side of the error."""


class SpaceError(UserError):
    """Something that is not a member of the search space."""


class FormulaError(SpaceError):
    """A formula that does not parse or does not type.

    Args:
        problem: What is wrong and what was expected, in one line.
        text: The formula as written.
        column: 0-based column of the offending part in `text`.
    """

    def __init__(self, problem: str, text: str, column: int) -> None:
        super().__init__(problem, text, column)
        self.problem = problem
        self.text = text
        self.column = column

    def __str__(self) -> str:
        begin, end = max(self.column - _MARGIN, 0), self.column + _MARGIN
        before, after = "... " if begin else "", " ..." if self.text[end:] else ""
        shown = "".join([symbol if symbol.isprintable() else " " for symbol in self.text[begin:end]])
        caret = " " * (len(before) + self.column - begin) + "^"
        return f"{self.problem} (column {self.column + 1})\n    {before}{shown}{after}\n    {caret}"


# autobert_zero.space.primitives: The primitive operations of the paper, one entry each ("Search space", intra-layer).


INPUTS: tuple[str, ...] = ("Q", "K", "V", "P")
"""Input nodes: each is its own linear projection of the layer's input X, per head (n, d)."""


MIN_INPUTS = 2
"""An attention graph uses two to four of the inputs (paper, "Search space")."""


@dataclass(frozen=True)
class Primitive:
    """A mathematical operation that a graph node may apply.

    Attributes:
        name: The name in formulas, statistics and kernels.
        symbol: One character, unique; graphs are coded with it in prefix (Polish) notation.
        arity: Number of operands, 1 or 2.
        rule: Operand types to the result's type, or None where the operands do not fit.
        expects: What `rule` accepts, for error messages.
        computes: What it computes, for the documentation.
        elementwise: Acts on every entry alone, hence commutes with transposition.
        commutative: The order of the operands does not matter.
    """

    name: str
    symbol: str
    arity: int
    rule: Callable[..., Type | None]
    expects: str
    computes: str
    elementwise: bool = False
    commutative: bool = False


PRIMITIVES: dict[str, Primitive] = {
    primitive.name: primitive
    for primitive in (
        Primitive("neg", "-", 1, keep, "(a, b)", "-x", elementwise=True),
        Primitive("transpose", "t", 1, swap, "(a, b)", "rows become columns"),
        Primitive("scale", "/", 1, keep, "(a, b)", "x / sqrt(d_h)", elementwise=True),
        Primitive("softmax", "s", 1, keep, "(a, b)", "e^x / sum of e^x, over the last axis"),
        Primitive("logsigmoid", "l", 1, keep, "(a, b)", "log(1 / (1 + e^-x))", elementwise=True),
        Primitive("softsign", "g", 1, keep, "(a, b)", "x / (1 + abs(x))", elementwise=True),
        Primitive("add", "+", 2, same, "(a, b) + (a, b)", "x + y", elementwise=True, commutative=True),
        Primitive("matmul", "@", 2, contract, "(a, b) @ (b, c)", "the matrix product"),
        Primitive("cosine", "c", 2, pairwise, "(a, c), (b, c)", "cosine of every two rows"),
        Primitive("euclidean", "e", 2, pairwise, "(a, c), (b, c)", "distance of every two rows"),
    )
}


# autobert_zero.space.graph: Typed attention graphs: immutable expressions in which equal sub-expressions are one node.


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
        code: Prefix notation, one character a node (inputs are digits): `@s/@0t12` is
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


INPUT_NODES: dict[str, Node] = {name: Node(name, (), ND) for name in INPUTS}


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
        got = ", ".join(show(arg.type) for arg in args)
        raise SpaceError(f"{op} expects {primitive.expects}, got {got}")
    return Node(op, args, result)


def decode(code: str) -> Node:
    """Builds the expression that a code identifies, the inverse of `Node.code`.

    Args:
        code: What some node has as its code.
    """
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
        if self.root.type != ND:
            raise SpaceError(
                f"the output must be (n, d) so that layers stack, got {show(self.root.type)}"
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
        found: dict[str, Node] = {}

        def visit(node: Node) -> None:
            if node.code not in found:
                for arg in node.args:
                    visit(arg)
                found[node.code] = node

        visit(self.root)
        return tuple(found.values())


# autobert_zero.space.canonical: One form for graphs that are equal by algebra, so that none is trained twice.


_DIGITS = "".join(INPUT_CODES)


_BLIND = str.maketrans(dict.fromkeys(_DIGITS, "0"))


_ARITY = {primitive.symbol: primitive.arity for primitive in PRIMITIVES.values()}


_TIE = "~"
"""Stands before a commutative operation whose operands differ by the names of their inputs only."""


def canonical(graph: Graph) -> Graph:
    """Returns the canonical form of a graph; idempotent."""
    code = canonical_code(graph)
    return graph if code == graph.code else Graph(decode(code))


def canonical_code(graph: Graph) -> str:
    """Returns the code of the canonical form: equal codes for graphs that are equal by the rules."""
    code = _simplified(graph.root, False)
    by_first_use = sorted([digit for digit in _DIGITS if digit in code], key=code.index)
    if _TIE not in code:
        return code.translate(_naming("".join(by_first_use)))
    # The order of operands that tie and the naming of the inputs depend on each other: take the naming
    # that gives the least code. The inputs met before the first tie have their least names already.
    start = code.index(_TIE)
    met = "".join([digit for digit in by_first_use if code.index(digit) < start])
    ties = _ties(code)
    codes = [
        _ordered(code.translate(_naming(met + "".join(others))), ties)
        for others in permutations(by_first_use[len(met) :])
    ]
    return min(codes).replace(_TIE, "")


def _simplified(node: Node, flip: bool) -> str:
    """The code of `node` (or of its transposition, with `flip`) by all rules but the naming.

    Operands of commutative operations are ordered by their codes with anonymous inputs, which no naming
    changes; where these are equal, `_TIE` marks that the naming decides.
    """
    op = node.op
    args = node.args
    if not args:
        return "t" + node.code if flip else node.code
    if op == "transpose":
        return _simplified(args[0], not flip)
    primitive = PRIMITIVES[op]
    symbol = primitive.symbol
    if len(args) == 1:
        through = flip and primitive.elementwise
        arg = _simplified(args[0], through)
        if op == "neg" and arg[0] == symbol:
            return arg[1:]
        return "t" + symbol + arg if flip and not through else symbol + arg
    a, b = args
    if flip and not primitive.elementwise:
        # (A @ B).T = B.T @ A.T, and pairwise(A, B).T = pairwise(B, A).
        product = op == "matmul"
        return symbol + _simplified(b, product) + _simplified(a, product)
    first, second = _simplified(a, flip), _simplified(b, flip)
    if primitive.commutative and first != second:
        blind_first, blind_second = first.translate(_BLIND), second.translate(_BLIND)
        if (blind_second, second) < (blind_first, first):
            first, second = second, first
        if blind_first == blind_second:
            symbol = _TIE + symbol
    return symbol + first + second


@cache
def _naming(order: str) -> dict[int, int]:
    """The translation that names inputs Q, K, V, P in this order."""
    return str.maketrans(order, _DIGITS[: len(order)])


def _ties(code: str) -> list[tuple[int, int, int]]:
    """Where the two operands of each tie start and end, innermost first.

    Operands that tie are equally long, so exchanging them moves no other tie's place.
    """
    places = []
    for index in reversed([index for index, symbol in enumerate(code) if symbol == _TIE]):
        start = middle = index + 2
        missing = 1
        while missing:
            missing += _ARITY.get(code[middle], 1 if code[middle] == _TIE else 0) - 1
            middle += 1
        places.append((start, middle, 2 * middle - start))
    return places


def _ordered(code: str, ties: list[tuple[int, int, int]]) -> str:
    """Puts the lesser operand of each tie first."""
    for start, middle, end in ties:
        first, second = code[start:middle], code[middle:end]
        if second < first:
            code = code[:start] + second + first + code[end:]
    return code


# autobert_zero.space.formula: The formula syntax: an attention graph as a Python expression, parsed against a white list and never run.


MAX_FORMULA_LENGTH = 4000
"""Longest formula accepted, in characters; far beyond what a person or the search writes."""


MAX_FORMULA_OPS = 200
"""Most operations accepted: whatever is parsed can also be walked recursively."""


_OPERATORS = {"neg": "-", "transpose": ".T", "add": "+", "matmul": "@"}


CALLS = tuple(name for name in PRIMITIVES if name not in _OPERATORS)


_SUM, _PRODUCT, _SIGN, _ATOM = range(4)


_FOREIGN = re.compile(r"[^\t -~]")


def parse_formula(text: str) -> Graph:
    """Parses and types a formula.

    Args:
        text: For example `softmax(scale(Q @ K.T)) @ V`.

    Raises:
        FormulaError: It does not parse or type; the message points at the column.
    """
    content = text.strip()
    start = len(text) - len(text.lstrip())
    if not content:
        raise FormulaError("the formula is empty; write for example softmax(scale(Q @ K.T)) @ V", text, 0)
    if len(text) > MAX_FORMULA_LENGTH:
        raise FormulaError(f"the formula has {len(text)} characters, more than {MAX_FORMULA_LENGTH}", text, 0)
    # Python would read foreign letters that look like ours as ours, and more than one line.
    if foreign := _FOREIGN.search(content):
        problem = f"{foreign[0]!a} is not part of a formula, which is one line of ASCII"
        raise FormulaError(problem, text, start + foreign.start())
    try:
        root = _Reader(text, start).read(ast.parse(content, mode="eval").body)
    except SyntaxError as error:
        # No offset: the formula ends where more was expected.
        column = start + min(error.offset - 1 if error.offset else len(content), len(content))
        raise FormulaError(f"not a formula: {error.msg}", text, column) from None
    except (RecursionError, MemoryError):
        raise FormulaError("the formula is nested too deeply", text, 0) from None
    if root.size > MAX_FORMULA_OPS:
        raise FormulaError(f"the formula has {root.size} operations, more than {MAX_FORMULA_OPS}", text, 0)
    try:
        return Graph(root)
    except SpaceError as error:
        raise FormulaError(str(error), text, start) from None


class _Reader:
    """Turns a syntax tree into nodes; `start` is the column of the tree's first character in `text`."""

    def __init__(self, text: str, start: int) -> None:
        self.text = text
        self.start = start

    def read(self, tree: ast.expr) -> Node:
        match tree:
            case ast.Name(id=name):
                if name not in INPUTS:
                    hint = f"{name} is called with parentheses" if name in CALLS else f"unknown name {name!r}"
                    raise self.error(f"{hint}; inputs are {', '.join(INPUTS)}", tree)
                return INPUT_NODES[name]
            case ast.Attribute(value=value, attr=attribute):
                if attribute != "T":
                    raise self.error(f"unknown attribute .{attribute}; only .T (transpose) exists", tree)
                return self.apply("transpose", tree, self.read(value))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self.apply("neg", tree, self.read(operand))
            case ast.BinOp(left=left, op=ast.MatMult(), right=right):
                return self.apply("matmul", right, self.read(left), self.read(right))
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self.apply("add", right, self.read(left), self.read(right))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
                if name not in CALLS:
                    raise self.error(f"unknown primitive {name!r}; calls are {', '.join(CALLS)}", tree)
                if keywords:
                    raise self.error(f"{name} takes its operands by position, without keywords", tree)
                if len(args) != PRIMITIVES[name].arity:
                    given = f"{PRIMITIVES[name].arity} operand(s), got {len(args)}"
                    raise self.error(f"{name} takes {given}", tree)
                return self.apply(name, tree, *map(self.read, args))
        raise self.error(
            f"{ast.unparse(tree)[:60]!r} is not part of the formula syntax; "
            f"there are @, +, unary -, .T and the calls {', '.join(CALLS)}",
            tree,
        )

    def apply(self, op: str, tree: ast.expr, *args: Node) -> Node:
        try:
            return apply(op, *args)
        except SpaceError as error:
            raise self.error(str(error), tree) from None

    def error(self, problem: str, tree: ast.expr) -> FormulaError:
        return FormulaError(problem, self.text, self.start + tree.col_offset)


def format_node(node: Node) -> str:
    """Writes a node as a formula; `parse_formula` reads it back to the equal graph."""
    return _format(node, _SUM)


def _format(node: Node, least: int) -> str:
    match node.op:
        case "add":
            text, level = f"{_format(node.args[0], _SUM)} + {_format(node.args[1], _PRODUCT)}", _SUM
        case "matmul":
            text, level = f"{_format(node.args[0], _PRODUCT)} @ {_format(node.args[1], _SIGN)}", _PRODUCT
        case "neg":
            text, level = f"-{_format(node.args[0], _SIGN)}", _SIGN
        case "transpose":
            text, level = f"{_format(node.args[0], _ATOM)}.T", _ATOM
        case name if node.args:
            text, level = f"{name}({', '.join(_format(arg, _SUM) for arg in node.args)})", _ATOM
        case name:
            text, level = name, _ATOM
    return f"({text})" if level < least else text


# autobert_zero.space.backbone: Backbones: a tuple of layers, each an attention with its own graph or a convolution with its own kernel.


KERNELS: tuple[int, ...] = (3, 5, 7, 9, 15, 31, 65)
"""Kernel sizes of the convolution layer (paper, "Search space", inter-layer)."""


@dataclass(frozen=True)
class Attention:
    """A layer that mixes tokens with an attention graph."""

    graph: Graph

    def __str__(self) -> str:
        return format_node(self.graph.root)

    @property
    def code(self) -> str:
        """Identifies the layer exactly, in prefix notation."""
        return self.graph.code

    @property
    def operations(self) -> frozenset[str]:
        """What OP-NAS keeps statistics of: the primitives in use."""
        return self.graph.operations

    @property
    def canonical_code(self) -> str:
        """The code of the canonical form."""
        return canonical_code(self.graph)

    def canonical(self) -> Attention:
        """The layer with its graph in canonical form."""
        return Attention(canonical(self.graph))


@dataclass(frozen=True)
class Convolution:
    """A layer that mixes tokens with the lightweight convolution of Wu et al. 2019.

    Raises:
        SpaceError: The kernel is not one of `KERNELS`.
    """

    kernel: int

    def __post_init__(self) -> None:
        if self.kernel not in KERNELS:
            sizes = ", ".join(map(str, KERNELS))
            raise SpaceError(f"a convolution has a kernel of one of {sizes}, not {self.kernel}")

    def __str__(self) -> str:
        return f"conv {self.kernel}"

    @property
    def code(self) -> str:
        """Identifies the layer exactly."""
        return f"conv{self.kernel}"

    @property
    def operations(self) -> frozenset[str]:
        """What OP-NAS keeps statistics of: the kernel size."""
        return frozenset({str(self)})

    @property
    def canonical_code(self) -> str:
        """The code of the canonical form."""
        return self.code

    def canonical(self) -> Convolution:
        """A convolution has one form only."""
        return self


Layer = Attention | Convolution


@lru_cache(maxsize=1 << 16)  # a history repeats layers: a child has most of its parent's
def parse_layer(text: str) -> Layer:
    """Reads one layer: `conv 9` or a formula.

    Raises:
        SpaceError: It is neither.
    """
    words = text.split()
    if words and words[0] == "conv":
        try:
            (kernel,) = map(int, words[1:])
        except ValueError:
            raise SpaceError(f"write a convolution as `conv 9`, not {text.strip()[:60]!r}") from None
        return Convolution(kernel)
    return Attention(parse_formula(text.strip()))


@dataclass(frozen=True)
class Backbone:
    """The token-mixing layers of an encoder, first to last.

    Raises:
        SpaceError: There is no layer.
    """

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise SpaceError("a backbone has at least one layer; write one a line, `conv 9` or a formula")

    @classmethod
    def parse(cls, text: str) -> Backbone:
        """Reads one layer a line; empty lines and what follows a `#` are skipped.

        Raises:
            SpaceError: A line is not a layer; the message names it.
        """
        layers = []
        for number, line in enumerate(text.splitlines(), start=1):
            content = line.split("#")[0].rstrip()
            if content.strip():
                try:
                    layers.append(parse_layer(content))
                except FormulaError as error:
                    raise FormulaError(f"line {number}: {error.problem}", error.text, error.column) from None
                except SpaceError as error:
                    raise SpaceError(f"line {number}: {error}") from None
        return cls(tuple(layers))

    @classmethod
    def from_list(cls, layers: Sequence[str]) -> Backbone:
        """Reads the JSON form: a list with one string a layer.

        Raises:
            SpaceError: It is not a list of layers.
        """
        if isinstance(layers, str) or not all(isinstance(layer, str) for layer in layers):
            raise SpaceError("a backbone in JSON is a list with one string a layer")
        backbone = cls.parse("\n".join(layers))
        if len(backbone.layers) != len(layers):
            raise SpaceError("a backbone in JSON is a list with one string a layer, not several or none")
        return backbone

    @classmethod
    def from_json(cls, text: str) -> Backbone:
        """Reads what `to_json` wrote.

        Raises:
            SpaceError: It is not a JSON list of layers.
        """
        try:
            layers = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SpaceError(f"not JSON: {error}") from None
        if not isinstance(layers, list):
            raise SpaceError("a backbone in JSON is a list with one string a layer")
        return cls.from_list(layers)

    def to_list(self) -> list[str]:
        """One string a layer: what configs and results store."""
        return [str(layer) for layer in self.layers]

    def to_json(self) -> str:
        """A JSON list with one string a layer."""
        return json.dumps(self.to_list(), indent=2)

    def __str__(self) -> str:
        return "\n".join(self.to_list())

    def canonical(self) -> Backbone:
        """The backbone with every layer in canonical form."""
        return Backbone(tuple(layer.canonical() for layer in self.layers))

    def key(self) -> str:
        """Sixteen hex digits, equal for backbones that are equal by algebra (see `space.canonical`)."""
        return hash_codes([layer.canonical_code for layer in self.layers])


def hash_codes(codes: Sequence[str]) -> str:
    """Hashes the codes of layers, the same in every process."""
    return hashlib.blake2b(" ".join(codes).encode(), digest_size=8).hexdigest()


# autobert_zero.compile.algebra: The algebra behind the compiler: a graph as terms, a scalar times an expression without scalars.


@dataclass(frozen=True)
class Scalar:
    """sign * d_h ** (-halvings / 2): what neg and scale multiply by.

    Attributes:
        sign: 1 or -1.
        scales: How many times `scale` was applied.
    """

    sign: int = 1
    scales: int = 0

    def __mul__(self, other: Scalar) -> Scalar:
        return Scalar(self.sign * other.sign, self.scales + other.scales)

    def value(self, head_dim: int) -> float:
        """The number, for one head dimension."""
        return self.sign * float(head_dim) ** (-self.scales / 2)

    def __str__(self) -> str:
        sign = "-" if self.sign < 0 else ""
        names = {0: "1", 1: "1/sqrt(d_h)", 2: "1/d_h"}
        return sign + names.get(self.scales, f"d_h^(-{self.scales}/2)")


ONE = Scalar()


MINUS = Scalar(sign=-1)


SCALE = Scalar(scales=1)


@dataclass(frozen=True)
class Expression:
    """An operation without a scalar of its own; equal text means equal value.

    Attributes:
        text: The expression as a person writes it; a product without the parentheses that only say in
            which order it is multiplied.
        mirror: The text of its transposition.
        op: An input's name, or one of transpose, sum, product, logsigmoid, softplus, softsign, softmax,
            unit (rows of length 1), euclidean; or a primitive without a rule here.
        args: The operands. Those of a product and a transpose have the scalar 1, those of a unit, a
            softsign, a softplus and a logsigmoid no sign.
        type: Symbolic type of the value.
        axis: -1 or -2: along which a softmax or a unit normalises.
    """

    text: str
    mirror: str = field(compare=False)
    op: str = field(compare=False)
    args: tuple[Term, ...] = field(compare=False)
    type: Type = field(compare=False)
    axis: int = field(compare=False, default=-1)


@dataclass(frozen=True)
class Term:
    """A scalar times an expression."""

    scalar: Scalar
    of: Expression


def as_term(graph: Graph) -> Term:
    """Rewrites a graph."""
    return as_terms(graph)[graph.root]


def as_terms(graph: Graph) -> dict[Node, Term]:
    """Rewrites every node of a graph."""
    terms: dict[Node, Term] = {}
    for node in graph.nodes:
        terms[node] = _rewrite(node, [terms[arg] for arg in node.args])
    return terms


def _rewrite(node: Node, args: list[Term]) -> Term:
    if not args:
        return Term(ONE, _leaf(node.op, node.op, (), node.type))
    x = args[0]
    match node.op:
        case "neg":
            return Term(MINUS * x.scalar, x.of)
        case "scale":
            return Term(SCALE * x.scalar, x.of)
        case "transpose":
            return Term(x.scalar, transposed(x.of))
        case "logsigmoid" if x.scalar.sign < 0:
            return Term(MINUS, _elementwise("softplus", MINUS * x.scalar, x.of))
        case "logsigmoid":
            return Term(ONE, _elementwise("logsigmoid", x.scalar, x.of))
        case "softsign":
            return Term(Scalar(x.scalar.sign), _elementwise("softsign", Scalar(1, x.scalar.scales), x.of))
        case "softmax":
            return Term(ONE, _along_rows("softmax", x))
        case "add":
            return _sum(*args)
        case "matmul":
            return _matmul(*args)
        case "cosine":
            # Not the scales: the floor below which a row has no direction is absolute.
            a, b = (_along_rows("unit", Term(Scalar(1, arg.scalar.scales), arg.of)) for arg in args)
            return Term(Scalar(x.scalar.sign * args[1].scalar.sign), _product(a, transposed(b)))
        case "euclidean":
            if x.scalar.sign < 0 and args[1].scalar.sign < 0:
                args = [Term(MINUS * arg.scalar, arg.of) for arg in args]
            text = f"euclidean({', '.join(map(_term_text, args))})"
            return Term(ONE, _leaf(text, "euclidean", tuple(args), node.type))
    if PRIMITIVES[node.op].elementwise and len(args) == 1:
        return Term(ONE, _elementwise(node.op, x.scalar, x.of))
    text = f"{node.op}({', '.join(map(_term_text, args))})"
    return Term(ONE, _leaf(text, node.op, tuple(args), node.type))


def transposed(x: Expression) -> Expression:
    """The transposition: a view, unless it undoes another or `x` is symmetric."""
    if x.op == "transpose":
        return x.args[0].of
    if x.text == x.mirror:
        return x
    return Expression(x.mirror, x.text, "transpose", (Term(ONE, x),), swap(x.type))


def _leaf(text: str, op: str, args: tuple[Term, ...], type_: Type, axis: int = -1) -> Expression:
    return Expression(text, f"{text}.T", op, args, type_, axis)


def _elementwise(op: str, scalar: Scalar, x: Expression) -> Expression:
    if x.op == "transpose":
        return transposed(_elementwise(op, scalar, x.args[0].of))
    term = Term(scalar, x)
    return _leaf(f"{op}({_term_text(term)})", op, (term,), x.type)


def _along_rows(op: str, x: Term) -> Expression:
    """A softmax or unit of every row; of every column of the natural (n, d) where the type is (d, n)."""
    if x.of.type == "dn":
        natural = Term(x.scalar, transposed(x.of))
        text = f"{op}[columns]({_term_text(natural)})"
        return transposed(_leaf(text, op, (natural,), natural.of.type, axis=-2))
    return _leaf(f"{op}({_term_text(x)})", op, (x,), x.of.type)


def _sum(a: Term, b: Term) -> Term:
    """Pulls out what both have in common: the scalar, the transposition."""
    if a.of.op == b.of.op == "transpose":
        natural = _sum(Term(a.scalar, transposed(a.of)), Term(b.scalar, transposed(b.of)))
        return Term(natural.scalar, transposed(natural.of))
    common = ONE
    if a.scalar == b.scalar:
        common = a.scalar
        a, b = Term(ONE, a.of), Term(ONE, b.of)
    a, b = sorted((a, b), key=_term_text)
    text = f"{_term_text(a)} + {_term_text(b)}"
    return Term(common, Expression(text, f"({text}).T", "sum", (a, b), a.of.type))


def _matmul(a: Term, b: Term) -> Term:
    type_ = a.of.type[0] + b.of.type[1]
    if type_ == "dn":
        natural = _matmul(Term(b.scalar, transposed(b.of)), Term(a.scalar, transposed(a.of)))
        return Term(natural.scalar, transposed(natural.of))
    if type_ == "nd" and a.of.type == "nn":
        addends = _addends(a)
        low_rank = [addend for addend in addends if _is_low_rank(addend.of)]
        if low_rank and len(addends) > 1:
            others = [addend for addend in addends if not _is_low_rank(addend.of)]
            left = [*low_rank, reduce(_sum, others)] if others else low_rank
            return reduce(_sum, [Term(x.scalar * b.scalar, _product(x.of, b.of)) for x in left])
    return Term(a.scalar * b.scalar, _product(a.of, b.of))


def _addends(x: Term) -> list[Term]:
    """The addends of a sum and of the sums in it, or of a view of it."""
    mirrored = x.of.op == "transpose"
    natural = transposed(x.of) if mirrored else x.of
    if natural.op != "sum":
        return [x]
    return [
        addend
        for arg in natural.args
        for addend in _addends(Term(x.scalar * arg.scalar, transposed(arg.of) if mirrored else arg.of))
    ]


def _is_low_rank(x: Expression) -> bool:
    """Whether an (n, n) is a product over d, hence of rank d."""
    if x.op == "transpose":
        x = x.args[0].of
    if x.op != "product":
        return False
    a, b = x.args
    return a.of.type[1] == "d" or _is_low_rank(a.of) or _is_low_rank(b.of)


def _product(a: Expression, b: Expression) -> Expression:
    """a @ b, or the transposition of b.T @ a.T: one of the two stands for both."""
    type_ = a.type[0] + b.type[1]
    text = f"{_factor_text(a)} @ {_factor_text(b)}"
    mirror = f"{_factor_text(transposed(b))} @ {_factor_text(transposed(a))}"
    if type_ == "dn" or (type_[0] == type_[1] and mirror < text):
        operands = (Term(ONE, transposed(b)), Term(ONE, transposed(a)))
        return transposed(Expression(mirror, text, "product", operands, swap(type_)))
    return Expression(text, mirror, "product", (Term(ONE, a), Term(ONE, b)), type_)


def _term_text(term: Term) -> str:
    if term.scalar == ONE:
        return term.of.text
    return f"{term.scalar} * {_factor_text(term.of)}"


def _factor_text(x: Expression) -> str:
    return f"({x.text})" if x.op == "sum" else x.text


# autobert_zero.compile.chain: Chains of matrix products: which products form a chain, and what to multiply first where n > d.


SIZES = {"n": 256, "d": 64}
"""Sizes that stand for n > d where costs are compared."""


_TOUCH = 16
"""What reading and writing an entry costs, in multiplications."""


_LONGEST = 32
"""Longest chain whose order is chosen, in cubic time; a longer one keeps some of its parentheses."""


@dataclass(frozen=True)
class Product:
    """Two parts of a chain, multiplied with each other."""

    left: Tree
    right: Tree
    type: Type


Tree = Expression | Product


def entries(type_: Type) -> int:
    """How many entries a value has, to compare values by."""
    return SIZES[type_[0]] * SIZES[type_[1]]


class Chains:
    """The products of an expression, as chains.

    A product that is a factor of another dissolves in it, unless it is shared: then it is computed once.
    A shared (n, n) product dissolves still, for what it is multiplied with may spare the (n, n) matrix.

    Args:
        root: The expression.
    """

    def __init__(self, root: Expression) -> None:
        self._consumers = _count_uses(root, lambda x: [arg.of for arg in x.args])
        self._factors: dict[str, tuple[Expression, ...]] = {}
        self._uses = _count_uses(root, self.factors)

    def uses(self, x: Expression) -> int:
        """How many other values are computed from `x` or its transposition; products of one chain aside."""
        return self._uses[_viewed(x).text]

    def factors(self, x: Expression) -> tuple[Expression, ...]:
        """The factors of a product, left to right; the operands of anything else."""
        if x.op == "transpose" and _viewed(x).op == "product":
            return tuple([transposed(factor) for factor in reversed(self.factors(_viewed(x)))])
        if x.op != "product":
            return tuple([arg.of for arg in x.args])
        if x.text not in self._factors:
            parts = [self.factors(arg.of) if self.dissolves(_viewed(arg.of)) else (arg.of,) for arg in x.args]
            if sum(map(len, parts)) > _LONGEST:
                parts = [(arg.of,) for arg in x.args]
            self._factors[x.text] = tuple([factor for part in parts for factor in part])
        return self._factors[x.text]

    def dissolves(self, x: Expression) -> bool:
        """Whether a value that is a factor of a product gives it factors of its own."""
        return x.op == "product" and (x.type == "nn" or self._consumers[x.text] == 1)


def _viewed(x: Expression) -> Expression:
    """What a transposition is a view of."""
    return x.args[0].of if x.op == "transpose" else x


def _count_uses(root: Expression, operands: Callable[[Expression], Iterable[Expression]]) -> Counter[str]:
    uses = Counter({_viewed(root).text: 1})
    pending = [_viewed(root)]
    while pending:
        for operand in map(_viewed, operands(pending.pop())):
            if operand.text not in uses:
                pending.append(operand)
            uses[operand.text] += 1
    return uses


def cheapest(factors: Sequence[Expression], fusable: Callable[[Expression], bool]) -> tuple[Tree, int]:
    """Sets the parentheses of a chain; the dynamic program of the textbooks.

    Args:
        factors: The chain, left to right.
        fusable: Whether a softmax need not be stored where it is multiplied with an (n, d).

    Returns:
        The products as a tree, and their cost.
    """
    # best[start, end]: cost and tree of factors[start:end]
    best: dict[tuple[int, int], tuple[int, Tree]] = {
        (start, start + 1): (0, factor) for start, factor in enumerate(factors)
    }
    for length in range(2, len(factors) + 1):
        for start in range(len(factors) - length + 1):
            end = start + length
            best[start, end] = min(
                (
                    _joined(best[start, middle], best[middle, end], fusable)
                    for middle in range(start + 1, end)
                ),
                key=lambda option: option[0],
            )
    cost, tree = best[0, len(factors)]
    return tree, cost


def _joined(
    left: tuple[int, Tree], right: tuple[int, Tree], fusable: Callable[[Expression], bool]
) -> tuple[int, Tree]:
    product = Product(left[1], right[1], left[1].type[0] + right[1].type[1])
    cost = left[0] + right[0] + entries(product.type) * (SIZES[left[1].type[1]] + _TOUCH)
    softmax = attention_of(product)
    if softmax is not None and fusable(softmax):
        cost -= _TOUCH * entries("nn")  # neither scores nor softmax are stored
    return cost, product


def attention_of(product: Product) -> Expression | None:
    """The softmax of softmax @ C, or of its mirror image C.T @ softmax.T, where C is (n, d)."""
    left, right = product.left, product.right
    if isinstance(left, Expression) and left.op == "softmax" and right.type == "nd":
        return left
    if isinstance(right, Expression) and transposed(right).op == "softmax" and left.type == "dn":
        return transposed(right)
    return None


def transposed_tree(tree: Tree) -> Tree:
    """The tree of the transposition."""
    if isinstance(tree, Expression):
        return transposed(tree)
    return Product(transposed_tree(tree.right), transposed_tree(tree.left), tree.type[1] + tree.type[0])


# autobert_zero.compile.plan: A plan: the flat list of steps that a compiled graph runs.


@dataclass(frozen=True)
class Step:
    """One operation of a plan.

    Attributes:
        op: A key of `compiler.OPERATIONS`, or a primitive without a rule in `algebra`: its kernel runs.
        args: Registers of the operands. The inputs are the first registers, then every step has its own.
        type: Symbolic type of the result.
        scalar: What `scale` multiplies by, `add` its second operand, `attention` its scores.
        axis: -1 or -2: along which a softmax, a unit or a mask acts.
    """

    op: str
    args: tuple[int, ...]
    type: Type
    scalar: Scalar = ONE
    axis: int = -1


@dataclass(frozen=True)
class Plan:
    """What a compiled graph does.

    Attributes:
        inputs: Names of the inputs, in the order of their registers.
        steps: The operations, in order.
        output: Register of the result.
    """

    inputs: tuple[str, ...]
    steps: tuple[Step, ...]
    output: int


def describe(plan: Plan) -> str:
    """Writes a plan for people: one line a step, transpositions as `.T` where they are used.

    `sdpa(A, B, C)` is softmax(A @ B.T) @ C by `scaled_dot_product_attention`.
    """
    names = list(plan.inputs)
    lines: list[str] = []
    for step in plan.steps:
        args = [names[arg] for arg in step.args]
        if step.op == "transpose":
            names.append(f"{args[0]}.T")
            continue
        name = f"v{len(lines) + 1}"
        names.append(name)
        lines.append(f"{name} {show(step.type)} = {_written(step, args)}")
    return "\n".join(lines)


def _written(step: Step, args: list[str]) -> str:
    axis = "rows" if step.axis == -2 else "columns"
    match step.op:
        case "scale":
            return f"{step.scalar} * {args[0]}"
        case "add":
            scalar = "" if str(step.scalar) == "1" else f"{step.scalar} * "
            return f"{args[0]} + {scalar}{args[1]}"
        case "matmul":
            return " @ ".join(args)
        case "mask":
            return f"{args[0]} without padding in its {axis}"
        case "attention":
            bias = f"; bias {args[3]}" if len(args) > 3 else ""
            return f"sdpa({', '.join(args[:3])}; scale {step.scalar}{bias})"
        case "softmax" | "unit" if step.axis == -2:
            return f"{step.op}({args[0]}, down the columns)"
    return f"{step.op}({', '.join(args)})"


# autobert_zero.compile.planner: From a graph to its plan: what the compiler decides.


_NEGATED = {"softsign": "softsign", "softplus": "logsigmoid", "logsigmoid": "softplus"}
"""-f(x) is g(-x): where x is a product, its smallest factor takes the sign."""


@dataclass(frozen=True)
class Scores:
    """The operand of a softmax as scalar * query @ key.T + bias: query and key (n, d), bias (n, n).

    Attributes:
        product: query @ key.T.
        split: How many of its factors are the query's.
    """

    query: Tree
    key: Tree
    scalar: Scalar
    bias: tuple[Term, ...]
    product: Expression
    split: int


@lru_cache(maxsize=1024)
def make_plan(graph: Graph) -> Plan:
    """Plans a graph.

    Raises:
        ValueError: It is nested too deeply, far beyond what a search writes.
    """
    planner, output = planned(graph)
    return _pruned(Plan(graph.inputs, tuple(planner.steps), output))


def planned(graph: Graph) -> tuple[Planner, int]:
    """Plans a graph, and returns what was decided on the way with the register of the output.

    Raises:
        ValueError: As `make_plan`.
    """
    try:
        root = as_term(graph)
        planner = Planner(graph.inputs, root.of)
        return planner, planner.value(root)
    except RecursionError:
        raise ValueError("the formula is nested too deeply to be compiled; use fewer operations") from None


def _pruned(plan: Plan) -> Plan:
    """Drops steps that nothing needs: views of what was masked instead."""
    first = len(plan.inputs)
    needed = {plan.output}
    for register in range(first + len(plan.steps) - 1, first - 1, -1):
        if register in needed:
            needed.update(plan.steps[register - first].args)
    places = {old: new for new, old in enumerate(sorted(needed | set(range(first))))}
    steps = [
        replace(step, args=tuple([places[arg] for arg in step.args]))
        for register, step in enumerate(plan.steps, start=first)
        if register in needed
    ]
    return Plan(plan.inputs, tuple(steps), places[plan.output])


class Planner:
    """Collects steps; every method that computes something returns its register.

    Attributes:
        steps: The steps so far, with their registers.
        chains: The products of the expression.
        fused: The softmaxes that run in an attention step, by their text, with the split of their operands.
    """

    def __init__(self, inputs: tuple[str, ...], root: Expression) -> None:
        self.steps: dict[Step, int] = {}
        self.chains = Chains(root)
        self.fused: dict[str, Scores] = {}
        self._types: list[Type] = ["nd"] * len(inputs)
        self._views: dict[int, int] = {}  # register of a transposition -> of what it views
        self._registers = {name: register for register, name in enumerate(inputs)}
        self._scores: dict[str, Scores | None] = {}

    def value(self, term: Term) -> int:
        """Computes a term."""
        scalar, x = term.scalar, term.of
        if x.op == "transpose":
            return self._transpose(self.value(Term(scalar, x.args[0].of)))
        # What is needed without its scalar too is computed once and scaled.
        if scalar != ONE and self.chains.uses(x) == 1:
            if x.op == "product":
                return self._tree(self._cheapest(x), scalar)
            if x.op == "sum":
                addends = self._operands(x, scalar)
                if any(term.scalar == ONE or self._is_own_product(term.of) for term in addends):
                    return self._added(addends)
            if scalar == MINUS and x.op in _NEGATED and self._is_own_product(x.args[0].of):
                negated = Term(MINUS * x.args[0].scalar, x.args[0].of)
                return self._push(_NEGATED[x.op], (self.value(negated),), x.type)
        return self._scaled(self._expression(x), scalar)

    def _expression(self, x: Expression) -> int:
        if x.text not in self._registers:
            self._registers[x.text] = self._computed(x)
        return self._registers[x.text]

    def _computed(self, x: Expression) -> int:
        match x.op:
            case "product":
                return self._tree(self._cheapest(x), ONE)
            case "sum":
                return self._added(self._operands(x, ONE))
            case "unit":
                return self._push("unit", (self._clean_value(x.args[0], x.axis),), x.type, axis=x.axis)
            case "euclidean":
                return self._push("euclidean", tuple([self._clean_value(arg, -1) for arg in x.args]), x.type)
        return self._push(x.op, tuple([self.value(arg) for arg in x.args]), x.type, axis=x.axis)

    # -- sums --------------------------------------------------------------------------------------

    def _added(self, addends: list[Term]) -> int:
        """Adds terms, each scalar once for all terms that have it: its gradient is a pass of its own."""
        groups: dict[Scalar, list[int]] = {}
        for term in addends:
            if self._is_own_product(term.of):
                groups.setdefault(ONE, []).append(self.value(term))
            else:
                groups.setdefault(term.scalar, []).append(self.value(Term(ONE, term.of)))
        # The first group starts the sum, the addition multiplies the others.
        ordered = sorted(groups.items(), key=lambda group: group[0] != ONE)
        result: int | None = None
        for scalar, registers in ordered:
            part = reduce(self._add, registers)
            result = self._scaled(part, scalar) if result is None else self._add(result, part, scalar)
        assert result is not None
        return result

    def _add(self, a: int, b: int, scalar: Scalar = ONE) -> int:
        return self._push("add", (a, b), self._types[a], scalar)

    def _addends(self, term: Term) -> list[Term]:
        """The addends of a term; a sum that is needed elsewhere too is one."""
        mirrored = term.of.op == "transpose"
        natural = transposed(term.of) if mirrored else term.of
        if natural.op != "sum" or self.chains.uses(natural) > 1:
            return [term]
        return self._operands(natural, term.scalar, mirrored)

    def _operands(self, sum_: Expression, scalar: Scalar, mirrored: bool = False) -> list[Term]:
        return [
            addend
            for arg in sum_.args
            for addend in self._addends(Term(scalar * arg.scalar, transposed(arg.of) if mirrored else arg.of))
        ]

    def _is_own_product(self, x: Expression) -> bool:
        """Whether `x` is a product, or a view of one, that is computed for this use only."""
        natural = transposed(x) if x.op == "transpose" else x
        return natural.op == "product" and self.chains.uses(x) == 1

    # -- products ----------------------------------------------------------------------------------

    def _cheapest(self, x: Expression) -> Tree:
        return cheapest(self.chains.factors(x), self._fusable)[0]

    def _tree(self, tree: Tree, scalar: Scalar, clean: int | None = None) -> int:
        """Computes scalar * tree, with the scalar where the fewest entries are.

        With `clean`, padding along that token axis is zeroed: in a factor where that is smaller.
        """
        if clean is not None and (isinstance(tree, Expression) or tree.type != "nn"):
            result = self._tree(tree, scalar)
            return result if self._is_clean(tree, clean) else self._masked(result, clean)
        if isinstance(tree, Expression):
            return self.value(Term(scalar, tree))
        left = right = ONE
        if scalar != ONE and self._lightest(tree) < entries(tree.type):
            if self._lightest(tree.left) <= self._lightest(tree.right):
                left, scalar = scalar, ONE
            else:
                right, scalar = scalar, ONE
        softmax = attention_of(tree)
        if softmax is None or not self._fusable(softmax):
            result = self._matmul(tree, left, right, clean)
        elif tree.left == softmax:
            result = self._attention(softmax, self._tree(tree.right, right))
        else:
            result = self._transpose(self._attention(softmax, self._transpose(self._tree(tree.left, left))))
        return self._scaled(result, scalar)

    def _lightest(self, tree: Tree) -> int:
        """Entries of the smallest value that is computed for a tree."""
        if isinstance(tree, Expression):
            return entries(tree.type)
        return min(entries(tree.type), self._lightest(tree.left), self._lightest(tree.right))

    def _matmul(self, tree: Product, left: Scalar, right: Scalar, clean: int | None) -> int:
        a = self._tree(tree.left, left, clean if clean == -2 else None)
        b = self._tree(tree.right, right, clean if clean == -1 else None)
        if tree.left.type[1] == "n" and not (self._is_clean(tree.left, -1) or self._is_clean(tree.right, -2)):
            # Of equal sizes the one that is used more: it may be masked already, or again.
            if self._mask_order(tree.left) < self._mask_order(tree.right):
                a = self._masked(a, -1)
            else:
                b = self._masked(b, -2)
        return self._push("matmul", (a, b), tree.type)

    def _mask_order(self, tree: Tree) -> tuple[int, int]:
        uses = self.chains.uses(tree) if isinstance(tree, Expression) else 0
        return entries(tree.type), -uses

    # -- attention ---------------------------------------------------------------------------------

    def _attention(self, softmax: Expression, values: int) -> int:
        """softmax @ values without the (n, n) matrices: the step masks the padding by itself."""
        scores = self._scores_of(softmax)
        assert scores is not None
        self.fused[softmax.text] = scores
        # The sign is no part of the step's scale: fused kernels take the maximum of a row before they scale.
        sign = Scalar(scores.scalar.sign)
        in_query = self._lightest(scores.query) < self._lightest(scores.key)
        args = [
            self._tree(scores.query, sign if in_query else ONE),
            self._tree(scores.key, ONE if in_query else sign),
            values,
        ]
        if scores.bias:
            args.append(self._added(list(scores.bias)))
        return self._push("attention", tuple(args), "nd", Scalar(1, scores.scalar.scales))

    def _fusable(self, softmax: Expression) -> bool:
        """Whether a softmax exists for one product only, and its operand contains a product over d."""
        return (
            softmax.type == "nn" and self.chains.uses(softmax) == 1 and self._scores_of(softmax) is not None
        )

    def _scores_of(self, softmax: Expression) -> Scores | None:
        if softmax.text not in self._scores:
            self._scores[softmax.text] = self._split(self._addends(softmax.args[0]))
        return self._scores[softmax.text]

    def _split(self, addends: list[Term]) -> Scores | None:
        """Takes the first addend that is a product over d apart; the others are the bias."""
        for index, addend in enumerate(addends):
            natural = transposed(addend.of) if addend.of.op == "transpose" else addend.of
            if natural.op != "product":
                continue
            factors = self.chains.factors(addend.of)
            options = []
            for middle in range(1, len(factors)):
                if factors[middle].type[0] == "d":
                    query, before = cheapest(factors[:middle], self._fusable)
                    key, after = cheapest(factors[middle:], self._fusable)
                    options.append((before + after, middle, query, transposed_tree(key)))
            if options:
                _, middle, query, key = min(options, key=lambda option: option[0])
                bias = tuple(addends[:index] + addends[index + 1 :])
                return Scores(query, key, addend.scalar, bias, addend.of, middle)
        return None

    # -- padding -----------------------------------------------------------------------------------

    def _clean_value(self, term: Term, axis: int) -> int:
        """Computes a term with padding zeroed along an axis that is about to be summed over."""
        scalar, x = term.scalar, term.of
        if x.type[axis] != "n" or self._is_clean(x, axis):
            return self.value(term)
        if self._is_own_product(x):
            tree = cheapest(self.chains.factors(x), self._fusable)[0]
            return self._tree(tree, scalar, clean=axis)
        return self._masked(self.value(term), axis)

    def _is_clean(self, tree: Tree, axis: int) -> bool:
        """Whether padding holds zeros along a token axis anyway."""
        if isinstance(tree, Product):
            return self._is_clean(tree.left if axis == -2 else tree.right, axis)
        args = [arg.of for arg in tree.args]
        match tree.op:
            case "transpose":
                return self._is_clean(args[0], -3 - axis)
            case "product":
                return self._is_clean(args[0 if axis == -2 else 1], axis)
            case "softmax":
                return axis == tree.axis
            case "unit":
                return axis == tree.axis or self._is_clean(args[0], axis)
            case "softsign" | "sum":
                return all(self._is_clean(arg, axis) for arg in args)
        return False

    # -- steps -------------------------------------------------------------------------------------

    def _masked(self, register: int, axis: int) -> int:
        if register in self._views:
            return self._transpose(self._masked(self._views[register], -3 - axis))
        return self._push("mask", (register,), self._types[register], axis=axis)

    def _scaled(self, register: int, scalar: Scalar) -> int:
        return self._push("scale", (register,), self._types[register], scalar) if scalar != ONE else register

    def _transpose(self, register: int) -> int:
        if register in self._views:
            return self._views[register]
        view = self._push("transpose", (register,), swap(self._types[register]))
        self._views[view] = register
        return view

    def _push(self, op: str, args: tuple[int, ...], type_: Type, scalar: Scalar = ONE, axis: int = -1) -> int:
        step = Step(op, args, type_, scalar, axis)
        if step not in self.steps:
            self.steps[step] = len(self._types)
            self._types.append(type_)
        return self.steps[step]


# autobert_zero.nn.kernels: What each primitive computes on padded batches, one kernel a primitive, under the same name.


_EPSILON = 1e-12


@dataclass(frozen=True)
class Context:
    """What kernels need beside their operands.

    Attributes:
        head_dim: d_h, for `scale`.
        mask: (B, n) booleans, True at real tokens; None where there is no padding.
    """

    head_dim: int
    mask: Tensor | None


Kernel = Callable[[Sequence[Tensor], Sequence[Type], Context], Tensor]


def zero_padding(x: Tensor, type_: Type, axis: int, mask: Tensor | None) -> Tensor:
    """Zeroes padded tokens along `axis` (0 rows, 1 columns) where it is the token axis."""
    if mask is None or type_[axis] != "n":
        return x
    keep = mask[:, None, :, None] if axis == 0 else mask[:, None, None, :]
    return x.masked_fill(~keep, 0.0)


def _neg(args: Sequence[Tensor], types: Sequence[Type], context: Context) -> Tensor:
    return -args[0]


def _transpose(args: Sequence[Tensor], types: Sequence[Type], context: Context) -> Tensor:
    return args[0].transpose(-1, -2)


def _scale(args: Sequence[Tensor], types: Sequence[Type], context: Context) -> Tensor:
    return args[0] * context.head_dim**-0.5


def _softmax(args: Sequence[Tensor], types: Sequence[Type], context: Context) -> Tensor:
    (x,), (type_,) = args, types
    if context.mask is not None and type_[1] == "n":
        # The least finite value, not -inf: a row of padding only then gives numbers, not NaN.
        x = x.masked_fill(~context.mask[:, None, None, :], torch.finfo(x.dtype).min)
    return x.softmax(-1)


def _logsigmoid(args: Sequence[Tensor], types: Sequence[Type], context: Context) -> Tensor:
    return F.logsigmoid(args[0])


def _softsign(args: Sequence[Tensor], types: Sequence[Type], context: Context) -> Tensor:
    return F.softsign(args[0])


def _add(args: Sequence[Tensor], types: Sequence[Type], context: Context) -> Tensor:
    return args[0] + args[1]


def _matmul_kernels(args: Sequence[Tensor], types: Sequence[Type], context: Context) -> Tensor:
    a = zero_padding(args[0], types[0], 1, context.mask)
    b = zero_padding(args[1], types[1], 0, context.mask)
    return a @ b


def _cosine(args: Sequence[Tensor], types: Sequence[Type], context: Context) -> Tensor:
    a, b = (
        F.normalize(zero_padding(x, type_, 1, context.mask), dim=-1, eps=_EPSILON)
        for x, type_ in zip(args, types, strict=True)
    )
    return a @ b.transpose(-1, -2)


def _euclidean(args: Sequence[Tensor], types: Sequence[Type], context: Context) -> Tensor:
    a, b = (zero_padding(x, type_, 1, context.mask) for x, type_ in zip(args, types, strict=True))
    dtype = torch.promote_types(a.dtype, b.dtype)
    # |a|^2 + |b|^2 - 2ab cancels for near rows: never in half precision.
    with torch.autocast(a.device.type, enabled=False):
        wide = torch.promote_types(dtype, torch.float32)
        a, b = a.to(wide), b.to(wide)
        squares = a.square().sum(-1, keepdim=True) + b.square().sum(-1)[..., None, :]
        # The root's slope is infinite at 0, where equal rows are: hold it flat there.
        distances = (squares - 2 * (a @ b.transpose(-1, -2))).clamp_min(_EPSILON).sqrt()
    return distances.to(dtype)


KERNELS_KERNELS: dict[str, Kernel] = {
    "neg": _neg,
    "transpose": _transpose,
    "scale": _scale,
    "softmax": _softmax,
    "logsigmoid": _logsigmoid,
    "softsign": _softsign,
    "add": _add,
    "matmul": _matmul_kernels,
    "cosine": _cosine,
    "euclidean": _euclidean,
}


# autobert_zero.nn.compiler: The graph compiler: a graph as a short list of fast tensor operations, made once and run at every call.


_LONG = 1024
"""Tokens from which fused attention wins in half precision without AMX."""


class Compiled:
    """A graph as a fast function of its inputs; equal to the `Interpreter` up to rounding.

    Args:
        graph: The attention graph.
    """

    def __init__(self, graph: Graph) -> None:
        self.plan = make_plan(graph)
        self.inputs = self.plan.inputs
        types = ["nd"] * len(self.inputs) + [step.type for step in self.plan.steps]
        self._types = [[types[arg] for arg in step.args] for step in self.plan.steps]

    def __call__(self, inputs: Mapping[str, Tensor], context: Context) -> Tensor:
        """Computes the graph.

        Args:
            inputs: For each input of the graph a tensor (B, H, n, d_h).
            context: Head dimension and mask.

        Returns:
            The output, (B, H, n, d_h). Rows of padded tokens hold unspecified finite values.
        """
        values = [inputs[name] for name in self.inputs]
        for step, types in zip(self.plan.steps, self._types, strict=True):
            args = [values[arg] for arg in step.args]
            if step.op in OPERATIONS:
                values.append(OPERATIONS[step.op](step, args, context))
            else:
                values.append(KERNELS_KERNELS[step.op](args, types, context))
        return values[self.plan.output]

    def describe(self) -> str:
        """One line a step, with the type of what it computes."""
        return describe(self.plan)


Operation = Callable[[Step, Sequence[Tensor], Context], Tensor]


def _transpose_compiler(step: Step, args: Sequence[Tensor], context: Context) -> Tensor:
    return args[0].mT


def _scale_compiler(step: Step, args: Sequence[Tensor], context: Context) -> Tensor:
    return args[0] * step.scalar.value(context.head_dim)


def _add_compiler(step: Step, args: Sequence[Tensor], context: Context) -> Tensor:
    return torch.add(args[0], args[1], alpha=step.scalar.value(context.head_dim))


def _matmul_compiler(step: Step, args: Sequence[Tensor], context: Context) -> Tensor:
    return args[0] @ args[1]


def _mask(step: Step, args: Sequence[Tensor], context: Context) -> Tensor:
    (x,) = args
    if context.mask is None:
        return x
    # Values are finite, so a product zeroes them; it is faster than filling, backward too.
    return x * _over_tokens(context.mask.to(x.dtype), step.axis)


def _softmax_compiler(step: Step, args: Sequence[Tensor], context: Context) -> Tensor:
    (x,) = args
    if context.mask is not None and step.type[step.axis] == "n":
        x = x + _over_tokens(_additive(context.mask, x.dtype), step.axis)
    # Down the columns by way of the rows: what is multiplied next wants the (d, n) layout.
    return x.softmax(-1) if step.axis == -1 else x.mT.softmax(-1).mT


def _logsigmoid_compiler(step: Step, args: Sequence[Tensor], context: Context) -> Tensor:
    return F.logsigmoid(args[0])


def _softplus(step: Step, args: Sequence[Tensor], context: Context) -> Tensor:
    # Above its threshold softplus is x: at 40 that is exact in double precision, at the default 20 it is not.
    return F.softplus(args[0], threshold=40.0)


def _softsign_compiler(step: Step, args: Sequence[Tensor], context: Context) -> Tensor:
    return F.softsign(args[0])


def _unit(step: Step, args: Sequence[Tensor], context: Context) -> Tensor:
    return F.normalize(args[0], dim=step.axis, eps=1e-12)


def _euclidean_compiler(step: Step, args: Sequence[Tensor], context: Context) -> Tensor:
    # The plan has masked the operands.
    return KERNELS_KERNELS["euclidean"](args, ("nn", "nn"), Context(context.head_dim, None))


def _attention(step: Step, args: Sequence[Tensor], context: Context) -> Tensor:
    query, key, value, *rest = args
    scale = step.scalar.value(context.head_dim)
    mask, bias = context.mask, rest[0] if rest else None
    if _plain_is_faster(query, bias):
        scores = (query * scale) @ key.mT
        if bias is not None:
            scores = scores + bias
        if mask is not None:
            scores = scores + _over_tokens(_additive(mask, scores.dtype), -1)
        return scores.softmax(-1) @ value
    if bias is None:
        bias = None if mask is None else _over_tokens(mask, -1)
    elif mask is not None:
        bias = bias + _over_tokens(_additive(mask, bias.dtype), -1)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=scale)


def _plain_is_faster(query: Tensor, bias: Tensor | None) -> bool:
    """Whether PyTorch's fused attention loses against the plain form, measured on CPU.

    It has no fused kernel there that differentiates its mask (1.15 times slower, n from 32 to 512). In half
    precision without AMX it loses twofold forward, and 1.4 (n = 512) to 4 times (n = 128) forward and
    backward; from about 2,048 tokens it wins, since the plain form keeps (n, n) matrices.
    """
    if query.device.type != "cpu":
        return False
    if bias is not None and bias.requires_grad:
        return True
    if query.dtype not in (torch.bfloat16, torch.float16) or query.shape[-2] > _LONG:
        return False
    return query.requires_grad or not _has_amx()


@cache
def _has_amx() -> bool:
    """Whether the CPU multiplies bf16 matrices as such."""
    return hasattr(torch.cpu, "_is_amx_tile_supported") and torch.cpu._is_amx_tile_supported()


def _over_tokens(mask: Tensor, axis: int) -> Tensor:
    """(B, n) -> (B, 1, 1, n), or (B, 1, n, 1) for the axis -2."""
    return mask[:, None, None, :] if axis == -1 else mask[:, None, :, None]


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """0 at real tokens, elsewhere a number that leaves nothing after a softmax, and is safe to add to."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min / 2)


OPERATIONS: dict[str, Operation] = {
    "transpose": _transpose_compiler,
    "scale": _scale_compiler,
    "add": _add_compiler,
    "matmul": _matmul_compiler,
    "mask": _mask,
    "softmax": _softmax_compiler,
    "logsigmoid": _logsigmoid_compiler,
    "softplus": _softplus,
    "softsign": _softsign_compiler,
    "unit": _unit,
    "euclidean": _euclidean_compiler,
    "attention": _attention,
}


# autobert_zero.nn.interpreter: The plain interpreter: one kernel call for every distinct node of a graph, in order.


class Interpreter:
    """A graph as a function of its inputs; shared nodes are computed once.

    Args:
        graph: The attention graph.
        output: The node to compute, with what it needs; None means the graph's output.
    """

    def __init__(self, graph: Graph, output: Node | None = None) -> None:
        nodes = graph.nodes
        if output is not None:
            needed = {node.code for node in output.walk()}
            nodes = tuple([node for node in nodes if node.code in needed])
        self.inputs = graph.inputs
        self._steps = [
            (node.code, KERNELS_KERNELS[node.op], [arg.code for arg in node.args], [arg.type for arg in node.args])
            for node in nodes
            if node.args
        ]
        self._inputs = {node.op: node.code for node in nodes if not node.args}
        self._output = graph.code if output is None else output.code

    def __call__(self, inputs: Mapping[str, Tensor], context: Context) -> Tensor:
        """Computes the graph.

        Args:
            inputs: For each input of the graph a tensor (B, H, n, d_h).
            context: Head dimension and mask.

        Returns:
            The output, (B, H, n, d_h), or of the type of the node that was asked for. Rows of padded
            tokens hold unspecified finite values.
        """
        values = {code: inputs[name] for name, code in self._inputs.items()}
        for code, kernel, args, types in self._steps:
            values[code] = kernel([values[arg] for arg in args], types, context)
        return values[self._output]


# autobert_zero.nn.attention: Any valid attention graph as a multi-head layer.


class GraphAttention(nn.Module):
    """Projects X to the inputs that the graph uses, computes the graph per head, projects back with W_O.

    The projections are one matrix, the inputs in use stacked in the order Q, K, V, P.

    Attributes:
        compute: The graph as a function; an `Interpreter` may take its place, as a reference.

    Args:
        graph: The attention graph.
        width: d.
        heads: H; divides d.
    """

    def __init__(self, graph: Graph, width: int, heads: int) -> None:
        super().__init__()
        self.graph = graph
        self.heads = heads
        self.inputs = graph.inputs
        self.projection = nn.Linear(width, len(self.inputs) * width)
        self.output = nn.Linear(width, width)
        self.compute: Compiled | Interpreter = Compiled(graph)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Mixes tokens and projects the result.

        Args:
            x: (B, n, d).
            mask: (B, n) booleans, True at real tokens, or None.

        Returns:
            (B, n, d).
        """
        return self.output(self.mix(x, mask))

    def mix(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """What `forward` computes before W_O, which treats each token alone.

        Args:
            x: (B, n, d).
            mask: (B, n) booleans, True at real tokens, or None.

        Returns:
            (B, n, d).
        """
        mixed = self.compute(self._projected(x), self._context(x, mask))
        # (B, H, n, d_h) -> (B, n, d)
        return mixed.transpose(1, 2).reshape(x.shape)

    def attention_map(self, x: Tensor, mask: Tensor | None) -> Tensor | None:
        """How much each token takes of every other: for inspection, computed apart from `forward`.

        Args:
            x: (B, n, d).
            mask: (B, n) booleans, True at real tokens, or None.

        Returns:
            (B, H, n, n), rows that sum to 1 over the real tokens: the first softmax over an (n, n) that
            the formula names. None for a graph without one.
        """
        for node in self.graph.root.walk():
            if node.op == "softmax" and node.type == NN:
                return Interpreter(self.graph, node)(self._projected(x), self._context(x, mask))
        return None

    def _projected(self, x: Tensor) -> dict[str, Tensor]:
        """Each input of the graph, (B, H, n, d_h)."""
        batch, tokens, _ = x.shape
        projected = self.projection(x).view(batch, tokens, len(self.inputs), self.heads, -1)
        # (inputs, B, H, n, d_h)
        projected = projected.permute(2, 0, 3, 1, 4)
        return dict(zip(self.inputs, projected.unbind(0), strict=True))

    def _context(self, x: Tensor, mask: Tensor | None) -> Context:
        return Context(x.shape[-1] // self.heads, mask)


# autobert_zero.nn.convolution: The lightweight convolution of Wu et al. 2019: GLU, a softmax-normalised kernel per head, projection.


_SHORT = 128
"""Longest sequence that one band matrix computes; a longer one is cut into blocks."""


class LightConvolution(nn.Module):
    """Depth-wise convolution over tokens; all channels of a head share one kernel that sums to 1.

    Args:
        kernel: Odd kernel size k.
        width: d.
        heads: H; divides d.
    """

    def __init__(self, kernel: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projection = nn.Linear(width, 2 * width)
        self.kernel = nn.Parameter(torch.empty(heads, kernel))
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Mixes tokens and projects the result.

        Args:
            x: (B, n, d).
            mask: (B, n) booleans, True at real tokens, or None.

        Returns:
            (B, n, d).
        """
        return self.output(self.mix(x, mask))

    def mix(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """What `forward` computes before the last projection, which treats each token alone.

        Args:
            x: (B, n, d).
            mask: (B, n) booleans, True at real tokens, or None.

        Returns:
            (B, n, d).
        """
        gated = F.glu(self.projection(x), dim=-1)
        if mask is not None:
            gated = gated.masked_fill(~mask[:, :, None], 0.0)
        return convolve(gated, self.kernel.softmax(-1))


def convolve(x: Tensor, kernel: Tensor) -> Tensor:
    """Correlates every channel with its head's kernel, zero-padded at both ends.

    Args:
        x: (B, n, d).
        kernel: (H, k), k odd.

    Returns:
        (B, n, d).
    """
    # Chosen by benchmarks/convolution.py on CPU, forward and backward.
    shifted_up_to = 5 if x.shape[1] <= _SHORT else 9
    if torch.compiler.is_exporting():
        # For any length, as one operation that other runtimes know.
        algorithm = _depthwise
    elif kernel.shape[-1] <= shifted_up_to:
        algorithm = _shifted_sum
    else:
        algorithm = _banded_product
    return algorithm(x, kernel.to(x.dtype))


def _depthwise(x: Tensor, kernel: Tensor) -> Tensor:
    """PyTorch's own convolution."""
    width = x.shape[-1]
    heads, size = kernel.shape
    weight = kernel.repeat_interleave(width // heads, 0)[:, None]  # (d, 1, k)
    return F.conv1d(x.mT, weight, padding=size // 2, groups=width).mT


def _shifted_sum(x: Tensor, kernel: Tensor) -> Tensor:
    """k multiply-adds over the sequence."""
    tokens, width = x.shape[1:]
    heads, size = kernel.shape
    weight = kernel.t().repeat_interleave(width // heads, 1)  # (k, d)
    padded = F.pad(x, (0, 0, size // 2, size // 2))
    result = padded[:, :tokens] * weight[0]
    for offset in range(1, size):
        result = torch.addcmul(result, padded[:, offset : offset + tokens], weight[offset])
    return result


def _banded_product(x: Tensor, kernel: Tensor) -> Tensor:
    """One small band matrix per head, applied to blocks of the sequence: linear in its length."""
    batch, tokens, width = x.shape
    heads, size = kernel.shape
    block = tokens
    if tokens > _SHORT:  # small blocks waste less, large ones suit the units for half precision
        block = 64 if x.dtype == torch.float32 else 128
    blocks = -(-tokens // block)
    span = block + size - 1
    # Rows of period block + size read at a stride one shorter move the kernel by one each row.
    band = F.pad(kernel, (0, block)).repeat(1, block)[:, : block * span].view(heads, block, span)
    if blocks == 1:
        band = band[:, :, size // 2 : size // 2 + tokens]  # (H, n, n): without the padding's columns
        mixed = torch.einsum("hts,bshc->bthc", band, x.unflatten(2, (heads, width // heads)))
        return mixed.flatten(2)
    padded = F.pad(x, (0, 0, size // 2, size // 2 + blocks * block - tokens))
    # (B, blocks, d, span) -> (B, blocks, H, d_h, span)
    windows = padded.unfold(1, span, block).unflatten(2, (heads, width // heads))
    mixed = torch.einsum("hts,bnhcs->bnthc", band, windows)  # (B, blocks, block, H, d_h)
    return mixed.reshape(batch, blocks * block, width)[:, :tokens]


# autobert_zero.nn.documents: Where the documents of packed sequences lie, so that each can be mixed as if it were alone.


@dataclass(frozen=True)
class Documents:
    """The documents of a batch of packed sequences, laid out as padded rows in groups of like length.

    Attributes:
        real: Of each group, (documents, longest) booleans, True where there is a token.
        tokens: (padded,) the token, an index into B * n, at each place of all groups one after the other.
        places: (B * n,) the place of each token.
    """

    real: tuple[Tensor, ...]
    tokens: Tensor
    places: Tensor

    def to(self, device: torch.device) -> "Documents":
        """The same on a device."""
        real = tuple(each.to(device) for each in self.real)
        return Documents(real, self.tokens.to(device), self.places.to(device))

    def apart(self, mix: Callable[[Tensor, Tensor], Tensor], x: Tensor) -> Tensor:
        """Mixes each document as if it were alone: exact for every graph and kernel, since padding is.

        Args:
            mix: From (documents, longest, d) and the mask of the same group to (documents, longest, d).
            x: (B, n, d).

        Returns:
            (B, n, d).
        """
        rows: Tensor = _LayOut.apply(x.flatten(0, 1), self.tokens, self.places)  # (padded, d)
        groups = rows.split([real.numel() for real in self.real])
        mixed = [
            mix(group.view(*real.shape, -1), real).flatten(0, 1)  # (documents * longest, d)
            for group, real in zip(groups, self.real, strict=True)
        ]
        real = torch.cat([each.flatten() for each in self.real])  # (padded,)
        packed: Tensor = _Pack.apply(torch.cat(mixed), self.tokens, self.places, real)  # (B * n, d)
        return packed.view(x.shape)


class _LayOut(torch.autograd.Function):
    """From tokens to places. What flows back to padding is 0, so a token's gradient is that of its place."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, tokens: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        return x.index_select(0, tokens)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None, None]:
        (places,) = ctx.saved_tensors
        return above.index_select(0, places), None, None


class _Pack(torch.autograd.Function):
    """From places to tokens."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, tokens: Tensor, places: Tensor, real: Tensor) -> Tensor:
        ctx.save_for_backward(tokens, real)
        return x.index_select(0, places)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None, None, None]:
        tokens, real = ctx.saved_tensors
        return above.index_select(0, tokens).masked_fill_(~real[:, None], 0.0), None, None, None


# autobert_zero.nn.encoder: A BERT-style encoder whose token-mixing layers are a backbone.


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes shared by all layers.

    Attributes:
        vocab_size: Number of tokens in the vocabulary.
        width: d, the hidden size.
        heads: H, of attentions and convolutions.
        feed_forward: Inner width of the feed-forward block; 0 means 4 d.
        max_positions: Longest sequence.
        token_types: Number of segments.
        dropout: After the embeddings and after every sub-block.
        norm_epsilon: Of the layer norms.

    Raises:
        ValueError: d is not divisible by H, or a value is out of range.
    """

    vocab_size: int
    width: int = 128
    heads: int = 4
    feed_forward: int = 0
    max_positions: int = 512
    token_types: int = 2
    dropout: float = 0.0
    norm_epsilon: float = 1e-12

    def __post_init__(self) -> None:
        for name in ("vocab_size", "width", "heads", "max_positions", "token_types"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 1, not {getattr(self, name)}")
        if self.width % self.heads:
            raise ValueError(
                f"width {self.width} is not divisible by {self.heads} heads; choose a multiple of the heads"
            )
        if self.feed_forward < 0:
            raise ValueError(f"feed_forward is at least 0, not {self.feed_forward}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is in [0, 1), not {self.dropout}")
        if not self.norm_epsilon > 0:
            raise ValueError(f"norm_epsilon is above 0, not {self.norm_epsilon}")

    @property
    def inner(self) -> int:
        """Inner width of the feed-forward block."""
        return self.feed_forward or 4 * self.width


class Embeddings(nn.Module):
    """Token, position and segment embeddings, normalised, as in BERT."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.token = nn.Embedding(config.vocab_size, config.width)
        self.position = nn.Embedding(config.max_positions, config.width)
        self.segment = nn.Embedding(config.token_types, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        ids: Tensor | None,
        segments: Tensor | None = None,
        positions: Tensor | None = None,
        embedded: Tensor | None = None,
    ) -> Tensor:
        """Embeds a batch.

        Args:
            ids: (B, n) token ids; None where `embedded` is given.
            segments: (B, n) segment ids; None means all 0.
            positions: (B, n) or (1, n) positions; None means 0, 1, 2, ...
            embedded: (B, n, d) in place of the token embeddings.

        Returns:
            (B, n, d).

        Raises:
            ValueError: n is larger than `max_positions`.
        """
        x = self.token(ids) if embedded is None else embedded
        if positions is None:
            tokens, most = x.shape[1], self.position.num_embeddings
            if tokens > most:
                raise ValueError(f"{tokens} tokens are more than the {most} positions; truncate the text")
            position = self.position.weight[:tokens]
        else:
            position = self.position(positions)
        segment = self.segment.weight[0] if segments is None else self.segment(segments)
        return self.dropout(self.norm(x + position + segment))


class FeedForward(nn.Module):
    """d -> inner -> d with GELU."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, config.inner)
        self.down = nn.Linear(config.inner, config.width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))


class EncoderLayer(nn.Module):
    """Token mixing, then feed-forward, each with residual and layer norm after it (post-LN).

    The mixing block is called `attention` or `convolution`, which is what the weight bank tells the
    two branches by.
    """

    def __init__(self, layer: Layer, config: EncoderConfig) -> None:
        super().__init__()
        if isinstance(layer, Attention):
            self._branch = "attention"
            self.attention = GraphAttention(layer.graph, config.width, config.heads)
        else:
            self._branch = "convolution"
            self.convolution = LightConvolution(layer.kernel, config.width, config.heads)
        self.mixing_norm = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.feed_forward = FeedForward(config)
        self.output_norm = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        documents: Documents | None = None,
        rows: Tensor | None = None,
    ) -> Tensor:
        """Computes the layer.

        Args:
            x: (B, n, d).
            mask: (B, n) booleans, True at real tokens, or None.
            documents: Where each document of packed sequences lies; mixing stays inside of it. None mixes
                whole sequences.
            rows: (m,) indices into the flattened (B * n): the only tokens whose output is wanted, since what
                follows the mixing treats each token alone. None computes all.

        Returns:
            (B, n, d), or (m, d) for the chosen rows.
        """
        # By name: a second attribute for the same module would put its weights into the state dict twice.
        branch = getattr(self, self._branch)
        mixed = branch.mix(x, mask) if documents is None else documents.apart(branch.mix, x)
        if rows is not None:
            x, mixed = (each.flatten(0, 1).index_select(0, rows) for each in (x, mixed))  # (m, d)
        x = self.mixing_norm(x + self.dropout(branch.output(mixed)))
        return self.output_norm(x + self.dropout(self.feed_forward(x)))

    def attention_map(self, x: Tensor, mask: Tensor | None) -> Tensor | None:
        """See `GraphAttention.attention_map`; None for a convolution."""
        return self.attention.attention_map(x, mask) if self._branch == "attention" else None


# autobert_zero.nn.heads: Task heads on top of an encoder.


class Pooler(nn.Module):
    """A summary of a sequence: a projection of the first token's state (BERT), or of the mean of all.

    Args:
        width: d.
        mean: Whether of the mean. Without an attention that spans the sequence, the first token has only
            seen the tokens that the kernels reach.
    """

    def __init__(self, width: int, mean: bool = False) -> None:
        super().__init__()
        self.mean = mean
        self.dense = nn.Linear(width, width)

    def forward(self, hidden: Tensor, mask: Tensor | None = None) -> Tensor:
        """Summarises.

        Args:
            hidden: (B, n, d).
            mask: (B, n) booleans, True at real tokens; None where there is no padding.

        Returns:
            (B, d).
        """
        if not self.mean:
            summary = hidden[:, 0]
        elif mask is None:
            summary = hidden.mean(1)
        else:
            # States of padding are unspecified, so they are replaced, not multiplied by 0.
            real = hidden.masked_fill(~mask[..., None], 0.0)
            summary = real.sum(1) / mask.sum(1, keepdim=True)
        return torch.tanh(self.dense(summary))


# autobert_zero.hf.configuration: The configuration: a backbone as text, and sizes under the names of Hugging Face.


_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)


POOLINGS = ("cls", "mean")


class AutoBertZeroConfig(PreTrainedConfig):
    """What an AutoBERT-Zero model is built from; the sizes default to those of BERT-base.

    There is no dropout on attention maps: most backbones have none that a weight could be dropped from.

    Attributes:
        backbone: The layers, one string a layer (`conv 9` or a formula). Also taken as one text with a
            layer a line, or as a `Backbone`; kept as a list.
        vocab_size: Number of tokens in the vocabulary.
        hidden_size: d.
        num_attention_heads: H, of attentions and convolutions; divides d.
        intermediate_size: Inner width of the feed-forward block.
        max_position_embeddings: Longest sequence.
        type_vocab_size: Number of segments.
        hidden_dropout_prob: Dropout after the embeddings and after every sub-block.
        classifier_dropout: Dropout before a classifier; None means `hidden_dropout_prob`.
        classifier_pooling: What a classifier of sequences, or of pairs, is given: `cls`, the first token's
            state (BERT), or `mean`, that of all tokens. Backbones without attention do better with the mean.
        layer_norm_eps: Of the layer norms.
        initializer_range: Standard deviation of new weights.
        pad_token_id: The padding's token, for tools that pad.
        tie_word_embeddings: The language model's decoder is the token embedding.

    Raises:
        UserError: The backbone is missing or invalid, or a size is.
    """

    model_type = "autobert-zero"

    backbone: list[str] | str | Backbone | None = None
    vocab_size: int = 30522
    hidden_size: int = 768
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    hidden_dropout_prob: float = 0.1
    classifier_dropout: float | None = None
    classifier_pooling: str = "cls"
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02
    pad_token_id: int | None = 0
    tie_word_embeddings: bool = True

    def __post_init__(self, num_hidden_layers: int | None = None, **kwargs: Any) -> None:
        backbone = self.parse_backbone()
        self.backbone = backbone.to_list()
        if num_hidden_layers not in (None, len(backbone.layers)):
            raise UserError(
                f"config: num_hidden_layers is {num_hidden_layers}, the backbone has "
                f"{len(backbone.layers)} layers; leave num_hidden_layers out, the backbone decides"
            )
        self.encoder_config()
        if self.classifier_pooling not in POOLINGS:
            raise UserError(
                f"config: classifier_pooling is {' or '.join(POOLINGS)}, not {self.classifier_pooling!r}"
            )
        super().__post_init__(**kwargs)

    @property
    def num_hidden_layers(self) -> int:
        """Depth of the backbone."""
        return len(self.parse_backbone().layers)

    def parse_backbone(self) -> Backbone:
        """Reads the backbone.

        Raises:
            UserError: It is missing or invalid; the message names the layer and the place in it.
        """
        given = self.backbone
        if isinstance(given, Backbone):
            return given
        if given is None:
            raise UserError(
                "config: a backbone is needed, a list with one string a layer (`conv 9` or a formula); "
                "autobert_zero.hf.from_zoo has known ones"
            )
        try:
            return Backbone.parse(given) if isinstance(given, str) else Backbone.from_list(given)
        except SpaceError as error:
            raise UserError(f"config: backbone: {error}") from None
        except TypeError:
            raise UserError(f"config: backbone is a list of strings, not {type(given).__name__}") from None

    def encoder_config(self) -> EncoderConfig:
        """The sizes under the names of `autobert_zero.nn`.

        Raises:
            UserError: A size is out of range.
        """
        for name in _SIZES:
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise UserError(f"config: {name} is a number of at least 1, not {value!r}")
        if self.hidden_size % self.num_attention_heads:
            raise UserError(
                f"config: hidden_size {self.hidden_size} is not divisible by {self.num_attention_heads} "
                "heads; choose a multiple of num_attention_heads"
            )
        try:
            return EncoderConfig(
                vocab_size=self.vocab_size,
                width=self.hidden_size,
                heads=self.num_attention_heads,
                feed_forward=self.intermediate_size,
                max_positions=self.max_position_embeddings,
                token_types=self.type_vocab_size,
                dropout=self.hidden_dropout_prob,
                norm_epsilon=self.layer_norm_eps,
            )
        except ValueError as error:
            raise UserError(f"config: {error}") from None


# autobert_zero.hf.losses: The losses of the heads, equal to those of BERT's classes in `transformers`.


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over the tokens with a label.

    Args:
        logits: (B, n, c).
        labels: (B, n), -100 where there is none.
    """
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def span_loss(logits: Tensor, positions: Tensor) -> Tensor:
    """Mean cross-entropy of one end of a span.

    Args:
        logits: (B, n).
        positions: (B,); those past the sequence (the answer was truncated) do not count.
    """
    outside = logits.shape[1]
    return F.cross_entropy(logits, positions.flatten().clamp(0, outside), ignore_index=outside)


def classification_loss(logits: Tensor, labels: Tensor, problem: str | None) -> Tensor:
    """The loss of a problem type.

    Args:
        logits: (B, c).
        labels: (B,) or (B, c).
        problem: `regression`, `single_label_classification` or `multi_label_classification`; None decides:
            one class is a regression, integers are single labels, anything else is several labels.
    """
    if problem is None:
        if logits.shape[1] == 1:
            problem = "regression"
        elif labels.dtype in (torch.int64, torch.int32):
            problem = "single_label_classification"
        else:
            problem = "multi_label_classification"
    match problem:
        case "regression":
            return F.mse_loss(logits.float(), labels.view(logits.shape).float())
        case "single_label_classification":
            return F.cross_entropy(logits, labels.flatten())
        case "multi_label_classification":
            return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
    raise UserError(f"unknown problem_type {problem!r}")


# autobert_zero.hf.loading: Checks around loading a checkpoint: what it is, and whether its weights are of the backbone.


_HUB = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")


_SHOWN = 5
"""Tensors named in a message."""


def refuse_pickles(source: str, options: dict[str, Any]) -> None:
    """Raises a `UserError` where pickled weights are asked for, or are all that a folder has.

    Args:
        source: A folder or a name on the Hub.
        options: Of `from_pretrained`; loses `use_safetensors`.
    """
    if options.pop("use_safetensors", None) is False:
        raise UserError("weights are loaded from safetensors only: leave use_safetensors out")
    folder = Path(source) / (options.get("subfolder") or "")
    if folder.is_dir() and not any(folder.glob("*.safetensors")):
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth"))
        if pickles:
            raise UserError(
                f"{source} has {', '.join(pickles)} and no safetensors; a pickle can run code when it is "
                "loaded, so it is not: save the weights as model.safetensors"
            )


def stored_config(source: str, options: dict[str, Any]) -> dict[str, Any]:
    """Reads a checkpoint's config.json; empty where there is none (an adapter's folder).

    Args:
        source: A folder or a name on the Hub.
        options: Of `from_pretrained`.

    Raises:
        UserError: It is of another kind of model.
    """
    try:
        stored, _ = PreTrainedConfig.get_config_dict(
            source, **{name: options[name] for name in _HUB if name in options}
        )
    except OSError:
        return {}  # loading will say what is missing
    kind = stored.get("model_type", "autobert-zero")
    if kind != "autobert-zero":
        raise UserError(
            f"{source} holds a model of type {kind}, not autobert-zero; "
            "BERT's are loaded with autobert_zero.hf.from_bert"
        )
    return stored


@contextmanager
def damage_named(source: str) -> Iterator[None]:
    """Turns the errors of safetensors into a `UserError`."""
    try:
        yield
    except SafetensorError as error:
        raise UserError(
            f"the weights in {source} are damaged or not safetensors ({error}); save or copy them again"
        ) from None


def check_backbone(source: str, stored: dict[str, Any], wanted: Backbone, info: dict[str, Any]) -> None:
    """Checks that the weights of a checkpoint are those of a backbone.

    Args:
        source: Where it is.
        stored: Its config.json.
        wanted: The backbone of the model that was built.
        info: What loading said about missing, unexpected and mismatched tensors.

    Raises:
        UserError: They are of another one; the message names both, and the first tensors that differ.
    """
    saved = _backbone_of(stored)
    if saved is None or saved == wanted:
        if not _tells_of_another(info):
            return
        about = f"weights of another backbone than {_named(wanted)}, which its config.json names"
    else:
        about = f"a model with the backbone {_named(saved)}, not {_named(wanted)}; {_contrast(saved, wanted)}"
    wrong = [text for text in differences(info) if "layers." in text]
    tensors = listed(wrong) if wrong else "none, all have the same names and sizes"
    raise UserError(f"{source} holds {about}. Tensors that differ: {tensors}")


def differences(info: dict[str, Any]) -> list[str]:
    """The tensors that did not fit, in the order of their names in the encoder, each with what is wrong."""
    wrong = {name: f"{name} is missing" for name in info["missing_keys"]}
    wrong |= {name: f"{name} is not used" for name in info["unexpected_keys"]}
    wrong |= {
        name: f"{name} is {tuple(saved)}, not {tuple(wanted)}"
        for name, saved, wanted in info["mismatched_keys"]
    }
    # A checkpoint has the prefix where it has a head, a model where it has one: they may differ in that.
    return [wrong[name] for name in sorted(wrong, key=lambda name: _by_number(name.removeprefix("encoder.")))]


def listed(texts: Sequence[str]) -> str:
    """The first few of many."""
    more = f", and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more


def _tells_of_another(info: dict[str, Any]) -> bool:
    """Whether tensors differ in what the backbone decides, not in what width and heads decide."""
    if any("layers." in name for name in {*info["missing_keys"], *info["unexpected_keys"]}):
        return True
    for name, saved, wanted in info["mismatched_keys"]:
        if name.endswith("convolution.kernel") and saved[-1] != wanted[-1]:
            return True
        # (inputs * d, d): the number of inputs.
        if name.endswith("attention.projection.weight") and saved[0] * wanted[1] != wanted[0] * saved[1]:
            return True
    return False


def _by_number(name: str) -> list[tuple[int, str]]:
    """A key that orders layer 2 before layer 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.split(".")]


def _backbone_of(stored: dict[str, Any]) -> Backbone | None:
    try:
        return Backbone.from_list(stored["backbone"])
    except (KeyError, TypeError, SpaceError):
        return None


def _named(backbone: Backbone) -> str:
    return f"{backbone.key()} ({len(backbone.layers)} layers)"


def _contrast(saved: Backbone, wanted: Backbone) -> str:
    for number, (theirs, ours) in enumerate(zip(saved.layers, wanted.layers, strict=False), start=1):
        if theirs != ours:
            return f"layer {number} is `{theirs}`, not `{ours}`"
    return "the layers that both have are the same"


# autobert_zero.hf.modeling: The encoder as a Hugging Face model.


class AutoBertZeroPreTrainedModel(PreTrainedModel):
    """What all models share: loading, saving, initialisation."""

    config_class = AutoBertZeroConfig
    base_model_prefix = "encoder"
    supports_gradient_checkpointing = True
    _supports_sdpa = True  # where a graph has the pattern; the compiler decides
    _input_embed_layer = "token"
    _no_split_modules = ("EncoderLayer",)

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, LightConvolution):
            # It passes through a softmax: near 0 every head would start as the same moving average.
            init.normal_(module.kernel)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *args: Any,
        **kwargs: Any,
    ) -> Self | tuple[Self, dict[str, Any]]:
        """Loads a model, as in `PreTrainedModel.from_pretrained`, from safetensors only.

        Raises:
            UserError: The checkpoint is a pickle, damaged, of another kind of model or of another backbone.
        """
        if pretrained_model_name_or_path is None:
            return super().from_pretrained(None, *args, **kwargs)
        source = str(pretrained_model_name_or_path)
        refuse_pickles(source, kwargs)
        stored = stored_config(source, kwargs)
        wants_info = kwargs.pop("output_loading_info", False)
        may_mismatch = kwargs.pop("ignore_mismatched_sizes", False)
        with damage_named(source):
            model, info = super().from_pretrained(
                source,
                *args,
                **kwargs,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # checked here, to say more
            )
        check_backbone(source, stored, model.config.parse_backbone(), info)
        if info["mismatched_keys"] and not may_mismatch:
            raise UserError(
                f"{source}: tensors of another size: {listed(differences(info))}; with "
                "ignore_mismatched_sizes=True they start anew"
            )
        return (model, info) if wants_info else model


class AutoBertZeroModel(AutoBertZeroPreTrainedModel):
    """The encoder without a head.

    Args:
        config: Backbone and sizes.
        add_pooling_layer: Whether to summarise the sequence, as `classifier_pooling` says.
    """

    def __init__(self, config: AutoBertZeroConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        sizes = config.encoder_config()
        self.embeddings = Embeddings(sizes)
        self.layers = nn.ModuleList(EncoderLayer(layer, sizes) for layer in config.parse_backbone().layers)
        mean = config.classifier_pooling == "mean"
        self.pooler = Pooler(config.hidden_size, mean) if add_pooling_layer else None
        self.gradient_checkpointing = False
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutputWithPooling:
        """Encodes a batch.

        Args:
            input_ids: (B, n) token ids.
            attention_mask: (B, n), 1 at real tokens and 0 at padding; None where there is no padding.
            token_type_ids: (B, n) segment ids; None means all 0.
            position_ids: (B, n) or (1, n); None means 0, 1, 2, ...
            inputs_embeds: (B, n, d) in place of `input_ids`.
            output_attentions: Whether to return for every layer its map, (B, H, n, n), see
                `GraphAttention.attention_map`, or None where the layer has none.
            output_hidden_states: Whether to return the embeddings and the output of every layer.

        Returns:
            The last hidden states (B, n, d), the pooled state (B, d) if there is a pooler, the hidden states
            and maps that were asked for. Hidden states of padding are unspecified.

        Raises:
            UserError: Not exactly one of `input_ids` and `inputs_embeds`, or a mask of another shape.
            ValueError: n is larger than `max_position_embeddings`.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise UserError("give either input_ids or inputs_embeds")
        shape = inputs_embeds.shape[:2] if input_ids is None else input_ids.shape  # type: ignore[union-attr]
        mask = None
        if attention_mask is not None:
            if attention_mask.shape != shape:
                raise UserError(
                    f"attention_mask is {tuple(shape)} as the tokens are, with 1 at real ones, "
                    f"not {tuple(attention_mask.shape)}"
                )
            mask = attention_mask.bool()
        config = self.config
        with_maps = config.output_attentions if output_attentions is None else output_attentions
        with_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states

        x = self.embeddings(input_ids, token_type_ids, position_ids, inputs_embeds)
        states: list[Tensor] = [x] if with_states else []
        maps: list[Tensor | None] = []
        for layer in cast(Iterable[EncoderLayer], self.layers):
            if with_maps:
                maps.append(layer.attention_map(x, mask))
            if self.gradient_checkpointing and self.training:
                x = self._gradient_checkpointing_func(layer, x, mask)
            else:
                x = layer(x, mask)
            if with_states:
                states.append(x)
        return BaseModelOutputWithPooling(
            last_hidden_state=x,
            pooler_output=None if self.pooler is None else self.pooler(x, mask),
            hidden_states=tuple(states) if with_states else None,
            attentions=tuple(maps) if with_maps else None,
        )


# autobert_zero.hf.heads: The encoder with task heads; arguments, losses and outputs are those of BERT's classes in `transformers`.


class _LanguageModel(AutoBertZeroPreTrainedModel):
    """An encoder that predicts tokens, with the parameters of `nn.MaskedLM`."""

    _tied_weights_keys = {  # noqa: RUF012 - read by transformers, never changed
        "decoder.weight": "encoder.embeddings.token.weight",
        "decoder.bias": "bias",
    }

    def __init__(self, config: AutoBertZeroConfig, add_pooling_layer: bool) -> None:
        super().__init__(config)
        self.encoder = AutoBertZeroModel(config, add_pooling_layer)
        self.transform = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self:
            init.zeros_(self.bias)

    def get_output_embeddings(self) -> nn.Linear:
        return self.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        self.decoder = new_embeddings
        self.bias = new_embeddings.bias

    def predict(self, hidden: Tensor) -> Tensor:
        """(B, n, d) -> (B, n, v) logits."""
        return self.decoder(self.norm(F.gelu(self.transform(hidden))))


class AutoBertZeroForMaskedLM(_LanguageModel):
    """Predicts masked tokens."""

    def __init__(self, config: AutoBertZeroConfig) -> None:
        super().__init__(config, add_pooling_layer=False)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> MaskedLMOutput:
        """Predicts the token at every position.

        Args:
            labels: (B, n) token ids, -100 where nothing is to be predicted.

        Returns:
            Logits (B, n, v), and with labels the mean cross-entropy.
        """
        outputs = self.encoder(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            output_attentions,
            output_hidden_states,
            return_dict=True,
        )
        logits = self.predict(outputs.last_hidden_state)
        return MaskedLMOutput(
            loss=None if labels is None else token_loss(logits, labels),
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


@dataclass
class AutoBertZeroForPreTrainingOutput(ModelOutput):
    """What `AutoBertZeroForPreTraining` returns.

    Attributes:
        loss: Sum of the losses whose labels were given.
        prediction_logits: (B, n, v).
        seq_relationship_logits: (B, 2); class 0: the second segment follows the first.
        hidden_states: As in `AutoBertZeroModel`.
        attentions: As in `AutoBertZeroModel`.
    """

    loss: Tensor | None = None
    prediction_logits: Tensor | None = None
    seq_relationship_logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor | None, ...] | None = None


class AutoBertZeroForPreTraining(_LanguageModel):
    """BERT's pre-training: predicts masked tokens, and whether the second segment follows the first."""

    def __init__(self, config: AutoBertZeroConfig) -> None:
        super().__init__(config, add_pooling_layer=True)
        self.seq_relationship = nn.Linear(config.hidden_size, 2)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> AutoBertZeroForPreTrainingOutput:
        """Predicts tokens and the order of the segments.

        Args:
            labels: (B, n) token ids, -100 where nothing is to be predicted.
            next_sentence_label: (B,), 0 where the second segment follows the first, 1 where it does not.

        Returns:
            Logits (B, n, v) and (B, 2), and with labels the sum of their losses.
        """
        outputs = self.encoder(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            output_attentions,
            output_hidden_states,
            return_dict=True,
        )
        logits = self.predict(outputs.last_hidden_state)
        order = self.seq_relationship(outputs.pooler_output)
        losses = []
        if labels is not None:
            losses.append(token_loss(logits, labels))
        if next_sentence_label is not None:
            losses.append(F.cross_entropy(order, next_sentence_label.view(-1)))
        return AutoBertZeroForPreTrainingOutput(
            loss=torch.stack(losses).sum() if losses else None,
            prediction_logits=logits,
            seq_relationship_logits=order,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


class _Classifier(AutoBertZeroPreTrainedModel):
    """An encoder with dropout and one linear layer."""

    def __init__(self, config: AutoBertZeroConfig, classes: int, add_pooling_layer: bool) -> None:
        super().__init__(config)
        self.encoder = AutoBertZeroModel(config, add_pooling_layer)
        dropout = config.classifier_dropout
        self.dropout = nn.Dropout(config.hidden_dropout_prob if dropout is None else dropout)
        self.classifier = nn.Linear(config.hidden_size, classes)
        self.post_init()


class AutoBertZeroForSequenceClassification(_Classifier):
    """Classifies sequences, or pairs of them; regression with one label (GLUE)."""

    def __init__(self, config: AutoBertZeroConfig) -> None:
        super().__init__(config, config.num_labels, add_pooling_layer=True)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> SequenceClassifierOutput:
        """Classifies sequences.

        Args:
            labels: (B,) classes; or (B,) or (B, c) numbers for a regression; or (B, c) zeros and ones, as
                floats, where several labels may hold. See `losses.classification_loss`.

        Returns:
            Logits (B, c), and with labels the loss.
        """
        outputs = self.encoder(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            output_attentions,
            output_hidden_states,
            return_dict=True,
        )
        logits = self.classifier(self.dropout(outputs.pooler_output))
        loss = None if labels is None else classification_loss(logits, labels, self.config.problem_type)
        return SequenceClassifierOutput(
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


class AutoBertZeroForTokenClassification(_Classifier):
    """Classifies tokens."""

    def __init__(self, config: AutoBertZeroConfig) -> None:
        super().__init__(config, config.num_labels, add_pooling_layer=False)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> TokenClassifierOutput:
        """Classifies tokens.

        Args:
            labels: (B, n) classes, -100 where a token has none.

        Returns:
            Logits (B, n, c), and with labels the mean cross-entropy.
        """
        outputs = self.encoder(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            output_attentions,
            output_hidden_states,
            return_dict=True,
        )
        logits = self.classifier(self.dropout(outputs.last_hidden_state))
        return TokenClassifierOutput(
            loss=None if labels is None else token_loss(logits, labels),
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


class AutoBertZeroForMultipleChoice(_Classifier):
    """Chooses one of several continuations."""

    def __init__(self, config: AutoBertZeroConfig) -> None:
        super().__init__(config, 1, add_pooling_layer=True)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> MultipleChoiceModelOutput:
        """Scores choices.

        Args:
            input_ids: (B, choices, n); the other inputs have that axis too.
            labels: (B,) the right choices.

        Returns:
            Logits (B, choices), and with labels the mean cross-entropy. Hidden states and maps are those of
            a batch of B * choices.
        """
        given = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        choices = next(tensor.shape[1] for tensor in (input_ids, inputs_embeds) if tensor is not None)
        outputs = self.encoder(
            *[None if tensor is None else tensor.flatten(0, 1) for tensor in given],
            output_attentions,
            output_hidden_states,
            return_dict=True,
        )
        # (B * choices, 1) -> (B, choices)
        logits = self.classifier(self.dropout(outputs.pooler_output)).view(-1, choices)
        return MultipleChoiceModelOutput(
            loss=None if labels is None else F.cross_entropy(logits, labels),
            logits=logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


class AutoBertZeroForQuestionAnswering(AutoBertZeroPreTrainedModel):
    """Finds the span that answers a question (SQuAD)."""

    def __init__(self, config: AutoBertZeroConfig) -> None:
        super().__init__(config)
        self.encoder = AutoBertZeroModel(config, add_pooling_layer=False)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> QuestionAnsweringModelOutput:
        """Scores every token as the start and as the end of the answer.

        Args:
            start_positions: (B,) first token of the answer; one outside of the sequence is ignored.
            end_positions: (B,) last token of the answer.

        Returns:
            Start and end logits (B, n) each, and with both positions the mean of the two losses.
        """
        outputs = self.encoder(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            inputs_embeds,
            output_attentions,
            output_hidden_states,
            return_dict=True,
        )
        start, end = self.qa_outputs(outputs.last_hidden_state).unbind(-1)  # (B, n) each
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = (span_loss(start, start_positions) + span_loss(end, end_positions)) / 2
        return QuestionAnsweringModelOutput(
            loss=loss,
            start_logits=start,
            end_logits=end,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
