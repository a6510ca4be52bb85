"""Chains of matrix products: which products form a chain, and what to multiply first where n > d."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from autobert_zero.compile.algebra import Expression, transposed, untransposed
from autobert_zero.space.types import Type

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


def entry_count(type_: Type) -> int:
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
        return self._uses[untransposed(x).text]

    def factors(self, x: Expression) -> tuple[Expression, ...]:
        """The factors of a product, left to right; the operands of anything else."""
        if x.op == "transpose" and untransposed(x).op == "product":
            return tuple([transposed(factor) for factor in reversed(self.factors(untransposed(x)))])
        if x.op != "product":
            return tuple([arg.of for arg in x.args])
        if x.text not in self._factors:
            parts = [self.factors(arg.of) if self.dissolves(arg.of) else (arg.of,) for arg in x.args]
            if sum(map(len, parts)) > _LONGEST:
                parts = [(arg.of,) for arg in x.args]
            self._factors[x.text] = tuple([factor for part in parts for factor in part])
        return self._factors[x.text]

    def dissolves(self, x: Expression) -> bool:
        """Whether a value that is a factor of a product, or a view of it, gives it factors of its own."""
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
                    _multiplied(best[start, middle], best[middle, end], fusable)
                    for middle in range(start + 1, end)
                ),
                key=lambda option: option[0],
            )
    cost, tree = best[0, len(factors)]
    return tree, cost


def _multiplied(
    left: tuple[int, Tree], right: tuple[int, Tree], fusable: Callable[[Expression], bool]
) -> tuple[int, Tree]:
    product = Product(left[1], right[1], left[1].type[0] + right[1].type[1])
    cost = left[0] + right[0] + entry_count(product.type) * (SIZES[left[1].type[1]] + _TOUCH)
    softmax = attention_of(product)
    if softmax is not None and fusable(softmax):
        cost -= _TOUCH * entry_count("nn")  # neither scores nor softmax are stored
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
