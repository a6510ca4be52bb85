"""The algebra behind the compiler: a graph as terms, a scalar times an expression without scalars.

One scalar replaces several passes over (n, n) matrices, and chains of products can be multiplied in the
cheapest order. What is rewritten, besides the rules of `space.canonical`:
- neg, scale and amplify become the scalar of a term, and it passes through what is linear (rotary,
  previous, next) and out of a product entry by entry; the sign of a softsign's operand is pulled out (it
  is odd), and -logsigmoid(-x) is softplus(x);
- cosine(A, B) is unit(A) @ unit(B).T with rows of length 1, so it is a product like any other;
- (A @ B.T + C) @ D is A @ B.T @ D + C @ D, where that spares the (n, n) matrix A @ B.T;
- a transposition moves outward until it is a view of a value: nothing of type (d, n) is computed, only
  views of (n, d) are.
A primitive without a rule here is left as it is, and its kernel computes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce

from autobert_zero.space import PRIMITIVES, Graph, Node
from autobert_zero.space.types import Type, swap


@dataclass(frozen=True)
class Scalar:
    """sign * d_h ** (-scales / 2): what neg, scale and amplify multiply by.

    Attributes:
        sign: 1 or -1.
        scales: How many times `scale` was applied, less how many times `amplify` was.
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
        text: The expression as a person writes it; a product without the parentheses that only say in
            which order it is multiplied.
        mirror: The text of its transposition.
        op: An input's name, or one of transpose, sum, product, multiply, logsigmoid, softplus, softsign,
            softmax, unit (rows of length 1), euclidean; or a primitive without a rule here.
        args: The operands. Those of a product, a transpose, a multiply and of what is linear have the scalar
            1, those of a unit, a softsign, a softplus and a logsigmoid no sign.
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


def as_terms(graph: Graph) -> dict[Node, Term]:
    """Rewrites every node of a graph."""
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
            return Term(MINUS * x.scalar, x.of)
        case "scale":
            return Term(SCALE * x.scalar, x.of)
        case "amplify":
            return Term(AMPLIFY * x.scalar, x.of)
        case "transpose":
            return Term(x.scalar, transposed(x.of))
        case "multiply":
            return Term(x.scalar * args[1].scalar, _hadamard_product(x.of, args[1].of))
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
            return _distributed_product(*args)
        case "cosine":
            # Not the scales: the floor below which a row has no direction is absolute.
            a, b = (_along_rows("unit", Term(Scalar(1, arg.scalar.scales), arg.of)) for arg in args)
            return Term(Scalar(x.scalar.sign * args[1].scalar.sign), _product(a, transposed(b)))
        case "euclidean":
            if x.scalar.sign < 0 and args[1].scalar.sign < 0:
                args = [Term(MINUS * arg.scalar, arg.of) for arg in args]
            text = f"euclidean({', '.join(map(_term_text, args))})"
            return Term(ONE, _leaf(text, "euclidean", tuple(args), node.type))
    if PRIMITIVES[node.op].linear:
        return Term(x.scalar, _leaf(f"{node.op}({x.of.text})", node.op, (Term(ONE, x.of),), node.type))
    if PRIMITIVES[node.op].elementwise and len(args) == 1:
        return Term(ONE, _elementwise(node.op, x.scalar, x.of))
    text = f"{node.op}({', '.join(map(_term_text, args))})"
    return Term(ONE, _leaf(text, node.op, tuple(args), node.type))


def untransposed(x: Expression) -> Expression:
    """What a transposition is a view of; any other expression as it is."""
    return x.args[0].of if x.op == "transpose" else x


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


def _hadamard_product(a: Expression, b: Expression) -> Expression:
    """The product entry by entry; a transposition that both have is pulled out."""
    if a.op == b.op == "transpose":
        return transposed(_hadamard_product(transposed(a), transposed(b)))
    a, b = sorted((a, b), key=lambda x: x.text)
    text = " * ".join(f"({x.text})" if x.op in ("sum", "product", "multiply") else x.text for x in (a, b))
    return Expression(text, f"({text}).T", "multiply", (Term(ONE, a), Term(ONE, b)), a.type)


def _distributed_product(a: Term, b: Term) -> Term:
    type_ = a.of.type[0] + b.of.type[1]
    if type_ == "dn":
        natural = _distributed_product(Term(b.scalar, transposed(b.of)), Term(a.scalar, transposed(a.of)))
        return Term(natural.scalar, transposed(natural.of))
    if type_ == "nd" and a.of.type == "nn":
        addends = addends_of(a)
        low_rank = [addend for addend in addends if _is_low_rank(addend.of)]
        if low_rank and len(addends) > 1:
            others = [addend for addend in addends if not _is_low_rank(addend.of)]
            left = [*low_rank, reduce(_sum, others)] if others else low_rank
            return reduce(_sum, [Term(x.scalar * b.scalar, _product(x.of, b.of)) for x in left])
    return Term(a.scalar * b.scalar, _product(a.of, b.of))


def addends_of(x: Term, opens: Callable[[Expression], bool] = lambda sum_: True) -> list[Term]:
    """The addends of a sum and of the sums in it, or of a view of it; one that `opens` refuses stays."""
    natural = untransposed(x.of)
    if natural.op != "sum" or not opens(natural):
        return [x]
    parts = [Term(x.scalar * arg.scalar, arg.of) for arg in natural.args]
    if x.of is not natural:
        parts = [Term(part.scalar, transposed(part.of)) for part in parts]
    return [addend for part in parts for addend in addends_of(part, opens)]


def _is_low_rank(x: Expression) -> bool:
    """Whether an (n, n) is a product over d, hence of rank d."""
    x = untransposed(x)
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
    return f"({x.text})" if x.op in ("sum", "multiply") else x.text
