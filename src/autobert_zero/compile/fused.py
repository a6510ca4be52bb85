"""Finds the nodes of a graph that run inside fused attention, for pictures: the compiler needs no nodes."""

from collections import defaultdict
from collections.abc import Mapping

from autobert_zero.compile.algebra import Term, as_terms, transposed
from autobert_zero.compile.attention import AttentionScores
from autobert_zero.compile.chain import Chains
from autobert_zero.compile.planner import plan_graph
from autobert_zero.space import Graph, Node

_FOLDED = ("neg", "scale", "amplify", "transpose")
"""Operations on the scores that an attention step includes: scalars and views."""


def fused_nodes(graph: Graph) -> list[frozenset[Node]]:
    """Finds the nodes that each attention step of a plan replaces.

    They reach from the softmax up to the first value that is not (n, n), which is the step's result, and down
    to the product of query and key, through sums with a bias, scalars and transposes. None of the values in
    between exists when the plan runs, unless another step needs it too. Transposes just below these nodes,
    and the scales of query and key, belong to the step as well if nothing else uses them.

    Returns:
        The nodes of each attention step. Nodes that are equal by algebra are one step.

    Raises:
        ValueError: The graph is nested too deeply, see `make_plan`.
    """
    terms, planner = as_terms(graph), plan_graph(graph)[0]
    users = defaultdict(list)
    for node in graph.nodes:
        for arg in node.args:
            users[arg].append(node)

    groups = []
    for text, scores in planner.fused.items():
        group: set[Node] = set()
        meeting: set[Node] = set()
        for node, term in terms.items():
            if node.op == "softmax" and term.expr.text == text:
                below = _Below(terms, planner.chains, scores)
                group |= {node} | _above(node, users) | below.find(node.args[0])
                meeting |= below.meeting
        for node in (arg for member in tuple(group) for arg in member.args):
            _add_views(node, ("transpose",), group, users)
        for node in (arg for member in meeting for arg in member.args):
            _add_views(node, ("transpose", "scale", "amplify"), group, users)
        groups.append(frozenset(group))
    return groups


def _above(node: Node, users: Mapping[Node, list[Node]]) -> set[Node]:
    """The direct and indirect users of a node, up to the first that is not (n, n)."""
    if node.type != "nn":
        return set()
    return set(users[node]).union(*(_above(user, users) for user in users[node]))


def _add_views(node: Node, ops: tuple[str, ...], group: set[Node], users: Mapping[Node, list[Node]]) -> None:
    """Adds a node with one of these operations, and those below it, as long as only the group uses them."""
    while node.op in ops and group.issuperset(users[node]):
        group.add(node)
        (node,) = node.args


class _Below:
    """Finds the nodes from the operand of a softmax to the products in which query and key meet.

    Attributes:
        meeting: The products found so far.
    """

    def __init__(self, terms: Mapping[Node, Term], chains: Chains, scores: AttentionScores) -> None:
        self.meeting: set[Node] = set()
        self._terms = terms
        self._chains = chains
        self._scores = scores

    def find(self, node: Node, flipped: bool = False) -> set[Node]:
        """Finds the nodes on the path to the product; none if it is not below this node.

        Args:
            node: The node that the path starts from.
            flipped: Whether the softmax uses the transpose of the node.
        """
        here = self._terms[node].expr
        if (transposed(here) if flipped else here).text == self._scores.product.text:
            across = self._across(node, self._scores.split, flipped)
            self.meeting |= across
            return across
        if node.op not in ("add", *_FOLDED):
            return set()
        flipped ^= node.op == "transpose"
        below = set().union(*(self.find(arg, flipped) for arg in node.args))
        return below | {node} if below else below

    def _across(self, node: Node, split: int, flipped: bool) -> set[Node]:
        """Finds the products across the split, which comes after `split` factors from the left."""
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
        """Number of factors that a node contributes to a product."""
        x = self._terms[node].expr
        return len(self._chains.factors(x)) if self._chains.merges(x) else 1
