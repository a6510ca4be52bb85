"""Which softmaxes run as a fused attention step, and how their operand splits into query, key and bias."""

from __future__ import annotations

from dataclasses import dataclass

from autobert_zero.compile.algebra import Expression, Scalar, Term, transposed
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
    """Decides what is fused in an expression, and with it the order of its products.

    Args:
        chains: The products of the expression.
    """

    def __init__(self, chains: Chains) -> None:
        self._chains = chains
        self._scores: dict[str, AttentionScores | None] = {}

    def is_fusable(self, softmax: Expression) -> bool:
        """Whether a softmax exists for one product only, and its operand contains a product over d."""
        return softmax.type == "nn" and self._chains.uses(softmax) == 1 and self.scores(softmax) is not None

    def scores(self, softmax: Expression) -> AttentionScores | None:
        """How the operand of a softmax splits; None: it contains no product over d."""
        if softmax.text not in self._scores:
            self._scores[softmax.text] = self._split(self._addends(softmax.args[0]))
        return self._scores[softmax.text]

    def product_tree(self, x: Expression) -> Tree:
        """A product in the cheapest order."""
        return cheapest(self._chains.factors(x), self.is_fusable)[0]

    def operands(self, sum_: Expression, scalar: Scalar, mirrored: bool = False) -> list[Term]:
        """The addends of scalar * sum, or of its transposition; a sum among them gives its own."""
        return [
            addend
            for arg in sum_.args
            for addend in self._addends(Term(scalar * arg.scalar, transposed(arg.of) if mirrored else arg.of))
        ]

    def _addends(self, term: Term) -> list[Term]:
        """The addends of a term; a sum that is needed elsewhere too is one."""
        mirrored = term.of.op == "transpose"
        natural = transposed(term.of) if mirrored else term.of
        if natural.op != "sum" or self._chains.uses(natural) > 1:
            return [term]
        return self.operands(natural, term.scalar, mirrored)

    def _split(self, addends: list[Term]) -> AttentionScores | None:
        """Separates the first addend that is a product over d; the others are the bias."""
        for index, addend in enumerate(addends):
            natural = transposed(addend.of) if addend.of.op == "transpose" else addend.of
            if natural.op != "product":
                continue
            factors = self._chains.factors(addend.of)
            options = []
            for middle in range(1, len(factors)):
                if factors[middle].type[0] == "d":
                    query, before = cheapest(factors[:middle], self.is_fusable)
                    key, after = cheapest(factors[middle:], self.is_fusable)
                    options.append((before + after, middle, query, transposed_tree(key)))
            if options:
                _, middle, query, key = min(options, key=lambda option: option[0])
                bias = tuple(addends[:index] + addends[index + 1 :])
                return AttentionScores(query, key, addend.scalar, bias, addend.of, middle)
        return None
