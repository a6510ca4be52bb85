"""A toy evaluator with a known optimum: it searches 10,000 candidates in seconds, without training."""

from collections import Counter

from autobert_zero.search.evaluator import IndependentEvaluator
from autobert_zero.search.trial import Outcome, Proposal, Status
from autobert_zero.space import Attention, Backbone, Layer


class ToyEvaluator(IndependentEvaluator):
    """Scores a backbone by how much its layers resemble those of a target; the optimum is 1, at the target.

    Args:
        target: The target, in canonical form.
    """

    def __init__(self, target: Backbone) -> None:
        super().__init__(self.outcome)
        self.target = target

    def outcome(self, proposal: Proposal) -> Outcome:
        """The mean resemblance of the layers, in [0, 1]."""
        pairs = zip(proposal.backbone.layers, self.target.layers, strict=True)
        likeness = [_likeness(own, target) for own, target in pairs]
        return Outcome(Status.COMPLETE, sum(likeness) / len(likeness))


def _likeness(own: Layer, target: Layer) -> float:
    if own == target:
        return 1.0
    if type(own) is not type(target):
        return 0.0
    if isinstance(own, Attention) and isinstance(target, Attention):
        # The Jaccard index of the multisets of sub-expressions.
        own_parts = Counter(node.code for node in own.graph.root.walk())
        target_parts = Counter(node.code for node in target.graph.root.walk())
        return 0.2 + 0.8 * (own_parts & target_parts).total() / (own_parts | target_parts).total()
    return 0.5
