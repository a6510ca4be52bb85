"""The algebra of the compiler: rewrites a graph as terms, each a scalar times an expression without scalars.

A single scalar replaces several passes over (n, n) matrices, and chains of products can be multiplied in the
cheapest order. These rules extend those of `space.canonical`:
- neg, scale and amplify become the scalar of a term, which is pulled out of linear operations (rotary,
  previous, next) and of entry-wise products; the sign is pulled out of a softsign, an odd function; and
  -logsigmoid(-x) becomes softplus(x).
- cosine(A, B) becomes unit(A) @ unit(B).T, where unit scales rows to length 1: a product like any other.
- (A @ B.T + C) @ D becomes A @ B.T @ D + C @ D where that avoids the (n, n) matrix A @ B.T.
- A transpose moves outward until it is a view of a value: values of type (d, n) are never computed, they are
  views of (n, d) values.
Primitives without a rule here stay as they are and are computed by their kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce

from autobert_zero.space import PRIMITIVES, Graph, Node
from autobert_zero.space.types import Type, swap

_LONGEST_REPEATED = 10_000
"""Maximum characters of the factor of a sum that is multiplied out: nested ones double the text each time."""


@dataclass(frozen=True)
class Scalar:
    """sign * d_h ** (-scales / 2), a product of the factors of neg, scale and amplify.

    Attributes:
        sign: 1 or -1.
        scales: Number of times that `scale` was applied minus the number for `amplify`.
    """

    sign: int = 1
    scales: int = 0

    def __mul__(self, other: Scalar) -> Scalar:
        return Scalar(self.sign * other.sign, self.scales + other.scales)

    def value(self, head_dim: int) -> float:
        """The value for a head dimension."""
        return self.sign * float(head_dim) ** (-self.scales / 2)

    def __str__(self) -> str:
        sign = "-" if self.sign < 0 else ""
        names = {-2: "d_h", -1: "sqrt(d_h)", 0: "1", 1: "1/sqrt(d_h)", 2: "1/d_h"}
        return sign + names.get(self.scales, f"d_h^({-self.scales}/2)")


ONE = Scalar()
MINUS = Scalar(sign=-1)
SCALE = Scalar(scales=1)
AMPLIFY = Scalar(scales=-1)


@dataclass(frozen=True)
class Expression:
    """An operation without a scalar of its own; equal text means equal value.

    Attributes:
        text: The expression as a person writes it, without the parentheses that only set the order of
            multiplication in a product.
        mirror: The text of its transpose.
        op: An input's name, or one of transpose, sum, product, multiply, logsigmoid, softplus, softsign,
            softmax, unit (rows of length 1), euclidean; or a primitive without a rule here.
        args: The operands. Those of product, transpose, multiply and linear operations have the scalar 1;
            those of unit, softsign, softplus and logsigmoid have no sign.
        type: Symbolic type of the value.
        axis: Axis along which a softmax or a unit normalises, -1 or -2.
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
    expr: Expression


def as_terms(graph: Graph) -> dict[Node, Term]:
    """Rewrites every node of a graph as a term."""
    terms: dict[Node, Term] = {}
    for node in graph.nodes:
        terms[node] = _rewrite(node, [terms[arg] for arg in node.args])
    return terms


def _rewrite(node: Node, args: list[Term]) -> Term:  # noqa: C901 - one case for each rule
    if not args:
        return Term(ONE, _leaf(node.op, node.op, (), node.type))
    x = args[0]
    match node.op:
        case "neg":
            return Term(MINUS * x.scalar, x.expr)
        case "scale":
            return Term(SCALE * x.scalar, x.expr)
        case "amplify":
            return Term(AMPLIFY * x.scalar, x.expr)
        case "transpose":
            return Term(x.scalar, transposed(x.expr))
        case "multiply":
            return Term(x.scalar * args[1].scalar, _hadamard_product(x.expr, args[1].expr))
        case "logsigmoid" if x.scalar.sign < 0:
            return Term(MINUS, _elementwise("softplus", MINUS * x.scalar, x.expr))
        case "logsigmoid":
            return Term(ONE, _elementwise("logsigmoid", x.scalar, x.expr))
        case "softsign":
            return Term(Scalar(x.scalar.sign), _elementwise("softsign", Scalar(1, x.scalar.scales), x.expr))
        case "softmax":
            return Term(ONE, _along_rows("softmax", x))
        case "add":
            return _sum(*args)
        case "matmul":
            return _distributed_product(*args)
        case "cosine":
            # Only the sign is pulled out: rows shorter than an absolute threshold have no direction.
            a, b = (_along_rows("unit", Term(Scalar(1, arg.scalar.scales), arg.expr)) for arg in args)
            return Term(Scalar(x.scalar.sign * args[1].scalar.sign), _product(a, transposed(b)))
        case "euclidean":
            if x.scalar.sign < 0 and args[1].scalar.sign < 0:
                args = [Term(MINUS * arg.scalar, arg.expr) for arg in args]
            text = f"euclidean({', '.join(map(_term_text, args))})"
            return Term(ONE, _leaf(text, "euclidean", tuple(args), node.type))
    if PRIMITIVES[node.op].linear:
        return Term(x.scalar, _leaf(f"{node.op}({x.expr.text})", node.op, (Term(ONE, x.expr),), node.type))
    if PRIMITIVES[node.op].elementwise and len(args) == 1:
        return Term(ONE, _elementwise(node.op, x.scalar, x.expr))
    text = f"{node.op}({', '.join(map(_term_text, args))})"
    return Term(ONE, _leaf(text, node.op, tuple(args), node.type))


