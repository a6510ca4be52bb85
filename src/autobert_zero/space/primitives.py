"""The primitive operations of the paper, one entry each ("Search space", intra-layer).

A new primitive is one entry here and one kernel of the same name in `autobert_zero.nn.kernels`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from autobert_zero.space import types

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
    rule: Callable[..., types.Type | None]
    expects: str
    computes: str
    elementwise: bool = False
    commutative: bool = False


PRIMITIVES: dict[str, Primitive] = {
    primitive.name: primitive
    for primitive in (
        Primitive("neg", "-", 1, types.keep, "(a, b)", "-x", elementwise=True),
        Primitive("transpose", "t", 1, types.swap, "(a, b)", "rows become columns"),
        Primitive("scale", "/", 1, types.keep, "(a, b)", "x / sqrt(d_h)", elementwise=True),
        Primitive("softmax", "s", 1, types.keep, "(a, b)", "e^x / sum of e^x, over the last axis"),
        Primitive("logsigmoid", "l", 1, types.keep, "(a, b)", "log(1 / (1 + e^-x))", elementwise=True),
        Primitive("softsign", "g", 1, types.keep, "(a, b)", "x / (1 + abs(x))", elementwise=True),
        Primitive("add", "+", 2, types.same, "(a, b) + (a, b)", "x + y", elementwise=True, commutative=True),
        Primitive("matmul", "@", 2, types.contract, "(a, b) @ (b, c)", "the matrix product"),
        Primitive("cosine", "c", 2, types.pairwise, "(a, c), (b, c)", "cosine of every two rows"),
        Primitive("euclidean", "e", 2, types.pairwise, "(a, c), (b, c)", "distance of every two rows"),
    )
}
