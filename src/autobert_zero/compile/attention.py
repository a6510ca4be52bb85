"""Decides which softmaxes run as fused attention, and splits their operand into query, key and bias."""

from __future__ import annotations

from dataclasses import dataclass

from autobert_zero.compile.algebra import Expression, Scalar, Term, addends_of, untransposed
from autobert_zero.compile.chain import Chains, Tree, cheapest, transposed_tree


@dataclass(frozen=True)
class AttentionScores:
    """The operand of a softmax as scalar * query @ key.T + bias: query and key (n, d), bias (n, n).

    Attributes:
        product: query @ key.T.
        split: Number of factors of the product that belong to the query.
    """

    query: Tree
    key: Tree
    scalar: Scalar
    bias: tuple[Term, ...]
    product: Expression
    split: int


class Fusion:
    """Decides what is fused in an expression, and in which order its products are multiplied."""

    def __init__(self, chains: Chains) -> None:
        self._chains = chains
        self._scores: dict[str, AttentionScores | None] = {}

    def is_fusable(self, softmax: Expression) -> bool:
        """Whether a softmax is used by one product only, and its operand contains a product over d."""
        return softmax.type == "nn" and self._is_own(softmax) and self.scores(softmax) is not None

    def scores(self, softmax: Expression) -> AttentionScores | None:
        """Splits the operand of a softmax; None if it contains no product over d."""
        if softmax.text not in self._scores:
            self._scores[softmax.text] = self._split(addends_of(softmax.args[0], self._is_own))
        return self._scores[softmax.text]

    def product_tree(self, x: Expression) -> Tree:
        """Puts a product in the cheapest order."""
        return cheapest(self._chains.factors(x), self.is_fusable)[0]

    def operands(self, sum_: Expression, scalar: Scalar) -> list[Term]:
        """The addends of scalar * sum, with nested sums expanded unless something else uses them."""
        parts = [Term(scalar * arg.scalar, arg.expr) for arg in sum_.args]
        return [addend for part in parts for addend in addends_of(part, self._is_own)]

    def _is_own(self, x: Expression) -> bool:
        """Whether a value is used once."""
        return self._chains.uses(x) == 1

    def _split(self, addends: list[Term]) -> AttentionScores | None:
        """Splits the first addend that is a product over d; the others become the bias."""
        for index, addend in enumerate(addends):
            if untransposed(addend.expr).op != "product":
                continue
            factors = self._chains.factors(addend.expr)
            options = []
            for middle in range(1, len(factors)):
                if factors[middle].type[0] == "d":
                    query, before = cheapest(factors[:middle], self.is_fusable)
                    key, after = cheapest(factors[middle:], self.is_fusable)
                    options.append((before + after, middle, query, transposed_tree(key)))
            if options:
                _, middle, query, key = min(options, key=lambda option: option[0])
                bias = tuple(addends[:index] + addends[index + 1 :])
                return AttentionScores(query, key, addend.scalar, bias, addend.expr, middle)
        return None