def untransposed(x: Expression) -> Expression:
    """The expression that a transpose is a view of; any other expression unchanged."""
    return x.args[0].expr if x.op == "transpose" else x


def transposed(x: Expression) -> Expression:
    """The transpose: a view, unless `x` is a transpose itself or symmetric."""
    if x.op == "transpose":
        return x.args[0].expr
    if x.text == x.mirror:
        return x
    return Expression(x.mirror, x.text, "transpose", (Term(ONE, x),), swap(x.type))


def _leaf(text: str, op: str, args: tuple[Term, ...], type_: Type, axis: int = -1) -> Expression:
    return Expression(text, f"{text}.T", op, args, type_, axis)


def _elementwise(op: str, scalar: Scalar, x: Expression) -> Expression:
    if x.op == "transpose":
        return transposed(_elementwise(op, scalar, x.args[0].expr))
    term = Term(scalar, x)
    return _leaf(f"{op}({_term_text(term)})", op, (term,), x.type)


def _along_rows(op: str, x: Term) -> Expression:
    """A softmax or unit of every row; for the type (d, n), of every column of the (n, d) that it views."""
    if x.expr.type == "dn":
        natural = Term(x.scalar, transposed(x.expr))
        text = f"{op}[columns]({_term_text(natural)})"
        return transposed(_leaf(text, op, (natural,), natural.expr.type, axis=-2))
    return _leaf(f"{op}({_term_text(x)})", op, (x,), x.expr.type)


def _sum(a: Term, b: Term) -> Term:
    """Adds two terms; a scalar or a transpose that both have is pulled out."""
    if a.expr.op == b.expr.op == "transpose":
        natural = _sum(Term(a.scalar, transposed(a.expr)), Term(b.scalar, transposed(b.expr)))
        return Term(natural.scalar, transposed(natural.expr))
    common = ONE
    if a.scalar == b.scalar:
        common = a.scalar
        a, b = Term(ONE, a.expr), Term(ONE, b.expr)
    a, b = sorted((a, b), key=_term_text)
    text = f"{_term_text(a)} + {_term_text(b)}"
    return Term(common, Expression(text, f"({text}).T", "sum", (a, b), a.expr.type))


def _hadamard_product(a: Expression, b: Expression) -> Expression:
    """The entry-wise product; a transpose that both have is pulled out."""
    if a.op == b.op == "transpose":
        return transposed(_hadamard_product(transposed(a), transposed(b)))
    a, b = sorted((a, b), key=lambda x: x.text)
    text = " * ".join(f"({x.text})" if x.op in ("sum", "product", "multiply") else x.text for x in (a, b))
    return Expression(text, f"({text}).T", "multiply", (Term(ONE, a), Term(ONE, b)), a.type)


def _distributed_product(a: Term, b: Term) -> Term:
    type_ = a.expr.type[0] + b.expr.type[1]
    if type_ == "dn":
        natural = _distributed_product(Term(b.scalar, transposed(b.expr)), Term(a.scalar, transposed(a.expr)))
        return Term(natural.scalar, transposed(natural.expr))
    if type_ == "nd" and a.expr.type == "nn":
        addends = addends_of(a)
        low_rank = [addend for addend in addends if _is_low_rank(addend.expr)]
        if low_rank and len(addends) > 1 and len(b.expr.text) <= _LONGEST_REPEATED:
            others = [addend for addend in addends if not _is_low_rank(addend.expr)]
            left = [*low_rank, reduce(_sum, others)] if others else low_rank
            return reduce(_sum, [Term(x.scalar * b.scalar, _product(x.expr, b.expr)) for x in left])
    return Term(a.scalar * b.scalar, _product(a.expr, b.expr))


def addends_of(x: Term, may_expand: Callable[[Expression], bool] = lambda sum_: True) -> list[Term]:
    """The addends of a sum, or of a view of one, with nested sums expanded where `may_expand` is true."""
    natural = untransposed(x.expr)
    if natural.op != "sum" or not may_expand(natural):
        return [x]
    parts = [Term(x.scalar * arg.scalar, arg.expr) for arg in natural.args]
    if x.expr is not natural:
        parts = [Term(part.scalar, transposed(part.expr)) for part in parts]
    return [addend for part in parts for addend in addends_of(part, may_expand)]


def _is_low_rank(x: Expression) -> bool:
    """Whether an (n, n) matrix is a product over d, and therefore at most of rank d."""
    x = untransposed(x)
    if x.op != "product":
        return False
    a, b = x.args
    return a.expr.type[1] == "d" or _is_low_rank(a.expr) or _is_low_rank(b.expr)


def _product(a: Expression, b: Expression) -> Expression:
    """a @ b, written as itself or as (b.T @ a.T).T, whichever makes equal products have equal text."""
    type_ = a.type[0] + b.type[1]
    text = f"{_factor_text(a)} @ {_factor_text(b)}"
    mirror = f"{_factor_text(transposed(b))} @ {_factor_text(transposed(a))}"
    if type_ == "dn" or (type_[0] == type_[1] and mirror < text):
        operands = (Term(ONE, transposed(b)), Term(ONE, transposed(a)))
        return transposed(Expression(mirror, text, "product", operands, swap(type_)))
    return Expression(text, mirror, "product", (Term(ONE, a), Term(ONE, b)), type_)


def _term_text(term: Term) -> str:
    if term.scalar == ONE:
        return term.expr.text
    return f"{term.scalar} * {_factor_text(term.expr)}"


def _factor_text(x: Expression) -> str:
    return f"({x.text})" if x.op in ("sum", "multiply") else x.text
