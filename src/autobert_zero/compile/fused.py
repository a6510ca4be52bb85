"""Which nodes of a graph run inside a fused attention: for people, the compiler does not need it."""

from collections import defaultdict
from collections.abc import Mapping

from autobert_zero.compile.algebra import Term, as_terms, transposed
from autobert_zero.compile.attention import AttentionScores
from autobert_zero.compile.chain import Chains
from autobert_zero.compile.planner import planned
from autobert_zero.space import Graph, Node

_FOLDED = ("neg", "scale", "amplify", "transpose")
"""What an attention step does to its scores on the way: a number, a view."""


def fused_nodes(graph: Graph) -> list[frozenset[Node]]:
    """Finds what each attention step of a plan stands for.

    From the softmax up to the first value that is not (n, n), whose product the step computes; and down to
    the product of query and key: sums with a bias, scalars, transpositions. No value in between exists when
    the plan runs, unless another step needs it too. What is right before belongs to the step where nothing
    else uses it and the step does it by itself: transpositions, and the scales of query and key.

    Returns:
        The nodes of each attention step. Nodes that are equal by algebra are one step.

    Raises:
        ValueError: The graph is nested too deeply, see `make_plan`.
    """
    terms, planner = as_terms(graph), planned(graph)[0]
    users = defaultdict(list)
    for node in graph.nodes:
        for arg in node.args:
            users[arg].append(node)

    groups = []
    for text, scores in planner.fused.items():
        group: set[Node] = set()
        meeting: set[Node] = set()
        for node, term in terms.items():
            if node.op == "softmax" and term.of.text == text:
                below = _Below(terms, planner.chains, scores)
                group |= {node} | _above(node, users) | below.of(node.args[0])
                meeting |= below.meeting
        for node in (arg for member in tuple(group) for arg in member.args):
            _add_views(node, ("transpose",), group, users)
        for node in (arg for member in meeting for arg in member.args):
            _add_views(node, ("transpose", "scale", "amplify"), group, users)
        groups.append(frozenset(group))
    return groups


def _above(node: Node, users: Mapping[Node, list[Node]]) -> set[Node]:
    """The users of a node, theirs, and so on, up to the first that is not (n, n)."""
    if node.type != "nn":
        return set()
    return set(users[node]).union(*(_above(user, users) for user in users[node]))


def _add_views(node: Node, ops: tuple[str, ...], group: set[Node], users: Mapping[Node, list[Node]]) -> None:
    """Adds a node of these operations, and such before it, where only the group uses it."""
    while node.op in ops and group.issuperset(users[node]):
        group.add(node)
        (node,) = node.args


class _Below:
    """Finds the nodes from the operand of a softmax to where query and key meet.

    Attributes:
        meeting: The nodes so far in which they meet.
    """

    def __init__(self, terms: Mapping[Node, Term], chains: Chains, scores: AttentionScores) -> None:
        self.meeting: set[Node] = set()
        self._terms = terms
        self._chains = chains
        self._scores = scores

    def of(self, node: Node, flipped: bool = False) -> set[Node]:
        """The nodes on the way to the product, none where it is not on this branch.

        Args:
            node: A node.
            flipped: Whether its transposition is what the softmax sees.
        """
        here = self._terms[node].of
        if (transposed(here) if flipped else here).text == self._scores.product.text:
            across = self._across(node, self._scores.split, flipped)
            self.meeting |= across
            return across
        if node.op not in ("add", *_FOLDED):
            return set()
        flipped ^= node.op == "transpose"
        below = set().union(*(self.of(arg, flipped) for arg in node.args))
        return below | {node} if below else below

    def _across(self, node: Node, split: int, flipped: bool) -> set[Node]:
        """The products of factors on both sides of the split, `split` factors from the left of a product."""
        if node.op != "matmul":
            args = node.args if node.op in _FOLDED else ()
            flipped ^= node.op == "transpose"
            return {node}.union(*(self._across(arg, split, flipped) for arg in args))
        products = {node}
        for arg in reversed(node.args) if flipped else node.args:
            factors = self._length(arg)
            if 0 < split < factors:
                products |= self._across(arg, split, flipped)
            split -= factors
        return products

    def _length(self, node: Node) -> int:
        """Number of factors that a node gives to a product."""
        x = self._terms[node].of
        return len(self._chains.factors(x)) if self._chains.dissolves(x) else 1
