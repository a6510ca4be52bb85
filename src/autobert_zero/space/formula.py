"""The formula syntax: an attention graph as a Python expression, parsed against a white list and never run.

    softmax(scale(Q @ K.T)) @ V

Operators: `@` matmul, `*` multiply, `+` add, unary `-` neg, `.T` transpose. Calls: the other primitives
by name. Names: Q, K, V, P.
"""

import ast
import re

from autobert_zero.errors import did_you_mean
from autobert_zero.space import types
from autobert_zero.space.errors import FormulaError, SpaceError
from autobert_zero.space.graph import INPUT_NODES, Graph, Node, apply
from autobert_zero.space.primitives import INPUTS, PRIMITIVES

MAX_FORMULA_LENGTH = 4000
"""Longest formula accepted, in characters; far beyond what a person or the search writes."""

MAX_FORMULA_OPS = 200
"""Maximum operations accepted: whatever is parsed can also be walked recursively."""

_OPERATORS = {"neg": "-", "transpose": ".T", "add": "+", "multiply": "*", "matmul": "@"}
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

    def read(self, tree: ast.expr) -> Node:  # noqa: C901 - one case for each construct
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
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return self.apply("multiply", right, self.read(left), self.read(right))
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self.apply("add", right, self.read(left), self.read(right))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
                if name not in CALLS:
                    calls = f"{', '.join(CALLS)}{did_you_mean(name, CALLS)}"
                    raise self.error(f"unknown primitive {name!r}; calls are {calls}", tree)
                if keywords:
                    raise self.error(f"{name} takes its operands by position, without keywords", tree)
                if len(args) != PRIMITIVES[name].arity:
                    given = f"{PRIMITIVES[name].arity} operand(s), got {len(args)}"
                    raise self.error(f"{name} takes {given}", tree)
                return self.apply(name, tree, *map(self.read, args))
        raise self.error(
            f"{self.source(tree)[:60]!r} is not part of the formula syntax; "
            f"there are @, *, +, unary -, .T and the calls {', '.join(CALLS)}",
            tree,
        )

    def source(self, tree: ast.expr) -> str:
        """The text of a part; `ast.unparse` fails at hexadecimal numbers too long for Python's decimals."""
        return self.text[self.start + tree.col_offset : self.start + (tree.end_col_offset or 0)]

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
        case "matmul" | "multiply":
            sign = _OPERATORS[node.op]
            text, level = f"{_format(node.args[0], _PRODUCT)} {sign} {_format(node.args[1], _SIGN)}", _PRODUCT
        case "neg":
            text, level = f"-{_format(node.args[0], _SIGN)}", _SIGN
        case "transpose":
            text, level = f"{_format(node.args[0], _ATOM)}.T", _ATOM
        case name if node.args:
            text, level = f"{name}({', '.join(_format(arg, _SUM) for arg in node.args)})", _ATOM
        case name:
            text, level = name, _ATOM
    return f"({text})" if level < least else text


def describe_nodes(graph: Graph) -> list[tuple[str, str]]:
    """Lists the distinct nodes as (formula, type), operands first; for people."""
    return [(format_node(node), types.show(node.type)) for node in graph.nodes]
