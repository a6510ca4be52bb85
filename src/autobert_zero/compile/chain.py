"""Chains of matrix products: finds them, and orders their multiplications for n > d."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from autobert_zero.compile.algebra import Expression, transposed, untransposed
from autobert_zero.space.types import Type

SIZES = {"n": 256, "d": 64}
"""Representative sizes with n > d, to compare costs."""

_ACCESS_COST = 16
"""Cost of reading and writing an entry, in multiplications."""

_LONGEST = 32
"""Maximum length of a chain that is reordered, in cubic time; longer chains keep some parentheses."""


@dataclass(frozen=True)
class Product:
    """Two parts of a chain that are multiplied."""

    left: Tree
    right: Tree
    type: Type


Tree = Expression | Product


def entry_count(type_: Type) -> int:
    """Number of entries of a value, to compare values."""
    return SIZES[type_[0]] * SIZES[type_[1]]


class Chains:
    """The products of an expression, as chains.

    A product that is a factor of another is merged into its chain, unless it is shared: then it is computed
    once. A shared (n, n) product is merged all the same, since the other factors may avoid the (n, n) matrix.

    Args:
        root: The expression.
    """

    def __init__(self, root: Expression) -> None:
        self._consumers = _count_uses(root, lambda x: [arg.expr for arg in x.args])
        self._factors: dict[str, tuple[Expression, ...]] = {}
        self._uses = _count_uses(root, self.factors)

    def uses(self, x: Expression) -> int:
        """Number of values that are computed from `x` or its transpose; a chain of products counts once."""
        return self._uses[untransposed(x).text]

    def factors(self, x: Expression) -> tuple[Expression, ...]:
        """The factors of a product, left to right; the operands of any other operation."""
        if x.op == "transpose" and untransposed(x).op == "product":
            return tuple([transposed(factor) for factor in reversed(self.factors(untransposed(x)))])
        if x.op != "product":
            return tuple([arg.expr for arg in x.args])
        if x.text not in self._factors:
            parts = [self.factors(arg.expr) if self.merges(arg.expr) else (arg.expr,) for arg in x.args]
            if sum(map(len, parts)) > _LONGEST:
                parts = [(arg.expr,) for arg in x.args]
            self._factors[x.text] = tuple([factor for part in parts for factor in part])
        return self._factors[x.text]

    def merges(self, x: Expression) -> bool:
        """Whether a factor, or the value that it views, is a product to merge into the chain."""
        x = untransposed(x)
        return x.op == "product" and (x.type == "nn" or self._consumers[x.text] == 1)


def _count_uses(root: Expression, operands: Callable[[Expression], Iterable[Expression]]) -> Counter[str]:
    uses = Counter({untransposed(root).text: 1})
    pending = [untransposed(root)]
    while pending:
        for operand in map(untransposed, operands(pending.pop())):
            if operand.text not in uses:
                pending.append(operand)
            uses[operand.text] += 1
    return uses


def cheapest(factors: Sequence[Expression], fusable: Callable[[Expression], bool]) -> tuple[Tree, int]:
    """Finds the cheapest order of multiplication in a chain by the textbooks' dynamic program.

    Args:
        factors: The chain, left to right.
        fusable: Returns whether a softmax that is multiplied with an (n, d) need not be stored.

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
                    _multiply(best[start, middle], best[middle, end], fusable)
                    for middle in range(start + 1, end)
                ),
                key=lambda option: option[0],
            )
    cost, tree = best[0, len(factors)]
    return tree, cost


def _multiply(
    left: tuple[int, Tree], right: tuple[int, Tree], fusable: Callable[[Expression], bool]
) -> tuple[int, Tree]:
    product = Product(left[1], right[1], left[1].type[0] + right[1].type[1])
    cost = left[0] + right[0] + entry_count(product.type) * (SIZES[left[1].type[1]] + _ACCESS_COST)
    softmax = attention_of(product)
    if softmax is not None and fusable(softmax):
        cost -= _ACCESS_COST * entry_count("nn")  # neither scores nor softmax are stored
    return cost, product


def attention_of(product: Product) -> Expression | None:
    """The softmax of softmax @ C, or of the transpose C.T @ softmax.T, where C is (n, d); None otherwise."""
    left, right = product.left, product.right
    if isinstance(left, Expression) and left.op == "softmax" and right.type == "nd":
        return left
    if isinstance(right, Expression) and transposed(right).op == "softmax" and left.type == "dn":
        return transposed(right)
    return None


def transposed_tree(tree: Tree) -> Tree:
    """The tree of the transpose."""
    if isinstance(tree, Expression):
        return transposed(tree)
    return Product(transposed_tree(tree.right), transposed_tree(tree.left), tree.type[1] + tree.type[0])
